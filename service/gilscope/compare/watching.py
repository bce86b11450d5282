"""What a running comparison tells whoever watches it."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from gilscope.compare.figures import RanOn
from gilscope.compare.plan import Slot
from gilscope.model import Caution, Classification, Flame, Trial, Verdict


class Phase(StrEnum):
    """What a trial is doing, or what is done before it."""

    CLASSIFYING = "classifying"
    STARTING = "starting"
    WARM_UP = "warm-up"
    MEASURING = "measuring"
    PROFILING = "profiling"
    STOPPING = "stopping"


class Watcher(Protocol):
    """Told of everything as it happens; must not raise and must not block."""

    def begins(self, slot: Slot) -> None:
        """A trial begins."""
        ...

    def enters(self, slot: Slot, phase: Phase) -> None:
        """The trial enters a phase."""
        ...

    def serves(self, slot: Slot, ran_on: RanOn, lens_url: str | None) -> None:
        """The trial's service is up: what it runs on, and where a lens that exports serves what it sees."""
        ...

    def draws(self, flame: Flame) -> None:
        """A flame graph has been drawn, or found to be empty, and saved."""
        ...

    def ends(self, slot: Slot, trial: Trial) -> None:
        """The trial is over and saved."""
        ...

    def concludes(self, verdict: Verdict, found: Classification | None) -> None:
        """All trials of a workload are over; ``found`` is what its function does to the GIL, where that is known."""
        ...

    def warns(self, caution: Caution) -> None:
        """Something that the user should know now."""
        ...
