"""Progress of a comparison on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from gilscope.compare.figures import RanOn
from gilscope.compare.plan import Slot, planned_seconds
from gilscope.compare.watching import Phase, Watcher
from gilscope.model import Caution, Classification, Flame, Plan, Trial, Verdict
from gilscope.report.console import describe_classification, describe_trial, describe_verdict

REFRESHES_PER_SECOND = 2
"""Few: drawing takes CPU time from what is being measured on a small machine."""

MISSING = ("no-lens", "no-profile")
"""Warnings of trials that say what the evidence will lack: told at once, and once."""


def numbered(slot: Slot, total: int) -> str:
    """Return the place of a trial among ``total``; 0: nobody knows how many there will be."""
    return f"[{slot.position + 1}{f'/{total}' if total else ''}]"


def happening(plan: Plan, slot: Slot, phase: Phase) -> str:
    """Say what runs now."""
    which = f"block {slot.block + 1}/{plan.blocks}" if slot.rate is None else f"{slot.rate:.4g} requests/s"
    return f"{slot.target.workload} on {slot.backend}, {which}: {phase}"


class PlainWatcher:
    """A line per trial, for logs."""

    def __init__(self, slots: Sequence[Slot], *, verdicts_to: Console) -> None:
        self._total = len(slots)
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._verdicts = verdicts_to
        self._told: set[str] = set()

    def begins(self, slot: Slot) -> None:
        """Nothing: a line when it ends says more."""

    def enters(self, slot: Slot, phase: Phase) -> None:
        """Nothing."""

    def serves(self, slot: Slot, ran_on: RanOn, lens_url: str | None) -> None:
        """Nothing."""

    def draws(self, flame: Flame) -> None:
        """Nothing: the report shows it."""

    def ends(self, slot: Slot, trial: Trial) -> None:
        """Print the trial's figures, and what it is the first to lack."""
        self._console.print(f"{numbered(slot, self._total)} {describe_trial(trial)}", markup=False)
        for caution in trial.warnings:
            if caution.code in MISSING and caution.code not in self._told:
                self._told.add(caution.code)
                self.warns(caution)

    def concludes(self, verdict: Verdict, found: Classification | None) -> None:
        """Print the verdict as soon as it is known, below what the function does to the GIL."""
        above = f"{describe_classification(found)}\n" if found else ""
        self._verdicts.print(f"\n{above}{describe_verdict(verdict)}\n", markup=False)

    def warns(self, caution: Caution) -> None:
        """Print a warning with its remedy."""
        self._console.print(f"! {caution.message}\n  -> {caution.remedy}", markup=False)


class BarWatcher(PlainWatcher):
    """A bar with what runs now and how long is left; finished trials and verdicts scroll by above it."""

    def __init__(
        self,
        plan: Plan,
        slots: Sequence[Slot],
        progress: Progress,
        *,
        verdicts_to: Console,
        left: Sequence[Slot] | None = None,
    ) -> None:
        super().__init__(slots, verdicts_to=verdicts_to)
        self._console = progress.console
        self._plan = plan
        self._progress = progress
        total_s = sum(planned_seconds(plan, slot) for slot in slots)
        left_s = sum(planned_seconds(plan, slot) for slot in (slots if left is None else left))
        self._task = progress.add_task("", total=total_s or None)
        progress.advance(self._task, total_s - left_s)

    def enters(self, slot: Slot, phase: Phase) -> None:
        """Show what runs now."""
        self._progress.update(self._task, description=happening(self._plan, slot, phase))

    def ends(self, slot: Slot, trial: Trial) -> None:
        """Print the trial's figures and move the bar."""
        super().ends(slot, trial)
        if slot.attempt > 1:
            return
        self._progress.advance(self._task, planned_seconds(self._plan, slot))


class TimeLeft(ProgressColumn):
    """Planned seconds that are left, counted down between trials."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = (0.0, time.monotonic())

    def render(self, task: Task) -> Text:
        """Show minutes and seconds."""
        if task.total is None:
            return Text(f"{int(task.elapsed or 0) // 60}:{int(task.elapsed or 0) % 60:02d}")
        if task.completed != self._seen[0]:
            self._seen = (task.completed, time.monotonic())
        left = max(0.0, (task.remaining or 0.0) - (time.monotonic() - self._seen[1]))
        return Text(f"{int(left) // 60}:{int(left) % 60:02d} left")


@contextmanager
def watching(
    plan: Plan, slots: Sequence[Slot], *, verdicts_to_stderr: bool, left: Sequence[Slot] | None = None
) -> Iterator[Watcher]:
    """Watch a comparison; verdicts go to standard output unless that is kept for JSON.

    Of a run that is resumed, only some of its ``slots`` are ``left``.
    """
    if not sys.stderr.isatty():
        yield PlainWatcher(
            slots, verdicts_to=Console(stderr=verdicts_to_stderr, highlight=False, soft_wrap=True)
        )
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeLeft())
    with Progress(
        *columns, console=console, refresh_per_second=REFRESHES_PER_SECOND, transient=True
    ) as progress:
        shared = (
            console if verdicts_to_stderr or sys.stdout.isatty() else Console(highlight=False, soft_wrap=True)
        )
        yield BarWatcher(plan, slots, progress, verdicts_to=shared, left=left)
