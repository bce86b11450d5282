"""Records every latency unrounded. Times are of one monotonic clock, in seconds; no gevent, no Locust."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from gilscope.load.stream import Stream
from gilscope.model import ProbeSamples, Samples, Unanswered, WorkSamples

STAGES = ("queue", "run", "cpu", "suspended", "return", "total")
MAX_ERROR_TEXT = 20_000
AT_ONCE = 1_000
"""How many requests are cut out before others get a turn: some milliseconds' worth."""


def parse_server_timing(header: str) -> tuple[float, ...]:
    """Return the milliseconds of :data:`STAGES` from our service's ``Server-Timing`` header.

    Raises:
        ValueError: the header is not one of ours.
    """
    parts = header.split(", ")
    if len(parts) != len(STAGES):
        raise ValueError(f"not a Server-Timing header of gilscope: {header!r}")
    return tuple(float(part.partition(";dur=")[2]) for part in parts)


def _column() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Recorder:
    """Collects work answers, errors and pings until it is closed; then :meth:`samples` cuts out the window.

    A closed loop's work request belongs to the window in which it finished; an open loop's, and a ping, to the one in
    which it was due: what was due in a stall must not get lost because its answer came late.
    """

    closed: bool = False
    first_error: str | None = None
    pings: Stream = field(default_factory=Stream)
    arrivals: Stream = field(default_factory=Stream)
    _work_at: array[float] = field(default_factory=_column)
    _work_ms: array[float] = field(default_factory=_column)
    _work_sent_ms: array[float] = field(default_factory=_column)
    _work_stages: list[str] = field(default_factory=list)
    _error_times: array[float] = field(default_factory=_column)
    _ended: array[float] = field(default_factory=_column)
    _took: array[float] = field(default_factory=_column)
    _failed_due: array[float] = field(default_factory=_column)
    _answered_due: array[float] = field(default_factory=_column)
    _answered_ms: array[float] = field(default_factory=_column)

    def work(
        self,
        done_s: float,
        latency_ms: float,
        server_timing: str,
        due_s: float | None = None,
        wire_ms: float | None = None,
    ) -> None:
        """Record a successful work request, ``latency_ms`` from its send; ``due_s`` is when an open loop wanted it sent.

        ``wire_ms`` is the latency without what the generator itself did meanwhile, where that is known.
        The header is read in :meth:`samples`: under load, that would be most of what recording costs.
        """
        if self.closed:
            return
        from_send_ms = latency_ms if wire_ms is None else wire_ms
        at_s, response_ms = done_s, from_send_ms
        if due_s is not None:
            self.arrivals.ended(due_s, done_s)
            at_s, response_ms = due_s, (done_s - due_s) * 1e3
        self._work_at.append(at_s)
        self._work_ms.append(response_ms)
        self._work_sent_ms.append(from_send_ms)
        self._work_stages.append(server_timing)
        self._flew(done_s, latency_ms)

    def error(self, done_s: float, latency_ms: float, text: str, due_s: float | None = None) -> None:
        """Record a failed work request, ``latency_ms`` from its send; the first text is kept."""
        if self.closed:
            return
        self._flew(done_s, latency_ms)
        if due_s is not None:
            self.arrivals.ended(due_s, done_s)
        self._error_times.append(done_s if due_s is None else due_s)
        if self.first_error is None:
            self.first_error = text[:MAX_ERROR_TEXT]

    def answered(self, due_s: float, done_s: float) -> None:
        """Record that a ping was answered."""
        if not self.closed:
            self.pings.ended(due_s, done_s)
            self._answered_due.append(due_s)
            self._answered_ms.append((done_s - due_s) * 1e3)

    def _flew(self, done_s: float, latency_ms: float) -> None:
        self._ended.append(done_s)
        self._took.append(latency_ms / 1e3)

    def flight_s(self, start_s: float, end_s: float) -> float:
        """Return for how many seconds of the window all work together was under way, by its own latencies from send.

        Of a closed loop, what has not ended yet is missing.
        """
        known = (
            max(0.0, min(done, end_s) - max(done - took, start_s))
            for done, took in zip(self._ended, self._took, strict=True)
        )
        return sum(known) + self.arrivals.still_under_way_s(start_s, end_s)

    def failed(self, due_s: float, done_s: float) -> None:
        """Record that a ping failed: it is waited for no longer, and has no latency."""
        if not self.closed:
            self.pings.ended(due_s, done_s)
            self._failed_due.append(due_s)

    def probes_failed(self, start_s: float, end_s: float) -> int:
        """How many of the pings due from ``start_s`` up to ``end_s`` have failed."""
        return sum(start_s <= due < end_s for due in self._failed_due)

    def probes_answered(self, start_s: float, end_s: float) -> int:
        """How many of the pings due from ``start_s`` up to ``end_s`` have been answered."""
        return sum(start_s <= due < end_s for due in self._answered_due)

    def settled(self, start_s: float, end_s: float, *, pings: bool = True, work: bool = False) -> bool:
        """Whether everything due from ``start_s`` up to ``end_s`` has been sent and has ended, of the streams that run."""
        streams = [*([self.pings] if pings else ()), *([self.arrivals] if work else ())]
        return all(stream.settled(start_s, end_s) for stream in streams)

    def errors(self, start_s: float, end_s: float) -> int:
        """How many work requests failed from ``start_s`` up to ``end_s``."""
        return sum(start_s <= at < end_s for at in self._error_times)

    def lags(self, start_s: float, end_s: float) -> list[float]:
        """Return, in ascending order, how many seconds late everything due from ``start_s`` up to ``end_s`` was sent."""
        return sorted([*self.pings.lags(start_s, end_s), *self.arrivals.lags(start_s, end_s)])

    def samples(
        self,
        start_s: float,
        end_s: float,
        now_s: float,
        *,
        work: bool = False,
        pause: Callable[[], object] = lambda: None,
    ) -> Samples:
        """Return what belongs to the window from ``start_s`` up to ``end_s``, times counted from its start.

        ``work`` says that the work came in an open loop. What is still under way at ``now_s`` counts for as long as it
        has been waited for. ``pause`` is called after each :data:`AT_ONCE` requests, the recorder being closed: of a long
        window there are so many that whoever else runs in this process must not wait for all of them.

        Raises:
            ValueError: an answer has no ``Server-Timing`` of ours.
        """
        columns: list[list[float]] = [[] for _ in range(len(STAGES) + 3)]
        for begin in range(0, len(self._work_at), AT_ONCE):
            for row in self._rows(range(begin, min(begin + AT_ONCE, len(self._work_at))), start_s, end_s):
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
            pause()
        return Samples(
            window_s=end_s - start_s,
            work=WorkSamples(*(columns if work else columns[:-1])),
            probe=self._probe(start_s, end_s, now_s),
            unanswered=_unanswered(self.arrivals.waiting(start_s, end_s), start_s, now_s),
            failed_s=tuple(at - start_s for at in self._error_times if start_s <= at < end_s),
            carried_s=tuple(done - start_s for done in self._carried(start_s, end_s)) if work else (),
        )

    def _rows(self, indices: range, start_s: float, end_s: float) -> Iterator[tuple[float, ...]]:
        """Yield those of some requests that belong to the window, in the order of :class:`WorkSamples`."""
        for index in indices:
            if start_s <= (at := self._work_at[index]) < end_s:
                stages = parse_server_timing(self._work_stages[index])
                yield at - start_s, self._work_ms[index], *stages, self._work_sent_ms[index]

    def _probe(self, start_s: float, end_s: float, now_s: float) -> ProbeSamples:
        pings = [
            (due - start_s, latency)
            for due, latency in zip(self._answered_due, self._answered_ms, strict=True)
            if start_s <= due < end_s
        ]
        lost = _unanswered(self.pings.waiting(start_s, end_s), start_s, now_s)
        return ProbeSamples(
            [*(due for due, _ in pings), *lost.due_s], [*(latency for _, latency in pings), *lost.waited_ms]
        )

    def _carried(self, start_s: float, end_s: float) -> list[float]:
        """When work that was due before the window was answered within it."""
        done = [
            due + latency / 1e3
            for due, latency in zip(self._work_at, self._work_ms, strict=True)
            if due < start_s
        ]
        return [at for at in done if start_s <= at < end_s]


def _unanswered(due: Sequence[float], start_s: float, now_s: float) -> Unanswered:
    return Unanswered(tuple(at - start_s for at in due), tuple((now_s - at) * 1e3 for at in due))
