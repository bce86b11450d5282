"""Facts about a search for capacities: what it finds, what it keeps, and what each step counts for."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from factories import LOAD, MACHINE

from gilscope.compare import experiment, trial
from gilscope.compare.capacity import CONFIRM_SHARE, FLOOR_RATE, MAX_RATE, PRECISION, Search
from gilscope.compare.experiment import Fit, Rank, Tools
from gilscope.compare.figures import RanOn, failed_trial
from gilscope.compare.plan import Slot, load_of
from gilscope.compare.seeking import BEGIN_AT_MOST, BEGIN_RATE, CURVE, KEPT_UP, CapacitySearch, _Seek, kept
from gilscope.compare.store import RUN_FILE, RunFolder
from gilscope.compare.trial import Outcome, Setting, Stopwatch, TrialRunner
from gilscope.compare.watching import Phase
from gilscope.errors import TargetError
from gilscope.load.control import Generator
from gilscope.model import (
    BackendName,
    Capacity,
    CapacityStep,
    Caution,
    Classification,
    Evidence,
    Flame,
    GeneratorLoad,
    GilClass,
    LoadKind,
    Plan,
    ProbeSamples,
    Run,
    Samples,
    Scalability,
    Target,
    Trial,
    Unanswered,
    Verdict,
    WorkSamples,
)
from gilscope.objective import Slo, parse_slo
from gilscope.verdict.capacity import judge_capacities

ASYNCIO, THREADS, PROCESSES, _ = BackendName
SLO = Slo(0.99, 200.0)
QUICK_MS, SLOW_MS = 20.0, 900.0
SECONDS = LOAD.seconds
PLAN = Plan(
    targets=(Target("one", "one.py:one"),),
    backends=(ASYNCIO, THREADS),
    load=LOAD,
    blocks=1,
    seed=5,
    pool_size=None,
    profile_seconds=0.0,
    python="python3.14",
    slo="p99=200ms",
)
GENERATOR = GeneratorLoad(0.1, 0.0, 0.3)
STOLEN = Caution("steal", "others took it", "wait")
CAPACITIES = {ASYNCIO: 90.0, THREADS: 400.0, PROCESSES: 1_300.0}


def samples_of(latency_ms: float | None) -> Samples:
    """Make a window of one request that was due at half of it, or of none."""
    column = [] if latency_ms is None else [latency_ms]
    at = [SECONDS / 2] * len(column)
    zero = [0.0] * len(column)
    work = WorkSamples(at, column, zero, zero, zero, zero, zero, zero, service_ms=column)
    return Samples(SECONDS, work, ProbeSamples([], []))


def trial_of(slot: Slot) -> Trial:
    """Make a trial at a slot's rate that answered all that was offered."""
    load = load_of(PLAN, slot)
    return replace(
        failed_trial(slot, load, "3.14.0", ""),
        requests=round((load.rate or 0) * SECONDS),
        throughput_rps=load.rate or 0.0,
        generator=GENERATOR,
        offered=round((load.rate or 0) * SECONDS),
        in_flight=(load.rate or 0) / 100,
        samples=f"latency/{slot.position}.csv.gz",
        valid=True,
        warnings=(),
    )


@dataclass
class SharpRunner:
    """Backends that keep any objective up to a rate, and none beyond."""

    capacities: Mapping[BackendName, float]
    spoils: Sequence[int] = ()
    fails: Sequence[int] = ()
    crash_at: int | None = None
    crash: BaseException = field(default_factory=KeyboardInterrupt)
    slots: list[Slot] = field(default_factory=list)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def run(self, slot: Slot) -> Outcome:
        if slot.position == self.crash_at:
            raise self.crash
        self.slots.append(slot)
        self.stopwatch.load_s += 3.0
        assert slot.rate is not None
        if slot.position in self.fails:
            return Outcome(failed_trial(slot, load_of(PLAN, slot), "3.14.0", "the service died"))
        latency_ms = QUICK_MS if slot.rate <= self.capacities[slot.backend] else SLOW_MS
        made = trial_of(slot)
        if slot.position in self.spoils:
            made = replace(made, valid=False, warnings=(STOLEN,))
        return Outcome(made, samples_of(latency_ms))


