from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.flame import algebra
from gilscope.flame.folded import is_root, parse
from gilscope.model import Folded, Stack

FORKSERVER = "python -B -c from multiprocessing.forkserver import main; main(11, 12)"
POOL = f"""\
process 5:"";thread (5): MainThread;<module> (pool.py:9);wait (threading.py:327) 1
process 5:"";process 8:"{FORKSERVER}";process 9:"{FORKSERVER}";thread (9);spin (pool.py:5) 40
process 5:"";process 8:"{FORKSERVER}";process 10:"{FORKSERVER}";thread (10);spin (pool.py:5) 41
"""
ROOTS = ('process 4:"python -m app"', "thread (5): MainThread", "thread (0x7f1a)")
STAND_IN = "(service)"

frames = st.sampled_from((*"abcxyz", *ROOTS, STAND_IN))
stacks = st.lists(frames, min_size=1, max_size=6).map(tuple)
samples = st.integers(1, 10**9).map(float)
seconds = st.floats(1e-6, 1e6)


def folded_of(weights: st.SearchStrategy[float]) -> st.SearchStrategy[dict[Stack, float]]:
    return st.dictionaries(stacks, weights, max_size=8)


def is_hidden(frame: str) -> bool:
    return frame in {"x", "y", "z", STAND_IN}


def folded_away(folded: Folded) -> dict[Stack, float]:
    return algebra.fold_away(folded, is_hidden, STAND_IN)


def reversed_stack(stack: Stack) -> Stack:
    return stack[::-1]


def about(folded: Folded) -> object:
    """The same stacks, their weights to the last bits; one that weighs as much as nothing may be missing."""
    return pytest.approx(dict(folded), rel=1e-9)


def test_merging_adds_equal_stacks_and_keeps_the_others() -> None:
    assert algebra.merge({("a",): 1.0, ("b",): 2.0}, {("a",): 0.5}, {("c",): 4.0}) == {
        ("a",): 1.5,
        ("b",): 2.0,
        ("c",): 4.0,
    }


def test_merging_nothing_is_nothing() -> None:
    assert algebra.merge() == algebra.merge({}, {}) == {}


@given(folded_of(seconds), folded_of(seconds))
def test_merging_commutes(one: Folded, two: Folded) -> None:
    assert algebra.merge(one, two) == algebra.merge(two, one)


@given(folded_of(samples), folded_of(samples), folded_of(samples))
def test_merging_associates(one: Folded, two: Folded, three: Folded) -> None:
    merged = algebra.merge(one, two, three)
    assert algebra.merge(algebra.merge(one, two), three) == merged
    assert algebra.merge(one, algebra.merge(two, three)) == merged


@given(folded_of(seconds), folded_of(seconds), folded_of(seconds))
def test_merging_fractions_associates_to_the_last_bits(one: Folded, two: Folded, three: Folded) -> None:
    left = algebra.merge(algebra.merge(one, two), three)
    assert left == about(algebra.merge(one, algebra.merge(two, three)))


@given(folded_of(seconds))
def test_merging_with_nothing_changes_nothing(folded: Folded) -> None:
    assert algebra.merge(folded) == algebra.merge(folded, {}) == algebra.merge({}, folded) == folded


@given(st.lists(folded_of(samples), max_size=4))
def test_the_total_of_what_is_merged_is_the_sum_of_the_totals(many: list[Folded]) -> None:
    assert algebra.total(algebra.merge(*many)) == sum(map(algebra.total, many))


@given(folded_of(seconds), folded_of(seconds))
def test_the_total_of_fractions_is_so_to_the_last_bits(one: Folded, two: Folded) -> None:
    assert algebra.total(algebra.merge(one, two)) == pytest.approx(algebra.total(one) + algebra.total(two))


def test_a_difference_is_more_less_and_never_the_same() -> None:
    one: Folded = {("more",): 3.0, ("less",): 1.0, ("same",): 2.0, ("new",): 4.0, ("nothing",): 0.0}
    other: Folded = {("more",): 1.0, ("less",): 2.5, ("same",): 2.0, ("gone",): 5.0}
    assert algebra.subtract(one, other) == {("more",): 2.0, ("less",): -1.5, ("new",): 4.0, ("gone",): -5.0}


