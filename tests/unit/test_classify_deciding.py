from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.classify.deciding import Figures, decide, derive, enables_gil
from gilscope.classify.observation import (
    Observation,
    Question,
    Stretch,
    Tick,
    Timing,
    Watch,
    from_message,
    to_message,
)
from gilscope.model import GilClass

RELEASES, PREEMPTIBLE, BLOCKING, MIXED = GilClass

IDLE = (Tick(0.0, 0.3, 0.01, 1, 0.0),) * 40
FREE = Tick(0.0, 0.3, 0.01, 1, 0.3)
"""Came back at once, while the function computed."""
ASLEEP = Tick(0.0, 0.3, 0.01, 1, 0.0)
"""Came back at once, while nothing happened."""
YIELDED = Tick(0.0, 0.3, 0.07, 3, 0.37)
"""Asked, and got the GIL."""


def held_for(ms: float, *, cpu_ms: float | None = None) -> Tick:
    """Ask again and again, every 0.06 ms."""
    return Tick(0.0, 0.3, ms, 1 + round(ms / 0.06), ms + 0.3 if cpu_ms is None else cpu_ms)


def observe(
    ticks: Iterable[Tick],
    *,
    call_ms: float = 20.0,
    runqueue_ms: float = 0.0,
    stolen_ms: float = 0.0,
    idle: tuple[Tick, ...] = IDLE,
) -> Observation:
    """Put the ticks one after the other, into calls of ``call_ms``."""
    now, placed = 0.0, []
    for tick in ticks:
        placed.append(tick._replace(due_ms=now + tick.pause_ms))
        now += tick.pause_ms + tick.late_ms
    calls = max(1, round(now / call_ms))
    stretches = tuple(Stretch(now * call / calls, now * (call + 1) / calls) for call in range(calls))
    cpu_ms = sum(tick.cpu_ms for tick in placed)
    return Observation(
        name="mine.work",
        is_async=False,
        repeated=True,
        timing=Timing(calls, call_ms, max(now, 1.0), cpu_ms, runqueue_ms, 0.0),
        watch=Watch(idle, tuple(placed), stretches, runqueue_ms, stolen_ms),
        extensions=(),
        pickling_problem=None,
        gil_enabled=(True, True),
        free_threaded=False,
        forked=False,
        stumble=None,
    )


def classed(observation: Observation) -> GilClass:
    return decide(derive(observation))


def test_a_free_gil_is_released() -> None:
    figures = derive(observe([FREE] * 1_000))
    assert (figures.held_share, figures.longest_hold_ms) == (0.0, 0.0)
    assert figures.cpu_share == pytest.approx(0.3 / 0.31)
    assert decide(figures) is RELEASES


def test_waiting_leaves_the_gil_and_the_core() -> None:
    figures = derive(observe([ASLEEP] * 1_000))
    assert (figures.held_share, figures.cpu_share) == (0.0, 0.0)
    assert decide(figures) is RELEASES


def test_what_yields_when_asked_is_preemptible() -> None:
    figures = derive(observe([YIELDED] * 1_000))
    assert (figures.held_share, figures.blocking_share) == (1.0, 0.0)
    assert figures.longest_hold_ms == pytest.approx(0.07)
    assert decide(figures) is PREEMPTIBLE


def test_what_goes_on_although_asked_is_blocking() -> None:
    figures = derive(observe([held_for(18.0)] * 20, call_ms=18.3))
    assert (figures.held_share, figures.blocking_share) == (1.0, 1.0)
    assert figures.longest_hold_ms == pytest.approx(18.0)
    assert decide(figures) is BLOCKING


def test_one_tick_is_enough_where_it_waited_for_long() -> None:
    assert classed(observe([held_for(300.0)], call_ms=300.3)) is BLOCKING


def test_a_tick_stands_for_the_time_since_the_one_before() -> None:
    figures = derive(observe([*[ASLEEP] * 33, held_for(10.0)] * 10))
    assert figures.held_share == pytest.approx(10.3 / (10.3 + 33 * 0.3))
    assert decide(figures) is MIXED


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        ([FREE] * 5 + [YIELDED], RELEASES),
        ([FREE] * 2 + [YIELDED], MIXED),
        ([FREE] + [YIELDED] * 8, PREEMPTIBLE),
        ([YIELDED] * 30 + [held_for(2.0)], PREEMPTIBLE),
        ([YIELDED] * 30 + [held_for(12.0)], MIXED),
        ([YIELDED] * 4 + [held_for(12.0)], BLOCKING),
        ([FREE] * 90 + [held_for(3.0)], RELEASES),
        ([FREE] * 90 + [held_for(6.0)], MIXED),
    ],
)
def test_shares_and_the_longest_hold_decide(ticks: list[Tick], expected: GilClass) -> None:
    one_call_ms = sum(tick.pause_ms + tick.late_ms for tick in ticks)
    assert classed(observe(ticks * 20, call_ms=one_call_ms)) is expected


def test_a_ticker_without_a_core_did_not_ask() -> None:
    late = YIELDED._replace(late_ms=4.0, cpu_ms=4.3)
    figures = derive(observe([YIELDED, YIELDED, late] * 100))
    assert figures.blocking_share == 0.0
    assert figures.longest_hold_ms < 0.5
    assert decide(figures) is PREEMPTIBLE


def test_a_long_wait_with_hardly_a_question_does_not_speak_against_a_long_hold() -> None:
    silent = held_for(18.0)._replace(switches=3)
    figures = derive(observe([held_for(18.0), silent, silent], call_ms=18.3))
    assert figures.blocking_share == pytest.approx(1.0)
    assert decide(figures) is BLOCKING


