"""Every request of a window, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkSamples:
    """Successful work requests of one window, a column each, equally long, in the order they finished.

    ``at_s`` counts from the window's start: in a closed loop when the answer was in, in an open loop when the request
    was due. ``latency_ms`` is the client's, from send in a closed loop and from when it was due in an open one; there
    ``service_ms`` is the latency from send (empty in a closed loop, where both are one). The others are the service's
    own stamps of the same request (``total_ms`` from accepted to answered; ``suspended_ms`` is the part of
    ``run_ms`` for which a coroutine was not on its thread, 0 for a plain function).
    """

    at_s: Sequence[float]
    latency_ms: Sequence[float]
    queue_ms: Sequence[float]
    run_ms: Sequence[float]
    cpu_ms: Sequence[float]
    suspended_ms: Sequence[float]
    return_ms: Sequence[float]
    total_ms: Sequence[float]
    service_ms: Sequence[float] = ()

    @property
    def from_send_ms(self) -> Sequence[float]:
        """The latency of each request from when it was sent, in either loop."""
        return self.service_ms or self.latency_ms


@dataclass(frozen=True, slots=True)
class ProbeSamples:
    """Pings of one window: when each was due (from the window's start) and how long its answer took from then.

    A ping that was never answered counts for as long as it was waited for.
    """

    due_s: Sequence[float]
    latency_ms: Sequence[float]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Requests of an open loop's window that were never answered: when each was due, and how long it was waited for."""

    due_s: Sequence[float] = ()
    waited_ms: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw observations of one trial's measured window.

    Of an open loop's requests those belong to the window that were due in it. ``carried_s`` are the times (from the
    window's start) at which answers to earlier ones came in: they count for the throughput alone. ``failed_s`` are the
    times of requests that failed, as those of :class:`WorkSamples`.
    """

    window_s: float
    work: WorkSamples
    probe: ProbeSamples
    unanswered: Unanswered = Unanswered()
    carried_s: Sequence[float] = ()
    failed_s: Sequence[float] = ()

    @property
    def open(self) -> bool:
        """Whether the work came in an open loop."""
        return bool(self.work.service_ms or self.carried_s or self.unanswered.due_s)

    @property
    def done_s(self) -> list[float]:
        """When answers came in, from the window's start, those within the window alone."""
        if not self.open:
            return list(self.work.at_s)
        done = (at + latency / 1e3 for at, latency in zip(self.work.at_s, self.work.latency_ms, strict=True))
        return [*self.carried_s, *(at for at in done if at < self.window_s)]

    @property
    def latencies_ms(self) -> list[float]:
        """The latency of everything that belongs to the window.

        What was not answered took as long as it was waited for, and what failed as long as the slowest: otherwise, who fails
        what takes long would seem quick.
        """
        known = [*self.work.latency_ms, *self.unanswered.waited_ms]
        return [*known, *[max(known)] * len(self.failed_s)] if known else []
