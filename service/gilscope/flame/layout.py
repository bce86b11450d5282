"""Where the frames of a graph lie: an icicle, callers on top. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from typing import NamedTuple

from gilscope.flame.harness import is_harness
from gilscope.flame.tree import Branch, Tree

MIN_SHARE = 0.0015
"""Frames narrower than this share of the graph (a pixel or two) are not drawn on their own."""


class Kind(StrEnum):
    """What a box stands for; the value is its CSS class."""

    ROOT = "root"
    OWN = "own"
    HARNESS = "harness"
    OTHER = "other"
    REST = "rest"


class Box(NamedTuple):
    """A drawn frame: its left edge and width as shares of the graph, its row (from 0), its weight now and before."""

    frame: str
    kind: Kind
    start: float
    width: float
    row: int
    weight: float
    before: float = 0.0


@dataclass(frozen=True, slots=True)
class Layout:
    """All boxes, callers before what they called; ``merged_share`` (0 to 1) is in frames too narrow to draw."""

    boxes: tuple[Box, ...]
    merged_share: float

    @property
    def rows(self) -> int:
        """How deep the drawn stacks are, the root included."""
        return 1 + max(box.row for box in self.boxes)


def lay_out(tree: Tree, own: Callable[[str], bool], whole: float | None = None) -> Layout:
    """Place the tree's frames, heaviest first among siblings, without recursion.

    Siblings narrower than :data:`MIN_SHARE` become one box, if together they are wide enough for one. ``whole`` is
    the weight that is as wide as the graph (default: that of all stacks).
    """
    whole = whole or tree.root.weight
    kind_of = cache(partial(_kind, own=own))
    boxes: list[Box] = []
    merged = 0.0
    waiting = [(tree.root, Kind.ROOT, 0.0)]
    while waiting:
        branch, kind, start = waiting.pop()
        boxes.append(_box(branch, kind, start, whole))
        if kind is Kind.REST:
            merged += branch.weight
            continue
        wide, rest = _by_width(tree.children(branch), whole * MIN_SHARE)
        shown = [(child, kind_of(child.frame)) for child in wide]
        waiting.extend(reversed(list(_place([*shown, *rest], start))))
    drawn = (box for box in boxes if box.kind is not Kind.REST or box.width >= MIN_SHARE)
    return Layout(tuple(drawn), merged / whole)


def _box(branch: Branch, kind: Kind, start: float, whole: float) -> Box:
    return Box(
        branch.frame, kind, start / whole, branch.weight / whole, branch.depth, branch.weight, branch.before
    )


def _by_width(children: Iterable[Branch], least: float) -> tuple[list[Branch], list[tuple[Branch, Kind]]]:
    """Sort those wide enough to draw, heaviest first, and let one branch stand in for the others."""
    wide: list[Branch] = []
    narrow: list[Branch] = []
    for child in children:
        if child.weight:  # One that only was there before has no width.
            (wide if child.weight >= least else narrow).append(child)
    return sorted(wide, key=lambda child: (-child.weight, child.frame)), _rest(narrow)


def _rest(narrow: Sequence[Branch]) -> list[tuple[Branch, Kind]]:
    if not narrow:
        return []
    first, last = narrow[0], narrow[-1]
    frame = f"{len(narrow):,} narrower frame{'s' if len(narrow) > 1 else ''}"
    weight, before = sum(child.weight for child in narrow), sum(child.before for child in narrow)
    return [(Branch(frame, first.depth, first.begin, last.end, weight, before), Kind.REST)]


def _place(branches: Iterable[tuple[Branch, Kind]], start: float) -> Iterator[tuple[Branch, Kind, float]]:
    for branch, kind in branches:
        yield branch, kind, start
        start += branch.weight


def _kind(frame: str, own: Callable[[str], bool]) -> Kind:
    if own(frame):
        return Kind.OWN
    return Kind.HARNESS if is_harness(frame) else Kind.OTHER