class LazyFolder(RunFolder):
    """Writes what it was given last, and only when it is asked: most of a search's time would go into writing."""

    given: Run | None = None

    def write_run(self, run: Run) -> None:
        self.given = run

    def read(self) -> Evidence:
        if self.given is not None:
            super().write_run(self.given)
        return super().read()


class Diary:
    """A watcher that writes down what it is told; one that looks, how much lay in the folder at the end of each trial."""

    def __init__(self, folder: RunFolder) -> None:
        self.entries: list[str] = []
        self.looks = False
        self.on_disk: list[int] = []
        self._folder = folder

    def begins(self, slot: Slot) -> None:
        self.entries.append(f"begins {slot.position}")

    def enters(self, slot: Slot, phase: Phase) -> None:
        self.entries.append(f"{phase} {slot.target.workload}")

    def serves(self, slot: Slot, ran_on: RanOn, lens_url: str | None) -> None:
        self.entries.append(f"serves {slot.position} {ran_on.python} {ran_on.gil_enabled} {lens_url}")

    def draws(self, flame: Flame) -> None:
        self.entries.append(f"draws {flame.path}")

    def ends(self, slot: Slot, trial: Trial) -> None:
        if self.looks:
            searched = json.loads((self._folder.path / RUN_FILE).read_text())["searched"]
            assert searched[-1]["load"]["rate"] == trial.load.rate == slot.rate
            self.on_disk.append(len(searched))
        self.entries.append(f"ends {slot.position}")

    def concludes(self, verdict: Verdict, found: Classification | None) -> None:  # noqa: ARG002  the protocol's
        run = self._folder.read().run
        assert verdict == run.verdicts[-1]
        self.entries.append(f"concludes {verdict.workload} after {len(run.capacities)}")

    def warns(self, caution: Caution) -> None:
        self.entries.append(f"warns {caution.code}")


@dataclass
class Stage:
    """A search with everything faked but the folder."""

    folder: RunFolder
    diary: Diary
    runner: SharpRunner
    search: CapacitySearch

    def conduct(self) -> Run:
        """Conduct it, and return what lies in the folder then."""
        self.search.conduct()
        return self.run_on_disk()

    def step(self, slo: Slo) -> CapacityStep:
        """Take one step at 50 requests per second."""
        seek = _Seek(Search(50.0), SLOT)
        return self.search._step(seek, 50.0, "ramp", slo, cast("TrialRunner", self.runner))[0]

    def run_on_disk(self) -> Run:
        return self.folder.read().run


SetStage = Callable[..., Stage]


def classified(call_ms: float) -> Classification:
    return Classification(
        "one", GilClass.RELEASES, 0.1, 0.2, 0.9, call_ms, can_release=True, pickles=True,
        subinterpreter_safe=None, enables_gil=None,
    )  # fmt: skip


@pytest.fixture
def set_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetStage:
    def make(
        plan: Plan = PLAN,
        runner: SharpRunner | None = None,
        call_ms: float | None = None,
        rank: Rank = judge_capacities,
        fit: Fit | None = None,
        folder_type: type[RunFolder] = LazyFolder,
    ) -> Stage:
        folder = folder_type.create(tmp_path / "run")
        diary, own = Diary(folder), runner or SharpRunner(CAPACITIES)
        monkeypatch.setattr(Setting, "generator", lambda _self: SimpleNamespace(stop=lambda: None))
        monkeypatch.setattr(experiment, "TrialRunner", lambda *_: own)
        clock = count(100.0)
        monkeypatch.setattr(experiment, "time", SimpleNamespace(monotonic=lambda: next(clock)))

        def classify(_target: Target) -> Classification | None:
            return None if call_ms is None else classified(call_ms)

        def unused(*_: object) -> Verdict:
            raise AssertionError("a search is judged by its capacities")

        run = Run("0.1.0", "one", "2026-11-22T09:05:07+00:00", MACHINE, plan)
        tools = Tools(classify, unused, lambda *_: "", fit=fit, rank=rank)
        setting = Setting(plan, "python3.14", None, folder)
        return Stage(
            folder, diary, own, CapacitySearch(Evidence(run), setting, tools, watcher=diary, begun=90.0)
        )

    return make


