"""Looking again and again, at moments that keep no step with anything."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from gilscope.errors import LensError
from gilscope.lens.watch import Watch

RATE_HZ = 200.0
SCAN_S = 0.5
"""How often threads and processes that have come or gone are looked for."""

SETTLE_S = 1.0
"""How often looks are turned into seconds: a share that changes over time is followed second by second."""

JITTER = 0.5
"""Pauses vary by this part of their mean, evenly. At exactly 200 looks per second, every look would fall on the same
point of CPython's switch interval of 5 ms."""


CPU_SHARE = 0.1
"""Share of a core that watching may take: a process with a thousand threads is looked at less often."""


@dataclass(frozen=True, slots=True)
class Timer:
    """The clock and the ways to wait, handed in so that tests need not."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[float, float], float] = random.uniform
    spent: Callable[[], float] = time.thread_time


class Sampler:
    """Takes looks at a fixed mean rate, or less often where those would cost too much; each pause is drawn anew."""

    def __init__(self, watch: Watch, rate_hz: float = RATE_HZ, timer: Timer | None = None) -> None:
        self._watch = watch
        self._pause_s = 1.0 / rate_hz
        self._timer = timer or Timer()

    def run(self, seconds: float) -> int:
        """Look for so long; return how many looks there were. The accounts are settled at the end.

        Raises:
            LensError: the process ended.
        """
        timer = self._timer
        begun = due = timer.now()
        spent_s = timer.spent()
        scan_due, settle_due = begun + SCAN_S, begun + SETTLE_S
        looks = 0
        while (now := timer.now()) < begun + seconds:
            self._watch.look()
            looks += 1
            if now >= scan_due:
                scan_due = now + SCAN_S
                self._rescan()
            if now >= settle_due:
                settle_due = now + SETTLE_S
                self._watch.settle()
            before_s, spent_s = spent_s, timer.spent()
            now = timer.now()
            due = max(due + self._next_pause(spent_s - before_s), now)
            timer.sleep(max(0.0, min(due, begun + seconds) - now))
        self._watch.settle()
        return looks

    def _next_pause(self, cost_s: float) -> float:
        return max(self._pause_s, cost_s / CPU_SHARE) * self._timer.jitter(1 - JITTER, 1 + JITTER)

    def _rescan(self) -> None:
        self._watch.rescan()
        if not self._watch.alive:
            raise LensError("the process that was watched has ended", remedy="see why it ended")
