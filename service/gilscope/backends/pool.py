"""What the three pools share: a crew of workers behind the backend's signature, and another where it breaks."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError

from gilscope.backends.base import Outcome
from gilscope.backends.crew import Call, Crew, not_handed_over
from gilscope.errors import BackendFailedError
from gilscope.workloads.base import FunctionRef, Workload
from gilscope.workloads.importing import load

START_LIMIT_S = 30.0
PAUSE_S = 1.0
"""How long after a pool did not come up nobody tries again."""

_GREETING_S = 0.02
_KILLED_S = 2.0


def greet(functions: Sequence[FunctionRef], pause_s: float) -> tuple[int, int]:
    """Import the functions in a worker and say which worker it is, as (process id, thread id).

    The pause keeps a worker from greeting twice before its neighbours have come up.
    """
    for function in functions:
        load(function)
    time.sleep(pause_s)
    return os.getpid(), threading.get_native_id()


class PoolBackend:
    """Runs every call in a crew's workers; a crew that breaks is replaced by a new one.

    What waits for a worker waits here, in the order in which it came, and the executor has a few calls at a time.
    """

    def __init__(self, create_crew: Callable[[], Crew], workers: int) -> None:
        self._create = create_crew
        self._crew = create_crew()
        self._former: list[Crew] = []
        self._functions: Sequence[FunctionRef] = ()
        self._waiting: dict[Call, None] = {}
        self._replacement: asyncio.Task[None] | None = None
        self._failure = ""
        self._may_try_at_s = 0.0
        self._is_stopping = False
        self.workers = workers
        self.restarts = 0
        self.abandoned = self.abandoned_ever = 0

    @property
    def pids(self) -> Collection[int]:
        """The workers' processes."""
        return self._crew.pids

    async def start(self, workloads: Sequence[Workload]) -> None:
        """Greet until every worker has answered: executors start their workers on demand."""
        self._functions = [workload.function for workload in workloads]
        await self._bring_up(self._crew)

    async def _bring_up(self, crew: Crew) -> None:
        """Have all workers started; where that fails, those that were are killed."""
        seen: set[tuple[int, int]] = set()
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while len(seen) < self.workers:
                    seen.update(await self._greet_all(crew))
        except BaseException as problem:
            self._end(crew)
            if not isinstance(problem, TimeoutError):
                raise
            raise BackendFailedError(
                f"only {len(seen)} of {self.workers} workers came up within {START_LIMIT_S:.0f} s",
                remedy="a smaller --pool-size, or see what importing the function waits for",
            ) from None
        crew.watch(lambda: self._breaks(crew))

    async def _greet_all(self, crew: Crew) -> list[tuple[int, int]]:
        loop = asyncio.get_running_loop()
        greetings = []
        try:
            for _ in range(self.workers):
                greeting = loop.run_in_executor(crew.executor, greet, self._functions, _GREETING_S)
                greeting.add_done_callback(_note)
                greetings.append(greeting)
            # Not gather(): who gives up waiting must not cancel what a worker may be about to begin.
            await asyncio.wait(greetings)
            return [greeting.result() for greeting in greetings]
        except BrokenExecutor as problem:
            told = crew.how_it_broke(problem)
            raise BackendFailedError(f"a worker died while it started: {told}") from problem
        except (OSError, EOFError, RuntimeError) as problem:
            raise BackendFailedError(
                f"workers could not be started: {type(problem).__name__}: {problem}",
                remedy="a smaller --pool-size, or see which limit was reached",
            ) from problem

    async def run(self, workload: Workload, arguments: Mapping[str, object]) -> Outcome:
        """Call the function in whichever worker is free next."""
        if self._is_stopping:
            raise BackendFailedError("the pool is being stopped")
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        call = Call(workload.function, arguments, workload.is_async, answer)
        if self._waiting or not self._take(call):
            self._waiting[call] = None
            if self._crew.is_broken:
                self._replace()
        try:
            return await answer
        except asyncio.CancelledError:
            self._give_up(call)
            raise

    def _take(self, call: Call) -> bool:
        """Hand a call over, if there is room for it; otherwise it has to wait."""
        crew = self._crew
        if crew.is_broken or not crew.has_room():
            return False
        try:
            crew.take(call, self._ended)
        except BrokenExecutor as problem:
            # Nobody knew yet. The call has not begun anywhere: it is handed to the next crew.
            self._breaks(crew, problem)
            return False
        except Exception as problem:  # noqa: BLE001  whatever there is no more of: threads, files
            _fail(call, not_handed_over(problem))
        return True

    def _hand_over(self) -> None:
        """Hand over what waits, as far as there is room."""
        while self._waiting:
            call = next(iter(self._waiting))
            if not self._take(call):
                break
            del self._waiting[call]

    def _ended(self, crew: Crew, call: Call, found: Outcome | BaseException) -> None:
        """Answer a call that has ended, and hand over the next."""
        if isinstance(found, BrokenExecutor):
            self._breaks(crew, found)
        elif call in crew.calls:  # and neither withdrawn nor answered when its crew broke
            del crew.calls[call]  # and so the executor's future, which has the result, and knows the call
            self._settle(call, found)
        if self._waiting:
            self._hand_over()

    def _settle(self, call: Call, found: Outcome | BaseException) -> None:
        if call.is_abandoned:
            self.abandoned -= 1
        elif isinstance(found, CancelledError):
            call.answer.cancel()
        elif isinstance(found, BaseException):
            _fail(call, found)
        elif not call.answer.done():
            call.answer.set_result(found)

    def _give_up(self, call: Call) -> None:
        """Take back a call that nobody waits for, or count it until it ends."""
        if call in self._waiting:
            del self._waiting[call]
        elif call.crew is not None and call in call.crew.calls and not call.crew.withdraw(call):
            call.is_abandoned = True
            self.abandoned += 1
            self.abandoned_ever += 1

    def _breaks(self, crew: Crew, problem: BrokenExecutor | None = None) -> None:
        """Answer all calls that a broken crew had, and begin to replace it."""
        if crew.is_broken:
            return
        crew.is_broken = True
        told = f"a worker died: {crew.how_it_broke(problem)}"
        calls, crew.calls = crew.calls, {}
        for call in calls:
            self._settle(call, BackendFailedError(told, remedy="the pool is being replaced"))
        self._end(crew)
        self._replace()

    def _end(self, crew: Crew) -> None:
        """Kill what is left of a crew, and remember it until it is gone."""
        crew.kill()
        crew.dismiss()
        self._former = [one for one in self._former if not one.is_gone]
        self._former.append(crew)

    def _replace(self) -> None:
        """Begin to put a new crew in the place of a broken one; where that has just failed, tell those who wait."""
        loop = asyncio.get_running_loop()
        if self._is_stopping or self._replacement is not None:
            return
        if loop.time() < self._may_try_at_s:
            self._refuse_all()
        else:
            self._replacement = loop.create_task(self._bring_up_another())
            self._replacement.add_done_callback(self._replaced)

    async def _bring_up_another(self) -> None:
        """Replace the crew by a new one, which gets no work before all of its workers are up.

        Otherwise it would start workers while it may be breaking again, and Python 3.11 does not survive that:
        a worker is forgotten and waited for at exit, or the fork server falls. (Its ``terminate_broken`` does
        not hold the ``shutdown_lock`` that ``submit`` holds; 3.12's does.)
        """
        crew = self._create()
        await self._bring_up(crew)
        self._crew = crew
        self.restarts += 1

    def _replaced(self, task: asyncio.Task[None]) -> None:
        self._replacement = None
        if task.cancelled():
            return
        problem = task.exception()
        if problem is None:
            self._hand_over()
            return
        self._failure = f"the pool broke, and another did not come up: {problem}"
        self._may_try_at_s = task.get_loop().time() + PAUSE_S
        self._refuse_all()

    def _refuse_all(self) -> None:
        """Tell those who wait that there are no workers."""
        for call in self._waiting:
            _fail(call, BackendFailedError(self._failure))
        self._waiting.clear()

    async def stop(self, grace_s: float) -> bool:
        """Drop what has not begun and wait for the workers to end."""
        self._is_stopping = True
        if self._replacement is not None:
            self._replacement.cancel()
            await asyncio.wait([self._replacement])
        for call in self._waiting:
            call.answer.cancel()
        self._waiting.clear()
        crews = [self._crew, *self._former]
        gone = [asyncio.ensure_future(crew.dismiss().wait()) for crew in crews]
        _, left = await asyncio.wait(gone, timeout=grace_s)
        if left and any([crew.kill() for crew in crews]):  # noqa: C419  all of them
            _, left = await asyncio.wait(left, timeout=_KILLED_S)
        for waiting in left:
            waiting.cancel()
        return not left


def _fail(call: Call, problem: BaseException) -> None:
    if not call.answer.done():
        call.answer.set_exception(problem)


def _note(greeting: asyncio.Future[tuple[int, int]]) -> None:
    """Have seen a greeting's exception, whether somebody still waits for it or not."""
    if not greeting.cancelled():
        greeting.exception()
