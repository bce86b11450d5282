"""Figures with confidence: a hierarchical bootstrap over blocks, then over one-second windows. Pure.

Requests are not independent of each other (they queue behind one another), so they are never resampled one by
one. What is drawn, with replacement, are whole blocks, and within them whole windows of about a second
(Davison & Hinkley 1997, section 3.8: resample the highest level first). All backends draw the same blocks, so
that what slowed a whole block down cancels out of their ratios.

With three or four blocks the plain percentile interval is too narrow. The percentiles are moved outwards as
Hesterberg does it ("What Teachers Should Know About the Bootstrap", 2015, section 4.2: the expanded percentile
interval), which for so few blocks ends at the most extreme resamples.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import TypeVar

from gilscope.model import Interval, Samples
from gilscope.quantiles import quantile

Contender = TypeVar("Contender", bound=Hashable)
"""What is compared: backends, or a backend and itself."""

WINDOW_S = 1.0
RESAMPLES = 1_000
T_975 = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
)
"""Student's t at 0.975 for 1 to 15 degrees of freedom."""
TAIL = 0.99


@dataclass(frozen=True, slots=True)
class Window:
    """About a second of one trial: its length, the latencies of the work and of the pings that belong to it.

    ``work_ms`` has those of failed requests, too, as :attr:`gilscope.model.Samples.latencies_ms` does. ``answers`` counts
    the answers that came in within it.
    """

    length_s: float
    work_ms: tuple[float, ...]
    probe_ms: tuple[float, ...]
    answers: int


Block = tuple[Window, ...]
"""The windows of one trial."""


