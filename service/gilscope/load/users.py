"""Locust users: the work, in a closed loop, and the probe, in an open one.

Import locust before anything that imports ``ssl``, because gevent patches it; so nothing else of gilscope
that touches sockets is imported here, and this module never in the service's process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar
from urllib.parse import quote

import gevent
from gevent.pool import Pool
from locust import FastHttpUser, constant, task

from gilscope.load.arrivals import poisson

WORK = "work"
PROBE = "/ping"
PROBE_RATE = 50.0
"""Pings per second where nothing else was asked for."""

MAX_PROBES_IN_FLIGHT = 5_000
REQUEST_LIMIT_S = 60.0


def work_path(workload: str, backend: str, query: str = "") -> str:
    """Return the path of a workload on a backend; ``query`` is encoded already."""
    return f"/work/{quote(workload)}/{backend}" + (f"?{query}" if query else "")


class WorkUser(FastHttpUser):
    """One user of the work endpoint: sends, waits for the answer, sends again."""

    abstract = True
    wait_time = constant(0)
    network_timeout = connection_timeout = REQUEST_LIMIT_S

    def path(self) -> str:
        """Return what to request: the workload and backend of the command line or of the web page."""
        chosen = self.environment.parsed_options
        return work_path(chosen.own_workload or chosen.workload, chosen.backend, chosen.query)

    @task
    def work(self) -> None:
        """Request the work once."""
        self.client.get(self.path(), name=WORK)


class ProbeUser(FastHttpUser):
    """Pings at times that do not depend on the answers, each timed from when it was due.

    A closed loop would wait out every stall and report the few pings that it sent outside of one
    (coordinated omission: Tene, "How NOT to Measure Latency").
    """

    abstract = True
    fixed_count = 1
    concurrency = MAX_PROBES_IN_FLIGHT
    network_timeout = connection_timeout = REQUEST_LIMIT_S
    rate: ClassVar[float] = PROBE_RATE
    seed: ClassVar[int] = 0
    on_dispatch: ClassVar[Callable[[float, float], None]] = staticmethod(lambda _due, _sent: None)
    """Told of each ping: when it was due and when it was sent, both of ``time.monotonic``."""

    def on_start(self) -> None:
        """Prepare for as many pings in flight as the connections allow."""
        self._in_flight = Pool(MAX_PROBES_IN_FLIGHT)

    def on_stop(self) -> None:
        """Give up the pings that are still in flight."""
        self._in_flight.kill()

    @task
    def probe(self) -> None:
        """Ping for ever."""
        begin = time.monotonic()
        for due_s in poisson(self.rate, self.seed):
            due = begin + due_s
            gevent.sleep(max(0.0, due - time.monotonic()))
            type(self).on_dispatch(due, time.monotonic())
            self._in_flight.spawn(self._ping, due)

    def _ping(self, due: float) -> None:
        with self.client.get(PROBE, name=PROBE, catch_response=True, context={"due": due}) as response:
            response.request_meta["response_time"] = (time.monotonic() - due) * 1e3
