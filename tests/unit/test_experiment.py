from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from factories import LOAD, MACHINE

from gilscope import child
from gilscope.compare import experiment, metering, trial
from gilscope.compare.experiment import Experiment, Tools
from gilscope.compare.figures import RanOn, failed_trial
from gilscope.compare.machine import describe_machine
from gilscope.compare.metering import cpu_seconds, memory_mb
from gilscope.compare.plan import DRAIN_S, Slot, schedule
from gilscope.compare.service import ServiceOptions
from gilscope.compare.store import RunFolder
from gilscope.compare.trial import Outcome, Setting, Stopwatch, TrialRunner
from gilscope.compare.watching import Phase
from gilscope.errors import CaptureError, LensError, LoadError, ServiceError, ServiceGoneError, TargetError
from gilscope.flame.capture import Capture
from gilscope.lens.control import Lens
from gilscope.lens.ledger import NOTHING, Span
from gilscope.lens.readings import Window
from gilscope.load.control import Generator
from gilscope.load.orders import Measured, Order, Tally
from gilscope.load.samples import write_samples
from gilscope.model import (
    Anatomy,
    BackendName,
    Caution,
    Classification,
    Evidence,
    Flame,
    FlameKind,
    Folded,
    GeneratorLoad,
    GilClass,
    GilWaitShare,
    Graph,
    Interpreter,
    LoadKind,
    Plan,
    ProbeSamples,
    Run,
    Samples,
    StateSeconds,
    Target,
    ThreadRole,
    Trial,
    Verdict,
    WorkSamples,
)
from gilscope.profiling.observing import Observation

ASYNCIO, THREADS, *_ = BackendName
STACKS: Folded = {("main (app.py)", "work (own.py)"): 0.4}
SAMPLES = Samples(
    2.0,
    WorkSamples(*([value] * 40 for value in (1.0, 9.0, 2.0, 5.0, 3.0, 0.0, 1.0, 8.0))),
    ProbeSamples([1.0], [4.0]),
)
PLAN = Plan(
    targets=(Target("one", "one.py:one"), Target("two", "two.py:two")),
    backends=(ASYNCIO, THREADS),
    load=LOAD,
    blocks=2,
    seed=5,
    pool_size=None,
    profile_seconds=2.0,
    python=sys.executable,
    given={"n": "7"},
    app_dir="/srv/app",
    lenient=True,  # The samples here are made up, and know nothing of the load.
)
SLOTS = list(schedule(PLAN))


def captured(kind: FlameKind, folded: Folded = STACKS) -> Capture:
    graph = Graph(
        kind=kind,
        source="py-spy 0.4.3",
        rate_hz=100,
        seconds=2.0,
        samples=round(100 * sum(folded.values())),
        lost=1,
        notes=("a note",),
        pause_share=0.25,
        requests=71,
        share=0.5,
        lens_share=0.4,
    )
    return Capture(graph, folded)


class Diary:
    """A watcher that writes down all that it is told, and what lay in the folder then."""

    def __init__(self, folder: RunFolder) -> None:
        self.entries: list[str] = []
        self.found: list[Classification | None] = []
        self.trials_on_disk: list[int] = []
        self._folder = folder

    def begins(self, slot: Slot) -> None:
        self.entries.append(f"begins {slot.position}")

    def enters(self, slot: Slot, phase: Phase) -> None:
        self.entries.append(f"{phase} {slot.target.workload}")

    def serves(self, slot: Slot, ran_on: RanOn, lens_url: str | None) -> None:
        self.entries.append(f"serves {slot.position} {ran_on.python} {ran_on.gil_enabled} {lens_url}")

    def draws(self, flame: Flame) -> None:
        self.entries.append(f"draws {flame.path}")

    def ends(self, slot: Slot, trial: Trial) -> None:  # noqa: ARG002  the protocol's
        self.entries.append(f"ends {slot.position}")
        self.trials_on_disk.append(len(self._folder.read().run.trials))

    def concludes(self, verdict: Verdict, found: Classification | None) -> None:
        assert verdict in self._folder.read().run.verdicts
        self.found.append(found)
        self.entries.append(f"concludes {verdict.workload}")

    def warns(self, caution: Caution) -> None:
        self.entries.append(f"warns {caution.code}")


