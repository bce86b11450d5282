"""Two graphs of one kind, made comparable: each weight per completed request, or per second. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from gilscope.errors import UsageError
from gilscope.flame.algebra import scale
from gilscope.model import Folded, Graph

NOISE = 2.0
"""So many standard errors a frame must have changed by before it counts: what is left is chance in 1 of 20."""

STEPS = (0.5, 0.8)
"""Relative changes from which the colour grows stronger: half as much again of the larger one, and five times."""


class Change(StrEnum):
    """How a frame's weight changed; the value is its CSS class."""

    GREW_3 = "grew-3"
    GREW_2 = "grew-2"
    GREW_1 = "grew-1"
    SAME = "same"
    SHRANK_1 = "shrank-1"
    SHRANK_2 = "shrank-2"
    SHRANK_3 = "shrank-3"


@dataclass(frozen=True, slots=True)
class Side:
    """One of two graphs: what it is called, its weights, and ``grain``, the weight of a single sample.

    ``per`` says what weights are divided by, as a suffix: `` per request``.
    """

    name: str
    folded: Folded
    grain: float
    per: str


class Named(NamedTuple):
    """A graph to be compared, and what it is called in the comparison."""

    name: str
    graph: Graph
    folded: Folded


def sides(now: Named, before: Named) -> tuple[Side, Side]:
    """Make two graphs comparable.

    Per completed request where both graphs know how many there were, and per second otherwise.

    Raises:
        UsageError: they are of different kinds, or of different profilers.
    """
    one, other = now.graph, before.graph
    if one.kind is not other.kind:
        raise UsageError(
            f"a {one.kind} graph cannot be compared with a {other.kind} graph: a second means another thing in each",
            remedy="two graphs of the same kind",
        )
    if _profiler(one) != _profiler(other):
        raise UsageError(
            f"graphs of {one.source} and {other.source} cannot be compared: they name the same frames differently",
            remedy="two graphs of the same profiler, so of the same Python",
        )
    by_request = bool(one.requests and other.requests)
    return _side(now, by_request=by_request), _side(before, by_request=by_request)


def _profiler(graph: Graph) -> str:
    return graph.source.partition(" ")[0]


def _side(named: Named, *, by_request: bool) -> Side:
    graph = named.graph
    divisor = float(graph.requests or 0) if by_request else graph.seconds
    return Side(
        named.name,
        scale(named.folded, 1 / divisor),
        1 / graph.rate_hz / divisor,
        " per request" if by_request else " per second",
    )


def change_of(has: float, had: float, grain: float, grain_before: float) -> Change:
    """Say how much a weight changed, relative to the larger of the two.

    Samples are counted: a weight of ``n`` samples has a standard error of ``sqrt(n)`` of them (Poisson).
    """
    gained = has - had
    error = math.sqrt(has * grain + had * grain_before)
    if abs(gained) <= NOISE * error:
        return Change.SAME
    step = 1 + sum(abs(gained) / max(has, had) >= limit for limit in STEPS)
    return Change(f"{'grew' if gained > 0 else 'shrank'}-{step}")
