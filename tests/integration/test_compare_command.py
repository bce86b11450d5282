"""A whole comparison by ``gilscope compare``, and ``gilscope report`` of it, as a user runs them: what was measured."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from commanded import Ended, gilscope, require_the_end_of_all, strictly
from disturbance import least_disturbed

from gilscope.compare.store import RunFolder
from gilscope.flame.algebra import share, total
from gilscope.flame.folded import parse, split_frame
from gilscope.load.samples import read_samples
from gilscope.model import BackendName, Evidence, Flame, FlameKind
from gilscope.quantiles import summarize_latency, summarize_probe
from gilscope.report.console import describe_verdict

pytestmark = pytest.mark.integration

COMPARED = ("asyncio", "processes")
KINDS = ("holding", "waiting", "wall")
SEEN = ("holding", "wall")
WINDOW_S = 1.5
"""Long enough that something is answered even while a hypervisor takes most of the cores."""

WORK = """
def spin(n: int, exponent: int = 2) -> int:
    total = 0
    for number in range(n):
        total += number**exponent
    return total
"""

TRIAL_FIELDS = {
    "workload", "backend", "block", "python", "load", "requests", "errors", "throughput_rps", "latency_ms",
    "probe_latency_ms", "anatomy_ms", "gil_wait_share", "cpu_cores", "memory_mb", "warnings", "valid",
}  # fmt: skip
VERDICT_FIELDS = {
    "workload", "winner", "ties", "conclusive", "reason", "throughput_ratio", "p99_ratio", "probe_p99_ratio",
}  # fmt: skip


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "work.py"
    path.write_text(WORK)
    return path


@pytest.fixture(scope="session")
def compared(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Two backends, two blocks, profiles: the whole of a comparison."""
    return least_disturbed(
        lambda: gilscope(
            tmp_path_factory.mktemp("compared"),
            "compare", f"{work}:spin", "--arg", "n=20000", "--backends", ",".join(COMPARED), "--quick",
            "--lenient", "--duration", f"{WINDOW_S:g}", "--pool-size", "1", "--blocks", "2", "--seed", "3", "--out",
            "run", "--json",
        )
    )  # fmt: skip


@pytest.fixture(scope="session")
def evidence(compared: Ended) -> Evidence:
    return RunFolder(compared.cwd / "run").read()


# A whole comparison.


def test_it_succeeds_without_a_word_out_of_place(compared: Ended) -> None:
    assert compared.code == 0, compared.err
    assert "Traceback" not in compared.err
    lines = re.findall(
        r"^\[(\d)/6\] work\.spin (\w+(?: again \(A/A\))?) block (\d): .* requests/s, p99 .* ms",
        compared.err,
        re.MULTILINE,
    )
    assert [position for position, _, _ in lines] == ["1", "2", "3", "4", "5", "6"]
    assert sorted((backend, block) for _, backend, block in lines) == [
        (backend, block) for backend in ("asyncio", "asyncio again (A/A)", "processes") for block in "12"
    ]
    assert re.search(r"^report: run/report\.html$", compared.err, re.MULTILINE)


def test_standard_output_is_one_json_object(compared: Ended) -> None:
    answer = strictly(compared.out)
    assert set(answer) == {"run", "verdicts"}
    assert answer["run"] == "run"
    assert answer["verdicts"] == compared.document("run")["verdicts"]
    assert len(answer["verdicts"]) == 1


def test_the_run_has_every_promised_field(compared: Ended) -> None:
    document = compared.document("run")
    assert document["schema"] == 1
    assert document["complete"] is True
    assert {"gilscope", "machine", "plan", "trials", "verdicts"} <= set(document)
    assert document["plan"]["seed"] == 3
    assert document["plan"]["targets"][0]["arguments"] == {"n": 20_000}
    assert document["plan"]["load"]["seconds"] == WINDOW_S
    assert len(document["trials"]) == 6
    for trial in document["trials"]:
        assert set(trial) >= TRIAL_FIELDS
        assert set(trial["latency_ms"]) == {"p50", "p90", "p95", "p99", "max"}
        assert set(trial["probe_latency_ms"]) == {"p50", "p99", "max"}
        assert {"outside", "queue", "run", "cpu", "return"} <= set(trial["anatomy_ms"])
        assert (trial["workload"], trial["valid"], trial["errors"]) == ("work.spin", True, 0)
        assert trial["python"] == ".".join(map(str, sys.version_info[:3]))
    for verdict in document["verdicts"]:
        assert set(verdict) >= VERDICT_FIELDS
        assert set(verdict["throughput_ratio"]) == set(COMPARED)
        assert verdict["throughput_ratio"]["asyncio"] == [1.0, 1.0, 1.0]