@given(folded_of(seconds))
def test_a_difference_with_itself_is_empty(folded: Folded) -> None:
    assert algebra.subtract(folded, folded) == {}


@given(folded_of(seconds))
def test_a_difference_with_nothing_is_the_stacks_themselves(folded: Folded) -> None:
    assert algebra.subtract(folded, {}) == folded


@given(folded_of(seconds), folded_of(seconds))
def test_a_difference_the_other_way_round_has_the_other_sign(one: Folded, other: Folded) -> None:
    there = algebra.subtract(one, other)
    assert algebra.subtract(other, one) == {stack: -weight for stack, weight in there.items()}


@given(folded_of(samples), folded_of(samples))
def test_what_was_subtracted_and_is_merged_gives_the_original_back(one: Folded, other: Folded) -> None:
    back = algebra.merge(algebra.subtract(one, other), other)
    assert {stack: weight for stack, weight in back.items() if weight} == one
    assert back.keys() == {**one, **other}.keys()


@given(folded_of(seconds), folded_of(seconds))
def test_fractions_come_back_to_the_last_bits(one: Folded, other: Folded) -> None:
    back = algebra.merge(algebra.subtract(one, other), other)
    for stack in {**one, **other}:
        room = 1e-9 * max(one.get(stack, 0.0), other.get(stack, 0.0))
        assert back[stack] == pytest.approx(one.get(stack, 0.0), abs=room)


@given(folded_of(seconds), st.floats(1e-6, 1e6))
def test_scaling_keeps_the_proportions(folded: Folded, factor: float) -> None:
    scaled = algebra.scale(folded, factor)
    assert scaled == {stack: weight * factor for stack, weight in folded.items()}
    assert algebra.total(scaled) == pytest.approx(factor * algebra.total(folded))
    for frame in "ax":
        assert algebra.share(scaled, frame.__eq__) == pytest.approx(algebra.share(folded, frame.__eq__))


@given(folded_of(seconds), st.floats(1e-6, 1e6))
def test_scaling_there_and_back_loses_nothing(folded: Folded, factor: float) -> None:
    assert algebra.scale(algebra.scale(folded, factor), 1 / factor) == about(folded)


@pytest.mark.parametrize("factor", [0, 0.0, -0.0, -1, -1e-9, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("folded", [{}, {("a",): 1.0}])
def test_what_is_no_positive_number_scales_nothing(factor: float, folded: Folded) -> None:
    with pytest.raises(ValueError, match=f"weights cannot be scaled by {factor}"):
        algebra.scale(folded, factor)


@given(folded_of(seconds))
def test_what_is_wanted_and_what_is_not_make_all(folded: Folded) -> None:
    def has_a(stack: Stack) -> bool:
        return "a" in stack

    wanted = algebra.keep(folded, has_a)
    unwanted = algebra.keep(folded, lambda stack: not has_a(stack))
    assert all(map(has_a, wanted))
    assert not any(map(has_a, unwanted))
    assert wanted | unwanted == folded


def test_rewriting_merges_what_becomes_equal() -> None:
    folded = {("a", "b"): 1.0, ("a", "c"): 2.0, ("d",): 4.0}
    assert algebra.rewrite(folded, lambda stack: stack[:1]) == {("a",): 3.0, ("d",): 4.0}


@given(folded_of(samples), st.integers(1, 3))
def test_rewriting_keeps_the_total(folded: Folded, depth: int) -> None:
    assert algebra.total(algebra.rewrite(folded, lambda stack: stack[:depth])) == algebra.total(folded)


@given(folded_of(seconds))
def test_rewriting_one_to_one_can_be_undone(folded: Folded) -> None:
    assert algebra.rewrite(algebra.rewrite(folded, reversed_stack), reversed_stack) == folded


def test_a_pools_children_merge_without_their_roots() -> None:
    assert algebra.strip_roots(parse(POOL)) == {
        ("<module> (pool.py:9)", "wait (threading.py:327)"): 1,
        ("spin (pool.py:5)",): 81,
    }


def test_a_stack_of_roots_alone_keeps_its_weight() -> None:
    assert algebra.strip_roots(parse('process 4:"app" 3\n')) == {(algebra.NO_FRAMES,): 3}
    assert algebra.strip_roots({ROOTS: 2.0, ROOTS[:1]: 1.0}) == {(algebra.NO_FRAMES,): 3.0}


def test_only_leading_roots_go() -> None:
    stack = ("f (a.py:1)", "thread (4)")
    assert algebra.strip_roots({("thread (3)", *stack): 1}) == {stack: 1}


@given(folded_of(samples))
def test_stripping_roots_keeps_the_total_and_is_done_once(folded: Folded) -> None:
    stripped = algebra.strip_roots(folded)
    assert algebra.total(stripped) == algebra.total(folded)
    assert algebra.strip_roots(stripped) == stripped
    assert not any(is_root(stack[0]) for stack in stripped)


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ("xya", (STAND_IN, "a")),
        ("xaya", (STAND_IN, "a", STAND_IN, "a")),
        ("axyzb", ("a", STAND_IN, "b")),
        ("xyz", (STAND_IN, "z")),
        ("ax", ("a", "x")),
        ("x", ("x",)),
        ("abc", ("a", "b", "c")),
    ],
)
def test_each_run_of_hidden_frames_becomes_one_but_the_innermost_frame_stays(
    stack: str, expected: Stack
) -> None:
    assert folded_away({tuple(stack): 2.5}) == {expected: 2.5}


