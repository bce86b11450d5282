"""What a Locust process that sends shows to Prometheus, in seconds: Locust's own exports round, or count in milliseconds.

Every process has its own port; Prometheus adds them up. Counters go on from test to test, whatever Locust's page resets.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gilscope.errors import UsageError
from gilscope.exposition import PlainHistogram
from gilscope.load.totals import Observer

PORTS = 64
"""How many ports are tried: Locust's ``--processes`` makes several of what was one process."""


@dataclass
class Line(Observer):
    """All that became of one kind of request."""

    response: PlainHistogram = field(default_factory=PlainHistogram)
    service: PlainHistogram = field(default_factory=PlainHistogram)
    lag: PlainHistogram = field(default_factory=PlainHistogram)
    sent: int = 0
    dropped: int = 0
    failed: int = 0
    is_open: bool = False

    def on_sent(self, lag_s: float | None) -> None:
        """Count what was sent, ``lag_s`` later than it was due; None in a closed loop, where nothing is due."""
        self.sent += 1
        if lag_s is not None:
            self.lag.observe(lag_s)

    def on_dropped(self) -> None:
        """Count what was due and not sent."""
        self.dropped += 1

    def on_answered(self, response_s: float | None, service_s: float) -> None:
        """Count an answer, from when it was due (None in a closed loop) and from when it was sent."""
        self.service.observe(service_s)
        if response_s is not None:
            self.is_open = True
            self.response.observe(response_s)

    def on_failed(self) -> None:
        """Count a failure."""
        self.failed += 1


@dataclass(frozen=True, slots=True)
class Lines:
    """What is sent while one workload runs on one backend: its own requests, and pings."""

    work: Line = field(default_factory=Line)
    ping: Line = field(default_factory=Line)


@dataclass(frozen=True, slots=True)
class Now:
    """The state of this process: users, requests in flight, and the rate asked for (per second; 0: a closed loop)."""

    users: int
    in_flight: int
    rate: float


Labels = tuple[str, str]
"""Workload and backend."""


class ClientMetrics(Collector):
    """The metrics of one Locust process, read when scraped. ``clock`` tells seconds since 1970."""

    def __init__(self, state: Callable[[], Now], clock: Callable[[], float] = time.time) -> None:
        self._state, self._clock = state, clock
        self._lines: dict[Labels, Lines] = {}
        self._chosen: Labels | None = None
        self._began_s = 0.0

    def choose(self, workload: str, backend: str) -> Lines:
        """Begin a test: return where all is counted that is sent from now on."""
        self._chosen, self._began_s = (workload, backend), self._clock()
        return self._lines.setdefault(self._chosen, Lines())

    def collect(self) -> Iterator[Metric]:
        """Expose everything; a histogram of responses exists only where the loop was open."""
        yield self._durations()
        yield from self._counts()
        yield from self._states()
        yield from self._probe()

    def _durations(self) -> Metric:
        family = HistogramMetricFamily(
            "gilscope_client_duration_seconds",
            "Time until the answer to a work request: from when it was sent (service), and in an open loop from when it "
            "was due (response).",
            labels=["workload", "backend", "clock"],
        )
        for labels, lines in self._lines.items():
            lines.work.service.add_to(family, (*labels, "service"))
            if lines.work.is_open:
                lines.work.response.add_to(family, (*labels, "response"))
        return family

    def _counts(self) -> Iterator[Metric]:
        told: dict[str, tuple[str, Callable[[Lines], int]]] = {
            "sent": ("Work requests sent.", lambda lines: lines.work.sent),
            "dropped": (
                "Work requests due but not sent: too many were in flight.",
                lambda lines: lines.work.dropped,
            ),
            "failures": ("Work requests that failed.", lambda lines: lines.work.failed),
            "probe_failures": ("Pings that failed.", lambda lines: lines.ping.failed),
        }
        for name, (meaning, count) in told.items():
            family = CounterMetricFamily(f"gilscope_client_{name}", meaning, labels=["workload", "backend"])
            for labels, lines in self._lines.items():
                family.add_metric(labels, count(lines))
            yield family

    def _states(self) -> Iterator[Metric]:
        now = self._state()
        for name, meaning, value in (
            ("rate", "Arrivals per second asked for of this process; 0 in a closed loop.", now.rate),
            ("in_flight", "Work requests on their way.", now.in_flight),
            ("started_timestamp_seconds", "When the latest test began.", self._began_s),
        ):
            family = GaugeMetricFamily(f"gilscope_client_{name}", meaning, labels=["workload", "backend"])
            if self._chosen is not None:
                family.add_metric(self._chosen, value)
            yield family
        yield GaugeMetricFamily(
            "gilscope_client_users", "Users of this process, the probe included.", now.users
        )

    def _probe(self) -> Iterator[Metric]:
        lag = HistogramMetricFamily(
            "gilscope_client_dispatch_lag_seconds",
            "How much later than due requests and pings were sent: finer differences in latency cannot be seen.",
            labels=[],
        )
        probe = HistogramMetricFamily(
            "gilscope_client_probe_seconds",
            "Time until the answer to a ping, from when it was due, while this workload ran on this backend.",
            labels=["workload", "backend"],
        )
        every = PlainHistogram()
        for labels, lines in self._lines.items():
            every.merge(lines.work.lag)
            every.merge(lines.ping.lag)
            lines.ping.response.add_to(probe, labels)
        every.add_to(lag, ())
        yield from (lag, probe)


def export(metrics: ClientMetrics, host: str, port: int) -> int:
    """Serve from this process, on the first free port from ``port`` on; return it.

    Raises:
        UsageError: there is none, or the host is not this machine's.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    for candidate in range(port, min(port + PORTS, 2**16)):
        try:
            start_http_server(candidate, host, registry)
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE:
                continue
            reason = os.strerror(problem.errno) if problem.errno else str(problem)
            raise UsageError(
                f"metrics cannot be served on port {candidate} of {host}: {reason}",
                remedy="another --metrics-port or --metrics-host",
            ) from None
        return candidate
    raise UsageError(
        f"no port from {port} to {port + PORTS - 1} is free for metrics", remedy="another --metrics-port"
    )
