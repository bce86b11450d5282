"""The noise floor: how much a backend differs from itself, and what that leaves of a difference. Pure.

One backend of each block is tried twice, in a service of its own each time (an A/A pair). What its second trials show
against its first ones is what this machine, on this day, shows of two equal things.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gilscope.model import Interval, NoiseFloor, Samples, Trial
from gilscope.verdict.statistics import cut, estimate


def noise_floor(trials: Sequence[Trial], samples: Mapping[str, Samples], *, seed: int) -> NoiseFloor | None:
    """Compare the twins of one workload with the other trials of their backend, block by block.

    None where no block has both trials, valid, or they have no figures.
    """
    counted = [trial for trial in trials if trial.valid and trial.samples is not None]
    twins = {trial.block: trial for trial in counted if trial.twin}
    firsts = {
        trial.block: trial
        for trial in counted
        if not trial.twin and trial.block in twins and trial.backend is twins[trial.block].backend
    }
    if not firsts:
        return None
    both = {
        name: [cut(samples[own[block].samples or ""]) for block in sorted(firsts)]
        for name, own in (("first", firsts), ("twin", twins))
    }
    figures = estimate(both, seed=seed)
    first, twin = figures["first"], figures["twin"]
    throughput, p99, probe_p99 = (
        one.over(other)
        for one, other in (
            (twin.throughput_rps, first.throughput_rps),
            (twin.p99_ms, first.p99_ms),
            (twin.probe_p99_ms, first.probe_p99_ms),
        )
    )
    if any(map(math.isnan, throughput)) or any(map(math.isnan, p99)):
        return None
    known = None if any(map(math.isnan, probe_p99)) else probe_p99
    return NoiseFloor(next(iter(firsts.values())).backend, len(firsts), throughput, p99, known)


def spread(ratio: Interval) -> float:
    """Return by what factor two equal things may differ: the end of an A/A ratio's interval that is further from 1.

    1 where nothing is known.
    """
    ends = [end for end in ratio if math.isfinite(end) and end > 0]
    return max((max(end, 1 / end) for end in ends), default=1.0)
