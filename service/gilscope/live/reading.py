"""What a service has counted until some moment, and what happened between two such moments. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from gilscope.exposition import BUCKETS, SIZE

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

Counts = Sequence[int]
"""How many observations fell into each bucket of :data:`gilscope.exposition.BUCKETS`, and beyond the last."""

NONE: Counts = (0,) * SIZE

States = Mapping[str, Mapping[str, float]]
"""Seconds by thread role and state."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A service's counters at a moment: ``at_s`` in seconds since 1970. By backend, of all workloads together.

    ``states`` is None where nobody watches the threads; ``origin`` tells services apart.
    """

    at_s: float
    answered: Mapping[str, Counts]
    failed: Mapping[str, int]
    queued: Mapping[str, int]
    active: Mapping[str, int]
    lag: Counts = NONE
    states: States | None = None
    origin: str = ""


def add(*every: Counts) -> Counts:
    """Add bucket by bucket."""
    return [sum(one) for one in zip(*every, strict=True)]


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
        "states": _shares(before.states, after.states),
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


def _shares(before: States | None, after: States | None) -> dict[str, dict[str, float]] | None:
    """Return shares that add up to 1, of the roles that had any time; None where nothing was seen."""
    if before is None or after is None:
        return None
    shares = {}
    for role, states in after.items():
        gained = {
            name: max(0.0, spent - before.get(role, {}).get(name, 0.0)) for name, spent in states.items()
        }
        if total := sum(gained.values()):
            shares[role] = {name: spent / total for name, spent in gained.items()}
    return shares or None


def scraped(at_s: float, service: str, lens: str | None = None, origin: str = "") -> Reading:
    """Read the text that a service, and its lens, expose to Prometheus.

    Raises:
        ValueError: this is no such text.
    """
    failed: dict[str, int] = defaultdict(int)
    queued: dict[str, int] = {}
    active: dict[str, int] = {}
    requests, lag = _Cumulative(), _Cumulative()
    for sample in _samples(service):
        labels, name, value = sample.labels, sample.name, int(sample.value)
        backend = labels.get("backend", "")
        if name == "gilscope_request_duration_seconds_bucket" and labels["status"] == "200":
            requests.add(backend, labels["workload"], value)
        elif name == "gilscope_request_duration_seconds_count" and labels["status"] != "200":
            failed[backend] += value
        elif name == "gilscope_event_loop_lag_seconds_bucket":
            lag.add("", "", value)
        elif name == "gilscope_backend_queued_tasks":
            queued[backend] = value
        elif name == "gilscope_backend_active_tasks":
            active[backend] = value
    states = None if lens is None else thread_states(lens)
    return Reading(
        at_s, requests.counts(), failed, queued, active, lag.counts().get("", NONE), states, origin
    )


class _Cumulative:
    """Collects the cumulative buckets of several histograms, in the order in which they are exposed."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))

    def add(self, backend: str, workload: str, value: int) -> None:
        self._found[backend][workload].append(value)

    def counts(self) -> dict[str, Counts]:
        """Return each backend's own counts, of all workloads together."""
        return {
            backend: add(*(_steps(cumulative) for cumulative in workloads.values()))
            for backend, workloads in self._found.items()
        }


def _steps(cumulative: Sequence[int]) -> Counts:
    if len(cumulative) != SIZE:
        raise ValueError(f"a histogram of {len(cumulative)} buckets: this is another gilscope")
    return [high - low for low, high in pairwise((0, *cumulative))]


def thread_states(lens: str) -> States:
    """Read seconds by role and state from the text that a lens exposes."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in _samples(lens):
        if sample.name == "gilscope_thread_state_seconds_total":
            found[sample.labels["role"]][sample.labels["state"]] = sample.value
    return found


def _samples(text: str) -> Iterable[Sample]:
    return (sample for family in text_string_to_metric_families(text) for sample in family.samples)