def steps_of(run: Run, backend: BackendName) -> tuple[CapacityStep, ...]:
    return one_of(run, backend).steps


def one_of(run: Run, backend: BackendName) -> Capacity:
    (found,) = [capacity for capacity in run.capacities if capacity.backend is backend]
    return found


# What a search finds.


@pytest.mark.parametrize("sharp", [3.0, 47.0, 1_000.0, 36_000.0])
def test_a_sharp_capacity_is_found_to_five_percent(set_stage: SetStage, sharp: float) -> None:
    plan = replace(PLAN, backends=(THREADS,))
    run = set_stage(plan, SharpRunner({THREADS: sharp})).conduct()
    found = one_of(run, THREADS)
    assert found.rate is not None
    assert found.broken is not None
    assert sharp / (1 + PRECISION) <= found.rate <= sharp < found.broken <= found.rate * (1 + PRECISION)
    assert found.confirmed == pytest.approx(CONFIRM_SHARE * found.rate)
    assert (found.workload, found.slo, found.note) == ("one", "p99=200ms", "")
    assert (found.curve, found.law) == ((), None)
    assert run.complete


def test_each_step_says_what_was_measured_and_what_it_was_for(set_stage: SetStage) -> None:
    stage = set_stage(replace(PLAN, backends=(THREADS,)))
    run = stage.conduct()
    steps = steps_of(run, THREADS)
    assert [step.rate for step in steps] == [slot.rate for slot in stage.runner.slots]
    assert [step.kept for step in steps] == [step.rate <= CAPACITIES[THREADS] for step in steps]
    assert [step.latency_ms for step in steps] == [QUICK_MS if step.kept else SLOW_MS for step in steps]
    assert [(step.throughput_rps, step.in_flight) for step in steps] == [
        (step.rate, step.rate / 100) for step in steps
    ]
    assert list(dict.fromkeys(step.purpose for step in steps)) == ["ramp", "bisect", "confirm"]


def test_the_trials_of_a_search_are_open_loops_of_their_own_rate_and_no_others(set_stage: SetStage) -> None:
    run = set_stage().conduct()
    assert run.trials == ()
    assert len(run.searched) == sum(len(capacity.steps) for capacity in run.capacities)
    for capacity in run.capacities:
        assert [step.rate for step in capacity.steps] == [
            trial.load.rate for trial in run.searched if trial.backend is capacity.backend
        ]
    assert {(trial.load.kind, trial.load.users) for trial in run.searched} == {(LoadKind.OPEN, None)}
    assert run.plan.load == LOAD


def test_every_step_is_saved_before_the_next_one_begins(set_stage: SetStage) -> None:
    stage = set_stage(folder_type=RunFolder)
    stage.diary.looks = True
    run = stage.conduct()
    assert stage.diary.on_disk == list(range(1, len(run.searched) + 1))
    assert run == stage.search.evidence.run


