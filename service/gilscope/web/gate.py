"""The way into a backend: how many calls may be in it, and for how long somebody waits for one."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import NamedTuple

from gilscope.backends.base import Backend
from gilscope.errors import BackendFullError
from gilscope.model import BackendName

BACKLOG = 1_000
"""How many calls may wait for a worker of each backend, unless asked otherwise."""

TIME_LIMIT_S = 60.0
"""How long a request may take, unless asked otherwise."""

HURRIED_INTERVAL_S = 0.000_5
"""The switch interval while requests are refused: a tenth of CPython's default."""

CALM_S = 1.0
"""How long nobody may be refused before the switch interval is again what it was."""


HEED_S = 1.0
"""How long a call has to end once it is cancelled: it may have something to clean up."""


class Hurry:
    """Has threads that compute give up the GIL sooner for as long as requests are refused.

    The event loop asks for the GIL after each system call, and a refusal takes some: at the usual interval of 5 ms it could
    not refuse as many as come, and whoever asks for its health would wait behind them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._usual_s: float | None = None
        self._refused_at = 0.0

    def refused(self) -> None:
        """Say that a request is refused."""
        self._refused_at = self._loop.time()
        if self._usual_s is None and (usual_s := sys.getswitchinterval()) > HURRIED_INTERVAL_S:
            self._usual_s = usual_s
            sys.setswitchinterval(HURRIED_INTERVAL_S)
            self._loop.call_later(CALM_S, self._look)

    def _look(self) -> None:
        calm_in_s = self._refused_at + CALM_S - self._loop.time()
        if calm_in_s > 0:
            self._loop.call_later(calm_in_s, self._look)
        else:
            self.stop()

    def stop(self) -> None:
        """Let the switch interval be what it was."""
        if self._usual_s is not None:
            sys.setswitchinterval(self._usual_s + 0.5e-6)  # CPython cuts it to whole microseconds
            self._usual_s = None


class Gate:
    """Lets calls into one backend as long as there is room: a call per worker, and ``backlog`` that wait for one."""

    def __init__(
        self, name: BackendName, backend: Backend, backlog: int, refused: Callable[[], None]
    ) -> None:
        """``refused`` is called for each call that is not let in."""
        self.name, self._backend, self._refused = name, backend, refused
        self._most = backend.workers + backlog
        self.inside = 0

    def enter(self) -> None:
        """Let a call in.

        Raises:
            BackendFullError: there is no room.
        """
        if self.in_flight >= self._most:
            self._refused()
            raise BackendFullError(
                f"{self.in_flight:,} calls are in the {self.name} backend already, and it takes no more",
                remedy="come back later, or a larger --backlog",
            )
        self.inside += 1

    def leave(self) -> None:
        """Let a call out: it has ended, or nobody waits for it any more."""
        self.inside -= 1

    def give_up(self) -> None:
        """Count a call as abandoned: nobody waits for it any more, and it does not heed that."""
        self.leave()
        self._backend.abandoned += 1
        self._backend.abandoned_ever += 1

    def come_back(self) -> None:
        """Let a call out that was given up, and has ended after all."""
        self._backend.abandoned -= 1

    @property
    def in_flight(self) -> int:
        """How many calls are in the backend, those that nobody waits for included."""
        return self.inside + self._backend.abandoned

    @property
    def active(self) -> int:
        """How many calls workers are running."""
        return min(self.in_flight, self._backend.workers)

    @property
    def queued(self) -> int:
        """How many calls wait for a worker."""
        return self.in_flight - self.active


class Begun(NamedTuple):
    """When a request began (s), and what to call where its task does not end when it is cancelled."""

    at_s: float
    give_up: Callable[[], None]


class Deadlines:
    """Cancels the tasks of requests that take too long: one look at the oldest now and then, and no timer per request.

    A task need not heed that. Of one that has not ended ``HEED_S`` seconds later it is said to whoever began it.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit_s = limit_s
        self._loop, self._now = loop, now
        # The oldest first, since the limit is one for all.
        self._begun: dict[asyncio.Task[object], Begun] = {}
        self._late: dict[asyncio.Task[object], Begun] = {}
        self._given_up: set[asyncio.Task[object]] = set()
        self._wait()

    def begin(self, task: asyncio.Task[object], give_up: Callable[[], None]) -> None:
        """Count the time of a task from now on; ``give_up`` is called where it does not heed its end."""
        self._begun[task] = Begun(self._now(), give_up)

    def end(self, task: asyncio.Task[object]) -> bool:
        """Count no more; return whether the task was cancelled here, and not because its client has gone."""
        if self._begun.pop(task, None) is not None:
            return False
        if self._late.pop(task, None) is None and task not in self._given_up:
            return False
        self._given_up.discard(task)
        task.uncancel()
        return True

    def _wait(self) -> None:
        self._timer = self._loop.call_later(min(0.5, self.limit_s / 10), self._look)

    def _look(self) -> None:
        due = self._now() - self.limit_s
        for task in _begun_until(due, self._begun):
            self._late[task] = self._begun.pop(task)._replace(at_s=due)  # it has all its time from now on
            task.cancel()
        for task in _begun_until(due - HEED_S, self._late):
            self._given_up.add(task)
            self._late.pop(task).give_up()
        self._wait()

    def stop(self) -> None:
        """Cancel nobody any more."""
        self._timer.cancel()


def _begun_until(moment_s: float, begun: Mapping[asyncio.Task[object], Begun]) -> list[asyncio.Task[object]]:
    """Return the tasks that had begun by then, of some in that order."""
    return [task for task, _ in takewhile(lambda one: one[1].at_s <= moment_s, begun.items())]
