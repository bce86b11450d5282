from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus import complaints, require_prometheus, scraped
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gilscope.errors import UsageError
from gilscope.exposition import BOUNDS, PlainHistogram
from gilscope.load import exporter
from gilscope.load.exporter import ClientMetrics, Now, export
from gilscope.load.totals import Books

NOW = Now(users=9, in_flight=8, rate=0.0)


def exposed(metrics: ClientMetrics) -> str:
    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry).decode()


def values(metrics: ClientMetrics) -> dict[tuple[str, ...], float]:
    """Give every sample by its name and the values of its labels."""
    return {
        (sample.name, *(label for _, label in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposed(metrics))
        for sample in family.samples
    }


def booked(metrics: ClientMetrics, workload: str = "primes", backend: str = "threads") -> Books:
    books = Books()
    books.observer = metrics.choose(workload, backend).work
    return books


def test_an_open_loop_is_counted_from_due_and_from_sent() -> None:
    metrics = ClientMetrics(lambda: NOW)
    books = booked(metrics)
    books.sent(10.0, 10.001)
    books.sent(10.1, 10.1)
    books.sent(10.2, 10.2)
    books.dropped(10.3)
    books.ended(10.0, 10.301, failed=False)
    books.ended(10.1, 10.2, failed=True)
    found = values(metrics)
    name = "gilscope_client_duration_seconds"
    assert found[f"{name}_count", "threads", "response", "primes"] == 1
    assert found[f"{name}_sum", "threads", "response", "primes"] == pytest.approx(0.301)
    assert found[f"{name}_sum", "threads", "service", "primes"] == pytest.approx(0.300)
    assert found[f"{name}_bucket", "threads", "response", "0.25", "primes"] == 0
    assert found[f"{name}_bucket", "threads", "response", "0.4", "primes"] == 1
    assert found["gilscope_client_sent_total", "threads", "primes"] == 3
    assert found["gilscope_client_dropped_total", "threads", "primes"] == 1
    assert found["gilscope_client_failures_total", "threads", "primes"] == 1
    assert found["gilscope_client_dispatch_lag_seconds_count",] == 3
    assert found["gilscope_client_dispatch_lag_seconds_sum",] == pytest.approx(0.001)
    assert books.under_way == 1


def test_a_closed_loop_has_no_response_time_and_no_lag() -> None:
    metrics = ClientMetrics(lambda: NOW)
    booked(metrics).closed_loop(250.0, failed=False)
    booked(metrics).closed_loop(1.0, failed=True)
    found = values(metrics)
    assert found["gilscope_client_duration_seconds_sum", "threads", "service", "primes"] == 0.25
    assert not [key for key in found if "response" in key]
    assert found["gilscope_client_sent_total", "threads", "primes"] == 2
    assert found["gilscope_client_failures_total", "threads", "primes"] == 1
    assert found["gilscope_client_dispatch_lag_seconds_count",] == 0


def test_pings_and_work_share_the_lag_and_nothing_else() -> None:
    metrics = ClientMetrics(lambda: NOW)
    work, pings = Books(), Books()
    chosen = metrics.choose("primes", "threads")
    work.observer, pings.observer = chosen.work, chosen.ping
    work.sent(1.0, 1.002)
    pings.sent(1.0, 1.001)
    pings.ended(1.0, 1.5, failed=False)
    found = values(metrics)
    assert found["gilscope_client_dispatch_lag_seconds_sum",] == pytest.approx(0.003)
    assert found["gilscope_client_probe_seconds_sum", "threads", "primes"] == pytest.approx(0.5)
    assert found["gilscope_client_duration_seconds_count", "threads", "service", "primes"] == 0


def test_counters_of_one_backend_stay_when_another_is_chosen_and_gauges_go() -> None:
    metrics = ClientMetrics(lambda: NOW)
    booked(metrics).closed_loop(1.0, failed=False)
    booked(metrics, backend="processes").closed_loop(1.0, failed=False)
    found = values(metrics)
    assert found["gilscope_client_sent_total", "threads", "primes"] == 1
    assert found["gilscope_client_sent_total", "processes", "primes"] == 1
    assert found["gilscope_client_in_flight", "processes", "primes"] == 8
    assert ("gilscope_client_in_flight", "threads", "primes") not in found
    assert found["gilscope_client_users",] == 9


def test_pings_count_for_what_runs_meanwhile() -> None:
    metrics, pings = ClientMetrics(lambda: NOW), Books()
    for backend, seconds in (("asyncio", 0.25), ("processes", 0.125)):
        pings.observer = metrics.choose("primes", backend).ping
        pings.sent(1.0, 1.0)
        pings.ended(1.0, 1.0 + seconds, failed=False)
    pings.sent(2.0, 2.0)
    pings.ended(2.0, 2.1, failed=True)
    found = values(metrics)
    assert found["gilscope_client_probe_seconds_sum", "asyncio", "primes"] == 0.25
    assert found["gilscope_client_probe_seconds_sum", "processes", "primes"] == 0.125
    assert found["gilscope_client_probe_failures_total", "asyncio", "primes"] == 0
    assert found["gilscope_client_probe_failures_total", "processes", "primes"] == 1
    assert found["gilscope_client_dispatch_lag_seconds_count",] == 3, "the lag is one for all"


def test_when_the_test_began() -> None:
    moments_s, name = iter((100.0, 200.0, 300.0)), "gilscope_client_started_timestamp_seconds"
    metrics = ClientMetrics(lambda: NOW, lambda: next(moments_s))
    assert not [key for key in values(metrics) if key[0] == name]
    for backend, began_s in (("threads", 100.0), ("processes", 200.0), ("processes", 300.0)):
        metrics.choose("primes", backend)
        assert {key: value for key, value in values(metrics).items() if key[0] == name} == {
            (name, backend, "primes"): began_s
        }


def test_what_locust_resets_still_counts() -> None:
    metrics = ClientMetrics(lambda: NOW)
    books = booked(metrics)
    books.closed_loop(1.0, failed=False)
    books.reset()
    books.closed_loop(1.0, failed=False)
    assert values(metrics)["gilscope_client_sent_total", "threads", "primes"] == 2


def test_promtool_has_nothing_against_it() -> None:
    require_prometheus()
    metrics = ClientMetrics(lambda: NOW)
    booked(metrics).sent(1.0, 1.0)
    assert complaints(exposed(metrics)) == ""


def test_nothing_was_sent_yet() -> None:
    found = values(ClientMetrics(lambda: NOW))
    assert found["gilscope_client_users",] == 9
    assert found["gilscope_client_dispatch_lag_seconds_count",] == 0
    assert {key[0] for key in found if len(key) > 1} == {"gilscope_client_dispatch_lag_seconds_bucket"}


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_the_next_free_port_is_taken(taken: int) -> None:
    port = export(ClientMetrics(lambda: NOW), "127.0.0.1", taken)
    assert taken < port < taken + exporter.PORTS
    assert "gilscope_client_users 9.0" in scraped(f"http://127.0.0.1:{port}/metrics")


def test_no_port_is_free(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "PORTS", 1)
    with pytest.raises(UsageError, match=f"no port from {taken} to {taken} is free") as caught:
        export(ClientMetrics(lambda: NOW), "127.0.0.1", taken)
    assert "--metrics-port" in str(caught.value)


def test_a_host_that_is_not_ours() -> None:
    with pytest.raises(UsageError, match="cannot be served on port 9646 of 192"):
        export(ClientMetrics(lambda: NOW), "192.0.2.1", 9646)


def test_histograms_add_up() -> None:
    one, other = PlainHistogram(), PlainHistogram()
    one.observe(0.001)
    other.observe(0.5)
    other.observe(math.inf)
    one.merge(other)
    family = SimpleNamespace(add_metric=lambda _labels, buckets, sum_value: seen.append((buckets, sum_value)))
    seen: list[Any] = []
    one.add_to(family, ())  # type: ignore[arg-type]
    ((buckets, total),) = seen
    assert [bound for bound, _ in buckets] == list(BOUNDS)
    assert dict(buckets)["+Inf"] == 3
    assert total == math.inf
