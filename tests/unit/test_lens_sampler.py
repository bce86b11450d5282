from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.errors import LensError
from gilscope.lens.sampler import CPU_SHARE, JITTER, RATE_HZ, Sampler, Timer
from gilscope.lens.watch import Watch

RATE = 128.0
"""A pause that binary floats can add up exactly."""


@dataclass
class FakeWatch:
    """Writes down when it was asked for what. A look takes ``look_s`` of the clock and ``cost_s`` of a CPU."""

    clock: FakeClock
    look_s: float = 0.0
    cost_s: float = 0.0
    ends_at_s: float = 1e9
    alive: bool = True
    looks: list[float] = field(default_factory=list)
    scans: list[float] = field(default_factory=list)
    settles: list[float] = field(default_factory=list)

    def look(self) -> None:
        self.looks.append(self.clock.now_s)
        self.clock.now_s += self.look_s
        self.clock.cpu_s += self.cost_s

    def rescan(self) -> None:
        self.scans.append(self.clock.now_s)
        self.alive = self.clock.now_s < self.ends_at_s

    def settle(self) -> None:
        self.settles.append(self.clock.now_s)


@dataclass
class FakeClock:
    now_s: float = 1000.0
    cpu_s: float = 50.0
    factor: float = 1.0
    bounds: set[tuple[float, float]] = field(default_factory=set)
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def jitter(self, low: float, high: float) -> float:
        self.bounds.add((low, high))
        return low + (high - low) * self.factor / 2

    def timer(self) -> Timer:
        return Timer(lambda: self.now_s, self.sleep, self.jitter, lambda: self.cpu_s)


def sampled(watch: FakeWatch, seconds: float, rate_hz: float = RATE) -> int:
    return Sampler(cast("Watch", watch), rate_hz, watch.clock.timer()).run(seconds)


def test_looks_come_at_their_mean_rate_and_end_on_time() -> None:
    watch = FakeWatch(FakeClock())
    assert sampled(watch, 2.0) == len(watch.looks) == 256
    assert watch.looks == [1000 + n / 128 for n in range(256)]
    assert watch.clock.now_s == 1002
    assert watch.clock.bounds == {(1 - JITTER, 1 + JITTER)}


def test_threads_are_looked_for_twice_a_second_and_looks_settled_once() -> None:
    watch = FakeWatch(FakeClock())
    sampled(watch, 2.5)
    assert watch.scans == [1000.5, 1001.0, 1001.5, 1002.0]
    assert watch.settles == [1001.0, 1002.0, 1002.5]


@pytest.mark.parametrize(("factor", "looks"), [(0.0, 512), (2.0, 171)])
def test_pauses_vary_within_bounds(factor: float, looks: int) -> None:
    watch = FakeWatch(FakeClock(factor=factor))
    assert sampled(watch, 2.0) == looks
    # The last pause is cut short, so that the end comes on time.
    assert watch.clock.now_s == 1002
    shortest, longest = min(watch.clock.slept[:-1]), max(watch.clock.slept)
    assert (1 - JITTER) / RATE <= shortest <= longest <= (1 + JITTER) / RATE


def test_looks_that_come_late_are_not_made_up_for() -> None:
    watch = FakeWatch(FakeClock(), look_s=0.25)
    assert sampled(watch, 2.0) == 8
    assert set(watch.clock.slept) == {0.0}
    assert watch.clock.now_s == 1002


def test_looks_that_would_cost_too_much_come_less_often() -> None:
    watch = FakeWatch(FakeClock(), cost_s=0.0125)
    assert sampled(watch, 2.0) == pytest.approx(2.0 / (0.0125 / CPU_SHARE), abs=1)
    assert watch.clock.cpu_s - 50 <= CPU_SHARE * 2.0 + 0.0125


def test_no_time_is_no_look() -> None:
    watch = FakeWatch(FakeClock())
    assert sampled(watch, 0.0) == 0
    assert (watch.looks, watch.scans, watch.settles) == ([], [], [1000.0])


def test_a_process_that_ends_is_noticed_at_the_next_scan() -> None:
    watch = FakeWatch(FakeClock(), ends_at_s=1000.75)
    with pytest.raises(LensError, match="has ended") as caught:
        sampled(watch, 60.0)
    assert caught.value.remedy == "see why it ended"
    assert watch.clock.now_s == 1001


@given(st.floats(0.0, 3.0), st.floats(0.0, 2.0), st.floats(0.0, 0.02), st.floats(10, 1000))
def test_it_never_ends_early_and_hardly_late(
    seconds: float, factor: float, look_s: float, rate_hz: float
) -> None:
    watch = FakeWatch(FakeClock(factor=factor), look_s=look_s)
    looks = sampled(watch, seconds, rate_hz)
    assert -1e-9 <= watch.clock.now_s - 1000 - seconds <= look_s + 1e-9
    assert looks <= 1 + seconds * rate_hz / (1 - JITTER) + 1e-6
    assert all(pause >= 0 for pause in watch.clock.slept)


def test_by_default_the_clocks_are_real() -> None:
    watch = FakeWatch(FakeClock())
    assert Sampler(cast("Watch", watch), RATE_HZ).run(0.02) > 0
    assert len(watch.settles) == 1
