"""Running one call where it runs, with stamps: the only code of ours inside a worker."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Coroutine, Generator, Mapping
from time import monotonic_ns, thread_time_ns
from typing import TYPE_CHECKING, Any, cast

from gilscope.backends.base import Failure, Outcome
from gilscope.model import ThreadRole
from gilscope.observed import INSIDE, OUTSIDE, Mark, let_in, mark_thread
from gilscope.workloads.importing import load
from gilscope.workloads.keeping import worker_local

if TYPE_CHECKING:
    from gilscope.workloads.base import FunctionRef

_local = worker_local()


def gil_enabled() -> bool:
    """Tell whether this process has a GIL: always but in free-threaded builds, where an extension may switch it on."""
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def prepare_thread(role: ThreadRole, observer: int | None = None) -> None:
    """Give the calling thread its mark, and let ``observer`` (a process id) watch this process."""
    _local.mark = mark_thread(role)
    if observer is not None:
        let_in(observer)


def _own_mark() -> Mark:
    """Return the thread's mark; one that nobody sees where the thread was never prepared."""
    try:
        return _local.mark  # type: ignore[no-any-return]
    except AttributeError:
        mark = _local.mark = bytearray(1)
        return mark


def execute(
    function: FunctionRef,
    arguments: Mapping[str, object],
    is_async: bool = False,  # noqa: FBT001, FBT002  executors pass by position
    let_through: tuple[type[BaseException], ...] = (),
) -> Outcome:
    """Call ``function`` in this thread; a coroutine function gets an event loop that this thread keeps.

    Whatever it raises is its outcome, but for what is to be ``let_through``: in a worker, nothing is meant for us.
    """
    call, mark = load(function), _own_mark()
    result, failure = None, None
    mark[0] = INSIDE
    cpu_ns = thread_time_ns()
    started_ns = monotonic_ns()
    try:
        returned = call(**arguments)
        if is_async:
            returned = _own_loop().run_until_complete(cast("Coroutine[Any, Any, object]", returned))
        result = returned
    except let_through:
        raise
    except BaseException as problem:  # noqa: BLE001  the user's outcome
        failure = describe(problem)
    finished_ns = monotonic_ns()
    cpu_ns = thread_time_ns() - cpu_ns
    mark[0] = OUTSIDE
    return Outcome(result, failure, started_ns, finished_ns, cpu_ns)


async def execute_on_loop(
    function: FunctionRef, arguments: Mapping[str, object], *, is_async: bool = False
) -> Outcome:
    """Call ``function`` on the running loop; a coroutine is awaited, and only its own steps count as CPU.

    KeyboardInterrupt is how a signal gets out of a function that keeps the loop.
    """
    if not is_async:
        return execute(function, arguments, let_through=(KeyboardInterrupt,))
    started_ns = monotonic_ns()
    result, failure = None, None
    steps = TimedSteps(load(function)(**arguments))  # type: ignore[arg-type]
    try:
        result = await steps
    except asyncio.CancelledError as problem:
        if _is_being_cancelled():
            raise
        failure = describe(problem)
    except (KeyboardInterrupt, GeneratorExit):  # a signal; the coroutine is being closed
        raise
    except BaseException as problem:  # noqa: BLE001  the user's outcome
        failure = describe(problem)
    finished_ns = monotonic_ns()
    suspended_ns = finished_ns - started_ns - steps.wall_ns
    return Outcome(result, failure, started_ns, finished_ns, steps.cpu_ns, suspended_ns)


def _is_being_cancelled() -> bool:
    """Whether somebody asked this task to end, as against the function raising CancelledError itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class TimedSteps:
    """Awaits a coroutine and adds up the thread's CPU time and the wall time of its steps (PEP 492's protocol)."""

    __slots__ = ("_coroutine", "_mark", "cpu_ns", "wall_ns")

    def __init__(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self._coroutine = coroutine
        self._mark = _own_mark()
        self.cpu_ns = 0
        self.wall_ns = 0

    def __await__(self) -> Generator[Any, Any, object]:
        """Step the coroutine, passing on what it yields and what is sent or thrown into it."""
        step, value = self._coroutine.send, None
        while True:
            self._mark[0] = INSIDE
            wall_ns, cpu_ns = monotonic_ns(), thread_time_ns()
            try:
                yielded = step(value)
            except StopIteration as stop:
                return stop.value
            finally:
                self.cpu_ns += thread_time_ns() - cpu_ns
                self.wall_ns += monotonic_ns() - wall_ns
                self._mark[0] = OUTSIDE
            try:
                value, step = (yield yielded), self._coroutine.send
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as thrown:  # noqa: BLE001  cancellation is thrown in, and must go on inwards
                value, step = thrown, self._coroutine.throw


def describe(problem: BaseException) -> Failure:
    """Turn an exception into text, its traceback without the frames of this module."""
    inner = problem.__traceback__
    while inner is not None and inner.tb_frame.f_code.co_filename == __file__:
        inner = inner.tb_next
    text = "".join(traceback.format_exception(type(problem), problem, inner))
    try:
        message = str(problem)
    except BaseException:  # noqa: BLE001  the user's class
        message = "(its message cannot be shown)"
    return Failure(type(problem).__name__, message, text)


class _OwnLoop:
    """An event loop that lives as long as its thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def __del__(self) -> None:
        self.loop.close()


def _own_loop() -> asyncio.AbstractEventLoop:
    if not hasattr(_local, "own"):
        _local.own = _OwnLoop()
    return _local.own.loop  # type: ignore[no-any-return]
