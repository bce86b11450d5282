"""``gilscope diff`` within this process: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import (
    PROCESSES,
    SHAPES,
    THREADS,
    make_evidence,
    make_flame,
    make_samples,
    make_stacks,
    make_trial,
)

from gilscope.commands.main import main
from gilscope.compare.store import RunFolder
from gilscope.load.samples import write_samples
from gilscope.model import BackendName, FlameKind, ProbeSamples, Run, Samples

RUN = make_evidence().run
Save = Callable[..., Path]


def strictly(text: str) -> Any:  # noqa: ANN401  JSON may hold anything
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write a run of ``primes`` on two backends, so much faster on threads, and return its folder."""

    def write(
        name: str,
        *,
        factor: float = 1.0,
        seed: int = 1,
        source: str = "py-spy 0.4.3",
        pool_size: int | None = None,
        workload: str = "primes",
        change: Callable[[Samples], Samples] = lambda samples: samples,
    ) -> Path:
        folder = RunFolder.create(tmp_path / name)
        trials = []
        for backend in (THREADS, PROCESSES):
            shape = SHAPES["primes"][backend]
            shape = replace(shape, rps=shape.rps * (factor if backend is THREADS else 1.0))
            for block in range(3):
                samples = change(make_samples(shape, seed=100 * seed + 10 * shape.workers + block))
                trial = replace(make_trial("primes", backend, block, samples), workload=workload)
                assert trial.samples is not None
                write_samples(folder.path / trial.samples, samples)
                trials.append(trial)
        flames = tuple(
            replace(make_flame("primes", backend, kind), workload=workload, source=source)
            for backend in (THREADS, PROCESSES)
            for kind in FlameKind
        )
        for flame in flames:
            folder.write_flame(flame, make_stacks(flame), None)
        targets = tuple(target for target in RUN.plan.targets if target.workload == "primes")
        plan = replace(
            RUN.plan,
            targets=tuple(replace(target, workload=workload) for target in targets),
            pool_size=pool_size,
        )
        folder.write_run(replace(RUN, name=name, plan=plan, trials=tuple(trials), flames=flames, verdicts=()))
        return folder.path

    return write


