from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.flame.harness import HARNESS, is_workload
from gilscope.flame.layout import MIN_SHARE, Box, Kind, Layout, lay_out
from gilscope.flame.tree import Tree
from gilscope.model import Folded

PRIMES = "primes (gilscope/workloads/primes.py:12)"
WORKER = "_worker (concurrent/futures/thread.py:81)"
SQRT = "sqrt (mathutil.py:3)"
GET = "get (queue.py:1)"
FOLDED: Folded = {(WORKER, PRIMES, SQRT): 0.6, (WORKER, PRIMES): 0.2, (WORKER, GET): 0.2}

stacks = st.lists(st.text(max_size=6), min_size=1, max_size=5).map(tuple)
some_folded = st.dictionaries(stacks, st.integers(1, 10**6), min_size=1, max_size=12)


def laid_out(folded: Folded, before: Folded | None = None, whole: float | None = None) -> Layout:
    return lay_out(Tree(folded, before), is_workload, whole)


def boxes_of(folded: Folded, before: Folded | None = None) -> tuple[Box, ...]:
    return laid_out(folded, before).boxes


def test_boxes_are_placed_to_scale_heaviest_first() -> None:
    assert boxes_of(FOLDED) == (
        Box("all", Kind.ROOT, 0.0, 1.0, 0, 1.0),
        Box(WORKER, Kind.HARNESS, 0.0, 1.0, 1, 1.0),
        Box(PRIMES, Kind.OWN, 0.0, 0.8, 2, 0.8),
        Box(SQRT, Kind.OTHER, 0.0, 0.6, 3, 0.6),
        Box(GET, Kind.OTHER, 0.8, 0.2, 2, 0.2),
    )
    assert laid_out(FOLDED).rows == 4
    assert laid_out(FOLDED).merged_share == 0


def test_equal_siblings_come_in_alphabetical_order() -> None:
    assert [box.frame for box in boxes_of({("c",): 1, ("a",): 1, ("b",): 2})] == ["all", "b", "a", "c"]


def test_a_root_alone_is_one_row() -> None:
    assert laid_out({}, {("a",): 1}, 1.0).rows == 1


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (PRIMES, Kind.OWN),
        (WORKER, Kind.HARNESS),
        (HARNESS, Kind.HARNESS),
        (GET, Kind.OTHER),
        ("all", Kind.OTHER),
    ],
)
def test_a_box_is_of_the_kind_of_its_frame(frame: str, kind: Kind) -> None:
    assert boxes_of({(frame,): 1})[1].kind is kind


def test_the_work_wins_over_the_harness() -> None:
    tree = Tree({("run (asyncio/runners.py:1)",): 1})
    assert lay_out(tree, lambda frame: frame.startswith("run")).boxes[1].kind is Kind.OWN


def test_boxes_know_what_they_weighed_before() -> None:
    boxes = boxes_of({("a", "b"): 1.0, ("a", "new"): 1.0}, {("a", "b"): 3.0, ("gone",): 2.0})
    assert [(box.frame, box.weight, box.before) for box in boxes] == [
        ("all", 2.0, 5.0),
        ("a", 2.0, 3.0),
        ("b", 1.0, 3.0),
        ("new", 1.0, 0.0),
    ]


def test_what_is_gone_has_no_box_and_counts_as_nothing() -> None:
    layout = laid_out({("a",): 1.0}, {("a",): 1.0, **{(f"gone{at}",): 1.0 for at in range(9)}})
    assert [box.frame for box in layout.boxes] == ["all", "a"]
    assert layout.merged_share == 0


def test_a_graph_may_be_narrower_than_the_whole() -> None:
    boxes = laid_out({("a",): 3.0, ("b",): 1.0}, whole=8.0).boxes
    assert [(box.start, box.width) for box in boxes] == [(0.0, 0.5), (0.0, 0.375), (0.375, 0.125)]