def test_every_backend_is_tried_in_every_block(evidence: Evidence) -> None:
    firsts = [trial for trial in evidence.run.trials if not trial.twin]
    assert sorted((trial.block, str(trial.backend)) for trial in firsts) == [
        (block, backend) for block in (0, 1) for backend in COMPARED
    ]
    twins = [trial for trial in evidence.run.trials if trial.twin]
    assert sorted((trial.block, str(trial.backend)) for trial in twins) == [(0, "asyncio"), (1, "asyncio")]


def test_the_noise_floor_is_that_of_the_pairs(evidence: Evidence) -> None:
    (verdict,) = evidence.run.verdicts
    assert verdict.noise is not None
    assert (verdict.noise.backend, verdict.noise.pairs) == (BackendName.ASYNCIO, 2)
    firsts, twins = (
        sum(
            trial.requests
            for trial in evidence.run.trials
            if trial.backend is BackendName.ASYNCIO and trial.twin is is_twin
        )
        for is_twin in (False, True)
    )
    assert verdict.noise.throughput.mid == pytest.approx(twins / firsts)


def test_figures_follow_from_the_samples_on_disk(compared: Ended, evidence: Evidence) -> None:
    files = set()
    for trial in evidence.run.trials:
        assert trial.samples is not None
        files.add(trial.samples)
        samples = read_samples(compared.cwd / "run" / trial.samples)
        assert trial.requests == len(samples.work.latency_ms) > 0
        assert trial.throughput_rps == pytest.approx(trial.requests / samples.window_s)
        assert trial.latency_ms == summarize_latency(samples.work.latency_ms)
        assert trial.probe_latency_ms == summarize_probe(samples.probe.latency_ms)
        assert trial.probes_answered <= trial.probes_due == len(samples.probe.due_s)
        assert trial.probes_due > 0
        assert samples.window_s == pytest.approx(WINDOW_S)
    kept = (compared.cwd / "run" / "latency").iterdir()
    assert {f"latency/{path.name}" for path in kept} == files
    assert len(files) == 6


def test_the_anatomy_adds_up(evidence: Evidence) -> None:
    for trial in evidence.run.trials:
        assert trial.anatomy_ms is not None
        assert trial.samples is not None
        parts = trial.anatomy_ms
        latencies = evidence.samples[trial.samples].work.latency_ms
        assert parts.outside + parts.queue + parts.run + parts.return_ == pytest.approx(
            sum(latencies) / len(latencies)
        )
        assert 0 < parts.cpu <= parts.run * 1.05 + 0.1
        assert min(parts.queue, parts.return_) >= 0


def test_what_the_service_used_is_plausible(evidence: Evidence) -> None:
    for trial in evidence.run.trials:
        assert trial.cpu_cores is not None
        assert trial.memory_mb is not None
        assert 0.1 < trial.cpu_cores < 1.1 * (os.cpu_count() or 1)
        assert 5 < trial.memory_mb < 2_000


def flame_of(evidence: Evidence, backend: str, kind: str) -> Flame:
    flames = {flame.path: flame for flame in evidence.run.flames}
    stem = f"flames/work.spin-{backend}.{kind}"
    assert stem in flames, [trial.warnings for trial in evidence.run.trials]
    return flames[stem]


def beside(compared: Ended, flame: Flame, suffix: str) -> Path:
    stem = compared.cwd / "run" / flame.path
    return stem.with_name(stem.name + suffix)


@pytest.mark.parametrize("backend", COMPARED)
@pytest.mark.parametrize("kind", SEEN)
def test_flames_show_the_users_function(compared: Ended, evidence: Evidence, backend: str, kind: str) -> None:
    flame = flame_of(evidence, backend, kind)
    folded = parse(beside(compared, flame, ".folded").read_text(encoding="utf-8"))
    named = share(folded, lambda frame: split_frame(frame).name == "spin")
    assert named > (0.5 if kind == "holding" else 0.02)
    svg = beside(compared, flame, ".svg").read_text(encoding="utf-8")
    assert "spin (work.py" in svg
    profile = strictly(beside(compared, flame, ".speedscope.json").read_text(encoding="utf-8"))
    assert "spin" in {frame["name"].partition(" ")[0] for frame in profile["shared"]["frames"]}


