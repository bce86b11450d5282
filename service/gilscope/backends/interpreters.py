"""``interpreters``: a pool of subinterpreters in the service's process, each with a GIL of its own (PEP 734)."""

from __future__ import annotations

import importlib
import os
import platform
import sys

from gilscope.backends.base import BackendSpec
from gilscope.backends.crew import Crew
from gilscope.backends.execution import prepare_thread
from gilscope.backends.pool import PoolBackend
from gilscope.errors import BackendUnavailableError
from gilscope.model import BackendName, ThreadRole

THREAD_NAME_PREFIX = "gilscope-interpreters"
_MODULE = "concurrent.futures.interpreter"  # new in Python 3.14
_NEWEST_WITHOUT = (3, 13)


def unavailable() -> str | None:
    """Say why this Python has no InterpreterPoolExecutor, or return None where it has one."""
    try:
        importlib.import_module(_MODULE)
    except ImportError as problem:
        if sys.version_info[:2] <= _NEWEST_WITHOUT:
            return f"needs Python 3.14 or newer; this is {platform.python_version()}"
        return f"this Python has no InterpreterPoolExecutor: {problem}"
    return None


def create(workers: int, _observer: int | None) -> PoolBackend:
    """Return a backend of ``workers`` subinterpreters, not yet started.

    Raises:
        BackendUnavailableError: this Python has none.
    """
    reason = unavailable()
    if reason is not None:
        raise BackendUnavailableError(f"the interpreters backend {reason}")
    create_executor = importlib.import_module(_MODULE).InterpreterPoolExecutor

    def crew() -> Crew:
        executor = create_executor(workers, THREAD_NAME_PREFIX, prepare_thread, (ThreadRole.WORKER,))
        return Crew(executor, workers)

    return PoolBackend(crew, workers)


SPEC = BackendSpec(
    name=BackendName.INTERPRETERS,
    summary="a subinterpreter of an InterpreterPoolExecutor",
    create=create,
    default_workers=lambda: os.cpu_count() or 1,
    unavailable=unavailable,
)
