"""The lens over one service: what it saw, or why it saw nothing. Without it an explanation is lost, no figure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gilscope.errors import LensError
from gilscope.lens.control import Lens
from gilscope.lens.readings import Window
from gilscope.model import Caution


class Observation:
    """Watches one service; the first thing that goes wrong ends it, and is kept as ``caution``."""

    def __init__(self, lens: Lens | None) -> None:
        """Start the lens without waiting for it; ``lens`` is None where none was wanted."""
        self.caution: Caution | None = None
        self._lens = lens
        with self._surviving():
            if self._lens:
                self._lens.prepare()

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except LensError as problem:
            self._lens = None
            self.caution = Caution(
                "no-lens", f"GIL wait was not measured: {problem.message}", problem.remedy or "see the reason"
            )

    def watch(self, pid: int) -> None:
        """Begin to watch a service and its children."""
        with self._surviving():
            if self._lens:
                self._lens.watch(pid)

    def open_window(self, seconds: float) -> None:
        """Begin to measure, for so long."""
        with self._surviving():
            if self._lens:
                self._lens.open_window(seconds)

    def window(self) -> Window | None:
        """Return what was seen, once the window is over; None where the lens could not see."""
        with self._surviving():
            if self._lens:
                return self._lens.window()
        return None
