"""In which order the trials of a run come. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from gilscope.model import BackendName, Plan, Target

TRIAL_OVERHEAD_S = 1.0
"""What starting and stopping a service takes, roughly; only for telling how long is left."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one trial in a run. ``position`` counts from 0; ``last`` is the backend's last block."""

    target: Target
    backend: BackendName
    block: int
    position: int
    last: bool


def backends_of(plan: Plan, target: Target) -> tuple[BackendName, ...]:
    """Return the backends that ``target`` is tried on."""
    return tuple(name for name in plan.backends if name not in target.excluded)


def schedule(plan: Plan) -> Iterator[Slot]:
    """Yield every trial: workload by workload, in blocks, each block's backends in an order of its own.

    The order depends on the plan alone: what drifts on the machine hits every backend alike.
    """
    generator, position = random.Random(plan.seed), 0
    for target in plan.targets:
        for block in range(plan.blocks):
            order = list(backends_of(plan, target))
            generator.shuffle(order)
            for backend in order:
                yield Slot(target, backend, block, position, last=block == plan.blocks - 1)
                position += 1


def planned_seconds(plan: Plan, slot: Slot) -> float:
    """How long a trial takes, roughly, its profiles included."""
    profiles = plan.profile_seconds if slot.last else 0.0
    return plan.load.warmup_seconds + plan.load.seconds + profiles + TRIAL_OVERHEAD_S
