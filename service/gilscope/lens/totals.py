"""Seconds by role that only ever grow, whatever threads and processes come and go. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gilscope.lens.ledger import NO_SPAN, NOTHING, Span, add_up
from gilscope.lens.watch import ThreadSpan
from gilscope.model import StateSeconds, ThreadRole


def nothing_yet() -> dict[ThreadRole, StateSeconds]:
    """Return no time at all, of every role."""
    return dict.fromkeys(ThreadRole, NOTHING)


@dataclass(slots=True)
class Totals:
    """Adds up what threads gain, in the role that they have by then.

    A thread's role is known some time after its start only, once it has made its mark. To move what it had until
    then from one role to another would make a counter fall.
    """

    seconds: dict[ThreadRole, StateSeconds] = field(default_factory=nothing_yet)
    inside: dict[ThreadRole, StateSeconds] = field(default_factory=nothing_yet)
    """Those inside the measured function."""
    _known: dict[tuple[int, int], Span] = field(default_factory=dict)

    def add(self, ended: Iterable[ThreadSpan], living: Iterable[ThreadSpan]) -> None:
        """Take in the spans of threads that have ended since the last time, and of all that live."""
        for thread in ended:  # First: another thread may have the number of one of them by now.
            self._gain(thread, self._known.pop((thread.pid, thread.tid), NO_SPAN))
        for thread in living:
            key = thread.pid, thread.tid
            self._gain(thread, self._known.get(key, NO_SPAN))
            self._known[key] = thread.span

    def _gain(self, thread: ThreadSpan, before: Span) -> None:
        span = thread.span
        self.seconds[thread.role] = add_up((self.seconds[thread.role], _increase(before.all, span.all)))
        self.inside[thread.role] = add_up((self.inside[thread.role], _increase(before.inside, span.inside)))


def _increase(before: StateSeconds, after: StateSeconds) -> StateSeconds:
    """Return what a thread gained; never less than nothing, and nothing where it is not known."""
    return StateSeconds(
        max(0.0, after.on_cpu_s - before.on_cpu_s),
        max(0.0, after.runqueue_s - before.runqueue_s),
        max(0.0, after.gil_wait_s - before.gil_wait_s),
        max(0.0, after.blocked_s - before.blocked_s),
        max(0.0, (after.gil_held_s or 0.0) - (before.gil_held_s or 0.0)),
    )
