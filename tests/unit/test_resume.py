"""Facts about runs that were interrupted: what is left of them, who may go on with them, and what a full disk leaves."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from factories import CLASSIFICATIONS, LOAD, MACHINE, interrupted, make_evidence, make_flame, make_stacks
from hypothesis import given
from hypothesis import strategies as st

from gilscope import scratch
from gilscope.commands.main import main
from gilscope.compare import experiment, holding
from gilscope.compare.elsewhere import Elsewhere, missing
from gilscope.compare.experiment import Experiment, Tools
from gilscope.compare.figures import failed_trial
from gilscope.compare.holding import LOCK_FILE, holder
from gilscope.compare.machine import describe_machine
from gilscope.compare.plan import Slot, load_of, schedule
from gilscope.compare.resuming import differences, left, obstacles, resumed, wants_another
from gilscope.compare.seeking import CapacitySearch
from gilscope.compare.sources import fingerprint
from gilscope.compare.store import RUN_FILE, RunFolder, write_text
from gilscope.compare.trial import Outcome, Setting, Stopwatch
from gilscope.errors import DiskFullError, RunFileError, unwritten
from gilscope.flame.capture import Capture
from gilscope.load.samples import write_samples
from gilscope.model import (
    BackendName,
    BreakEven,
    Caution,
    Classification,
    FlameKind,
    GeneratorLoad,
    Graph,
    Interval,
    Plan,
    ProbeSamples,
    Run,
    Samples,
    Standing,
    Sweep,
    Target,
    Timing,
    Trial,
    Verdict,
    WorkSamples,
)
from gilscope.report.console import describe_state
from gilscope.report.html import render
from gilscope.report.method import build_method
from gilscope.verdict.capacity import judge_capacities

ASYNCIO, THREADS, PROCESSES, _ = BackendName
STOLEN = Caution("steal", "others took it", "wait")
FULL = Path("/dev/full")
PLAN = Plan(
    targets=(Target("one", "one"), Target("two", "two")),
    backends=(ASYNCIO, THREADS),
    load=LOAD,
    blocks=2,
    seed=5,
    pool_size=None,
    profile_seconds=2.0,
    python="python3.14",
    twins=True,
    paired=("one",),
)


# What is left.


def trial_of(slot: Slot, kind: str) -> Trial:
    """Make a trial that went well, failed, or was spoilt."""
    made = failed_trial(slot, LOAD, "3.14.0", "the service died")
    if kind == "failed":
        return made
    return replace(made, valid=kind == "good", warnings=(STOLEN,) if kind == "spoilt" else ())


Kinds = Mapping[tuple[int, int], str]
"""What becomes of the trial at a position, by attempt."""


def go_on(plan: Plan, trials: list[Trial], kinds: Kinds, limit: int) -> list[Trial]:
    """Do as an experiment does, from what is there, until it is killed after so many trials."""
    done = list(trials)
    for slot in left(plan, trials):
        for attempt in range(slot.attempt, 3):
            if len(done) - len(trials) >= limit:
                return done
            done.append(trial_of(replace(slot, attempt=attempt), kinds.get((slot.position, attempt), "good")))
            if not wants_another(done[-1]):
                break
    return done


plans = st.builds(
    lambda targets, backends, blocks, seed, twins: replace(
        PLAN, targets=targets, backends=backends, blocks=blocks, seed=seed, twins=twins, paired=()
    ),
    st.integers(1, 3).map(lambda n: tuple(Target(f"w{at}", "primes", served_as="primes") for at in range(n))),
    st.sets(st.sampled_from(list(BackendName)), min_size=1).map(lambda found: tuple(sorted(found))),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
fates = st.dictionaries(
    st.tuples(st.integers(0, 30), st.integers(1, 2)), st.sampled_from(["good", "failed", "spoilt"])
)


@given(plans, fates, st.lists(st.integers(0, 9), max_size=12))
def test_however_often_a_run_is_killed_it_has_the_trials_of_one_that_was_not(
    plan: Plan, kinds: Kinds, sessions: list[int]
) -> None:
    expected = go_on(plan, [], kinds, 1_000)
    trials: list[Trial] = []
    for limit in sessions:
        trials = go_on(plan, trials, kinds, limit)
        assert trials == expected[: len(trials)], "the same ones, in the same order"
    assert go_on(plan, trials, kinds, 1_000) == expected
    assert list(left(plan, expected)) == []


@given(plans, fates, st.data())
def test_whichever_trials_are_there_the_others_are_left_in_order(
    plan: Plan, kinds: Kinds, data: st.DataObject
) -> None:
    slots = list(schedule(plan))
    there = data.draw(st.sets(st.integers(0, len(slots) - 1)))
    trials = [trial_of(slots[at], kinds.get((at, 1), "good")) for at in there]
    again = {at for at in there if kinds.get((at, 1)) == "spoilt"}
    assert [(slot.position, slot.attempt) for slot in left(plan, trials)] == [
        (at, 2 if at in again else 1) for at in range(len(slots)) if at not in there or at in again
    ]


def test_a_whole_plan_is_left_of_a_run_that_has_not_begun() -> None:
    assert list(left(PLAN, ())) == list(schedule(PLAN))


def test_a_failed_trial_counts_as_done() -> None:
    slots = list(schedule(PLAN))
    assert list(left(PLAN, [trial_of(slots[0], "failed")])) == slots[1:]


# Whether it can be gone on with.

RUN = Run("0.1.0", "one-two", "2026-11-22T09:05:07+00:00", MACHINE, PLAN)
OWN = replace(RUN, plan=replace(PLAN, targets=(Target("work.spin", "work.py:spin", source="aa"),)))


def test_nothing_stands_against_the_same_machine_and_source() -> None:
    assert list(obstacles(OWN, MACHINE, {"work.spin": "aa"})) == []
    assert list(differences(OWN, MACHINE, "0.1.0")) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cpu": "Other CPU"}, "the processor was Example CPU @ 2.40GHz and is Other CPU here"),
        ({"cores": 4}, "the number of cores was 2 and is 4 here"),
        ({"python": "CPython 3.13.9"}, "Python was CPython 3.14 and is CPython 3.13 here"),
        ({"python": "PyPy 3.14.0"}, "Python was CPython 3.14 and is PyPy 3.14 here"),
        (
            {"python": "CPython 3.14.0 free-threaded"},
            "Python was CPython 3.14 and is CPython 3.14 free-threaded here",
        ),
        ({"start_method": "spawn"}, "how processes are started was forkserver and is spawn here"),
    ],
)
def test_what_figures_cannot_be_compared_across_stands_against_it(change: dict[str, Any], told: str) -> None:
    assert list(obstacles(RUN, replace(MACHINE, **change), {"one": "", "two": ""})) == [told]


def test_a_changed_source_and_one_that_is_gone_stand_against_it() -> None:
    assert list(obstacles(OWN, MACHINE, {"work.spin": "bb"})) == ["work.py has changed since the run began"]
    (told,) = obstacles(OWN, MACHINE, {"work.spin": ""})
    assert told.startswith("work.py is not found from this folder")


@pytest.mark.parametrize(
    ("change", "version", "code"),
    [
        ({"system": "Linux 7.0"}, "0.1.0", "system-changed"),
        ({"python": "CPython 3.14.1"}, "0.1.0", "python-changed"),
        ({"memory_mb": 4000}, "0.1.0", "memory-changed"),
        ({}, "0.2.0", "gilscope-changed"),
    ],
)
def test_what_may_show_in_the_figures_is_a_caution(change: dict[str, Any], version: str, code: str) -> None:
    machine = replace(MACHINE, **change)
    (caution,) = differences(RUN, machine, version)
    assert (caution.code, bool(caution.remedy)) == (code, True)
    assert list(obstacles(RUN, machine, {"one": "", "two": ""})) == []


def test_memory_that_is_counted_a_little_differently_is_the_same() -> None:
    assert list(differences(RUN, replace(MACHINE, memory_mb=MACHINE.memory_mb + 30), "0.1.0")) == []


def test_a_run_without_a_fingerprint_is_gone_on_with_and_says_so() -> None:
    old = replace(RUN, plan=replace(PLAN, targets=(Target("work.spin", "work.py:spin"),)))
    assert list(obstacles(old, MACHINE, {"work.spin": "bb"})) == []
    assert [caution.code for caution in differences(old, MACHINE, "0.1.0")] == ["source-unknown"]


def test_a_run_says_each_time_when_it_was_resumed_and_each_caution_once() -> None:
    twice = resumed(resumed(RUN, "then", (STOLEN,)), "now", (STOLEN,))
    assert (twice.resumed_at, twice.cautions) == (("then", "now"), (STOLEN,))


def test_a_service_elsewhere_must_have_what_the_plan_tries_on_it() -> None:
    plan = replace(PLAN, url="http://there", targets=(Target("one", "one", excluded={PROCESSES: "no"}),))
    assert list(missing(Elsewhere({"one": []}, (ASYNCIO, THREADS)), plan)) == []
    assert list(missing(Elsewhere({}, (ASYNCIO,)), plan)) == [
        "the service at http://there has no workload 'one'",
        "the service at http://there does not run threads",
    ]


# The fingerprint.


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_fingerprint_is_of_the_file_and_imports_nothing(tmp_path: Path) -> None:
    package = tmp_path / "resumable" / "inner"
    package.mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "inner/work.py"):
        (tmp_path / "resumable" / name).write_text(f"raise SystemExit({name!r})")
    own = package / "work.py"
    assert fingerprint(f"{own}:spin", None) == digest(own)
    assert fingerprint("resumable.inner.work:spin", str(tmp_path)) == digest(own)
    assert fingerprint("resumable.inner:spin", str(tmp_path)) == digest(package / "__init__.py")
    assert "resumable" not in sys.modules
    before = fingerprint(f"{own}:spin", None)
    own.write_text("changed")
    assert fingerprint(f"{own}:spin", None) != before


@pytest.mark.parametrize("reference", ["primes", "nowhere.py:spin", "no.such.module:spin", "sys:exit"])
def test_what_has_no_file_has_no_fingerprint(reference: str) -> None:
    assert fingerprint(reference, None) == ""


# Who writes into a folder.

HOLD = """
import sys
from pathlib import Path
from gilscope.compare.holding import holding
with holding(Path(sys.argv[1]), remedy="wait"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def elsewhere_held(tmp_path: Path) -> Any:  # noqa: ANN401  an iterator
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_one_is_told_who_holds_a_folder(
    tmp_path: Path, elsewhere_held: subprocess.Popen[bytes]
) -> None:
    path = tmp_path / "run"
    assert holder(path) == elsewhere_held.pid

    def hold() -> None:
        with holding.holding(path, remedy="wait"):
            pytest.fail("it is held twice")

    for attempt in (hold, lambda: RunFolder.require_new(path)):
        with pytest.raises(RunFileError, match=rf"still runs \(process {elsewhere_held.pid}\)") as caught:
            attempt()
        assert caught.value.remedy
        assert caught.value.exit_code == 2


def test_the_lock_of_one_that_was_killed_holds_nobody_up(
    tmp_path: Path, elsewhere_held: subprocess.Popen[bytes]
) -> None:
    path = tmp_path / "run"
    elsewhere_held.kill()
    elsewhere_held.wait()
    assert (path / LOCK_FILE).exists()
    assert holder(path) is None
    with holding.holding(path, remedy="wait"):
        assert (path / LOCK_FILE).read_text() == f"{os.getpid()}\n"
    assert not path.exists(), "it was empty"


def test_a_folder_with_something_in_it_stays_and_its_lock_goes(tmp_path: Path) -> None:
    with holding.holding(tmp_path, remedy="wait"):
        (tmp_path / "kept").touch()
        assert holder(tmp_path) == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert holder(tmp_path) is None


def test_a_lock_that_was_taken_away_between_opening_and_locking_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(holding, "_is_there", lambda *_: next(answers))
    with holding.holding(tmp_path, remedy="wait"):
        assert next(answers, None) is None


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.__getitem__)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _kind: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_a_file_system_without_locks_keeps_nobody_out(tmp_path: Path) -> None:
    with holding.holding(tmp_path, remedy="wait"):
        assert holder(tmp_path) is None


