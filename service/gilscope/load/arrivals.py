"""When requests of an open loop are due. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator


def poisson(rate: float, seed: int) -> Iterator[float]:
    """Yield due times in seconds from 0, without end: a Poisson process of ``rate`` arrivals per second.

    Poisson arrivals see time averages (Wolff 1982): they cannot fall into step with anything periodic in the
    service, as evenly spaced ones would with CPython's 5 ms switch interval.
    """
    generator, due_s = random.Random(seed), 0.0
    while True:
        due_s += generator.expovariate(rate)
        yield due_s