class Phases(Diary):
    """A watcher that writes down, among other events, what a trial goes through."""

    def __init__(self, events: list[str]) -> None:
        self.entries = events

    def enters(self, slot: Slot, phase: Phase) -> None:  # noqa: ARG002  the protocol's
        self.entries.append(f"[{phase}]")


@dataclass
class FakeRunner:
    """Makes trials up; at ``crash_at`` it raises ``crash`` instead."""

    setting: Setting
    generator: object
    enters: Callable[[Slot, Phase], None]
    crash: BaseException | None = None
    crash_at: int = 2
    fails: Sequence[int] = ()
    spoils: Sequence[int] = ()
    spoils_once: Sequence[int] = ()
    captures: Sequence[Capture] = ()
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def run(self, slot: Slot) -> Outcome:
        if self.crash is not None and slot.position == self.crash_at:
            raise self.crash
        self.stopwatch.load_s += 3.0
        if slot.position in self.fails:
            return Outcome(failed_trial(slot, LOAD, "3.14.0", "the service died"))
        stem = f"latency/{slot.position}-{slot.attempt}.csv.gz"
        write_samples(self.setting.folder.path / stem, SAMPLES)
        spoilt = slot.position in self.spoils or (slot.position in self.spoils_once and slot.attempt == 1)
        trial = replace(
            failed_trial(slot, LOAD, "3.14.0", ""),
            requests=40,
            samples=stem,
            valid=not spoilt,
            warnings=(Caution("steal", "others took it", "wait"),) if spoilt else (),
        )
        return Outcome(trial, SAMPLES, tuple(self.captures) if slot.last else ())


@dataclass
class FakeGenerator:
    stopped: int = 0

    def stop(self) -> None:
        self.stopped += 1


def judge(target: Target, trials: Sequence[Trial], samples: Mapping[str, Samples]) -> Verdict:
    valid = [trial for trial in trials if trial.valid]
    assert all(trial.workload == target.workload for trial in trials)
    assert {trial.samples for trial in valid} <= set(samples)
    return Verdict(target.workload, None, None, (), conclusive=False, reason=f"{len(valid)} of {len(trials)}")


def classify(target: Target) -> Classification:
    if target.workload == "two":
        raise TargetError("it raises", remedy="mend it")
    return classified(target)


def classified(target: Target) -> Classification:
    return Classification(
        target.workload, GilClass.RELEASES, 0.1, 0.2, 0.9, 12.0, can_release=True, pickles=True,
        subinterpreter_safe=None, enables_gil=None, reasons=("it releases the GIL",),
    )  # fmt: skip


def draw(flame: Flame, folded: Folded) -> str:
    return f"<svg>{flame.workload} {flame.backend} {flame.kind} {sum(folded.values()):g}</svg>"


@dataclass
class Stage:
    """An experiment with everything faked but the folder."""

    folder: RunFolder
    diary: Diary
    generator: FakeGenerator
    experiment: Experiment

    def run_on_disk(self) -> Run:
        return self.folder.read().run


SetStage = Callable[..., Stage]


