"""Folded stacks as a tree of frames, made branch by branch. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from gilscope.model import Folded, Stack


@dataclass(frozen=True, slots=True)
class Branch:
    """A frame where callers led to it: the sorted stacks from ``begin`` up to ``end`` all pass through it.

    ``depth`` counts its callers and itself; ``weight`` is that of all these stacks, ``before`` what they weighed in the
    graph that this one is compared with.
    """

    frame: str
    depth: int
    begin: int
    end: int
    weight: float
    before: float = 0.0


class Tree:
    """Stacks joined at their common prefixes. Branches are made when asked for: a wide graph is never built whole."""

    def __init__(self, folded: Folded, before: Folded | None = None) -> None:
        """Join the stacks that have weight, or had some ``before``."""
        had = before or {}
        self._stacks = sorted(stack for stack in {**folded, **had} if folded.get(stack) or had.get(stack))
        self._cumulated = _cumulated(folded, self._stacks)
        self._cumulated_before = _cumulated(had, self._stacks) if had else None

    @property
    def root(self) -> Branch:
        """All stacks, under a frame that no stack has."""
        return self._branch("all", 0, 0, len(self._stacks))

    def children(self, branch: Branch) -> Iterator[Branch]:
        """Yield the branches that ``branch`` called, in alphabetical order."""
        depth, begin = branch.depth, branch.begin
        while (
            begin < branch.end and len(self._stacks[begin]) == depth
        ):  # Ends here; sorts before longer ones.
            begin += 1
        while begin < branch.end:
            frame = self._stacks[begin][depth]
            end = self._end_of(frame, depth, begin, branch.end)
            yield self._branch(frame, depth + 1, begin, end)
            begin = end

    def _end_of(self, frame: str, depth: int, begin: int, end: int) -> int:
        """Find where ``frame`` ends as the frame at ``depth``, looking first at the two likely places."""
        if self._stacks[end - 1][depth] == frame:
            return end
        if self._stacks[begin + 1][depth] != frame:
            return begin + 1
        return bisect_right(self._stacks, frame, begin, end, key=lambda stack: stack[depth])

    def _branch(self, frame: str, depth: int, begin: int, end: int) -> Branch:
        before = self._cumulated_before
        had = 0.0 if before is None else _sum(before, begin, end)
        return Branch(frame, depth, begin, end, _sum(self._cumulated, begin, end), had)


def _cumulated(folded: Folded, stacks: Iterable[Stack]) -> list[float]:
    return [0.0, *accumulate(folded.get(stack, 0.0) for stack in stacks)]


def _sum(cumulated: Sequence[float], begin: int, end: int) -> float:
    """Sums of fractions miss by the last bits; a sample, even per request, is never as small as the last digit here."""
    return round(cumulated[end] - cumulated[begin], 12)
