"""Records every latency unrounded. Times are of one monotonic clock, in seconds; no gevent, no Locust."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from gilscope.model import ProbeSamples, Samples, WorkSamples
from gilscope.quantiles import quantile

STAGES = ("queue", "run", "cpu", "suspended", "return", "total")
MAX_ERROR_TEXT = 20_000


def parse_server_timing(header: str) -> tuple[float, ...]:
    """Return the milliseconds of :data:`STAGES` from our service's ``Server-Timing`` header.

    Raises:
        ValueError: the header is not one of ours.
    """
    parts = header.split(", ")
    if len(parts) != len(STAGES):
        raise ValueError(f"not a Server-Timing header of gilscope: {header!r}")
    return tuple(float(part.partition(";dur=")[2]) for part in parts)


def _columns() -> list[array[float]]:
    return [array("d") for _ in range(2 + len(STAGES))]


@dataclass(slots=True)
class Recorder:
    """Collects work answers, errors and pings until it is closed; then :meth:`samples` cuts out the window.

    A work request belongs to the window in which it finished, a ping to the one in which it was due: what
    was due in a stall must not get lost because its answer came late.
    """

    closed: bool = False
    first_error: str | None = None
    _work: list[array[float]] = field(default_factory=_columns)
    _error_times: array[float] = field(default_factory=lambda: array("d"))
    _due: array[float] = field(default_factory=lambda: array("d"))
    _lag: array[float] = field(default_factory=lambda: array("d"))
    _answered_due: array[float] = field(default_factory=lambda: array("d"))
    _answered_ms: array[float] = field(default_factory=lambda: array("d"))

    def work(self, done_s: float, latency_ms: float, server_timing: str) -> None:
        """Record a successful work request."""
        if self.closed:
            return
        values = (done_s, latency_ms, *parse_server_timing(server_timing))
        for column, value in zip(self._work, values, strict=True):
            column.append(value)

    def error(self, done_s: float, text: str) -> None:
        """Record a failed work request; the first text is kept."""
        if self.closed:
            return
        self._error_times.append(done_s)
        if self.first_error is None:
            self.first_error = text[:MAX_ERROR_TEXT]

    def dispatched(self, due_s: float, sent_s: float) -> None:
        """Record that a ping that was due has been sent."""
        if not self.closed:
            self._due.append(due_s)
            self._lag.append(sent_s - due_s)

    def answered(self, due_s: float, done_s: float) -> None:
        """Record that a ping was answered."""
        if not self.closed:
            self._answered_due.append(due_s)
            self._answered_ms.append((done_s - due_s) * 1e3)

    def probes_due(self, start_s: float, end_s: float) -> int:
        """How many pings were due from ``start_s`` up to ``end_s``."""
        return sum(start_s <= due < end_s for due in self._due)

    def probes_answered(self, start_s: float, end_s: float) -> int:
        """How many of the pings due from ``start_s`` up to ``end_s`` have been answered."""
        return sum(start_s <= due < end_s for due in self._answered_due)

    def settled(self, start_s: float, end_s: float) -> bool:
        """Whether every ping due from ``start_s`` up to ``end_s`` has been sent and answered.

        Pings are sent in the order in which they are due: once one due later has been sent, all have been.
        """
        all_sent = bool(self._due) and self._due[-1] >= end_s
        return all_sent and self.probes_answered(start_s, end_s) == self.probes_due(start_s, end_s)

    def errors(self, start_s: float, end_s: float) -> int:
        """How many work requests failed from ``start_s`` up to ``end_s``."""
        return sum(start_s <= at < end_s for at in self._error_times)

    def dispatch_lag_p99_ms(self, start_s: float, end_s: float) -> float:
        """How late the generator sent its pings, p99 in ms: the resolution floor of its figures (0: none sent)."""
        lags = sorted(lag for due, lag in zip(self._due, self._lag, strict=True) if start_s <= due < end_s)
        return quantile(lags, 0.99) * 1e3 if lags else 0.0

    def samples(self, start_s: float, end_s: float) -> Samples:
        """Return what belongs to the window from ``start_s`` up to ``end_s``, times counted from its start."""
        inside = [index for index, done in enumerate(self._work[0]) if start_s <= done < end_s]
        done_s, *others = ([column[index] for index in inside] for column in self._work)
        latency_ms, queue_ms, run_ms, cpu_ms, suspended_ms, return_ms, total_ms = others
        pings = [
            (due - start_s, latency)
            for due, latency in zip(self._answered_due, self._answered_ms, strict=True)
            if start_s <= due < end_s
        ]
        return Samples(
            window_s=end_s - start_s,
            work=WorkSamples(
                [done - start_s for done in done_s],
                latency_ms,
                queue_ms,
                run_ms,
                cpu_ms,
                suspended_ms,
                return_ms,
                total_ms,
            ),
            probe=ProbeSamples([due for due, _ in pings], [latency for _, latency in pings]),
        )