def test_what_differed_by_hidden_frames_alone_is_merged() -> None:
    assert folded_away({("x", "a"): 1.0, ("y", "x", "a"): 2.0, ("a",): 4.0}) == {
        (STAND_IN, "a"): 3.0,
        ("a",): 4.0,
    }


def test_a_stand_in_that_was_read_from_a_file_is_like_any_other() -> None:
    (read,) = parse(f"{STAND_IN};x;a 1")
    assert folded_away({read: 1.0}) == {(STAND_IN, "a"): 1.0}


@given(folded_of(samples))
def test_folding_away_keeps_the_total_and_is_done_once(folded: Folded) -> None:
    away = folded_away(folded)
    assert algebra.total(away) == algebra.total(folded)
    assert folded_away(away) == away


@given(stacks)
def test_folding_away_keeps_the_innermost_frame_and_all_that_is_not_hidden(stack: Stack) -> None:
    ((folded, _),) = folded_away({stack: 1.0}).items()
    assert folded[-1] == stack[-1]
    assert [frame for frame in folded if not is_hidden(frame)] == [
        frame for frame in stack if not is_hidden(frame)
    ]
    assert not any(one == other == STAND_IN for one, other in pairwise(folded[:-1]))
    assert all(frame == STAND_IN for frame in folded[:-1] if is_hidden(frame))


@given(folded_of(seconds))
def test_where_nothing_is_hidden_nothing_changes(folded: Folded) -> None:
    assert algebra.fold_away(folded, lambda _frame: False, STAND_IN) == folded


def test_a_predicate_is_asked_once_for_each_frame() -> None:
    asked: list[str] = []

    def is_vowel(frame: str) -> bool:
        asked.append(frame)
        return frame in "aeiou"

    folded = {("a", "b", "a"): 1.0, ("b", "e"): 2.0, ("a",): 3.0}
    assert algebra.frames_with(folded, is_vowel) == {"a", "e"}
    assert sorted(asked) == ["a", "b", "e"]
    assert algebra.frames_with({}, is_vowel) == set()


def test_a_total_is_exact() -> None:
    assert algebra.total({(str(at),): 0.1 for at in range(10)}) == 1.0
    assert algebra.total({}) == 0.0


@given(folded_of(samples))
def test_shares_of_a_frame_and_of_its_absence_make_one(folded: Folded) -> None:
    wanted = next(iter(folded), ("none",))[-1]
    here = algebra.share(folded, wanted.__eq__)
    elsewhere = sum(weight for stack, weight in folded.items() if wanted not in stack)
    assert here + elsewhere / (algebra.total(folded) or 1.0) == pytest.approx(1.0 if folded else 0.0)


def test_recursion_counts_once_in_a_share() -> None:
    assert algebra.share({("f", "f", "f"): 3, ("g",): 1}, lambda frame: frame == "f") == 0.75


@pytest.mark.parametrize("folded", [{}, {("f",): 0.0}])
def test_a_share_of_nothing_is_nothing(folded: Folded) -> None:
    assert algebra.share(folded, lambda _frame: True) == 0.0
