"""Locust run by hand: an open loop beside its users, and honest percentiles of a run of any length.

In an open loop each process that sends runs one stream of arrivals, started by Locust's ``test_start`` and not
dispatched as a user: Locust hands out users one by one, and where there are fewer of them than workers, some
workers would get no stream. So the number of users means nothing there, and none is needed.

Times are of ``time.monotonic``, in seconds; latencies are in milliseconds. Locust itself is not imported here,
because it patches the process that imports it: the users come from the Locust file.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from gevent.pool import Group

from gilscope.load.exporter import ClientMetrics, Now, export
from gilscope.load.on_page import show
from gilscope.load.totals import PING, WORK, Books, Totals, describe, part_of

if TYPE_CHECKING:
    from argparse import Namespace

    from locust import User
    from locust.env import Environment
    from locust.rpc import Message
    from locust.runners import MasterRunner, WorkerRunner

RESET, END, REST = "gilscope-reset", "gilscope-end", "gilscope-rest"
REST_S = 5.0
"""How long a master waits for its workers' last figures, beyond Locust's ``--stop-timeout``."""

_POLL_S = 0.01
_POUR = 100


class Streams(Protocol):
    """Makes the users of an open loop; they are started and stopped here, not by Locust."""

    def __call__(
        self, environment: Environment, work: Books, ping: Books, part: tuple[int, int]
    ) -> Iterable[User]:
        """Return this part's users."""
        ...


def attach(environment: Environment, streams: Streams) -> Books | None:
    """Keep the books of this Locust process, be it the only one, a master or a worker; call it in ``events.init``.

    Returns those of the pings, for the probe of a closed loop, which Locust starts; None on a master, which sends none.
    """
    options = _options(environment)
    if options.master:
        _Master(environment)
        return None
    load = Load(environment, streams)
    if options.metrics_port:
        port = export(load.metrics, options.metrics_host, options.metrics_port)
        logging.getLogger(__name__).info("metrics on port %s", port)
    (_Worker if options.worker else _Alone)(environment, load)
    return load.ping


def is_open(environment: Environment) -> bool:
    """Whether the test is, or will be, an open loop."""
    return bool(_options(environment).rate > 0)


def _options(environment: Environment) -> Namespace:
    options: Namespace | None = environment.parsed_options
    assert options is not None
    return options


class Load:
    """What one process sends, and its books of that. ``epoch`` counts the resets, so that nothing older is mixed in."""

    def __init__(self, environment: Environment, streams: Streams) -> None:
        self._environment = environment
        self._make = streams
        self._streams = Group()
        self.work, self.ping = Books(), Books()
        self.metrics = ClientMetrics(self._now)
        self._epoch = 0
        self._covered_s = 0.0
        self._since: float | None = None
        self._parts = 1
        events = environment.events
        events.request.add_listener(self._on_request)
        events.test_stopping.add_listener(lambda **_: self.end())
        events.test_stop.add_listener(lambda **_: self._close())

    def begin(self, epoch: int, part: tuple[int, int] | None) -> None:
        """Begin a test; in an open loop this is the part of the arrivals that is sent from here, if any is."""
        self.end()
        self.reset(epoch)
        options = _options(self._environment)
        chosen = self.metrics.choose(options.own_workload or options.workload, options.backend)
        self.work.observer, self.ping.observer = chosen.work, chosen.ping
        # Without a host, Locust's own users end the test and say so.
        if part is None or not is_open(self._environment) or not self._environment.host:
            return
        self._parts = part[1]
        for user in self._make(self._environment, self.work, self.ping, part):
            user.start(self._streams)
        self._since = time.monotonic()

    def reset(self, epoch: int) -> None:
        """Count from here on."""
        self._epoch = epoch
        self._covered_s = 0.0
        if self._since is not None:
            self._since = time.monotonic()
        self.work.reset()
        self.ping.reset()

    def end(self) -> None:
        """Stop the open loop, if there is one; what is under way has Locust's ``--stop-timeout`` to end."""
        if self._since is None:
            self._streams.join()  # another greenlet may be waiting for what is under way
            return
        self._cover()
        self._since = None
        self._streams.kill()
        self._close()

    def _now(self) -> Now:
        runner, environment = self._environment.runner, self._environment
        assert runner is not None
        if is_open(environment):
            part = 1 / self._parts if self._since is not None else 0.0
            return Now(runner.user_count, self.work.under_way, _options(environment).rate * part)
        # A user of a closed loop keeps no books, and always waits for one answer.
        waiting = (cls.__name__ for cls in environment.user_classes if not hasattr(cls, "books"))
        return Now(runner.user_count, sum(runner.user_classes_count.get(name, 0) for name in waiting), 0.0)

    def _cover(self) -> None:
        if self._since is not None:
            now = time.monotonic()
            self._covered_s += now - self._since
            self._since = now

    def _close(self) -> None:
        now = time.monotonic()
        self.work.close(now)
        self.ping.close(now)

    def take(self) -> dict[str, Any]:
        """Return what happened since the last time, as a message of Locust can carry it."""
        self._cover()
        covered_s, self._covered_s = self._covered_s, 0.0
        return {
            "epoch": self._epoch,
            "covered_s": covered_s,
            "work": vars(self.work.take()),
            "ping": vars(self.ping.take()),
        }

    @property
    def pending(self) -> int:
        """How many latencies wait for :meth:`take`."""
        return len(self.work.batch.response_ms) + len(self.ping.batch.response_ms)

    def _on_request(
        self,
        name: str,
        response_time: float,
        exception: Exception | None,
        context: dict[str, Any],
        **_: Any,  # noqa: ANN401
    ) -> None:
        books = {WORK: self.work, PING: self.ping}.get(name)
        if books is None:
            return
        failed, due = exception is not None, context.get("due")
        if due is None:
            books.closed_loop(response_time, failed=failed)
        else:
            books.ended(due, time.monotonic(), failed=failed)


