"""The verdict of a search for capacities: who keeps the objective up to the highest rate. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from gilscope.model import (
    BASELINE,
    SIMPLEST_FIRST,
    BackendName,
    Capacity,
    CapacityStep,
    Interval,
    NoiseFloor,
    Scalability,
    Target,
    Verdict,
)
from gilscope.verdict.decision import TIE_MARGIN, WIDE
from gilscope.verdict.scalability import Fit, fit_usl
from gilscope.verdict.wording import figure

SAME = Interval(1.0, 1.0, 1.0)
UNKNOWN = Interval(math.inf, math.inf, math.inf)
"""A ratio that was not measured; in ``run.json`` its ends are null."""

UNSURE = "Too little was confirmed to recommend one: a longer --duration, or a quieter machine"

UNBOUNDED = 1.05
"""By how much a capacity may be too low where no rate was seen to break the objective."""


def judge_capacities(target: Target, capacities: Sequence[Capacity]) -> Verdict:
    """Judge one workload by its capacities.

    A backend is out if the rate that was confirmed on the best one lies above the rate that broke the objective on it, by more
    than a tie, and the best one's capacity above its own by more than two searches on one backend (an A/A pair) differ: a
    capacity alone is the luckiest of many measurements. One of which spoilt measurements hide how much it can do is not out.
    Of several that are left the simplest is recommended, unless another may well have a quarter more. The interval of a
    capacity reaches from the rate that was confirmed to the one that broke the objective: it is what the search found out,
    and no confidence interval.
    """
    everything = [capacity for capacity in capacities if capacity.workload == target.workload]
    own = {one.backend: one for one in everything if not one.twin and (one.rate or not one.unsettled)}
    known = {name: interval(own[name]) for name in SIMPLEST_FIRST if name in own and own[name].rate}
    noise = _noise_floor(everything)
    caveats = tuple(_caveats(everything))
    if not known:
        reason = "no backend keeps the objective at any rate that was tried"
        return Verdict(target.workload, None, None, (), conclusive=False, reason=reason, caveats=caveats)
    best = max(known, key=lambda name: known[name].mid)
    left = [name for name in known if name is best or not _out(known[name], own[best], noise)]
    winner = best if len(left) == 1 and len(own) > 1 and own[best].confirmed else None
    recommended = left[0] if all(known[name].high <= WIDE * known[left[0]].mid for name in left[1:]) else None
    reason = _reason(own, known, best) + ("" if recommended else f". {UNSURE}")
    baseline = BASELINE if BASELINE in known else next(iter(known))
    return Verdict(
        workload=target.workload,
        winner=winner,
        recommended=recommended,
        ties=() if winner else tuple(left),
        conclusive=winner is not None,
        reason=reason,
        caveats=caveats,
        throughput_rps=known,
        throughput_ratio={
            name: SAME if name is baseline else _over(one, known[baseline]) for name, one in known.items()
        },
        baseline=baseline,
        noise=noise,
    )


def _out(other: Interval, best: Capacity, noise: NoiseFloor | None) -> bool:
    ratio = noise.throughput.mid if noise else 1.0
    surely = (best.confirmed or 0.0) > other.high * (1 + TIE_MARGIN)
    return surely and (best.rate or 0.0) > other.mid * max(ratio, 1 / ratio)


def _noise_floor(capacities: Sequence[Capacity]) -> NoiseFloor | None:
    """Return how far two searches on one backend ended from each other: infinitely, where one of them found nothing."""
    twin = next((one for one in capacities if one.twin), None)
    if twin is None:
        return None
    first = next((one for one in capacities if one.backend is twin.backend and not one.twin), None)
    known = twin.rate and first and first.rate
    ratio = twin.rate / known if twin.rate and known else math.inf
    return NoiseFloor(twin.backend, 1, Interval(math.inf, ratio, math.inf), UNKNOWN, None)


def _caveats(capacities: Sequence[Capacity]) -> Iterator[str]:
    firsts = {one.backend: one for one in capacities if not one.twin}
    for one in (firsts[name] for name in SIMPLEST_FIRST if name in firsts):
        if one.unsettled and not one.rate:
            yield f"{one.backend} is left out: no measurement of it counts"
        if one.note:
            yield f"{one.backend}: {one.note}"


def interval(capacity: Capacity) -> Interval:
    """Return what is known of a capacity: confirmed, kept, and broken at, in requests per second.

    0 where no rate was confirmed, infinite where spoilt measurements hide how much it can do.
    """
    rate = capacity.rate or 0.0
    high = math.inf if capacity.unsettled else capacity.broken or rate * UNBOUNDED
    return Interval(min(rate, capacity.confirmed or 0.0), rate, high)


def _reason(
    own: Mapping[BackendName, Capacity], known: Mapping[BackendName, Interval], best: BackendName
) -> str:
    others = sorted((name for name in own if name is not best), key=lambda name: -(own[name].rate or 0.0))
    told = [
        f"on {name} up to {figure(known[name].mid)} ({known[best].mid / known[name].mid:.2f}x)"
        if name in known
        else f"on {name} at no rate"
        for name in others
    ]
    beside = f"; {', '.join(told)}" if told else ""
    return f"{own[best].slo} is kept on {best} up to {figure(known[best].mid)} requests/s{beside}"


def _over(one: Interval, other: Interval) -> Interval:
    return Interval(
        one.low / other.high, one.mid / other.mid, one.high / other.low if other.low else math.inf
    )


def fit_curve(curve: Sequence[CapacityStep]) -> Scalability:
    """Fit the Universal Scalability Law to the throughput of a curve over what was in flight; spoilt steps are left out."""
    points = [
        (step.in_flight, step.throughput_rps) for step in curve if step.in_flight and step.kept is not None
    ]
    found = fit_usl([(in_flight, rps) for in_flight, rps in points])
    if isinstance(found, Fit):
        return Scalability(
            found.gamma, found.alpha, found.beta, found.peak_in_flight, found.peak_rps, found.residuals
        )
    return Scalability(refusal=found.reason)
