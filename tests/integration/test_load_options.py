"""What a comparison can be asked for beside users: a rate, sizes, an objective, a service that runs already."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import psutil
import pytest
from commanded import Ended, gilscope, interrupt_when, require_the_end_of_all, strictly
from polling import eventually
from requirements import require
from served import serving

from gilscope.compare.store import RunFolder
from gilscope.histogram import Histogram
from gilscope.model import BackendName, Evidence, FlameKind, LoadKind

pytestmark = pytest.mark.integration

WORK = """
import time

def spin(n: int) -> int:
    return sum(number**2 for number in range(n))

def nap() -> None:
    time.sleep(0.02)
"""
SHORT = ("--lenient", "--duration", "0.5", "--warm-up", "0.1", "--seed", "3", "--no-profiles", "--out", "run")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "work.py"
    path.write_text(WORK)
    return path


def evidence_of(ended: Ended) -> Evidence:
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    require_the_end_of_all(ended.mark)
    return RunFolder(ended.cwd / "run").read()


def test_a_rate_is_offered_to_every_backend_alike(work: Path, tmp_path: Path) -> None:
    # Evenly spaced: of Poisson arrivals, a window that a stalled host opens late has more or fewer.
    load = ("--rate", "100", "--arrivals", "uniform")
    options = ("--arg", "n=500", "--backends", "asyncio,threads", "--blocks", "1", *load)
    evidence = evidence_of(gilscope(tmp_path, "compare", f"{work}:spin", *options, *SHORT))
    trials = evidence.run.trials
    assert {trial.load.kind for trial in trials} == {LoadKind.OPEN}
    assert {(trial.load.rate, trial.load.users) for trial in trials} == {(100.0, None)}
    offered = {trial.offered for trial in trials}
    assert offered <= {49, 50, 51}
    for trial in trials:
        assert trial.offered == trial.requests + trial.errors + trial.dropped + trial.unanswered
        assert trial.latency_ms is not None
        assert trial.service_latency_ms is not None
        assert trial.latency_ms.p50 >= trial.service_latency_ms.p50
        assert Histogram.decode(trial.histograms["latency"]).count == trial.requests + trial.unanswered
        assert Histogram.decode(trial.histograms["service"]).count == trial.requests
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "100 arrivals per second in an open loop" in page


def test_sizes_are_compared_one_by_one_and_against_each_other(work: Path, tmp_path: Path) -> None:
    options = ("--sweep", "n=100,30000", "--backends", "asyncio", "--blocks", "1", "--json")
    ended = gilscope(tmp_path, "compare", f"{work}:spin", *options, *SHORT)
    run = evidence_of(ended).run
    assert [target.workload for target in run.plan.targets] == ["work.spin, n=100", "work.spin, n=30000"]
    assert [target.arguments for target in run.plan.targets] == [{"n": 100}, {"n": 30000}]
    assert len(run.trials) == 4, "an A/A pair at each size"
    small, large = (
        max(trial.throughput_rps for trial in run.trials if trial.workload == target.workload)
        for target in run.plan.targets
    )
    assert small > large, "more work, fewer answers"
    assert strictly(ended.out)["break_evens"] == []
    assert "The size from which a backend pays" in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_an_interrupted_search_keeps_the_rates_that_it_tried(work: Path, tmp_path: Path) -> None:
    def two_rates_tried(process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("[1] work.spin asyncio block 1 at ")
        while not process.stderr.readline().startswith("[2] "):
            pass

    options = ("--arg", "n=2000", "--slo", "p99=2s", "--backends", "asyncio")
    ended = interrupt_when(("compare", f"{work}:spin", *options, *SHORT), tmp_path, two_rates_tried)
    assert ended.code == 130
    assert "they are kept" in ended.err
    require_the_end_of_all(ended.mark)
    run = RunFolder(tmp_path / "run").read().run
    assert len(run.searched) >= 2
    assert len({trial.load.rate for trial in run.searched}) >= 2
    assert not run.complete
    assert (tmp_path / "run" / "report.html").exists()


def test_a_function_that_sleeps_on_the_event_loop_is_not_the_generators_fault(
    work: Path, tmp_path: Path
) -> None:
    options = (
        "--backends=asyncio",
        "--blocks=1",
        "--users=4",
        "--duration=1",
        "--warm-up=0.2",
        "--no-profiles",
    )
    evidence = evidence_of(
        gilscope(tmp_path, "compare", f"{work}:nap", *options, "--lenient", "--out", "run")
    )
    for trial in evidence.run.trials:
        require(trial.lens, f"a service here cannot be looked into: {trial.warnings}")
        assert trial.latency_ms is not None
        assert trial.latency_ms.p50 > 60, "four calls of 20 ms, one after the other"
        assert "client-slow" not in {caution.code for caution in trial.warnings}


def test_a_service_that_runs_already_is_measured_as_it_is(tmp_path: Path) -> None:
    with serving("--workload=primes", "--backends=asyncio,threads", "--pool-size=1") as served:
        url = str(served.ready["url"])
        options = ("--arg", "n=200", "--url", url, "--blocks", "1", "--users", "2")
        evidence = evidence_of(gilscope(tmp_path, "compare", "primes", *options, *SHORT))
        assert served.process.poll() is None, "it goes on"
        unknown = gilscope(tmp_path, "compare", "nothing", "--url", url, "--out", "other")
    assert {trial.backend for trial in evidence.run.trials} == {BackendName.ASYNCIO, BackendName.THREADS}
    assert all(trial.requests > 10 for trial in evidence.run.trials)
    assert {trial.memory_mb for trial in evidence.run.trials} == {None}
    assert (unknown.code, unknown.out) == (2, "")
    assert "that service has no workload 'nothing'; it has: primes" in unknown.err
    assert not (tmp_path / "other").exists()


def is_lens(process: psutil.Process) -> bool:
    try:
        return "gilscope.lens.exporter" in process.cmdline()
    except psutil.Error:  # it ends just now
        return False


def test_a_service_that_runs_already_tells_what_its_threads_do_and_gives_its_graphs(tmp_path: Path) -> None:
    there = ("--workload=primes", "--backends=asyncio,threads", "--pool-size=2", "--token=secret")
    with serving(*there, f"--profiles={tmp_path / 'shelf'}") as served:
        options = ("--arg=n=60000", "--blocks=1", "--users=4", "--lenient", "--duration=3", "--seed=3")
        known = ("--url", str(served.ready["url"]), "--token", "secret", "--out", "run")
        ended = gilscope(tmp_path, "compare", "primes", *options, *known)
        evidence = evidence_of(ended)
        eventually(lambda: not any(map(is_lens, served.tree())), "its lens ends")
    assert "secret" not in (tmp_path / "run" / "run.json").read_text("utf-8")
    trials = evidence.run.trials
    missed = [one for trial in trials for one in trial.warnings if one.code in ("no-lens", "no-profile")]
    require(not missed, f"a service here cannot be looked into: {missed}")
    assert {trial.python for trial in trials} == {platform.python_version()}
    for trial in trials:
        assert trial.gil_enabled is True
        assert trial.lens is not None
        assert trial.lens.seconds > 0.3, "three seconds, less what is settled once a second"
        assert trial.lens.samples > 20
        assert trial.gil_wait_share is not None
        assert trial.anatomy_ms is not None
        assert trial.anatomy_ms.gil_wait is not None
    waited = {
        trial.backend: trial.gil_wait_share.loop
        for trial in trials
        if trial.gil_wait_share and not trial.twin
    }
    assert waited[BackendName.THREADS] > 0.05 > waited[BackendName.ASYNCIO]
    inside = {
        trial.backend: trial.anatomy_ms.gil_wait or 0.0
        for trial in trials
        if trial.anatomy_ms and not trial.twin
    }
    assert inside[BackendName.THREADS] > inside[BackendName.ASYNCIO]
    made = {(flame.backend, flame.kind) for flame in evidence.run.flames}
    assert made == {
        (backend, kind) for backend in (BackendName.ASYNCIO, BackendName.THREADS) for kind in FlameKind
    }
    for path, stacks in evidence.stacks.items():
        if path.endswith("holding"):
            assert any("primes" in frame for stack in stacks for frame in stack), path
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "secret" not in page
