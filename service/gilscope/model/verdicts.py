"""What a run concludes: intervals, verdicts, break-evens, capacities, and what changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from gilscope.model.names import BASELINE, BackendName


class Interval(NamedTuple):
    """A figure with its 95 % confidence interval."""

    low: float
    mid: float
    high: float

    def leaves_out(self, value: float) -> bool:
        """Whether the evidence speaks against a value."""
        return value < self.low or value > self.high


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """How much a backend differed from itself: the ratios of its second trials of each block to its first ones.

    ``pairs`` is the number of blocks in which both trials counted. ``probe_p99`` is None where no ping was due.
    """

    backend: BackendName
    pairs: int
    throughput: Interval
    p99: Interval
    probe_p99: Interval | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the run concludes about one workload.

    ``winner`` is None for a tie, and then ``ties`` lists the backends among which the evidence shows no
    difference; ``recommended`` is the winner, or the simplest of the tied, None where another of them may well be much
    better. All are empty where nothing could be decided.
    ``conclusive`` says whether there is a winner. ``reason`` says it with its numbers, ``caveats`` what a reader must
    know before acting on it. Ratios are against ``baseline``, which is :data:`BASELINE` wherever that was measured.
    ``noise`` is None where no backend was tried twice per block; ``rough_p99`` names the backends whose p99 comes from
    fewer requests than one wants, ``rough_probe_p99`` those whose ``/ping`` p99 does.
    """

    workload: str
    winner: BackendName | None
    recommended: BackendName | None
    ties: tuple[BackendName, ...]
    conclusive: bool
    reason: str
    caveats: tuple[str, ...] = ()
    throughput_rps: Mapping[BackendName, Interval] = field(default_factory=dict)
    p99_ms: Mapping[BackendName, Interval] = field(default_factory=dict)
    probe_p99_ms: Mapping[BackendName, Interval] = field(default_factory=dict)
    throughput_ratio: Mapping[BackendName, Interval] = field(default_factory=dict)
    p99_ratio: Mapping[BackendName, Interval] = field(default_factory=dict)
    probe_p99_ratio: Mapping[BackendName, Interval] = field(default_factory=dict)
    baseline: BackendName = BASELINE
    noise: NoiseFloor | None = None
    rough_p99: tuple[BackendName, ...] = ()
    rough_probe_p99: tuple[BackendName, ...] = ()


BELOW = 0.0
"""Stands for a break-even below the smallest size: ahead at every size."""


BEYOND = math.inf
"""Stands for a break-even beyond the largest size: not ahead there."""


class Standing(StrEnum):
    """How two backends stand to each other over the sizes at which both were measured.

    One *crosses* the other: it is surely behind at some size and surely ahead at a larger one. It is surely ahead
    *always* or surely behind *always* (``never`` ahead). They are *tied* where no size shows a difference. All
    else is *unclear*: some sizes show a difference, but the others do not tell.
    """

    CROSSES = "crosses"
    ALWAYS = "always"
    NEVER = "never"
    TIED = "tied"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From which size of the work on ``backend`` has more throughput than ``over``, if there is such a size.

    ``size`` is in the unit of the sizes, with its 95 % interval. ``low`` is :data:`BELOW` (0) where the evidence
    does not exclude that ``backend`` is ahead from below the smallest size, ``high`` is :data:`BEYOND` (infinite)
    where it does not exclude that it is so only beyond the largest. ``mid`` is within the sizes where the kind is
    ``crosses``. Where it is ``unclear``, the interval is open on one side at most, and its other end still tells
    something. None for the other kinds.
    """

    backend: BackendName
    over: BackendName
    kind: Standing
    size: Interval | None = None


@dataclass(frozen=True, slots=True)
class CapacityStep:
    """One rate that was tried, in requests per second, and what for: to ``ramp``, ``bisect``, ``confirm`` or ``curve``.

    ``latency_ms`` is the objective's quantile, from when each request was due; ``kept`` is None where the measurement
    was spoilt and counts for nothing. ``in_flight`` is the mean number of requests under way, ``requests`` of how many the
    quantile is.
    """

    rate: float
    purpose: str
    kept: bool | None
    throughput_rps: float
    latency_ms: float | None = None
    in_flight: float | None = None
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Scalability:
    """The Universal Scalability Law fitted to a curve, or in ``refusal`` why it was not.

    ``gamma`` is the throughput of one request in flight per second, ``alpha`` the share of contention, ``beta`` the cost
    of coherency; ``residuals`` are (observed - fitted) / fitted, a figure per point. The peak is extrapolated where it lies
    beyond the most that was in flight, and None where throughput never falls.
    """

    gamma: float = 0.0
    alpha: float = 0.0
    beta: float = 0.0
    peak_in_flight: float | None = None
    peak_rps: float | None = None
    residuals: tuple[float, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The highest rate at which a backend keeps a latency objective, such as ``p99=200ms``; rates are per second.

    ``rate`` kept it and ``broken`` is the lowest rate that did not; ``confirmed`` kept it again afterwards. None: there is
    no such rate. ``curve`` are further rates, ``law`` what was fitted to them. ``unsettled``: measurements above
    ``rate`` were spoilt, and it may be higher. A ``twin`` is the second search on one backend (an A/A pair).
    """

    workload: str
    backend: BackendName
    slo: str
    rate: float | None
    broken: float | None
    confirmed: float | None
    note: str
    steps: tuple[CapacityStep, ...]
    curve: tuple[CapacityStep, ...] = ()
    law: Scalability | None = None
    unsettled: bool = False
    twin: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One workload on one backend in two runs: each ratio is the later run's figure over the earlier one's."""

    workload: str
    backend: BackendName
    throughput: Interval
    p99: Interval
    probe_p99: Interval


@dataclass(frozen=True, slots=True)
class PythonChange:
    """One workload on one backend on two Pythons: each ratio is the figure on ``python`` over that on ``before``."""

    workload: str
    backend: BackendName
    python: str
    before: str
    throughput: Interval
    p99: Interval
    probe_p99: Interval
