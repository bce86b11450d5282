from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from gilscope.exposition import BUCKETS, SIZE, PlainHistogram
from gilscope.lens.exporter import LensCollector
from gilscope.lens.exporter import Reading as LensReading
from gilscope.live.reading import NONE, Counts, LensTotals, Reading, lens_totals, less, point, quantile_ms
from gilscope.model import BackendName, StateSeconds, ThreadRole
from gilscope.web.metrics import ServiceMetrics

EMPTY = Reading(100.0, {"threads": NONE}, {"threads": 0}, {"threads": 0}, {"threads": 0})


def counts(*seconds: float) -> Counts:
    histogram = PlainHistogram()
    for one in seconds:
        histogram.observe(one)
    return histogram.counts


def test_rates_and_percentiles_are_of_the_time_between() -> None:
    before = replace(EMPTY, answered={"threads": counts(0.5)}, failed={"threads": 3})
    after = replace(
        EMPTY, at_s=102.0, answered={"threads": counts(0.5, 0.002, 0.002, 0.002, 0.002)}, failed={"threads": 5},
        queued={"threads": 7}, active={"threads": 2}, lag=counts(0.001),
    )  # fmt: skip
    found: Any = point(before, after)
    threads = found["backends"]["threads"]
    assert (found["t"], found["seconds"]) == (102.0, 2.0)
    assert (threads["rps"], threads["failed"], threads["queued"], threads["active"]) == (2.0, 1.0, 7, 2)
    assert 1.6 < threads["p50_ms"] < threads["p99_ms"] <= 2.5, "the request of 0.5 s was before"
    assert 0.63 < found["lag_p99_ms"] <= 1.0
    assert found["states"] is None


def test_nothing_happened() -> None:
    found: Any = point(EMPTY, replace(EMPTY, at_s=101.0))
    assert found["backends"]["threads"] == {
        "rps": 0.0, "failed": 0.0, "p50_ms": None, "p99_ms": None, "queued": 0, "active": 0
    }  # fmt: skip
    assert found["lag_p99_ms"] is None


@pytest.mark.parametrize("change", [{"at_s": 100.0}, {"at_s": 99.0}, {"at_s": 101.0, "origin": "another"}])
def test_there_is_no_time_between_two_services_or_backwards(change: dict[str, Any]) -> None:
    assert point(EMPTY, replace(EMPTY, **change)) is None


def test_a_counter_that_fell_began_anew() -> None:
    assert less(counts(0.001), counts(0.001, 0.1)) == counts(0.001)
    assert less(counts(0.001, 0.1), counts(0.001)) == counts(0.1)


def test_shares_of_a_role_add_up_to_one_and_idle_roles_are_left_out() -> None:
    before = {"loop": {"on_cpu": 1.0, "gil_wait": 2.0}, "other": {"on_cpu": 4.0, "gil_wait": 0.0}}
    after = {
        "loop": {"on_cpu": 1.25, "gil_wait": 2.75},
        "worker": {"on_cpu": 1.0, "gil_wait": 3.0},
        "other": {"on_cpu": 4.0, "gil_wait": 0.0},
    }
    found: Any = point(
        replace(EMPTY, lens=LensTotals(before)), replace(EMPTY, at_s=101.0, lens=LensTotals(after))
    )
    assert found["states"] == {
        "loop": {"on_cpu": 0.25, "gil_wait": 0.75},
        "worker": {"on_cpu": 0.25, "gil_wait": 0.75},
    }


NOBODY = LensTotals()


@pytest.mark.parametrize(("before", "after"), [(None, NOBODY), (NOBODY, None), (NOBODY, NOBODY)])
def test_no_states_are_known(before: LensTotals | None, after: LensTotals | None) -> None:
    found: Any = point(replace(EMPTY, lens=before), replace(EMPTY, at_s=101.0, lens=after))
    assert found["states"] is None


@given(st.lists(st.floats(1e-5, 12), min_size=1, max_size=50), st.sampled_from((0.5, 0.9, 0.99, 1.0)))
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(seconds: list[float], q: float) -> None:
    found = quantile_ms(counts(*seconds), q)
    assert found is not None
    rank = max(1, -(-len(seconds) * q // 1))  # the smallest that at least this share is not above
    exact = sorted(seconds)[int(rank) - 1]
    bounds = [0.0, *BUCKETS]
    low = max(bound for bound in bounds if bound < exact)
    high = min((bound for bound in bounds if bound >= exact), default=BUCKETS[-1])
    assert low * 1e3 <= found <= high * 1e3 + 1e-9


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile_ms(NONE, 0.99) is None


def metrics() -> ServiceMetrics:
    found = ServiceMetrics()
    for workload in ("primes", "noop"):
        route = found.route(workload, BackendName.THREADS)
        route.ok.observe(0.002)
        route.failed.observe(0.001)
        route.queue.observe(0.3)
    found.loop_lag.observe(0.004)
    return found


def test_a_service_reads_its_own_counters() -> None:
    names = [BackendName.THREADS]
    assert metrics().answered(names) == {"threads": counts(0.002, 0.002)}
    assert metrics().failed(names) == {"threads": 2}


def test_a_backend_without_requests_has_zeros() -> None:
    assert metrics().answered([BackendName.PROCESSES]) == {"processes": [0] * SIZE}
    assert metrics().failed([BackendName.PROCESSES]) == {"processes": 0}


@pytest.mark.parametrize("tells_holders", [True, False])
def test_what_a_lens_exposes_is_read(*, tells_holders: bool) -> None:
    lens = LensCollector()
    seconds = dict.fromkeys(ThreadRole, StateSeconds(1e-7, 2.0, 3.5, 12345678.25, 9.0))
    inside = StateSeconds(0.5, 0.25, 4.5, 1e9)
    lens.reading = LensReading(
        seconds, looks=20_000_000, tells_holders=tells_holders, inside={ThreadRole.LOOP: inside}
    )
    registry = CollectorRegistry()
    registry.register(lens)
    states = {"on_cpu": 1e-7, "runqueue": 2.0, "gil_wait": 3.5, "blocked": 12345678.25}
    found = lens_totals(generate_latest(registry).decode())
    assert found.states == dict.fromkeys(("loop", "worker", "other"), states)
    assert found.inside == {"loop": {"on_cpu": 0.5, "runqueue": 0.25, "gil_wait": 4.5, "blocked": 1e9}}
    assert found.held == (dict.fromkeys(("loop", "worker", "other"), 9.0) if tells_holders else {})
    assert found.looks == 20_000_000
    assert 0 < found.cpu_s < 1e6


def test_what_is_no_lens_has_no_states() -> None:
    assert lens_totals(generate_latest(metrics().registry).decode()) == LensTotals()
