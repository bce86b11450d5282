"""Locust run by hand: an open loop beside its users, and honest percentiles of a run of any length.

In an open loop each process that sends runs one stream of arrivals, started by Locust's ``test_start`` and not
dispatched as a user: Locust hands out users one by one, and where there are fewer of them than workers, some
workers would get no stream. So the number of users means nothing there, and none is needed.

Latencies are kept raw for the seconds between two reports of a worker, and then in histograms: to encode a histogram
takes 7 ms, which a sender's event loop would add to every request that falls due meanwhile. What was under way
when the test ended counts for as long as it had been waited for.

Times are of ``time.monotonic``, in seconds; latencies are in milliseconds. Locust itself is not imported here,
because it patches the process that imports it: the users come from the Locust file.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from flask import jsonify, request
from gevent.pool import Group

from gilscope.histogram import Histogram
from gilscope.load.options import check_arrivals
from gilscope.quantiles import SOUND_P99

if TYPE_CHECKING:
    from argparse import Namespace

    from flask import Response
    from locust import User
    from locust.env import Environment
    from locust.rpc import Message
    from locust.runners import MasterRunner, WorkerRunner
    from locust.web import WebUI

WORK, PING = "work", "/ping"
"""The names of ``gilscope.load.users``, which cannot be imported without Locust."""

QUANTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p99.9": 0.999}
SOUND = {"p99": SOUND_P99, "p99.9": 10 * SOUND_P99}
"""How many latencies a quantile wants; of fewer it is rough."""

RESET, END, REST = "gilscope-reset", "gilscope-end", "gilscope-rest"
REST_S = 5.0
"""How long a master waits for its workers' last figures, beyond Locust's ``--stop-timeout``."""

_TITLES = f"{'':28}" + "".join(f"{title:>10}" for title in ("count", *QUANTILES, "max"))
_POLL_S = 0.01
_POUR = 100


# --- The books of a process that sends ---------------------------------------------------------------------------


@dataclass
class Batch:
    """What became of one kind of request since the last batch. ``response_ms`` has the ``unanswered`` ones, too."""

    response_ms: list[float] = field(default_factory=list)
    service_ms: list[float] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)
    sent: int = 0
    dropped: int = 0
    failed: int = 0
    unanswered: int = 0


class Books:
    """Books one kind of request: those of an open loop by when they were due, those of a closed one when they end."""

    def __init__(self) -> None:
        self.batch = Batch()
        self._under_way: dict[float, float] = {}

    def sent(self, due_s: float, sent_s: float) -> None:
        """Book that a request that was due has been sent."""
        self._under_way[due_s] = sent_s
        self.batch.sent += 1
        self.batch.lag_ms.append(_ms(due_s, sent_s))

    def dropped(self, due_s: float) -> None:  # noqa: ARG002  the open loop's users say it
        """Book that a request that was due has not been sent: too many were under way."""
        self.batch.dropped += 1

    def ended(self, due_s: float, done_s: float, *, failed: bool) -> None:
        """Book the answer to what was due then; one that was sent before the last reset is not counted."""
        sent_s = self._under_way.pop(due_s, None)
        if sent_s is None:
            return
        if failed:
            self.batch.failed += 1
        else:
            self._took(due_s, sent_s, done_s)

    def closed_loop(self, latency_ms: float, *, failed: bool) -> None:
        """Book a request of a closed loop, which is due when it is sent."""
        self.batch.sent += 1
        if failed:
            self.batch.failed += 1
        else:
            self.batch.response_ms.append(latency_ms)

    def close(self, now_s: float) -> None:
        """Book what is still under way as unanswered: it took at least as long as until now."""
        for due_s, sent_s in self._under_way.items():
            self._took(due_s, sent_s, now_s)
        self.batch.unanswered += len(self._under_way)
        self._under_way.clear()

    def _took(self, due_s: float, sent_s: float, done_s: float) -> None:
        self.batch.response_ms.append(_ms(due_s, done_s))
        self.batch.service_ms.append(_ms(sent_s, done_s))

    def take(self) -> Batch:
        """Return what was booked since the last time."""
        taken, self.batch = self.batch, Batch()
        return taken

    def reset(self) -> None:
        """Forget everything, and what is under way."""
        self.take()
        self._under_way.clear()


def _ms(begin_s: float, end_s: float) -> float:
    # A timer may fire a little early.
    return max(0.0, end_s - begin_s) * 1e3


# --- The figures of a run ----------------------------------------------------------------------------------------


@dataclass
class Line:
    """All that became of one kind of request."""

    response: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    sent: int = 0
    dropped: int = 0
    failed: int = 0
    unanswered: int = 0

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.response.record_many(batch.response_ms)
        self.service.record_many(batch.service_ms)
        self.lag.record_many(batch.lag_ms)
        self.sent += batch.sent
        self.dropped += batch.dropped
        self.failed += batch.failed
        self.unanswered += batch.unanswered

    @property
    def due(self) -> int:
        """How many requests were due: those sent and those dropped."""
        return self.sent + self.dropped

    @property
    def in_flight(self) -> int:
        """How many requests were under way when this was last counted."""
        return self.sent - self.failed - self.response.count


class Totals:
    """The figures of all processes since the last reset, in less than 2 MB however long that was."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.work, self.ping = Line(), Line()
        self._covered_s: dict[str, float] = {}

    def add(self, origin: str, report: dict[str, Any]) -> None:
        """Count what the process ``origin`` reported (:meth:`Load.take`)."""
        self.work.add(Batch(**report["work"]))
        self.ping.add(Batch(**report["ping"]))
        self._covered_s[origin] = self._covered_s.get(origin, 0.0) + report["covered_s"]

    @property
    def seconds(self) -> float:
        """For how long the open loop has run: that of the process in which it ran longest."""
        return max(self._covered_s.values(), default=0.0)

    @property
    def lag(self) -> Histogram:
        """By how much everything that was due was sent too late."""
        both = Histogram()
        both.merge(self.work.lag)
        both.merge(self.ping.lag)
        return both


