"""A lens over one service: what it saw, or why it saw nothing. Without it an explanation is lost, no figure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from gilscope.errors import LensError
from gilscope.lens.readings import Window
from gilscope.model import Caution

Of = TypeVar("Of")
What_contra = TypeVar("What_contra", contravariant=True)


class Looking(Protocol[What_contra]):
    """A lens of ours over a process id, or what the lens of a service tells over its URL. Each may raise a ``LensError``."""

    def prepare(self) -> None:
        """Start, without waiting for it."""
        ...

    def watch(self, what: What_contra, /) -> None:
        """Begin to watch."""
        ...

    def open_window(self, seconds: float) -> None:
        """Begin to measure, for so long."""
        ...

    def window(self) -> Window:
        """Return what was seen, once the window is over."""
        ...


class Observation(Generic[Of]):
    """Watches one service; the first thing that goes wrong ends it, and is kept as ``caution``."""

    def __init__(self, lens: Looking[Of] | None) -> None:
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

    def watch(self, what: Of) -> None:
        """Begin to watch a service and its children."""
        with self._surviving():
            if self._lens:
                self._lens.watch(what)

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
