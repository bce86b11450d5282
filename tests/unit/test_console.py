from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from factories import CLASSIFICATIONS, make_evidence, make_flame, with_stacks

from gilscope.commands import drawing, report
from gilscope.compare.store import RunFolder
from gilscope.errors import RunFileError, UsageError
from gilscope.flame import wording
from gilscope.flame.difference import Named
from gilscope.flame.wording import origin
from gilscope.load.samples import write_samples
from gilscope.model import (
    BackendName,
    BreakEven,
    Capacity,
    Caution,
    Evidence,
    Flame,
    FlameKind,
    Folded,
    GilClass,
    Interval,
    LoadKind,
    NoiseFloor,
    Standing,
    Sweep,
    Target,
    Verdict,
)
from gilscope.report.cards import describe_noise
from gilscope.report.classes import MEANING
from gilscope.report.console import (
    WIDTH,
    describe_classification,
    describe_sweep,
    describe_trial,
    describe_verdict,
    headline,
)
from gilscope.report.formats import significant
from gilscope.verdict.capacity import judge_capacities

ASYNCIO, THREADS, PROCESSES, _ = BackendName
RUN = make_evidence().run
PRIMES = RUN.trials[[trial.workload for trial in RUN.trials].index("primes")]
WINNER, TIE = (
    next(verdict for verdict in RUN.verdicts if verdict.workload == name) for name in ("primes", "http_fetch")
)
NOTHING = Verdict("primes", None, None, (), conclusive=False, reason="no backend could be measured")
STACKS: Folded = {
    ("main (asyncio/runners.py)", "primes (gilscope/workloads/primes.py)"): 0.4,
    ("main (asyncio/runners.py)", "work (own.py)"): 0.02,
}


def test_the_headline_names_the_winner() -> None:
    assert headline(WINNER) == "primes: processes"


def test_the_headline_of_a_tie_names_the_tied_and_the_recommended() -> None:
    assert headline(TIE) == "http_fetch: a tie of asyncio, threads; use asyncio"


def test_the_headline_of_what_is_undecided_recommends_nobody() -> None:
    assert headline(replace(TIE, ties=(), recommended=None)) == "http_fetch: undecided"
    assert headline(replace(TIE, recommended=None)) == "http_fetch: undecided between asyncio, threads"


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
    raised = replace(warned, first_error='URL /work: code=500\n{"detail": "own.work raised KeyError: 7"}')
    assert describe_trial(raised).endswith(": all 7 requests failed\n  own.work raised KeyError: 7")
    partly = replace(
        PRIMES,
        valid=False,
        first_error=raised.first_error,
        warnings=(Caution("errors", "9 of 90 failed", "see"),),
    )
    assert describe_trial(partly).endswith("  does not count: 9 of 90 failed\n  own.work raised KeyError: 7")
    spoilt = replace(partly, warnings=(Caution("steal", "robbed", "see"),))
    assert describe_trial(spoilt).endswith("  does not count: robbed")


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

NO_BREAK = "\u00a0"


def evidence_with_stacks() -> Evidence:
    return with_stacks(make_evidence())


def words_of(svg: str) -> str:
    """All that is written in a graph, its lines joined."""
    lines = (re.sub(r"<[^>]*>", "", text) for text in re.findall(r"<text.*?</text>", svg, re.DOTALL))
    return " ".join(lines).replace(NO_BREAK, " ")


def titles_in(page: str) -> list[str]:
    """The titles of the flame graphs of a page."""
    return re.findall(r'class="flame" role="group" aria-label="([^"]*)"', page)


def title_of(flame: Flame) -> str:
    return f"{flame.workload} on {flame.backend}: {wording.MEANING[flame.kind]}"


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
    svg = drawing.draw_flame(RUN.plan, make_flame("primes", PROCESSES, kind), STACKS)
    words = words_of(svg)
    assert f"primes on processes: {wording.MEANING[kind]}" in words
    assert "3 lost" in words
    assert "primes" in svg
    assert "all · 420 ms" in words
    assert "workload, in 95.2 %" in words


@pytest.mark.parametrize("standalone", [True, False])
@pytest.mark.parametrize("kind", FlameKind)
def test_a_graph_says_where_it_comes_from_and_alone_what_it_cannot_show(
    kind: FlameKind,
    standalone: bool,  # noqa: FBT001
) -> None:
    flame = replace(make_flame("primes", THREADS, kind), notes=("half of it is missing",))
    words = words_of(drawing.draw_flame(RUN.plan, flame, STACKS, standalone=standalone))
    for part in origin(flame).split(" · "):
        assert part in words
    assert ("half of it is missing" in words) is standalone


def pair_of(now: Flame, before: Flame) -> tuple[Named, Named]:
    half = {stack: weight / 2 for stack, weight in STACKS.items()}
    return Named("later", now, STACKS), Named("earlier", before, half)


