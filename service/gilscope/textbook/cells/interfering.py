"""May interfere with each other, in data: two workers change the same thing at once. What is lost?"""

from __future__ import annotations

import asyncio
import multiprocessing
from array import array
from collections.abc import Callable, Coroutine, MutableSequence
from contextlib import AbstractContextManager
from multiprocessing.sharedctypes import RawArray
from threading import Lock, Thread
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from queue import Queue

SHOWN = {
    "asyncio": ("add_with_await", "sell_with_await", "repeat_in_task", "compare_tasks"),
    "threads": ("plus_one", "add", "add_with_call", "sell", "repeat", "compare", "in_threads"),
    "processes": ("add", "sell", "repeat", "compare", "in_processes"),
    "interpreters": ("add", "sell", "Token", "repeat", "compare", "in_interpreters"),
}
"""What a reader wants to see of each: what the workers do, how they are started, and how the figures come about."""

WORKERS = 2
THREAD_TIMES, TIMES, TASK_TIMES, SEATS = 2_000_000, 500_000, 20_000, 2_000
"""How often each worker adds, and how many seats it tries to sell: well under a second, and enough to meet.

Both have to be on a core for that; threads take turns of 5 ms, and by far not every turn ends between reading and writing.
"""
LOCKED_TIMES = 100_000
"""How often it adds with a lock, at the most: the token of subinterpreters takes ten times as long."""

seen = list[int]()


class Joinable(Protocol):
    """A thread or a process."""

    def join(self) -> None:
        """Wait for its end."""


Shared = MutableSequence[Any]
Step = Callable[[Shared, int], None]
AnyLock = AbstractContextManager[object] | None
New = Callable[[str, int], Any]
"""Makes so many zeros, integers ("q") or floats ("d"), that all workers share."""
Start = Callable[..., Joinable]
"""Starts a function in the worker whose number is its first argument."""


def plus_one(number: int) -> int:
    """Be a call in between."""
    return number + 1


def add(numbers: Shared, _at: int) -> None:
    """Read, add and write in one statement."""
    numbers[0] += 1


def add_with_call(numbers: Shared, _at: int) -> None:
    """Call a function between reading and writing."""
    numbers[0] = plus_one(numbers[0])


def sell(seats: Shared, at: int) -> None:
    """Sell a seat that is free: check, let others run (as whoever asks a database does), then act."""
    if seats[at] == 0:
        sleep(0)
        seats[at] += 1


class Token(NamedTuple):
    """The only token of a queue as a lock: subinterpreters have no other. Who waits asks again every 10 ms."""

    queue: Queue[None]

    def __enter__(self) -> None:
        self.queue.get()

    def __exit__(self, *_problem: object) -> None:
        self.queue.put(None)


def repeat(me: int, seconds: Shared, step: Step, numbers: Shared, times: int, lock: AnyLock = None) -> None:
    """Begin when all workers have, and do it again and again; leave for how long."""
    seen.append(me)  # a plain global: who sees that?
    seconds[me] = -1.0
    while 0.0 in seconds:
        sleep(0)
    begun = perf_counter()
    for at in range(times):
        if lock is None:
            step(numbers, at)
        else:
            with lock:
                step(numbers, at)
    seconds[me] = perf_counter() - begun


def compare(new: New, start: Start, lock: object, times: int, *adds: Step) -> dict[str, object]:
    """Have two workers add to one number and sell the same seats, without a lock and with it."""
    locked_times = min(times, LOCKED_TIMES)
    figures: dict[str, object] = {
        "updates": WORKERS * times,
        "updates_locked": WORKERS * locked_times,
        "seats": SEATS,
    }
    for step in (*adds, sell):
        size, many, few = (SEATS, SEATS, SEATS) if step is sell else (1, times, locked_times)
        for name, count, *given in ((step.__name__, many), (f"{step.__name__}_locked", few, lock)):
            seconds, numbers = new("d", WORKERS), new("q", size)
            work = [start(repeat, me, seconds, step, numbers, count, *given) for me in range(WORKERS)]
            for one in work:
                one.join()
            wanted = SEATS if step is sell else WORKERS * count
            figures[f"{name}_wrong_per_million"] = abs(sum(numbers) - wanted) / wanted * 1e6
            figures[f"{name}_ns"] = max(seconds) / count / WORKERS * 1e9
    return figures