def cut(samples: Samples) -> Block:
    """Cut a trial's samples into equal windows of about :data:`WINDOW_S`."""
    count = max(1, round(samples.window_s / WINDOW_S))
    length_s = samples.window_s / count
    work: list[list[float]] = [[] for _ in range(count)]
    probe: list[list[float]] = [[] for _ in range(count)]
    answers = [0] * count

    def place(at: float) -> int:
        return min(count - 1, int(at / length_s))

    times_s = [*samples.work.at_s, *samples.unanswered.due_s, *samples.failed_s]
    latencies_ms = samples.latencies_ms
    for into, times, latencies in (
        (work, times_s[: len(latencies_ms)], latencies_ms),
        (probe, samples.probe.due_s, samples.probe.latency_ms),
    ):
        for at, latency in zip(times, latencies, strict=True):
            into[place(at)].append(latency)
    for at in samples.done_s:
        answers[place(at)] += 1
    return tuple(
        Window(length_s, tuple(w), tuple(p), n) for w, p, n in zip(work, probe, answers, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Replicates:
    """One figure of one backend: ``point`` from all data of its ``blocks``, and ``draws``, one per resample.

    Draws of different backends with the same index come from the same blocks. NaN stands for a resample
    without data.
    """

    point: float
    draws: tuple[float, ...]
    blocks: int

    def interval(self) -> Interval:
        """Return the figure with its 95 % interval; of a single block, that shows no more than its windows do."""
        return _interval(self.point, self.draws, self.blocks)

    def over(self, other: Replicates) -> Interval:
        """Return the ratio of this figure to ``other``'s, resample by resample."""
        draws = [_divide(mine, theirs) for mine, theirs in zip(self.draws, other.draws, strict=True)]
        return _interval(_divide(self.point, other.point), draws, min(self.blocks, other.blocks))


@dataclass(frozen=True, slots=True)
class Figures:
    """What a verdict rests on, per backend.

    Throughput is that of all blocks together. A p99 is the median of the blocks' own: pooled, a single
    disturbance in a single block, a hundredth of all the time, would be the p99 of the whole.
    """

    throughput_rps: Replicates
    p99_ms: Replicates
    probe_p99_ms: Replicates


def estimate(
    trials: Mapping[Contender, Sequence[Block]],
    *,
    seed: int,
    resamples: int | None = None,
    numbers: Mapping[Contender, Sequence[int]] | None = None,
) -> dict[Contender, Figures]:
    """Estimate the figures of every backend, or whatever is compared, from its blocks (at least one each).

    Draws are paired: blocks of the same number are drawn together. ``numbers`` are those of the blocks, where some are
    missing; a backend that has no block of a number draws another one of its own. ``resamples`` is :data:`RESAMPLES`
    unless it is given.
    """
    generator = random.Random(seed)
    places = _places(trials, numbers)
    tables = {backend: _Table.of(blocks, places[backend]) for backend, blocks in trials.items()}
    depth = max(len(table.places) for table in tables.values())
    drawn: dict[Contender, list[tuple[float, float, float]]] = {backend: [] for backend in tables}
    for _ in range(resamples or RESAMPLES):
        positions = [generator.random() for _ in range(depth)]
        for backend, table in tables.items():
            drawn[backend].append(table.figures(table.draw(positions, generator)))
    return {
        backend: Figures(
            *(
                Replicates(point, tuple(draws), table.blocks)
                for point, draws in zip(
                    table.figures(table.everything()), zip(*drawn[backend], strict=True), strict=True
                )
            )
        )
        for backend, table in tables.items()
    }


@dataclass(frozen=True, slots=True)
class _Ordered:
    """A block with all its latencies in descending order, once for every resample."""

    windows: Block
    work: tuple[tuple[float, int], ...]
    probe: tuple[tuple[float, int], ...]

    @classmethod
    def of(cls, block: Block) -> _Ordered:
        return cls(
            block,
            _descending([window.work_ms for window in block]),
            _descending([window.probe_ms for window in block]),
        )

    def answers(self, times: Sequence[int]) -> int:
        """Count the answers in windows taken ``times`` each."""
        return sum(n * window.answers for n, window in zip(times, self.windows, strict=True))

    def seconds(self, times: Sequence[int]) -> float:
        return sum(n * window.length_s for n, window in zip(times, self.windows, strict=True))

    def work_p99_ms(self, times: Sequence[int]) -> float:
        requests = sum(n * len(window.work_ms) for n, window in zip(times, self.windows, strict=True))
        return _tail(self.work, times, requests)

    def probe_p99_ms(self, times: Sequence[int]) -> float:
        pings = sum(n * len(window.probe_ms) for n, window in zip(times, self.windows, strict=True))
        return _tail(self.probe, times, pings)


Drawn = Sequence[tuple[_Ordered, Sequence[int]]]
"""Blocks, each with how often every one of its windows is taken."""


def _places(
    trials: Mapping[Contender, Sequence[Block]], numbers: Mapping[Contender, Sequence[int]] | None
) -> dict[Contender, list[int | None]]:
    """Return, for each number of a block that any has, where each one's own block of that number stands, if it has it."""
    known = {backend: (numbers or {}).get(backend, range(len(blocks))) for backend, blocks in trials.items()}
    everything = sorted({number for own in known.values() for number in own})
    return {
        backend: [list(own).index(number) if number in own else None for number in everything]
        for backend, own in known.items()
    }


@dataclass(frozen=True, slots=True)
class _Table:
    """One backend's blocks; ``places`` says where the block of each number stands, None where it is missing."""

    ordered: tuple[_Ordered, ...]
    places: tuple[int | None, ...]

    @classmethod
    def of(cls, blocks: Sequence[Block], places: Sequence[int | None]) -> _Table:
        return cls(tuple(map(_Ordered.of, blocks)), tuple(places))

    @property
    def blocks(self) -> int:
        return len(self.ordered)

    def everything(self) -> Drawn:
        return [(block, [1] * len(block.windows)) for block in self.ordered]

    def draw(self, positions: Sequence[float], generator: random.Random) -> Drawn:
        """Draw as many blocks as there are; ``positions`` (0 to 1) choose them. Then draw windows in each."""
        chosen = [self.ordered[self._place(position)] for position in positions[: self.blocks]]
        return [(block, _times(len(block.windows), generator)) for block in chosen]

    def _place(self, position: float) -> int:
        place = self.places[int(position * len(self.places))]
        # The rest of the position chooses evenly among its own.
        return int(position * len(self.places) % 1 * self.blocks) if place is None else place

    def figures(self, drawn: Drawn) -> tuple[float, float, float]:
        """Return throughput over all that was drawn (per second), and the blocks' median p99 of work and probe (ms)."""
        answers = sum(block.answers(times) for block, times in drawn)
        seconds = sum(block.seconds(times) for block, times in drawn)
        return (
            answers / seconds if seconds else math.nan,
            _median([block.work_p99_ms(times) for block, times in drawn]),
            _median([block.probe_p99_ms(times) for block, times in drawn]),
        )


def _times(windows: int, generator: random.Random) -> list[int]:
    times = [0] * windows
    for _ in range(windows):
        times[int(generator.random() * windows)] += 1
    return times


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else math.nan


def _descending(latencies: Sequence[Sequence[float]]) -> tuple[tuple[float, int], ...]:
    pairs = [(value, window) for window, values in enumerate(latencies) for value in values]
    return tuple(sorted(pairs, reverse=True))


def _tail(ordered: Sequence[tuple[float, int]], times: Sequence[int], count: int) -> float:
    """Return the nearest-rank p99 of values that stand in ``ordered`` once and count ``times`` their window's."""
    from_top = count - math.ceil(round(TAIL * count, 9)) + 1
    for value, window in ordered:
        from_top -= times[window]
        if from_top <= 0 and times[window]:
            return value
    return math.nan


def _divide(one: float, other: float) -> float:
    return one / other if other else math.nan


def outer_share(blocks: int) -> float:
    """Return the share of resamples to leave out at either end for a 95 % interval (Hesterberg 2015).

    It is 0.025 for many blocks, and goes to 0 for few.
    """
    freedom = max(1, blocks - 1)
    return NormalDist().cdf(-math.sqrt((freedom + 1) / freedom) * _student(freedom))


def _student(freedom: int) -> float:
    """Return Student's t at 0.975; beyond the table by its expansion (Abramowitz & Stegun 26.7.5, first term)."""
    if freedom <= len(T_975):
        return T_975[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    return z + (z**3 + z) / (4 * freedom)


def _interval(point: float, draws: Sequence[float], blocks: int) -> Interval:
    ordered = sorted(draw for draw in draws if not math.isnan(draw))
    if not ordered or math.isnan(point):
        return Interval(math.nan, point, math.nan)
    outside = outer_share(blocks)
    return Interval(min(point, quantile(ordered, outside)), point, max(point, quantile(ordered, 1 - outside)))
