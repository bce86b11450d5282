"""The sentences of a verdict, with their numbers in them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gilscope.model import BASELINE, BackendName, Interval
from gilscope.verdict.statistics import Figures

CALMER = "a quieter machine, or more --blocks"
TOO_WIDE = f"too wide an interval to recommend one: {CALMER}"
UNSURE = f"So much may be noise, and too much to recommend one: {CALMER}"


def figure(value: float) -> str:
    """Write a number with three significant digits, never in exponent form."""
    if math.isnan(value):
        return "?"
    rounded = float(f"{value:.2e}")
    digits = max(0, 2 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    return f"{value:,.{digits}f}"


def percent(share: float) -> str:
    """Write a share of 0 to 1 in per cent: tenths below ten, none above, as reports do."""
    value = share * 100
    return f"{value:.0f} %" if value == 0 or value >= 9.95 else f"{value:.1f} %"


def times(ratio: Interval) -> str:
    """Write a ratio with its interval."""
    return f"{ratio.mid:.2f}x (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"


def fastest_first(figures: Mapping[BackendName, Figures], winner: BackendName) -> list[BackendName]:
    """Return all but the winner, by throughput."""
    others = (name for name in figures if name is not winner)
    return sorted(others, key=lambda name: figures[name].throughput_rps.point, reverse=True)


def describe_winner(
    winner: BackendName, contenders: Sequence[BackendName], figures: Mapping[BackendName, Figures]
) -> str:
    """Say by how much the winner wins: over the next best, and over the baseline."""
    own = figures[winner]
    others = fastest_first(figures, winner)
    compared = list(dict.fromkeys([*(name for name in others if name is BASELINE), others[0]]))
    ratios = " and ".join(
        f"{times(own.throughput_rps.over(figures[name].throughput_rps))} {name}" for name in compared
    )
    sentence = f"{figure(own.throughput_rps.point)} requests/s, {ratios}; {_pings(winner, compared, figures)}"
    tied = [name for name in contenders if name is not winner]
    if tied:
        sentence = f"throughput ties with {', '.join(tied)}, but the neighbours feel less: {sentence}"
    return sentence


def describe_quickest(
    winner: BackendName, contenders: Sequence[BackendName], figures: Mapping[BackendName, Figures]
) -> str:
    """Say by how much the winner of an open loop answers sooner than the others that keep up."""
    own = figures[winner]
    others = sorted(
        (name for name in contenders if name is not winner), key=lambda name: figures[name].p99_ms.point
    )
    ratios = " and ".join(f"{times(figures[name].p99_ms.over(own.p99_ms))} on {name}" for name in others)
    return (
        f"{figure(own.throughput_rps.point)} requests/s were kept up by {winner}, {', '.join(others)}; p99 from when "
        f"each was due {figure(own.p99_ms.point)} ms, and {ratios}; {_pings(winner, others, figures)}"
    )


def _pings(
    winner: BackendName, compared: Sequence[BackendName], figures: Mapping[BackendName, Figures]
) -> str:
    theirs = ", ".join(f"{figure(figures[name].probe_p99_ms.point)} ms on {name}" for name in compared)
    return f"/ping p99 {figure(figures[winner].probe_p99_ms.point)} ms against {theirs}"


def describe_tie(
    tied: Sequence[BackendName],
    figures: Mapping[BackendName, Figures],
    least: float,
    *,
    measured: int,
    is_open: bool = False,
    settled: bool = True,
) -> str:
    """Say among which backends no difference was shown, how close they are, and which is the simplest.

    ``least`` is the share by which they would have had to differ: an interval that leaves 1 out does not decide by itself.
    Where another may well be much better than that (not ``settled``), that is told instead.
    """
    simplest = tied[0]
    if measured == 1:
        return f"only {simplest} was measured: {figure(figures[simplest].throughput_rps.point)} requests/s"
    ratios = _ratios(figures, tied, is_open=is_open)
    why = ""
    if any(ratio.low > 1 or ratio.high < 1 for ratio in _each_ratio(figures, tied, is_open=is_open)):
        floor = "the noise floor and what the generator can resolve" if is_open else "the noise floor"
        why = f" (a difference counts if it is surely above {percent(least)}, and above {floor})"
    rest = f"{simplest} is the simplest" if settled else UNSURE if why else f"That is {TOO_WIDE}"
    return f"no difference shown between {', '.join(tied)}: {ratios}{why}. {rest}"


def describe_undecided(doubt: str, figures: Mapping[BackendName, Figures], *, is_open: bool) -> str:
    """Say why nothing can be decided, and what was measured all the same."""
    return f"{doubt}. Measured so far: {_ratios(figures, list(figures), is_open=is_open)}"


def _each_ratio(
    figures: Mapping[BackendName, Figures], backends: Sequence[BackendName], *, is_open: bool
) -> list[Interval]:
    first, *others = (figures[name].p99_ms if is_open else figures[name].throughput_rps for name in backends)
    return [other.over(first) for other in others]


def _ratios(figures: Mapping[BackendName, Figures], backends: Sequence[BackendName], *, is_open: bool) -> str:
    """Say how the others compare with the first: in an open loop by p99, as all that keep up have the same throughput."""
    first, *others = backends
    ratios = zip(others, _each_ratio(figures, backends, is_open=is_open), strict=True)
    if is_open:
        return "; ".join(f"p99 on {name} is {times(ratio)} that on {first}" for name, ratio in ratios)
    return "; ".join(f"{name} has {times(ratio)} the throughput of {first}" for name, ratio in ratios)


def freeze_caveat(
    recommended: BackendName,
    best: BackendName,
    figures: Mapping[BackendName, Figures],
    loop_share: float | None = None,
) -> str:
    """Say that the recommended backend holds up its neighbours, and which one does not.

    ``loop_share`` is the share of the time for which its event loop waited for the GIL, None where that is no cause.
    """
    mine, theirs = figures[recommended].probe_p99_ms.point, figures[best].probe_p99_ms.point
    cause = (
        "" if loop_share is None else f"; its event loop waited for the GIL {percent(loop_share)} of the time"
    )
    return (
        f"{recommended} holds up everything else in the process: /ping p99 is {figure(mine)} ms, "
        f"on {best} {figure(theirs)} ms{cause}"
    )


def describe_wait(
    backend: BackendName, request_ms: tuple[float, float] | None, loop_share: float | None
) -> str:
    """Say who waited for the GIL on a backend.

    ``request_ms`` is how long the mean request took, and for how long of that it waited inside the function;
    ``loop_share`` is the share of the time for which the event loop waited. Either is None where it explains nothing.
    """
    took, waited = request_ms or (0.0, 0.0)
    request = f"of {figure(took)} ms a request waited {figure(waited)} ms for the GIL inside the function"
    if loop_share is None:
        return f"On {backend}, {request}"
    if request_ms is None:
        return f"On {backend}, the event loop waited for the GIL {percent(loop_share)} of the time"
    return f"On {backend}, {request}, and the event loop waited for it {percent(loop_share)} of the time"


def describe_calm(backend: BackendName, share: float) -> str:
    """Say that the function hardly waited for the GIL, and for what share of its time."""
    return f"On {backend}, the function hardly waited for the GIL: {percent(share)} of its time"