@pytest.mark.usefixtures("no_locks")
def test_without_locks_nobodys_scratch_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = tmp_path / f"{scratch.PREFIX}other"
    other.mkdir()
    with scratch.scratch() as path:
        assert set(tmp_path.iterdir()) == {other, path}
    assert set(tmp_path.iterdir()) == {other}


def test_a_lock_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with (
        pytest.raises(DiskFullError, match="No space left"),
        holding.holding(tmp_path / "run", remedy="wait"),
    ):
        pytest.fail("it is not held")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_a_file_cannot_be_held(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(RunFileError, match="cannot write to") as caught,
        holding.holding(tmp_path / "file" / "run", remedy="wait"),
    ):
        pytest.fail("it is not held")
    assert caught.value.remedy


# Temporary files.


def test_scratch_is_where_temporary_files_go_and_takes_them_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)
    with scratch.scratch() as path:
        assert path.parent == tmp_path
        assert (tempfile.gettempdir(), os.environ["TMPDIR"]) == (str(path), str(path))
        (path / "left" / "behind").mkdir(parents=True)
    assert list(tmp_path.iterdir()) == []
    assert (tempfile.gettempdir(), "TMPDIR" in os.environ) == (str(tmp_path), False)


def test_scratch_of_one_that_was_killed_goes_and_that_of_one_at_work_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{scratch.PREFIX}killed" / "sub").mkdir(parents=True)
    (tmp_path / "gilscope-other").mkdir()
    with scratch.scratch() as at_work:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with scratch.scratch() as second:
            assert {path.name for path in tmp_path.iterdir()} == {at_work.name, second.name, "gilscope-other"}


