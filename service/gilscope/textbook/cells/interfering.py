"""May interfere with each other, in data: two workers change the same thing at once. What is lost?"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import threading
from collections.abc import Callable, Coroutine, MutableSequence
from contextlib import AbstractContextManager
from multiprocessing.sharedctypes import RawArray, RawValue
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier
    from queue import Queue

SHOWN = {
    "asyncio": ("add_without_await", "add_with_await", "add_with_await_locked", "race_tasks"),
    "threads": (
        "Counter",
        "plus_one",
        "add",
        "add_with_call",
        "add_with_call_locked",
        "sell",
        "race_threads",
    ),
    "processes": ("add", "add_locked", "sell", "race_processes", "in_processes"),
    "interpreters": ("add_in_buffer", "add_in_buffer_with_token", "sell", "in_interpreters"),
}
"""What a reader wants to see of each: what the workers do, and how they are started."""

WORKERS = 2
THREAD_TIMES, PROCESS_TIMES, TASK_TIMES, TOKEN_TIMES = 300_000, 150_000, 20_000, 20
"""How often each worker does it: as often as takes well under a second."""


class Counter:
    """A number that somebody shares."""

    value = 0


class HasValue(Protocol):
    """A Counter, or a number in shared memory."""

    value: int


counter = Counter()


def plus_one(number: int) -> int:
    """Be a call in between."""
    return number + 1


def add(counter: HasValue, times: int) -> None:
    """Read, add and write in one statement."""
    for _ in range(times):
        counter.value += 1


def add_with_call(counter: HasValue, times: int) -> None:
    """Call a function between reading and writing."""
    for _ in range(times):
        counter.value = plus_one(counter.value)


def sell(seats: MutableSequence[int], _times: int) -> None:
    """Sell every seat that is free: check, then act."""
    for number in range(len(seats)):
        if seats[number] == 0:
            plus_one(0)
            seats[number] += 1


def add_locked(counter: HasValue, times: int, lock: AbstractContextManager[object]) -> None:
    """Add as ``add`` does, with a lock."""
    for _ in range(times):
        with lock:
            counter.value += 1


def add_with_call_locked(counter: HasValue, times: int, lock: AbstractContextManager[object]) -> None:
    """Add as ``add_with_call`` does, with a lock."""
    for _ in range(times):
        with lock:
            counter.value = plus_one(counter.value)


def sell_locked(seats: MutableSequence[int], _times: int, lock: AbstractContextManager[object]) -> None:
    """Sell as ``sell`` does, with a lock."""
    for number in range(len(seats)):
        with lock:
            if seats[number] == 0:
                plus_one(0)
                seats[number] += 1


def add_to_global(times: int) -> None:
    """Add to a plain global of this module."""
    add(counter, times)


def per_million(count: int, of: int) -> float:
    """Return how many of a million that is."""
    return count / of * 1e6


Race = Callable[..., float]
"""Runs a function in two workers at once; returns the seconds."""


def compare(
    race: Race, new: Callable[[], HasValue], seats: MutableSequence[int], times: int, lock: object
) -> dict[str, object]:
    """Have two workers do it, without a lock and with it."""
    figures: dict[str, object] = {"updates": WORKERS * times, "seats": len(seats)}
    for name, plain, locked in (
        ("add", add, add_locked),
        ("add_with_call", add_with_call, add_with_call_locked),
    ):
        free, guarded, wanted = new(), new(), WORKERS * times
        seconds, locked_seconds = race(plain, free, times), race(locked, guarded, times, lock)
        figures[f"{name}_lost_per_million"] = per_million(wanted - free.value, wanted)
        figures[f"{name}_locked_lost_per_million"] = per_million(wanted - guarded.value, wanted)
        figures[f"{name}_lock_ns"] = (locked_seconds - seconds) / wanted * 1e9
    race(sell, seats, times)
    figures["seats_sold_twice_per_million"] = per_million(sum(seats) - len(seats), len(seats))
    seats[:] = [0] * len(seats)
    race(sell_locked, seats, times, lock)
    figures["seats_locked_sold_twice_per_million"] = per_million(sum(seats) - len(seats), len(seats))
    return figures


def race_threads(work: Callable[..., None], *arguments: object) -> float:
    """Run it in two threads at once; return the seconds."""
    threads = [threading.Thread(target=work, args=arguments) for _ in range(WORKERS)]
    begun = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return perf_counter() - begun


def in_threads() -> dict[str, object]:
    """Two threads, a plain object and a list."""
    return compare(race_threads, Counter, [0] * THREAD_TIMES, THREAD_TIMES, threading.Lock())


def wait_and_work(start: Barrier, work: Callable[..., None], *arguments: object) -> None:
    """Begin when all have started."""
    start.wait()
    work(*arguments)


def race_processes(work: Callable[..., None], *arguments: object) -> float:
    """Run it in two processes at once; return the seconds."""
    start = multiprocessing.Barrier(WORKERS + 1)
    processes = [
        multiprocessing.Process(target=wait_and_work, args=(start, work, *arguments)) for _ in range(WORKERS)
    ]
    for process in processes:
        process.start()
    start.wait()
    begun = perf_counter()
    for process in processes:
        process.join()
    return perf_counter() - begun


def in_processes() -> dict[str, object]:
    """Two processes: a plain global, of which each has its own, and what is shared on purpose."""
    multiprocessing.set_forkserver_preload([__name__])  # the next ones start faster; a fork does not care
    race_processes(add_to_global, PROCESS_TIMES)
    shared = compare(
        race_processes,
        lambda: RawValue("q"),  # as multiprocessing.Value("q", lock=False)
        RawArray("b", PROCESS_TIMES),
        PROCESS_TIMES,
        multiprocessing.Lock(),
    )
    return {"global_seen_by_parent": counter.value, **shared}


async def add_with_await(times: int) -> None:
    """Await between reading and writing."""
    for _ in range(times):
        value = counter.value
        await asyncio.sleep(0)
        counter.value = value + 1


async def add_with_await_locked(times: int, lock: asyncio.Lock) -> None:
    """The same, with a lock."""
    for _ in range(times):
        async with lock:
            value = counter.value
            await asyncio.sleep(0)
            counter.value = value + 1


async def add_without_await(times: int) -> None:
    """Nothing else runs in between."""
    add_with_call(counter, times)


async def sell_with_await(seats: list[int]) -> None:
    """Await between checking and acting."""
    for number in range(len(seats)):
        if seats[number] == 0:
            await asyncio.sleep(0)
            seats[number] += 1


async def race_tasks(work: Callable[..., Coroutine[object, object, None]], *arguments: object) -> float:
    """Run it in two tasks at once; return the seconds. The counter begins at 0."""
    counter.value = 0
    begun = perf_counter()
    await asyncio.gather(*(work(*arguments) for _ in range(WORKERS)))
    return perf_counter() - begun


async def compare_tasks() -> dict[str, object]:
    """Have two tasks do it, with and without an await in between, and with a lock."""
    wanted, seats = WORKERS * TASK_TIMES, [0] * TASK_TIMES
    figures: dict[str, object] = {"updates": wanted, "seats": len(seats)}
    await race_tasks(add_without_await, TASK_TIMES)
    figures["add_with_call_lost_per_million"] = per_million(wanted - counter.value, wanted)
    seconds = await race_tasks(add_with_await, TASK_TIMES)
    figures["add_with_await_lost_per_million"] = per_million(wanted - counter.value, wanted)
    locked_seconds = await race_tasks(add_with_await_locked, TASK_TIMES, asyncio.Lock())
    figures["add_with_await_locked_lost_per_million"] = per_million(wanted - counter.value, wanted)
    figures["add_with_await_lock_ns"] = (locked_seconds - seconds) / wanted * 1e9
    await race_tasks(sell_with_await, seats)
    figures["seats_sold_twice_per_million"] = per_million(sum(seats) - len(seats), len(seats))
    return figures


def in_asyncio() -> dict[str, object]:
    """Two tasks on one loop."""
    return asyncio.run(compare_tasks())


def add_in_buffer(buffer: memoryview, times: int) -> None:
    """Add to a number in a shared buffer."""
    numbers = buffer.cast("q")
    for _ in range(times):
        numbers[0] += 1


def add_in_buffer_with_token(buffer: memoryview, times: int, tokens: Queue[None]) -> None:
    """Add while holding the only token of a queue: subinterpreters have no lock."""
    numbers = buffer.cast("q")
    for _ in range(times):
        tokens.get()
        numbers[0] += 1
        tokens.put(None)


def in_interpreters() -> dict[str, object]:
    """Two subinterpreters: a plain global, of which each has its own, and a shared buffer."""
    from concurrent import interpreters  # type: ignore[attr-defined] # noqa: PLC0415

    workers = [interpreters.create() for _ in range(WORKERS)]
    number, seats = bytearray(8), bytearray(THREAD_TIMES)

    def race(work: Callable[..., None], *arguments: object) -> float:
        begun = perf_counter()
        threads = [worker.call_in_thread(work, *arguments) for worker in workers]
        for thread in threads:
            thread.join()
        return perf_counter() - begun

    race(add_to_global, THREAD_TIMES)
    race(add_in_buffer, memoryview(number), THREAD_TIMES)
    race(sell, memoryview(seats), THREAD_TIMES)
    added, number[:] = int.from_bytes(number, sys.byteorder), bytes(8)
    tokens = interpreters.create_queue()
    tokens.put(None)
    seconds = race(add_in_buffer_with_token, memoryview(number), TOKEN_TIMES, tokens)
    added_locked, wanted_locked = int.from_bytes(number, sys.byteorder), WORKERS * TOKEN_TIMES
    wanted = WORKERS * THREAD_TIMES
    return {
        "updates": wanted,
        "seats": len(seats),
        "global_seen_by_parent": counter.value,
        "add_lost_per_million": per_million(wanted - added, wanted),
        "seats_sold_twice_per_million": per_million(sum(seats) - len(seats), len(seats)),
        "add_locked_lost_per_million": per_million(wanted_locked - added_locked, wanted_locked),
        "add_lock_ns": seconds / wanted_locked * 1e9,
    }
