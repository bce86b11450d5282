from __future__ import annotations

from itertools import islice, pairwise
from math import exp, sqrt

import pytest

from gilscope.load.arrivals import poisson

COUNT = 20_000


def due(rate: float, seed: int, count: int = COUNT) -> list[float]:
    return list(islice(poisson(rate, seed), count))


def test_a_seed_fixes_every_arrival() -> None:
    assert due(50, 7) == due(50, 7)


def test_seeds_differ() -> None:
    assert not set(due(50, 7, 500)) & set(due(50, 8, 500))


def test_arrivals_are_strictly_increasing() -> None:
    times = [0.0, *due(200, 1)]
    assert all(earlier < later for earlier, later in pairwise(times))


@pytest.mark.parametrize("rate", [0.5, 50.0, 3_000.0])
def test_the_mean_rate_is_the_rate(rate: float) -> None:
    # The n-th arrival is gamma distributed: mean n / rate, standard deviation sqrt(n) / rate.
    assert abs(due(rate, 3)[-1] * rate - COUNT) < 5 * sqrt(COUNT)


def test_gaps_are_exponential_not_even() -> None:
    times = [0.0, *due(10, 4)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    for bound in (0.01, 0.1, 0.3):
        expected = exp(-10 * bound)
        share = sum(gap > bound for gap in gaps) / COUNT
        assert abs(share - expected) < 5 * sqrt(expected * (1 - expected) / COUNT)
