"""A search for capacities: for each backend, the highest open-loop rate that keeps a latency objective.

A search that was interrupted is gone on with: it takes the answers of the steps that were measured as they are, in
their order, and so asks next for what it would have asked for. Where it asks for another rate than was measured then
(another version of gilscope may search another way), that step and those after it are measured anew.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import replace

from gilscope.compare.capacity import FLOOR_RATE, MAX_RATE, Purpose, Search
from gilscope.compare.experiment import Experiment
from gilscope.compare.plan import Slot, backends_of
from gilscope.compare.trial import TrialRunner
from gilscope.errors import RunFileError
from gilscope.load.samples import read_samples
from gilscope.model import BackendName, Capacity, CapacityStep, Samples, Target, Trial, Verdict
from gilscope.objective import Slo, parse_slo
from gilscope.quantiles import quantile

KEPT_UP = 0.95
"""A backend that answers fewer than this share of what is offered does not keep up, however short its latencies."""

BEGIN_RATE = 16.0
"""Where to begin if nothing is known of the function, in requests per second."""

BEGIN_AT_MOST = 200.0
"""A function that takes next to nothing is limited by the service: that rate is doubled up to, and not come down from."""

CURVE = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.15, 1.3)
"""The rates of a curve, as shares of the capacity."""

CURVE_PURPOSE = "curve"


class CapacitySearch(Experiment):
    """Conducts a plan with an objective: a search on each backend, one after the other, in shuffled order."""

    def _run_all(self, runner: TrialRunner) -> None:
        plan = self._setting.plan
        shuffle = random.Random(plan.seed).shuffle
        for target in plan.targets:
            order = list(backends_of(plan, target))
            shuffle(order)
            done = self._searched_on(target)
            slots = [Slot(target, backend, 0, 0, last=False) for backend in order if backend not in done]
            if slots:
                self._classify(slots[0])
            for slot in slots:
                self._seek(slot, runner)
            if slots or self._unjudged(target):
                self._conclude(target)

    def _searched_on(self, target: Target) -> set[BackendName]:
        """Return the backends on which the search for a target's capacity is over."""
        found = self.evidence.run.capacities
        return {capacity.backend for capacity in found if capacity.workload == target.workload}

    def _judge(self, target: Target, trials: Sequence[Trial]) -> Verdict:  # noqa: ARG002  those of a search count otherwise
        assert self._tools.rank is not None
        return self._tools.rank(target, self.evidence.run.capacities)

    def _seek(self, slot: Slot, runner: TrialRunner) -> None:
        """Search on one backend."""
        slo = parse_slo(self._setting.plan.slo or "")
        search, steps = Search(self._begin_rate(slot)), []
        while (asked := search.next_rate()) is not None:
            rate, purpose = asked
            step = self._step(slot, rate, purpose, slo, runner)
            search.record(step.kept)
            steps.append(step)
            slot = _next(slot)
        found = search.outcome()
        curve = []
        for share in CURVE if self._setting.plan.curve and found.capacity else ():
            rate = min(MAX_RATE, max(FLOOR_RATE, share * (found.capacity or 0.0)))
            curve.append(self._step(slot, rate, CURVE_PURPOSE, slo, runner))
            slot = _next(slot)
        capacity = Capacity(
            slot.target.workload,
            slot.backend,
            str(slo),
            found.capacity,
            found.broken,
            found.confirmed_rate,
            found.note,
            tuple(steps),
            tuple(curve),
            self._tools.fit(tuple(curve)) if curve and self._tools.fit is not None else None,
        )
        run = self.evidence.run
        self.evidence = replace(self.evidence, run=replace(run, capacities=(*run.capacities, capacity)))
        self._save()

    def _begin_rate(self, slot: Slot) -> float:
        """Begin where the search began before, or at half of what one call after the other would make."""
        for trial in self._earlier(slot):
            return trial.load.rate or BEGIN_RATE
        found = self._known(slot.target)
        rate = 500 / found.call_ms if found is not None and found.call_ms > 0 else BEGIN_RATE
        return min(max(rate, FLOOR_RATE), BEGIN_AT_MOST)

    def _step(
        self, slot: Slot, rate: float, purpose: Purpose | str, slo: Slo, runner: TrialRunner
    ) -> CapacityStep:
        # Every step has a block number, and so arrivals, of its own: measuring again is measuring something new.
        slot = replace(slot, rate=rate)
        trial, samples = self._recorded(slot) or self._measure(slot, runner)
        latencies_ms = sorted(samples.latencies_ms) if samples else []
        latency_ms = quantile(latencies_ms, slo.quantile) if latencies_ms else None
        return CapacityStep(
            rate,
            str(purpose),
            kept(trial, latency_ms, slo),
            trial.throughput_rps,
            latency_ms,
            trial.in_flight,
        )

    def _earlier(self, slot: Slot) -> list[Trial]:
        """Return the steps of a slot's search that are there, in their order."""
        searched = self.evidence.run.searched
        return [
            one for one in searched if (one.workload, one.backend) == (slot.target.workload, slot.backend)
        ]

    def _recorded(self, slot: Slot) -> tuple[Trial, Samples | None] | None:
        """Return the step as it was measured before an interruption; None where it was not, or is of no use now."""
        earlier = self._earlier(slot)[slot.block :]
        if not earlier:
            return None
        trial = earlier[0]
        with contextlib.suppress(RunFileError):
            if trial.load.rate == slot.rate:
                path = self._setting.folder.path
                return trial, read_samples(path / trial.samples) if trial.samples else None
        run = self.evidence.run
        others = tuple(one for one in run.searched if one not in earlier)
        self.evidence = replace(self.evidence, run=replace(run, searched=others))
        return None

    def _measure(self, slot: Slot, runner: TrialRunner) -> tuple[Trial, Samples | None]:
        slot = replace(slot, position=len(self.evidence.run.searched))
        self._watcher.begins(slot)
        outcome = runner.run(slot)
        self._account(runner)
        run = self.evidence.run
        self.evidence = replace(self.evidence, run=replace(run, searched=(*run.searched, outcome.trial)))
        self._save()
        self._watcher.ends(slot, outcome.trial)
        return outcome.trial, outcome.samples


def kept(trial: Trial, latency_ms: float | None, slo: Slo) -> bool | None:
    """Whether a trial kept the objective: within the limit, nothing dropped or given up, and keeping up.

    None where the generator or the machine spoilt it; a trial in which requests failed has broken it.
    """
    if trial.offered == 0:
        return None  # At the lowest rates, a short window may be empty.
    if trial.errors or latency_ms is None:
        return False if trial.generator is not None else None
    if not trial.valid and any(caution.code == "shortfall" for caution in trial.warnings):
        return None  # It was the generator that did not keep up.
    overloaded = trial.dropped + trial.unanswered > 0
    if overloaded or trial.throughput_rps < KEPT_UP * (trial.offered or 0) / trial.load.seconds:
        return False
    if not trial.valid:
        return None
    return latency_ms <= slo.limit_ms


def _next(slot: Slot) -> Slot:
    return replace(slot, block=slot.block + 1, rate=None)
