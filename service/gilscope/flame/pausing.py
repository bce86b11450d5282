"""How much of the time a profiler holds the processes that it looks into (Linux)."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

PAUSE_S = 0.005
"""Mean time between two looks."""

_HELD = b"t"
"""The state of a process that is stopped by a tracer (``man 5 proc``)."""


class PauseMeter:
    """Looks at whether any of some processes is held, at random moments, from another thread.

    Use as a context manager; ``share`` is known afterwards.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._paths = [Path(f"/proc/{pid}/stat") for pid in pids]
        self._looks = self._held = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pause meter", daemon=True)

    @property
    def share(self) -> float | None:
        """For what share of the block a process was held, on average, 0 to 1; None where none could be looked at."""
        return self._held / self._looks if self._looks else None

    def _run(self) -> None:
        while not self._done.wait(random.uniform(0, 2 * PAUSE_S)):
            for path in self._paths:
                with contextlib.suppress(OSError):
                    # "PID (NAME) STATE ...", and a name may hold anything.
                    state = path.read_bytes().rpartition(b") ")[2][:1]
                    self._looks += 1
                    self._held += state == _HELD

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
