from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gilscope.exposition import BUCKETS, PlainHistogram
from gilscope.model import BackendName
from gilscope.web.metrics import STAGES, ServiceMetrics

seconds = st.one_of(st.sampled_from(BUCKETS), st.floats(0, 20), st.sampled_from((0.0, 10.000001, 1e-9)))


def test_the_buckets_are_r5_from_100_us_to_10_s() -> None:
    assert len(BUCKETS) == 26
    assert (BUCKETS[0], BUCKETS[-1]) == (1e-4, 10.0)
    for low, high in itertools.pairwise(BUCKETS):
        assert 1.5 < high / low < 1.65


@given(st.lists(seconds, max_size=30))
def test_our_histogram_counts_as_prometheus_clients_own_does(observed: list[float]) -> None:
    registry = CollectorRegistry()
    theirs = Histogram("theirs", "", buckets=BUCKETS, registry=registry)
    ours = PlainHistogram()
    for value in observed:
        theirs.observe(value)
        ours.observe(value)
    (family,) = registry.collect()
    expected = {
        sample.labels["le"]: sample.value for sample in family.samples if sample.name == "theirs_bucket"
    }
    metrics = ServiceMetrics()
    route = metrics.route("w", BackendName.ASYNCIO)
    for value in observed:
        route.run.observe(value)
    found = {
        sample.labels["le"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "gilscope_stage_seconds_bucket" and sample.labels["stage"] == "run"
    }
    assert found == expected
    assert list(found) == list(expected)
    assert sum(ours.counts) == len(observed)
    assert ours.total == pytest.approx(math.fsum(observed))


def test_a_bucket_includes_its_upper_bound() -> None:
    histogram = PlainHistogram()
    histogram.observe(BUCKETS[3])
    assert histogram.counts.index(1) == 3
    histogram.observe(10.1)
    assert histogram.counts[-1] == 1


def test_a_route_keeps_its_histograms() -> None:
    metrics = ServiceMetrics()
    assert metrics.route("w", BackendName.ASYNCIO) is metrics.route("w", BackendName.ASYNCIO)
    assert metrics.route("w", BackendName.ASYNCIO) is not metrics.route("w", BackendName.THREADS)


def test_what_is_exposed_has_help_and_type() -> None:
    metrics = ServiceMetrics()
    route = metrics.route("w", BackendName.THREADS)
    route.failed.observe(0.1)
    text = generate_latest(metrics.registry).decode()
    for name in ("gilscope_request_duration_seconds", "gilscope_stage_seconds"):
        assert f"# HELP {name} Time " in text
        assert f"# TYPE {name} histogram\n" in text
    for status, count in (("200", 0.0), ("500", 1.0)):
        labels = f'backend="threads",status="{status}",workload="w"'
        assert f"gilscope_request_duration_seconds_count{{{labels}}} {count}\n" in text
    for stage in STAGES:
        assert f'gilscope_stage_seconds_count{{backend="threads",stage="{stage}",workload="w"}} 0.0\n' in text


def test_loop_lag_is_there_before_the_first_tick_and_says_where_its_floor_is() -> None:
    metrics = ServiceMetrics()
    name = "gilscope_event_loop_lag_seconds"
    text = generate_latest(metrics.registry).decode()
    assert f"# TYPE {name} histogram\n" in text
    assert "an idle loop shows up to 1 ms" in text
    assert f"{name}_count 0.0\n" in text
    metrics.loop_lag.observe(0.5)
    text = generate_latest(metrics.registry).decode()
    assert f'{name}_bucket{{le="0.4"}} 0.0\n{name}_bucket{{le="0.63"}} 1.0\n' in text
    assert f"{name}_count 1.0\n{name}_sum 0.5\n" in text
