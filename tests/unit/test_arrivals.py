from __future__ import annotations

from itertools import islice, pairwise
from math import exp, sqrt

import pytest

from gilscope.load.arrivals import poisson, share_of, uniform
from gilscope.model import Arrivals

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


# Streams that several workers share.


def shares(arrivals: Arrivals, rate: float, parts: int, count: int) -> list[list[float]]:
    streams = [share_of(arrivals, rate, 7, part, parts) for part in range(parts)]
    return [list(islice(stream, count)) for stream in streams]


@pytest.mark.parametrize(("rate", "phase"), [(4.0, 0.0), (4.0, 0.5), (0.5, 0.25)])
def test_even_arrivals_come_once_a_period_from_their_phase_on(rate: float, phase: float) -> None:
    assert list(islice(uniform(rate, phase), 4)) == [(at + phase) / rate for at in range(4)]


def test_even_arrivals_do_not_drift() -> None:
    (late,) = islice(uniform(1_000.0), 1_000_000, 1_000_001)
    assert late == 1_000.0


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("rate", [0.5, 33.3, 100.0, 99_999.0])
def test_parts_of_even_arrivals_are_exactly_the_whole(rate: float, parts: int) -> None:
    merged = sorted(at for stream in shares(Arrivals.UNIFORM, rate, parts, 50) for at in stream)
    whole = list(islice(share_of(Arrivals.UNIFORM, rate, 7), 50 * parts))
    assert merged == pytest.approx(whole, rel=1e-12, abs=1e-12)
    assert merged[0] == 0.0


@pytest.mark.parametrize("parts", [2, 5])
def test_parts_of_random_arrivals_have_their_share_of_the_rate(parts: int) -> None:
    rate = 100.0
    for stream in shares(Arrivals.POISSON, rate, parts, COUNT // parts):
        count = len(stream)
        assert abs(stream[-1] * rate / parts - count) < 5 * sqrt(count)


def test_parts_of_random_arrivals_have_nothing_in_common() -> None:
    streams = shares(Arrivals.POISSON, 100.0, 4, 500)
    assert len({at for stream in streams for at in stream}) == 4 * 500
    # Nor with those of the trials around them, whose seeds follow one another.
    neighbours = {
        at for seed in range(8, 20) for at in islice(share_of(Arrivals.POISSON, 100.0, seed, 1, 4), 500)
    }
    assert neighbours.isdisjoint(at for stream in streams for at in stream)


def test_one_part_is_the_whole() -> None:
    assert list(islice(share_of(Arrivals.POISSON, 50.0, 7), 500)) == due(50.0, 7, 500)
    assert list(islice(share_of(Arrivals.UNIFORM, 50.0, 7), 5)) == list(islice(uniform(50.0), 5))


def test_even_arrivals_know_no_seed_and_random_ones_do() -> None:
    def begin(arrivals: Arrivals, seed: int) -> list[float]:
        return list(islice(share_of(arrivals, 50.0, seed), 20))

    assert begin(Arrivals.UNIFORM, 1) == begin(Arrivals.UNIFORM, 2)
    assert begin(Arrivals.POISSON, 1) == begin(Arrivals.POISSON, 1)
    assert not set(begin(Arrivals.POISSON, 1)) & set(begin(Arrivals.POISSON, 2))
