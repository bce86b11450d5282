"""Facts about the HTML report: it is whole, it is inert, and it says what the evidence says."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest
from factories import (
    ASYNCIO,
    BACKENDS,
    EXCLUSION,
    GENERATOR_GUILTY,
    NATIVE_NOTE,
    NO_LENS,
    PROCESSES,
    REASONS,
    SHAPES,
    SHARED_CORES,
    THREADS,
    interrupted,
    make_evidence,
    make_flame,
    make_graphs,
    silenced,
    without_flames,
    without_lens,
    without_samples,
)

from gilscope.model import (
    BackendName,
    BreakEven,
    Capacity,
    CapacityStep,
    Caution,
    Evidence,
    Flame,
    FlameKind,
    Interval,
    LoadKind,
    NoiseFloor,
    Scalability,
    Standing,
    Sweep,
    Target,
)
from gilscope.report import charts
from gilscope.report.cards import Answer, answer
from gilscope.report.html import build_growth, render
from gilscope.report.sections import Difference
from gilscope.report.tables import place
from gilscope.verdict.capacity import judge_capacities

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = "<script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>&\""


class Document(HTMLParser):
    """What a browser would see: elements with their text, and whether every tag is closed in its order."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.cells: list[list[str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.words: list[str] = []
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if ("role", "region") in attrs:
            self.tables[dict(attrs)["aria-label"] or ""] = self.cells = []
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th") and self.cells:
            self.cells[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open or "script" in self.open:
            return
        self.words.append(data)
        if "tr" in self.open and "small" not in self.open and self.cells[-1]:
            self.cells[-1][-1] += data.strip()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def row(self, backend: BackendName, nth: int = 0) -> list[str]:
        """Return a backend's row in the ``nth`` table of figures."""
        tables = [rows for label, rows in self.tables.items() if label.startswith("All figures")]
        return next(row for row in tables[nth] if row and row[0] == backend)[1:]

    def details(self, workload: str) -> list[dict[str, str]]:
        """Return the rows of a workload's mean requests, keyed by column."""
        head, *rows = self.tables[f"The mean request of each trial of {workload}"]
        return [dict(zip(head, row, strict=True)) for row in rows]


@cache
def shown() -> str:
    evidence = make_evidence()
    return render(evidence, graphs=make_graphs(evidence), viewer_style=".flame{}", viewer_script="void 0;")


def read(evidence: Evidence) -> Document:
    return Document(render(evidence, graphs={}))


RUNS: dict[str, Callable[[], Evidence]] = {
    "complete": make_evidence,
    "interrupted": lambda: interrupted(make_evidence()),
    "empty": lambda: interrupted(make_evidence(), trials=0),
    "no flames": lambda: without_flames(make_evidence()),
    "no samples": lambda: without_samples(make_evidence()),
    "silent backend": lambda: silenced(make_evidence(), "primes", THREADS),
    "silent baseline": lambda: silenced(make_evidence(), "primes", ASYNCIO),
    "no ratios": lambda: without_ratios(make_evidence()),
    "no lens": lambda: without_lens(make_evidence()),
    "a lens on some": lambda: without_lens(make_evidence(), PROCESSES),
    "no classes": lambda: without_classes(make_evidence()),
    "search": lambda: searched(make_evidence()),
    "sweep": lambda: swept(make_evidence()),
    "twins": lambda: with_twins(make_evidence()),
}


def without_classes(evidence: Evidence) -> Evidence:
    plan = evidence.run.plan
    targets = tuple(replace(target, classification=None) for target in plan.targets)
    return replace(evidence, run=replace(evidence.run, plan=replace(plan, targets=targets)))


def without_ratios(evidence: Evidence) -> Evidence:
    verdicts = tuple(replace(verdict, throughput_ratio={}) for verdict in evidence.run.verdicts)
    return replace(evidence, run=replace(evidence.run, verdicts=verdicts))


def with_target(evidence: Evidence, workload: str, target: Target) -> Evidence:
    plan = evidence.run.plan
    targets = tuple(target if known.workload == workload else known for known in plan.targets)
    return replace(evidence, run=replace(evidence.run, plan=replace(plan, targets=targets)))


@pytest.mark.parametrize("name", RUNS)
def test_every_run_makes_a_well_formed_page(name: str) -> None:
    markup = render(RUNS[name](), graphs={})
    assert markup.startswith("<!doctype html>")
    assert "Machine and method" in Document(markup).text


def test_nothing_in_the_page_asks_the_network() -> None:
    document = Document(shown())
    for tag, name, value in document.attributes:
        assert not re.search(r"^\s*(https?:|//)|url\(", value), (tag, name, value)
        if name in ("src", "href", "action", "poster", "data", "srcset", "xlink:href"):
            assert value.startswith("#"), (tag, name, value)
    assert not {tag for tag, _, _ in document.attributes} & {
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
    }
    styles = "".join(re.findall(r"<style>(.*?)</style>", shown(), re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles


def test_links_lead_to_places_in_the_page() -> None:
    attributes = Document(shown()).attributes
    places = [value for _, name, value in attributes if name == "id"]
    assert len(places) == len(set(places))
    assert {value.removeprefix("#") for _, name, value in attributes if name == "href"} <= set(places)


def test_policy_forbids_every_request_and_every_script_but_the_viewer() -> None:
    policy = policy_of(Document(shown()))
    digest = base64.b64encode(hashlib.sha256(b"void 0;").digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "script-src 'none'" in policy_of(read(make_evidence()))


def policy_of(document: Document) -> str:
    return next(value for _, name, value in document.attributes if name == "content" and "-src" in value)


def test_viewer_is_embedded_once() -> None:
    assert shown().count("<script>void 0;</script>") == 1
    assert shown().count(".flame{}") == 1
    assert "<script" not in render(make_evidence(), graphs={})


def test_viewer_cannot_close_its_own_element() -> None:
    markup = render(make_evidence(), graphs={}, viewer_style="/*</style>*/", viewer_script="'</SCRIPT>'")
    Document(markup)
    assert markup.count("</style>") == 1
    assert markup.lower().count("</script>") == 1


def test_everything_from_outside_is_escaped() -> None:
    markup = render(hostile(make_evidence()), graphs={})
    document = Document(markup)
    assert "<script" not in markup
    assert "img" not in {tag for tag, _, _ in document.attributes}
    assert not [name for _, name, _ in document.attributes if name.startswith("on")]
    assert document.text.count("<script>alert('x')</script>") > 20


def hostile(evidence: Evidence) -> Evidence:
    """Put markup wherever a user's code or machine can put words."""
    caution = Caution(HOSTILE, HOSTILE, HOSTILE)
    run = evidence.run
    run = replace(
        run,
        name=HOSTILE,
        started_at=HOSTILE,
        gilscope=HOSTILE,
        machine=replace(run.machine, system=HOSTILE, cpu=HOSTILE, python=HOSTILE, start_method=HOSTILE),
        plan=replace(
            run.plan,
            python=f"/{HOSTILE}",
            targets=tuple(
                Target(
                    HOSTILE,
                    HOSTILE,
                    {HOSTILE: HOSTILE},
                    {BackendName.INTERPRETERS: HOSTILE},
                    target.classification
                    and replace(target.classification, target=HOSTILE, reasons=(HOSTILE,)),
                )
                for target in run.plan.targets
                if target.workload == "primes"
            ),
        ),
        trials=tuple(
            replace(trial, workload=HOSTILE, first_error=HOSTILE, warnings=(caution,), valid=trial.block < 3)
            for trial in run.trials
            if trial.workload == "primes"
        ),
        flames=tuple(
            replace(flame, workload=HOSTILE, source=HOSTILE, notes=(HOSTILE,))
            for flame in run.flames
            if flame.workload == "primes"
        ),
        verdicts=tuple(
            replace(verdict, workload=HOSTILE, reason=HOSTILE, caveats=(HOSTILE,))
            for verdict in run.verdicts
            if verdict.workload == "primes"
        ),
    )
    return replace(evidence, run=run)


@pytest.mark.parametrize("workload", REASONS)
def test_verdicts_come_first_with_their_reasons(workload: str) -> None:
    text = Document(shown()).text
    first_section = text.index("Where the time goes")
    assert text.index(REASONS[workload]) < first_section
    assert text.index(f"The evidence for {workload}") < first_section


def test_answers_are_big_words() -> None:
    text = Document(shown()).text
    for answered in (
        "http_fetch tie: use asyncio",
        "primes processes",
        "sha256 threads",
        "json_roundtrip asyncio",
    ):
        assert answered in text


def test_one_that_has_nothing_to_be_compared_with_is_no_tie() -> None:
    verdict = replace(make_evidence().run.verdicts[0], winner=None, recommended=THREADS, ties=(THREADS,))
    assert answer(verdict) == Answer("nothing to compare with", THREADS)


def test_answer_without_a_recommendation_says_so() -> None:
    verdict = replace(make_evidence().run.verdicts[0], winner=None, recommended=None)
    assert answer(verdict).lead == "undecided"
    assert answer(replace(verdict, throughput_rps={})).lead == "no answer"
    assert answer(None).lead == "no verdict yet"


def test_every_backend_has_a_row_for_every_workload() -> None:
    document = Document(shown())
    for backend in BACKENDS:
        assert [document.row(backend, nth) for nth in range(4)]


def test_figures_have_three_digits_and_rough_ones_are_marked() -> None:
    document = Document(shown())
    processes = document.row(PROCESSES, 1)
    assert processes[:3] == ["3,444", "0", "287"]
    assert processes[-4:] == ["1.0\N{NO-BREAK SPACE}%", "0\N{NO-BREAK SPACE}%", "1.91", "148"]
    assert re.fullmatch(r"\d+(\.\d+)?", processes[5])
    assert processes[7:9] == ["0.900", "~4.00"]
    assert document.row(ASYNCIO, 1)[5].startswith("~")
    assert document.row(THREADS, 1)[9:11] == ["62\N{NO-BREAK SPACE}%", "82\N{NO-BREAK SPACE}%"]
    assert document.row(ASYNCIO, 1)[9:11] == ["0\N{NO-BREAK SPACE}%", "\N{EN DASH}"]
    assert "~ marks a rough p99: fewer than 2,000 samples lie behind it." in document.text


def test_intervals_stand_under_their_figures() -> None:
    assert "<td>287<small>281 to 293</small></td>" in shown()


def test_invalid_trial_is_marked_and_not_counted() -> None:
    document = Document(shown())
    assert (
        f"Trial does not count: threads, block 3 {GENERATOR_GUILTY.message} {GENERATOR_GUILTY.remedy}"
        in document.text
    )
    assert document.row(THREADS, 0)[0] == "4,832"
    assert shown().count('<tr class="discarded">') == 2, "one of trials, one of mean requests"


def test_a_first_attempt_whose_second_one_counts_is_told_from_a_trial_that_is_lost() -> None:
    run = make_evidence().run
    lost = next(trial for trial in run.trials if not trial.valid)
    again = replace(lost, valid=True, warnings=(), attempt=2)
    text = read(replace(make_evidence(), run=replace(run, trials=(*run.trials, again)))).text
    assert "The second attempt counts, the first one does not: threads, block 3" in text
    assert "Trial does not count: threads, block 3" not in text


def test_invalid_trial_without_a_reason_is_still_told() -> None:
    run = make_evidence().run
    trials = tuple(replace(trial, valid=False, warnings=()) for trial in run.trials[:1])
    assert (
        "The run did not record why." in read(replace(make_evidence(), run=replace(run, trials=trials))).text
    )


def test_warnings_are_told_once_with_their_trials_and_remedy() -> None:
    text = Document(shown()).text
    assert text.count(f"{SHARED_CORES.message} processes, blocks 1, 2 and 3 {SHARED_CORES.remedy}") == 3


def test_first_error_is_shown_as_it_was() -> None:
    text = Document(shown()).text
    assert "37 errors: threads, block 2" in text
    assert 'ValueError: unexpected <script>alert("1 & 2")</script> in <b>payload</b>' in text
    assert "&lt;script&gt;alert(" in shown()


def test_excluded_backend_is_told_in_the_verdict_and_in_the_table() -> None:
    document = Document(shown())
    assert document.text.count(EXCLUSION) == 2
    assert document.row(PROCESSES, 3) == [f"not tried: {EXCLUSION}"]


def test_silent_backend_has_zeros_and_dashes() -> None:
    document = read(silenced(make_evidence(), "primes", THREADS))
    requests, errors, rps, *latencies = document.row(THREADS, 1)
    assert (requests, errors, rps) == ("0", "1,788", "0")
    assert set(latencies[:6]) == {"\N{EN DASH}"}


def test_without_samples_the_blocks_stand_in() -> None:
    document = read(without_samples(make_evidence()))
    assert document.row(PROCESSES, 1)[8] == "~4.00"
    assert "No raw samples to draw from." in document.text


def test_flame_graphs_lie_in_closed_folds() -> None:
    evidence = make_evidence()
    for markup in make_graphs(evidence).values():
        assert shown().count(markup) == 1
    folds = re.findall(r"<details.*?</details>", shown(), re.DOTALL)
    for fold in folds:
        assert fold.startswith(('<details class="fold"><summary>', '<details class="fold flames"><summary>'))
    graphs = [fold for fold in folds if 'class="fold flames"' in fold]
    assert sum(fold.count('<svg class="flame"') for fold in graphs) == len(make_graphs(evidence))
    assert "open" not in {name for tag, name, _ in Document(shown()).attributes if tag == "details"}


def test_flame_graphs_say_how_to_read_them() -> None:
    text = Document(shown()).text
    assert text.count("Who had the GIL.") == 11
    assert text.count("Who waited for the GIL while another thread held it.") == 11
    assert text.count("All threads, waiting included.") == 11
    assert text.count(NATIVE_NOTE) == 11


@cache
def folds() -> dict[str, str]:
    """Return the folds with flame graphs, by what follows ``workload-`` in the first graph's id."""
    found = re.findall(r'<details class="fold flames">.*?</details>', shown(), re.DOTALL)
    return {re.findall(r'id="workload-([^"]+)-[a-z]+"', fold)[0]: fold for fold in found}


def test_graphs_are_grouped_by_backend_in_the_order_of_the_backends() -> None:
    assert list(folds()) == [
        f"{at}-{backend}" for at, shapes in enumerate(SHAPES.values(), start=1) for backend in shapes
    ]
    for key, fold in folds().items():
        backend = key.partition("-")[2]
        summary = Document(fold[fold.index("<summary>") : fold.index("</summary>")] + "</summary>").text
        assert plain(summary) == f"{backend} waiting, holding and wall, over the same 2 s"


def test_waiting_lies_beside_holding_and_the_wall_below() -> None:
    for key, fold in folds().items():
        beside, below = fold.split('<div class="kinds beside">')[1].split('<div class="kinds">')
        assert re.findall(r'<div class="kind" id="workload-([^"]+)">', beside) == [
            f"{key}-waiting",
            f"{key}-holding",
        ]
        assert re.findall(r'<div class="kind" id="workload-([^"]+)">', below) == [f"{key}-wall"]


def test_each_graph_lies_under_its_own_name() -> None:
    for key, fold in folds().items():
        at, backend = key.split("-")
        workload = list(SHAPES)[int(at) - 1]
        for kind, part in re.findall(
            r'id="workload-[^"]+-([a-z]+)">(.*?)(?=<div class="kind"|$)', fold, re.DOTALL
        ):
            drawn = re.findall(r"<title>(.*?)</title>", part)
            assert drawn == (
                [] if kind == "waiting" and backend == ASYNCIO else [f"flames/{workload}-{backend}.{kind}"]
            )


def with_flames(*flames: Flame) -> Evidence:
    evidence = make_evidence()
    return replace(evidence, run=replace(evidence.run, flames=flames))


@pytest.mark.parametrize("kind", FlameKind)
def test_an_empty_graph_is_told_in_words_and_not_drawn(kind: FlameKind) -> None:
    flame = replace(make_flame("primes", THREADS, kind), samples=0)
    markup = render(with_flames(flame), graphs={})
    words = {
        FlameKind.HOLDING: "No Python code was seen holding the GIL.",
        FlameKind.WAITING: "No thread was seen waiting for the GIL.",
        FlameKind.WALL: "No thread was seen at all.",
    }
    text = Document(markup).text
    assert [text.count(told) for told in words.values()] == [told == words[kind] for told in words.values()]
    assert '<div class="graph">' not in markup
    assert "This graph is not in the report." not in text


def test_nobody_waits_on_asyncio() -> None:
    text = Document(shown()).text
    assert text.count("No thread was seen waiting for the GIL.") == 4
    assert shown().count('<div class="graph">') == len(make_graphs(make_evidence()))


def test_graph_that_was_not_handed_in_is_named() -> None:
    assert "This graph is not in the report." in read(make_evidence()).text


def test_notes_of_a_graph_are_escaped() -> None:
    flame = replace(make_flame("primes", THREADS, FlameKind.WAITING), notes=(HOSTILE, "a & b"))
    markup = render(with_flames(flame), graphs={})
    assert "<script" not in markup
    text = Document(markup).text
    assert text.count(HOSTILE) == text.count("a & b") == 1


def test_waiting_graphs_have_their_own_sentence() -> None:
    flame = replace(make_flame("primes", THREADS, FlameKind.WAITING), lost=0, samples=1)
    text = read(with_flames(flame)).text
    assert "Who waited for the GIL while another thread held it." in text
    assert "Who had the GIL." not in text
    assert "All threads, waiting included." not in text


@pytest.mark.parametrize("kinds", [(FlameKind.HOLDING, FlameKind.WALL), (FlameKind.HOLDING,)])
def test_a_fold_does_not_promise_graphs_that_it_lacks(kinds: tuple[FlameKind, ...]) -> None:
    markup = render(with_flames(*(make_flame("primes", THREADS, kind) for kind in kinds)), graphs={})
    (summary,) = re.findall(r'<details class="fold flames"><summary>(.*?)</summary>', markup, re.DOTALL)
    assert "waiting" not in summary


# From a bar to the graph that explains it.


def links_of(markup: str) -> Counter[str]:
    return Counter(re.findall(r'<a href="#([^"]+)"><g class="s-', markup))


LEADS = {
    "cpu": FlameKind.HOLDING,
    "gil_wait": FlameKind.WAITING,
    "runqueue": FlameKind.WALL,
    "blocked": FlameKind.WALL,
    "off_cpu": FlameKind.WALL,
}


def test_the_parts_of_a_bar_lead_to_the_graph_that_explains_them() -> None:
    parts = re.findall(r'(?:<a href="#([^"]+)">)?<g class="s-([a-z_]+)">', shown())
    assert {part for href, part in parts if href} == LEADS.keys() - {"off_cpu"}
    assert {part for href, part in parts if not href} == {"outside", "queue", "unexplained", "return"}
    for href, part in parts:
        if href:
            assert href.rpartition("-")[2] == LEADS[part]
    unwatched = render(without_lens(make_evidence()), graphs={})
    assert "workload-2-threads-wall" in re.findall(r'<a href="#([^"]+)"><g class="s-off_cpu">', unwatched)


def test_the_bars_of_each_backend_lead_to_its_own_graphs() -> None:
    sections = list(re.finditer(r'<section id="(workload-\d)".*?</section>', shown(), re.DOTALL))
    assert len(sections) == 4
    for section in sections:
        for group in re.findall(r'<a href="#[^"]+"><g class="s-[a-z_]+"><rect[^>]*><title>[^<]*', section[0]):
            href, backend = re.findall(r'href="#([^"]+)".*<title>(\w+),', group)[0]
            assert href.startswith(f"{section[1]}-{backend}-")


@pytest.mark.parametrize("missing", FlameKind)
def test_without_a_graph_nothing_leads_to_it(missing: FlameKind) -> None:
    flames = tuple(
        flame
        for flame in make_evidence().run.flames
        if (flame.workload, flame.backend, flame.kind) != ("primes", THREADS, missing)
    )
    gone = f"workload-2-threads-{missing}"
    assert links_of(shown())[gone] > 0
    expected = links_of(shown())
    del expected[gone]
    assert links_of(render(with_flames(*flames), graphs={})) == expected


def test_without_any_graph_no_bar_has_a_link() -> None:
    for evidence in (without_flames(make_evidence()), interrupted(make_evidence())):
        markup = render(evidence, graphs={})
        assert '<g class="s-cpu">' in markup
        assert not links_of(markup)


def test_an_empty_graph_has_its_place_and_is_led_to() -> None:
    flames = [replace(flame, samples=0) for flame in make_evidence().run.flames]
    assert links_of(render(with_flames(*flames), graphs={})) == links_of(shown())


@pytest.mark.parametrize("name", [*RUNS, "hostile"])
def test_every_link_of_every_run_has_its_place(name: str) -> None:
    evidence = hostile(make_evidence()) if name == "hostile" else RUNS[name]()
    attributes = Document(render(evidence, graphs=make_graphs(evidence))).attributes
    places = [value for _, attribute, value in attributes if attribute == "id"]
    assert len(places) == len(set(places))
    assert all(re.fullmatch(r"[a-z0-9-]+", place) for place in places)
    links = [value for _, attribute, value in attributes if attribute == "href"]
    assert {value.removeprefix("#") for value in links} <= set(places)


# How the graphs of two backends differ.

DIFFERENCE = Difference(FlameKind.WAITING, THREADS, PROCESSES, "<svg class='flame'><title>less</title></svg>")


def test_a_difference_is_told_below_the_graphs_of_its_workload() -> None:
    markup = render(make_evidence(), graphs={}, differences={"primes": [DIFFERENCE]})
    assert markup.count(DIFFERENCE.svg) == 1
    section = re.findall(r'<section id="workload-2".*?</section>', markup, re.DOTALL)[0]
    *_, last = re.findall(r'<details class="fold flames">.*?</details>', section, re.DOTALL)
    text = Document(last).text
    assert text.startswith(
        "threads against processes waiting Red frames weigh more on threads, blue ones less;"
    )
    assert DIFFERENCE.svg in last


def test_differences_come_in_their_order_and_only_where_there_are_any() -> None:
    wall = replace(DIFFERENCE, kind=FlameKind.WALL)
    markup = render(make_evidence(), graphs={}, differences={"primes": [DIFFERENCE, wall], "sha256": []})
    text = Document(markup).text
    assert text.count("threads against processes") == 2
    assert text.index("processes waiting Red") < text.index("processes wall Red")
    assert "blue ones less" in text
    assert "blue ones less" not in Document(shown()).text


def test_differences_of_a_workload_with_a_hostile_name_stay_words() -> None:
    markup = render(hostile(make_evidence()), graphs={}, differences={HOSTILE: [DIFFERENCE]})
    assert "<script" not in markup
    assert markup.count(DIFFERENCE.svg) == 1
    Document(markup)


def test_run_without_flames_says_so() -> None:
    assert "This run was made without profiles." in read(without_flames(make_evidence())).text


def test_partial_run_has_a_banner_and_a_complete_one_has_none() -> None:
    assert "This run is partial: 5 of 33 trials are in." in read(interrupted(make_evidence())).text
    assert "partial" not in Document(shown()).text


def test_machine_and_plan_are_told() -> None:
    text = Document(shown()).text
    for fact in (
        "Example CPU @ 2.40GHz, 2 cores",
        "20 users in a closed loop",
        "50 pings per second",
        "seed 7",
    ):
        assert fact in text
    assert "load 2 min 45 s (59 %) profiling 44 s (16 %) together 74 % of the wall time" in text


def test_open_loop_is_explained_as_such() -> None:
    run = make_evidence().run
    load = replace(run.plan.load, kind=LoadKind.OPEN, users=None, rate=120.0)
    text = read(replace(make_evidence(), run=replace(run, plan=replace(run.plan, load=load)))).text
    assert "120 arrivals per second in an open loop" in text
    assert "Closed loop" not in text


def test_arguments_are_written_as_the_call() -> None:
    target = Target("primes", "pkg.mod:count", {"n": 5, "kind": "odd"})
    assert 'pkg.mod:count(n=5, kind="odd")' in read(with_target(make_evidence(), "primes", target)).text


def test_tables_have_scopes_and_pictures_have_words() -> None:
    attributes = Document(shown()).attributes
    assert shown().count("<th ") == sum((tag, name) == ("th", "scope") for tag, name, _ in attributes)
    assert "<th>" not in shown()
    charts = [
        name
        for tag, name, value in attributes
        if tag == "svg" and (name == "aria-label" or (name == "role" and value in {"img", "group"}))
    ]
    assert charts.count("aria-label") == charts.count("role") > 20


def test_page_follows_light_dark_print_and_phones() -> None:
    for query in (
        "prefers-color-scheme: dark",
        "@media print",
        "@container (max-width: 500px)",
        "max-width: 640px",
    ):
        assert query in shown()


# What the lens saw, and what it did not.


def test_the_lens_is_told_where_it_watched() -> None:
    text = plain(Document(shown()).text)
    assert text.count("Inside the function as the lens saw it") == 4
    assert text.count("Shares of the threads' wall time, seen from outside.") == 4
    assert "waits for the GIL 62 % of its time, holds it 5.0 %" in text
    assert "No lens" not in text
    assert "lens 196 looks per second, 2.4 % of a core, in 33 of 33 trials" in text
    assert "Another process read out of /proc what each thread of the service was doing" in text


def test_without_a_lens_nothing_is_claimed_and_the_reason_has_its_remedy() -> None:
    text = plain(read(without_lens(make_evidence())).text)
    assert "as the lens saw it" not in text
    assert "seen from outside" not in text
    assert "GIL wait" not in text
    by_the_graphs = "No thread was seen waiting for the GIL."
    assert text.count(by_the_graphs) == 4
    assert "waiting for the GIL" not in text.replace(NO_LENS.message, "").replace(by_the_graphs, "")
    nowhere = "No lens watched this workload: how long threads waited for the GIL is not known. The reason stands below."
    assert text.count(nowhere) == 4
    everywhere = "asyncio, blocks 1, 2 and 3; threads, blocks 1, 2 and 3; processes, blocks 1, 2 and 3"
    assert f"{NO_LENS.message} {everywhere} {NO_LENS.remedy}" in text
    assert "No lens watched this run" in text
    assert "lens none" in text


def test_a_lens_that_watched_some_is_told_with_those_it_missed() -> None:
    text = plain(read(without_lens(make_evidence(), PROCESSES, ASYNCIO)).text)
    assert "No lens watched asyncio and processes: how long threads waited for the GIL is not known." in text
    assert text.count("waits for the GIL 62 % of its time") == 1
    assert "run off CPU" in text


def test_a_run_from_before_the_lens_gives_no_reason() -> None:
    run = without_lens(make_evidence()).run
    trials = tuple(replace(trial, warnings=()) for trial in run.trials)
    text = read(replace(make_evidence(), run=replace(run, trials=trials))).text
    assert "No lens watched this workload" in text
    assert "The reason stands below." not in text


def test_details_have_the_parts_as_they_were_measured() -> None:
    everything, first, *_ = [
        row for row in Document(shown()).details("json_roundtrip") if row["backend"] == THREADS
    ]
    assert everything["block"] == "all"
    assert (everything["GIL wait"], everything["unexplained"]) == ("104.100", "-3.700")
    parts = ("outside", "queue", "run on CPU", "GIL wait", "run queue", "blocked", "unexplained", "return")
    assert sum(float(first[name]) for name in parts) == pytest.approx(float(first["mean ms"]), abs=0.004)
    assert [plain(first[name]) for name in ("loop waits", "loop holds", "workers wait", "workers hold")] == [
        "71 %", "4.0 %", "76 %", "7.9 %",
    ]  # fmt: skip
    assert (everything["looks"], first["looks"]) == ("2,352", "784")


def test_details_without_a_lens_have_one_figure_off_the_cpu() -> None:
    first = read(without_lens(make_evidence())).details("primes")[0]
    assert list(first) == [
        "backend",
        "block",
        "mean ms",
        "outside",
        "queue",
        "run on CPU",
        "run off CPU",
        "return",
    ]
    first, *_ = (
        row
        for row in read(without_lens(make_evidence(), ASYNCIO)).details("primes")
        if row["backend"] == ASYNCIO
    )
    assert {first[name] for name in ("GIL wait", "unexplained", "loop waits", "looks")} == {"\N{EN DASH}"}
    assert first["run off CPU"] == "0.100"


def test_an_excess_is_told_below_the_heading_and_beside_the_bar() -> None:
    assert shown().count("split exceeds the run by 3.70\N{NO-BREAK SPACE}ms") == 2, "wide and on a phone"
    assert Document(shown()).text.count("Where a split exceeds the run, it is drawn shorter") == 1


def test_what_the_function_does_to_the_gil_is_told_in_the_card_and_in_the_section() -> None:
    text = plain(Document(shown()).text)
    told = "preemptible : holds the GIL, gives it up every 5 ms; held 98 %, longest hold 5.1 ms, CPU 99 %"
    assert text.count(told) == 2
    assert text.index(told) < text.index(REASONS["primes"])
    assert text.count("all of it is Python code") == 1
    assert "a call: 6.48 ms; pickles: yes; runs in subinterpreters: yes" in text
    assert "kind-of" not in re.sub(
        r"<style>.*?</style>", "", render(without_classes(make_evidence()), graphs={}), flags=re.DOTALL
    )


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


# A search for capacities.

SLO = "p99=200ms"
LAW = Scalability(52.0, 0.1, 0.002, 21.2, 190.0, (0.01, -0.02))


def capacity_of(workload: str, backend: BackendName, rate: float | None) -> Capacity:
    kept_up_to = rate or 0.0
    steps = tuple(
        CapacityStep(at, "ramp", at <= kept_up_to, at, 20.0 if at <= kept_up_to else 900.0, at / 50)
        for at in (16.0, 32.0, 64.0)
    )
    curve = tuple(replace(step, purpose="curve") for step in steps) if rate else ()
    note = "" if rate else "Even 0.5 requests/s break it."
    law = LAW if rate else None
    return Capacity(
        workload, backend, SLO, rate, kept_up_to + 16, rate and rate * 0.9, note, steps, curve, law
    )


def searched(evidence: Evidence) -> Evidence:
    """Make the same run as if capacities had been searched for; on ``sha256``, the search is not over yet."""
    run = evidence.run
    targets = tuple(target for target in run.plan.targets if target.workload in ("primes", "sha256"))
    capacities = tuple(
        capacity_of("primes", backend, rate)
        for backend, rate in ((ASYNCIO, None), (THREADS, 32.0), (PROCESSES, 64.0))
    )
    plan = replace(run.plan, targets=targets, slo=SLO, curve=True, profile_seconds=0.0, blocks=1)
    run = replace(
        run,
        plan=plan,
        trials=(),
        flames=(),
        searched=run.trials[:9],
        capacities=capacities,
        verdicts=(judge_capacities(targets[0], capacities),),
        complete=False,
    )
    return Evidence(run)


def test_a_search_has_a_section_with_its_table_in_place_of_the_usual_one() -> None:
    document = read(searched(make_evidence()))
    assert f"primes: how much keeps {SLO}" in document.text
    assert "Where the time goes" not in document.text
    head, *rows = document.tables["Capacities of primes"]
    assert head == ["backend", "kept up to, /s", "broken at, /s", "confirmed at, /s", "trials", "to be said"]
    dash = "\N{EN DASH}"
    assert rows == [
        ["asyncio", dash, "16.0", dash, "3", "Even 0.5 requests/s break it."],
        ["threads", "32.0", "48.0", "28.8", "3", ""],
        ["processes", "64.0", "80.0", "57.6", "3", ""],
    ]
    assert document.tables["Capacities of sha256"] == [head]


def test_a_search_says_what_was_asked_and_who_keeps_it() -> None:
    document = read(searched(make_evidence()))
    assert (
        f"2 workloads behind one aiohttp service: a search for the highest arrival rate that keeps {SLO}"
        in document.text
    )
    assert "primes processes" in document.text
    assert (
        f"{SLO} is kept on processes up to 64.0 requests/s; on threads up to 32.0 (2.00x), on asyncio at no rate"
        in document.text
    )
    assert "asyncio: Even 0.5 requests/s break it." in document.text
    assert "The run has no verdict on this workload yet." in document.text
    assert "This run is partial: 9 trials of the search are in." in document.text
    assert f"--slo {SLO} --curve" in document.text


def test_the_chart_of_a_search_comes_wide_and_narrow() -> None:
    markup = render(searched(make_evidence()), graphs={})
    sections = re.findall(r'<section id="workload-\d".*?</section>', markup, re.DOTALL)
    assert [section.count('aria-label="Latency by offered rate') for section in sections] == [2, 0]
    assert '<div class="scaled"><div class="wide">' in sections[0]


def test_the_steps_of_a_search_are_folded_away_with_those_of_its_curve() -> None:
    markup = render(searched(make_evidence()), graphs={})
    (fold,) = re.findall(
        r"<details[^>]*>(?:(?!<details).)*?Rates tried of primes.*?</details>", markup, re.DOTALL
    )
    assert "<summary>Every rate that was tried</summary>" in fold
    assert "<details open" not in markup
    head, *rows = Document(markup).tables["Rates tried of primes"]
    assert head == ["backend", "to", "offered /s", "answered /s", "in flight", "latency", SLO]
    assert len(rows) == 3 + 6 + 6
    assert [plain(" ".join(row)) for row in rows[3:6]] == [
        "threads ramp 16.0 16.0 0.320 ~20.0 ms kept",
        "threads ramp 32.0 32.0 0.640 ~20.0 ms kept",
        "threads ramp 64.0 64.0 1.28 ~900 ms broken",
    ]
    assert [row[1] for row in rows[6:9]] == ["curve"] * 3


def test_the_law_of_each_curve_is_told_below_the_table() -> None:
    text = read(searched(make_evidence())).text
    assert text.count("Universal Scalability Law: 52.0 requests/s for one in flight") == 2
    assert "threads : Universal Scalability Law" in text


def test_a_run_without_a_search_has_no_capacities() -> None:
    assert "how much keeps" not in Document(shown()).text
    assert not [label for label in Document(shown()).tables if label.startswith("Capacities")]


def test_every_word_of_a_search_is_escaped() -> None:
    evidence = hostile(make_evidence())
    capacity = replace(
        capacity_of(HOSTILE, THREADS, 32.0),
        note=HOSTILE,
        law=Scalability(refusal=HOSTILE),
        steps=(CapacityStep(16.0, HOSTILE, kept=True, throughput_rps=16.0, latency_ms=20.0),),
    )
    plan = replace(evidence.run.plan, slo=SLO)
    markup = render(Evidence(replace(evidence.run, plan=plan, capacities=(capacity,))), graphs={})
    document = Document(markup)
    assert "<script" not in markup
    assert "img" not in {tag for tag, _, _ in document.attributes}
    assert not [name for _, name, _ in document.attributes if name.startswith("on")]
    assert document.text.count(f"{HOSTILE}: how much keeps {SLO}") == 1
    assert f"not fitted; {HOSTILE}" in document.text
    assert [label for label in document.tables if HOSTILE in label] == [
        f"Capacities of {HOSTILE}",
        f"Rates tried of {HOSTILE}",
    ]


# A sweep.

SIZES = (1_000.0, 3_000.0, 9_000.0)
CROSSED = BreakEven(PROCESSES, ASYNCIO, Standing.CROSSES, Interval(1_100, 1_400, 1_700))
BEHIND = BreakEven(THREADS, PROCESSES, Standing.NEVER)


def swept(evidence: Evidence, parameter: str = "n") -> Evidence:
    """Make a run of ``primes`` at three sizes, of which the last is not judged yet."""
    run = evidence.run
    known = next(target for target in run.plan.targets if target.workload == "primes")
    verdict = next(verdict for verdict in run.verdicts if verdict.workload == "primes")
    targets = tuple(
        replace(
            known,
            workload=f"primes, {parameter}={size:g}",
            given={parameter: f"{size:g}"},
            served_as="primes",
        )
        for size in SIZES
    )
    ratios = [
        {ASYNCIO: Interval(1, 1, 1), PROCESSES: Interval(ratio * 0.9, ratio, ratio * 1.1)}
        for ratio in (0.5, 2.0)
    ]
    verdicts = tuple(
        replace(verdict, workload=target.workload, throughput_ratio=ratio)
        for target, ratio in zip(targets, ratios, strict=False)
    )
    plan = replace(run.plan, targets=targets, sweep=Sweep(parameter, SIZES), profile_seconds=0.0)
    run = replace(run, plan=plan, trials=(), flames=(), verdicts=verdicts, break_evens=(CROSSED, BEHIND))
    return Evidence(run)


def test_a_sweep_has_a_section_with_its_chart_and_its_sentences() -> None:
    markup = render(swept(make_evidence()), graphs={})
    (section,) = re.findall(r'<section id="break-even".*?</section>', markup, re.DOTALL)
    text = plain(Document(section).text)
    assert text.startswith("The size from which a backend pays Throughput as n grows, with 95 % intervals")
    assert "processes pay from n = 1,400 on (95 % interval 1,100 to 1,700) against asyncio" in text
    assert "threads are behind processes at every size tried" in text
    assert section.count('aria-label="Throughput against asyncio by n') == 2
    assert section.count("<li>") == 2
    assert (
        markup.index('id="workload-1-answer"')
        < markup.index('id="break-even"')
        < markup.index('id="workload-1"')
    )
    assert "--sweep n=1000,3000,9000" in Document(markup).text


def test_the_growth_of_a_sweep_is_that_of_the_sizes_that_were_judged() -> None:
    growth = build_growth(swept(make_evidence()).run)
    assert growth is not None
    assert (growth.parameter, len(growth.sentences)) == ("n", 2)
    for svg, width in ((growth.chart.wide, charts.WIDE), (growth.chart.narrow, charts.NARROW)):
        assert f'width="{width}"' in svg
        label = re.findall(r'aria-label="([^"]*)"', svg)[0]
        assert "at 1,000" in label
        assert "at 3,000" in label
        assert "at 9,000" not in label


def test_a_size_without_ratios_is_left_out_of_the_growth() -> None:
    run = swept(make_evidence()).run
    first, second = run.verdicts
    growth = build_growth(replace(run, verdicts=(replace(first, throughput_ratio={}), second)))
    assert growth is not None
    assert "at 1,000" not in growth.chart.wide
    assert "at 3,000" in growth.chart.wide


def test_without_a_sweep_or_a_verdict_there_is_no_growth() -> None:
    run = swept(make_evidence()).run
    assert build_growth(make_evidence().run) is None
    assert build_growth(replace(run, verdicts=())) is None
    assert (
        build_growth(replace(run, verdicts=tuple(replace(one, throughput_ratio={}) for one in run.verdicts)))
        is None
    )
    assert 'id="break-even"' not in shown()
    assert 'id="break-even"' not in render(Evidence(replace(run, verdicts=())), graphs={})


def test_the_baseline_of_a_sweep_is_told() -> None:
    run = swept(make_evidence()).run
    verdicts = tuple(replace(verdict, baseline=PROCESSES) for verdict in run.verdicts)
    growth = build_growth(replace(run, verdicts=verdicts))
    assert growth is not None
    assert 'aria-label="Throughput against processes by n' in growth.chart.wide


def test_ratios_against_another_baseline_are_not_drawn_beside_the_others() -> None:
    run = swept(make_evidence()).run
    first, second = run.verdicts
    # At the second size asyncio gave no answers: the ratios are against threads there.
    other = {THREADS: Interval(1, 1, 1), PROCESSES: Interval(1.8, 2.0, 2.2)}
    second = replace(second, baseline=THREADS, throughput_ratio=other)
    growth = build_growth(replace(run, verdicts=(first, second)))
    assert growth is not None
    assert "2.00\N{MULTIPLICATION SIGN} at 3,000" not in growth.chart.wide


def test_the_parameter_of_a_sweep_is_escaped() -> None:
    markup = render(swept(make_evidence(), HOSTILE), graphs={})
    assert "<script" not in markup
    assert f"Throughput as {HOSTILE} grows" in Document(markup).text


# Twins, second attempts and the noise floor.


def test_a_trial_is_named_by_its_block_and_what_else_tells_it_apart() -> None:
    trial = make_evidence().run.trials[0]
    assert place(trial) == "1"
    assert place(replace(trial, block=2, twin=True)) == "3, A/A"
    assert place(replace(trial, attempt=2)) == "1, 2nd attempt"
    assert place(replace(trial, twin=True, attempt=2)) == "1, A/A, 2nd attempt"


def with_twins(evidence: Evidence) -> Evidence:
    """Make the same run as if asyncio had been tried twice per block, once with a second attempt."""
    run = evidence.run
    own = [trial for trial in run.trials if (trial.workload, trial.backend) == ("primes", ASYNCIO)]
    twins = [replace(trial, twin=True, requests=7_777, samples=None) for trial in own]
    again = replace(twins[0], attempt=2)
    twins[0] = replace(twins[0], valid=False, warnings=(GENERATOR_GUILTY,))
    noise = NoiseFloor(ASYNCIO, 3, Interval(0.97, 1.01, 1.04), Interval(0.9, 1.02, 1.2), Interval(1, 1, 1))
    verdicts = tuple(
        replace(verdict, noise=noise) if verdict.workload == "primes" else verdict for verdict in run.verdicts
    )
    plan = replace(run.plan, twins=True)
    return replace(
        evidence, run=replace(run, plan=plan, trials=(*run.trials, *twins, again), verdicts=verdicts)
    )


def test_twins_stand_beside_the_other_trials_and_count_for_the_noise_alone() -> None:
    document = read(with_twins(make_evidence()))
    _, *rows = document.tables["Trials of primes"]
    assert [row[1] for row in rows if row[0] == ASYNCIO] == [
        "1", "1, A/A", "1, A/A, 2nd attempt", "2", "2, A/A", "3", "3, A/A",
    ]  # fmt: skip
    assert [row[-1] for row in rows if "A/A" in row[1]] == ["no", "yes", "yes", "yes"]
    assert document.row(ASYNCIO, 1) == Document(shown()).row(ASYNCIO, 1)


def test_the_noise_floor_is_told_in_the_card() -> None:
    told = (
        "Noise floor, from 3 A/A pairs: asyncio against itself has 1.01x (0.97 to 1.04) the throughput, "
        "1.02x (0.90 to 1.20) the p99 and "
    )
    assert Document(shown()).text.count("Noise floor") == 0
    assert read(with_twins(make_evidence())).text.count(told) == 1


def test_the_heading_of_the_ratios_names_what_they_are_against() -> None:
    run = make_evidence().run
    verdicts = tuple(
        replace(
            verdict,
            baseline=THREADS,
            throughput_ratio={THREADS: Interval(1, 1, 1), PROCESSES: Interval(1, 2, 3)},
        )
        for verdict in run.verdicts
    )
    text = read(replace(make_evidence(), run=replace(run, verdicts=verdicts))).text
    assert "Throughput against asyncio" not in text
    assert "Throughput against threads" in text
