"""From ticks to a class: data in, data out.

**A tick** says whether the GIL was held when the ticker wanted it: its thread then had to sleep once more. It
stands for the time since the tick before it. A tick that had to wait also says for how long the GIL was not to be
had, which is the lateness, unless the time went elsewhere. Three things bound it from above, so that no
noise of a shared machine can pass for a long hold:

- the lateness itself;
- the number of times that the ticker asked, since each wait lasts a switch interval: a ticker that had no core
  of its own did not ask;
- the CPU time that the function used: a function that had no core of its own did not hold anybody up by itself.

The last does not hold for a function that sleeps with the GIL in hand. So where such waits are mostly without CPU
time, and by more than the machine's run queue and hypervisor account for, lateness alone counts.

A wait that was long by two of these, but with hardly a question asked, says nothing about how the GIL was held, only
that it was.

**A long hold** is one that lasted on although the ticker had asked for the GIL: a C call. Whatever is shorter is
Python code, which gives the GIL up when asked, or C calls so short that they make no difference.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gilscope.classify.observation import SWITCH_INTERVAL_MS, Observation, Tick, Timing, Watch
from gilscope.model import GilClass

LONG_MS = 0.5
"""A hold that lasts longer, although the GIL was asked for, is a C call's."""

LONG_STEPS = 8
"""The same in waits of the ticker, where its sleeps are coarse. Python code is seen to take up to three."""

STEP_SLACK = 2.0
"""A wait of the ticker may take so many times what it takes on an idle machine."""

IDLE_CPU = 0.1
"""Less CPU time than this, in pauses, is none."""

EXCUSE = 1.5
"""Time without a core explains so much time without CPU time: the two are counted by different clocks."""

RELEASES_BELOW, HOLDS_ABOVE = 0.2, 0.8
"""Shares of a call in which the GIL is held: up to the one it *releases*, from the other on it *holds* it."""

YIELDS_BELOW, BLOCKS_ABOVE = 0.25, 0.75
"""Shares of the held time spent in long holds: up to the one it is *preemptible*, from the other on *blocking*."""

HARMFUL_MS = 5.0
"""Python's switch interval: what Python code makes others wait anyway, and a C call can make longer."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the ticks say. Shares are 0 to 1, of the call's wall time unless said otherwise.

    ``held_share``: the GIL was not to be had at once. ``blocking_share``: it was in a long hold. ``longest_hold_ms``:
    the longest hold in a call (in 5 ms of calls, where they are shorter), in the median of these, and no longer than a
    call; up to half a millisecond short, since the ticker comes after the hold began. ``cpu_share``: on a core, out of the time for
    which there was one to be had; 1 at most, however many threads. ``call_ms``: the median call, without the ticker
    where there was time for that. ``suspended_share``: a coroutine had given its event loop away.
    ``background_share``: ticks that had to wait before the function was even called, out of all those.
    ``off_core``: long holds were spent asleep. ``ticks`` counts those that all this rests on.
    """

    held_share: float
    blocking_share: float
    longest_hold_ms: float
    cpu_share: float
    call_ms: float
    suspended_share: float
    background_share: float
    off_core: bool
    ticks: int


def derive(observation: Observation) -> Figures:
    """Derive the figures from what was seen."""
    watch, timing = observation.watch, observation.timing
    ruler = _Ruler(watch)
    cpu_share = _cpu_share(timing)
    held_share = ruler.share(watch.ticks, lambda tick: tick.waited, without_ticks=cpu_share)
    clear = [tick for tick in watch.ticks if tick.waited and not ruler.is_doubtful(tick)]
    return Figures(
        held_share=held_share,
        blocking_share=held_share * ruler.share(clear, ruler.is_long, without_ticks=0.0),
        longest_hold_ms=min(timing.call_ms, _longest_hold_ms(watch, ruler)),
        cpu_share=cpu_share,
        call_ms=timing.call_ms,
        suspended_share=min(1.0, timing.suspended_ms / timing.wall_ms) if timing.wall_ms else 0.0,
        background_share=statistics.fmean(tick.waited for tick in watch.idle) if watch.idle else 0.0,
        off_core=ruler.off_core,
        ticks=len(watch.ticks),
    )


def decide(figures: Figures) -> GilClass:
    """Name the class that the figures amount to."""
    harmful = figures.longest_hold_ms >= HARMFUL_MS
    if figures.held_share <= RELEASES_BELOW and not harmful:
        return GilClass.RELEASES
    if figures.held_share >= HOLDS_ABOVE:
        long_part = figures.blocking_share / figures.held_share
        if long_part >= BLOCKS_ABOVE:
            return GilClass.BLOCKING
        if long_part <= YIELDS_BELOW and not harmful:
            return GilClass.PREEMPTIBLE
    return GilClass.MIXED


