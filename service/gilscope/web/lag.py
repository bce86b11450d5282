"""How late the event loop runs what is due: what every timer, new connection and finished call has to wait for it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator

TICKS_PER_S = 20.0
"""Mean rate of the ticks."""


def poisson_gaps(rate_hz: float = TICKS_PER_S) -> Iterator[float]:
    """Yield the seconds between the arrivals of a Poisson process.

    Ticks at an even 50 ms, ten of CPython's switch intervals, could fall into step with threads that hand the GIL
    around. Poisson arrivals see time averages (Wolff 1982, https://doi.org/10.1287/opre.30.2.223).
    """
    draw = random.Random().expovariate
    while True:
        yield draw(rate_hz)


class LoopLag:
    """Tells ``observe`` how late each tick ran, in seconds, on a schedule that the loop cannot delay.

    A loop that stands still for a second is late for all the twenty ticks that came due meanwhile, for the first by a
    second and for the last by next to nothing, as it is late for whatever else came due then. A schedule that waited
    for the loop would have one late tick for the whole stall among many that were on time: coordinated omission,
    which hides stalls from every percentile.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        observe: Callable[[float], None],
        gaps: Iterator[float] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; ``gaps`` are the seconds from one tick to the next.

        ``now`` is not the loop's own clock, because uvloop's stands still while callbacks run. asyncio's is the same.
        """
        self._loop, self._observe, self._now = loop, observe, now
        self._gaps = gaps or poisson_gaps()
        self._due = now() + next(self._gaps)
        self._wait(now())

    def _wait(self, now: float) -> None:
        self._timer = self._loop.call_later(self._due - now, self._tick)

    def _tick(self) -> None:
        now = self._now()
        self._count(
            max(0.0, now - self._due)
        )  # uvloop rounds to the nearest millisecond: too early is on time
        while self._due <= now:
            self._count(now - self._due)
        self._wait(now)

    def _count(self, late_s: float) -> None:
        self._observe(late_s)
        self._due += next(self._gaps)

    def stop(self) -> None:
        """End; nothing of it stays in the loop."""
        self._timer.cancel()
