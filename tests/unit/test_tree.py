from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.flame.tree import Branch, Tree
from gilscope.model import Folded, Stack

ROUNDING = 1e-11

stacks = st.lists(st.sampled_from("abcd"), min_size=1, max_size=5).map(tuple)
samples = st.integers(1, 10**9).map(float)
folded_samples = st.dictionaries(stacks, samples, max_size=10)
folded_seconds = st.dictionaries(stacks, st.floats(0, 100), max_size=10)


def paths_of(tree: Tree) -> Iterator[tuple[Stack, Branch]]:
    """All branches, each with the frames that lead to it."""
    waiting: list[tuple[Stack, Branch]] = [((), tree.root)]
    while waiting:
        path, branch = waiting.pop()
        yield path, branch
        waiting.extend(((*path, child.frame), child) for child in tree.children(branch))


def through(folded: Folded, path: Stack) -> float:
    return sum(weight for stack, weight in folded.items() if stack[: len(path)] == path)


def described(tree: Tree, branch: Branch) -> list[tuple[str, float, float]]:
    return [(child.frame, child.weight, child.before) for child in tree.children(branch)]


def test_the_tree_joins_common_prefixes() -> None:
    tree = Tree({("a", "b"): 2, ("a", "c"): 3, ("a",): 1, ("b",): 4, ("gone",): 0})
    assert (tree.root.frame, tree.root.depth, tree.root.weight) == ("all", 0, 10)
    below = list(tree.children(tree.root))
    assert [(branch.frame, branch.depth, branch.weight) for branch in below] == [("a", 1, 6), ("b", 1, 4)]
    assert [(branch.frame, branch.weight) for branch in tree.children(below[0])] == [("b", 2), ("c", 3)]
    assert list(tree.children(below[1])) == []


def test_the_tree_of_nothing_has_a_weightless_root() -> None:
    for tree in (Tree({}), Tree({("a",): 0.0}), Tree({}, {}), Tree({}, {("a",): 0.0})):
        assert (tree.root.weight, tree.root.before) == (0, 0)
        assert list(tree.children(tree.root)) == []


def test_without_anything_before_nothing_weighed_anything() -> None:
    assert {branch.before for _, branch in paths_of(Tree({("a", "b"): 2, ("c",): 1}))} == {0.0}


def test_branches_know_what_they_weigh_and_what_they_weighed() -> None:
    tree = Tree({("a", "b"): 2, ("a", "new"): 3}, {("a", "b"): 5, ("a",): 1, ("gone", "away"): 7})
    assert (tree.root.weight, tree.root.before) == (5, 13)
    assert described(tree, tree.root) == [("a", 5, 6), ("gone", 0, 7)]
    a, gone = tree.children(tree.root)
    assert described(tree, a) == [("b", 2, 5), ("new", 3, 0)]
    assert described(tree, gone) == [("away", 0, 7)]


def test_a_tree_may_be_of_what_was_before_alone() -> None:
    tree = Tree({}, {("a", "b"): 2})
    assert (tree.root.weight, tree.root.before) == (0, 2)
    assert described(tree, tree.root) == [("a", 0, 2)]


def test_fractions_of_a_second_sum_to_what_a_reader_expects() -> None:
    tree = Tree({("a", str(at)): 0.1 for at in range(10)} | {("b",): 0.2})
    assert [branch.weight for branch in tree.children(tree.root)] == [1.0, 0.2]
    assert tree.root.weight == 1.2


@given(folded_samples, folded_samples)
def test_every_branch_weighs_what_its_stacks_weigh(folded: Folded, before: Folded) -> None:
    tree = Tree(folded, before)
    prefixes = {stack[:depth] for stack in {**folded, **before} for depth in range(len(stack) + 1)}
    found = dict(paths_of(tree))
    assert found.keys() == prefixes | {()}
    for path, branch in found.items():
        assert (branch.weight, branch.before) == (through(folded, path), through(before, path))
        assert branch.depth == len(path)


@given(folded_seconds, folded_seconds)
def test_children_weigh_and_weighed_no_more_than_their_caller(folded: Folded, before: Folded) -> None:
    tree = Tree(folded, before)
    for path, branch in paths_of(tree):
        children = list(tree.children(branch))
        assert sum(child.weight for child in children) <= branch.weight + ROUNDING
        assert sum(child.before for child in children) <= branch.before + ROUNDING
        assert branch.weight == pytest.approx(through(folded, path), abs=ROUNDING)
        assert branch.before == pytest.approx(through(before, path), abs=ROUNDING)


@given(folded_samples, folded_samples)
def test_swapping_the_two_swaps_the_weights(folded: Folded, before: Folded) -> None:
    there = {path: (branch.weight, branch.before) for path, branch in paths_of(Tree(folded, before))}
    back = {path: (branch.before, branch.weight) for path, branch in paths_of(Tree(before, folded))}
    assert there == back


@given(folded_samples)
def test_children_come_in_alphabetical_order_and_once(folded: Folded) -> None:
    tree = Tree(folded)
    for _, branch in paths_of(tree):
        names = [child.frame for child in tree.children(branch)]
        assert names == sorted(set(names))