def enables_gil(observation: Observation) -> bool | None:
    """Whether the function's modules switched the GIL back on; None where there was one from the beginning."""
    before, after = observation.gil_enabled
    return after if observation.free_threaded and not before else None


class _Ruler:
    """Measures holds, in milliseconds."""

    def __init__(self, watch: Watch) -> None:
        free = [tick.late_ms for tick in watch.idle if not tick.waited]
        self._step_ms = SWITCH_INTERVAL_MS + (statistics.median(free) if free else 0.0)
        self.long_ms = max(LONG_MS, LONG_STEPS * self._step_ms)
        self.off_core = False
        self.off_core = self._is_off_core(watch)
        self._idle_weight = self._weight_of_idle_ticks(watch)

    def _weight_of_idle_ticks(self, watch: Watch) -> float:
        """Return what a millisecond in which the function neither ran nor held the GIL counts.

        Less than one where there is more of that than the function can have slept: then it was kept from a core, so that
        the ticker found a GIL that the function would have taken long before.
        """
        idle_ms = sum(tick.pause_ms for tick in watch.ticks if _is_idle(tick))
        span_ms = sum(stretch.ended_ms - stretch.begun_ms for stretch in watch.stretches)
        kept_away_ms = watch.runqueue_ms + watch.stolen_ms
        asleep_ms = span_ms - sum(_cpu_ms(tick) for tick in watch.ticks) - kept_away_ms
        return min(1.0, max(0.0, asleep_ms) / idle_ms) if idle_ms else 1.0

    def _is_off_core(self, watch: Watch) -> bool:
        long = [tick for tick in watch.ticks if self._asked_ms(tick) >= self.long_ms]
        waited_ms = sum(self._asked_ms(tick) for tick in long)
        off_ms = waited_ms - sum(min(self._asked_ms(tick), _cpu_ms(tick)) for tick in long)
        return off_ms > waited_ms / 2 and off_ms > EXCUSE * (watch.runqueue_ms + watch.stolen_ms)

    def _asked_ms(self, tick: Tick) -> float:
        """Return for how long the ticker asked for the GIL, as the clock and its own sleeps bound it."""
        return max(0.0, min(tick.late_ms, STEP_SLACK * self._step_ms * (tick.switches - 1)))

    def hold_ms(self, tick: Tick) -> float:
        """Return how long the GIL was held after it was asked for."""
        asked_ms = self._asked_ms(tick)
        return asked_ms if self.off_core else min(asked_ms, _cpu_ms(tick))

    def is_long(self, tick: Tick) -> bool:
        """Whether the tick waited for a C call to end."""
        return self.hold_ms(tick) >= self.long_ms

    def is_doubtful(self, tick: Tick) -> bool:
        """Whether a wait was long, but with so few questions that the ticker may have had no core for most of it."""
        return self._asked_ms(tick) < self.long_ms <= min(tick.late_ms, _cpu_ms(tick))

    def share(self, ticks: Sequence[Tick], applies: Callable[[Tick], bool], *, without_ticks: float) -> float:
        """Return the share of the ticks' time that those have to which something applies."""
        total = sum(map(self.weigh, ticks))
        if not total:
            return without_ticks
        return sum(self.weigh(tick) for tick in ticks if applies(tick)) / total

    def weigh(self, tick: Tick) -> float:
        """Return the time that the tick stands for; time in which the function did not get on does not count."""
        if _is_idle(tick):
            return tick.pause_ms * self._idle_weight
        beyond_ms = self.hold_ms(tick) if tick.waited else max(0.0, min(tick.late_ms, _cpu_ms(tick)))
        return tick.pause_ms + beyond_ms


def _cpu_ms(tick: Tick) -> float:
    """Return the function's CPU time, which is the difference of two clocks, and may come out below zero."""
    return max(0.0, tick.cpu_ms)


def _is_idle(tick: Tick) -> bool:
    """Whether the function neither ran nor held the GIL."""
    return not tick.waited and tick.cpu_ms < IDLE_CPU * tick.pause_ms


def _cpu_share(timing: Timing) -> float:
    available_ms = timing.wall_ms - timing.runqueue_ms
    return min(1.0, max(0.0, timing.cpu_ms) / available_ms) if available_ms > 0 else 1.0


def _longest_hold_ms(watch: Watch, ruler: _Ruler) -> float:
    begun = [stretch.begun_ms for stretch in watch.stretches]
    longest: dict[int, float] = {}
    for tick in watch.ticks:
        stretch = max(1, bisect_right(begun, tick.due_ms))
        longest[stretch] = max(longest.get(stretch, 0.0), ruler.hold_ms(tick))
    return statistics.median_high(longest.values()) if longest else 0.0
