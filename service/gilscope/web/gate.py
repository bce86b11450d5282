"""The way into a backend: how many calls may be in it, and for how long somebody waits for one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gilscope.backends.base import Backend
from gilscope.errors import BackendFullError
from gilscope.model import BackendName

BACKLOG = 1_000
"""How many calls may wait for a worker of each backend, unless asked otherwise."""

TIME_LIMIT_S = 60.0
"""How long a request may take, unless asked otherwise."""


class Gate:
    """Lets calls into one backend as long as there is room: a call per worker, and ``backlog`` that wait for one."""

    def __init__(self, name: BackendName, backend: Backend, backlog: int = BACKLOG) -> None:
        self.name, self._backend = name, backend
        self._most = backend.workers + backlog
        self.inside = 0
        self.is_closing = False
        """The service is about to end: whoever gets an answer is to come back elsewhere."""

    def enter(self) -> None:
        """Let a call in.

        Raises:
            BackendFullError: there is no room.
        """
        if self.in_flight >= self._most:
            raise BackendFullError(
                f"{self.in_flight:,} calls are in the {self.name} backend already, and it takes no more",
                remedy="come back later, or a larger --backlog",
            )
        self.inside += 1

    def leave(self) -> None:
        """Let a call out: it has ended, or nobody waits for it any more."""
        self.inside -= 1

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


class Deadlines:
    """Cancels the tasks of requests that take too long: one look at the oldest now and then, and no timer per request."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit_s = limit_s
        self._loop, self._now = loop, now
        self._begun: dict[
            asyncio.Task[object], float
        ] = {}  # the oldest first, since the limit is one for all
        self._late: set[asyncio.Task[object]] = set()
        self._wait()

    def begin(self, task: asyncio.Task[object]) -> None:
        """Count the time of a task from now on."""
        self._begun[task] = self._now()

    def end(self, task: asyncio.Task[object]) -> bool:
        """Count no more; return whether the task was cancelled here, and not because its client has gone."""
        self._begun.pop(task, None)
        if task not in self._late:
            return False
        self._late.discard(task)
        task.uncancel()
        return True

    def _wait(self) -> None:
        self._timer = self._loop.call_later(min(0.5, self.limit_s / 10), self._look)

    def _look(self) -> None:
        due = self._now() - self.limit_s
        for task, begun in list(self._begun.items()):
            if begun > due:
                break
            del self._begun[task]
            self._late.add(task)
            task.cancel()
        self._wait()

    def stop(self) -> None:
        """Cancel nobody any more."""
        self._timer.cancel()
