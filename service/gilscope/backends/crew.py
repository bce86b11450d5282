"""A crew: the workers of one executor, and the calls that were handed over to it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from typing import NamedTuple, cast

from gilscope.backends.base import Outcome
from gilscope.backends.execution import describe, execute
from gilscope.errors import BackendFailedError
from gilscope.workloads.base import FunctionRef

AHEAD = 64
"""How many calls an executor holds beside those that run. The others wait outside, where they can be counted and taken back.

With a few only, workers would run out of work whenever the event loop waits for the GIL, and so give it the GIL: threads would
seem to disturb it less than they do. And a process pool would be woken twice for each call, once for its result and once for the
next call.
"""


@dataclass(eq=False, slots=True)
class Call:
    """A call and who waits for its answer; once it is handed over, who has it."""

    function: FunctionRef
    arguments: Mapping[str, object]
    is_async: bool
    answer: asyncio.Future[Outcome]
    crew: Crew | None = None
    is_abandoned: bool = False


class Receipt(NamedTuple):
    """For a call that was handed over: the executor's future, and what takes it back and tells whether it had not begun."""

    future: Future[object]
    take_back: Callable[[], bool]


Ended = Callable[["Crew", Call, "Outcome | BaseException"], None]
"""Told on the event loop of each call that has ended, with what came of it."""


class Crew:
    """The workers of one executor of the standard library, and what was handed over to them. These share the service's memory."""

    def __init__(self, executor: Executor, workers: int) -> None:
        """A call that was withdrawn keeps its place in the executor until it is its turn, so that memory is bounded."""
        self.executor = executor
        self.calls: dict[Call, Receipt] = {}
        self.is_broken = False
        self._places = workers + AHEAD
        self._withdrawn: set[Future[object]] = set()
        self._gone: asyncio.Event | None = None

    def has_room(self) -> bool:
        """Whether the executor can take one more call.

        One it always can where it has none that somebody waits for: nobody hears of workers that pass over withdrawn ones, and
        what waits is handed over when one ends.
        """
        if self._withdrawn and len(self.calls) + len(self._withdrawn) >= self._places:
            # Of those that are cancelled, wait() takes for done what a worker has passed over, and not what is in its queue yet.
            self._withdrawn -= wait(self._withdrawn, timeout=0).done
        return not self.calls or len(self.calls) + len(self._withdrawn) < self._places

    def take(self, call: Call, ended: Ended) -> None:
        """Hand a call over to the executor; ``ended`` is told on the running loop what comes of it.

        Raises: what the executor's ``submit`` raises.
        """
        loop = asyncio.get_running_loop()

        def tell(future: Future[object]) -> None:
            found = self.read(future)
            try:  # noqa: SIM105  suppress() costs as much as the rest of this
                loop.call_soon_threadsafe(ended, self, call, found)
            except RuntimeError:  # the loop is closed: nobody waits any more
                pass

        receipt = self.calls[call] = self._submit(call)
        call.crew = self
        receipt.future.add_done_callback(tell)

    def _submit(self, call: Call) -> Receipt:
        future: Future[object] = self.executor.submit(execute, call.function, call.arguments, call.is_async)
        return Receipt(future, future.cancel)

    def read(self, future: Future[object]) -> Outcome | BaseException:
        """Return what came of a call: an outcome, or that it was cancelled, not handed over, or lost with the executor.

        Called in the executor's own thread, where a large result does not keep the event loop.
        """
        try:
            return self._unpacked(future.result())
        except CancelledError as problem:
            return problem
        except BrokenExecutor as problem:
            self._broke()
            return problem
        except BaseException as problem:  # noqa: BLE001  the function's own come back as an Outcome
            return not_handed_over(problem)

    def _unpacked(self, result: object) -> Outcome | BaseException:
        return cast("Outcome", result)

    def _broke(self) -> None:
        """See what there is to see, in the executor's own thread, when it has just broken."""

    def withdraw(self, call: Call) -> bool:
        """Take a call back; whether it had not begun."""
        if not self.calls[call].take_back():
            return False
        self._withdrawn.add(self.calls.pop(call).future)
        return True

    @property
    def pids(self) -> Collection[int]:
        """The workers' processes; none where they live in the service's own."""
        return ()

    def watch(self, died: Callable[[], None]) -> None:
        """Have ``died`` called where a worker dies and the executor does not tell. Threads do not die."""

    def how_it_broke(self, problem: BrokenExecutor | None) -> str:
        """Say in words why the executor broke, of what it says itself."""
        return str(problem)

    def kill(self) -> bool:
        """End all workers at once; return whether that can be done: threads cannot be killed."""
        return False

    def dismiss(self) -> asyncio.Event:
        """Drop what has not begun, and have the workers end; return what is set when they have."""
        if self._gone is None:
            self._gone = _in_a_daemon(self._shut_down)
        return self._gone

    def _shut_down(self) -> None:
        self.executor.shutdown(cancel_futures=True)

    @property
    def is_gone(self) -> bool:
        """Whether the workers were dismissed, and have ended."""
        return self._gone is not None and self._gone.is_set()


def not_handed_over(problem: BaseException) -> BackendFailedError:
    """Return the error that says why a call or its result did not get to the other side."""
    failure = describe(problem)
    return BackendFailedError(
        f"arguments or result could not be handed over: {failure.kind}: {failure.message}"
    )


def _in_a_daemon(call: Callable[[], None]) -> asyncio.Event:
    """Call something that blocks in a thread that keeps nobody from ending; return what is set when it comes back."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        call()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=run, daemon=True).start()
    return ended