class _Desk:
    """Where the figures come together: on the master, or in the only process there is."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.totals = Totals()
        self.epoch = 0
        events = environment.events
        events.test_start.add_listener(lambda **_: self.start())
        events.reset_stats.add_listener(lambda **_: self.reset())
        events.spawning_complete.add_listener(self._on_spawned)
        events.quit.add_listener(self._on_quit)
        if environment.web_ui is not None:
            show(environment.web_ui, self.totals, self.text)

    def start(self) -> None:
        """Begin a test."""
        raise NotImplementedError

    def reset(self) -> None:
        """Count from here on."""
        self.epoch += 1
        self.totals.reset()

    def text(self) -> str:
        """Return the table as it is now, with all that is known counted."""
        raise NotImplementedError

    def _on_spawned(self, **_: Any) -> None:  # noqa: ANN401
        # This is when Locust resets its own, and it fires no event then.
        if self.environment.reset_stats:
            self.reset()

    def _on_quit(self, **_: Any) -> None:  # noqa: ANN401
        table = self.text()
        if self.totals.work.due or self.totals.ping.due:
            sys.stderr.write(f"\n{table}")


class _Alone(_Desk):
    """The only process: it sends, and counts."""

    def __init__(self, environment: Environment, load: Load) -> None:
        super().__init__(environment)
        self._load = load
        environment.events.request.add_listener(self._on_request)
        environment.events.test_stop.add_listener(lambda **_: self._pour())

    def start(self) -> None:
        super().reset()
        self._load.begin(self.epoch, (0, 1))

    def reset(self) -> None:
        super().reset()
        self._load.reset(self.epoch)

    def text(self) -> str:
        self._pour()
        return describe(self.totals, _options(self.environment), 1)

    def _pour(self) -> None:
        self.totals.add("", self._load.take())

    def _on_request(self, **_: Any) -> None:  # noqa: ANN401
        if self._load.pending >= _POUR:
            self._pour()


class _Master(_Desk):
    """Tells each worker its part, and adds up what they report."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._runner: MasterRunner = environment.runner  # type: ignore[assignment]
        self._members: list[str] = []
        self._awaited: set[str] = set()
        self._runner.register_message(REST, self._on_rest)
        events = environment.events
        events.worker_report.add_listener(self._on_report)
        events.test_stopping.add_listener(lambda **_: self._end())
        events.test_stop.add_listener(lambda **_: self._await_the_rest())

    def start(self) -> None:
        clients = self._runner.clients
        self._members = sorted(client.id for client in clients.ready + clients.spawning + clients.running)
        self._awaited = set(self._members)
        super().reset()
        # Locust sends the options to the workers after this, with the users that each is to have.
        _options(self.environment).gilscope = {"epoch": self.epoch, "members": self._members}

    def reset(self) -> None:
        super().reset()
        self._runner.send_message(RESET, {"epoch": self.epoch})

    def text(self) -> str:
        stopped = self._runner.state in {"stopping", "stopped"}
        return describe(
            self.totals, _options(self.environment), len(self._members), len(self._awaited) if stopped else 0
        )

    def _on_report(self, client_id: str, data: dict[str, Any]) -> None:
        report = data.get("gilscope")
        if report is not None and report["epoch"] == self.epoch:
            self.totals.add(client_id, report)

    def _on_rest(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's names
        self._on_report(msg.node_id, {"gilscope": msg.data})
        self._awaited.discard(msg.node_id)

    def _end(self) -> None:
        """Have the workers end their streams: at its end Locust waits half a second for their figures, no longer."""
        for member in self._awaited & set(self._runner.clients):
            self._runner.send_message(END, client_id=member)

    def _await_the_rest(self) -> None:
        deadline = time.monotonic() + self.environment.stop_timeout + REST_S
        while time.monotonic() < deadline:
            lost = {client.id for client in self._runner.clients.missing}
            if not self._awaited - lost:
                return
            gevent.sleep(_POLL_S)


class _Worker:
    """Does its part, and reports with Locust's own reports; after the end, at once."""

    def __init__(self, environment: Environment, load: Load) -> None:
        self._environment = environment
        self._load = load
        self._runner: WorkerRunner = environment.runner  # type: ignore[assignment]
        self._runner.register_message(RESET, self._on_reset)
        self._runner.register_message(END, self._on_end, concurrent=True)
        events = environment.events
        events.test_start.add_listener(self._on_start)
        events.report_to_master.add_listener(self._on_report)
        # These listeners are called in reverse: before the runner's, which tells the master that it leaves.
        events.quitting.add_listener(lambda **_: self._send_the_rest())

    def _on_start(self, **_: Any) -> None:  # noqa: ANN401
        told = _options(self._environment).gilscope
        self._load.begin(told["epoch"], part_of(told["members"], self._runner.client_id))

    def _on_reset(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's names
        self._load.reset(msg.data["epoch"])

    def _on_end(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's names
        self._send_the_rest()

    def _send_the_rest(self) -> None:
        self._load.end()
        self._runner.send_message(REST, self._load.take())

    def _on_report(self, client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG002  Locust's names
        data["gilscope"] = self._load.take()