def test_scratch_without_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(DiskFullError, match=str(tmp_path)), scratch.scratch():
        pytest.fail("there is none")


# A full disk.


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, there: bool) -> None:  # noqa: FBT001
    path = tmp_path / "run.json"
    if there:
        path.write_text("before")
    (tmp_path / f"run.json.{os.getpid()}.tmp").symlink_to(FULL)
    with pytest.raises(DiskFullError, match=r"cannot write .*run\.json: No space left on device") as caught:
        write_text(path, "text" * 10_000)
    assert (caught.value.exit_code, bool(caught.value.remedy)) == (1, True)
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [
        ("run.json", "before")
    ] * there


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_samples_on_a_full_disk_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "one.csv.gz.tmp").symlink_to(FULL)
    with pytest.raises(OSError, match="No space left"):
        write_samples(tmp_path / "one.csv.gz", SAMPLES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, DiskFullError), (errno.EDQUOT, DiskFullError), (errno.EFBIG, DiskFullError), (errno.EACCES, RunFileError)],
)  # fmt: skip
def test_a_missing_right_is_another_matter_than_missing_room(number: int, kind: type[RunFileError]) -> None:
    found = unwritten("run.json", OSError(number, os.strerror(number)), "another folder")
    assert type(found) is kind
    assert (found.remedy == "another folder") is (kind is RunFileError)


