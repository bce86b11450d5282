"""The recorder against exact quantiles of a million samples."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from gilscope.histogram import Histogram
from gilscope.quantiles import quantile

QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


@pytest.fixture(scope="module")
def deviates() -> list[float]:
    """A million standard normal deviates, drawn once: that is the slow part."""
    gauss = random.Random(20).gauss
    return [gauss() for _ in range(1_000_000)]


SHAPES: dict[str, Callable[[list[float]], list[float]]] = {
    "log-normal": lambda deviates: [math.exp(2 + deviate) for deviate in deviates],
    "bimodal": lambda deviates: [
        *(1.5 + 0.2 * deviate for deviate in deviates[20_000:]),
        *(2_000 + 150 * deviate for deviate in deviates[:20_000]),
    ],
    "constant": lambda deviates: [4.321] * len(deviates),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_quantiles_of_a_million_samples_are_within_a_thousandth_of_the_exact_ones(
    shape: str, deviates: list[float]
) -> None:
    samples = SHAPES[shape](deviates)
    histogram = Histogram()
    histogram.record_many(samples)
    samples.sort()
    assert histogram.count == len(samples)
    for q in QUANTILES:
        assert histogram.quantile(q) == pytest.approx(quantile(samples, q), rel=0.001), q
    assert histogram.mean == pytest.approx(math.fsum(samples) / len(samples), rel=0.001)
    assert (histogram.min_ms, histogram.max_ms) == (samples[0], samples[-1])
