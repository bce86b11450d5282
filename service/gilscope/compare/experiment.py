"""A comparison from its first trial to its last verdict, saved as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from gilscope.compare.plan import Slot, backends_of, together
from gilscope.compare.resuming import left, wants_another
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
    Plan,
    PythonChange,
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
AcrossPythons = Callable[[Plan, Sequence[Trial], Mapping[str, Samples]], tuple[PythonChange, ...]]
Classify = Callable[[Target], Classification | None]
"""None: it cannot be found out, and the user knows why."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What an experiment leaves to others: finding out about a function, judging trials, drawing stacks.

    ``cross`` finds out, of a sweep, where backends overtake each other; ``fit`` fits a law to a curve,
    and ``rank`` judges capacities; ``across`` compares Pythons with each other.
    """

    classify: Classify
    judge: Judge
    draw: Draw
    cross: Cross | None = None
    fit: Fit | None = None
    rank: Rank | None = None
    across: AcrossPythons | None = None


class Experiment:
    """Runs what is left of a plan. :attr:`evidence` holds at any time what is known so far, and the folder holds the same."""

    def __init__(
        self, evidence: Evidence, setting: Setting, tools: Tools, *, watcher: Watcher, begun: float
    ) -> None:
        """``evidence`` is what is there already: nothing but the run, unless that was interrupted.

        ``begun`` is when the user's command began, of ``time.monotonic``: its time counts from there, and is added to
        what the run took before.
        """
        self.evidence = evidence
        self._before = evidence.run.timing
        self._setting = setting
        self._tools = tools
        self._watcher = watcher
        self._begun = begun

    def conduct(self) -> None:
        """Run every trial that is not there, save each as it ends, and judge each workload when its last one is over.

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
        self._compare_pythons()
        self._save(complete=True)

    def _run_all(self, runner: TrialRunner) -> None:
        slots = list(left(self._setting.plan, self.evidence.run.trials))
        for targets in together(self._setting.plan):
            own = [slot for slot in slots if slot.target in targets]
            for target in targets:
                if first := next((slot for slot in own if slot.target == target), None):
                    self._classify(first)
            for slot in own:
                if wants_another(self._try(slot, runner)):
                    self._try(replace(slot, attempt=2), runner)
            for target in targets:
                if own or (backends_of(self._setting.plan, target) and self._unjudged(target)):
                    self._conclude(target)

    def _unjudged(self, target: Target) -> bool:
        """Whether a workload has no verdict yet."""
        return target.workload not in {verdict.workload for verdict in self.evidence.run.verdicts}

    def _cross(self) -> None:
        """Find the break-evens of a sweep."""
        run = self.evidence.run
        if run.plan.sweep is not None and self._tools.cross is not None:
            found = self._tools.cross(run.plan.sweep, run.plan.targets, run.trials, self.evidence.samples)
            self.evidence = replace(self.evidence, run=replace(run, break_evens=found))

    def _compare_pythons(self) -> None:
        """Compare the Pythons with each other, where there are several."""
        run = self.evidence.run
        if len(run.plan.pythons) > 1 and self._tools.across is not None:
            found = self._tools.across(run.plan, run.trials, self.evidence.samples)
            self.evidence = replace(self.evidence, run=replace(run, python_changes=found))

    def _try(self, slot: Slot, runner: TrialRunner) -> Trial:
        """Run one trial and save it."""
        self._watcher.begins(slot)
        outcome = runner.run(self._classified(slot))
        self._keep(slot, outcome, runner)
        self._watcher.ends(slot, outcome.trial)
        return outcome.trial

    def _classify(self, slot: Slot) -> None:
        """Find out what a function does to the GIL before it is tried; where that fails, the trials do not."""
        if self._known(slot.target) is not None:
            return
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
            replace(target, classification=found) if target.workload == slot.target.workload else target
            for target in run.plan.targets
        )
        plan = replace(run.plan, targets=tuple(targets))
        self.evidence = replace(self.evidence, run=replace(run, plan=plan))

    def _classified(self, slot: Slot) -> Slot:
        """Return the same slot with what is known of its function."""
        return replace(slot, target=replace(slot.target, classification=self._known(slot.target)))

    def _known(self, target: Target) -> Classification | None:
        """Return what a target's function does to the GIL, as far as that is known."""
        known = {known.workload: known.classification for known in self.evidence.run.plan.targets}
        return known.get(target.workload)

    def _keep(self, slot: Slot, outcome: Outcome, runner: TrialRunner) -> None:
        """Save a trial with its graphs, all at once: where the trial is there, its graphs are."""
        self._account(runner)
        run, trial = self.evidence.run, outcome.trial
        stacks = {self._write_flame(slot, capture): capture.folded for capture in outcome.captures}
        samples = dict(self.evidence.samples)
        if trial.samples is not None and outcome.samples is not None:
            samples[trial.samples] = outcome.samples
        self.evidence = Evidence(
            replace(run, trials=(*run.trials, trial), flames=(*run.flames, *stacks)),
            samples,
            {**self.evidence.stacks, **{flame.path: folded for flame, folded in stacks.items()}},
        )
        self._save()
        for flame in stacks:
            self._watcher.draws(flame)

    def _account(self, runner: TrialRunner) -> None:
        """Take down where the time went until now."""
        watch, before = runner.stopwatch, self._before
        timing = Timing(
            before.total_s + time.monotonic() - self._begun,
            before.load_s + watch.load_s,
            before.profiling_s + watch.profiling_s,
        )
        self.evidence = replace(self.evidence, run=replace(self.evidence.run, timing=timing))

    def _write_flame(self, slot: Slot, capture: Capture) -> Flame:
        graph, workload = capture.graph, slot.target.workload
        path = f"{FLAMES_FOLDER}/{file_name(workload)}-{slot.backend}.{graph.kind}"
        flame = Flame.of(graph, workload, slot.backend, path)
        # An empty graph is not drawn, but kept: that nobody waited is a result.
        svg = self._tools.draw(flame, capture.folded) if graph.samples else None
        self._setting.folder.write_flame(flame, capture.folded, svg)
        return flame

    def _conclude(self, target: Target) -> None:
        run = self.evidence.run
        trials = [trial for trial in run.trials if trial.workload == target.workload]
        verdict = self._judge(target, trials)
        found = {known.workload: known for known in (*run.verdicts, verdict)}
        verdicts = tuple(found[one.workload] for one in run.plan.targets if one.workload in found)
        self.evidence = replace(self.evidence, run=replace(run, verdicts=verdicts))
        self._save()
        self._watcher.concludes(verdict, self._known(target))

    def _judge(self, target: Target, trials: Sequence[Trial]) -> Verdict:
        return self._tools.judge(target, trials, self.evidence.samples)

    def _save(self, *, complete: bool = False) -> None:
        run = replace(self.evidence.run, complete=complete)
        self.evidence = replace(self.evidence, run=run)
        self._setting.folder.write_run(run)
