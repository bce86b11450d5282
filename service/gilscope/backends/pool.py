"""What the three pools share: an executor of the standard library behind the backend's signature."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor

from gilscope.backends.base import Outcome
from gilscope.backends.execution import execute
from gilscope.errors import BackendFailedError
from gilscope.workloads.base import FunctionRef, Workload
from gilscope.workloads.importing import load

START_LIMIT_S = 30.0
_PAUSE_S = 0.02


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
        self._replacing = asyncio.Lock()
        self.workers = workers
        self.restarts = 0
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
        executor = self._executor
        try:
            return await asyncio.get_running_loop().run_in_executor(
                executor, execute, workload.function, arguments, workload.is_async
            )
        except BrokenExecutor as problem:
            await self._replace(executor)
            raise BackendFailedError(f"a worker died: {problem}", remedy="the pool was replaced") from problem
        except Exception as problem:
            # The function's own exceptions come back as an Outcome: this is the hand-over.
            raise BackendFailedError(
                f"arguments or result could not be handed over: {type(problem).__name__}: {problem}"
            ) from problem

    async def _replace(self, broken: Executor) -> None:
        """Put a new pool in the place of a broken one; it gets no work before all of its workers are up.

        Otherwise it would start workers while it may be breaking again, and Python 3.11 does not survive that:
        a worker is forgotten and waited for at exit, or the fork server falls. (Its ``terminate_broken`` does
        not hold the ``shutdown_lock`` that ``submit`` holds; 3.12's does.)
        """
        async with self._replacing:
            if broken is not self._executor:
                return
            broken.shutdown(wait=False, cancel_futures=True)
            fresh = self._create()
            try:
                await self._bring_up(fresh)
            except BaseException:
                fresh.shutdown(wait=False, cancel_futures=True)
                raise
            self._executor = fresh
            self.restarts += 1

    async def stop(self) -> None:
        """Drop what has not begun and wait for the workers to end."""
        async with self._replacing:
            await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
