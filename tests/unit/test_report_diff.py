"""Facts about the page that tells two runs apart: it is whole, it is inert, and it shows what changed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest
from factories import ASYNCIO, PROCESSES, THREADS, make_evidence

from gilscope.model import Change, FlameKind, Interval, Run
from gilscope.report.diff import ChangedGraph, Differences, render_diff

RUN = make_evidence().run
BEFORE = replace(RUN, name="earlier", started_at="2025-11-20T09:00:00+00:00")
VOID = {"meta", "br"}
HOSTILE = "</summary><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>&\""

SAME = Interval(0.9, 1.0, 1.1)
DOUBLED = Interval(1.9, 2.0, 2.1)
UNKNOWN = Interval(math.nan, math.nan, math.nan)
CHANGES = (
    Change("primes", THREADS, DOUBLED, SAME, Interval(0.4, 0.5, 0.6)),
    Change("primes", PROCESSES, SAME, SAME, SAME),
    Change("sha256", ASYNCIO, SAME, UNKNOWN, SAME),
)
GRAPH = ChangedGraph("primes", THREADS, FlameKind.WAITING, "<svg class='flame'><title>one</title></svg>")


class Elements(HTMLParser):
    """Every element with its attributes; every tag is closed in its order."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(
    changes: tuple[Change, ...] = CHANGES,
    unlike: tuple[str, ...] = (),
    graphs: tuple[ChangedGraph, ...] = (),
    now: Run = RUN,
) -> str:
    return render_diff(
        now, BEFORE, Differences(changes, unlike, graphs), viewer_style=".flame{}", viewer_script="void 0;"
    )


def cells(markup: str, workload: int) -> Iterator[list[str]]:
    """Yield the cells of each row of a workload's table, their markup included."""
    section = re.findall(rf'<section id="workload-{workload}".*?</section>', markup, re.DOTALL)[0]
    for row in re.findall(r"<tbody>(.*?)</tbody>", section, re.DOTALL)[0].split("</tr>"):
        if found := re.findall(r"<td>(.*?)</td>", row, re.DOTALL):
            yield found


def test_it_is_a_whole_page_that_asks_nobody() -> None:
    markup = page(graphs=(GRAPH,), unlike=("pool size: 4, before default",))
    elements = Elements(markup)
    assert markup.startswith("<!doctype html>")
    policy = next(
        found["content"] for tag, found in elements.found if "http-equiv" in found and tag == "meta"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert markup.count("<script>void 0;</script>") == markup.count(".flame{}") == 1
    for tag, found in elements.found:
        assert not {"src", "action", "data", "poster"} & set(found), tag
    assert {tag for tag, _ in elements.found}.isdisjoint({"link", "img", "iframe", "base"})


def test_it_says_which_runs_these_are() -> None:
    text = Elements(page()).text
    assert "Now: demo, 22 November 2025, 16:04 UTC. Before: earlier, 20 November 2025, 09:00 UTC." in text
    assert "gilscope: demo against earlier" in text


def test_differences_that_are_shown_are_bold() -> None:
    threads, processes = cells(page(), 1)
    assert threads == [
        "<strong>2.00\N{MULTIPLICATION SIGN}</strong><small>1.90 to 2.10</small>",
        "1.00\N{MULTIPLICATION SIGN}<small>0.900 to 1.10</small>",
        "<strong>0.500\N{MULTIPLICATION SIGN}</strong><small>0.400 to 0.600</small>",
    ]
    assert not [cell for cell in processes if "<strong>" in cell]


def test_a_figure_that_is_not_known_is_a_dash() -> None:
    (asyncio,) = cells(page(), 2)
    assert "<strong>" not in asyncio[1]
    assert "nan" not in asyncio[1]
    assert asyncio[1].startswith("\N{EN DASH}")


def test_a_figure_that_is_not_known_has_no_interval_of_dashes() -> None:
    (asyncio,) = cells(page(), 2)
    assert asyncio[1] == "\N{EN DASH}"


def test_every_workload_has_its_section_in_their_order() -> None:
    markup = page(graphs=(replace(GRAPH, workload="http_fetch"), GRAPH))
    headings = re.findall(r'<h2 id="workload-(\d)-title">([a-z0-9_]+)</h2>', markup)
    assert headings == [("1", "primes"), ("2", "sha256"), ("3", "http_fetch")]


def test_what_differs_beside_is_told_first() -> None:
    text = Elements(
        page(unlike=("load: 8 users, 1 s, before 20 users, 4 s", "pool size: 4, before default"))
    ).text
    assert text.index("before 20 users") < text.index("pool size: 4") < text.index("requests per second")


def test_graphs_lie_in_closed_folds_under_their_workload() -> None:
    other = replace(
        GRAPH, workload="sha256", backend=ASYNCIO, kind=FlameKind.WALL, svg="<svg><title>two</title></svg>"
    )
    markup = page(graphs=(GRAPH, other))
    assert "<details open" not in markup
    for at, graph in enumerate((GRAPH, other), start=1):
        section = re.findall(rf'<section id="workload-{at}".*?</section>', markup, re.DOTALL)[0]
        assert section.count(graph.svg) == markup.count(graph.svg) == 1
        (summary,) = re.findall(r"<summary>(.*?)</summary>", section, re.DOTALL)
        assert Elements(summary).text == f"{graph.backend} {graph.kind}"


def test_graphs_without_figures_have_no_table() -> None:
    markup = page(changes=(), graphs=(GRAPH,))
    assert "<table>" not in markup
    assert GRAPH.svg in markup
    assert "no workload and backend in common" not in markup


def test_nothing_in_common_is_told() -> None:
    assert "The two runs have no workload and backend in common." in Elements(page(changes=())).text


@pytest.mark.parametrize("graphs", [(), (replace(GRAPH, workload=HOSTILE),)])
def test_everything_but_the_graphs_is_escaped(graphs: tuple[ChangedGraph, ...]) -> None:
    markup = page(
        changes=(replace(CHANGES[0], workload=HOSTILE),),
        unlike=(f"machine: {HOSTILE}",),
        graphs=graphs,
        now=replace(RUN, name=HOSTILE, started_at=HOSTILE, gilscope=HOSTILE),
    )
    elements = Elements(markup)
    assert markup.count("<script") == 1
    assert not [name for _, found in elements.found for name in found if name.startswith("on")]
    assert "img" not in {tag for tag, _ in elements.found}
    assert unescape(markup).count(HOSTILE) >= 6
    assert elements.text.count("alert('x')") >= 6