def test_backends_take_turns_and_the_function_is_looked_at_once(set_stage: SetStage) -> None:
    stage = set_stage(call_ms=10.0)
    run = stage.conduct()
    trials = [f"{what} {at}" for at in range(len(run.searched)) for what in ("begins", "ends")]
    assert stage.diary.entries == ["classifying one", *trials, "concludes one after 2"]
    shortest = min(len(capacity.steps) for capacity in run.capacities)
    first, second = (slot.backend for slot in stage.runner.slots[:2])
    assert {first, second} == set(PLAN.backends)
    assert [slot.backend for slot in stage.runner.slots[: 2 * shortest]] == [first, second] * shortest
    assert run.plan.targets[0].classification == classified(10.0)


def test_the_order_of_backends_is_shuffled_by_the_seed(set_stage: SetStage, tmp_path: Path) -> None:
    backends = tuple(BackendName)
    expected = list(backends)
    random.Random(23).shuffle(expected)
    assert expected != list(backends)
    run = set_stage(
        replace(PLAN, backends=backends, seed=23), SharpRunner(dict.fromkeys(backends, 50.0))
    ).conduct()
    assert [capacity.backend for capacity in run.capacities] == expected
    assert [trial.backend for trial in run.searched[:4]] == expected


def test_one_backend_is_searched_on_twice_if_there_is_another(set_stage: SetStage, tmp_path: Path) -> None:
    stage = set_stage(replace(PLAN, twins=True))
    run = stage.conduct()
    assert sorted((str(capacity.backend), capacity.twin) for capacity in run.capacities) == [
        ("asyncio", False), ("asyncio", True), ("threads", False),
    ]  # fmt: skip
    first, twin = (one for one in run.capacities if one.backend is ASYNCIO)
    assert first.steps == twin.steps
    assert run.verdicts[0].noise is not None
    assert run.verdicts[0].noise.throughput.mid == 1.0
    assert sum(trial.twin for trial in run.searched) == len(twin.steps)
    (tmp_path / "run").rename(tmp_path / "two")
    alone = set_stage(replace(PLAN, twins=True, backends=(THREADS,))).conduct()
    assert [(capacity.backend, capacity.twin) for capacity in alone.capacities] == [(THREADS, False)]


def test_a_backend_that_is_excluded_is_not_searched_on(set_stage: SetStage) -> None:
    targets = (
        Target("one", "one.py:one", excluded={ASYNCIO: "it blocks"}),
        Target("two", "two.py:two"),
    )
    stage = set_stage(replace(PLAN, targets=targets))
    run = stage.conduct()
    found = [(capacity.workload, capacity.backend) for capacity in run.capacities]
    assert found[0] == ("one", THREADS)
    assert sorted(found[1:]) == [("two", ASYNCIO), ("two", THREADS)]
    assert [slot.position for slot in stage.runner.slots] == list(range(len(run.searched)))
    assert [entry for entry in stage.diary.entries if entry.startswith(("classifying", "concludes"))] == [
        "classifying one",
        "concludes one after 1",
        "classifying two",
        "concludes two after 3",
    ]


def test_a_workload_without_any_backend_is_concluded_without_a_trial(set_stage: SetStage) -> None:
    targets = (Target("one", "one.py:one", excluded=dict.fromkeys(PLAN.backends, "no")),)
    run = set_stage(replace(PLAN, targets=targets)).conduct()
    assert (run.searched, run.capacities) == ((), ())
    assert [verdict.recommended for verdict in run.verdicts] == [None]


# Where it begins.


@pytest.mark.parametrize(
    ("call_ms", "rate"),
    [
        (12.5, 40.0),
        (1_000.0, FLOOR_RATE),
        (30_000.0, FLOOR_RATE),
        (0.0001, BEGIN_AT_MOST),
        (0.0, BEGIN_RATE),
        (None, BEGIN_RATE),
    ],
)
def test_it_begins_at_half_of_what_one_call_after_the_other_makes(
    set_stage: SetStage, call_ms: float | None, rate: float
) -> None:
    stage = set_stage(replace(PLAN, backends=(THREADS,)), call_ms=call_ms)
    stage.conduct()
    assert stage.runner.slots[0].rate == rate


