from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from factories import CLASSIFICATIONS, make_evidence

from gilscope.commands import drawing, report
from gilscope.compare.store import RunFolder
from gilscope.errors import RunFileError
from gilscope.load.samples import write_samples
from gilscope.model import (
    BackendName,
    Caution,
    Evidence,
    FlameKind,
    Folded,
    GilClass,
    Interval,
    Target,
    Verdict,
)
from gilscope.report.classes import MEANING
from gilscope.report.console import (
    WIDTH,
    describe_classification,
    describe_trial,
    describe_verdict,
    headline,
)

ASYNCIO, THREADS, PROCESSES, _ = BackendName
RUN = make_evidence().run
PRIMES = RUN.trials[[trial.workload for trial in RUN.trials].index("primes")]
WINNER, TIE = (
    next(verdict for verdict in RUN.verdicts if verdict.workload == name) for name in ("primes", "http_fetch")
)
NOTHING = Verdict("primes", None, None, (), conclusive=False, reason="no backend could be measured")
STACKS: Folded = {
    ("main (asyncio/runners.py)", "primes (gilscope/workloads/primes.py)"): 40.0,
    ("main (asyncio/runners.py)", "work (own.py)"): 2.0,
}


def test_the_headline_names_the_winner() -> None:
    assert headline(WINNER) == "primes: processes"


def test_the_headline_of_a_tie_names_the_tied_and_the_recommended() -> None:
    assert headline(TIE) == "http_fetch: a tie of asyncio, threads; use asyncio"


def test_the_headline_of_a_single_backend_claims_nothing() -> None:
    alone = replace(TIE, ties=(THREADS,), recommended=THREADS)
    assert headline(alone) == "http_fetch: threads, with nothing to compare it to"


def test_without_figures_there_is_no_verdict_and_no_table() -> None:
    assert describe_verdict(NOTHING) == "primes: no verdict\n  no backend could be measured"


def test_a_verdict_has_a_row_for_every_backend_and_marks_the_recommended() -> None:
    lines = describe_verdict(WINNER).splitlines()
    rows = {line[2:15].strip(): line for line in lines if "(" in line and line.startswith(("    ", "  >"))}
    assert list(rows) == ["asyncio", "threads", "> processes"]
    for figure in ("287 (281-293)", "4.00 (3.56-4.44)"):
        assert figure in rows["> processes"]
    header = next(line for line in lines if "requests/s" in line and "p99 ms" in line)
    assert {len(row) for row in rows.values()} == {len(header)}


def test_an_unknown_figure_is_a_dash() -> None:
    deaf = replace(WINNER, probe_p99_ms={ASYNCIO: Interval(1, 2, 3)})
    rows = describe_verdict(deaf).splitlines()
    (threads,) = [row for row in rows if row.strip().startswith("threads")]
    assert threads.endswith(" -")


def test_reason_and_caveats_are_wrapped() -> None:
    long = " ".join(["word"] * 100)
    text = describe_verdict(replace(WINNER, reason=long, caveats=(long, "short")))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.count("word") == 200
    assert text.count("  ! ") == 2
    assert text.endswith("  ! short")


def test_a_trial_is_one_line() -> None:
    text = describe_trial(replace(PRIMES, block=0))
    assert text.startswith("primes asyncio block 1: ")
    assert "requests/s, p99 " in text
    assert ", /ping p99 " in text
    assert "\n" not in text
    assert "failed" not in text


def test_a_trials_errors_are_counted() -> None:
    assert describe_trial(replace(PRIMES, errors=37)).endswith(", 37 failed")


def test_a_trial_without_pings_says_nothing_of_them() -> None:
    assert "/ping" not in describe_trial(replace(PRIMES, probe_latency_ms=None))


def test_a_trial_without_answers_says_why() -> None:
    silent = replace(PRIMES, latency_ms=None)
    assert describe_trial(silent).endswith(": nothing measured")
    warned = replace(silent, warnings=(Caution("no-requests", "all 7 requests failed", "see it"),))
    assert describe_trial(warned).endswith(": all 7 requests failed")


def test_a_classification_says_the_class_the_figures_and_the_reasons() -> None:
    assert describe_classification(CLASSIFICATIONS["primes"]) == (
        "primes: preemptible\n"
        "  - another thread had to ask for the GIL each time, and got it after 5 ms\n"
        "  - all of it is Python code\n"
        "  held 98 %, longest hold 5.1 ms, CPU 99 %; a call: 6.48 ms; pickles: yes; runs in subinterpreters:\n"
        "  yes; has an extension that can release the GIL: no"
    )


