"""The figures of a run of any length: what a process that sends has done, what all of them add up to, and how it reads. Pure.

Latencies are kept raw for the seconds between two reports of a worker, and then in histograms: to encode a histogram
takes 7 ms, which a sender's event loop would add to every request that falls due meanwhile. What was under way
when the test ended counts for as long as it had been waited for.

Times are of one monotonic clock, in seconds; latencies are in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from gilscope.histogram import Histogram
from gilscope.quantiles import SOUND_P99

if TYPE_CHECKING:
    from argparse import Namespace

WORK, PING = "work", "/ping"
"""The names of ``gilscope.load.users``, which cannot be imported without Locust."""

QUANTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p99.9": 0.999}
SOUND = {"p99": SOUND_P99, "p99.9": 10 * SOUND_P99}
"""How many latencies a quantile wants; of fewer it is rough."""

_TITLES = f"{'':28}" + "".join(f"{title:>10}" for title in ("count", *QUANTILES, "max"))


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


class Observer:
    """Told of everything that is booked, as it happens, in seconds. This one does not care."""

    def on_sent(self, lag_s: float | None) -> None:
        """A request was sent, so much later than it was due; None in a closed loop."""

    def on_dropped(self) -> None:
        """A request was due and not sent."""

    def on_answered(self, response_s: float | None, service_s: float) -> None:
        """An answer came, counted from when it was due (None in a closed loop) and from when it was sent."""

    def on_failed(self) -> None:
        """A request failed."""


class Books:
    """Books one kind of request: those of an open loop by when they were due, those of a closed one when they end."""

    def __init__(self) -> None:
        self.batch = Batch()
        self.observer = Observer()
        self._under_way: dict[float, float] = {}

    @property
    def under_way(self) -> int:
        """How many requests of an open loop are under way."""
        return len(self._under_way)

    def sent(self, due_s: float, sent_s: float) -> None:
        """Book that a request that was due has been sent."""
        self._under_way[due_s] = sent_s
        self.batch.sent += 1
        lag_ms = _ms(due_s, sent_s)
        self.batch.lag_ms.append(lag_ms)
        self.observer.on_sent(lag_ms / 1e3)

    def dropped(self, due_s: float) -> None:  # noqa: ARG002  the open loop's users say it
        """Book that a request that was due has not been sent: too many were under way."""
        self.batch.dropped += 1
        self.observer.on_dropped()

    def ended(self, due_s: float, done_s: float, *, failed: bool) -> None:
        """Book the answer to what was due then; one that was sent before the last reset is not counted."""
        sent_s = self._under_way.pop(due_s, None)
        if sent_s is None:
            return
        if failed:
            self._failed()
            return
        self._took(due_s, sent_s, done_s)
        self.observer.on_answered(max(0.0, done_s - due_s), max(0.0, done_s - sent_s))

    def closed_loop(self, latency_ms: float, *, failed: bool) -> None:
        """Book a request of a closed loop, which is due when it is sent."""
        self.batch.sent += 1
        self.observer.on_sent(None)
        if failed:
            self._failed()
            return
        self.batch.response_ms.append(latency_ms)
        self.observer.on_answered(None, latency_ms / 1e3)

    def _failed(self) -> None:
        self.batch.failed += 1
        self.observer.on_failed()

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


def describe(totals: Totals, options: Namespace, processes: int, silent: int = 0) -> str:
    """Return the table of a run; ``silent`` workers did not send their last figures."""
    opened = options.rate > 0
    rows = [f"gilscope: {headline(options, processes)}; milliseconds", _TITLES]
    rows += [_row(title, latencies) for title, latencies in lines(totals, options)]
    if any(line.response.count < SOUND["p99.9"] for line in (totals.work, totals.ping)):
        rows.append("~ rough: a p99 wants 2 000 requests, a p99.9 20 000")
    rows += _open_notes(totals) if opened else _closed_notes(totals)
    ping = totals.ping
    if ping.failed or ping.dropped:
        rows.append(f"/ping: {ping.failed} failed, {ping.dropped} dropped; they are not in its percentiles")
    if silent:
        rows.append(f"{_counted(silent, 'worker')} did not send the last figures: what is above lacks them")
    return "\n".join(rows) + "\n"


def headline(options: Namespace, processes: int = 0) -> str:
    """Say what is sent, and how; by how many processes, where that is known."""
    work = f"{options.own_workload or options.workload} on {options.backend}"
    if not options.rate:
        return f"{work}, closed loop"
    shape = getattr(options, "shape", None)
    rate = f"{options.rate:g}/s" + (f" at the peak of a {shape}" if shape else "")
    loop = f"open loop, {rate}, {options.arrivals}, seed {options.seed}"
    senders = f", {_counted(processes, 'sending process', 'es')}" if processes else ""
    return f"{work}, {loop}{senders}"


def lines(totals: Totals, options: Namespace) -> list[tuple[str, Histogram]]:
    """Return what there are latencies of, with its title."""
    work, ping = totals.work, ("/ping, from when due", totals.ping.response)
    if not options.rate:
        return [("work, from send", work.response), ping]
    return [
        ("work response, from when due", work.response),
        ("work service, from send", work.service),
        ping,
    ]


def _counted(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{plural if number != 1 else ''}"


def figures(latencies: Histogram) -> list[str]:
    """Return count, quantiles and maximum (ms) as they are written; ``~`` marks those that are rough."""
    count = latencies.count
    if not count:
        return ["0", *["-"] * (len(QUANTILES) + 1)]
    shown = [
        f"{'~' if count < SOUND.get(name, 0) else ''}{latencies.quantile(q):.3f}"
        for name, q in QUANTILES.items()
    ]
    return [str(count), *shown, f"{latencies.max_ms:.3f}"]


def _row(title: str, latencies: Histogram) -> str:
    return f"{title:28}" + "".join(f"{value:>10}" for value in figures(latencies))


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
