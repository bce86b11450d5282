"""Prometheus metrics of the service, in a registry of its own, served by a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gilscope.backends.base import Backend
from gilscope.model import BackendName

BUCKETS = (*(m * 10**e for e in range(-4, 1) for m in (1, 1.6, 2.5, 4, 6.3)), 10.0)
"""Seconds, five to the decade (ISO 3's R5 series) from 100 us to 10 s: at p99 the median error is 12 %."""

STAGES = ("queue", "run", "cpu", "return")


class RouteMetrics(NamedTuple):
    """The children of one workload on one backend, looked up once."""

    ok: Histogram
    failed: Histogram
    queue: Histogram
    run: Histogram
    cpu: Histogram
    return_: Histogram


class ServiceMetrics:
    """All metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "gilscope_request_duration_seconds",
            "Time from accepting a work request to its answer.",
            ["workload", "backend", "status"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "gilscope_stage_seconds",
            "Time of a work request in each stage: queue, run, cpu (of run), return.",
            ["workload", "backend", "stage"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        started = Gauge(
            "gilscope_run_started_timestamp_seconds", "When this service started.", registry=self.registry
        )
        started.set_to_current_time()

    def route(self, workload: str, backend: BackendName) -> RouteMetrics:
        """Return the children of one workload on one backend."""
        statuses = (self._requests.labels(workload, backend, status) for status in ("200", "500"))
        stages = (self._stages.labels(workload, backend, stage) for stage in STAGES)
        return RouteMetrics(*statuses, *stages)

    def watch(self, backends: Mapping[BackendName, Backend], in_flight: Mapping[BackendName, int]) -> None:
        """Report pools when scraped; the measured loop does nothing for it."""
        self.registry.register(_Pools(backends, in_flight))

    def serve(self, host: str, port: int) -> int:
        """Serve the registry from a thread that ends with the process; return the port (0 takes a free one).

        Raises:
            OSError: the port cannot be listened on.
        """
        server, _thread = start_http_server(port, host, registry=self.registry)
        return server.server_port


class _Pools(Collector):
    """Reads the pools' state at the time of the scrape."""

    def __init__(self, backends: Mapping[BackendName, Backend], in_flight: Mapping[BackendName, int]) -> None:
        self._backends = backends
        self._in_flight = in_flight

    def describe(self) -> list[Metric]:
        """Nothing ahead of the first scrape: names are fixed in :meth:`collect`."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Derive queued and active calls from those in flight and the number of workers."""
        queued = GaugeMetricFamily(
            "gilscope_backend_queued_tasks", "Calls handed over that no worker has begun.", labels=["backend"]
        )
        active = GaugeMetricFamily(
            "gilscope_backend_active_tasks", "Calls that a worker is running.", labels=["backend"]
        )
        workers = GaugeMetricFamily("gilscope_backend_workers", "Workers of the pool.", labels=["backend"])
        restarts = CounterMetricFamily(
            "gilscope_backend_restarts", "How often a broken pool was replaced.", labels=["backend"]
        )
        for name, backend in self._backends.items():
            flying = self._in_flight[name]
            running = min(flying, backend.workers)
            queued.add_metric([name], flying - running)
            active.add_metric([name], running)
            workers.add_metric([name], backend.workers)
            restarts.add_metric([name], backend.restarts)
        yield from (queued, active, workers, restarts)