def in_threads() -> dict[str, object]:
    """Two threads and a list."""

    def start(work: Callable[..., None], *arguments: object) -> Thread:
        thread = Thread(target=work, args=arguments)
        thread.start()
        return thread

    return compare(lambda _kind, size: [0] * size, start, Lock(), THREAD_TIMES, add, add_with_call)


def in_processes() -> dict[str, object]:
    """Two processes: a plain global, of which each has its own, and what is shared on purpose."""
    multiprocessing.set_forkserver_preload([__name__])  # the next ones start faster; a fork does not care

    def start(work: Callable[..., None], *arguments: object) -> multiprocessing.Process:
        process = multiprocessing.Process(target=work, args=arguments)
        process.start()
        return process

    shared = compare(RawArray, start, multiprocessing.Lock(), TIMES, add)
    return {"global_seen_by_parent": len(seen), **shared}


def new_buffer(kind: str, size: int) -> memoryview:
    """Make what a subinterpreter can be given without a copy."""
    return memoryview(array(kind, [0] * size))


def in_interpreters() -> dict[str, object]:
    """Two subinterpreters: a plain global, of which each has its own, and shared buffers."""
    from concurrent import interpreters  # type: ignore[attr-defined] # noqa: PLC0415

    workers, tokens = [interpreters.create() for _ in range(WORKERS)], interpreters.create_queue()
    tokens.put(None)

    def start(work: Callable[..., None], me: int, *arguments: object) -> Thread:
        return workers[me].call_in_thread(work, me, *arguments)  # type: ignore[no-any-return]

    shared = compare(new_buffer, start, Token(tokens), TIMES, add)
    return {"global_seen_by_parent": len(seen), **shared}


TaskStep = Callable[[Shared, int], Coroutine[object, object, None]]


async def add_without_await(numbers: Shared, at: int) -> None:
    """Nothing else runs in between."""
    add_with_call(numbers, at)


async def add_with_await(numbers: Shared, _at: int) -> None:
    """Await between reading and writing."""
    value = numbers[0]
    await asyncio.sleep(0)
    numbers[0] = value + 1


async def sell_with_await(seats: Shared, at: int) -> None:
    """Await between checking and acting."""
    if seats[at] == 0:
        await asyncio.sleep(0)
        seats[at] += 1


async def repeat_in_task(
    step: TaskStep, numbers: Shared, times: int, lock: asyncio.Lock | None = None
) -> None:
    """Do it again and again."""
    for at in range(times):
        if lock is None:
            await step(numbers, at)
        else:
            async with lock:
                await step(numbers, at)


async def compare_tasks() -> dict[str, object]:
    """Have two tasks add to one number and sell the same seats, without a lock and with it."""
    figures: dict[str, object] = {"updates": WORKERS * TASK_TIMES, "seats": SEATS}
    each = [(step, 1, TASK_TIMES, WORKERS * TASK_TIMES) for step in (add_without_await, add_with_await)]
    for step, size, count, wanted in (*each, (sell_with_await, SEATS, SEATS, SEATS)):
        for name, *given in ((step.__name__,), (f"{step.__name__}_locked", asyncio.Lock())):
            numbers, begun = [0] * size, perf_counter()
            await asyncio.gather(*(repeat_in_task(step, numbers, count, *given) for _ in range(WORKERS)))
            figures[f"{name}_wrong_per_million"] = abs(sum(numbers) - wanted) / wanted * 1e6
            figures[f"{name}_ns"] = (perf_counter() - begun) / count / WORKERS * 1e9
    return figures


def in_asyncio() -> dict[str, object]:
    """Two tasks on one loop."""
    return asyncio.run(compare_tasks())
