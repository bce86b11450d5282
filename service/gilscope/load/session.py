"""One process's share of a trial's load: starts its users, measures its window, stops them.

The same in the only process of a comparison's load as in one of several Locust workers.
"""

from __future__ import annotations

import os
import time
from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gevent

from gilscope.limits import allow_many_files
from gilscope.load.orders import Measured, Order, Tally
from gilscope.load.recorder import Recorder
from gilscope.load.usage import Usage
from gilscope.load.users import PROBE, WORK, ArrivalsUser, ProbeUser, WorkUser
from gilscope.load.wire import took_ms
from gilscope.model import GeneratorLoad
from gilscope.quantiles import quantile
from gilscope.throttling import throttled_meanwhile

if TYPE_CHECKING:
    from locust import User
    from locust.env import Environment

_POLL_S = 0.01


def give_way() -> None:
    """Let others in this process have a turn: the users, and what tells a Locust master that we live."""
    gevent.sleep(0)


@dataclass(frozen=True, slots=True)
class Part:
    """Which of how many processes this is; the first one also sends the pings."""

    number: int = 0
    of: int = 1

    def share(self, users: int) -> int:
        """Return how many of the users run here."""
        return users // self.of + (self.number < users % self.of)


class Session:
    """This process's share of one trial's load."""

    def __init__(self, environment: Environment, order: Order, part: Part) -> None:
        self._environment = environment
        self._order = order
        self._part = part
        self._recorder = Recorder()
        self._counts: dict[str, int] = {}

    def begin(self) -> None:
        """Start the users; each may have a connection of its own."""
        allow_many_files()
        order, environment = self._order, self._environment
        environment.parsed_options = Namespace(
            own_workload=order.workload,
            workload="",
            backend=order.backend,
            query=order.query,
            web_base_path="",
        )
        classes = [(self._work_class(), self._part.share(order.users) if order.users is not None else 1)]
        if self._part.number == 0:
            classes.append((self._probe_class(), 1))
        environment.user_classes = [user for user, _ in classes]
        self._counts = {user.__name__: count for user, count in classes}
        environment.events.request.add_listener(self._on_request)
        assert environment.runner is not None
        environment.runner.spawn_users(self._counts)

    def _work_class(self) -> type[User]:
        order, part = self._order, self._part
        if order.rate is None:
            return type("Work", (WorkUser,), {"host": order.url})
        shape = {"rate": order.rate, "arrivals": order.arrivals, "seed": order.seed}
        which = {"part": part.number, "parts": part.of}
        return type(
            "Work", (ArrivalsUser,), {"host": order.url, "books": self._recorder.arrivals, **shape, **which}
        )

    def _probe_class(self) -> type[User]:
        order = self._order
        return type(
            "Probe",
            (ProbeUser,),
            {
                "host": order.url,
                "books": self._recorder.pings,
                "rate": order.probe_rate,
                "seed": order.seed,
            },
        )

    def _on_request(
        self,
        name: str,
        response_time: float,
        exception: Exception | None,
        **details: Any,  # noqa: ANN401
    ) -> None:
        now, recorder = time.monotonic(), self._recorder
        due, response = details["context"].get("due"), details["response"]
        if name == PROBE:
            (recorder.answered if exception is None else recorder.failed)(due, now)
        elif name == WORK and exception is None:
            recorder.work(now, response_time, response.headers["server-timing"], due, took_ms(response))
        elif name == WORK:
            text = f"{exception}\n{response.text or ''}".strip()
            recorder.error(now, response_time, text, due)

    def measure(self) -> Measured:
        """Measure one window under the running load."""
        order, recorder = self._order, self._recorder
        before, flight_s = Usage.now(), recorder.arrivals.flight_s(time.monotonic())
        gevent.sleep(order.seconds)
        after = Usage.now()
        flight_s = recorder.arrivals.flight_s(after.at) - flight_s
        # What counts is cut out by its time: the window is as long as was asked for, however late we woke up.
        window = before.at, before.at + order.seconds
        self._await_the_rest(window, after.at + order.drain_s)
        recorder.closed = True
        samples = recorder.samples(*window, time.monotonic(), work=order.open, pause=give_way)
        return Measured(samples, self._tally(window, before, after, flight_s))

    def _await_the_rest(self, window: tuple[float, float], deadline: float) -> None:
        recorder, order = self._recorder, self._order
        while time.monotonic() < deadline:
            if recorder.settled(*window, pings=self._part.number == 0, work=order.open):
                return
            gevent.sleep(_POLL_S)

    def _tally(self, window: tuple[float, float], before: Usage, after: Usage, flight_s: float) -> Tally:
        recorder, is_open = self._recorder, self._order.open
        streams = (recorder.pings, recorder.arrivals)
        length_s = after.at - before.at
        lags = recorder.lags(*window)
        return Tally(
            errors=recorder.errors(*window),
            first_error=recorder.first_error,
            probes_due=recorder.pings.due_within(*window),
            probes_answered=recorder.probes_answered(*window),
            probes_failed=recorder.probes_failed(*window),
            generator=GeneratorLoad(
                cpu_share=(after.cpu_s - before.cpu_s) / length_s,
                runqueue_share=(after.runqueue_s - before.runqueue_s) / length_s,
                dispatch_lag_p99_ms=quantile(lags, 0.99) * 1e3 if lags else 0.0,
                dispatch_lag_p50_ms=quantile(lags, 0.50) * 1e3 if lags else 0.0,
                due=sum(stream.due_within(*window) for stream in streams),
                sent=sum(stream.sent_within(*window) for stream in streams),
                throttled_share=throttled_meanwhile(before.throttled_s, after.throttled_s) / length_s,
                stolen_share=(after.stolen_s - before.stolen_s) / length_s / (os.cpu_count() or 1),
            ),
            offered=recorder.arrivals.due_within(*window) if is_open else None,
            dropped=recorder.arrivals.dropped_within(*window),
            in_flight=flight_s / length_s if is_open else None,
            accounted=recorder.flight_s(before.at, after.at) / length_s,
        )

    def end(self) -> None:
        """Stop the users."""
        assert self._environment.runner is not None
        self._environment.events.request.remove_listener(self._on_request)
        self._environment.runner.stop_users(self._counts)
