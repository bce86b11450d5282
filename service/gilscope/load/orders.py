"""What passes between a comparison and its load generator. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gilscope.model import Arrivals, GeneratorLoad, Samples

KEEP_S = 100e-6
"""How long it may take to cut out, pass on and write down one request: several times what it does on a quiet core."""

MOST_RPS = 10_000.0
"""More answers per second than one process of users gets in a closed loop."""


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

    @property
    def answer_s(self) -> float:
        """How long it may take from the window's end until all that is known of it is written down, on a core of one's own."""
        return self.drain_s + KEEP_S * self.seconds * (MOST_RPS if self.rate is None else self.rate)


@dataclass(frozen=True, slots=True)
class Tally:
    """What the generator counted in one window. ``first_error`` is the first failed answer to work, its body included.

    Of the ``probes_due``, those that are neither among ``probes_answered`` nor ``probes_failed`` were given up.

    Of an open loop: ``offered`` requests were due, of which ``dropped`` were not sent; ``in_flight`` is the mean number
    of requests under way, from when the generator let go of each. ``accounted`` is the same by the requests' own latencies,
    in either loop: what is missing there, the generator held up.
    """

    errors: int
    first_error: str | None
    probes_due: int
    probes_answered: int
    generator: GeneratorLoad
    offered: int | None = None
    dropped: int = 0
    in_flight: float | None = None
    accounted: float = 0.0
    probes_failed: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out of one window."""

    samples: Samples
    tally: Tally
