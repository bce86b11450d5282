from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gilscope.exposition import BUCKETS, PlainHistogram
from gilscope.model import BackendName
from gilscope.proc import Memory
from gilscope.web import metrics as web_metrics
from gilscope.web.metrics import STAGES, ServiceMetrics

PROCESSES, THREADS = BackendName.PROCESSES, BackendName.THREADS

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
    route.ok.observe(0.1)
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
    assert metrics.route("w", BackendName.ASYNCIO) is not metrics.route("w", THREADS)


@pytest.mark.parametrize("status", ["ok", "failed", "lost", "late"])
def test_a_route_is_exposed_as_a_whole_from_its_first_request_on_whatever_became_of_it(status: str) -> None:
    def exposed() -> set[tuple[str, str]]:
        text = generate_latest(metrics.registry).decode()
        return set(re.findall(r'_count\{backend="(\w+)",(?:status|stage)="(\w+)",workload="w"\}', text))

    metrics = ServiceMetrics()
    used = metrics.route("w", THREADS)
    metrics.route("w", PROCESSES)
    assert exposed() == set()
    getattr(used, status).observe(0.1)
    assert exposed() == {("threads", each) for each in ("200", "500", "503", "504", *STAGES)}


def test_what_is_exposed_has_help_and_type() -> None:
    metrics = ServiceMetrics()
    route = metrics.route("w", THREADS)
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


class Pool:
    """A backend as far as metrics know it."""

    workers = restarts = abandoned = abandoned_ever = 0

    def __init__(self, pids: Collection[int]) -> None:
        self.pids = pids


def watching(pool: Pool) -> ServiceMetrics:
    """Give the metrics of a service with this pool, and beside it one of threads."""
    gate = SimpleNamespace(queued=0, active=0)
    metrics = ServiceMetrics()
    metrics.watch({PROCESSES: pool, THREADS: Pool(())}, {PROCESSES: gate, THREADS: gate})  # type: ignore[dict-item]
    return metrics


def values(metrics: ServiceMetrics, name: str) -> dict[tuple[str, ...], float]:
    """Give a metric's values by those of its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_cpu_time_of_workers_never_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    used_s = {1: 2.0, 2: 3.0}
    monkeypatch.setattr(web_metrics, "cpu_seconds", used_s.get)
    pool = Pool({1, 2})
    metrics = watching(pool)

    def exposed() -> float:
        [(labels, seconds)] = values(metrics, "gilscope_worker_cpu_seconds_total").items()
        assert labels == ("processes",), "threads are in the service's own process"
        return seconds

    assert exposed() == 5.0
    used_s[1] = 2.5
    assert exposed() == 5.5
    del used_s[2]
    assert exposed() == 5.5, "it has died, and the pool does not know yet"
    pool.pids, used_s[3] = {3}, 0.5
    assert exposed() == 6.0, "the pool was replaced"
    used_s[3] = 0.25
    assert exposed() == 6.25, "and again, by a process of the same number"
    assert exposed() == 6.25


def test_memory_of_workers_is_shared_as_far_as_it_is_not_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_metrics, "memory", {1: Memory(100, 30), 2: Memory(50, 10)}.get)
    assert values(watching(Pool({1, 2, 3})), "gilscope_worker_memory_bytes") == {
        ("processes", "resident"): 150,
        ("processes", "shared"): 110,
    }


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
