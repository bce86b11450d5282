from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from aiohttp.web import AppRunner

from gilscope.model import BackendName
from gilscope.web.app import create_app
from gilscope.web.config import ServiceConfig
from gilscope.web.lag import TICKS_PER_S, LoopLag, poisson_gaps
from gilscope.web.metrics import ServiceMetrics
from gilscope.workloads.catalogue import BUILT_IN


class Timer:
    """A call that a loop has been asked for."""

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due, self.call = due, call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A loop that does nothing by itself, with a clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + delay, call))
        return self.timers[-1]

    def run_at(self, moment: float) -> None:
        """Run what is next, at a moment that may be later or, by rounding, earlier than due."""
        self.now = moment
        self.timers.pop().call()

    @property
    def due(self) -> float:
        (timer,) = self.timers
        return timer.due


def lag_of(loop: Loop, gaps: Iterator[float]) -> tuple[LoopLag, list[float]]:
    seen: list[float] = []
    lag = LoopLag(cast("asyncio.AbstractEventLoop", loop), seen.append, gaps, lambda: loop.now)
    return lag, seen


def test_a_tick_is_as_late_as_it_runs_after_its_time() -> None:
    loop = Loop()
    _, seen = lag_of(loop, itertools.repeat(0.5))
    assert (loop.due, seen) == (100.5, [])
    loop.run_at(100.75)
    assert (loop.due, seen) == (101.0, [0.25])
    loop.run_at(101.0)
    assert (loop.due, seen) == (101.5, [0.25, 0.0])


def test_a_stall_counts_every_tick_that_was_due_in_it_and_moves_none() -> None:
    loop = Loop()
    _, seen = lag_of(loop, itertools.repeat(0.25))
    loop.run_at(100.25)
    loop.run_at(101.625)  # 1.125 s later than the tick at 100.5
    assert seen == [0.0, 1.125, 0.875, 0.625, 0.375, 0.125]
    assert loop.due == 101.75
    loop.run_at(101.75)
    assert seen[-1] == 0.0


def test_a_tick_at_the_very_end_of_a_stall_is_on_time() -> None:
    loop = Loop()
    _, seen = lag_of(loop, itertools.repeat(0.5))
    loop.run_at(101.0)
    assert seen == [0.5, 0.0]
    assert loop.due == 101.5


def test_uneven_gaps_are_kept_to() -> None:
    loop = Loop()
    _, seen = lag_of(loop, iter([0.5, 0.125, 0.0, 2.0, 1.0]))
    loop.run_at(101.0)
    assert seen == [0.5, 0.375, 0.375]
    assert loop.due == 102.625


def test_a_tick_before_its_time_is_on_time_and_counts_once() -> None:
    loop = Loop()
    _, seen = lag_of(loop, itertools.repeat(0.5))
    loop.run_at(100.25)
    assert (loop.due, seen) == (101.0, [0.0])


def test_after_the_end_there_is_nothing_in_the_loop() -> None:
    loop = Loop()
    lag, _ = lag_of(loop, itertools.repeat(0.5))
    loop.run_at(100.5)
    lag.stop()
    assert [timer.cancelled for timer in loop.timers] == [True]


def test_gaps_are_those_of_a_poisson_process() -> None:
    gaps = list(itertools.islice(poisson_gaps(), 20_000))
    assert min(gaps) >= 0
    # Mean and standard deviation of an exponential distribution are equal; both are within 5 % of 20 000 draws.
    assert statistics.fmean(gaps) == pytest.approx(1 / TICKS_PER_S, rel=0.05)
    assert statistics.pstdev(gaps) == pytest.approx(1 / TICKS_PER_S, rel=0.05)


async def test_on_a_real_loop_a_stall_counts_all_its_ticks() -> None:
    seen: list[float] = []
    enough = asyncio.Event()

    def observe(late_s: float) -> None:
        seen.append(late_s)
        if len(seen) == 3:
            loop.call_soon(stall)
        if len(seen) == 12:
            enough.set()

    def stall() -> None:
        begun = time.monotonic()
        while time.monotonic() < begun + 0.3:
            pass

    loop = asyncio.get_running_loop()
    lag = LoopLag(loop, observe, itertools.repeat(0.05))
    await enough.wait()
    lag.stop()
    # At least five of them came due in the stall, 50 ms apart, before its last 5 ms.
    assert sum(late >= 0.005 for late in seen[3:]) >= 5
    assert max(seen) >= 0.2


async def test_the_application_times_its_loop_while_it_serves_and_no_longer() -> None:
    metrics = ServiceMetrics()
    config = ServiceConfig((BUILT_IN["noop"],), (BackendName.ASYNCIO,))
    runner = AppRunner(create_app(config, metrics))
    counts = metrics.loop_lag.counts
    await runner.setup()
    await asyncio.sleep(1.0)
    assert sum(counts) > 0
    await runner.cleanup()
    counted = sum(counts)
    await asyncio.sleep(0.5)
    assert sum(counts) == counted