def part_of(members: Sequence[str], me: str) -> tuple[int, int] | None:
    """Return which part of how many is ``me``'s among these processes; None where it is not one of them."""
    return (members.index(me), len(members)) if me in members else None


def thinned(due_times: Iterable[float], share: Callable[[float], float], seed: int) -> Iterator[float]:
    """Yield of these due times (s) the ``share`` (0 to 1) that is wanted at each.

    Of a Poisson process of rate R that is one of rate R times share (Lewis & Shedler 1979).
    """
    random = Random(seed)
    return (due_s for due_s in due_times if random.random() < share(due_s))


# --- What a user reads -------------------------------------------------------------------------------------------


def describe(totals: Totals, options: Namespace, processes: int, silent: int = 0) -> str:
    """Return the table of a run; ``silent`` workers did not send their last figures."""
    opened = options.rate > 0
    rows = _open_rows(totals, options, processes) if opened else _closed_rows(totals)
    if any(line.response.count < SOUND["p99.9"] for line in (totals.work, totals.ping)):
        rows.append("~ rough: a p99 wants 2 000 requests, a p99.9 20 000")
    rows += _open_notes(totals) if opened else _closed_notes(totals)
    ping = totals.ping
    if ping.failed or ping.dropped:
        rows.append(f"/ping: {ping.failed} failed, {ping.dropped} dropped; they are not in its percentiles")
    if silent:
        rows.append(f"{_counted(silent, 'worker')} did not send the last figures: what is above lacks them")
    return "\n".join(rows) + "\n"


def _open_rows(totals: Totals, options: Namespace, processes: int) -> list[str]:
    shape = getattr(options, "shape", None)
    rate = f"{options.rate:g}/s" + (f" at the peak of a {shape}" if shape else "")
    loop = f"open loop, {rate}, {options.arrivals}, seed {options.seed}"
    return [
        f"gilscope: {loop}, {_counted(processes, 'sending process', 'es')}; milliseconds",
        _TITLES,
        _row("work response, from when due", totals.work.response),
        _row("work service, from send", totals.work.service),
        _row("/ping, from when due", totals.ping.response),
    ]


