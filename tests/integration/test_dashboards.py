"""Every query of every dashboard, on a real Prometheus that scrapes a real service and a real Locust."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from dashboards import NAMES, RULES, dashboard, queries, recorded, sometimes_empty
from polling import eventually
from prometheus import Prometheus, require_prometheus, scraping
from served import free_port, serving

pytestmark = pytest.mark.integration

LOCUSTFILE = Path(__file__).parents[2] / "loadtests" / "locustfile.py"
WINDOW_S = 10
"""What Grafana's rate interval is here; recording rules look at a minute whatever that is."""


class Live(NamedTuple):
    """A Prometheus that has seen a service work."""

    prometheus: Prometheus
    seen_until_s: float


@contextmanager
def locust(url: str, port: int) -> Iterator[None]:
    command = [
        sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", url, "--headless", "--rate", "40",
        "--workload", "primes", "--query", "n=15000", "--backend", "processes", "--metrics-port", str(port),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    require_prometheus()
    folder, client = tmp_path_factory.mktemp("prometheus"), free_port()
    with (
        serving("--workload=primes", "--pool-size=2", "--lens-port=0") as served,
        locust(str(served.ready["url"]), client),
    ):
        targets = {
            "gilscope": str(served.ready["metrics_url"]),
            "gilscope-lens": str(served.ready["lens_url"]),
            "locust": f"http://127.0.0.1:{client}/metrics",
        }
        with scraping(folder, targets, str(RULES / "*.yml")) as server:
            # Each rule has been evaluated over rates that have been there for a whole window.
            steady = (
                f"min_over_time((sum(rate(gilscope_client_duration_seconds_count[3s])) > 10)[{WINDOW_S}s:1s])"
            )
            full = f"count_over_time(sum(rate(gilscope_client_duration_seconds_count[3s]))[{WINDOW_S}s:1s]) >= {WINDOW_S}"
            eventually(lambda: bool(server.query(steady)) and bool(server.query(full)), "work")
            yield Live(server, time.time())


@pytest.mark.parametrize("name", NAMES)
def test_every_query_has_an_answer(live: Live, name: str) -> None:
    unanswered = []
    asked = queries(dashboard(name), window=f"{WINDOW_S}s")
    assert len(asked) > 10
    for where, promql in asked:
        found = live.prometheus.query_range(promql, live.seen_until_s - 5, live.seen_until_s, 1)
        values = [value for series in found.values() for value in series]
        assert not any(map(math.isnan, values)), (where, promql)
        if not values and not sometimes_empty(promql):
            unanswered.append((where, promql))
    assert unanswered == []


@pytest.mark.parametrize("name", recorded())
def test_every_recorded_series_is_there(live: Live, name: str) -> None:
    assert live.prometheus.query(name)


def test_a_query_that_cannot_be_answered_would_fail(live: Live) -> None:
    with pytest.raises(AssertionError, match="parse error"):
        live.prometheus.query("rate(up[)")
    assert live.prometheus.query("there_is_no_such_series") == {}


def test_what_is_drawn_is_true(live: Live) -> None:
    """Shares add up to one, and both sides of the wire count the same requests."""
    shares = live.prometheus.query("sum by (role) (role_state:gilscope_thread_state_seconds:ratio_rate1m)")
    assert shares.keys() == {"role=loop", "role=other", "role=worker"}
    for role, share in shares.items():
        assert share == pytest.approx(1, abs=0.001), role
    # Not what was sent: a machine that has little to give leaves many on their way.
    ours, theirs = (
        sum(live.prometheus.query(f'{name}{{backend="processes"{more}}}').values())
        for name, more in (
            ("gilscope_client_duration_seconds_count", ',clock="service"'),
            ("gilscope_request_duration_seconds_count", ""),
        )
    )
    assert ours == pytest.approx(theirs, rel=0.2, abs=80), "scraped at other moments, of 40 a second"