def test_a_function_that_cannot_be_looked_at_is_searched_all_the_same(set_stage: SetStage) -> None:
    stage = set_stage()

    def fail(_target: Target) -> None:
        raise TargetError("it raises", remedy="mend it")

    stage.search._tools = replace(stage.search._tools, classify=fail)
    run = stage.conduct()
    assert "warns not-classified" in stage.diary.entries
    assert stage.runner.slots[0].rate == BEGIN_RATE
    assert len(run.capacities) == 2


# Arrivals of their own.


def test_no_two_steps_of_a_backend_have_the_same_arrivals_and_no_two_the_same_file(
    set_stage: SetStage,
) -> None:
    stage = set_stage(replace(PLAN, curve=True))
    stage.conduct()
    runner = TrialRunner(stage.search._setting, cast("Generator", None), None, stage.diary)
    orders = [
        (slot, runner._order(slot, "http://there", trial._samples_path(slot))) for slot in stage.runner.slots
    ]
    for backend in PLAN.backends:
        seeds = [order.seed for slot, order in orders if slot.backend is backend]
        blocks = [slot.block for slot, _ in orders if slot.backend is backend]
        assert blocks == list(range(len(blocks)))
        assert seeds == [PLAN.seed + block for block in blocks]
    assert len({order.samples for _, order in orders}) == len(orders)
    assert [(order.rate, order.users, order.open) for _, order in orders] == [
        (slot.rate, None, True) for slot, _ in orders
    ]


# Spoilt trials.


def test_a_spoilt_step_is_measured_again_with_arrivals_of_its_own(set_stage: SetStage) -> None:
    plan = replace(PLAN, backends=(THREADS,))
    stage = set_stage(plan, SharpRunner(CAPACITIES, spoils=[1, 6]))
    run = stage.conduct()
    steps, slots = steps_of(run, THREADS), stage.runner.slots
    assert [at for at, step in enumerate(steps) if step.kept is None] == [1, 6]
    for at in (1, 6):
        assert (steps[at].rate, steps[at].purpose) == (steps[at + 1].rate, steps[at + 1].purpose)
        assert slots[at].block + 1 == slots[at + 1].block
    clean = one_of(run, THREADS)
    assert (clean.note, [trial.valid for trial in run.searched].count(False)) == ("", 2)


def test_spoilt_steps_do_not_change_what_is_found(set_stage: SetStage, tmp_path: Path) -> None:
    plan = replace(PLAN, backends=(THREADS,))
    run = set_stage(plan, SharpRunner(CAPACITIES, spoils=[0, 2, 4, 9])).conduct()
    spoilt = one_of(run, THREADS)
    (tmp_path / "run").rename(tmp_path / "spoilt")
    clean = one_of(set_stage(plan).conduct(), THREADS)
    assert replace(spoilt, steps=()) == replace(clean, steps=())
    assert [step for step in spoilt.steps if step.kept is not None] == list(clean.steps)


def test_two_spoilt_steps_in_a_row_send_the_search_down_and_are_told(set_stage: SetStage) -> None:
    plan = replace(PLAN, backends=(THREADS,))
    run = set_stage(plan, SharpRunner(CAPACITIES, spoils=[0, 1])).conduct()
    found = one_of(run, THREADS)
    assert "Two measurements in a row were invalid at 16 requests/s" in found.note
    assert [step.kept for step in found.steps[:2]] == [None, None]
    assert run.verdicts[0].caveats == (f"threads: {found.note}",)


def test_a_trial_that_could_not_be_measured_is_repeated(set_stage: SetStage) -> None:
    run = set_stage(replace(PLAN, backends=(THREADS,)), SharpRunner(CAPACITIES, fails=[0])).conduct()
    first, second, *_ = steps_of(run, THREADS)
    assert (first.kept, first.latency_ms, first.throughput_rps, first.in_flight) == (None, None, 0.0, None)
    assert (second.kept, second.rate) == (True, first.rate)
    assert run.searched[0].first_error == "the service died"
    assert one_of(run, THREADS).rate is not None


