"""In which order the trials of a run come. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from gilscope.model import BASELINE, BackendName, Load, LoadKind, Plan, Target
from gilscope.objective import Slo

DRAIN_S = 3.0
DRAIN_SHARE = 1.25
"""By how much longer than the limit of an objective is waited."""

LONGEST_WARMUP_S = 60.0
"""How long an open loop is warmed up at the most on account of how long a call takes."""

TRIAL_OVERHEAD_S = 1.0
"""What starting and stopping a service takes, roughly; only for telling how long is left."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one trial in a run. ``position`` counts from 0; ``last`` is the backend's last block.

    A ``twin`` is the second trial of one backend in a block; ``attempt`` is 2 where a first one was spoilt. A slot of a
    search has a ``rate`` of its own, in requests per second.
    """

    target: Target
    backend: BackendName
    block: int
    position: int
    last: bool
    twin: bool = False
    attempt: int = 1
    rate: float | None = None


def backends_of(plan: Plan, target: Target) -> tuple[BackendName, ...]:
    """Return the backends that ``target`` is tried on."""
    return tuple(name for name in plan.backends if name not in target.excluded)


def twin_of(plan: Plan, target: Target) -> BackendName | None:
    """Return the backend that is tried twice in each block, the baseline where it can be; None without an A/A pair."""
    names = backends_of(plan, target)
    if not plan.pairs(target.workload) or not names:
        return None
    return BASELINE if BASELINE in names else names[0]


def together(plan: Plan) -> Iterator[tuple[Target, ...]]:
    """Yield the targets whose trials are mixed: each by itself, or one function on all its Pythons."""
    for _, group in groupby(plan.targets, lambda target: target.name_in_service if target.python else target):
        yield tuple(group)


def schedule(plan: Plan) -> Iterator[Slot]:
    """Yield every trial: workload by workload, in blocks, each block's backends (and twin) in an order of its own.

    The order depends on the plan alone: what drifts on the machine hits every backend, and every Python, alike.
    """
    generator, position = random.Random(plan.seed), 0
    for targets in together(plan):
        for block in range(plan.blocks):
            order = [one for target in targets for one in _tries(plan, target)]
            generator.shuffle(order)
            for target, backend, is_twin in order:
                last = block == plan.blocks - 1 and not is_twin
                yield Slot(target, backend, block, position, last, is_twin)
                position += 1


def _tries(plan: Plan, target: Target) -> Iterator[tuple[Target, BackendName, bool]]:
    """Yield what of a target is in every block, and whether it is the second trial of its backend."""
    for name in backends_of(plan, target):
        yield target, name, False
    if twin := twin_of(plan, target):
        yield target, twin, True


def warmup_for(slo: Slo | None, asked_s: float) -> float:
    """Return for how long to load a service before a window, in seconds.

    Where latencies may be long, answers come in as fast as requests only after as long.
    """
    return max(asked_s, slo.limit_ms / 1e3) if slo else asked_s


def drain_for(slo: Slo | None, window_s: float = 0.0) -> float:
    """Return for how long to wait, after a window, for what was due in it, in seconds.

    ``window_s`` is the length of an open loop's window: as long is waited, so that what a slow function still answers
    is not taken for what was lost. With an objective, it is clear after its limit.
    """
    return max(DRAIN_S, DRAIN_SHARE * slo.limit_ms / 1e3 if slo else window_s)


def load_of(plan: Plan, slot: Slot) -> Load:
    """Return the load of a trial: the plan's, or an open loop at the slot's own rate.

    An open loop is warmed up for twice as long as a call takes, where that is longer: until answers come in as fast as
    requests, a window would miss some of them, and so show too low a throughput.
    """
    load = (
        plan.load if slot.rate is None else replace(plan.load, kind=LoadKind.OPEN, users=None, rate=slot.rate)
    )
    found = slot.target.classification
    if load.kind is LoadKind.CLOSED or found is None:
        return load
    return replace(load, warmup_seconds=max(load.warmup_seconds, min(LONGEST_WARMUP_S, found.call_ms / 500)))


def planned_seconds(plan: Plan, slot: Slot) -> float:
    """How long a trial takes, roughly, its profiles included."""
    profiles = plan.profile_seconds if slot.last else 0.0
    return plan.load.warmup_seconds + plan.load.seconds + profiles + TRIAL_OVERHEAD_S
