"""From looks at a thread and its two exact clocks to seconds in each state. Pure.

``/proc/PID/task/TID/schedstat`` says exactly how long a thread was on a CPU and how long it was ready but had none.
The rest of its wall time it was asleep; looks (samples) taken at random moments tell what for, in proportion.

Two things keep the rest from being sleep alone. While a hypervisor gives a CPU to others, the thread on it seems to
run, but its clock stands still (the kernel's ``CONFIG_PARAVIRT_TIME_ACCOUNTING``): by as much as looks found a thread
ready for longer than its clocks say, though by no more than was stolen from the whole machine, that time counts as run
queue, which is what it is. And the clock of a thread that runs is brought up to date at the scheduler's ticks only, so that the edges of a window are uncertain by a few
milliseconds; sleep is never less than nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from gilscope.model import StateSeconds


class Look(IntEnum):
    """What one look saw of a thread: ready (on a CPU or not), asleep for a GIL, or asleep for anything else."""

    READY = 0
    GIL = 2
    BLOCKED = 4


INSIDE = 1
"""Added to a look where the thread's mark said that it is inside the measured function."""


class Clock(NamedTuple):
    """The first two figures of ``schedstat``, in nanoseconds."""

    on_cpu_ns: int
    runqueue_ns: int


@dataclass(frozen=True, slots=True)
class Span:
    """A thread's seconds in each state: ``all`` of them, and those ``inside`` the measured function."""

    all: StateSeconds
    inside: StateSeconds


NOTHING = StateSeconds(0.0, 0.0, 0.0, 0.0, 0.0)
NO_SPAN = Span(NOTHING, NOTHING)


@dataclass(slots=True)
class Tally:
    """Looks at one thread since its account was last settled.

    ``looks`` is indexed by :class:`Look`, plus :data:`INSIDE`; ``held`` counts looks at which the thread held a GIL,
    and is None where that cannot be seen.
    """

    looks: list[int]
    held: int | None

    @classmethod
    def empty(cls, *, tells_holders: bool) -> Tally:
        """Return a tally without a look."""
        return cls([0] * 6, 0 if tells_holders else None)


def settle(tally: Tally, wall_s: float, clock: Clock, stolen_s: float) -> Span:
    """Split a thread's wall time.

    ``clock`` is what its clocks gained; ``stolen_s`` is the time that the hypervisor took from all CPUs together
    meanwhile. Without a look at it asleep, sleep counts as blocked. A negative ``wall_s`` is one that
    clocks which came late have used up before; it counts as none.
    """
    looks = tally.looks
    ready, gil, blocked = (looks[look] + looks[look + INSIDE] for look in Look)
    on_cpu_s, runqueue_s = clock.on_cpu_ns / 1e9, clock.runqueue_ns / 1e9
    rest_s = max(0.0, wall_s - on_cpu_s - runqueue_s)
    stood_still_s = max(0.0, wall_s * _share(ready, sum(looks)) - on_cpu_s - runqueue_s)
    robbed_s = min(rest_s, stolen_s, stood_still_s)
    asleep_s, waiting_s = rest_s - robbed_s, runqueue_s + robbed_s
    gil_s = asleep_s * _share(gil, gil + blocked)
    held_s = None if tally.held is None else max(0.0, wall_s) * _share(tally.held, sum(looks))
    ready_inside = _share(looks[Look.READY + INSIDE], ready)
    return Span(
        StateSeconds(on_cpu_s, waiting_s, gil_s, asleep_s - gil_s, held_s),
        StateSeconds(
            on_cpu_s * ready_inside,
            waiting_s * ready_inside,
            asleep_s * _share(looks[Look.GIL + INSIDE], gil + blocked),
            asleep_s * _share(looks[Look.BLOCKED + INSIDE], gil + blocked),
        ),
    )


def _share(some: int, of: int) -> float:
    return some / of if of else 0.0


def add_up(parts: Iterable[StateSeconds]) -> StateSeconds:
    """Add seconds state by state; how long the GIL was held is unknown where any part does not know it."""
    rows = list(parts)
    held = [row.gil_held_s for row in rows if row.gil_held_s is not None]
    return StateSeconds(
        sum(row.on_cpu_s for row in rows),
        sum(row.runqueue_s for row in rows),
        sum(row.gil_wait_s for row in rows),
        sum(row.blocked_s for row in rows),
        sum(held) if len(held) == len(rows) else None,
    )


def add_spans(spans: Iterable[Span]) -> Span:
    """Add up spans, as :func:`add_up` does."""
    rows = list(spans)
    return Span(add_up(row.all for row in rows), add_up(row.inside for row in rows))