def test_a_backend_whose_service_does_not_start_is_given_up_after_two_trials(set_stage: SetStage) -> None:
    class Dead(SharpRunner):
        def run(self, slot: Slot) -> Outcome:
            if slot.backend is THREADS:
                self.slots.append(slot)
                return Outcome(failed_trial(slot, load_of(PLAN, slot), "3.14.0", "the service died"))
            return super().run(slot)

    run = set_stage(runner=Dead(CAPACITIES)).conduct()
    dead = one_of(run, THREADS)
    assert (len(dead.steps), dead.rate, dead.unsettled) == (2, None, True)
    (verdict,) = run.verdicts
    assert (verdict.winner, verdict.recommended) == (None, ASYNCIO), "nobody is beaten by who was not there"
    assert verdict.caveats[0] == "threads is left out: no measurement of it counts"


def test_a_backend_that_keeps_nothing_has_no_capacity_and_no_curve(set_stage: SetStage) -> None:
    plan = replace(PLAN, backends=(THREADS,), curve=True)
    run = set_stage(plan, SharpRunner({THREADS: 0.1}), fit=lambda _: Scalability()).conduct()
    found = one_of(run, THREADS)
    assert (found.rate, found.confirmed, found.broken) == (None, None, FLOOR_RATE)
    assert found.note.startswith("Even 0.5 requests/s break it.")
    assert (found.curve, found.law) == ((), None)


# Curves.


def test_a_curve_is_measured_after_the_search_at_shares_of_what_was_found(set_stage: SetStage) -> None:
    given: list[Sequence[CapacityStep]] = []
    law = Scalability(100.0, 0.1, 0.0, residuals=(0.01,))

    def fit(curve: Sequence[CapacityStep]) -> Scalability:
        given.append(curve)
        return law

    stage = set_stage(replace(PLAN, backends=(THREADS,), curve=True), fit=fit)
    run = stage.conduct()
    found = one_of(run, THREADS)
    assert found.rate is not None
    assert [step.rate for step in found.curve] == [share * found.rate for share in CURVE]
    assert {step.purpose for step in found.curve} == {"curve"}
    assert [step.kept for step in found.curve] == [
        share * found.rate <= CAPACITIES[THREADS] for share in CURVE
    ]
    assert [slot.rate for slot in stage.runner.slots[-len(CURVE) :]] == [step.rate for step in found.curve]
    assert "curve" not in {step.purpose for step in found.steps}
    assert len(run.searched) == len(found.steps) + len(found.curve)
    assert given == [found.curve]
    assert found.law == law


def test_no_curve_is_measured_unless_it_is_asked_for(set_stage: SetStage) -> None:
    def fit(_curve: Sequence[CapacityStep]) -> Scalability:
        raise AssertionError("there is nothing to fit")

    run = set_stage(fit=fit).conduct()
    assert {(capacity.curve, capacity.law) for capacity in run.capacities} == {((), None)}


def test_a_curve_without_a_fit_has_no_law(set_stage: SetStage) -> None:
    run = set_stage(replace(PLAN, curve=True)).conduct()
    assert all(len(capacity.curve) == len(CURVE) and capacity.law is None for capacity in run.capacities)


@pytest.mark.parametrize(("sharp", "lowest", "highest"), [(2.0, FLOOR_RATE, None), (1e9, None, MAX_RATE)])
def test_a_curve_stays_within_the_rates_that_are_ever_tried(
    set_stage: SetStage, sharp: float, lowest: float | None, highest: float | None
) -> None:
    plan = replace(PLAN, backends=(THREADS,), curve=True)
    run = set_stage(plan, SharpRunner({THREADS: sharp})).conduct()
    rates = [step.rate for step in one_of(run, THREADS).curve]
    assert rates == sorted(rates)
    assert lowest in (None, rates[0])
    assert highest in (None, rates[-1])


