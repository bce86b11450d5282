"""What the three pools share: an executor of the standard library behind the backend's signature."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future

from gilscope.backends.base import Outcome
from gilscope.backends.execution import execute
from gilscope.errors import BackendFailedError
from gilscope.workloads.base import FunctionRef, Workload
from gilscope.workloads.importing import load

START_LIMIT_S = 30.0
_PAUSE_S = 0.02
_POOLS_TRIED = 3
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
    """Runs every call in an executor's workers; a broken executor is replaced by a new one."""

    def __init__(self, create_executor: Callable[[], Executor], workers: int) -> None:
        self._create = create_executor
        self._executor = create_executor()
        self._functions: Sequence[FunctionRef] = ()
        self._replacement: asyncio.Task[None] | None = None
        self.workers = workers
        self.restarts = 0
        self.abandoned = self.abandoned_ever = 0
        self.pids: Collection[int] = ()

    async def start(self, workloads: Sequence[Workload]) -> None:
        """Greet until every worker has answered: executors start their workers on demand."""
        self._functions = [workload.function for workload in workloads]
        await self._bring_up(self._executor)

    async def _bring_up(self, executor: Executor) -> None:
        seen: set[tuple[int, int]] = set()
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while len(seen) < self.workers:
                    seen.update(await self._greet_all(executor))
        except TimeoutError:
            raise BackendFailedError(
                f"only {len(seen)} of {self.workers} workers came up within {START_LIMIT_S:.0f} s",
                remedy="a smaller --pool-size, or see what importing the function waits for",
            ) from None
        self.pids = {pid for pid, _ in seen} - {os.getpid()}

    async def _greet_all(self, executor: Executor) -> list[tuple[int, int]]:
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.gather(
                *(
                    loop.run_in_executor(executor, greet, self._functions, _PAUSE_S)
                    for _ in range(self.workers)
                )
            )
        except BrokenExecutor as problem:
            raise BackendFailedError(f"a worker died while it started: {problem}") from problem

    async def run(self, workload: Workload, arguments: Mapping[str, object]) -> Outcome:
        """Call the function in whichever worker is free next."""
        executor, future = await self._submit(workload, arguments)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancel():
                self._abandon(future)
            raise
        except BrokenExecutor as problem:
            await self._replaced(executor)
            raise BackendFailedError(f"a worker died: {problem}", remedy="the pool was replaced") from problem
        except Exception as problem:
            # The function's own exceptions come back as an Outcome: this is the hand-over.
            raise BackendFailedError(
                f"arguments or result could not be handed over: {type(problem).__name__}: {problem}"
            ) from problem

    async def _submit(
        self, workload: Workload, arguments: Mapping[str, object]
    ) -> tuple[Executor, Future[Outcome]]:
        """Hand a call over; one that a broken pool refuses has not begun anywhere, and is handed to the next pool."""
        for _ in range(_POOLS_TRIED):
            executor = self._executor
            try:
                return executor, executor.submit(execute, workload.function, arguments, workload.is_async)
            except BrokenExecutor:
                await self._replaced(executor)
            except RuntimeError as problem:  # it has been shut down
                raise BackendFailedError("the pool is being stopped") from problem
        raise BackendFailedError(f"{_POOLS_TRIED} pools in a row broke at once", remedy="see why workers die")

    def _abandon(self, future: Future[Outcome]) -> None:
        """Count a call that nobody waits for until it ends."""
        loop = asyncio.get_running_loop()
        self.abandoned += 1
        self.abandoned_ever += 1

        def ended() -> None:
            self.abandoned -= 1

        def tell(_: Future[Outcome]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
                loop.call_soon_threadsafe(ended)

        future.add_done_callback(tell)

    async def _replaced(self, broken: Executor) -> None:
        """Wait until a new pool has taken the place of a broken one, whoever else gives up waiting for it.

        Raises:
            BackendFailedError: the new one did not come up either.
        """
        if broken is not self._executor:
            return
        if self._replacement is None:
            self._replacement = asyncio.get_running_loop().create_task(self._replace(broken))
            self._replacement.add_done_callback(self._forget_replacement)
        await asyncio.shield(self._replacement)

    def _forget_replacement(self, task: asyncio.Task[None]) -> None:
        self._replacement = None
        if not task.cancelled():
            task.exception()  # Whoever waited has been told; if nobody did, the next call tries again.

    async def _replace(self, broken: Executor) -> None:
        """Put a new pool in the place of a broken one; it gets no work before all of its workers are up.

        Otherwise it would start workers while it may be breaking again, and Python 3.11 does not survive that:
        a worker is forgotten and waited for at exit, or the fork server falls. (Its ``terminate_broken`` does
        not hold the ``shutdown_lock`` that ``submit`` holds; 3.12's does.)
        """
        broken.shutdown(wait=False, cancel_futures=True)
        fresh = self._create()
        try:
            await self._bring_up(fresh)
        except BaseException:
            fresh.shutdown(wait=False, cancel_futures=True)
            raise
        self._executor = fresh
        self.restarts += 1

    async def stop(self, grace_s: float) -> bool:
        """Drop what has not begun and wait for the workers to end."""
        if self._replacement is not None:
            self._replacement.cancel()
            await asyncio.gather(self._replacement, return_exceptions=True)
        ended = _in_a_daemon(lambda: self._executor.shutdown(cancel_futures=True))
        if not await _within(grace_s, ended) and self.pids:
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await _within(_KILLED_S, ended)
        return ended.is_set()


def _in_a_daemon(call: Callable[[], None]) -> asyncio.Event:
    """Call something that blocks in a thread that keeps nobody from ending; return what is set when it comes back."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        call()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=run, daemon=True).start()
    return ended


async def _within(limit_s: float, event: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await event.wait()
    return event.is_set()
