"""Prometheus metrics of the service, in a registry of its own, served by a thread of its own."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gilscope import __version__
from gilscope.backends.base import Backend
from gilscope.backends.execution import gil_enabled
from gilscope.exposition import SIZE, PlainHistogram
from gilscope.model import BackendName
from gilscope.proc import cpu_seconds, memory
from gilscope.web.gate import Gate

STAGES = ("queue", "run", "cpu", "return")


@dataclass(frozen=True, slots=True)
class RouteMetrics:
    """The histograms of one workload on one backend."""

    ok: PlainHistogram = field(default_factory=PlainHistogram)
    failed: PlainHistogram = field(default_factory=PlainHistogram)
    lost: PlainHistogram = field(default_factory=PlainHistogram)
    late: PlainHistogram = field(default_factory=PlainHistogram)
    queue: PlainHistogram = field(default_factory=PlainHistogram)
    run: PlainHistogram = field(default_factory=PlainHistogram)
    cpu: PlainHistogram = field(default_factory=PlainHistogram)
    return_: PlainHistogram = field(default_factory=PlainHistogram)

    def by_status(self) -> tuple[tuple[str, PlainHistogram], ...]:
        """Return the request histograms with their label value."""
        return (("200", self.ok), ("500", self.failed), ("503", self.lost), ("504", self.late))

    def by_stage(self) -> tuple[tuple[str, PlainHistogram], ...]:
        """Return the stage histograms with their label value."""
        return tuple(zip(STAGES, (self.queue, self.run, self.cpu, self.return_), strict=True))

    @property
    def is_used(self) -> bool:
        """Whether a request has been counted."""
        return any(any(histogram.counts) for _, histogram in self.by_status())


class ServiceMetrics:
    """All metrics of one service."""

    def __init__(self) -> None:
        self.url: str | None = None
        self.port: int | None = None
        """Where they are served; None as long as they are not."""
        self.registry = CollectorRegistry()
        started = Gauge(
            "gilscope_run_started_timestamp_seconds", "When this service started.", registry=self.registry
        )
        started.set_to_current_time()
        info = Gauge(
            "gilscope_run_info",
            "What this service is, always 1.",
            ("version", "python", "gil"),
            registry=self.registry,
        )
        info.labels(__version__, platform.python_version(), "on" if gil_enabled() else "off").set(1)
        ProcessCollector(registry=self.registry)
        self._routes = _Routes()
        self.registry.register(self._routes)
        self.loop_lag = PlainHistogram()
        self.registry.register(_LoopLag(self.loop_lag))

    def route(self, workload: str, backend: BackendName) -> RouteMetrics:
        """Return the histograms of one workload on one backend."""
        return self._routes.children.setdefault((workload, backend), RouteMetrics())

    def answered(self, backends: Iterable[BackendName]) -> dict[str, list[int]]:
        """Return how many requests succeeded, in each bucket, by backend."""
        children = self._routes.children.items()
        return {
            name.value: [
                sum(one)
                for one in zip(*(route.ok.counts for (_, of), route in children if of == name), strict=True)
            ]
            or [0] * SIZE
            for name in backends
        }

    def failed(self, backends: Iterable[BackendName]) -> dict[str, int]:
        """Return how many requests did not succeed, by backend."""
        children = self._routes.children.items()
        return {
            name.value: sum(
                sum(sum(one.counts) for one in (route.failed, route.lost, route.late))
                for (_, of), route in children
                if of == name
            )
            for name in backends
        }

    def watch(self, backends: Mapping[BackendName, Backend], gates: Mapping[BackendName, Gate]) -> None:
        """Report pools when scraped; the measured loop does nothing for it."""
        self.registry.register(_Pools(backends, gates))

    def serve(self, host: str, port: int) -> int:
        """Serve the registry from a thread that ends with the process; return the port (0 takes a free one).

        Raises:
            OSError: the port cannot be listened on.
        """
        server, _thread = start_http_server(port, host, registry=self.registry)
        self.port = server.server_port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}/metrics"
        return server.server_port


class _Routes(Collector):
    """Reads the routes' histograms at the time of the scrape."""

    def __init__(self) -> None:
        self.children: dict[tuple[str, BackendName], RouteMetrics] = {}

    def collect(self) -> Iterator[Metric]:
        """Expose the same families as ``prometheus_client``'s own histograms would, of the routes that have been used.

        Each has 232 lines, all written in Python that keeps the GIL from the measured loop. A route appears as a whole,
        so that its failures are there at 0 before the first of them.
        """
        requests = HistogramMetricFamily(
            "gilscope_request_duration_seconds",
            "Time from accepting a work request to its answer.",
            labels=["workload", "backend", "status"],
        )
        stages = HistogramMetricFamily(
            "gilscope_stage_seconds",
            "Time of a work request in each stage: queue, run, cpu (of run), return.",
            labels=["workload", "backend", "stage"],
        )
        for (workload, backend), route in self.children.items():
            if not route.is_used:
                continue
            for status, histogram in route.by_status():
                histogram.add_to(requests, (workload, backend, status))
            for stage, histogram in route.by_stage():
                histogram.add_to(stages, (workload, backend, stage))
        yield from (requests, stages)


