"""What passes between a comparison and its load generator. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gilscope.model import Arrivals, GeneratorLoad, Samples


@dataclass(frozen=True, slots=True)
class Order:
    """One trial's load: ``users`` in a closed loop or, where that is None, ``rate`` arrivals per second in an open one.

    ``drain_s`` bounds the wait for what was due in the window and is still unanswered at its end; ``samples`` is
    the file to which raw samples are written. ``query`` are arguments for the service, URL-encoded.
    """

    url: str
    workload: str
    backend: str
    users: int | None
    warmup_s: float
    seconds: float
    probe_rate: float
    seed: int
    drain_s: float
    samples: str
    rate: float | None = None
    arrivals: Arrivals = Arrivals.POISSON
    query: str = ""

    @property
    def open(self) -> bool:
        """Whether the work comes in an open loop."""
        return self.users is None


@dataclass(frozen=True, slots=True)
class Tally:
    """What the generator counted in one window. ``first_error`` is the first failed answer, its body included.

    Of an open loop: ``offered`` requests were due, of which ``dropped`` were not sent; ``in_flight`` is the mean number
    of requests under way.
    """

    errors: int
    first_error: str | None
    probes_due: int
    probes_answered: int
    generator: GeneratorLoad
    offered: int | None = None
    dropped: int = 0
    in_flight: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out of one window."""

    samples: Samples
    tally: Tally
