"""Load a running service by hand, with Locust's own web page or headless, in one process or in several.

    gilscope serve
    locust -f loadtests/locustfile.py --host http://127.0.0.1:8080
    locust -f loadtests/locustfile.py --host http://127.0.0.1:8080 --headless -t 60s --rate 200 --processes 2

Without ``--rate``, work users wait for their answers (a closed loop). With it, the work arrives at that rate, of all
processes together, whatever becomes of it (an open loop); the number of users then changes nothing. One probe
pings at 50 per second in either case. Work of an open loop, and each ping, is timed from when it was due.

In Locust's table, which rounds, ``work`` and ``/ping`` stand apart. Unrounded percentiles come at the end, on standard
error, and at any time on the page ``/gilscope`` of Locust's web server.
"""

from __future__ import annotations

import inspect
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import gevent
from locust import User, argument_parser, events

from gilscope.load.by_hand import attach, is_open
from gilscope.load.options import add_options
from gilscope.load.totals import Books, thinned
from gilscope.load.users import WORK, ArrivalsUser, OpenLoopUser, ProbeUser, WorkUser, chosen_path
from gilscope.model import Arrivals
from gilscope.workloads.catalogue import BUILT_IN

if TYPE_CHECKING:
    from locust.env import Environment

PAUSE_S = 60.0


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def choose(parser: ArgumentParser, **_: Any) -> None:  # noqa: ANN401
    """Let workload and backend be chosen, and the loop be opened."""
    add_options(parser, BUILT_IN)
    own: dict[str, Any] = {"include_in_web_ui": False}  # Of each process, whatever the web page starts.
    parser.add_argument(
        "--metrics-port",
        type=int,
        default=0,
        metavar="N",
        help="serve what is sent to Prometheus, from each process on the first free port from N on (default: do not)",
        **own,
    )
    parser.add_argument(
        "--metrics-host", default="127.0.0.1", metavar="HOST", help="default: 127.0.0.1", **own
    )


class Resting(User):
    """Does nothing in an open loop, which needs no users: its requests come from the streams below."""

    abstract = True

    def on_start(self) -> None:
        """Rest, where the loop is open, until the test ends."""
        super().on_start()
        while is_open(self.environment):
            # Not a plain sleep: who waits is stopped at once, whatever --stop-timeout says.
            self.wait()  # type: ignore[no-untyped-call]

    def wait_time(self) -> float:
        """Return how many seconds to wait before the next request."""
        return PAUSE_S if is_open(self.environment) else 0.0


class Work(Resting, WorkUser):
    """Requests the chosen workload on the chosen backend, waits for the answer, and again."""


class Probe(Resting, ProbeUser):
    """Pings at random moments."""


class Draining(OpenLoopUser):
    """Lets what is in flight at the end have ``--stop-timeout`` to come back."""

    abstract = True

    def on_stop(self) -> None:
        """Wait, then give up the rest."""
        self._in_flight.join(timeout=self.environment.stop_timeout)
        super().on_stop()


class Stream(Draining, ArrivalsUser):
    """One process's part of the arrivals; Locust's own figure counts from when each was due, too."""

    abstract = True
    shape: ClassVar[Callable[[Namespace, float], float] | None] = None
    """What share (0 to 1) of the rate is wanted, by the options and the seconds since the start; all where None."""

    def due_times(self) -> Iterator[float]:
        """Return this stream's due times, as the shape has them."""
        shape, options, every = type(self).shape, self.environment.parsed_options, super().due_times()
        if shape is None or options is None:
            return every
        return thinned(every, lambda due_s: shape(options, due_s), hash((self.seed, self.part)))

    def send(self, due: float) -> None:
        """Request the work once."""
        context: dict[str, Any] = {"due": due}
        with self.client.get(chosen_path(self), name=WORK, catch_response=True, context=context) as response:
            response.request_meta["response_time"] = (time.monotonic() - due) * 1e3


class Pings(Draining, ProbeUser):
    """The probe of an open loop."""

    abstract = True


def streams(environment: Environment, work: Books, ping: Books, part: tuple[int, int]) -> Iterator[User]:
    """Return the users of an open loop in this process: its part of the arrivals, and in the first one the probe."""
    chosen = environment.parsed_options
    assert chosen is not None
    common = {"host": environment.host, "seed": chosen.seed}
    if Work in environment.user_classes:
        shape = {
            "rate": chosen.rate,
            "arrivals": Arrivals(chosen.arrivals),
            "part": part[0],
            "parts": part[1],
        }
        yield type("Stream", (Stream,), {"books": work, **common, **shape})(environment)
    if Probe in environment.user_classes and part[0] == 0:
        yield type("Pings", (Pings,), {"books": ping, **common})(environment)


def prevent_stalls() -> None:
    """Do now what Locust 2.47 would do during a test, when nothing is sent meanwhile: that would pose as latency."""
    # A worker builds the whole option parser anew, for every option, whenever its users change: 0.2 s and more.
    argument_parser.default_args_dict = cache(argument_parser.default_args_dict)
    argument_parser.default_args_dict()
    # Before it stops the users, a runner asks who called it; the first time, that takes 0.05 s.
    inspect.stack()
    # --run-time counts from when gevent last looked at the clock: before all those imports.
    gevent.get_hub().loop.update_now()


@events.init.add_listener  # type: ignore[untyped-decorator]
def keep_books(environment: Environment, **_: Any) -> None:  # noqa: ANN401
    """Have every latency recorded, unrounded."""
    prevent_stalls()
    Probe.books = attach(environment, streams)
