"""``threads``: a pool of threads that share the service's memory and its GIL."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from gilscope.backends.base import BackendSpec
from gilscope.backends.crew import Crew
from gilscope.backends.execution import prepare_thread
from gilscope.backends.pool import PoolBackend
from gilscope.model import BackendName, ThreadRole

THREAD_NAME_PREFIX = "gilscope-threads"


def default_workers() -> int:
    """Return ``ThreadPoolExecutor``'s own default, which ``asyncio.to_thread`` gets as well."""
    return min(32, (os.cpu_count() or 1) + 4)


def create(workers: int, _observer: int | None) -> PoolBackend:
    """Return a backend of ``workers`` threads, not yet started."""

    def crew() -> Crew:
        executor = ThreadPoolExecutor(workers, THREAD_NAME_PREFIX, prepare_thread, (ThreadRole.WORKER,))
        return Crew(executor, workers)

    return PoolBackend(crew, workers)


SPEC = BackendSpec(
    name=BackendName.THREADS,
    summary="a thread of a ThreadPoolExecutor",
    create=create,
    default_workers=default_workers,
    unavailable=lambda: None,
)
