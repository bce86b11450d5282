"""Costs: to start a worker, to call it, and in memory per worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from statistics import median

from gilscope.textbook.cells.common import median_ms, once_ms, pss_mb

CALLS, STARTS = 200, 3
TASKS = 10_000
FEW, MANY = 1, 4


def memory_mb(create: Callable[[int], Executor], workers: int) -> float:
    """Return the memory of a new pool in which every worker has had a call, in MB."""
    with create(workers) as pool:
        for call in [pool.submit(time.sleep, 0.1) for _ in range(workers)]:
            call.result()
        return pss_mb()


def cost(create: Callable[[int], Executor]) -> dict[str, object]:
    """Measure pools: the first call of the first one ever and of later ones, further calls, the memory of a worker more.

    ``int()`` does nothing. With the first process a fork server may start as well, which stays for those to come.
    """
    pools = [create(1) for _ in range(1 + STARTS)]
    first_ms, *next_ms = [once_ms(lambda: pool.submit(int).result()) for pool in pools]  # noqa: B023
    call_ms = median_ms(lambda: pools[0].submit(int).result(), CALLS)
    for pool in pools:
        pool.shutdown()
    few, many = memory_mb(create, FEW), memory_mb(create, MANY)
    return {
        "first_start_ms": first_ms,
        "start_ms": median(next_ms),
        "call_us": call_ms * 1e3,
        "worker_mb": (many - few) / (MANY - FEW),
    }


def in_threads() -> dict[str, object]:
    """A pool of threads."""
    return cost(ThreadPoolExecutor)


def in_processes() -> dict[str, object]:
    """A pool of processes, started as is the default here."""
    return cost(ProcessPoolExecutor)


def in_interpreters() -> dict[str, object]:
    """A pool of subinterpreters."""
    from concurrent.futures import InterpreterPoolExecutor  # type: ignore[attr-defined] # noqa: PLC0415

    return cost(InterpreterPoolExecutor)


async def do_nothing() -> None:
    """Do nothing, as a coroutine."""


async def cost_of_tasks() -> dict[str, object]:
    """Measure a call as a task of its own, and the memory of many that sleep."""
    took = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        await asyncio.create_task(do_nothing())
        took.append(time.perf_counter() - begun)
    before = pss_mb()
    tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(TASKS)]
    await asyncio.sleep(0)
    memory = pss_mb() - before
    for task in tasks:
        task.cancel()
    return {"call_us": sorted(took)[CALLS // 2] * 1e6, "ten_thousand_tasks_mb": memory}


def in_asyncio() -> dict[str, object]:
    """An event loop, and tasks on it."""
    start_ms = once_ms(lambda: asyncio.run(do_nothing()))
    return {"start_ms": start_ms, **asyncio.run(cost_of_tasks())}
