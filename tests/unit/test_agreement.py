from __future__ import annotations

from dataclasses import replace

import pytest

from gilscope.flame.capture import Capture
from gilscope.model import FlameKind, Graph, LensReading, StateSeconds, ThreadRole
from gilscope.profiling.agreement import TOLERANCE, beside_lens

LOOP = StateSeconds(2.0, 0.5, 1.0, 0.5, 1.6)
WORKER = StateSeconds(3.0, 0.0, 6.0, 3.0, 2.4)
OTHER = StateSeconds(1.0, 0.0, 0.0, 3.0, 0.4)
READING = LensReading(
    4.0, 800, {ThreadRole.LOOP: LOOP, ThreadRole.WORKER: WORKER, ThreadRole.OTHER: OTHER}, 0.02
)
KNOWN_WALL_S = 16.0
WAITED = 7.0 / KNOWN_WALL_S
HELD = 4.0 / KNOWN_WALL_S


def captured(kind: FlameKind, weight: float, seconds: float = 4.0) -> Capture:
    """A capture of two stacks that weigh so many seconds together."""
    graph = Graph(
        kind=kind,
        source="py-spy 0.4.3",
        rate_hz=100,
        seconds=seconds,
        samples=100,
        lost=0,
        notes=("first",),
        requests=7,
    )
    return Capture(graph, {("a",): 0.25 * weight, ("b",): 0.75 * weight})


def reading_of(**roles: StateSeconds) -> LensReading:
    return replace(READING, roles={ThreadRole(role): seconds for role, seconds in roles.items()})


def compared(kind: FlameKind, weight: float, reading: LensReading = READING) -> Graph:
    return beside_lens(captured(kind, weight), reading).graph


def test_both_are_shares_of_the_time_of_the_loop_and_the_workers() -> None:
    waiting = compared(FlameKind.WAITING, 7.0)
    assert waiting.share == pytest.approx(WAITED)
    assert waiting.lens_share == pytest.approx(WAITED)
    holding = compared(FlameKind.HOLDING, 4.5)
    assert holding.share == pytest.approx(4.5 / KNOWN_WALL_S)
    assert holding.lens_share == pytest.approx(HELD)


def test_nothing_else_of_the_capture_changes() -> None:
    before = captured(FlameKind.WAITING, 7.0)
    after = beside_lens(before, READING)
    assert after.folded == before.folded
    assert replace(after.graph, share=None, lens_share=None) == before.graph


@pytest.mark.parametrize(
    ("roles", "wall_s", "waited_s"),
    [
        ({"loop": LOOP}, 4.0, 1.0),
        ({"loop": LOOP, "other": OTHER}, 4.0, 1.0),
        ({"worker": WORKER, "other": OTHER}, 12.0, 6.0),
        ({"loop": LOOP, "worker": WORKER}, 16.0, 7.0),
        ({"other": WORKER}, 12.0, 6.0),
    ],
)
def test_all_threads_count_only_where_none_is_known(
    roles: dict[str, StateSeconds], wall_s: float, waited_s: float
) -> None:
    found = compared(FlameKind.WAITING, 1.0, reading_of(**roles))
    assert found.share == pytest.approx(1.0 / wall_s)
    assert found.lens_share == pytest.approx(waited_s / wall_s)


def test_the_lens_may_have_looked_for_longer_than_the_profiler() -> None:
    twice = replace(READING, seconds=8.0)
    assert compared(FlameKind.WAITING, 7.0, twice).share == pytest.approx(2 * WAITED)
    half = beside_lens(captured(FlameKind.WAITING, 7.0, seconds=8.0), READING).graph
    assert half.share == pytest.approx(WAITED / 2)


@pytest.mark.parametrize("difference", [0.0, 0.05, -0.05, 0.0999, -0.0999])
@pytest.mark.parametrize(("kind", "share"), [(FlameKind.WAITING, WAITED), (FlameKind.HOLDING, HELD)])
def test_within_ten_points_nothing_is_said(kind: FlameKind, share: float, difference: float) -> None:
    assert TOLERANCE == 0.1
    assert compared(kind, (share + difference) * KNOWN_WALL_S).notes == ("first",)


@pytest.mark.parametrize(
    ("kind", "weight", "note"),
    [
        (
            FlameKind.WAITING,
            9.0,
            "the lens saw the threads waiting for the GIL for 44% of their time, this graph has 56%",
        ),
        (
            FlameKind.WAITING,
            0.0,
            "the lens saw the threads waiting for the GIL for 44% of their time, this graph has 0%",
        ),
        (
            FlameKind.HOLDING,
            2.0,
            "the lens saw the threads holding the GIL for 25% of their time, this graph has 12%",
        ),
    ],
)
def test_beyond_ten_points_the_reader_is_told_after_what_else_there_is(
    kind: FlameKind, weight: float, note: str
) -> None:
    assert compared(kind, weight).notes == (
        "first",
        f"{note}: trust the lens for how much, and the graph for where",
    )


@pytest.mark.parametrize("kind", FlameKind)
def test_without_a_lens_nothing_changes(kind: FlameKind) -> None:
    before = captured(kind, 7.0)
    assert beside_lens(before, None) is before


def test_the_wall_clock_is_nothing_that_the_lens_counts() -> None:
    before = captured(FlameKind.WALL, 400.0)
    assert beside_lens(before, READING) is before


@pytest.mark.parametrize("reading", [reading_of(), reading_of(loop=StateSeconds(0.0, 0.0, 0.0, 0.0))])
def test_where_the_lens_saw_no_thread_nothing_changes(reading: LensReading) -> None:
    before = captured(FlameKind.WAITING, 7.0)
    assert beside_lens(before, reading) is before


@pytest.mark.parametrize("unknown", ["loop", "worker"])
def test_where_holders_cannot_be_known_the_graphs_share_stands_alone(unknown: str) -> None:
    roles = {"loop": LOOP, "worker": WORKER}
    roles[unknown] = replace(roles[unknown], gil_held_s=None)
    found = compared(FlameKind.HOLDING, 12.0, reading_of(**roles))
    assert found.share == pytest.approx(12.0 / KNOWN_WALL_S)
    assert found.lens_share is None
    assert found.notes == ("first",)
    waiting = compared(FlameKind.WAITING, 7.0, reading_of(**roles))
    assert waiting.lens_share == pytest.approx(WAITED), "who waits can be known all the same"


def test_unknown_holders_among_threads_that_do_not_count_do_no_harm() -> None:
    roles = {"loop": LOOP, "worker": WORKER, "other": replace(OTHER, gil_held_s=None)}
    assert compared(FlameKind.HOLDING, 4.0, reading_of(**roles)).lens_share == pytest.approx(HELD)