# The verdict.


def test_the_verdict_is_that_of_the_capacities_so_far(set_stage: SetStage) -> None:
    asked: list[tuple[str, list[tuple[str, BackendName]]]] = []

    def rank(target: Target, capacities: Sequence[Capacity]) -> Verdict:
        asked.append((target.workload, [(capacity.workload, capacity.backend) for capacity in capacities]))
        return judge_capacities(target, capacities)

    targets = (*PLAN.targets, Target("two", "two.py:two"))
    run = set_stage(replace(PLAN, targets=targets), rank=rank).conduct()
    every = [(capacity.workload, capacity.backend) for capacity in run.capacities]
    assert asked == [("one", every[:2]), ("two", every)]
    assert [(verdict.workload, verdict.winner) for verdict in run.verdicts] == [
        ("one", THREADS),
        ("two", THREADS),
    ]


# Interruption.


def test_an_interrupt_keeps_what_was_measured(set_stage: SetStage) -> None:
    stage = set_stage(runner=SharpRunner(CAPACITIES, crash_at=5), folder_type=RunFolder)
    with pytest.raises(KeyboardInterrupt):
        stage.search.conduct()
    run = stage.run_on_disk()
    assert run == stage.search.evidence.run
    assert [trial.load.rate for trial in run.searched] == [slot.rate for slot in stage.runner.slots]
    assert len(run.searched) == 5
    assert (run.capacities, run.verdicts, run.complete) == ((), (), False)
    assert run.timing.load_s == 15.0


def test_an_interrupt_keeps_the_capacities_of_the_backends_before(
    set_stage: SetStage, tmp_path: Path
) -> None:
    whole = set_stage().conduct()
    (tmp_path / "run").rename(tmp_path / "whole")
    first, last = whole.capacities
    assert len(first.steps) < len(last.steps)
    crash_at = len(whole.searched) - 1
    stage = set_stage(runner=SharpRunner(CAPACITIES, crash_at=crash_at), folder_type=RunFolder)
    with pytest.raises(KeyboardInterrupt):
        stage.search.conduct()
    run = stage.run_on_disk()
    assert run.capacities == (first,)
    assert len(run.searched) == crash_at
    assert (run.verdicts, run.complete) == ((), False)


def test_an_interrupt_before_the_first_trial_ended_leaves_nothing(set_stage: SetStage) -> None:
    stage = set_stage(runner=SharpRunner(CAPACITIES, crash_at=0), folder_type=RunFolder)
    with pytest.raises(KeyboardInterrupt):
        stage.search.conduct()
    assert stage.search.evidence.run.searched == ()
    assert not (stage.folder.path / RUN_FILE).exists()


# What a trial counts for.

SLOT = Slot(PLAN.targets[0], THREADS, 0, 0, last=False, rate=100.0)
GOOD = trial_of(SLOT)


def test_a_trial_within_the_limit_has_kept_the_objective_and_the_limit_is_within() -> None:
    assert kept(GOOD, 20.0, SLO) is True
    assert kept(GOOD, 200.0, SLO) is True
    assert kept(GOOD, 200.1, SLO) is False


@pytest.mark.parametrize(
    "broken",
    [
        {"errors": 1},
        {"dropped": 1},
        {"unanswered": 1},
        {"throughput_rps": KEPT_UP * 100 - 0.1},
        {"throughput_rps": 0.0},
    ],
)
def test_what_breaks_the_objective_however_short_the_latencies(broken: Mapping[str, float]) -> None:
    trial = replace(GOOD, **broken)  # type: ignore[arg-type]
    assert kept(trial, 20.0, SLO) is False
    late = Caution("dispatch-lag", "it was late", "wait")
    assert kept(replace(trial, valid=False, warnings=(late,)), 20.0, SLO) is False, (
        "so much it may have caused"
    )
    assert kept(replace(trial, valid=False, warnings=(STOLEN,)), 20.0, SLO) is None, "but not this"
    assert kept(replace(trial, valid=True, warnings=(STOLEN,)), 20.0, SLO) is False, (
        "a lenient plan counts it"
    )