def test_it_prints_the_ratios_and_where_the_page_is(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    before, now = save("before", seed=2), save("now", factor=2.0)
    assert main(["diff", str(before), str(now)]) == 0
    out = capsys.readouterr().out
    (threads,) = (line for line in out.splitlines() if line.startswith("  threads"))
    (processes,) = (line for line in out.splitlines() if line.startswith("  processes"))
    assert "2.00x (" in threads
    assert threads.count("*") == 1
    assert "1.00x (" in processes
    assert "not the same" not in out
    assert out.endswith(f"\npage: {now / 'diff-before.html'}\n")
    assert (now / "diff-before.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_json_is_one_object_with_every_ratio(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    before, now = save("before", seed=2, pool_size=4), save("now", factor=2.0)
    assert main(["diff", str(before), str(now), "--json"]) == 0
    answer = strictly(capsys.readouterr().out)
    assert set(answer) == {"page", "unlike", "changes"}
    assert answer["page"] == str(now / "diff-before.html")
    assert answer["unlike"] == ["pool size: default, before 4"]
    assert [(one["workload"], one["backend"]) for one in answer["changes"]] == [
        ("primes", "threads"),
        ("primes", "processes"),
    ]
    for change in answer["changes"]:
        assert set(change) == {"workload", "backend", "throughput", "p99", "probe_p99"}
        for name in ("throughput", "p99", "probe_p99"):
            low, mid, high = change[name]
            assert low <= mid <= high
    assert answer["changes"][0]["throughput"][1] == pytest.approx(2.0, abs=0.02)


def deaf(samples: Samples) -> Samples:
    return replace(samples, probe=ProbeSamples([], []))


def test_json_stays_json_where_a_figure_is_not_known(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    """A blocked event loop may answer no ping at all."""
    assert main(["diff", str(save("before")), str(save("now", change=deaf)), "--json"]) == 0
    strictly(capsys.readouterr().out)


def test_a_figure_that_is_not_known_has_no_number_in_the_terminal(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(save("before")), str(save("now", change=deaf))]) == 0
    out = capsys.readouterr().out
    assert "nan" not in out
    assert "\N{EN DASH}x" not in out


def test_what_else_differs_is_told_with_the_ratios(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    before, now = save("before", pool_size=4), save("now")
    assert main(["diff", str(before), str(now)]) == 0
    assert capsys.readouterr().out.startswith("not the same: pool size: default, before 4\n")
    assert "pool size: default, before 4" in (now / "diff-before.html").read_text(encoding="utf-8")


def test_the_page_may_lie_anywhere(save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, now = save("before"), save("now")
    page = tmp_path / "elsewhere.html"
    assert main(["diff", str(before), str(now), "--out", str(page)]) == 0
    assert page.exists()
    assert f"page: {page}" in capsys.readouterr().out
    assert not list(now.glob("*.html"))
    assert not list(before.glob("*.html"))


def test_the_page_is_named_after_the_real_folder(
    save: Save, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, now = save("before"), save("now")
    monkeypatch.chdir(before)
    assert main(["diff", ".", str(now)]) == 0
    assert (now / "diff-before.html").exists()


def test_a_run_can_be_held_against_itself(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    now = save("now")
    assert main(["diff", str(now), str(now)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.startswith("  ") and "*" in line]


def test_runs_of_different_work_have_nothing_in_common(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    before, now = save("before", workload="other"), save("now")
    assert main(["diff", str(before), str(now)]) == 0
    assert "the two runs have no workload and backend in common" in capsys.readouterr().out
    page = (now / "diff-before.html").read_text(encoding="utf-8")
    assert "The two runs have no workload and backend in common." in page


def test_graphs_of_two_profilers_are_refused_and_the_ratios_are_not(
    save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    before, now = save("before", source="profiling.sampling of Python 3.15"), save("now", factor=2.0)
    assert main(["diff", str(before), str(now)]) == 0
    assert "2.00x (" in capsys.readouterr().out
    page = (now / "diff-before.html").read_text(encoding="utf-8")
    reason = "graphs of py-spy 0.4.3 and profiling.sampling of Python 3.15 cannot be compared"
    assert page.count(reason) == 1
    assert "<svg" not in page


def test_an_interrupted_run_can_be_compared(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    before, now = save("before"), save("now")
    run: Run = RunFolder(now).read().run
    kept = tuple(trial for trial in run.trials if trial.backend is BackendName.THREADS)
    RunFolder(now).write_run(replace(run, trials=kept, flames=(), complete=False))
    assert main(["diff", str(before), str(now), "--json"]) == 0
    answer = strictly(capsys.readouterr().out)
    assert [one["backend"] for one in answer["changes"]] == ["threads"]


@pytest.mark.parametrize("at", [0, 1])
def test_a_folder_that_is_no_run_is_refused(
    save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str], at: int
) -> None:
    folders = [str(save("run"))] * 2
    folders[at] = str(tmp_path)
    assert main(["diff", *folders]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"gilscope diff: there is no run in {tmp_path}\n")
    assert not list(tmp_path.rglob("*.html"))


def test_a_run_with_missing_stacks_is_refused(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    before, now = save("before"), save("now")
    (before / "flames" / "primes-threads.waiting.folded").unlink()
    assert main(["diff", str(before), str(now)]) == 2
    assert "cannot read the stacks in" in capsys.readouterr().err
    assert not list(now.glob("*.html"))


def test_a_page_that_cannot_be_written_is_told(
    save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "nowhere" / "page.html"
    assert main(["diff", str(save("before")), str(save("now")), "--out", str(page)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"gilscope diff: cannot write {page}")


def test_a_hostile_workload_stays_words(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    name = "</summary><script>alert('x')</script>"
    before, now = save("before", workload=name), save("now", workload=name)
    assert main(["diff", str(before), str(now)]) == 0
    page = (now / "diff-before.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert page.count("&lt;script&gt;alert(") >= 2
