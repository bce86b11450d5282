"""A search for capacities: for each backend, the highest open-loop rate that keeps a latency objective.

A search that was interrupted is gone on with: it takes the answers of the steps that were measured as they are, in
their order, and so asks next for what it would have asked for. Where it asks for another rate than was measured then
(another version of gilscope may search another way), that step and those after it are measured anew.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gilscope.compare.capacity import FLOOR_RATE, MAX_RATE, Purpose, Search
from gilscope.compare.experiment import Experiment, Fit
from gilscope.compare.plan import Slot, backends_of, twin_of
from gilscope.compare.trial import TrialRunner
from gilscope.errors import RunFileError
from gilscope.load.samples import read_samples
from gilscope.model import Capacity, CapacityStep, Samples, Target, Trial, Verdict
from gilscope.objective import Slo, parse_slo
from gilscope.quantiles import quantile

KEPT_UP = 0.95
"""A backend that answers fewer than this share of what is offered does not keep up, however short its latencies."""

SURE = 3.0
"""By how many standard deviations what is under way has to grow before that counts."""

NOT_THE_SERVICE = frozenset({"steal", "throttled", "generator-busy", "generator-starved", "shortfall"})
"""Cautions that cannot be an overloaded service's own doing: whatever else the trial shows, it does not count."""

BEGIN_RATE = 16.0
"""Where to begin if nothing is known of the function, in requests per second."""

BEGIN_AT_MOST = 200.0
"""A function that takes next to nothing is limited by the service: that rate is doubled up to, and not come down from."""

CURVE = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.15, 1.3)
"""The rates of a curve, as shares of the capacity."""

CURVE_PURPOSE = "curve"


@dataclass(slots=True)
class _Seek:
    """A search on one backend, and its next slot. ``failed``: its last trial could not be measured at all."""

    search: Search
    slot: Slot
    steps: list[CapacityStep] = field(default_factory=list)
    curve: list[CapacityStep] = field(default_factory=list)
    failed: bool = False

    def capacity(self, slo: Slo, fit: Fit | None) -> Capacity:
        """Return what was found so far."""
        found, curve = self.search.outcome(), tuple(self.curve)
        return Capacity(
            self.slot.target.workload,
            self.slot.backend,
            str(slo),
            found.capacity,
            found.broken,
            found.confirmed_rate,
            found.note,
            tuple(self.steps),
            curve,
            fit(curve) if len(curve) == len(CURVE) and fit is not None else None,
            found.unsettled,
            self.slot.twin,
        )