@pytest.fixture
def set_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetStage:
    def make(plan: Plan = PLAN, **conduct: object) -> Stage:
        folder = RunFolder.create(tmp_path / "run")
        diary, generator = Diary(folder), FakeGenerator()
        monkeypatch.setattr(Setting, "generator", lambda _self: generator)
        monkeypatch.setattr(
            experiment,
            "TrialRunner",
            lambda setting, generator, _lens, enters: FakeRunner(setting, generator, enters, **conduct),  # type: ignore[arg-type]
        )
        clock = count(100.0)
        monkeypatch.setattr(experiment, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        run = Run("0.1.0", "one-two", "2026-11-22T09:05:07+00:00", MACHINE, plan)
        setting = Setting(plan, "python3.14", None, folder)
        conducted = Experiment(
            Evidence(run), setting, Tools(classify, judge, draw), watcher=diary, begun=90.0
        )
        return Stage(folder, diary, generator, conducted)

    return make


def test_every_trial_is_run_in_the_order_of_the_plan_and_saved_as_it_ends(set_stage: SetStage) -> None:
    stage = set_stage()
    stage.experiment.conduct()
    run = stage.run_on_disk()
    assert run == stage.experiment.evidence.run
    assert [(trial.workload, trial.backend, trial.block) for trial in run.trials] == [
        (slot.target.workload, slot.backend, slot.block) for slot in SLOTS
    ]
    assert stage.diary.trials_on_disk == list(range(1, len(SLOTS) + 1))
    assert run.complete
    assert stage.generator.stopped == 1


def test_a_verdict_is_told_when_its_workloads_last_trial_ended(set_stage: SetStage) -> None:
    stage = set_stage()
    stage.experiment.conduct()
    trials = [f"{what} {position}" for position in range(4) for what in ("begins", "ends")]
    others = [f"{what} {position}" for position in range(4, 8) for what in ("begins", "ends")]
    assert stage.diary.entries == [
        "classifying one",
        *trials,
        "concludes one",
        "classifying two",
        "warns not-classified",
        *others,
        "concludes two",
    ]
    assert [verdict.reason for verdict in stage.run_on_disk().verdicts] == ["4 of 4", "4 of 4"]


def test_what_a_function_does_to_the_gil_is_kept_and_told_with_the_verdict(set_stage: SetStage) -> None:
    stage = set_stage()
    stage.experiment.conduct()
    known, unknown = stage.run_on_disk().plan.targets
    assert known.classification == classified(PLAN.targets[0])
    assert unknown.classification is None
    assert stage.diary.found == [known.classification, None]


def test_a_function_that_nothing_can_be_found_out_about_is_tried_all_the_same(set_stage: SetStage) -> None:
    stage = set_stage()
    stage.experiment._tools = Tools(lambda _target: None, judge, draw)
    stage.experiment.conduct()
    assert stage.diary.found == [None, None]
    assert not [entry for entry in stage.diary.entries if entry.startswith("warns")]


def test_a_workload_of_one_trial_is_judged(set_stage: SetStage) -> None:
    plan = replace(PLAN, targets=PLAN.targets[:1], backends=(THREADS,), blocks=1)
    stage = set_stage(plan)
    stage.experiment.conduct()
    assert stage.diary.entries == ["classifying one", "begins 0", "ends 0", "concludes one"]


def test_the_runs_time_counts_from_the_users_command(set_stage: SetStage) -> None:
    stage = set_stage()
    stage.experiment.conduct()
    timing = stage.run_on_disk().timing
    assert timing.total_s == 100.0 + len(SLOTS) - 1 - 90.0
    assert timing.load_s == 3.0 * len(SLOTS)


@pytest.mark.parametrize("crash", [RuntimeError("out of the blue"), KeyboardInterrupt(), MemoryError()])
def test_a_crash_loses_one_trial(set_stage: SetStage, crash: BaseException) -> None:
    stage = set_stage(crash=crash, crash_at=2)
    with pytest.raises(type(crash)):
        stage.experiment.conduct()
    found = stage.folder.read()
    assert [trial.block for trial in found.run.trials] == [0, 0]
    assert set(found.samples) == {"latency/0-1.csv.gz", "latency/1-1.csv.gz"}
    assert not found.run.complete
    assert found.run.verdicts == ()
    assert stage.experiment.evidence == found
    assert stage.generator.stopped == 1


def test_an_interrupt_keeps_the_verdicts_so_far(set_stage: SetStage) -> None:
    stage = set_stage(crash=KeyboardInterrupt(), crash_at=5)
    with pytest.raises(KeyboardInterrupt):
        stage.experiment.conduct()
    run = stage.run_on_disk()
    assert [verdict.workload for verdict in run.verdicts] == ["one"]
    assert len(run.trials) == 5


def test_a_crash_before_the_first_trial_ended_leaves_nothing(set_stage: SetStage) -> None:
    stage = set_stage(crash=KeyboardInterrupt(), crash_at=0)
    with pytest.raises(KeyboardInterrupt):
        stage.experiment.conduct()
    assert stage.experiment.evidence.run.trials == ()
    assert not (stage.folder.path / "run.json").exists()


def test_a_failed_trial_is_kept_and_the_run_goes_on(set_stage: SetStage) -> None:
    stage = set_stage(fails=(1, 2))
    stage.experiment.conduct()
    run = stage.run_on_disk()
    assert [trial.valid for trial in run.trials] == [True, False, False, True, True, True, True, True]
    assert run.trials[1].first_error == "the service died"
    assert [verdict.reason for verdict in run.verdicts] == ["2 of 4", "4 of 4"]
    assert run.complete


def test_a_spoilt_trial_is_repeated_once_and_both_are_kept(set_stage: SetStage) -> None:
    stage = set_stage(spoils=[1], spoils_once=[2])
    stage.experiment.conduct()
    trials = stage.run_on_disk().trials
    assert [(trial.attempt, trial.valid) for trial in trials] == [
        (1, True), (1, False), (2, False), (1, False), (2, True), *[(1, True)] * 5,
    ]  # fmt: skip
    assert len(stage.folder.read().samples) == 10
    assert stage.diary.entries.count("begins 1") == stage.diary.entries.count("ends 2") == 2


def test_a_trial_that_failed_is_not_repeated(set_stage: SetStage) -> None:
    stage = set_stage(fails=[1])
    stage.experiment.conduct()
    assert [trial.attempt for trial in stage.run_on_disk().trials] == [1] * len(SLOTS)


def test_captures_become_flames_on_disk(set_stage: SetStage) -> None:
    captures = {kind: captured(kind) for kind in FlameKind}
    stage = set_stage(captures=tuple(captures.values()))
    stage.experiment.conduct()
    found = stage.folder.read()
    assert len(found.run.flames) == 2 * 2 * 3
    for flame in found.run.flames:
        path = f"flames/{flame.workload}-{flame.backend}.{flame.kind}"
        assert flame == Flame.of(captures[flame.kind].graph, flame.workload, flame.backend, path)
        assert found.stacks[flame.path] == STACKS
        svg = (stage.folder.path / f"{flame.path}.svg").read_text()
        assert svg == f"<svg>{flame.workload} {flame.backend} {flame.kind} 0.4</svg>"
        profile = json.loads((stage.folder.path / f"{flame.path}.speedscope.json").read_text())
        assert profile["name"] == f"{flame.workload}-{flame.backend}.{flame.kind}"


def test_a_capture_without_stacks_is_kept_but_not_drawn(set_stage: SetStage) -> None:
    stage = set_stage(captures=(captured(FlameKind.WAITING, {}), captured(FlameKind.WALL)))
    stage.experiment.conduct()
    found = stage.folder.read()
    assert {flame.kind: flame.samples for flame in found.run.flames} == {
        FlameKind.WAITING: 0,
        FlameKind.WALL: 40,
    }
    assert found.stacks["flames/one-asyncio.waiting"] == {}
    assert {path.name for path in stage.folder.path.glob("flames/one-asyncio.waiting*")} == {
        "one-asyncio.waiting.folded"
    }
    assert found == stage.experiment.evidence


# One trial, with service, load and profiler faked.


class FakeLoad:
    """A generator that writes down when the load is up."""

    def __init__(self, events: list[str], measured: Measured | Exception) -> None:
        self.events = events
        self.orders: list[Order] = []
        self._measured = measured

    def prepare(self) -> None:
        self.events.append("prepare")

    @contextmanager
    def load(self, order: Order, on_window: Callable[[], None]) -> Iterator[Measured]:
        self.orders.append(order)
        self.events.append("load up")
        on_window()
        if isinstance(self._measured, Exception):
            raise self._measured
        yield self._measured
        self.events.append("load down")


class FakeLens:
    """A lens that writes down what it is asked, and can fail at any of it."""

    def __init__(self, events: list[str], failing_at: str | None) -> None:
        self.events = events
        self.metrics_url: str | None = None
        self._failing_at = failing_at

    def _do(self, what: str) -> None:
        if what.startswith(self._failing_at or "-"):
            raise LensError("no right to watch", remedy="sudo")
        self.events.append(f"lens: {what}")

    def prepare(self) -> None:
        self._do("prepare")

    def watch(self, pid: int) -> None:
        self._do(f"watch {pid}")
        self.metrics_url = "http://lens"

    def open_window(self, seconds: float) -> None:
        self._do(f"open {seconds:g} s")

    def window(self) -> Window:
        self._do("window")
        return WINDOW


@dataclass
class Trying:
    runner: TrialRunner
    events: list[str]
    load: FakeLoad
    options: list[ServiceOptions]

    def run(self, *, last: bool = False) -> Outcome:
        return self.runner.run(Slot(PLAN.targets[0], THREADS, 1, 2, last=last))


Try = Callable[..., Trying]
LOOP = Span(StateSeconds(0.25, 0.125, 1.5, 0.125, 0.2), NOTHING)
WORKERS = Span(StateSeconds(3.2, 0.2, 1.6, 3.0, 3.0), StateSeconds(0.12, 0.01, 0.06, 0.01))
WINDOW = Window(2.0, 400, 0.02, {ThreadRole.LOOP: LOOP, ThreadRole.WORKER: WORKERS})
MEASURED = Measured(SAMPLES, Tally(0, None, 1, 1, GeneratorLoad(0.1, 0.0, 0.3)))


@pytest.fixture
def trying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Try:
    def make(
        plan: Plan = PLAN,
        measured: Measured | Exception = MEASURED,
        capture: Exception | None = None,
        service: Exception | None = None,
        death: Exception | None = None,
        lens_fails_at: str | None = None,
        *,
        gil_enabled: bool = True,
    ) -> Trying:
        events: list[str] = []
        lens = cast("Lens", FakeLens(events, lens_fails_at)) if plan.lens else None
        load = FakeLoad(events, measured)
        options: list[ServiceOptions] = []
        cpu = iter((10.0, 13.0))

        def require_alive() -> None:
            if death is not None:
                raise death

        @contextmanager
        def running_service(given: ServiceOptions) -> Iterator[SimpleNamespace]:
            options.append(given)
            if service is not None:
                raise service
            events.append("service up")
            try:
                yield SimpleNamespace(
                    pid=4711,
                    url="http://there",
                    metrics_url="http://there/metrics",
                    python="3.14.0",
                    gil_enabled=gil_enabled,
                    child=SimpleNamespace(require_alive=require_alive),
                )
            finally:
                events.append("service down")

        def fake_take(
            pid: int,
            kinds: Sequence[FlameKind],
            seconds: int,
            *,
            observation: Observation[int],
            backends: Collection[BackendName],
            metrics_url: str,
        ) -> list[Capture]:
            assert (pid, seconds) == (4711, 2)
            assert (tuple(backends), metrics_url) == ((THREADS,), "http://there/metrics")
            events.append("capture")
            observation.open_window(seconds)
            if capture is not None:
                raise capture
            observation.window()
            return [captured(kind) for kind in kinds]

        clock = count(100.0)
        monkeypatch.setattr(trial, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        monkeypatch.setattr(trial, "running_service", running_service)
        monkeypatch.setattr(trial, "take", fake_take)
        ticks, stolen = count(100.0), count(5.0, 0.25)
        monkeypatch.setattr(metering, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
        monkeypatch.setattr(metering, "os", SimpleNamespace(cpu_count=lambda: 2))
        monkeypatch.setattr(metering, "cpu_seconds", lambda pid: next(cpu) if pid == 4711 else 0.0)
        monkeypatch.setattr(metering, "memory_mb", lambda pid: 64.0 if pid == 4711 else 0.0)
        monkeypatch.setattr(metering, "stolen_seconds", lambda: next(stolen))
        executables = {one.name: f"/cache/{one.name}/python" for one in plan.pythons}
        setting = Setting(plan, "python3.14", None, RunFolder(tmp_path), executables=executables)
        runner = TrialRunner(setting, cast("Generator", load), lens, Phases(events))
        return Trying(runner, events, load, options)

    return make


SERVES = "serves 2 3.14.0 True http://lens"


def test_a_trial_goes_through_its_phases_and_is_profiled_under_load_after_the_window(trying: Try) -> None:
    tried = trying()
    outcome = tried.run(last=True)
    assert tried.events == [
        "[starting]", "prepare", "lens: prepare", "service up", "lens: watch 4711", SERVES, "[warm-up]",
        "load up", "lens: open 4 s",
        "[measuring]", "lens: window", "[profiling]", "capture", "lens: open 2 s", "lens: window",
        "[stopping]", "load down", "service down",
    ]  # fmt: skip
    assert [capture.graph.kind for capture in outcome.captures] == list(FlameKind)
    assert tried.runner.stopwatch.load_s > 0
    assert tried.runner.stopwatch.profiling_s > 0


def test_a_trials_figures_come_from_what_was_measured(trying: Try) -> None:
    found = trying().run().trial
    assert (found.workload, found.backend, found.block, found.python) == ("one", THREADS, 1, "3.14.0")
    assert (found.requests, found.throughput_rps, found.valid) == (40, 20.0, True)
    assert found.cpu_cores == (13.0 - 10.0) / (101.0 - 100.0), "CPU seconds by the clock, not by the window"
    assert found.steal_share == 0.25 / 2, "of both cores' time"
    assert found.memory_mb == 64.0
    assert found.samples == "latency/one-threads-1.csv.gz"


def test_the_lens_splits_the_run_and_says_who_waited(trying: Try) -> None:
    found = trying().run().trial
    assert found.anatomy_ms == Anatomy(1.0, 2.0, 5.0, 3.0, 1.0, gil_wait=1.5, runqueue=0.25, blocked=0.25)
    assert found.gil_wait_share == GilWaitShare(loop=0.75, worker=0.2)
    assert found.lens == WINDOW.reading()


@pytest.mark.parametrize("fails_at", ["prepare", "watch", "open", "window"])
def test_a_trial_goes_on_without_the_lens_and_says_so(trying: Try, fails_at: str) -> None:
    tried = trying(lens_fails_at=fails_at)
    found = tried.run().trial
    assert (found.valid, found.requests) == (True, 40)
    assert (found.lens, found.gil_wait_share) == (None, None)
    assert found.anatomy_ms is not None
    assert found.anatomy_ms.gil_wait is None
    assert found.warnings[-1] == Caution("no-lens", "GIL wait was not measured: no right to watch", "sudo")


FREE = Interpreter(
    "3.14.0t", "/free/python", "3.14.0", free_threaded=True, gil_enabled=False, start_method="forkserver"
)
ON_FREE = replace(PLAN, pythons=(FREE,), targets=(replace(PLAN.targets[0], python="3.14.0t"),))


@pytest.mark.parametrize("gil_enabled", [False, True])
def test_a_free_threaded_service_is_told_when_its_gil_is_on(trying: Try, *, gil_enabled: bool) -> None:
    tried = trying(ON_FREE, gil_enabled=gil_enabled)
    found = tried.runner.run(Slot(ON_FREE.targets[0], THREADS, 1, 2, last=False)).trial
    assert [options.python for options in tried.options] == ["/cache/3.14.0t/python"]
    assert (found.valid, found.gil_enabled) == (True, gil_enabled)
    assert ("gil-enabled-again" in [caution.code for caution in found.warnings]) is gil_enabled
    assert (found.gil_wait_share is not None) is gil_enabled


def test_nobody_watches_where_no_lens_was_wanted(trying: Try) -> None:
    tried = trying(replace(PLAN, lens=False))
    found = tried.run().trial
    assert found.lens is None
    assert "no-lens" not in [caution.code for caution in found.warnings]
    assert not [event for event in tried.events if event.startswith("lens")]


def test_the_order_is_that_of_the_plan(trying: Try, tmp_path: Path) -> None:
    tried = trying()
    tried.run()
    assert tried.load.orders == [
        Order(
            url="http://there",
            workload="one",
            backend="threads",
            users=20,
            warmup_s=1.0,
            seconds=4.0,
            probe_rate=50.0,
            seed=PLAN.seed + 1,
            drain_s=DRAIN_S,
            samples=str(tmp_path / "latency/one-threads-1.csv.gz"),
        )
    ]


@pytest.mark.parametrize(
    ("load", "slo", "drain_s"),
    [
        ({"seconds": 20.0}, None, DRAIN_S),
        ({"kind": LoadKind.OPEN, "users": None, "rate": 5.0, "seconds": 20.0}, None, 20.0),
        ({"kind": LoadKind.OPEN, "users": None, "rate": 5.0, "seconds": 20.0}, "p99=200ms", DRAIN_S),
        ({"kind": LoadKind.OPEN, "users": None, "rate": 5.0, "seconds": 20.0}, "p99=8s", 10.0),
    ],
)
def test_what_an_open_loop_was_to_send_is_waited_for_as_long_as_it_may_take(
    trying: Try, load: dict[str, object], slo: str | None, drain_s: float
) -> None:
    tried = trying(replace(PLAN, load=replace(PLAN.load, **load), slo=slo))  # type: ignore[arg-type]
    tried.run()
    assert [order.drain_s for order in tried.load.orders] == [drain_s]


def test_the_service_gets_one_workload_on_one_backend(trying: Try) -> None:
    tried = trying(replace(PLAN, pool_size=3))
    tried.run()
    assert tried.options == [
        ServiceOptions("one.py:one", {"n": "7"}, "threads", 3, "/srv/app", None, "python3.14")
    ]


@pytest.mark.parametrize(
    ("plan", "last"),
    [(PLAN, False), (replace(PLAN, profile_seconds=0.0), True)],
    ids=["not last", "not asked"],
)
def test_profiles_are_taken_in_the_last_block_where_asked_for(trying: Try, plan: Plan, last: bool) -> None:  # noqa: FBT001
    tried = trying(plan)
    assert tried.run(last=last).captures == ()
    assert "capture" not in tried.events
    assert "load down" in tried.events


def test_nothing_is_profiled_where_nothing_was_answered(trying: Try) -> None:
    nothing = replace(MEASURED, samples=replace(SAMPLES, work=WorkSamples(*[[]] * 8)))
    tried = trying(measured=nothing)
    outcome = tried.run(last=True)
    assert not outcome.trial.valid
    assert "capture" not in tried.events


@pytest.mark.parametrize(("remedy", "told"), [("sudo", "sudo"), (None, "see the reason")])
def test_a_profile_that_fails_is_a_warning_on_a_good_trial(
    trying: Try, remedy: str | None, told: str
) -> None:
    tried = trying(capture=CaptureError("py-spy may not", remedy=remedy))
    outcome = tried.run(last=True)
    assert outcome.trial.valid
    assert outcome.captures == ()
    assert outcome.trial.warnings[-1] == Caution("no-profile", "no flame graphs: py-spy may not", told)
    assert tried.events[-2:] == ["load down", "service down"]
    assert tried.runner.stopwatch.profiling_s > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"service": ServiceError("it did not start")},
        {"measured": LoadError("it got stuck")},
        {"death": ServiceError("ended with exit code -9")},
    ],
)
def test_what_goes_wrong_becomes_a_trial_that_says_why(trying: Try, wrong: dict[str, Exception]) -> None:
    tried = trying(**wrong)
    outcome = tried.run(last=True)
    assert not outcome.trial.valid
    assert outcome.trial.first_error == str(*wrong.values())
    assert (outcome.trial.requests, outcome.trial.samples, outcome.captures) == (0, None, ())
    assert tried.events.count("service up") == tried.events.count("service down")
    assert "capture" not in tried.events


