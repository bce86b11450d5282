"""The books of one open loop: what was due, when it was sent, what is still under way. Pure.

Times are of one monotonic clock, in seconds.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field


def _times() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Stream:
    """What became of the requests of one open loop. They are sent, or dropped, in the order in which they are due."""

    _due: array[float] = field(default_factory=_times)
    _lag: array[float] = field(default_factory=_times)
    _dropped: array[float] = field(default_factory=_times)
    _under_way: dict[float, float] = field(default_factory=dict)
    _reached: float = float("-inf")
    _flight_s: float = 0.0
    _changed: float = 0.0

    def sent(self, due_s: float, sent_s: float) -> None:
        """Book that a request that was due has been sent."""
        self._advance(sent_s)
        self._due.append(due_s)
        self._lag.append(sent_s - due_s)
        self._under_way[due_s] = sent_s
        self._reached = due_s

    def dropped(self, due_s: float) -> None:
        """Book that a request that was due has not been sent: too many were under way."""
        self._dropped.append(due_s)
        self._reached = due_s

    def ended(self, due_s: float, done_s: float) -> float:
        """Book the answer, or the failure, of the request that was due then; return when it was sent."""
        self._advance(done_s)
        return self._under_way.pop(due_s, due_s)

    def _advance(self, now_s: float) -> None:
        self._flight_s += len(self._under_way) * (now_s - self._changed)
        self._changed = now_s

    def flight_s(self, now_s: float) -> float:
        """Return the seconds that all requests together have been under way until now."""
        return self._flight_s + len(self._under_way) * (now_s - self._changed)

    def due_within(self, start_s: float, end_s: float) -> int:
        """How many requests were due from ``start_s`` up to ``end_s``, the dropped ones included."""
        return sum(start_s <= due < end_s for due in self._due) + self.dropped_within(start_s, end_s)

    def sent_within(self, start_s: float, end_s: float) -> int:
        """How many requests were sent from ``start_s`` up to ``end_s``, or dropped."""
        sent = (due + lag for due, lag in zip(self._due, self._lag, strict=True))
        return sum(start_s <= at < end_s for at in sent) + self.dropped_within(start_s, end_s)

    def dropped_within(self, start_s: float, end_s: float) -> int:
        """How many of the requests due from ``start_s`` up to ``end_s`` were dropped."""
        return sum(start_s <= due < end_s for due in self._dropped)

    def lags(self, start_s: float, end_s: float) -> list[float]:
        """Return by how many seconds each request due from ``start_s`` up to ``end_s`` was sent too late."""
        return [lag for due, lag in zip(self._due, self._lag, strict=True) if start_s <= due < end_s]

    def waiting(self, start_s: float, end_s: float) -> list[float]:
        """Return when those were due, from ``start_s`` up to ``end_s``, that are still under way."""
        return [due for due in self._under_way if start_s <= due < end_s]

    def still_under_way_s(self, start_s: float, end_s: float) -> float:
        """Return for how many seconds from ``start_s`` up to ``end_s`` those were under way that still are."""
        return sum(max(0.0, end_s - max(sent, start_s)) for sent in self._under_way.values())

    def settled(self, start_s: float, end_s: float) -> bool:
        """Whether every request due from ``start_s`` up to ``end_s`` has been sent and has ended."""
        return self._reached >= end_s and not self.waiting(start_s, end_s)
