from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.errors import UsageError
from gilscope.flame.algebra import total
from gilscope.flame.difference import NOISE, STEPS, Change, Named, Side, change_of, sides
from gilscope.model import FlameKind, Folded, Graph

NOW = Graph(
    kind=FlameKind.HOLDING,
    source="py-spy 0.4.3",
    rate_hz=100,
    seconds=2.0,
    samples=150,
    lost=0,
    requests=50,
)
BEFORE = replace(NOW, source="py-spy 0.4.2", rate_hz=200, seconds=4.0, requests=20)
FOLDED: Folded = {("a",): 1.0, ("a", "b"): 0.5}
EARLIER: Folded = {("a",): 3.0}

samples = st.integers(0, 10_000)
grains = st.floats(1e-6, 1.0)


def sides_of(now: Graph = NOW, before: Graph = BEFORE) -> tuple[Side, Side]:
    return sides(Named("threads", now, FOLDED), Named("asyncio", before, EARLIER))


def counted(has: int, had: int) -> Change:
    """The change of a frame that was in so many samples of two equal graphs."""
    return change_of(float(has), float(had), 1.0, 1.0)


def test_two_graphs_are_compared_per_request_where_both_know_their_requests() -> None:
    now, before = sides_of()
    assert now == Side("threads", {("a",): 0.02, ("a", "b"): 0.01}, 1 / 100 / 50, " per request")
    assert replace(before, folded={}) == Side("asyncio", {}, 1 / 200 / 20, " per request")
    assert before.folded == pytest.approx({("a",): 0.15})


@pytest.mark.parametrize(("one", "other"), [(None, 20), (50, None), (0, 20), (50, 0), (None, None)])
def test_and_per_second_where_one_does_not_or_had_none(one: int | None, other: int | None) -> None:
    assert sides_of(replace(NOW, requests=one), replace(BEFORE, requests=other)) == (
        Side("threads", {("a",): 0.5, ("a", "b"): 0.25}, 1 / 100 / 2.0, " per second"),
        Side("asyncio", {("a",): 0.75}, 1 / 200 / 4.0, " per second"),
    )


def test_an_empty_graph_can_be_compared() -> None:
    now, before = sides(Named("now", NOW, {}), Named("before", BEFORE, {}))
    assert (now.folded, before.folded) == ({}, {})
    assert now.grain > 0


def test_a_sample_weighs_its_grain() -> None:
    now, before = sides_of()
    for side, graph, folded in ((now, NOW, FOLDED), (before, BEFORE, EARLIER)):
        assert total(side.folded) / side.grain == pytest.approx(total(folded) * graph.rate_hz)


@pytest.mark.parametrize("other", [FlameKind.WAITING, FlameKind.WALL])
def test_graphs_of_two_kinds_are_refused(other: FlameKind) -> None:
    with pytest.raises(
        UsageError, match=f"^a holding graph cannot be compared with a {other} graph: a second means another"
    ) as caught:
        sides_of(NOW, replace(BEFORE, kind=other))
    assert caught.value.remedy == "two graphs of the same kind"


def test_graphs_of_two_profilers_are_refused() -> None:
    with pytest.raises(
        UsageError,
        match=r"^graphs of py-spy 0\.4\.3 and profiling\.sampling of python3\.15 cannot be compared: ",
    ) as caught:
        sides_of(NOW, replace(BEFORE, source="profiling.sampling of python3.15"))
    assert caught.value.remedy == "two graphs of the same profiler, so of the same Python"


def test_two_versions_of_a_profiler_are_the_same_profiler() -> None:
    now, _ = sides_of(replace(NOW, source="py-spy 0.4.3"), replace(BEFORE, source="py-spy 1.0"))
    assert now.name == "threads"


@pytest.mark.parametrize(
    ("has", "had", "change"),
    [
        (0, 0, Change.SAME),
        (4, 0, Change.SAME),
        (5, 0, Change.GREW_3),
        (0, 4, Change.SAME),
        (0, 5, Change.SHRANK_3),
        (100, 100, Change.SAME),
        (128, 100, Change.SAME),
        (131, 100, Change.GREW_1),
        (100, 131, Change.SHRANK_1),
        (199, 100, Change.GREW_1),
        (200, 100, Change.GREW_2),
        (100, 200, Change.SHRANK_2),
        (499, 100, Change.GREW_2),
        (500, 100, Change.GREW_3),
        (100, 500, Change.SHRANK_3),
        (10_300, 10_000, Change.GREW_1),
    ],
)
def test_a_change_counts_by_its_samples_and_is_coloured_by_its_share(
    has: int, had: int, change: Change
) -> None:
    assert counted(has, had) is change


def test_the_limits_are_those_that_the_legend_is_about() -> None:
    assert (NOISE, STEPS) == (2.0, (0.5, 0.8))


@given(samples, samples)
def test_the_other_way_round_what_grew_shrank(has: int, had: int) -> None:
    swapped = {"grew": "shrank", "shrank": "grew", "same": "same"}
    word, dash, step = counted(has, had).partition("-")
    assert counted(had, has) == swapped[word] + dash + step


@given(samples, samples, grains, grains)
def test_the_error_is_that_of_both_counts(has: int, had: int, grain: float, grain_before: float) -> None:
    gained = has * grain - had * grain_before
    error = (has * grain**2 + had * grain_before**2) ** 0.5
    found = change_of(has * grain, had * grain_before, grain, grain_before)
    if abs(gained) < NOISE * error * 0.999:
        assert found is Change.SAME
    elif abs(gained) > NOISE * error * 1.001:
        assert found.startswith("grew" if gained > 0 else "shrank")


def test_a_coarser_graph_shows_less() -> None:
    assert change_of(2.0, 1.0, 0.01, 0.01) is Change.GREW_2
    assert change_of(2.0, 1.0, 0.01, 1.0) is Change.SAME
