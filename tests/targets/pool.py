"""An event loop that keeps a pool busy with primes, and wakes up every 5 ms as a service with other callers would.

Arguments: ``threads`` or ``processes``, the number of workers, primes' argument. Prints ``{}`` once all of them work.
"""

import asyncio
import multiprocessing
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "service"))

from gilscope.workloads.primes import primes

BEAT_S = 0.005


def pool_of(kind: str, workers: int) -> Executor:
    if kind == "threads":
        return ThreadPoolExecutor(workers)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver"))


async def keep_busy(pool: Executor, n: int) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await loop.run_in_executor(pool, primes, n)


async def serve(kind: str, workers: int, n: int) -> None:
    with pool_of(kind, workers) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, primes, 10) for _ in range(workers)))
        tasks = [asyncio.create_task(keep_busy(pool, n)) for _ in range(workers)]
        print("{}", flush=True)  # noqa: T201
        while tasks:  # noqa: ASYNC110  it beats
            await asyncio.sleep(BEAT_S)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
