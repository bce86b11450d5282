"""What passes between a comparison and its load generator. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gilscope.model import GeneratorLoad, Samples


@dataclass(frozen=True, slots=True)
class Order:
    """One trial's load. ``users`` is a closed loop; an open loop will be another field beside it.

    ``drain_s`` bounds the wait for pings of the window that are still unanswered at its end; ``samples`` is
    the file to which raw samples are written.
    """

    url: str
    workload: str
    backend: str
    users: int
    warmup_s: float
    seconds: float
    probe_rate: float
    seed: int
    drain_s: float
    samples: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What the generator counted in one window. ``first_error`` is the first failed answer, its body included."""

    errors: int
    first_error: str | None
    probes_due: int
    probes_answered: int
    generator: GeneratorLoad


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out of one window."""

    samples: Samples
    tally: Tally
