from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from gilscope.backends.base import Outcome
from gilscope.backends.crew import AHEAD, Crew
from gilscope.backends.pool import PoolBackend
from gilscope.workloads.base import FunctionRef, Workload

WORK = Workload("work", "work", FunctionRef("nowhere", "work"))


class Slow(Executor):
    """An executor whose only worker does nothing by itself."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, _function: Callable[..., Any], /, *_given: Any, **_named: Any) -> Future[Any]:  # noqa: ANN401
        self.futures.append(Future())
        return self.futures[-1]


async def test_a_pool_whose_places_are_full_of_withdrawn_calls_goes_on() -> None:
    """A worker passes over them when it gets the GIL, and nobody is told; until then the next one may be withdrawn, too."""
    executor, outcome = Slow(), Outcome("done", None, 0, 0, 0)
    pool = PoolBackend(lambda: Crew(executor, 1), 1)

    async def call() -> object:
        return (await pool.run(WORK, {})).result

    runs, *queued = [asyncio.create_task(call()) for _ in range(AHEAD + 1)]
    await asyncio.sleep(0)
    first = executor.futures[0]
    first.set_running_or_notify_cancel()
    for task in queued:
        task.cancel()
    await asyncio.wait(queued)
    waits = asyncio.create_task(call())
    await asyncio.sleep(0)
    assert len(executor.futures) == AHEAD + 1, "there is no room"
    first.set_result(outcome)
    assert await runs == "done"
    assert len(executor.futures) == AHEAD + 2, "it was handed over when that one ended"
    waits.cancel()
    await asyncio.wait([waits])
    for number in (3, 4):
        later = asyncio.create_task(call())
        await asyncio.sleep(0)
        assert len(executor.futures) == AHEAD + number, "the workers would be idle for ever"
        executor.futures[-1].set_running_or_notify_cancel()
        executor.futures[-1].set_result(outcome)
        assert await later == "done"
