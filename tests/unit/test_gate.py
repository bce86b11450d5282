from __future__ import annotations

import asyncio
import contextlib
from typing import cast

import pytest

from gilscope.backends.base import Backend
from gilscope.errors import BackendFullError
from gilscope.model import BackendName
from gilscope.web.gate import Deadlines, Gate


class Pool:
    workers = 2
    abandoned = 0


def gate(backlog: int = 3) -> tuple[Gate, Pool]:
    pool = Pool()
    return Gate(BackendName.THREADS, cast("Backend", pool), backlog), pool


def test_as_many_come_in_as_there_are_workers_and_places_to_wait() -> None:
    found, _ = gate()
    for inside in range(5):
        assert (found.active, found.queued) == (min(inside, 2), max(0, inside - 2))
        found.enter()
    with pytest.raises(BackendFullError, match="5 calls are in the threads backend already") as caught:
        found.enter()
    assert "--backlog" in str(caught.value.remedy)
    assert (found.in_flight, found.inside) == (5, 5), "who was refused is not in"
    found.leave()
    found.enter()


def test_calls_that_nobody_waits_for_take_room_until_they_end() -> None:
    found, pool = gate(backlog=0)
    found.enter()
    found.leave()
    pool.abandoned = 2
    assert (found.inside, found.in_flight, found.active, found.queued) == (0, 2, 2, 0)
    with pytest.raises(BackendFullError):
        found.enter()
    pool.abandoned = 1
    found.enter()


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def wait_for_ever(deadlines: Deadlines) -> str:
    task = asyncio.current_task()
    assert task is not None
    deadlines.begin(task)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        is_late = deadlines.end(task)
        return f"late, cancelling {task.cancelling()}" if is_late else "cancelled by somebody else"
    return "came back"


@pytest.fixture
async def clock() -> Clock:
    return Clock()


async def test_the_late_are_cancelled_and_the_others_are_not(clock: Clock) -> None:
    deadlines = Deadlines(asyncio.get_running_loop(), 10.0, clock)
    first = asyncio.create_task(wait_for_ever(deadlines))
    await asyncio.sleep(0)
    clock.now_s = 5.0
    second = asyncio.create_task(wait_for_ever(deadlines))
    await asyncio.sleep(0)
    clock.now_s = 9.9
    deadlines._look()
    assert first.cancelling() == 0
    clock.now_s = 10.0
    deadlines._look()
    assert await first == "late, cancelling 0"
    assert second.cancelling() == 0
    second.cancel()
    assert await second == "cancelled by somebody else"
    clock.now_s = 99.0
    deadlines._look()
    assert (deadlines._begun, deadlines._late) == ({}, set())
    deadlines.stop()


async def test_who_ends_in_time_is_forgotten(clock: Clock) -> None:
    deadlines = Deadlines(asyncio.get_running_loop(), 1.0, clock)
    task = asyncio.current_task()
    assert task is not None
    deadlines.begin(task)
    assert not deadlines.end(task)
    clock.now_s = 5.0
    deadlines._look()
    assert task.cancelling() == 0
    deadlines.stop()


async def test_who_does_not_mind_being_cancelled_may_be_used_again(clock: Clock) -> None:
    """aiohttp answers all requests of a connection in one task."""
    deadlines = Deadlines(asyncio.get_running_loop(), 1.0, clock)

    async def stubborn() -> bool:
        task = asyncio.current_task()
        assert task is not None
        deadlines.begin(task)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return deadlines.end(task) and task.cancelling() == 0

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    clock.now_s = 1.0
    deadlines._look()
    assert await task
    deadlines.stop()
