"""What changed from one run to another: the same figures as a verdict's, as ratios with 95 % intervals. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from gilscope.model import BackendName, Change, Evidence, Interval, Run, Samples, Target, Trial
from gilscope.verdict.decision import MIN_BLOCKS
from gilscope.verdict.statistics import Block, Figures, Replicates, cut, estimate


def changes(now: Evidence, before: Evidence) -> tuple[Change, ...]:
    """Compare what both runs have measured.

    The blocks of two runs have nothing in common, so both are resampled on their own.
    """
    found = []
    for workload, backend in _measured(now):
        own = _figures(now, workload, backend, seed=1)
        other = _figures(before, workload, backend, seed=2)
        if own and other:
            found.append(
                Change(
                    workload,
                    backend,
                    ratio(own.throughput_rps, other.throughput_rps),
                    ratio(own.p99_ms, other.p99_ms),
                    ratio(own.probe_p99_ms, other.probe_p99_ms),
                )
            )
    return tuple(found)


def ratio(now: Replicates, before: Replicates) -> Interval:
    """Return a ratio with its interval, which is unknown (NaN) where a single block shows no spread."""
    found = now.over(before)
    if min(now.blocks, before.blocks) < MIN_BLOCKS:
        return Interval(math.nan, found.mid, math.nan)
    return found


def unlike(now: Run, before: Run) -> tuple[str, ...]:
    """Say what else differs between two runs, and so may be the cause."""
    pairs = {
        "machine": (
            f"{now.machine.cpu}, {now.machine.cores} cores",
            f"{before.machine.cpu}, {before.machine.cores} cores",
        ),
        "Python": (_pythons(now), _pythons(before)),
        "load": (_load(now), _load(before)),
        "pool size": (_pool(now), _pool(before)),
        **{
            f"arguments of {target.workload}": (_arguments(target), _arguments(other))
            for target in now.plan.targets
            for other in before.plan.targets
            if target.workload == other.workload
        },
    }
    return tuple(f"{what}: {one}, before {other}" for what, (one, other) in pairs.items() if one != other)


def _arguments(target: Target) -> str:
    return ", ".join(f"{name}={target.arguments[name]!r}" for name in sorted(target.arguments)) or "none"


def _pythons(run: Run) -> str:
    return ", ".join(sorted({trial.python for trial in run.trials}))


def _load(run: Run) -> str:
    load = run.plan.load
    offered = f"{load.users} users" if load.users is not None else f"{load.rate:g} requests/s"
    return f"{offered}, {load.seconds:g} s"


def _pool(run: Run) -> str:
    return "default" if run.plan.pool_size is None else str(run.plan.pool_size)


def _measured(evidence: Evidence) -> Iterator[tuple[str, BackendName]]:
    yield from dict.fromkeys((trial.workload, trial.backend) for trial in evidence.run.trials)


def _figures(evidence: Evidence, workload: str, backend: BackendName, *, seed: int) -> Figures | None:
    trials = [
        trial for trial in evidence.run.trials if (trial.workload, trial.backend) == (workload, backend)
    ]
    blocks = [*_blocks(trials, evidence.samples)]
    return estimate({backend: blocks}, seed=seed)[backend] if blocks else None


def _blocks(trials: list[Trial], samples: Mapping[str, Samples]) -> Iterator[Block]:
    for trial in trials:
        if trial.valid and not trial.twin and trial.samples is not None:
            yield cut(samples[trial.samples])
