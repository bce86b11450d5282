"""``processes``: a pool of processes, each with a GIL of its own; arguments and results are pickled.

Workers are forked from a *fork server*, which is a clean process of a single thread, where the platform has
one, and are otherwise spawned. A plain ``fork`` of the service, the default up to Python 3.13, would copy it
in the middle of whatever its event loop and its metrics thread are doing, locks included (the reason for
which 3.14 changed the default: https://github.com/python/cpython/issues/84559).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import ctypes
import fcntl
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.reduction import ForkingPickler
from typing import Any, cast

from gilscope.backends.base import BackendSpec, Outcome
from gilscope.backends.crew import Call, Crew, Receipt, not_handed_over
from gilscope.backends.execution import execute, prepare_thread
from gilscope.backends.pool import PoolBackend
from gilscope.child import how_it_ended
from gilscope.errors import BackendFailedError
from gilscope.model import BackendName, ThreadRole
from gilscope.workloads.base import FunctionRef

PRELOADED = ["gilscope.backends.processes", "gilscope.backends.fork_server"]

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""The signals at which a service drains, and ends its workers itself."""

PR_SET_PDEATHSIG = 1
"""Of ``prctl(2)``: the signal that a process gets when its parent ends."""

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})
"""What is read back for certain, and so need not be packed."""

NOTICE_S = 0.5
"""How long a pool has to notice that one of its workers has died."""


def start_method() -> str:
    """Return how workers are started here: ``forkserver`` where there is one, else ``spawn``."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def prepare_worker(observer: int | None) -> None:
    """Leave Ctrl-C to the service, which a terminal sends it to as well, and end when the service ends.

    ``observer`` is the id of a process that may watch this one. A worker whose service was killed would otherwise wait for
    work for ever: the other workers keep its queue open.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_ends_to_the_service()
    _be_killed_with_parents()
    threading.Thread(target=_end_with_service, name="gilscope-lifeline", daemon=True).start()
    prepare_thread(ThreadRole.WORKER, observer)


def leave_ends_to_the_service() -> None:
    """Do nothing at SIGTERM and SIGHUP, which a process group may get as a whole: the service drains first, and ends us then.

    They are caught and not ignored: what a user's function starts would inherit that.
    """
    for number in ENDING:
        signal.signal(number, _do_nothing)


def _do_nothing(_number: int, _frame: object) -> None:
    pass


def _be_killed_with_parents() -> None:
    """On Linux, have the kernel kill this process when the service ends, or the fork server.

    A thread that waits for that needs the GIL to end the process, and a C call may hold it for ever. The service holds the
    other end of the sentinel, a pipe, which sends the signal when it closes (``man 2 fcntl``, ``F_SETSIG``); the fork server
    is the parent that ``prctl`` knows.
    """
    if not hasattr(fcntl, "F_SETSIG"):
        return
    sentinel = _service().sentinel
    fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    if start_method() == "forkserver":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with_service() -> None:
    _service().join()
    os._exit(1)


def _service() -> BaseProcess:
    service = multiprocessing.parent_process()
    assert service is not None
    return service


Contents = tuple[FunctionRef, Mapping[str, object], bool]
"""The function, its arguments, and whether it is a coroutine function."""


class Parcel:
    """A call on its way to a worker, which arrives as its contents: nothing, where it was withdrawn before it was sent.

    The executor's own futures are not cancelled: Python 3.11 does not survive a cancelled one in a pool that breaks
    (https://github.com/python/cpython/issues/107219).
    """

    def __init__(self, *contents: *Contents) -> None:
        self._inside = [contents]

    def __reduce__(self) -> tuple[type[tuple[object, ...]], tuple[Contents | tuple[()]]]:
        """Pickle what is inside, in the thread that sends it."""
        return tuple, (self.take_out() or (),)

    def take_out(self) -> Contents | None:
        """Return the contents, which whoever comes first gets."""
        try:
            return self._inside.pop()
        except IndexError:
            return None


def execute_and_pack(contents: Contents | tuple[()]) -> Outcome | bytes | BackendFailedError | None:
    """Call the function, and pickle what comes of it here, unless it is plain.

    A result that pickles and cannot be read back would end the executor, which reads it together with whose it is. So it
    travels as bytes, and who reads those knows. One that cannot be pickled comes back as the reason.
    """
    if not contents:
        return None
    outcome = execute(*contents)
    if outcome.failure is None and type(outcome.result) in PLAIN:
        return outcome
    try:
        return bytes(ForkingPickler.dumps(outcome))
    except BaseException as problem:  # noqa: BLE001  the user's classes say how they are pickled
        return not_handed_over(problem)


