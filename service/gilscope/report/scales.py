"""From figures to places on paper: linear, logarithmic and percentile scales, ticks, and labels that keep apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

ROOM = 44
"""What a tick with its label takes of an axis, at least."""

MOST = 6
CLOSEST = 40
"""How close two neighbouring ticks of a logarithmic axis may come, where ticks are not evenly spaced."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps ``low`` to ``high`` onto ``start`` to ``end``; what lies beyond an end is drawn at that end."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a figure."""
        share = (self._measure(value) - self._measure(self.low)) / self._extent
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    @property
    def _extent(self) -> float:
        return self._measure(self.high) - self._measure(self.low)

    def _measure(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.log else value

    def ticks(self) -> list[float]:
        """Return round figures within the scale, with :data:`ROOM` for each."""
        length = abs(self.end - self.start)
        most = min(max(3, int(length // ROOM)), MOST)
        if self.log:
            return _log_ticks(self.low, self.high, most, CLOSEST / length * self._extent)
        return _linear_ticks(self.low, self.high, most)


def from_zero(values: Iterable[float], start: float, end: float) -> Scale:
    """Make a linear scale from zero to just past the largest value."""
    largest = max((value for value in values if math.isfinite(value)), default=0.0)
    return Scale(0.0, largest * 1.04 if largest > 0 else 1.0, start, end)


def log_domain(values: Iterable[float], within: tuple[float, float] | None = None) -> tuple[float, float]:
    """Return a domain around the positive values, with room at both ends; it includes ``within``."""
    known = [value for value in (*values, *(within or ())) if value > 0 and math.isfinite(value)]
    if not known:
        return 0.5, 2.0
    low, high = min(known), max(known)
    room = max(1.06, (high / low) ** 0.04)
    return low / room, high * room


def latency_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """Make a scale for latencies: logarithmic where they range over more than a factor of 20."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 20 * min(positive):
        return Scale(*log_domain(positive), start, end, log=True)
    return from_zero(values, start, end)


def tail(p: float) -> float:
    """Return a percentile's place on the percentile axis: 0 at 0, 1 at 0.9, 2 at 0.99, 3 at 0.999.

    The axis of HdrHistogram's plots: logarithmic in 1/(1-p), so that each nine takes the same room.
    """
    return -math.log10(1 - p)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels apart until ``gap`` lies between them, in their order and within ``low`` to ``high``."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = [min(max(places[at], low), high) for at in order]
    for before, after in pairwise(range(len(moved))):
        moved[after] = max(moved[after], moved[before] + gap)
    moved = _pull_back(moved, gap, high)
    return [place for _, place in sorted(zip(order, moved, strict=True))]


def _pull_back(places: list[float], gap: float, high: float) -> list[float]:
    """Pull what was pushed past the end back inside, from the last one on."""
    pulled: list[float] = []
    for place in reversed(places):
        pulled.append(min(place, pulled[-1] - gap if pulled else high))
    return pulled[::-1]


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    first = math.ceil(low / step)
    return [round(at * step, 12) for at in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float, most: int, gap: float) -> list[float]:
    """Return the densest ticks, six at most, of which no two are closer than ``gap`` decades."""
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = _decade_ticks(low, high, steps)
        apart = all(math.log10(after / before) >= gap for before, after in pairwise(ticks))
        if apart and len(ticks) <= MOST:
            break
    if len(ticks) < 2:
        return _linear_ticks(low, high, most)
    return ticks[:: max(math.ceil(len(ticks) / MOST), math.ceil(gap))]


def _decade_ticks(low: float, high: float, steps: tuple[int, ...]) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return [tick for tick in ticks if low <= tick <= high]
