"""When requests of an open loop are due. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator

from gilscope.model import Arrivals


def poisson(rate: float, seed: int) -> Iterator[float]:
    """Yield due times in seconds from 0, without end: a Poisson process of ``rate`` arrivals per second.

    Poisson arrivals see time averages (Wolff 1982): they cannot fall into step with anything periodic in the
    service, as evenly spaced ones would with CPython's 5 ms switch interval.
    """
    generator, due_s = random.Random(seed), 0.0
    while True:
        due_s += generator.expovariate(rate)
        yield due_s


def uniform(rate: float, phase: float = 0.0) -> Iterator[float]:
    """Yield evenly spaced due times in seconds, without end; the first one ``phase`` (0 to 1) of a period late."""
    at = 0
    while True:
        yield (at + phase) / rate
        at += 1


def share_of(arrivals: Arrivals, rate: float, seed: int, part: int = 0, parts: int = 1) -> Iterator[float]:
    """Yield the due times of one of several equal streams that make up ``rate`` arrivals per second together.

    Poisson streams add up to a Poisson stream; evenly spaced ones are shifted against each other.
    """
    if arrivals is Arrivals.UNIFORM:
        return uniform(rate / parts, part / parts)
    return poisson(rate / parts, seed + part * 1_000_003)