@pytest.mark.parametrize(
    ("requests", "weights"),
    [
        (None, ("later: 210 ms per second", "earlier: 105 ms per second")),
        (10, ("later: 42.0 ms per request", "earlier: 21.0 ms per request")),
    ],
)
def test_a_difference_says_what_it_compares(requests: int | None, weights: tuple[str, str]) -> None:
    flame = replace(make_flame("primes", THREADS, FlameKind.HOLDING), requests=requests)
    now, before = replace(flame, notes=("of both", "of now")), replace(flame, notes=("of both", "of before"))
    words = words_of(drawing.draw_difference(RUN.plan, pair_of(now, before), "primes"))
    assert "primes, who held the GIL: later against earlier" in words
    for weight in weights:
        assert weight in words
    assert [words.count(note) for note in ("of both", "of now", "of before")] == [1, 1, 1]


def test_what_cannot_be_compared_is_refused() -> None:
    now, before = (make_flame("primes", THREADS, kind) for kind in (FlameKind.WALL, FlameKind.HOLDING))
    with pytest.raises(UsageError, match="a wall graph cannot be compared with a holding graph"):
        drawing.draw_difference(RUN.plan, pair_of(now, before), "primes")


def test_the_page_holds_every_graph_that_is_not_empty() -> None:
    titles = titles_in(drawing.render_report(evidence_with_stacks()))
    for flame in RUN.flames:
        assert titles.count(title_of(flame)) == bool(flame.samples)
    assert not all(flame.samples for flame in RUN.flames)


@pytest.mark.parametrize(
    ("workload", "pair"),
    [("primes", "threads against processes"), ("json_roundtrip", "asyncio against threads")],
)
def test_the_page_compares_the_two_backends_that_matter(workload: str, pair: str) -> None:
    titles = titles_in(drawing.render_report(evidence_with_stacks()))
    compared = [title for title in titles if title.startswith(f"{workload}, ")]
    assert compared == [f"{workload}, {wording.MEANING[kind]}: {pair}" for kind in FlameKind]


def test_two_empty_graphs_are_not_compared() -> None:
    evidence = evidence_with_stacks()
    flames = tuple(
        replace(flame, samples=0) if flame.kind is FlameKind.WAITING else flame for flame in RUN.flames
    )
    stacks = {**evidence.stacks, **{flame.path: {} for flame in flames if not flame.samples}}
    page = drawing.render_report(replace(evidence, run=replace(RUN, flames=flames), stacks=stacks))
    compared = [title for title in titles_in(page) if title.startswith("primes, ")]
    assert [title.partition(":")[0] for title in compared] == [
        f"primes, {wording.MEANING[kind]}" for kind in (FlameKind.HOLDING, FlameKind.WALL)
    ]


def test_a_single_backend_is_compared_with_nothing() -> None:
    evidence = evidence_with_stacks()
    alone = tuple(flame for flame in RUN.flames if flame.backend is THREADS)
    page = drawing.render_report(replace(evidence, run=replace(RUN, flames=alone)))
    assert sorted(titles_in(page)) == sorted(map(title_of, alone))


def test_work_that_looks_like_the_harness_is_shown_where_two_runs_are_compared() -> None:
    work = "work (gilscope/own.py)"
    own: Folded = {("main (asyncio/runners.py)", work, "sqrt (mathutil.py)"): 0.4}
    plan = replace(RUN.plan, targets=(Target("own", "/srv/gilscope/own.py:work"),))
    flame = make_flame("primes", THREADS, FlameKind.HOLDING)
    flame = replace(flame, workload="own")
    now = Evidence(replace(RUN, plan=plan, flames=(flame,)), stacks={flame.path: own})
    page = drawing.render_changes(now, now, [], [])
    folded = re.findall(r'<svg class="boxes" data-harness="folded".*?\n</svg>', page, re.DOTALL)
    assert len(folded) == 2
    assert all(work in layer for layer in folded)


@pytest.fixture
def saved(tmp_path: Path) -> RunFolder:
    folder, evidence = RunFolder.create(tmp_path / "run"), evidence_with_stacks()
    for name, samples in evidence.samples.items():
        write_samples(folder.path / name, samples)
    for flame in evidence.run.flames:
        folder.write_flame(flame, evidence.stacks[flame.path], "<svg/>" if flame.samples else None)
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


# Twins, rough figures, searches and sweeps.

NOISE = NoiseFloor(ASYNCIO, 3, Interval(0.97, 1.01, 1.04), Interval(0.9, 1.02, 1.2), Interval(1, 1, 1))


@pytest.mark.parametrize(
    ("noise", "told"),
    [
        (
            NOISE,
            (
                "Noise floor, from 3 A/A pairs: asyncio against itself has 1.01x (0.97 to 1.04) the throughput, "
                "1.02x (0.90 to 1.20) the p99 and 1.00x (1.00 to 1.00) the /ping p99"
            ),
        ),
        (
            replace(NOISE, pairs=1, p99=Interval(math.nan, math.nan, math.nan), probe_p99=None),
            "Noise floor, from 1 A/A pair: asyncio against itself has 1.01x (0.97 to 1.04) the throughput",
        ),
        (
            replace(
                NOISE,
                throughput=Interval(0.9, 1.0, math.inf),
                p99=Interval(math.nan, 1.1, math.nan),
                probe_p99=None,
            ),
            "Noise floor, from 3 A/A pairs: asyncio against itself has 1.00x the throughput and 1.10x the p99",
        ),
    ],
)
def test_the_noise_floor_is_told_as_far_as_it_is_known(noise: NoiseFloor, told: str) -> None:
    assert describe_noise(noise) == told


