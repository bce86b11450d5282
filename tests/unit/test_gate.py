from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from gilscope.backends.base import Backend
from gilscope.errors import BackendFullError
from gilscope.model import BackendName
from gilscope.web.gate import CALM_S, HEED_S, HURRIED_INTERVAL_S, Deadlines, Gate, Hurry


class Pool:
    workers = 2
    abandoned = abandoned_ever = 0


def gate(backlog: int = 3, refused: Callable[[], None] = lambda: None) -> tuple[Gate, Pool]:
    pool = Pool()
    return Gate(BackendName.THREADS, cast("Backend", pool), backlog, refused), pool


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


def test_who_is_refused_is_told_of() -> None:
    refused: list[None] = []
    found, _ = gate(backlog=0, refused=lambda: refused.append(None))
    found.enter()
    found.enter()
    assert not refused
    for count in (1, 2):
        with pytest.raises(BackendFullError):
            found.enter()
        assert len(refused) == count


class Timers:
    """An event loop's clock, that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.due.append((self.now_s + delay_s, call))

    def until(self, time_s: float) -> None:
        while self.due and min(self.due)[0] <= time_s:
            self.due.sort()
            self.now_s, call = self.due.pop(0)
            call()
        self.now_s = time_s


@pytest.fixture
def usual_s() -> Iterator[float]:
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    yield 0.004
    sys.setswitchinterval(before_s)


def test_while_requests_are_refused_the_gil_is_given_up_sooner(usual_s: float) -> None:
    timers = Timers()
    hurry = Hurry(cast("asyncio.AbstractEventLoop", timers))
    assert sys.getswitchinterval() == pytest.approx(usual_s)
    for at_s in (10.0, 10.5, 11.2):
        timers.until(at_s)
        hurry.refused()
        assert sys.getswitchinterval() == pytest.approx(HURRIED_INTERVAL_S)
    timers.until(11.2 + CALM_S - 0.01)
    assert sys.getswitchinterval() == pytest.approx(HURRIED_INTERVAL_S)
    timers.until(11.2 + CALM_S + 0.01)
    assert sys.getswitchinterval() == pytest.approx(usual_s)
    assert timers.due == []
    timers.until(20.0)
    hurry.refused()
    assert sys.getswitchinterval() == pytest.approx(HURRIED_INTERVAL_S)
    hurry.stop()
    assert sys.getswitchinterval() == pytest.approx(usual_s)


def test_a_shorter_interval_stays_as_it_is(usual_s: float) -> None:
    sys.setswitchinterval(0.000_1)
    hurry = Hurry(cast("asyncio.AbstractEventLoop", Timers()))
    hurry.refused()
    assert sys.getswitchinterval() == pytest.approx(0.000_1)
    hurry.stop()
    hurry.stop()
    assert sys.getswitchinterval() == pytest.approx(0.000_1) != usual_s


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def wait_for_ever(deadlines: Deadlines) -> str:
    task = asyncio.current_task()
    assert task is not None
    deadlines.begin(task, lambda: pytest.fail("it ends when it is cancelled"))
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
    assert (deadlines._begun, deadlines._late) == ({}, {})
    deadlines.stop()


async def test_who_ends_in_time_is_forgotten(clock: Clock) -> None:
    deadlines = Deadlines(asyncio.get_running_loop(), 1.0, clock)
    task = asyncio.current_task()
    assert task is not None
    deadlines.begin(task, lambda: pytest.fail("it is not late"))
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
        deadlines.begin(task, lambda: pytest.fail("it ends in time"))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return deadlines.end(task) and task.cancelling() == 0

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    clock.now_s = 1.0
    deadlines._look()
    assert await task
    deadlines.stop()


async def test_who_does_not_end_when_cancelled_is_given_up_once(clock: Clock) -> None:
    deadlines, given_up, go_on = Deadlines(asyncio.get_running_loop(), 10.0, clock), [], asyncio.Event()

    async def deaf() -> bool:
        task = asyncio.current_task()
        assert task is not None
        deadlines.begin(task, lambda: given_up.append(clock.now_s))
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()
        return deadlines.end(task) and task.cancelling() == 0

    task = asyncio.create_task(deaf())
    for now_s in (0.0, 10.0, 10.0 + HEED_S / 2):
        await asyncio.sleep(0)
        clock.now_s = now_s
        deadlines._look()
    assert (task.cancelling(), given_up) == (1, [])
    for now_s in (10.0 + HEED_S, 99.0):
        await asyncio.sleep(0)
        clock.now_s = now_s
        deadlines._look()
    assert (task.cancelling(), given_up) == (1, [10.0 + HEED_S])
    go_on.set()
    assert await task
    assert (deadlines._begun, deadlines._late, deadlines._given_up) == ({}, {}, set())
    deadlines.stop()


def test_a_call_that_is_given_up_counts_as_abandoned_until_it_comes_back() -> None:
    found, pool = gate(backlog=0)
    found.enter()
    found.give_up()
    assert (found.inside, found.in_flight, pool.abandoned, pool.abandoned_ever) == (0, 1, 1, 1)
    found.come_back()
    assert (found.inside, found.in_flight, pool.abandoned, pool.abandoned_ever) == (0, 0, 0, 1)


async def test_a_loop_that_stood_still_leaves_the_late_their_time_to_end(clock: Clock) -> None:
    deadlines = Deadlines(asyncio.get_running_loop(), 10.0, clock)
    task = asyncio.create_task(wait_for_ever(deadlines))
    await asyncio.sleep(0)
    clock.now_s = 10.0 + 5 * HEED_S
    deadlines._look()
    assert await task == "late, cancelling 0"
    deadlines.stop()
