"""What a service has counted until some moment, and what happened between two such moments. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from gilscope.exposition import BUCKETS, SIZE

Counts = Sequence[int]
"""How many observations fell into each bucket of :data:`gilscope.exposition.BUCKETS`, and beyond the last."""

NONE: Counts = (0,) * SIZE

NOT_KNOWN = "Who waits for the GIL is not known: "
"""What a service's reason begins with where it has no lens."""

States = Mapping[str, Mapping[str, float]]
"""Seconds by thread role and state."""

_SERIES = re.compile(
    r'^gilscope_(\w+)_total(?:\{role="(\w+)"(?:,state="(\w+)")?\})? (\S+)$',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class LensTotals:
    """What a lens has seen until some moment, in seconds: all of it only ever grows.

    ``inside`` are those inside the measured function; ``held`` are those for which a role held the GIL, empty
    where that is not known. ``looks`` counts how often it looked, ``cpu_s`` is what that took it.
    """

    states: States = field(default_factory=dict)
    inside: States = field(default_factory=dict)
    held: Mapping[str, float] = field(default_factory=dict)
    looks: float = 0.0
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A service's counters at a moment: ``at_s`` in seconds since 1970. By backend, of all workloads together.

    ``lens`` is None where nobody watches the threads; ``origin`` tells services apart.
    """

    at_s: float
    answered: Mapping[str, Counts]
    failed: Mapping[str, int]
    queued: Mapping[str, int]
    active: Mapping[str, int]
    lag: Counts = NONE
    lens: LensTotals | None = None
    origin: str = ""


def less(after: Counts, before: Counts) -> Counts:
    """Return what came between; everything where a counter fell, because it began anew."""
    gained = [now - then for now, then in zip(after, before, strict=True)]
    return list(after) if min(gained) < 0 else gained


def quantile_ms(counts: Counts, q: float) -> float | None:
    """Return a quantile in ms, evenly between the bounds of its bucket as Prometheus has it; None of nothing.

    What lies beyond the last bound is told as that bound.
    """
    total = sum(counts)
    if not total:
        return None
    wanted = q * total
    bounds = (0.0, *BUCKETS, BUCKETS[-1])
    for (low, high), count, reached in zip(pairwise(bounds), counts, accumulate(counts), strict=True):
        if count and reached >= wanted:
            return 1e3 * (high - (high - low) * (reached - wanted) / count)
    raise AssertionError("the last bucket reaches everything")


def point(before: Reading, after: Reading) -> dict[str, object] | None:
    """Return what the page draws of the time between two readings; None where there was none, or of two services.

    Rates are per second, latencies in ms, states as shares of all the time of a role's threads.
    """
    seconds = after.at_s - before.at_s
    if seconds <= 0 or before.origin != after.origin:
        return None
    return {
        "t": after.at_s,
        "seconds": seconds,
        "backends": {name: _backend(name, before, after, seconds) for name in after.answered},
        "lag_p99_ms": quantile_ms(less(after.lag, before.lag), 0.99),
        "states": _shares(before.lens, after.lens),
    }


def _backend(name: str, before: Reading, after: Reading, seconds: float) -> dict[str, object]:
    answered = less(after.answered[name], before.answered.get(name, NONE))
    failed = after.failed.get(name, 0) - before.failed.get(name, 0)
    return {
        "rps": sum(answered) / seconds,
        "failed": max(0, failed) / seconds,
        "p50_ms": quantile_ms(answered, 0.50),
        "p99_ms": quantile_ms(answered, 0.99),
        "queued": after.queued.get(name, 0),
        "active": after.active.get(name, 0),
    }


def _shares(before: LensTotals | None, after: LensTotals | None) -> dict[str, dict[str, float]] | None:
    """Return shares that add up to 1, of the roles that had any time; None where nothing was seen."""
    if before is None or after is None:
        return None
    shares = {}
    for role, states in after.states.items():
        spent_before = before.states.get(role, {})
        gained = {name: max(0.0, spent - spent_before.get(name, 0.0)) for name, spent in states.items()}
        if total := sum(gained.values()):
            shares[role] = {name: spent / total for name, spent in gained.items()}
    return shares or None


def lens_totals(text: str) -> LensTotals:
    """Read what a lens of ours exposes.

    Not with a parser of all that Prometheus may say: a service reads this once a second on the loop that is measured.
    """
    states: dict[str, dict[str, float]] = defaultdict(dict)
    inside: dict[str, dict[str, float]] = defaultdict(dict)
    held, own = dict[str, float](), dict[str, float]()
    for family, role, state, value in _SERIES.findall(text):
        if family == "thread_state_seconds":
            states[role][state] = float(value)
        elif family == "call_state_seconds":
            inside[role][state] = float(value)
        elif family == "gil_held_seconds":
            held[role] = float(value)
        else:
            own[family] = float(value)
    return LensTotals(
        dict(states), dict(inside), held, own.get("lens_looks", 0.0), own.get("lens_cpu_seconds", 0.0)
    )