@pytest.mark.parametrize("backend", COMPARED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_flame_has_its_files_and_an_empty_one_only_its_stacks(
    compared: Ended, evidence: Evidence, backend: str, kind: str
) -> None:
    flame = flame_of(evidence, backend, kind)
    folded = parse(beside(compared, flame, ".folded").read_text(encoding="utf-8"))
    assert evidence.stacks[flame.path] == folded
    assert flame.samples == pytest.approx(total(folded) * flame.rate_hz)
    assert flame.seconds == 1.0
    assert flame.lost >= 0
    for suffix in (".svg", ".speedscope.json"):
        assert beside(compared, flame, suffix).exists() is bool(flame.samples)


def test_no_file_of_a_flame_is_left_over(compared: Ended, evidence: Evidence) -> None:
    files = {path.name for path in (compared.cwd / "run" / "flames").iterdir()}
    suffixes = {
        flame.path: (".folded", ".svg", ".speedscope.json") if flame.samples else (".folded",)
        for flame in evidence.run.flames
    }
    assert files == {Path(stem + suffix).name for stem, of in suffixes.items() for suffix in of}


@pytest.mark.parametrize("backend", COMPARED)
def test_the_flames_of_a_backend_are_of_the_same_seconds(evidence: Evidence, backend: str) -> None:
    flames = [flame_of(evidence, backend, kind) for kind in KINDS]
    assert len({(flame.source, flame.seconds, flame.requests, flame.pause_share) for flame in flames}) == 1


@pytest.mark.parametrize("backend", COMPARED)
def test_the_answers_during_the_profile_are_counted(evidence: Evidence, backend: str) -> None:
    measured = [
        trial.throughput_rps for trial in evidence.run.trials if trial.backend == BackendName(backend)
    ]
    requests = flame_of(evidence, backend, "holding").requests
    assert requests is not None
    # Pauses make the service slower; the count begins before the profiler does and ends after it.
    assert 0.05 * min(measured) < requests < 8 * max(measured)


@pytest.mark.parametrize("backend", COMPARED)
def test_how_long_the_process_was_held_is_plausible(evidence: Evidence, backend: str) -> None:
    paused = flame_of(evidence, backend, "waiting").pause_share
    assert paused is not None
    assert 0 <= paused < 0.9


@pytest.mark.parametrize("backend", COMPARED)
def test_shares_of_the_threads_time_are_plausible(evidence: Evidence, backend: str) -> None:
    watched = any(
        trial.lens is not None for trial in evidence.run.trials if trial.backend == BackendName(backend)
    )
    holding, waiting, wall = (flame_of(evidence, backend, kind) for kind in KINDS)
    assert (wall.share, wall.lens_share) == (None, None)
    if not watched:
        assert (holding.share, waiting.share) == (None, None)
        return
    assert holding.share is not None
    assert waiting.share is not None
    assert waiting.lens_share is not None
    assert 0.05 < holding.share <= 1.2
    assert 0 <= waiting.share < 0.6
    assert 0 <= waiting.lens_share < 0.6
    assert waiting.share == 0 if not waiting.samples else waiting.share > 0
    # Before Python 3.13 nobody outside knows who holds the GIL.
    assert (holding.lens_share is not None) is (sys.version_info >= (3, 13))
    if holding.lens_share is not None:
        assert 0.05 < holding.lens_share <= 1.2


def test_the_report_has_every_graph_and_a_place_for_each_link(compared: Ended, evidence: Evidence) -> None:
    page = (compared.cwd / "run" / "report.html").read_text(encoding="utf-8")
    places = re.findall(r' id="([^"]+)"', page)
    assert len(places) == len(set(places))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(places)
    for flame in evidence.run.flames:
        assert f"workload-1-{flame.backend}-{flame.kind}" in places
    empty = sum(flame.kind is FlameKind.WAITING and not flame.samples for flame in evidence.run.flames)
    assert page.count("No thread was seen waiting for the GIL.") == empty


def test_the_run_reads_back_and_every_flame_is_in_it(evidence: Evidence) -> None:
    assert {(flame.backend, flame.kind) for flame in evidence.run.flames} == {
        (BackendName(backend), FlameKind(kind)) for backend in COMPARED for kind in KINDS
    }
    assert set(evidence.stacks) == {flame.path for flame in evidence.run.flames}


def test_the_time_is_accounted_for(evidence: Evidence) -> None:
    timing = evidence.run.timing
    assert timing.load_s >= 6 * WINDOW_S
    assert timing.profiling_s >= 2 * 0.9
    assert timing.load_s + timing.profiling_s < timing.total_s


def test_nothing_is_left_running_or_unfinished(compared: Ended) -> None:
    require_the_end_of_all(compared.mark)
    names = {path.name for path in (compared.cwd / "run").iterdir()}
    assert names == {"run.json", "report.html", "latency", "flames"}
    assert [path.name for path in compared.cwd.iterdir()] == ["run"]
    assert not list(compared.cwd.rglob("*.tmp"))


def test_report_renders_the_very_same_page_again(compared: Ended, evidence: Evidence) -> None:
    page = compared.cwd / "run" / "report.html"
    before = page.read_text(encoding="utf-8")
    assert "work.spin" in before
    page.unlink()
    ended = gilscope(compared.cwd, "report", "run")
    assert (ended.code, ended.err) == (0, "")
    assert page.read_text(encoding="utf-8") == before
    for verdict in evidence.run.verdicts:
        assert describe_verdict(verdict) in ended.out
        assert describe_verdict(verdict) in compared.err


def test_report_repeats_the_verdicts_as_json(compared: Ended) -> None:
    ended = gilscope(compared.cwd, "report", "run", "--json")
    assert ended.code == 0
    assert strictly(ended.out) == strictly(compared.out)
