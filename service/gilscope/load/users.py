"""Locust users: the work, in a closed or an open loop, and the probe, always in an open one.

Import locust before anything that imports ``ssl``, because gevent patches it; so nothing else of gilscope
that touches sockets is imported here, and this module never in the service's process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from urllib.parse import quote

import gevent
from gevent.pool import Pool
from locust import FastHttpUser, constant, task

from gilscope.limits import allow_many_files
from gilscope.load.arrivals import share_of
from gilscope.load.wire import StampingPool
from gilscope.model import Arrivals

if TYPE_CHECKING:
    from locust.env import Environment

WORK = "work"
PROBE = "/ping"
PROBE_RATE = 50.0
"""Pings per second where nothing else was asked for."""

MAX_IN_FLIGHT = 1_000
"""Requests of one open loop that may be under way at once; what is due beyond that is dropped, and counted."""

MAX_PROBES_IN_FLIGHT = 5_000
REQUEST_LIMIT_S = 60.0


def work_path(workload: str, backend: str, query: str = "") -> str:
    """Return the path of a workload on a backend; ``query`` is encoded already."""
    return f"/work/{quote(workload)}/{backend}" + (f"?{query}" if query else "")


class Books(Protocol):
    """Told of what an open loop does; times are of ``time.monotonic``, in seconds."""

    def sent(self, due_s: float, sent_s: float) -> None:
        """A request that was due has been sent."""
        ...

    def dropped(self, due_s: float) -> None:
        """A request that was due has not been sent."""
        ...


class StampingUser(FastHttpUser):
    """A user whose requests are also timed where they are sent: see :mod:`gilscope.load.wire`."""

    abstract = True
    network_timeout = connection_timeout = REQUEST_LIMIT_S

    def __init__(self, environment: Environment) -> None:
        self.client_pool = StampingPool(
            concurrency=self.concurrency,
            network_timeout=self.network_timeout,
            connection_timeout=self.connection_timeout,
        )
        super().__init__(environment)


class WorkUser(StampingUser):
    """One user of the work endpoint: sends, waits for the answer, sends again."""

    abstract = True
    wait_time = constant(0)

    @task
    def work(self) -> None:
        """Request the work once."""
        self.client.get(chosen_path(self), name=WORK)


def chosen_path(user: FastHttpUser) -> str:
    """Return what to request: the workload and backend of the command line or of the web page."""
    chosen = user.environment.parsed_options
    assert chosen is not None
    return work_path(chosen.own_workload or chosen.workload, chosen.backend, chosen.query)


class OpenLoopUser(StampingUser):
    """Sends requests at times that do not depend on the answers; each is to be timed from when it was due.

    A closed loop would wait out every stall and report the few requests that it sent outside of one
    (coordinated omission: Tene, "How NOT to Measure Latency").
    """

    abstract = True
    concurrency = MAX_IN_FLIGHT
    books: ClassVar[Books | None] = None

    def due_times(self) -> Iterator[float]:
        """Return when requests are due, in seconds from the start."""
        raise NotImplementedError

    def send(self, due: float) -> None:
        """Send the request that was due then, and wait for its answer."""
        raise NotImplementedError

    def on_start(self) -> None:
        """Prepare for as many requests in flight as there are connections."""
        allow_many_files()
        self._in_flight = Pool(self.concurrency)

    def on_stop(self) -> None:
        """Give up what is still in flight."""
        self._in_flight.kill()

    @task
    def dispatch(self) -> None:
        """Send for ever."""
        books, begin = type(self).books, time.monotonic()
        for due_s in self.due_times():
            due = begin + due_s
            gevent.sleep(max(0.0, due - time.monotonic()))
            if self._in_flight.full():
                if books is not None:
                    books.dropped(due)
                continue
            if books is not None:
                books.sent(due, time.monotonic())
            self._in_flight.spawn(self.send, due)


class ArrivalsUser(OpenLoopUser):
    """Requests the work at a rate, whatever becomes of it: one of ``parts`` equal streams."""

    abstract = True
    fixed_count = 1
    rate: ClassVar[float] = 0.0
    arrivals: ClassVar[Arrivals] = Arrivals.POISSON
    seed: ClassVar[int] = 0
    part: ClassVar[int] = 0
    parts: ClassVar[int] = 1

    def due_times(self) -> Iterator[float]:
        """Return this stream's due times."""
        # The probe has the seed itself.
        return share_of(self.arrivals, self.rate, self.seed + 1, self.part, self.parts)

    def send(self, due: float) -> None:
        """Request the work once."""
        self.client.get(chosen_path(self), name=WORK, context={"due": due})


class ProbeUser(OpenLoopUser):
    """Pings at random moments."""

    abstract = True
    fixed_count = 1
    concurrency = MAX_PROBES_IN_FLIGHT
    rate: ClassVar[float] = PROBE_RATE
    seed: ClassVar[int] = 0

    def due_times(self) -> Iterator[float]:
        """Return when pings are due."""
        return share_of(Arrivals.POISSON, self.rate, self.seed)

    def send(self, due: float) -> None:
        """Ping once; Locust's own figure counts from when it was due, too."""
        context: dict[str, Any] = {"due": due}
        with self.client.get(PROBE, name=PROBE, catch_response=True, context=context) as response:
            response.request_meta["response_time"] = (time.monotonic() - due) * 1e3
