"""``processes``: a pool of processes, each with a GIL of its own; arguments and results are pickled.

Workers are forked from a *fork server*, which is a clean process of a single thread, where the platform has
one, and are otherwise spawned. A plain ``fork`` of the service, the default up to Python 3.13, would copy it
in the middle of whatever its event loop and its metrics thread are doing, locks included (the reason for
which 3.14 changed the default: https://github.com/python/cpython/issues/84559).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

from gilscope.backends.base import BackendSpec
from gilscope.backends.execution import prepare_thread
from gilscope.backends.pool import PoolBackend
from gilscope.model import BackendName, ThreadRole

PRELOADED = ["gilscope.backends.pool"]


def start_method() -> str:
    """Return how workers are started here: ``forkserver`` where there is one, else ``spawn``."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def prepare_worker(observer: int | None) -> None:
    """Leave Ctrl-C to the service, which a terminal sends it to as well, and end when the service ends.

    ``observer`` is the id of a process that may watch this one. A worker whose service was killed would otherwise wait for work for ever: the other workers keep its
    queue open.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_service, name="gilscope-lifeline", daemon=True).start()
    prepare_thread(ThreadRole.WORKER, observer)


def _end_with_service() -> None:
    service = multiprocessing.parent_process()
    assert service is not None
    service.join()
    os._exit(1)


def create(workers: int, observer: int | None) -> PoolBackend:
    """Return a backend of ``workers`` processes, not yet started."""
    context = multiprocessing.get_context(start_method())
    if start_method() == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    return PoolBackend(
        lambda: ProcessPoolExecutor(
            workers, mp_context=context, initializer=prepare_worker, initargs=(observer,)
        ),
        workers,
    )


SPEC = BackendSpec(
    name=BackendName.PROCESSES,
    summary=f"a process of a ProcessPoolExecutor ({start_method()})",
    create=create,
    default_workers=lambda: os.cpu_count() or 1,
    unavailable=lambda: None,
)
