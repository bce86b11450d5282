"""Facts about graphs that are brought together: those of a run in its report, and those of two runs."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree as ET

import pytest
from factories import (
    ASYNCIO,
    PROCESSES,
    SHAPES,
    THREADS,
    make_evidence,
    make_flame,
    make_many_stacks,
    make_stacks,
    with_stacks,
)

from gilscope.commands.drawing import draw_difference, draw_flame, render_changes, render_report
from gilscope.errors import UsageError
from gilscope.flame.difference import Named
from gilscope.flame.wording import MEANING
from gilscope.model import BackendName, Change, Evidence, Flame, FlameKind, Folded, Interval

RUN = make_evidence().run
WAITING = make_flame("primes", THREADS, FlameKind.WAITING)
HOSTILE = "</title><script>alert('x')</script>&\""
SVG = "{http://www.w3.org/2000/svg}"


def named(flame: Flame, name: str = "") -> Named:
    return Named(name or flame.backend, flame, make_stacks(flame))


def with_flames(*flames: Flame) -> Evidence:
    return with_stacks(replace(make_evidence(), run=replace(RUN, flames=flames)))


def titles(markup: str) -> list[str]:
    """Return what stands above each graph."""
    return re.findall(r'<text class="title"[^>]*>(.*?)</text>', markup)


@cache
def report() -> str:
    return render_report(with_stacks(make_evidence()))


# One graph.


def test_a_graph_says_whose_it_is_and_how_it_was_made() -> None:
    svg = draw_flame(RUN.plan, WAITING, make_stacks(WAITING)).replace("\N{NO-BREAK SPACE}", " ")
    assert "primes on threads: who waited for the GIL" in svg
    told = " ".join(re.findall(r'<text class="subtitle"[^>]*>(.*?)</text>', svg))
    for part in (
        "py-spy 0.4.3",
        "25 Hz for 2 s",
        "96 stacks",
        "3 lost",
        "process paused 14.0% of the time",
        "298 requests",
    ):
        assert part in told


def test_notes_are_in_a_file_of_its_own_and_left_to_the_page() -> None:
    flame = replace(WAITING, notes=("a note of <b> kind",))
    assert "a note of &lt;b&gt; kind" in draw_flame(RUN.plan, flame, make_stacks(flame))
    assert "a note of" not in draw_flame(RUN.plan, flame, make_stacks(flame), standalone=False)


def test_a_graph_of_a_hostile_workload_stays_a_graph() -> None:
    flame = replace(WAITING, workload=HOSTILE, source=HOSTILE, notes=(HOSTILE,))
    stacks: Folded = {(HOSTILE, f"{HOSTILE} ({HOSTILE}:3)"): 1.0}
    svg = draw_flame(RUN.plan, flame, stacks)
    root = ET.fromstring(svg)
    assert len(list(root.iter(f"{SVG}script"))) == 1
    assert HOSTILE in {(title.text or "").partition("\n")[0] for title in root.iter(f"{SVG}title")}


@pytest.mark.parametrize("standalone", [True, False])
def test_a_graph_costs_in_proportion_to_its_stacks(standalone: bool) -> None:  # noqa: FBT001
    taken_s = []
    for count in (10_000, 100_000):
        stacks = make_many_stacks(count)
        assert len(stacks) == count
        assert {len(stack) for stack in stacks} == {12}
        begun = time.process_time()
        svg = draw_flame(RUN.plan, replace(WAITING, samples=count), stacks, standalone=standalone)
        taken_s.append(time.process_time() - begun)
        assert 100 < svg.count("<title>") < 5000
    assert taken_s[1] < 40 * taken_s[0], "ten times the stacks"


# The report.


def test_every_graph_that_saw_anybody_is_in_the_report_once() -> None:
    found = titles(report())
    drawn = [flame for flame in RUN.flames if flame.samples]
    assert 0 < len(drawn) < len(RUN.flames)
    for flame in RUN.flames:
        title = f"{flame.workload} on {flame.backend}: {MEANING[flame.kind]}"
        assert found.count(title) == (1 if flame.samples else 0)
    assert len(found) == len(drawn) + 3 * len(SHAPES)


def test_the_report_says_how_each_graph_was_made() -> None:
    text = report().replace("\N{NO-BREAK SPACE}", " ")
    for stacks in (187, 96, 640):
        assert len(re.findall(rf"\b{stacks} stacks", text)) == len(SHAPES)
    assert "100 Hz for 2 s" in text
    assert "3 lost" in text


def test_an_empty_graph_is_told_in_words_in_the_report() -> None:
    assert report().count("No thread was seen waiting for the GIL.") == len(SHAPES)
    assert "This graph is not in the report." not in report()


def test_the_viewer_is_in_the_report_once() -> None:
    assert report().count("<script>") == 1
    assert report().count("globalThis.attachFlames = ") == 1


def compared(markup: str) -> list[tuple[str, str, str]]:
    """Return which backends and kinds the report compares."""
    pattern = (
        r'<summary><span class="b-\w+ name">(\w+)</span> against <span class="b-\w+ name">(\w+)</span>'
        r' <span class="made">(\w+)</span>'
    )
    return re.findall(pattern, markup)


def test_threads_and_processes_are_compared_kind_by_kind() -> None:
    kinds = ["holding", "waiting", "wall"]
    assert compared(report()) == [
        (*pair, kind)
        for pair in (("threads", "processes"),) * 3 + (("asyncio", "threads"),)
        for kind in kinds
    ]
    assert titles(report()).count("primes, who waited for the GIL: threads against processes") == 1


@pytest.mark.parametrize(
    ("backends", "pair"),
    [
        ((THREADS, PROCESSES, BackendName.INTERPRETERS, ASYNCIO), ("threads", "processes")),
        ((THREADS, BackendName.INTERPRETERS, ASYNCIO), ("threads", "interpreters")),
        ((THREADS, ASYNCIO), ("asyncio", "threads")),
        ((ASYNCIO, PROCESSES), None),
        ((THREADS,), None),
    ],
)
def test_of_the_backends_the_first_pair_is_compared(
    backends: tuple[BackendName, ...], pair: tuple[str, str] | None
) -> None:
    flames = [
        replace(make_flame("primes", THREADS, FlameKind.WALL), backend=backend, path=f"flames/{backend}")
        for backend in backends
    ]
    assert compared(render_report(with_flames(*flames))) == ([(*pair, "wall")] if pair else [])


def test_a_kind_that_one_backend_lacks_is_not_compared() -> None:
    flames = [make_flame("primes", backend, FlameKind.WALL) for backend in (THREADS, PROCESSES)]
    markup = render_report(with_flames(*flames, WAITING))
    assert compared(markup) == [("threads", "processes", "wall")]


def test_a_graph_is_compared_with_an_empty_one_and_two_empty_ones_are_not() -> None:
    empty = replace(make_flame("primes", PROCESSES, FlameKind.WAITING), samples=0)
    assert compared(render_report(with_flames(WAITING, empty))) == [("threads", "processes", "waiting")]
    assert compared(render_report(with_flames(replace(WAITING, samples=0), empty))) == []


def test_the_pages_of_a_hostile_workload_hold_one_script() -> None:
    run = make_evidence().run
    flames = tuple(
        replace(flame, workload=HOSTILE, notes=(HOSTILE,), source=f"py-spy {HOSTILE}")
        for flame in run.flames
        if flame.workload == "primes"
    )
    trials = tuple(replace(trial, workload=HOSTILE) for trial in run.trials if trial.workload == "primes")
    plan = replace(run.plan, targets=(replace(run.plan.targets[1], workload=HOSTILE),))
    evidence = replace(
        make_evidence(), run=replace(run, plan=plan, trials=trials, flames=flames, verdicts=())
    )
    stacks = {flame.path: make_stacks(replace(flame, workload="primes")) for flame in flames}
    evidence = replace(evidence, stacks=stacks)
    change = Change(HOSTILE, THREADS, *(Interval(0.9, 1.0, 1.1),) * 3)
    for markup in (render_report(evidence), render_changes(evidence, evidence, [change], (HOSTILE,))):
        assert markup.count("<script") == 1
        assert "&lt;script&gt;alert(" in markup


# A difference.


def test_a_difference_says_what_it_holds_against_what() -> None:
    now, before = named(WAITING), named(make_flame("primes", PROCESSES, FlameKind.WAITING))
    svg = draw_difference(RUN.plan, (now, before), "primes")
    assert titles(svg) == ["primes, who waited for the GIL: threads against processes"]
    told = svg.replace("\N{NO-BREAK SPACE}", " ")
    assert "threads: 12.9 ms per request" in told
    assert "processes: 0.07 ms per request" not in told
    assert "processes: 0.14 ms per request" in told
    assert re.findall(r'data-harness="(\w+)" data-side="(\w+)"', svg) == [
        ("folded", "threads"),
        ("folded", "processes"),
        ("shown", "threads"),
        ("shown", "processes"),
    ]


def test_notes_of_both_sides_are_told_once() -> None:
    now = named(replace(WAITING, notes=("common", "of the first")), "now")
    before = named(replace(WAITING, notes=("common", "of the second")), "before")
    svg = draw_difference(RUN.plan, (now, before), "primes")
    assert [svg.count(note) for note in ("common", "of the first", "of the second")] == [1, 1, 1]


def test_graphs_that_mean_different_things_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be compared"):
        draw_difference(
            RUN.plan, (named(WAITING), named(make_flame("primes", THREADS, FlameKind.WALL))), "primes"
        )


# Two runs.


def changed(now: Evidence, before: Evidence, unlike: tuple[str, ...] = ()) -> str:
    return render_changes(now, before, (), unlike)


def drawn_in(markup: str) -> list[tuple[str, str]]:
    return re.findall(
        r'<summary><span class="b-\w+ name">(\w+)</span> <span class="made">(\w+)</span></summary>', markup
    )


def test_every_graph_that_both_runs_have_is_compared() -> None:
    evidence = with_stacks(make_evidence())
    assert drawn_in(changed(evidence, evidence)) == [
        (flame.backend, flame.kind) for flame in RUN.flames if flame.samples
    ]


def test_a_graph_that_one_run_lacks_is_not_compared() -> None:
    wall = make_flame("primes", THREADS, FlameKind.WALL)
    both, one = with_flames(WAITING, wall), with_flames(wall)
    assert drawn_in(changed(both, one)) == drawn_in(changed(one, both)) == [("threads", "wall")]
    elsewhere = with_flames(replace(wall, workload="sha256"), replace(wall, backend=ASYNCIO))
    assert drawn_in(changed(one, elsewhere)) == []


def test_a_graph_that_became_empty_is_compared() -> None:
    now, before = with_flames(replace(WAITING, samples=0)), with_flames(WAITING)
    for markup in (changed(now, before), changed(before, now)):
        assert drawn_in(markup) == [("threads", "waiting")]
    assert drawn_in(changed(now, now)) == []


def test_graphs_of_two_profilers_are_refused_with_the_reason_in_the_page() -> None:
    flames = [make_flame("primes", THREADS, kind) for kind in FlameKind]
    older = [replace(flame, source="profiling.sampling of Python 3.15") for flame in flames]
    markup = changed(with_flames(*flames), with_flames(*older), ("pool size: 4, before default",))
    assert drawn_in(markup) == []
    reason = (
        "graphs of py-spy 0.4.3 and profiling.sampling of Python 3.15 cannot be compared:"
        " they name the same frames differently"
    )
    assert markup.count(reason) == 1
    assert markup.index("pool size: 4") < markup.index(reason)


def test_only_what_cannot_be_compared_is_left_out() -> None:
    wall = make_flame("primes", THREADS, FlameKind.WALL)
    markup = changed(
        with_flames(WAITING, wall),
        with_flames(replace(WAITING, source="profiling.sampling of Python 3.15"), wall),
    )
    assert drawn_in(markup) == [("threads", "wall")]
    assert "cannot be compared" in markup


def test_a_difference_of_two_runs_is_called_now_and_before() -> None:
    markup = changed(with_flames(WAITING), with_flames(replace(WAITING, requests=149)))
    assert titles(markup) == ["primes on threads, who waited for the GIL: now against before"]
    assert set(re.findall(r'data-side="(\w+)"', markup)) == {"now", "before"}


def weights(svg: str) -> Mapping[str, str]:
    """Return what each frame of the first layer is told to weigh."""
    first = svg.partition('class="boxes"')[2].partition('class="boxes"')[0]
    return dict(re.findall(r"<title>(.*?)\n(.*?)</title>", first, re.DOTALL))


def test_a_frame_that_doubled_per_request_says_so() -> None:
    before = replace(WAITING, requests=2 * 298)
    told = weights(changed(with_flames(WAITING), with_flames(before)))
    assert told["primes (gilscope/workloads/primes.py:4)"] == (
        "now: 9.0 ms per request\nbefore: 4.5 ms per request"
    ).replace("9.0", "9.02").replace("4.5", "4.51")
