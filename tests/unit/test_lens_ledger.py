from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.lens.ledger import (
    INSIDE,
    NO_SPAN,
    NOTHING,
    Clock,
    Look,
    Span,
    Tally,
    add_spans,
    add_up,
    settle,
)
from gilscope.model import StateSeconds

SECOND = 1_000_000_000
TIMES = ("on_cpu_s", "runqueue_s", "gil_wait_s", "blocked_s")
TINY = 1e-9

looks = st.lists(st.integers(0, 2_000), min_size=6, max_size=6)
nanoseconds = st.integers(0, 100 * SECOND)
seconds = st.floats(-1, 100)
ratios = st.floats(0, 10)


def tally(held: int | None = None, **counts: int) -> Tally:
    """Counts by name: ``ready``, ``gil`` and ``blocked``, each also with ``_inside``."""
    found = Tally.empty(tells_holders=held is not None)
    for name, count in counts.items():
        state, _, inside = name.partition("_")
        found.looks[Look[state.upper()] + (INSIDE if inside else 0)] = count
    found.held = held
    return found


def clock(on_cpu_s: float = 0.0, runqueue_s: float = 0.0) -> Clock:
    return Clock(round(on_cpu_s * SECOND), round(runqueue_s * SECOND))


def test_a_tally_begins_empty() -> None:
    assert Tally.empty(tells_holders=True) == Tally([0] * 6, 0)
    assert Tally.empty(tells_holders=False) == Tally([0] * 6, None)


def test_sleep_is_split_by_what_was_seen_of_it() -> None:
    span = settle(tally(ready=10, gil=30, blocked=10), 1.0, clock(0.25, 0.25), 0.0)
    assert span.all == StateSeconds(0.25, 0.25, 0.375, 0.125)
    assert span.inside == StateSeconds(0.0, 0.0, 0.0, 0.0)


def test_a_mark_says_what_was_inside_the_function() -> None:
    seen = tally(ready=1, ready_inside=3, gil=1, gil_inside=2, blocked=4, blocked_inside=1)
    span = settle(seen, 3.0, clock(0.5, 0.5), 0.0)
    assert span.all == StateSeconds(0.5, 0.5, 0.75, 1.25)
    assert span.inside == StateSeconds(0.375, 0.375, 0.5, 0.25)


def test_without_a_look_at_it_asleep_sleep_is_blocked() -> None:
    assert settle(tally(), 2.0, clock(0.5), 0.0).all == StateSeconds(0.5, 0.0, 0.0, 1.5)
    assert settle(tally(ready_inside=9), 2.0, clock(0.5), 0.0) == Span(
        StateSeconds(0.5, 0.0, 0.0, 1.5), StateSeconds(0.5, 0.0, 0.0, 0.0)
    )


def test_stolen_time_is_run_queue() -> None:
    # Ready for 3 of 4 looks, 1.5 s that is, of which the clocks know 1 s.
    seen = tally(ready=6, gil=1, blocked=1)
    assert settle(seen, 2.0, clock(1.0), 5.0).all == StateSeconds(1.0, 0.5, 0.25, 0.25)
    # No more than the machine lost, and nothing where the clocks know of all.
    assert settle(seen, 2.0, clock(1.0), 0.25).all == StateSeconds(1.0, 0.25, 0.375, 0.375)
    assert settle(seen, 2.0, clock(1.0, 0.5), 5.0).all == StateSeconds(1.0, 0.5, 0.25, 0.25)
    assert settle(tally(), 2.0, clock(1.0), 5.0).all == StateSeconds(1.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(("held", "expected"), [(None, None), (0, 0.0), (1, 0.5), (4, 2.0)])
def test_a_gil_is_held_for_its_share_of_the_looks(held: int | None, expected: float | None) -> None:
    assert settle(tally(held, ready=2, blocked=2), 2.0, clock(1.0), 0.0).all.gil_held_s == expected


def test_clocks_that_come_late_may_say_more_than_the_wall_time() -> None:
    assert settle(tally(1, ready=1, gil=1), 0.5, clock(0.5, 0.25), 0.5).all == StateSeconds(
        0.5, 0.25, 0.0, 0.0, 0.25
    )
    assert settle(tally(1, ready=1, gil=1), -0.5, clock(0.25), 0.5).all == StateSeconds(
        0.25, 0.0, 0.0, 0.0, 0.0
    )


@given(looks, st.floats(0, 1), seconds, nanoseconds, nanoseconds, ratios)
def test_states_add_up_and_nothing_is_less_than_nothing(
    counts: list[int], held: float, wall_s: float, on_cpu_ns: int, runqueue_ns: int, stolen: float
) -> None:
    seen = Tally(counts, int(held * sum(counts)))
    ran = (on_cpu_ns + runqueue_ns) / SECOND
    span = settle(seen, wall_s, Clock(on_cpu_ns, runqueue_ns), stolen)
    assert span.all.wall_s == pytest.approx(max(wall_s, ran), abs=TINY)
    for state in TIMES:
        inside, everything = getattr(span.inside, state), getattr(span.all, state)
        assert 0 <= inside <= everything + TINY, state
    assert span.all.on_cpu_s == on_cpu_ns / SECOND
    added = span.all.runqueue_s - runqueue_ns / SECOND
    assert -TINY <= added <= min(max(0.0, wall_s - ran), stolen) + TINY
    assert span.all.gil_held_s is not None
    assert 0 <= span.all.gil_held_s <= max(0.0, wall_s)
    assert span.inside.gil_held_s is None
    if not any(counts[Look.GIL : Look.GIL + 2]):
        assert span.all.gil_wait_s == 0


def test_seconds_are_added_state_by_state() -> None:
    one, two = StateSeconds(1.0, 2.0, 3.0, 4.0, 0.5), StateSeconds(10.0, 20.0, 30.0, 40.0, 0.25)
    assert add_up([one, two]) == StateSeconds(11.0, 22.0, 33.0, 44.0, 0.75)
    assert add_up([]) == NOTHING
    assert add_up(iter([one])) == one


def test_what_one_part_does_not_know_the_sum_does_not() -> None:
    unknown = StateSeconds(1.0, 1.0, 1.0, 1.0)
    assert add_up([unknown, NOTHING]) == unknown
    assert add_up([NOTHING, unknown]).gil_held_s is None


def test_spans_are_added_in_both_parts() -> None:
    one = Span(StateSeconds(4.0, 3.0, 2.0, 1.0, 1.0), StateSeconds(2.0, 1.0, 1.0, 0.5, 0.0))
    assert add_spans(iter([one, one, NO_SPAN])) == Span(
        StateSeconds(8.0, 6.0, 4.0, 2.0, 2.0), StateSeconds(4.0, 2.0, 2.0, 1.0, 0.0)
    )
    assert add_spans([]) == NO_SPAN