# An experiment that is gone on with.

SAMPLES = Samples(
    2.0,
    WorkSamples(*([value] * 40 for value in (1.0, 9.0, 2.0, 5.0, 3.0, 0.0, 1.0, 8.0))),
    ProbeSamples([1.0], [4.0]),
)


class Killed(BaseException):
    """Stands for the end of the process."""


@dataclass
class Runner:
    """Makes trials up until it is killed; ``spoilt`` are positions whose first attempt is."""

    setting: Setting
    lives: int
    spoilt: Sequence[int] = ()
    capacities: Mapping[BackendName, float] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def run(self, slot: Slot) -> Outcome:
        if len(self.slots) == self.lives:
            raise Killed
        self.slots.append(slot)
        self.stopwatch.load_s += 3.0
        stem = (
            f"latency/{slot.target.workload}-{slot.backend}-{slot.block}-{slot.twin:d}-{slot.attempt}.csv.gz"
        )
        samples = SAMPLES if slot.rate is None else self._answer(slot)
        write_samples(self.setting.folder.path / stem, samples)
        captures = tuple(captured(kind) for kind in FlameKind) if slot.last and slot.attempt == 1 else ()
        return Outcome(self._trial(slot, stem), samples, captures)

    def _answer(self, slot: Slot) -> Samples:
        assert slot.rate is not None
        column = [20.0 if slot.rate <= self.capacities[slot.backend] else 900.0]
        zero = [0.0]
        work = WorkSamples([1.0], column, zero, zero, zero, zero, zero, zero, service_ms=column)
        return Samples(LOAD.seconds, work, ProbeSamples([], []))

    def _trial(self, slot: Slot, stem: str) -> Trial:
        load = load_of(PLAN, slot)
        bad = slot.position in self.spoilt and slot.attempt == 1 and slot.rate is None
        return replace(
            failed_trial(slot, load, "3.14.0", ""),
            requests=40,
            samples=stem,
            valid=not bad,
            warnings=(STOLEN,) if bad else (),
            throughput_rps=load.rate or 20.0,
            offered=None if slot.rate is None else round(slot.rate * load.seconds),
            generator=GeneratorLoad(0.1, 0.0, 0.3),
            first_error=None,
        )