class _LoopLag(Collector):
    """Reads the event loop's lag at the time of the scrape."""

    def __init__(self, lag: PlainHistogram) -> None:
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """Expose one histogram without labels."""
        family = HistogramMetricFamily(
            "gilscope_event_loop_lag_seconds",
            "How late the event loop ran what was due, at random moments whether it was free or not. On Linux its "
            "timers end on whole milliseconds, so that an idle loop shows up to 1 ms.",
        )
        self._lag.add_to(family, ())
        yield family


class _Pools(Collector):
    """Reads the pools' state at the time of the scrape."""

    def __init__(self, backends: Mapping[BackendName, Backend], gates: Mapping[BackendName, Gate]) -> None:
        self._backends = backends
        self._gates = gates
        self._spent: dict[BackendName, _Spent] = defaultdict(_Spent)

    def collect(self) -> Iterator[Metric]:
        """Derive queued and active calls from those in flight and the number of workers."""
        queued = GaugeMetricFamily(
            "gilscope_backend_queued_tasks", "Calls handed over that no worker has begun.", labels=["backend"]
        )
        active = GaugeMetricFamily(
            "gilscope_backend_active_tasks", "Calls that a worker is running.", labels=["backend"]
        )
        abandoned = GaugeMetricFamily(
            "gilscope_backend_abandoned_tasks",
            "Calls that run though nobody waits for them any more: they are active, too.",
            labels=["backend"],
        )
        ever = CounterMetricFamily(
            "gilscope_backend_abandoned",
            "How many calls were abandoned: the time limit had passed, or the client had gone.",
            labels=["backend"],
        )
        workers = GaugeMetricFamily("gilscope_backend_workers", "Workers of the pool.", labels=["backend"])
        restarts = CounterMetricFamily(
            "gilscope_backend_restarts", "How often a broken pool was replaced.", labels=["backend"]
        )
        for name, backend in self._backends.items():
            queued.add_metric([name], self._gates[name].queued)
            active.add_metric([name], self._gates[name].active)
            abandoned.add_metric([name], backend.abandoned)
            ever.add_metric([name], backend.abandoned_ever)
            workers.add_metric([name], backend.workers)
            restarts.add_metric([name], backend.restarts)
        yield from (queued, active, abandoned, ever, workers, restarts, self._cpu(), _memory(self._backends))

    def _cpu(self) -> Metric:
        family = CounterMetricFamily(
            "gilscope_worker_cpu_seconds",
            "CPU time of a pool's worker processes together, those that were replaced included. Workers inside the service's "
            "own process are in its CPU time.",
            labels=["backend"],
        )
        for name, backend in self._backends.items():
            if pids := backend.pids:
                family.add_metric([name], self._spent[name].seconds(pids))
        return family


class _Spent:
    """The CPU time of processes that come and go; what one used after it was last asked for is lost when it goes."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._gone_s = 0.0
        self._last_s: dict[int, float] = {}

    def seconds(self, pids: Collection[int]) -> float:
        """Return what these processes and all that were there before them have used; it never falls."""
        with self._lock:
            now_s = {pid: used_s for pid in pids if (used_s := cpu_seconds(pid)) is not None}
            gone = [
                pid
                for pid, last_s in self._last_s.items()
                # One that has used less than before is another one of the same number.
                if pid not in pids or now_s.get(pid, last_s) < last_s
            ]
            self._gone_s += sum(map(self._last_s.pop, gone))
            self._last_s |= now_s
            return self._gone_s + sum(self._last_s.values())


def _memory(backends: Mapping[BackendName, Backend]) -> Metric:
    family = GaugeMetricFamily(
        "gilscope_worker_memory_bytes",
        "Memory of a pool's worker processes together: resident, and how much of that other processes have, too, be it of "
        "files or from before they were forked. Workers inside the service's own process have no memory of their own.",
        labels=["backend", "kind"],
    )
    for name, backend in backends.items():
        if found := [each for each in map(memory, backend.pids) if each is not None]:
            resident = sum(each.resident for each in found)
            family.add_metric([name, "resident"], resident)
            family.add_metric([name, "shared"], resident - sum(each.private for each in found))
    return family
