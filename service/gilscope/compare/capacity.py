"""The search for the highest arrival rate at which a service keeps a latency objective. Pure.

:class:`Search` says which open-loop rate (requests per second) to measure next and is told whether the
objective was kept; it starts nothing, reads no clock and draws no random numbers. Rates are doubled until the
objective breaks, the gap is bisected on a logarithmic scale, and a little below the result is measured again.

Near its capacity a queue's tail is a matter of luck: how long the arrivals of one window happen to bunch up
decides it (Whitt 1989, "Planning Queueing Simulations": windows must grow with 1 / (1 - utilisation)^2). One
measurement therefore proves nothing there. Both ends of the final bracket are measured until one answer leads
by :data:`LEAD`, a sequential test (Wald 1945) that costs one more step each where the answers agree. An end that
turns out to be on the other side moves the bracket beside it, and the bisection goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

PRECISION: Final = 0.05
"""How far apart, as a share, the two ends of the final bracket may be."""
MAX_RATE: Final = 100_000.0
"""Requests per second beyond which nothing is tried."""
MAX_STEPS: Final = 48
"""How many measurements a search takes at most; about 16 are usual."""
FLOOR_RATE: Final = 0.5
"""Requests per second below which nothing is tried: a window of seconds would hold hardly any."""
LEAD: Final = 2
"""By how many measurements one answer must lead the other before an end of the bracket counts as settled."""
CONFIRM_SHARE: Final = 0.9
CONFIRMATIONS: Final = 2
"""How many measurements in a row must keep the objective to confirm a rate."""
RESERVED_STEPS: Final = 6
"""How many of a search's steps are kept for the confirmation, however little the rest agrees."""


class Purpose(StrEnum):
    """What a step is for: to find the order of magnitude, to narrow it down, or to check the result."""

    RAMP = "ramp"
    BISECT = "bisect"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement at ``rate`` requests per second.

    ``kept`` tells whether the objective was kept; None: the measurement was invalid and counts for nothing.
    """

    rate: float
    kept: bool | None
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search has found so far; rates in requests per second.

    Attributes:
        capacity: The highest rate that kept the objective more often than it broke it; None if there is none.
        broken: The lowest rate that broke it more often than it kept it, always above ``capacity``; None if
            there is none.
        confirmed_rate: The rate, :data:`CONFIRM_SHARE` of ``capacity`` or less, that kept it
            :data:`CONFIRMATIONS` times in a row afterwards; None if there is none.
        unsettled: No measurement that counts broke the objective at ``broken``: those there were invalid.
        steps: All measurements in their order.
        note: What a reader must know beside the figures, in a sentence each; empty if nothing.
    """

    capacity: float | None
    broken: float | None
    confirmed_rate: float | None
    steps: tuple[Step, ...]
    note: str
    unsettled: bool = False