def test_what_could_not_be_asked_is_left_out() -> None:
    assert describe_classification(CLASSIFICATIONS["http_fetch"]).endswith("; a call: 20.6 ms; pickles: yes")
    unsure = replace(CLASSIFICATIONS["http_fetch"], reasons=(), enables_gil=True)
    text = " ".join(describe_classification(unsure).split())
    assert text.endswith("switches the GIL on in a free-threaded build: yes")


@pytest.mark.parametrize("gil_class", GilClass)
def test_every_class_has_its_words(gil_class: GilClass) -> None:
    long = " ".join(["reason"] * 50)
    text = describe_classification(
        replace(CLASSIFICATIONS["primes"], gil_class=gil_class, reasons=(long, "short"))
    )
    assert text.startswith(f"primes: {gil_class}\n  - reason reason ")
    assert MEANING[gil_class]
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.count("\n  - ") == 2


# What commands make of a run: graphs, the page, the verdicts once more.


def evidence_with_stacks() -> Evidence:
    evidence = make_evidence()
    return replace(evidence, stacks={flame.path: STACKS for flame in evidence.run.flames})


def own_frames(reference: str) -> Callable[[str], bool]:
    plan = replace(RUN.plan, targets=(Target("it", reference),))
    return drawing._own_frames(plan, "it")


def test_the_frames_of_built_in_work_are_those_of_the_catalogue() -> None:
    own = own_frames("primes")
    assert own("primes (gilscope/workloads/primes.py)")
    assert not own("run (asyncio/runners.py)")


def test_the_frames_of_a_file_are_those_in_it() -> None:
    own = own_frames("/home/me/app/own.py:work")
    assert own("work (own.py)")
    assert own("work (/home/me/app/own.py:12)")
    assert not own("work (known.py)")
    assert not own("own.py")


def test_the_frames_of_a_module_are_those_of_its_package() -> None:
    own = own_frames("app.jobs:work")
    assert own("work (app/jobs.py)")
    assert own("helper (/srv/app/deep/other.py:3)")
    assert own("main (app.py)")
    assert not own("work (application/jobs.py)")


@pytest.mark.parametrize("kind", FlameKind)
def test_a_graph_says_what_it_shows(kind: FlameKind) -> None:
    flame = replace(RUN.flames[0], workload="primes", backend=PROCESSES, kind=kind)
    svg = drawing.draw_flame(RUN.plan, flame, STACKS)
    assert f"primes on processes: {drawing.MEANING[kind]}" in svg
    assert "3 lost" in svg
    assert "primes" in svg


def test_the_page_holds_every_graph() -> None:
    page = drawing.render_report(evidence_with_stacks())
    for flame in RUN.flames:
        assert f"{flame.workload} on {flame.backend}: {drawing.MEANING[flame.kind]}" in page


@pytest.fixture
def saved(tmp_path: Path) -> RunFolder:
    folder, evidence = RunFolder.create(tmp_path / "run"), evidence_with_stacks()
    for name, samples in evidence.samples.items():
        write_samples(folder.path / name, samples)
    for flame in evidence.run.flames:
        folder.write_flame(flame, STACKS, "<svg/>")
    folder.write_run(evidence.run)
    return folder


def report_of(folder: RunFolder, *, as_json: bool) -> int:
    return report.run(argparse.Namespace(run=folder.path, json=as_json))


def test_report_prints_the_verdicts_and_writes_the_page(
    saved: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_of(saved, as_json=False) == 0
    said = capsys.readouterr()
    for verdict in RUN.verdicts:
        assert describe_verdict(verdict) in said.out
    assert said.out.endswith(f"\nreport: {saved.path / 'report.html'}\n")
    assert said.err == ""
    assert (saved.path / "report.html").read_text().startswith("<!doctype html>")


def test_report_as_json_is_one_object(saved: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_of(saved, as_json=True) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"run", "verdicts"}
    assert answer["run"] == str(saved.path)
    kept = json.loads((saved.path / "run.json").read_text())
    assert answer["verdicts"] == kept["verdicts"] != []


def test_report_changes_nothing_else(saved: RunFolder) -> None:
    def content() -> dict[Path, bytes]:
        files = (path for path in saved.path.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files if path.name != "report.html"}

    before = content()
    report_of(saved, as_json=False)
    first = (saved.path / "report.html").read_text()
    report_of(saved, as_json=False)
    assert content() == before
    assert (saved.path / "report.html").read_text() == first


def test_report_on_no_run_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match="there is no run in"):
        report_of(RunFolder(tmp_path), as_json=False)
    assert list(tmp_path.iterdir()) == []