class ProcessCrew(Crew):
    """Worker processes, which are remembered from their start: one that never says a word can be killed as well."""

    def __init__(self, workers: int, observer: int | None) -> None:
        self._processes: list[BaseProcess] = []
        self._results: list[SimpleQueue[Any]] = []
        self._deaths: str | None = None
        self._watched: list[int] = []
        executor = ProcessPoolExecutor(
            workers, mp_context=self._context(), initializer=prepare_worker, initargs=(observer,)
        )
        # Of a broken pool, the thread that writes calls ends with an error (nobody reads them) and leaves its end open.
        self._calls_to_workers = executor._call_queue._writer  # type: ignore[attr-defined]  # noqa: SLF001
        super().__init__(executor, workers)

    def _context(self) -> BaseContext:
        """Return a context of multiprocessing that remembers what is made with it."""
        context: Any = copy.copy(multiprocessing.get_context(start_method()))
        if start_method() == "forkserver":
            context.set_forkserver_preload(PRELOADED)
            _start_tracker()
        context.Process = _noting(context.Process, self._processes)
        context.SimpleQueue = _noting(context.SimpleQueue, self._results)
        return context  # type: ignore[no-any-return]

    def _submit(self, call: Call) -> Receipt:
        parcel = Parcel(call.function, call.arguments, call.is_async)
        run = cast("Callable[[Parcel], object]", execute_and_pack)  # a parcel arrives as its contents
        future = self.executor.submit(run, parcel)
        return Receipt(future, lambda: parcel.take_out() is not None)

    def _unpacked(self, result: object) -> Outcome | BaseException:
        if not isinstance(result, bytes):
            return super()._unpacked(result)
        try:
            return pickle.loads(result)  # type: ignore[no-any-return]  # noqa: S301  our own worker's
        except BaseException as problem:  # noqa: BLE001  the user's classes say how they are read
            return not_handed_over(problem)

    def _broke(self) -> None:
        """See who has died, before the executor ends the others; and end them at once, which it waits for."""
        self._look_for_deaths()
        self.kill()

    @property
    def pids(self) -> Collection[int]:
        """The workers' processes."""
        return [process.pid for process in self._processes if process.pid is not None]

    def watch(self, died: Callable[[], None]) -> None:
        """Have ``died`` called where a worker dies and the executor does not notice.

        It does not where the worker was writing its result: the executor waits for the rest of that.
        """
        loop = asyncio.get_running_loop()

        def noticed() -> None:
            self._unwatch(loop)
            loop.call_later(NOTICE_S, overdue)

        def overdue() -> None:
            died()
            if not self.is_gone:
                for queue in self._results:
                    queue.close()  # of which the executor awaits the rest

        for process in self._processes:
            loop.add_reader(process.sentinel, noticed)
            self._watched.append(process.sentinel)

    def _unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        for sentinel in self._watched:
            loop.remove_reader(sentinel)
        self._watched.clear()

    def how_it_broke(self, problem: BrokenExecutor | None) -> str:
        """Say who died, or why else the executor broke."""
        cause = problem and problem.__cause__
        last_line = (str(cause or "").strip(" \n'").splitlines() or [""])[-1]
        return self._look_for_deaths() or last_line or str(problem)

    def _look_for_deaths(self) -> str:
        """Say how those workers ended that had when this was first asked; after that, we end them."""
        if self._deaths is None:
            codes = [process.exitcode for process in self._processes if process.pid is not None]
            self._deaths = ", ".join(sorted({how_it_ended(code) for code in codes if code is not None}))
        return self._deaths

    def kill(self) -> bool:
        """Kill all workers."""
        for process in self._processes:
            with contextlib.suppress(ValueError):  # it has just been let go of
                if process.pid is not None:
                    process.kill()
        return True

    def dismiss(self) -> asyncio.Event:
        """Drop what has not begun, and have the workers end; return what is set when they have."""
        self._unwatch(asyncio.get_running_loop())
        return super().dismiss()

    def _shut_down(self) -> None:
        """Let go of the pipes as well: what is left of a pool refers to itself, and would be collected some pools later."""
        super()._shut_down()
        ended, self._processes[:] = [*self._processes], []
        for queue in self._results:
            queue.close()
        self._calls_to_workers.close()
        for process in ended:
            with contextlib.suppress(ValueError):  # it has not ended, whatever it is waiting for
                process.close()


def _start_tracker() -> None:
    """Start multiprocessing's resource tracker deaf to SIGHUP, as by itself it is to SIGINT and SIGTERM: it ends with us."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _noting(make: Callable[..., Any], made: list[Any]) -> Callable[..., Any]:
    """Return what makes the same, and adds it to ``made``."""

    def note(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  whatever it is
        one = make(*arguments, **named)
        made.append(one)
        return one

    return note


def create(workers: int, observer: int | None) -> PoolBackend:
    """Return a backend of ``workers`` processes, not yet started."""
    return PoolBackend(lambda: ProcessCrew(workers, observer), workers)


SPEC = BackendSpec(
    name=BackendName.PROCESSES,
    summary=f"a process of a ProcessPoolExecutor ({start_method()})",
    create=create,
    default_workers=lambda: os.cpu_count() or 1,
    unavailable=lambda: None,
)