@pytest.mark.parametrize(("in_flight", "expected"), [(0.0, False), (0.9, False), (1.1, True)])
def test_a_few_that_are_still_under_way_do_not_mean_that_it_falls_behind(
    in_flight: float, *, expected: bool
) -> None:
    """Of 10 that were offered, 4 are back: with 0.9 in flight that is beyond chance, with 1.1 it is not."""
    trial = replace(GOOD, offered=10, throughput_rps=4 / SECONDS, in_flight=in_flight)
    assert kept(trial, 20.0, SLO) is expected


def test_a_backend_keeps_up_if_it_answers_nineteen_of_twenty() -> None:
    assert kept(replace(GOOD, throughput_rps=KEPT_UP * 100), 20.0, SLO) is True


def test_a_spoilt_trial_counts_for_nothing_whatever_its_latency() -> None:
    spoilt = replace(GOOD, valid=False, warnings=(STOLEN,))
    assert kept(spoilt, 20.0, SLO) is None
    assert kept(spoilt, 900.0, SLO) is None


def test_a_trial_without_answers_has_broken_it_and_one_that_was_not_measured_counts_for_nothing() -> None:
    assert kept(replace(GOOD, requests=0, valid=False), None, SLO) is False
    failed = failed_trial(SLOT, load_of(PLAN, SLOT), "3.14.0", "the service died")
    assert kept(failed, None, SLO) is None
    assert kept(replace(failed, errors=3), None, SLO) is None


def test_a_trial_of_which_nobody_knows_what_was_offered_counts_for_nothing() -> None:
    assert kept(replace(GOOD, offered=None, throughput_rps=0.0), 20.0, SLO) is None


def test_a_window_in_which_nothing_was_due_counts_for_nothing() -> None:
    empty = replace(GOOD, requests=0, throughput_rps=0.0, offered=0, in_flight=0.0, valid=False)
    assert kept(empty, None, SLO) is None


@pytest.mark.parametrize(
    ("slo", "expected"), [("p50=200ms", True), ("p99=200ms", False), ("max=200ms", False), ("max=1s", True)]
)
def test_the_objectives_own_quantile_decides(set_stage: SetStage, slo: str, expected: bool) -> None:  # noqa: FBT001
    latencies = [10.0] * 90 + [700.0] * 10
    zeros = [0.0] * len(latencies)
    work = WorkSamples(
        [1.0] * len(latencies), latencies, zeros, zeros, zeros, zeros, zeros, zeros, service_ms=latencies
    )

    class Mixed(SharpRunner):
        def run(self, slot: Slot) -> Outcome:
            return replace(super().run(slot), samples=Samples(SECONDS, work, ProbeSamples([], [])))

    stage = set_stage(replace(PLAN, slo=slo), Mixed(CAPACITIES))
    step = stage.step(parse_slo(slo))
    assert (step.kept, step.latency_ms) == (expected, 10.0 if slo == "p50=200ms" else 700.0)


def test_what_was_never_answered_counts_for_as_long_as_it_was_waited_for(set_stage: SetStage) -> None:
    class Losing(SharpRunner):
        def run(self, slot: Slot) -> Outcome:
            outcome = super().run(slot)
            lost = replace(samples_of(QUICK_MS), unanswered=Unanswered([1.0], [3_000.0]))
            return replace(outcome, trial=replace(outcome.trial, unanswered=1), samples=lost)

    stage = set_stage(runner=Losing(CAPACITIES))
    step = stage.step(SLO)
    assert (step.kept, step.latency_ms) == (False, 3_000.0)