class Search:
    """A search from ``begin_rate`` (requests per second); ask :meth:`next_rate`, measure, :meth:`record`, repeat.

    Where every rate up to some C keeps the objective and none beyond does, the capacity found is at most
    ``precision`` below C, after |log2(C / begin_rate)| + 2 steps to ramp, 4 to bisect (for 0.05), 2 to measure
    both ends again and 2 to confirm. Noise adds to that, up to ``max_steps``.

    An invalid measurement is repeated once. After a second one in a row the search goes on as if the rate had broken the
    objective, and where nothing else tells of a rate above the capacity, the outcome is unsettled.

    Raises:
        ValueError: ``begin_rate`` is not within :data:`FLOOR_RATE` to ``max_rate``, ``precision`` not within
            0.001 to 1, or ``max_steps`` leaves none beside :data:`RESERVED_STEPS`.
    """

    def __init__(
        self,
        begin_rate: float,
        *,
        precision: float = PRECISION,
        max_rate: float = MAX_RATE,
        max_steps: int = MAX_STEPS,
    ) -> None:
        if not FLOOR_RATE <= begin_rate <= max_rate < math.inf:
            raise ValueError(
                f"a search begins within {FLOOR_RATE:g} and {max_rate:g} requests/s, not {begin_rate:g}"
            )
        if not 0.001 <= precision <= 1:
            raise ValueError(f"a precision lies within 0.001 to 1, not {precision:g}")
        if max_steps <= RESERVED_STEPS:
            raise ValueError(f"a search takes more than {RESERVED_STEPS} steps, not {max_steps}")
        self._ratio = 1 + precision
        self._max_rate = max_rate
        self._max_steps = max_steps
        self._steps: list[Step] = []
        self._bracket = _Bracket()
        self._check: _Check | None = None
        self._repeating = False
        self._invalid: set[float] = set()
        self._next: tuple[float, Purpose] | None = (begin_rate, Purpose.RAMP)

    def next_rate(self) -> tuple[float, Purpose] | None:
        """Return the rate (requests/s) to measure next and what for; None when the search is over.

        The answer stays the same until :meth:`record` is called.
        """
        return self._next

    def record(self, kept: bool | None) -> None:  # noqa: FBT001 - a measurement's answer, not a switch
        """Take the result of measuring the rate that :meth:`next_rate` gave; None: the measurement was invalid.

        Raises:
            RuntimeError: the search is over.
        """
        if self._next is None:
            raise RuntimeError("the search is over: there is nothing to record")
        rate, purpose = self._next
        self._steps.append(Step(rate, kept, purpose))
        self._repeating = kept is None and not self._repeating
        if not self._repeating:
            if kept is None:
                self._invalid.add(rate)
            self._judge(rate, purpose, kept=bool(kept))
        self._next = self._choose()

    def outcome(self) -> Outcome:
        """Return what has been found so far; final once :meth:`next_rate` is None."""
        confirmed = self._check.rate if self._check is not None and self._check.passed else None
        high = self._bracket.high
        unsettled = high is not None and not any(
            step.rate == high and step.kept is False for step in self._steps
        )
        return Outcome(
            self._bracket.low, high, confirmed, tuple(self._steps), " ".join(self._notes()), unsettled
        )

    def give_up(self) -> None:
        """End the search: nothing can be measured."""
        self._next = None

    def _judge(self, rate: float, purpose: Purpose, *, kept: bool) -> None:
        if purpose is Purpose.CONFIRM and self._check is not None:
            self._check = self._check.judge(self._ratio, kept=kept)
        else:
            self._bracket.judge(rate, kept=kept)

    def _choose(self) -> tuple[float, Purpose] | None:
        if len(self._steps) >= self._max_steps:
            return None
        if self._repeating:
            return self._next
        if len(self._steps) < self._max_steps - RESERVED_STEPS and (seek := self._seek()) is not None:
            return seek
        if self._check is None and self._bracket.low is not None:
            self._check = _Check(max(FLOOR_RATE, CONFIRM_SHARE * self._bracket.low))
        if self._check is None or self._check.passed or self._check.rate < FLOOR_RATE:
            return None
        return self._check.rate, Purpose.CONFIRM

    def _seek(self) -> tuple[float, Purpose] | None:
        """Return what to measure to narrow the bracket or to settle its ends; None when both is done."""
        low, high = self._bracket.low, self._bracket.high
        purpose = Purpose.RAMP if low is None or high is None else Purpose.BISECT
        if (tied := self._bracket.tied) is not None:
            return tied, purpose
        if high is None and low is not None and low < self._max_rate:
            return min(2 * low, self._max_rate), purpose
        if low is None and high is not None and high > FLOOR_RATE:
            return max(high / 2, FLOOR_RATE), purpose
        if low is not None and high is not None and high / low > self._ratio:
            return math.sqrt(low * high), purpose
        return next(((end, purpose) for end in (high, low) if end and not self._bracket.settled(end)), None)

    def _notes(self) -> Iterator[str]:
        if self._bracket.high == FLOOR_RATE and FLOOR_RATE not in self._invalid:
            yield f"Even {FLOOR_RATE:g} requests/s break it."
        if self._bracket.low == self._max_rate:
            yield f"{self._max_rate:,.10g} requests/s kept it: the limit of the search."
        if self._invalid:
            rates = ", ".join(f"{rate:,.4g}" for rate in sorted(self._invalid))
            yield f"Two measurements in a row were invalid at {rates} requests/s: what holds there is not known."
        if self._next is None:
            yield from self._notes_at_end()

    def _notes_at_end(self) -> Iterator[str]:
        low, check = self._bracket.low, self._check
        if self._seek() is not None:
            yield f"The {len(self._steps)} steps of the search ran out before its answers agreed."
        if low is None or check is None:
            return
        if not check.passed:
            yield f"Measured again, no rate down to {self._steps[-1].rate:,.4g} requests/s kept it for certain."
        elif check.failed:
            yield f"Measured again, only {check.rate / low:.0%} of the capacity kept it."


@dataclass(frozen=True, slots=True)
class _Check:
    """The confirmation of a result: ``rate`` was kept ``kept`` times in a row, after ``failed`` higher rates."""

    rate: float
    kept: int = 0
    failed: int = 0

    @property
    def passed(self) -> bool:
        return self.kept >= CONFIRMATIONS

    def judge(self, ratio: float, *, kept: bool) -> _Check:
        if kept:
            return replace(self, kept=self.kept + 1)
        return _Check(self.rate / ratio, failed=self.failed + 1)


@dataclass(slots=True)
class _Bracket:
    """By how much kept leads broken at each rate (negative: the reverse).

    Only rates between the ends, beyond the outermost, or the ends themselves are ever judged, so every kept rate
    lies below every broken one: an end that changes sides leaves its place to its neighbour.
    """

    leads: dict[float, int] = field(default_factory=dict)

    def judge(self, rate: float, *, kept: bool) -> None:
        self.leads[rate] = self.leads.get(rate, 0) + (1 if kept else -1)

    @property
    def low(self) -> float | None:
        return max((rate for rate, lead in self.leads.items() if lead > 0), default=None)

    @property
    def high(self) -> float | None:
        return min((rate for rate, lead in self.leads.items() if lead < 0), default=None)

    @property
    def tied(self) -> float | None:
        """The rate whose answers are at odds; there is never more than one, as it is measured next."""
        return next((rate for rate, lead in self.leads.items() if lead == 0), None)

    def settled(self, rate: float) -> bool:
        return abs(self.leads[rate]) >= LEAD