def test_specks_are_specks_of_the_whole() -> None:
    folded: Folded = {("a",): 1.0, ("b",): 0.01}
    assert [box.frame for box in laid_out(folded).boxes] == ["all", "a", "b"]
    layout = laid_out(folded, whole=10.0)
    assert [box.frame for box in layout.boxes] == ["all", "a"]
    assert layout.merged_share == pytest.approx(0.001)


def test_narrow_siblings_become_one_box_that_weighs_what_they_do() -> None:
    narrow: Folded = {(f"narrow{at}", "below"): 1 for at in range(1000)}
    before: Folded = {(f"narrow{at}", "below"): 2 for at in range(10)}
    layout = laid_out({("wide",): 9000, **narrow}, before)
    assert layout.boxes[1:] == (
        Box("wide", Kind.OTHER, 0.0, 0.9, 1, 9000, 0),
        Box("1,000 narrower frames", Kind.REST, 0.9, 0.1, 1, 1000, 20),
    )
    assert layout.merged_share == 0.1


def test_a_single_narrow_frame_is_one_frame() -> None:
    layout = laid_out({("wide",): 9990, ("speck",): 10})
    assert [box.frame for box in layout.boxes] == ["all", "wide"]
    assert layout.merged_share == 0.001


def test_specks_below_two_callers_add_up() -> None:
    folded: Folded = {(caller, f"f{at}"): 1 for caller in "ab" for at in range(1000)}
    layout = laid_out({("wide",): 8000, **folded})
    rest = [box for box in layout.boxes if box.kind is Kind.REST]
    assert [(box.frame, box.start, box.width, box.row) for box in rest] == [
        ("1,000 narrower frames", 0.8, 0.1, 2),
        ("1,000 narrower frames", 0.9, 0.1, 2),
    ]
    assert layout.merged_share == 0.2


def test_many_equal_specks_still_make_a_picture() -> None:
    boxes = boxes_of({(f"f{at}",): 1 for at in range(100_000)})
    assert [(box.kind, box.width) for box in boxes] == [(Kind.ROOT, 1.0), (Kind.REST, 1.0)]
    assert boxes[1].frame == "100,000 narrower frames"


@given(some_folded)
def test_siblings_fill_no_more_than_their_caller_and_never_overlap(folded: Folded) -> None:
    edge: dict[int, float] = {}
    for box in boxes_of(folded):
        assert box.start >= edge.get(box.row, 0.0) - 1e-9
        edge[box.row] = box.start + box.width
        assert box.start + box.width <= edge.get(box.row - 1, 1.0) + 1e-9


@given(some_folded)
def test_no_drawn_frame_is_narrower_than_the_limit(folded: Folded) -> None:
    assert all(box.width >= MIN_SHARE for box in boxes_of(folded))


@given(some_folded, some_folded)
def test_two_graphs_on_one_scale_are_as_wide_as_they_weigh(one: Folded, other: Folded) -> None:
    totals = [sum(folded.values()) for folded in (one, other)]
    whole = float(max(totals))
    for folded, before, total in ((one, other, totals[0]), (other, one, totals[1])):
        root = laid_out(folded, before, whole).boxes[0]
        assert root.width == pytest.approx(total / whole)
        assert root.before == sum(before.values())


@given(st.dictionaries(stacks, st.floats(1e-4, 1.0), min_size=1, max_size=12))
def test_the_weight_of_a_row_never_grows_downwards(folded: Folded) -> None:
    rows: dict[int, float] = {}
    for box in boxes_of(folded):
        rows[box.row] = rows.get(box.row, 0.0) + box.weight
    weights = [rows[row] for row in sorted(rows)]
    assert all(below <= above + 1e-9 for above, below in pairwise(weights))


def test_deep_stacks_do_not_hit_the_recursion_limit() -> None:
    layout = laid_out({("f (a.py:1)",) * 5000: 1, ("f (a.py:1)",) * 4999: 1})
    assert layout.rows == len(layout.boxes) == 5001
    assert layout.boxes[-1].width == 0.5