class CapacitySearch(Experiment):
    """Conducts a plan with an objective: searches on all backends, step by step in turn.

    Whatever drifts on the machine hits all of them alike. On one backend there are two searches (an A/A pair): how far they
    end from each other is what equal things show.
    """

    def _run_all(self, runner: TrialRunner) -> None:
        plan = self._setting.plan
        shuffle = random.Random(plan.seed).shuffle
        for target in plan.targets:
            order = [(backend, False) for backend in backends_of(plan, target)]
            if (paired := twin_of(plan, target)) is not None and len(order) > 1:
                order.append((paired, True))
            shuffle(order)
            slots = [Slot(target, backend, 0, 0, last=False, twin=twin) for backend, twin in order]
            if not self._unjudged(target):
                continue
            if slots:
                self._classify(slots[0])
                self._seek(slots, runner)
            self._conclude(target)

    def _judge(self, target: Target, trials: Sequence[Trial]) -> Verdict:  # noqa: ARG002  those of a search count otherwise
        assert self._tools.rank is not None
        return self._tools.rank(target, self.evidence.run.capacities)

    def _seek(self, slots: Sequence[Slot], runner: TrialRunner) -> None:
        """Search from all these slots in turn, then measure the curves."""
        slo = parse_slo(self._setting.plan.slo or "")
        seeks = [_Seek(Search(self._begin_rate(slot)), slot) for slot in slots]
        while left := [seek for seek in seeks if seek.search.next_rate() is not None]:
            for seek in left:
                self._search(seek, slo, runner)
        for share in CURVE if self._setting.plan.curve else ():
            for seek in seeks:
                capacity = seek.search.outcome().capacity
                if capacity is not None and not seek.slot.twin:
                    rate = min(MAX_RATE, max(FLOOR_RATE, share * capacity))
                    seek.curve.append(self._step(seek, rate, CURVE_PURPOSE, slo, runner)[0])
                    self._found(seek, slo)

    def _search(self, seek: _Seek, slo: Slo, runner: TrialRunner) -> None:
        """Take the next step of a search; one whose trials fail twice in a row is over."""
        asked = seek.search.next_rate()
        assert asked is not None
        step, trial = self._step(seek, *asked, slo, runner)
        failed_before, seek.failed = seek.failed, trial.generator is None
        seek.steps.append(step)
        seek.search.record(step.kept)
        if seek.failed and failed_before:
            seek.search.give_up()
        if seek.search.next_rate() is None:
            self._found(seek, slo)

    def _found(self, seek: _Seek, slo: Slo) -> None:
        """Save what a search has found, in place of what it had found before."""
        found, run = seek.capacity(slo, self._tools.fit), self.evidence.run
        others = (
            one
            for one in run.capacities
            if (one.workload, one.backend, one.twin) != (found.workload, found.backend, found.twin)
        )
        self.evidence = replace(self.evidence, run=replace(run, capacities=(*others, found)))
        self._save()

    def _begin_rate(self, slot: Slot) -> float:
        """Begin where the search began before, or at half of what one call after the other would make."""
        for trial in self._earlier(slot):
            return trial.load.rate or BEGIN_RATE
        found = self._known(slot.target)
        rate = 500 / found.call_ms if found is not None and found.call_ms > 0 else BEGIN_RATE
        return min(max(rate, FLOOR_RATE), BEGIN_AT_MOST)

    def _step(
        self, seek: _Seek, rate: float, purpose: Purpose | str, slo: Slo, runner: TrialRunner
    ) -> tuple[CapacityStep, Trial]:
        # Every step has a block number, and so arrivals, of its own: measuring again is measuring something new.
        slot = replace(seek.slot, rate=rate)
        seek.slot = replace(seek.slot, block=slot.block + 1)
        trial, samples = self._recorded(slot) or self._measure(slot, runner)
        latencies_ms = sorted(samples.latencies_ms) if samples else []
        latency_ms = quantile(latencies_ms, slo.quantile) if latencies_ms else None
        step = CapacityStep(
            rate,
            str(purpose),
            kept(trial, latency_ms, slo),
            trial.throughput_rps,
            latency_ms,
            trial.in_flight,
            len(latencies_ms),
        )
        return step, trial

    def _earlier(self, slot: Slot) -> list[Trial]:
        """Return the steps of a slot's search that are there, in their order."""
        own = (slot.target.workload, slot.backend, slot.twin)
        return [one for one in self.evidence.run.searched if (one.workload, one.backend, one.twin) == own]

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
        outcome = runner.run(self._classified(slot))
        self._account(runner)
        run = self.evidence.run
        self.evidence = replace(self.evidence, run=replace(run, searched=(*run.searched, outcome.trial)))
        self._save()
        self._watcher.ends(slot, outcome.trial)
        return outcome.trial, outcome.samples


def kept(trial: Trial, latency_ms: float | None, slo: Slo) -> bool | None:
    """Whether a trial kept the objective: within the limit, nothing dropped or given up, and keeping up.

    None where it was not measured, or the generator or the machine spoilt it; a trial in which requests failed has broken it.
    """
    if not trial.offered or trial.generator is None:
        return None  # At the lowest rates, a short window may be empty.
    if not trial.valid and any(caution.code in NOT_THE_SERVICE for caution in trial.warnings):
        return None
    if trial.errors or latency_ms is None or trial.dropped or trial.unanswered or _falls_behind(trial):
        return False
    if not trial.valid:
        return None
    return latency_ms <= slo.limit_ms


def _falls_behind(trial: Trial) -> bool:
    """Whether more is under way at the window's end than at its begin, by a share of what is offered and surely.

    Where latency does not grow, either number is Poisson's, with the mean of what is in flight (Palm 1943): their difference
    has twice that as its variance. One more is allowed for, since that mean is itself from few.
    """
    offered, in_flight = trial.offered or 0, trial.in_flight or 0.0
    more = offered - trial.throughput_rps * trial.load.seconds
    return more > max((1 - KEPT_UP) * offered, SURE * math.sqrt(2 * (in_flight + 1)))
