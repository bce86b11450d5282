"""What a profiler is to gilscope, and what it gives."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from gilscope.model import FlameKind, Folded, Graph

RATE_HZ, MAX_RATE_HZ = 100, 1_000
SECONDS, MAX_SECONDS = 5, 60
"""What is captured unless something else is asked for, and the most that may be."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Stacks of one kind, without roots and without gilscope's own idle helpers, and how they were taken."""

    graph: Graph
    folded: Folded


class Profiler(Protocol):
    """Takes stacks of a process and its children from outside."""

    def capture(
        self, pid: int, kinds: Collection[FlameKind], seconds: int, rate_hz: int = RATE_HZ
    ) -> Sequence[Capture]:
        """Capture stacks, all kinds over the same seconds, in the order of :class:`FlameKind`.

        Raises:
            CaptureError: it is missing, may not, or found nothing; with the cause and the remedy.
        """
        ...
