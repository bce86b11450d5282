"""What a profiler is to gilscope, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gilscope.errors import CaptureError
from gilscope.model import FlameKind, Folded, Graph

T = TypeVar("T")

RATE_HZ, MAX_RATE_HZ = 100, 1_000
SECONDS, MAX_SECONDS = 5, 60
"""What is captured unless something else is asked for, and the most that may be."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Stacks of one kind, without roots and without gilscope's own idle helpers, and how they were taken."""

    graph: Graph
    folded: Folded


class CrashedError(CaptureError):
    """The profiler itself died of a signal: it unwinds stacks that change under it."""


class Profiler(Protocol):
    """Takes stacks of a process and its children from outside."""

    def capture(
        self, pid: int, kinds: Collection[FlameKind], seconds: int, rate_hz: int = RATE_HZ
    ) -> Sequence[Capture]:
        """Capture stacks, all kinds over the same seconds, in the order of :class:`FlameKind`.

        Raises:
            CaptureError: it is missing, may not, or found nothing; with the cause and the remedy.
            CrashedError: it died of a signal.
        """
        ...


def with_second_chance(capture: Callable[[], T]) -> T:
    """Capture, and once more where the profiler crashed.

    Raises:
        CaptureError: as ``capture``.
    """
    try:
        return capture()
    except CrashedError:
        return capture()
