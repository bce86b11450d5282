from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gilscope.model import Latency, ProbeLatency
from gilscope.quantiles import is_rough, quantile, summarize_latency, summarize_probe

values = st.lists(st.floats(0, 1e9), min_size=1, max_size=300)


def nearest_rank(observed: list[float], q: Fraction) -> float:
    """Take the definition at its word: the smallest value that at least a share ``q`` of all do not exceed."""
    return min(value for value in observed if sum(other <= value for other in observed) >= q * len(observed))


@settings(deadline=None)
@given(values, st.integers(0, 1000))
def test_is_the_nearest_rank(observed: list[float], per_mille: int) -> None:
    expected = nearest_rank(observed, Fraction(per_mille, 1000))
    assert quantile(sorted(observed), per_mille / 1000) == expected


@pytest.mark.parametrize(
    ("q", "expected"), [(0.0, 1.0), (0.07, 7.0), (0.29, 29.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_rounding_of_the_product_does_not_move_a_rank(q: float, expected: float) -> None:
    assert quantile([float(value) for value in range(1, 101)], q) == expected


def test_of_one_value_every_quantile_is_that_value() -> None:
    assert [quantile([7.0], q) for q in (0.0, 0.5, 0.99, 1.0)] == [7.0] * 4


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


@pytest.mark.parametrize("q", [-0.001, 1.001, 99.0, float("nan")])
def test_a_quantile_lies_within_0_to_1(q: float) -> None:
    with pytest.raises(ValueError, match="within 0 to 1"):
        quantile([1.0], q)


@settings(deadline=None)
@given(values)
def test_a_summary_is_of_observed_values_in_order(observed: list[float]) -> None:
    latency, probe = summarize_latency(iter(observed)), summarize_probe(iter(observed))
    assert latency is not None
    assert probe is not None
    assert latency.max == probe.max == max(observed)
    assert latency.p50 <= latency.p90 <= latency.p95 <= latency.p99 <= latency.max
    assert {latency.p50, latency.p90, latency.p95, latency.p99} <= set(observed)
    assert (probe.p50, probe.p99) == (latency.p50, latency.p99)


def test_summaries_need_no_order() -> None:
    descending = [float(value) for value in range(200, 0, -1)]
    assert summarize_latency(descending) == Latency(p50=100, p90=180, p95=190, p99=198, max=200)
    assert summarize_probe(descending) == ProbeLatency(p50=100, p99=198, max=200)


def test_nothing_has_no_summary() -> None:
    assert summarize_latency([]) is None
    assert summarize_probe([]) is None


@pytest.mark.parametrize(("q", "enough"), [(0.5, 40), (0.99, 2_000), (0.999, 20_000)])
def test_a_quantile_wants_twenty_samples_beyond_it(q: float, enough: int) -> None:
    assert is_rough(enough - 1, q)
    assert not is_rough(enough, q)


def test_a_maximum_is_what_it_is() -> None:
    assert not is_rough(1, 1.0)