def test_a_function_without_a_core_holds_nobody_up_by_itself() -> None:
    off_core = held_for(30.0, cpu_ms=0.35)
    observation = observe([*[YIELDED] * 20, off_core] * 10, runqueue_ms=300.0)
    figures = derive(observation)
    assert (figures.blocking_share, figures.off_core) == (0.0, False)
    assert decide(figures) is PREEMPTIBLE
    stolen = derive(observe([*[YIELDED] * 20, off_core] * 10, stolen_ms=300.0))
    assert decide(stolen) is PREEMPTIBLE


def test_sleeping_with_the_gil_in_hand_is_a_hold_all_the_same() -> None:
    figures = derive(observe([held_for(10.0, cpu_ms=0.01)] * 50, call_ms=10.3))
    assert figures.off_core
    assert figures.cpu_share < 0.01
    assert decide(figures) is BLOCKING


def test_a_gil_that_is_free_because_its_holder_has_no_core_does_not_count() -> None:
    starved = [*[YIELDED] * 50, *[ASLEEP] * 25] * 10
    kept_away_ms = 25 * 10 * 0.31
    assert classed(observe(starved)) is MIXED
    for figures in (
        derive(observe(starved, runqueue_ms=kept_away_ms)),
        derive(observe(starved, stolen_ms=kept_away_ms)),
    ):
        assert figures.held_share > 0.95
        assert decide(figures) is PREEMPTIBLE


def test_one_burst_of_noise_does_not_make_the_longest_hold() -> None:
    noisy = [*[YIELDED] * 500, held_for(50.0), *[YIELDED] * 500]
    figures = derive(observe(noisy))
    assert figures.longest_hold_ms < 0.5
    assert decide(figures) is PREEMPTIBLE


def test_a_hold_is_no_longer_than_a_call() -> None:
    assert derive(observe([YIELDED] * 100, call_ms=0.01)).longest_hold_ms == 0.01


def test_coarse_sleeps_make_a_coarser_ruler() -> None:
    coarse = tuple(tick._replace(late_ms=0.3) for tick in IDLE)
    slow_yield = Tick(0.0, 0.3, 0.9, 3, 1.2)
    figures = derive(observe([slow_yield] * 100, idle=coarse))
    assert decide(figures) is PREEMPTIBLE
    assert classed(observe([slow_yield._replace(switches=16)] * 100)) is BLOCKING


def test_without_ticks_there_is_only_the_cpu() -> None:
    observation = observe([], idle=())
    assert derive(observation).held_share == 0.0
    busy = replace(observation, timing=Timing(1, 0.1, 0.1, 0.1, 0.0, 0.0))
    assert (derive(busy).held_share, derive(busy).ticks) == (1.0, 0)
    starved = replace(observation, timing=Timing(1, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert derive(starved).cpu_share == 1.0


def test_what_held_the_gil_beforehand_is_counted() -> None:
    idle = (*IDLE[:30], *[YIELDED] * 10)
    assert derive(observe([FREE] * 10, idle=idle)).background_share == 0.25


def test_time_without_a_core_is_no_part_of_the_cpu_share() -> None:
    observation = replace(observe([FREE] * 10), timing=Timing(1, 20.0, 20.0, 10.0, 10.0, 5.0))
    figures = derive(observation)
    assert (figures.cpu_share, figures.suspended_share) == (1.0, 0.25)


@pytest.mark.parametrize(
    ("free_threaded", "gil", "expected"),
    [
        (False, (True, True), None),
        (True, (True, True), None),
        (True, (False, False), False),
        (True, (False, True), True),
    ],
)
def test_only_a_gil_that_was_off_can_be_switched_on(
    free_threaded: bool,  # noqa: FBT001
    gil: tuple[bool, bool],
    expected: bool | None,  # noqa: FBT001
) -> None:
    observation = replace(observe([FREE]), free_threaded=free_threaded, gil_enabled=gil)
    assert enables_gil(observation) is expected


ticks = st.builds(
    Tick,
    due_ms=st.just(0.0),
    pause_ms=st.floats(0.1, 0.5),
    late_ms=st.floats(-0.01, 100),
    switches=st.integers(0, 2_000),
    cpu_ms=st.floats(-1, 100),
)


@given(st.lists(ticks, max_size=12), st.floats(0, 100), st.floats(0, 100))
def test_figures_stay_in_their_bounds(some: list[Tick], runqueue_ms: float, stolen_ms: float) -> None:
    figures = derive(observe(some, runqueue_ms=runqueue_ms, stolen_ms=stolen_ms))
    assert -1e-9 <= figures.blocking_share <= figures.held_share + 1e-9
    assert figures.held_share <= 1 + 1e-9
    assert figures.longest_hold_ms >= 0
    assert isinstance(decide(figures), GilClass)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 100))
def test_holding_more_never_looks_more_like_releasing(held: float, part: float, longest_ms: float) -> None:
    order = [RELEASES, MIXED, PREEMPTIBLE]

    def rank(share: float) -> int:
        figures = Figures(share, share * part, longest_ms, 1.0, 10.0, 0.0, 0.0, off_core=False, ticks=100)
        found = decide(figures)
        return order.index(PREEMPTIBLE if found is BLOCKING else found)

    shares = [held / 2, held, min(1.0, held * 2)]
    if rank(shares[-1]) != order.index(MIXED):
        assert [rank(share) for share in shares] == sorted(rank(share) for share in shares)


def test_an_observation_survives_the_way_through_json() -> None:
    observation = observe([FREE, held_for(3.0)])
    assert from_message(json.loads(json.dumps(to_message(observation)))) == observation


def test_a_question_survives_as_well() -> None:
    question = Question("primes", {"n": "10"}, None, 1.0, None, "folder")
    assert Question(**json.loads(json.dumps(question.to_message()))) == question