def _closed_rows(totals: Totals) -> list[str]:
    return [
        "gilscope: closed loop; milliseconds",
        _TITLES,
        _row("work, from send", totals.work.response),
        _row("/ping, from when due", totals.ping.response),
    ]


def _counted(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{plural if number != 1 else ''}"


def _row(title: str, latencies: Histogram) -> str:
    count = latencies.count
    if not count:
        return f"{title:28}{count:10}" + f"{'-':>10}" * (len(QUANTILES) + 1)
    shown = [
        f"{'~' if count < SOUND.get(name, 0) else ''}{latencies.quantile(q):.3f}"
        for name, q in QUANTILES.items()
    ]
    return f"{title:28}{count:10}" + "".join(f"{value:>10}" for value in (*shown, f"{latencies.max_ms:.3f}"))


def _lag(totals: Totals) -> str:
    lag = totals.lag
    if not lag.count:
        return "nothing was due"
    return f"dispatch lag p50/p99 {lag.quantile(0.5):.2f}/{lag.quantile(0.99):.2f} ms: finer differences cannot be seen"


def _open_notes(totals: Totals) -> list[str]:
    work = totals.work
    offered = work.due / totals.seconds if totals.seconds else 0.0
    counts = f"due {work.due}, sent {work.sent}, dropped {work.dropped}, failed {work.failed}"
    notes = [f"offered {offered:.1f}/s ({counts}), {_lag(totals)}"]
    if work.unanswered:
        notes.append(
            f"{work.unanswered} unanswered at the end, counted for as long as they had been waited for"
        )
    if work.in_flight > 0:
        notes.append(f"{work.in_flight} under way, not yet in the percentiles")
    if work.dropped or work.failed:
        notes.append(
            "dropped and failed requests are not in the percentiles: without them they look too good"
        )
    return notes


def _closed_notes(totals: Totals) -> list[str]:
    return [
        f"sent {totals.work.sent}, failed {totals.work.failed}; /ping: {_lag(totals)}",
        "a closed loop waits for stalls: what would have been sent meanwhile is in no percentile of work",
        "(--rate R sends R requests per second whatever happens)",
    ]


# --- Locust's side -----------------------------------------------------------------------------------------------


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
        self._epoch = 0
        self._covered_s = 0.0
        self._since: float | None = None
        events = environment.events
        events.request.add_listener(self._on_request)
        events.test_stopping.add_listener(lambda **_: self.end())
        events.test_stop.add_listener(lambda **_: self._close())

    def begin(self, epoch: int, part: tuple[int, int] | None) -> None:
        """Begin a test; in an open loop this is the part of the arrivals that is sent from here, if any is."""
        self.end()
        self.reset(epoch)
        # Without a host, Locust's own users end the test and say so.
        if part is None or not is_open(self._environment) or not self._environment.host:
            return
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
            _add_page(environment.web_ui, self.text)

    def start(self) -> None:
        """Begin a test."""
        raise NotImplementedError

    def reset(self) -> None:
        """Count from here on."""
        self.epoch += 1
        self.totals.reset()

    def text(self) -> str:
        """Return the table as it is now."""
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


def _add_page(web_ui: WebUI, text: Callable[[], str]) -> None:
    """Show the table at ``/gilscope``, and refuse what the command line would refuse."""
    app, base = web_ui.app, _options(web_ui.environment).web_base_path or ""
    assert app is not None

    def page() -> Response:
        return app.response_class(text(), mimetype="text/plain")

    def refuse() -> Response | None:
        if request.path != f"{base}/swarm":
            return None
        try:
            check_arrivals(request.form.to_dict())
        except ValueError as problem:
            return jsonify({"success": False, "message": str(problem), "host": web_ui.environment.host})
        return None

    app.add_url_rule(f"{base}/gilscope", "gilscope", web_ui.auth_required_if_enabled(page))
    app.before_request(refuse)
