"""The break-even: from which size of the work on one backend has more throughput than another. Pure.

Two backends are measured at several sizes. Between two sizes the logarithm of their throughput ratio is taken to
be linear in the logarithm of the size; beyond the smallest and the largest nothing is assumed. The break-even is
the size from which on, up to the largest, that line lies above 0.

Its 95 % interval is a bootstrap's: every resample has a line of its own, and so a break-even of its own. The
percentiles are moved outwards for few blocks, as those of every other figure are (see
:mod:`gilscope.verdict.statistics`).

A line that hovers about 0 crosses it somewhere, and that means nothing. A break-even is only spoken of where
one backend is surely ahead at one size and surely behind at a smaller one. *Surely* is what it is in a verdict:
the interval of the ratio excludes a tie, the ratio exceeds the noise floor of that size
(:func:`gilscope.verdict.decision.beats`), and no single block does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from gilscope.model import (
    BELOW,
    BEYOND,
    SIMPLEST_FIRST,
    BackendName,
    BreakEven,
    Interval,
    Samples,
    Standing,
    Sweep,
    Target,
    Trial,
)
from gilscope.quantiles import quantile
from gilscope.verdict.decision import MIN_BLOCKS, beats, block_numbers, blocks_by_backend
from gilscope.verdict.noise import noise_floor, spread
from gilscope.verdict.statistics import Figures, Replicates, estimate, outer_share


def break_evens(
    sizes: Sequence[float],
    figures: Sequence[Mapping[BackendName, Figures]],
    noises: Sequence[float] | None = None,
) -> tuple[BreakEven, ...]:
    """Find the break-even of every two backends, the less simple one over the simpler one.

    It is the other way round where it is the simpler one that overtakes as the work grows.

    Args:
        sizes: sizes of the work, positive and ascending, at least two.
        figures: the figures at each size, with equally many resamples. The resamples of two sizes have to be
            independent of each other: estimate each size with a seed of its own. A size is left out for a backend
            that has no figures there, or no throughput; a pair with fewer than two sizes in common is left out.
        noises: by what factor equal things may differ at each size; 1 where it is not given.

    Raises:
        ValueError: the sizes are not as said above, are not as many as the figures or noises, or the number of
            resamples differs.
    """
    noises = [1.0] * len(sizes) if noises is None else noises
    _check(sizes, figures, noises)
    pairs = ((backend, over) for over, backend in combinations(SIMPLEST_FIRST, 2))
    curves = (_Curve.of(backend, over, sizes, figures, noises) for backend, over in pairs)
    return tuple(curve.break_even() for curve in curves if len(curve.points) > 1)


def of_sweep(
    sweep: Sweep,
    targets: Sequence[Target],
    trials: Sequence[Trial],
    samples: Mapping[str, Samples],
    *,
    seed: int,
) -> tuple[BreakEven, ...]:
    """Find the break-evens of a sweep from its trials; ``targets`` are in the order of its sizes.

    A size that has no valid trial is left out; none is found where that leaves fewer than two.
    """
    known: list[tuple[float, Mapping[BackendName, Figures], float]] = []
    for number, (size, target) in enumerate(zip(sweep.sizes, targets, strict=True), start=1):
        own = [trial for trial in trials if trial.workload == target.workload]
        if blocks := blocks_by_backend(own, samples):
            figures = estimate(blocks, seed=seed + number, numbers=block_numbers(own, samples))
            known.append((size, figures, _noise(own, samples, seed=seed)))
    if len(known) < 2:
        return ()
    return break_evens(*map(list, zip(*known, strict=True)))


def _noise(trials: Sequence[Trial], samples: Mapping[str, Samples], *, seed: int) -> float:
    """Return by what factor equal things may differ: any, where pairs were tried and too few of them count."""
    floor = noise_floor(trials, samples, seed=seed)
    if not any(trial.twin for trial in trials):
        return 1.0
    return spread(floor.throughput) if floor and floor.pairs >= MIN_BLOCKS else math.inf


def _check(sizes: Sequence[float], figures: Sequence[object], noises: Sequence[float]) -> None:
    if len(sizes) < 2:
        raise ValueError(f"a break-even takes two sizes or more, not {len(sizes)}")
    if not len(sizes) == len(figures) == len(noises):
        raise ValueError(f"{len(sizes)} sizes, but figures for {len(figures)} and noise for {len(noises)}")
    if not all(0 < before < after < math.inf for before, after in pairwise(sizes)):
        raise ValueError(f"sizes are positive, finite and ascend, not {', '.join(f'{s:g}' for s in sizes)}")


@dataclass(frozen=True, slots=True)
class _Point:
    """The throughput of two backends at one size of the work."""

    size: float
    mine: Replicates
    theirs: Replicates
    noise: float = 1.0

    @property
    def blocks(self) -> int:
        return min(self.mine.blocks, self.theirs.blocks)

    def sign(self) -> int:
        """Return 1 for surely ahead, -1 for surely behind, 0 where the evidence does not tell."""
        if self.blocks < MIN_BLOCKS:
            return 0
        ahead, behind = self.mine.over(self.theirs), self.theirs.over(self.mine)
        return beats(ahead, self.noise) - beats(behind, self.noise)

    def logs(self) -> list[float]:
        """Return the logarithm of the ratio, resample by resample; NaN for one without throughput."""
        pairs = zip(self.mine.draws, self.theirs.draws, strict=True)
        return [_log_ratio(mine, theirs) for mine, theirs in pairs]


@dataclass(frozen=True, slots=True)
class _Curve:
    """How the throughput of ``backend`` over that of ``over`` changes with the size of the work."""

    backend: BackendName
    over: BackendName
    points: tuple[_Point, ...]

    @classmethod
    def of(
        cls,
        backend: BackendName,
        over: BackendName,
        sizes: Sequence[float],
        figures: Sequence[Mapping[BackendName, Figures]],
        noises: Sequence[float],
    ) -> _Curve:
        known = (
            _Point(size, own[backend].throughput_rps, own[over].throughput_rps, noise)
            for size, own, noise in zip(sizes, figures, noises, strict=True)
            if backend in own and over in own
        )
        return cls(backend, over, tuple(p for p in known if p.mine.point > 0 and p.theirs.point > 0))

    def break_even(self) -> BreakEven:
        signs = [point.sign() for point in self.points]
        if len(set(signs)) == 1:
            return BreakEven(self.backend, self.over, _STANDING[signs[0]])
        curve = self if _rises(signs) else self._reversed()
        size = curve.size()
        crosses = {1, -1} <= set(signs) and math.isfinite(size.mid)
        return BreakEven(curve.backend, curve.over, Standing.CROSSES if crosses else Standing.UNCLEAR, size)

    def size(self) -> Interval:
        """Return the break-even with its interval; 0 and infinity stand for beyond either end."""
        sizes = [point.size for point in self.points]
        mid = begin(sizes, [_log_ratio(point.mine.point, point.theirs.point) for point in self.points])
        drawn = sorted(begin(sizes, logs) for logs in self._lines())
        if not drawn:
            return Interval(BELOW, mid, BEYOND)
        outside = outer_share(min(point.blocks for point in self.points))
        return Interval(min(mid, quantile(drawn, outside)), mid, max(mid, quantile(drawn, 1 - outside)))

    def _lines(self) -> Iterator[tuple[float, ...]]:
        """Return the logarithms at all sizes, one line for each resample that has throughput everywhere."""
        lines = zip(*(point.logs() for point in self.points), strict=True)
        return (logs for logs in lines if not any(map(math.isnan, logs)))

    def _reversed(self) -> _Curve:
        points = tuple(replace(point, mine=point.theirs, theirs=point.mine) for point in self.points)
        return _Curve(self.over, self.backend, points)


_STANDING = {1: Standing.ALWAYS, -1: Standing.NEVER, 0: Standing.TIED}


def begin(sizes: Sequence[float], logs: Sequence[float]) -> float:
    """Return the size from which on a line stays above 0, linear between the logarithms of the sizes.

    It is :data:`BELOW` for a line that is above 0 everywhere, and :data:`BEYOND` for one that is not so at its end.
    """
    last = max((at for at, log in enumerate(logs) if log <= 0), default=None)
    if last is None:
        return BELOW
    if last == len(sizes) - 1:
        return BEYOND
    share = logs[last] / (logs[last] - logs[last + 1])
    return float(sizes[last] * (sizes[last + 1] / sizes[last]) ** share)


def _rises(signs: Sequence[int]) -> bool:
    """Whether what is sure speaks of ``backend`` overtaking as the work grows, and not of its being overtaken.

    With both signs, the last one tells. With one, it is sure either of the end that follows the break-even (and then
    it has to be 1), or of what comes before it (-1).
    """
    sure = [sign for sign in signs if sign]
    after = len(set(sure)) == 2 or signs[-1] != 0
    return (sure[-1] > 0) == after


def _log_ratio(one: float, other: float) -> float:
    return math.log(one / other) if one > 0 and other > 0 else math.nan