def captured(kind: FlameKind) -> Capture:
    flame = make_flame("primes", THREADS, kind)
    graph = Graph(
        kind=kind, source=flame.source, rate_hz=flame.rate_hz, seconds=2.0, samples=flame.samples, lost=0
    )
    return Capture(graph, make_stacks(flame))


class Silent:
    """A watcher that writes down what was classified and concluded."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *told: self.entries.append(
            f"{name} {told[0].workload}" if name == "concludes" else name
        )


def judge(target: Target, trials: Sequence[Trial], samples: Mapping[str, Samples]) -> Verdict:
    valid = [trial for trial in trials if trial.valid]
    assert {trial.samples for trial in valid} <= set(samples)
    return Verdict(target.workload, None, None, (), conclusive=False, reason=f"{len(valid)} of {len(trials)}")


def cross(
    sweep: Sweep, targets: Sequence[Target], trials: Sequence[Trial], samples: Mapping[str, Samples]
) -> tuple[BreakEven, ...]:
    assert len(samples) == len(trials)
    assert len(targets) == len(sweep.sizes)
    return (BreakEven(ASYNCIO, THREADS, Standing.CROSSES, Interval(1.0, float(len(trials)), 99.0)),)


@dataclass
class Stage:
    """A comparison with all but its folder made up; each session is a process that may be killed."""

    folder: RunFolder
    plan: Plan
    monkeypatch: pytest.MonkeyPatch
    classified: list[str] = field(default_factory=list)
    spoilt: Sequence[int] = ()
    runners: list[Runner] = field(default_factory=list)

    def session(self, lives: int) -> Run:
        """Go on from what is in the folder, until killed; return what is there then."""
        if not self.folder.has_run:
            self.folder.write_run(replace(RUN, plan=self.plan))
        known = self.folder.read()
        setting = Setting(known.run.plan, "python3.14", None, self.folder)
        runner = Runner(setting, lives, self.spoilt, {ASYNCIO: 90.0, THREADS: 400.0})
        self.runners.append(runner)
        self.monkeypatch.setattr(Setting, "generator", lambda _self: SimpleNamespace(stop=lambda: None))
        self.monkeypatch.setattr(experiment, "TrialRunner", lambda *_: runner)
        self.monkeypatch.setattr(experiment, "time", SimpleNamespace(monotonic=lambda: 100.0))
        tools = Tools(self.classify, judge, lambda *_: "<svg/>", cross, rank=judge_capacities)
        kind = CapacitySearch if self.plan.slo else Experiment
        conducted = kind(known, setting, tools, watcher=cast("Any", Silent()), begun=90.0)
        with ExitStack() as stack:
            if lives < 1_000:
                stack.enter_context(pytest.raises(Killed))
            conducted.conduct()
        return self.folder.read().run

    def classify(self, target: Target) -> Classification:
        self.classified.append(target.workload)
        return replace(CLASSIFICATIONS["primes"], target=target.workload)


SetStage = Callable[..., Stage]


@pytest.fixture
def set_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetStage:
    def make(name: str, plan: Plan = PLAN, spoilt: Sequence[int] = ()) -> Stage:
        return Stage(RunFolder.create(tmp_path / name), plan, monkeypatch, spoilt=spoilt)

    return make


@pytest.mark.parametrize("lives", range(13))
def test_wherever_it_is_killed_a_run_ends_as_one_that_was_not(set_stage: SetStage, lives: int) -> None:
    spoilt = (1, 9)
    whole = set_stage("whole", spoilt=spoilt).session(1_000)
    assert len(whole.trials) == 10 + 2
    stage = set_stage("killed", spoilt=spoilt)
    if lives == 12:  # Killed after the last trial: all that is left is to be judged.
        stage.session(1_000)
        stage.folder.write_run(replace(stage.folder.read_run(), complete=False, verdicts=()))
    else:
        partial = stage.session(lives)
        assert (partial.complete, len(partial.trials)) == (False, lives)
        assert partial.trials == whole.trials[:lives]
    ended = stage.session(1_000)
    assert ended.complete
    # The clock stands still at 10 s from the begin of each session, and only saved time counts.
    sessions = sum(bool(runner.slots) for runner in stage.runners)
    assert ended.timing == replace(whole.timing, total_s=10.0 * sessions)
    assert replace(ended, timing=whole.timing) == whole
    assert ended.timing.load_s == 3.0 * 12
    assert stage.folder.read().stacks.keys() == {flame.path for flame in whole.flames}


def test_a_graph_that_was_saved_without_its_trial_is_taken_again(set_stage: SetStage) -> None:
    stage = set_stage("killed")
    write = RunFolder.write_run
    saved: list[int] = []

    def killed_at_the_last(folder: RunFolder, run: Run) -> None:
        if run.flames:
            raise Killed
        saved.append(len(run.trials))
        write(folder, run)

    stage.monkeypatch.setattr(RunFolder, "write_run", killed_at_the_last)
    run = stage.session(999)
    assert list((stage.folder.path / "flames").iterdir())
    assert (run.flames, len(run.trials)) == ((), saved[-1]), "a trial and its graphs are there, or neither"
    stage.monkeypatch.setattr(RunFolder, "write_run", write)
    ended = stage.session(1_000)
    assert len(ended.flames) == 2 * 2 * 3
    assert ended.complete


def test_what_is_known_of_a_function_is_not_asked_again(set_stage: SetStage) -> None:
    stage = set_stage("killed")
    stage.session(3)
    assert stage.classified == ["one"]
    stage.session(1_000)
    assert stage.classified == ["one", "two"]


def test_a_sweep_finds_its_break_evens_from_all_trials(set_stage: SetStage) -> None:
    sizes = tuple(Target(f"one, n={n}", "one", given={"n": n}, served_as="one") for n in "12")
    plan = replace(PLAN, targets=sizes, sweep=Sweep("n", (1.0, 2.0)), paired=(), profile_seconds=0.0)
    stage = set_stage("killed", plan)
    assert stage.session(5).break_evens == ()
    ended = stage.session(1_000)
    assert ended.break_evens[0].size == Interval(1.0, float(len(ended.trials)), 99.0)


SEARCH = replace(PLAN, slo="p99=200ms", targets=PLAN.targets[:1], blocks=1, twins=False, profile_seconds=0.0)


@pytest.mark.parametrize("lives", [0, 1, 5, 14, 20])
def test_a_search_takes_its_steps_as_they_are_and_finds_the_same(set_stage: SetStage, lives: int) -> None:
    plan = replace(SEARCH, curve=True)
    whole = set_stage("whole", plan).session(1_000)
    assert len(whole.searched) > 30
    stage = set_stage("killed", plan)
    assert len(stage.session(lives).searched) == lives
    ended = stage.session(1_000)
    assert len(stage.runners[1].slots) == len(whole.searched) - lives, "none is measured twice"
    assert [slot.position for slot in stage.runners[1].slots] == list(range(lives, len(whole.searched)))
    assert replace(ended, timing=whole.timing) == whole
    assert stage.classified == ["one"] * (2 if lives == 0 else 1)


def ordered(run: Run) -> Run:
    """Return a run without its times, the steps of each search together."""
    return replace(
        run, timing=Timing(), searched=tuple(sorted(run.searched, key=lambda one: (one.backend, one.block)))
    )


def test_a_step_whose_samples_are_gone_is_measured_again_with_those_after_it(set_stage: SetStage) -> None:
    whole = set_stage("whole", SEARCH).session(1_000)
    stage = set_stage("killed", SEARCH)
    run = stage.session(6)
    (stage.folder.path / (run.searched[4].samples or "")).unlink()
    assert ordered(stage.session(1_000)) == ordered(whole)
    kept_of_other = sum(trial.backend is not run.searched[4].backend for trial in run.searched[4:])
    assert len(stage.runners[1].slots) == len(whole.searched) - 4 - kept_of_other


def test_steps_that_would_not_be_asked_for_now_are_measured_again(set_stage: SetStage) -> None:
    whole = set_stage("whole", SEARCH).session(1_000)
    stage = set_stage("killed", SEARCH)
    run = stage.session(6)
    other = replace(run.searched[3], load=replace(run.searched[3].load, rate=17.0))
    stage.folder.write_run(replace(run, searched=(*run.searched[:3], other, *run.searched[4:])))
    assert ordered(stage.session(1_000)) == ordered(whole)
    kept_of_other = sum(trial.backend is not other.backend for trial in run.searched[3:])
    assert len(stage.runners[1].slots) == len(whole.searched) - 3 - kept_of_other


# What is said of it.


def test_a_partial_run_says_how_far_it_is_and_what_to_do() -> None:
    run = interrupted(make_evidence()).run
    assert describe_state(run, "here", None) == (
        "! demo is partial: 5 of 33 trials are in; it was interrupted\n  -> gilscope compare --resume here"
    )
    assert describe_state(run, "here", 4711).endswith("5 of 33 trials are in; it still runs (process 4711)")
    assert describe_state(run, "here", 0).endswith("it still runs")


def test_a_complete_run_says_what_had_changed_when_it_was_resumed() -> None:
    run = make_evidence().run
    assert describe_state(run, "here", None) == ""
    told = describe_state(replace(run, cautions=(STOLEN,)), "here", None)
    assert told == "! others took it\n  -> wait"


def test_the_report_shows_when_it_was_resumed_and_what_had_changed() -> None:
    evidence = make_evidence()
    run = replace(
        evidence.run,
        resumed_at=("2025-11-22T17:00:00+00:00", "2025-11-23T08:30:00+00:00"),
        cautions=(STOLEN,),
    )
    page = render(replace(evidence, run=run), graphs={})
    assert "Others took it: wait." in page
    assert "2 times, last 23 November 2025, 08:30 UTC" in page
    groups = {name: dict(facts) for name, facts in build_method(evidence.run).groups}
    assert "resumed" not in groups["Timing"]


def test_the_command_names_the_machines_that_the_load_came_from() -> None:
    plan = replace(PLAN, load=replace(LOAD, workers=3), load_master="10.0.0.1:5557")
    words = build_method(replace(RUN, plan=plan)).command
    assert "--load-master 10.0.0.1:5557 --expect-workers 3" in words
    assert "--load-workers" not in words


# The command.


@pytest.fixture
def saved(tmp_path: Path) -> RunFolder:
    """A complete run, without its report."""
    evidence = make_evidence()
    folder = RunFolder.create(tmp_path / "run")
    for name, samples in evidence.samples.items():
        write_samples(folder.path / name, samples)
    folder.write_run(replace(evidence.run, flames=()))
    return folder


def test_a_complete_run_has_nothing_to_resume(saved: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    before = (saved.path / RUN_FILE).read_bytes()
    assert main(["compare", "--resume", str(saved.path)]) == 0
    out = capsys.readouterr().out
    assert out == f"nothing to resume: {saved.path} is complete\nreport: {saved.report}\n"
    assert saved.has_report, "it was not reached, and is written now"
    assert (saved.path / RUN_FILE).read_bytes() == before
    written = saved.report.stat()
    assert main(["compare", "--resume", str(saved.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(saved.path)
    assert saved.report.stat() == written


def test_a_report_that_is_older_than_its_run_is_written_anew(saved: RunFolder) -> None:
    saved.write_report("partial")
    os.utime(saved.report, (0, 0))
    assert main(["compare", "--resume", str(saved.path)]) == 0
    assert saved.report.read_text() != "partial"


@pytest.mark.parametrize(
    "given",
    [
        ["primes"], ["--arg", "n=1"], ["--seed", "0"], ["--warm-up", "0"], ["--out", "there"], ["--quick"], ["--users", "8"],
        ["--load-master", "127.0.0.1:0"], ["--lenient"], ["--slo", "p99=1ms"], ["--no-lens"], ["--url", "http://there"],
    ],
)  # fmt: skip
def test_what_shapes_a_plan_does_not_go_with_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    assert main(["compare", "--resume", str(tmp_path), *given]) == 2
    name = given[0] if given[0].startswith("--") else "TARGET"
    assert f"--resume does not go with {name}:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "there is no run in"),
        ("{", "is damaged: "),
        ("[]", "is damaged: "),
        ("{}", "is damaged: it has no 'schema'"),
        ('{"schema": 1}', "is damaged: "),
        ('{"schema": 1000000}', "has schema 1000000"),
    ],
)
@pytest.mark.parametrize("command", [["compare", "--resume"], ["report"]])
def test_what_is_no_run_is_refused_and_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, told: str, command: list[str]
) -> None:
    if text is not None:
        (tmp_path / RUN_FILE).write_text(text)
    assert main([*command, str(tmp_path)]) == 2
    captured_ = capsys.readouterr()
    assert told in captured_.err
    assert "Traceback" not in captured_.err
    assert captured_.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ([] if text is None else [RUN_FILE])


def test_a_run_of_another_machine_is_refused_with_what_to_type(
    saved: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = replace(interrupted(make_evidence()).run, machine=replace(describe_machine(), cpu="Other CPU"))
    saved.write_run(partial)
    before = (saved.path / RUN_FILE).read_bytes()
    assert main(["compare", "--resume", str(saved.path)]) == 2
    told = capsys.readouterr().err
    assert "cannot be resumed" in told
    assert "the processor was Other CPU" in told
    assert f"gilscope report {saved.path} shows what was measured; to compare anew: gilscope compare " in told
    assert (saved.path / RUN_FILE).read_bytes() == before
    assert holder(saved.path) is None
    assert not (saved.path / LOCK_FILE).exists()


def test_a_run_that_still_runs_is_not_resumed_but_reported(
    tmp_path: Path, elsewhere_held: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = interrupted(make_evidence())
    folder = RunFolder(tmp_path / "run")
    (folder.path / "latency").mkdir()
    for trial in evidence.run.trials:
        write_samples(folder.path / (trial.samples or ""), evidence.samples[trial.samples or ""])
    folder.write_run(evidence.run)
    assert main(["compare", "--resume", str(folder.path)]) == 2
    assert f"still runs (process {elsewhere_held.pid})\n  -> wait until it ends" in capsys.readouterr().err
    assert main(["report", str(folder.path), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["complete"] is False
    assert f"5 of 33 trials are in; it still runs (process {elsewhere_held.pid})" in told.err
    assert main(["diff", str(folder.path), str(folder.path), "--json"]) == 0
    assert capsys.readouterr().err.count("it still runs") == 2


def test_what_was_not_finished_is_swept(saved: RunFolder) -> None:
    for name in ("run.json.1.tmp", "latency/a.csv.gz.tmp", "flames/a.svg.1.tmp"):
        (saved.path / name).touch()
    saved.sweep()
    assert not list(saved.path.rglob("*.tmp"))
    assert saved.read().samples


def test_a_run_knows_whence_its_load_came(saved: RunFolder) -> None:
    run = replace(saved.read_run(), plan=replace(PLAN, load_master="10.0.0.1:5557"), resumed_at=("then",))
    saved.write_run(run)
    assert saved.read_run() == run