def test_the_noise_floor_stands_between_the_figures_and_the_caveats() -> None:
    text = describe_verdict(replace(WINNER, noise=NOISE, caveats=("mind this",)))
    assert describe_noise(NOISE) in " ".join(text.split())
    assert text.index("> processes") < text.index("Noise floor") < text.index("  ! mind this")
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "Noise floor" not in describe_verdict(WINNER)


@pytest.mark.parametrize(
    ("verdict", "figures"),
    [
        (replace(WINNER, rough_p99=(THREADS,)), WINNER.p99_ms),
        (replace(WINNER, rough_probe_p99=(THREADS,)), WINNER.probe_p99_ms),
    ],
)
def test_a_rough_p99_is_marked_and_no_other_figure(
    verdict: Verdict, figures: Mapping[BackendName, Interval]
) -> None:
    text = describe_verdict(verdict)
    (row,) = [line for line in text.splitlines() if line.strip().startswith("threads")]
    assert f" ~{significant(figures[THREADS].mid)} (" in row
    assert row.count("~") == 1
    assert text.count("~") == 2
    assert "  ~ rough: fewer than 2,000 requests, or pings, lie behind this p99" in text.splitlines()
    header = next(line for line in text.splitlines() if "requests/s" in line and "p99 ms" in line)
    assert len(row) == len(header)
    assert "~" not in describe_verdict(WINNER)


def test_without_figures_nothing_is_rough() -> None:
    assert "~" not in describe_verdict(replace(NOTHING, rough_p99=(THREADS,)))


def test_a_verdict_on_capacities_has_no_latencies() -> None:
    capacities = [
        Capacity("primes", backend, "p99=200ms", rate, rate * 1.04, rate * 0.9, "", ())
        for backend, rate in ((ASYNCIO, 100.0), (THREADS, 250.0))
    ]
    lines = describe_verdict(judge_capacities(Target("primes", "primes"), capacities)).splitlines()
    assert lines[0] == "primes: threads"
    assert lines[1] == "  p99=200ms is kept on threads up to 250 requests/s; on asyncio up to 100 (2.50x)"
    assert [line.split() for line in lines[3:]] == [
        ["asyncio", "100", "(90.0-104)", "-", "-"],
        [">", "threads", "250", "(225-260)", "-", "-"],
    ]


def test_a_trial_says_which_of_its_block_it_is_and_at_what_rate() -> None:
    first = replace(PRIMES, block=0)
    assert describe_trial(replace(first, twin=True)).startswith("primes asyncio again (A/A) block 1: ")
    assert describe_trial(replace(first, attempt=2)).startswith("primes asyncio block 1, 2nd attempt: ")
    load = replace(PRIMES.load, kind=LoadKind.OPEN, users=None, rate=120.0)
    assert describe_trial(replace(first, load=load)).startswith("primes asyncio block 1 at 120/s: ")


def test_a_spoilt_trial_says_why_it_does_not_count() -> None:
    stolen = Caution("steal", "the hypervisor took it", "a quieter machine")
    text = describe_trial(replace(PRIMES, valid=False, warnings=(stolen,)))
    assert text.endswith("\n  does not count: the hypervisor took it")
    assert "does not count" not in describe_trial(replace(PRIMES, warnings=(stolen,)))


def test_a_sweep_is_told_in_a_line_for_each_pair() -> None:
    crossed = BreakEven(PROCESSES, ASYNCIO, Standing.CROSSES, Interval(3_100, 4_200, math.inf))
    tied = BreakEven(THREADS, ASYNCIO, Standing.TIED)
    swept = replace(RUN, plan=replace(RUN.plan, sweep=Sweep("n", (1.0, 2.0))), break_evens=(crossed, tied))
    assert describe_sweep(swept) == (
        "break-even:\n"
        "  - processes pay from n = 4,200 on (95 % interval 3,100 or more) against asyncio\n"
        "  - no size tried shows a difference between threads and asyncio"
    )


def test_a_long_line_of_a_sweep_is_wrapped() -> None:
    crossed = BreakEven(PROCESSES, ASYNCIO, Standing.CROSSES, Interval(3_100, 4_200, 6_000))
    swept = replace(RUN, plan=replace(RUN.plan, sweep=Sweep("n" * 60, (1.0, 2.0))), break_evens=(crossed,))
    lines = describe_sweep(swept).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("    ")
    assert max(map(len, lines)) <= WIDTH


def test_a_sweep_without_a_break_even_says_so_and_a_run_without_a_sweep_nothing() -> None:
    swept = replace(RUN, plan=replace(RUN.plan, sweep=Sweep("n", (1.0, 2.0))))
    assert describe_sweep(swept) == "break-even:\n  - too few sizes could be measured"
    assert describe_sweep(RUN) == ""