def test_an_interrupt_stops_the_service(trying: Try) -> None:
    tried = trying(capture=cast("Exception", KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        tried.run(last=True)
    assert tried.events[-1] == "service down"


# A service that runs already.


class FakeOnlooker:
    """Sees what the lens of a service there saw, or says why not."""

    def __init__(self, events: list[str], blind: LensError | None) -> None:
        self.events, self.blind = events, blind
        self.ran_on = RanOn("3.15.0", gil_enabled=True)

    @contextmanager
    def look(self) -> Iterator[FakeOnlooker]:
        try:
            yield self
        finally:
            self.events.append("look away")

    def prepare(self) -> None:
        """Do nothing, as the real one."""

    def watch(self, url: str) -> None:
        self.events.append(f"look at {url}")
        if self.blind is not None:
            raise self.blind

    def open_window(self, seconds: float) -> None:
        self.events.append(f"open {seconds:g} s")

    def window(self) -> Window:
        return WINDOW


THERE = replace(PLAN, url="http://10.0.0.5:8080")


def elsewhere(
    trying: Try,
    monkeypatch: pytest.MonkeyPatch,
    plan: Plan = THERE,
    blind: LensError | None = None,
    refusal: CaptureError | None = None,
) -> Trying:
    tried = trying(plan)
    monkeypatch.setattr(trial, "Onlooker", FakeOnlooker(tried.events, blind).look)

    class FakeProfiles:
        def __init__(self, url: str, token: str | None) -> None:
            self.url = url
            assert token == "secret"

        def captures(self, seconds: int) -> list[Capture]:
            tried.events.append(f"capture {seconds} s there")
            if refusal is not None:
                raise refusal
            return [captured(kind) for kind in FlameKind]

    monkeypatch.setattr(trial, "ProfilesThere", FakeProfiles)
    monkeypatch.setattr(trial, "require_there", lambda url: tried.events.append(f"{url} is there"))
    tried.runner.setting = replace(tried.runner.setting, token="secret")
    return tried


def test_a_service_that_runs_already_is_watched_and_profiled_by_what_it_has(
    trying: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = elsewhere(trying, monkeypatch)
    outcome = tried.run(last=True)
    assert tried.events == [
        "[starting]", "http://10.0.0.5:8080 is there", "look at http://10.0.0.5:8080", "[warm-up]", "load up",
        "open 4 s", "[measuring]", "http://10.0.0.5:8080 is there", "[profiling]", "capture 2 s there", "[stopping]", "load down", "look away",
    ]  # fmt: skip
    assert [order.url for order in tried.load.orders] == ["http://10.0.0.5:8080"]
    assert [order.query for order in tried.load.orders] == ["n=7"]
    assert [capture.graph.kind for capture in outcome.captures] == list(FlameKind)
    found = outcome.trial
    assert (found.python, found.gil_enabled) == ("3.15.0", True)
    assert (found.lens, found.gil_wait_share) == (WINDOW.reading(), GilWaitShare(loop=0.75, worker=0.2))
    assert (found.cpu_cores, found.memory_mb) == (None, None), "it runs elsewhere"


def test_a_service_that_has_ended_ends_the_comparison(trying: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = elsewhere(trying, monkeypatch)

    def require_there(url: str) -> None:
        if "load up" in tried.events:
            raise ServiceGoneError(f"the service at {url} does not answer any more")

    monkeypatch.setattr(trial, "require_there", require_there)
    with pytest.raises(ServiceGoneError, match="does not answer any more"):
        tried.run(last=True)
    assert "look away" in tried.events


def test_what_a_service_that_runs_already_does_not_tell_is_a_caution(
    trying: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = LensError("no right to look", remedy="sudo")
    refusal = CaptureError("profile 7 is being captured", remedy="wait for its 5 s")
    found = elsewhere(trying, monkeypatch, blind=blind, refusal=refusal).run(last=True)
    assert (found.trial.valid, found.trial.lens, found.captures) == (True, None, ())
    busy = Caution("no-profile", "no flame graphs: profile 7 is being captured", "wait for its 5 s")
    unseen = Caution("no-lens", "GIL wait was not measured: no right to look", "sudo")
    assert found.trial.warnings[-2:] == (unseen, busy)


def test_a_service_that_runs_already_is_left_alone_where_nothing_of_it_is_wanted(
    trying: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = elsewhere(trying, monkeypatch, replace(THERE, lens=False, profile_seconds=0.0))
    tried.run(last=True)
    assert not [event for event in tried.events if event.startswith(("look at", "open", "capture"))]


def test_the_token_is_not_shown(tmp_path: Path) -> None:
    assert "secret" not in repr(Setting(PLAN, "python", None, RunFolder(tmp_path), token="secret"))


# The service's command line, what it uses, and the machine.


def options_of(command: Sequence[str]) -> set[str]:
    return {part for part in command if part.startswith("--")}


def test_the_service_is_started_by_the_plans_python() -> None:
    command = ServiceOptions("primes", {}, "threads", None, None, None, "/opt/python").command()
    assert command[:5] == ["/opt/python", "-P", "-m", "gilscope", "serve"]
    assert options_of(command[5:]) == {
        "--lifeline", "--port=0", "--metrics-port=0", "--workload=primes", "--backends=threads",
    }  # fmt: skip


def test_what_the_user_gave_is_passed_on_as_typed() -> None:
    command = ServiceOptions(
        "own.py:work", {"n": "7", "text": '"a=b -c"'}, "processes", 3, "/srv/app", "http://up:1", "python"
    ).command()
    assert {
        "--workload=own.py:work", "--arg=n=7", '--arg=text="a=b -c"', "--pool-size=3", "--app-dir=/srv/app",
        "--upstream=http://up:1",
    } <= options_of(command)  # fmt: skip


def test_usage_is_of_the_whole_tree() -> None:
    own = os.times()
    assert cpu_seconds(os.getpid()) >= own.user + own.system - 0.1
    assert 5 < memory_mb(os.getpid()) < 100_000


@pytest.mark.integration
def test_a_process_that_has_ended_uses_nothing() -> None:
    with child.Child([sys.executable, "-c", "input()"], failure=ServiceError) as ended:
        pid = ended.pid
        assert memory_mb(pid) > 0
    assert (cpu_seconds(pid), memory_mb(pid)) == (0.0, 0.0)


def test_the_machine_is_described() -> None:
    machine = describe_machine()
    assert machine.system.startswith(os.uname().sysname)
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert machine.memory_mb > 100
    assert machine.python == f"CPython {'.'.join(map(str, sys.version_info[:3]))}"
    assert machine.start_method in {"forkserver", "spawn"}
    assert machine.cpu
