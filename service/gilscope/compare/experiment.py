"""A comparison from its first trial to its last verdict, saved as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from gilscope.compare.figures import spoilt
from gilscope.compare.plan import Slot, schedule
from gilscope.compare.store import FLAMES_FOLDER, file_name
from gilscope.compare.trial import Outcome, Setting, TrialRunner
from gilscope.compare.watching import Phase, Watcher
from gilscope.errors import GilscopeError
from gilscope.flame.capture import Capture
from gilscope.lens.control import Lens
from gilscope.model import (
    BreakEven,
    Capacity,
    CapacityStep,
    Caution,
    Classification,
    Evidence,
    Flame,
    Folded,
    Run,
    Samples,
    Scalability,
    Sweep,
    Target,
    Timing,
    Trial,
    Verdict,
)

Judge = Callable[[Target, Sequence[Trial], Mapping[str, Samples]], Verdict]
Draw = Callable[[Flame, Folded], str]
Cross = Callable[[Sweep, Sequence[Target], Sequence[Trial], Mapping[str, Samples]], tuple[BreakEven, ...]]
Fit = Callable[[Sequence[CapacityStep]], Scalability]
Rank = Callable[[Target, Sequence[Capacity]], Verdict]
Classify = Callable[[Target], Classification | None]
"""None: it cannot be found out, and the user knows why."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What an experiment leaves to others: finding out about a function, judging trials, drawing stacks.

    ``cross`` finds out, of a sweep, where backends overtake each other; ``fit`` fits a law to a curve,
    and ``rank`` judges capacities.
    """

    classify: Classify
    judge: Judge
    draw: Draw
    cross: Cross | None = None
    fit: Fit | None = None
    rank: Rank | None = None


class Experiment:
    """Runs a plan. :attr:`evidence` holds at any time what is known so far, and the folder holds the same."""

    def __init__(self, run: Run, setting: Setting, tools: Tools, *, watcher: Watcher, begun: float) -> None:
        """``begun`` is when the user's command began, of ``time.monotonic``: the run's time counts from there."""
        self.evidence = Evidence(run, {}, {})
        self._setting = setting
        self._tools = tools
        self._watcher = watcher
        self._begun = begun

    def conduct(self) -> None:
        """Run every trial, save each as it ends, and judge each workload when its last trial is over.

        Raises:
            RunFileError: something could not be saved.
        """
        generator, lens = self._setting.generator(), Lens(exports=self._setting.live)
        wanted = lens if self._setting.plan.lens else None
        runner = TrialRunner(self._setting, generator, wanted, self._watcher)
        with ExitStack() as stack:
            stack.callback(generator.stop)
            stack.callback(lens.stop)
            self._run_all(runner)
        self._cross()
        self._save(complete=True)

    def _run_all(self, runner: TrialRunner) -> None:
        slots = list(schedule(self._setting.plan))
        previous = [None, *slots[:-1]]
        for before, slot, following in zip(previous, slots, [*slots[1:], None], strict=True):
            if before is None or before.target != slot.target:
                self._classify(slot)
            if self._try(slot, runner):
                self._try(replace(slot, attempt=2), runner)
            if following is None or following.target != slot.target:
                self._conclude(slot.target)

    def _cross(self) -> None:
        """Find the break-evens of a sweep."""
        run = self.evidence.run
        if run.plan.sweep is not None and self._tools.cross is not None:
            found = self._tools.cross(run.plan.sweep, run.plan.targets, run.trials, self.evidence.samples)
            self.evidence = replace(self.evidence, run=replace(run, break_evens=found))

    def _try(self, slot: Slot, runner: TrialRunner) -> bool:
        """Run one trial and save it; return whether the generator or the machine spoilt it."""
        self._watcher.begins(slot)
        outcome = runner.run(slot)
        self._keep(slot, outcome, runner)
        self._watcher.ends(slot, outcome.trial)
        return spoilt(outcome.trial)

    def _classify(self, slot: Slot) -> None:
        """Find out what a function does to the GIL before it is tried; where that fails, the trials do not."""
        self._watcher.enters(slot, Phase.CLASSIFYING)
        try:
            found = self._tools.classify(slot.target)
        except GilscopeError as problem:
            message = f"what {slot.target.workload} does to the GIL was not found out: {problem.message}"
            self._watcher.warns(Caution("not-classified", message, problem.remedy or "see the reason"))
            return
        if found is None:
            return
        run = self.evidence.run
        targets = (
            replace(target, classification=found) if target == slot.target else target
            for target in run.plan.targets
        )
        plan = replace(run.plan, targets=tuple(targets))
        self.evidence = replace(self.evidence, run=replace(run, plan=plan))

    def _keep(self, slot: Slot, outcome: Outcome, runner: TrialRunner) -> None:
        self._account(runner)
        run, trial = self.evidence.run, outcome.trial
        samples = dict(self.evidence.samples)
        if trial.samples is not None and outcome.samples is not None:
            samples[trial.samples] = outcome.samples
        self.evidence = replace(self.evidence, run=replace(run, trials=(*run.trials, trial)), samples=samples)
        self._save()
        for capture in outcome.captures:
            self._keep_flame(slot, capture)

    def _account(self, runner: TrialRunner) -> None:
        """Take down where the time went until now."""
        watch = runner.stopwatch
        timing = Timing(time.monotonic() - self._begun, watch.load_s, watch.profiling_s)
        self.evidence = replace(self.evidence, run=replace(self.evidence.run, timing=timing))

    def _keep_flame(self, slot: Slot, capture: Capture) -> None:
        graph, workload = capture.graph, slot.target.workload
        path = f"{FLAMES_FOLDER}/{file_name(workload)}-{slot.backend}.{graph.kind}"
        flame = Flame.of(graph, workload, slot.backend, path)
        # An empty graph is not drawn, but kept: that nobody waited is a result.
        svg = self._tools.draw(flame, capture.folded) if graph.samples else None
        self._setting.folder.write_flame(flame, capture.folded, svg)
        run = replace(self.evidence.run, flames=(*self.evidence.run.flames, flame))
        stacks = {**self.evidence.stacks, flame.path: capture.folded}
        self.evidence = replace(self.evidence, run=run, stacks=stacks)
        self._save()
        self._watcher.draws(flame)

    def _conclude(self, target: Target) -> None:
        run = self.evidence.run
        trials = [trial for trial in run.trials if trial.workload == target.workload]
        verdict = self._judge(target, trials)
        self.evidence = replace(self.evidence, run=replace(run, verdicts=(*run.verdicts, verdict)))
        self._save()
        known = {known.workload: known.classification for known in run.plan.targets}
        self._watcher.concludes(verdict, known[target.workload])

    def _judge(self, target: Target, trials: Sequence[Trial]) -> Verdict:
        return self._tools.judge(target, trials, self.evidence.samples)

    def _save(self, *, complete: bool = False) -> None:
        run = replace(self.evidence.run, complete=complete)
        self.evidence = replace(self.evidence, run=run)
        self._setting.folder.write_run(run)
