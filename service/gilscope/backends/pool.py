"""What the three pools share: an executor of the standard library behind the backend's signature."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
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
        self.workers = workers
        self.restarts = 0

    async def start(self, workloads: Sequence[Workload]) -> None:
        """Greet until every worker has answered: executors start their workers on demand."""
        functions = [workload.function for workload in workloads]
        seen: set[tuple[int, int]] = set()
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while len(seen) < self.workers:
                    seen.update(await self._greet_all(functions))
        except TimeoutError:
            raise BackendFailedError(
                f"only {len(seen)} of {self.workers} workers came up within {START_LIMIT_S:.0f} s",
                remedy="a smaller --pool-size, or see what importing the function waits for",
            ) from None

    async def _greet_all(self, functions: Sequence[FunctionRef]) -> list[tuple[int, int]]:
        loop = asyncio.get_running_loop()
        greetings = [
            loop.run_in_executor(self._executor, greet, functions, _PAUSE_S) for _ in range(self.workers)
        ]
        try:
            return await asyncio.gather(*greetings)
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
            self._replace(executor)
            raise BackendFailedError(f"a worker died: {problem}", remedy="the pool was replaced") from problem
        except Exception as problem:
            # The function's own exceptions come back as an Outcome: this is the hand-over.
            raise BackendFailedError(
                f"arguments or result could not be handed over: {type(problem).__name__}: {problem}"
            ) from problem

    def _replace(self, broken: Executor) -> None:
        if broken is self._executor:
            self._executor = self._create()
            self.restarts += 1
            broken.shutdown(wait=False, cancel_futures=True)

    async def stop(self) -> None:
        """Drop what has not begun and wait for the workers to end."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
