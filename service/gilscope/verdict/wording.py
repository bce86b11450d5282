"""The sentences of a verdict, with their numbers in them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gilscope.model import BASELINE, BackendName, Interval
from gilscope.verdict.statistics import Figures


def figure(value: float) -> str:
    """Write a number with three significant digits, never in exponent form."""
    if math.isnan(value):
        return "?"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


def times(ratio: Interval) -> str:
    """Write a ratio with its interval."""
    return f"{ratio.mid:.2f}x (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"


def describe_winner(
    winner: BackendName, contenders: Sequence[BackendName], figures: Mapping[BackendName, Figures]
) -> str:
    """Say by how much the winner wins: over the next best, and over the baseline."""
    own = figures[winner]
    others = sorted(
        (name for name in figures if name is not winner),
        key=lambda name: figures[name].throughput_rps.point,
        reverse=True,
    )
    compared = list(dict.fromkeys([*(name for name in others if name is BASELINE), others[0]]))
    ratios = " and ".join(
        f"{times(own.throughput_rps.over(figures[name].throughput_rps))} {name}" for name in compared
    )
    sentence = f"{figure(own.throughput_rps.point)} requests/s, {ratios}; {_pings(winner, compared, figures)}"
    tied = [name for name in contenders if name is not winner]
    if tied:
        sentence = f"throughput ties with {', '.join(tied)}, but the neighbours feel less: {sentence}"
    return sentence


def _pings(
    winner: BackendName, compared: Sequence[BackendName], figures: Mapping[BackendName, Figures]
) -> str:
    theirs = ", ".join(f"{figure(figures[name].probe_p99_ms.point)} ms on {name}" for name in compared)
    return f"/ping p99 {figure(figures[winner].probe_p99_ms.point)} ms against {theirs}"


def describe_tie(
    tied: Sequence[BackendName], figures: Mapping[BackendName, Figures], *, measured: int
) -> str:
    """Say among which backends no difference was shown, how close they are, and which is the simplest."""
    simplest, *others = tied
    if measured == 1:
        return f"only {simplest} was measured: {figure(figures[simplest].throughput_rps.point)} requests/s"
    ratios = "; ".join(
        f"{name} has {times(figures[name].throughput_rps.over(figures[simplest].throughput_rps))} "
        f"the throughput of {simplest}"
        for name in others
    )
    return f"no difference shown between {', '.join(tied)}: {ratios}. {simplest} is the simplest"


def freeze_caveat(recommended: BackendName, best: BackendName, figures: Mapping[BackendName, Figures]) -> str:
    """Say that the recommended backend holds up its neighbours, and which one does not."""
    mine, theirs = figures[recommended].probe_p99_ms.point, figures[best].probe_p99_ms.point
    return (
        f"{recommended} holds up everything else in the process: /ping p99 is {figure(mine)} ms, "
        f"on {best} {figure(theirs)} ms"
    )
