"""Graphs and pages of a run: brings flame graphs, colours and report together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gilscope.claims import Textbook
from gilscope.errors import UsageError
from gilscope.flame.algebra import total
from gilscope.flame.difference import Named, sides
from gilscope.flame.harness import own_frames
from gilscope.flame.svg import (
    Heading,
    render_difference,
    render_svg,
    seconds,
    viewer_script,
    viewer_style,
)
from gilscope.flame.wording import MEANING, origin
from gilscope.model import BackendName, Change, Evidence, Flame, FlameKind, Folded, Plan
from gilscope.palette import BACKENDS
from gilscope.report import html
from gilscope.report.diff import ChangedGraph, Differences, render_diff
from gilscope.report.sections import Difference
from gilscope.report.textbook import build_textbook
from gilscope.textbook.claims_table import CLAIMS


def draw_flame(plan: Plan, flame: Flame, folded: Folded, *, standalone: bool = True) -> str:
    """Draw one graph, the workload's own frames in its backend's colour."""
    title = f"{flame.workload} on {flame.backend}: {MEANING[flame.kind]}"
    return render_svg(
        folded,
        # A page says itself what a graph cannot show.
        Heading(title, origin(flame), flame.notes if standalone else ()),
        accent=BACKENDS[flame.backend],
        own=_own_frames(plan, flame.workload),
        standalone=standalone,
    )


PAIRS = (
    (BackendName.THREADS, BackendName.PROCESSES),
    (BackendName.THREADS, BackendName.INTERPRETERS),
    (BackendName.ASYNCIO, BackendName.THREADS),
)
"""Of these, the first two backends that were both profiled are compared in the report."""


def render_report(evidence: Evidence, textbook: Textbook | None = None) -> str:
    """Render the run as one HTML page, its flame graphs and the textbook's table (where it has one) included."""
    run = evidence.run
    graphs = {
        flame.path: draw_flame(run.plan, flame, evidence.stacks[flame.path], standalone=False)
        for flame in run.flames
        if flame.samples
    }
    workloads = {flame.workload for flame in run.flames}
    return html.render(
        evidence,
        graphs=graphs,
        differences={workload: list(_differences(evidence, workload)) for workload in workloads},
        viewer_style=viewer_style(),
        viewer_script=viewer_script(),
        textbook=build_textbook(textbook, tuple(CLAIMS.values()), evidence) if textbook else None,
    )


def _differences(evidence: Evidence, workload: str) -> Iterator[Difference]:
    """Draw how the graphs of two backends differ, kind by kind."""
    flames = {
        (flame.backend, flame.kind): flame for flame in evidence.run.flames if flame.workload == workload
    }
    backends = {backend for backend, _ in flames}
    now, before = next((pair for pair in PAIRS if backends.issuperset(pair)), (None, None))
    if now is None or before is None:
        return
    for kind in FlameKind:
        one, other = flames.get((now, kind)), flames.get((before, kind))
        if one and other and one.samples + other.samples:
            svg = draw_difference(
                evidence.run.plan,
                (
                    Named(now, one, evidence.stacks[one.path]),
                    Named(before, other, evidence.stacks[other.path]),
                ),
                workload,
                standalone=False,
            )
            yield Difference(kind, now, before, svg)


def render_changes(now: Evidence, before: Evidence, changes: Sequence[Change], unlike: Sequence[str]) -> str:
    """Render what changed between two runs as one HTML page: ratios, and how each graph differs."""
    earlier = {(flame.workload, flame.backend, flame.kind): flame for flame in before.run.flames}
    drawn: list[ChangedGraph] = []
    refused: dict[str, None] = {}
    for flame in now.run.flames:
        other = earlier.get((flame.workload, flame.backend, flame.kind))
        if other is None or not flame.samples + other.samples:
            continue
        pair = (
            Named("now", flame, now.stacks[flame.path]),
            Named("before", other, before.stacks[other.path]),
        )
        try:
            title = f"{flame.workload} on {flame.backend}"
            svg = draw_difference(now.run.plan, pair, flame.workload, title=title, standalone=False)
        except UsageError as reason:
            refused[reason.message] = None
        else:
            drawn.append(ChangedGraph(flame.workload, flame.backend, flame.kind, svg))
    return render_diff(
        now.run,
        before.run,
        Differences(tuple(changes), (*unlike, *refused), tuple(drawn)),
        viewer_style=viewer_style(),
        viewer_script=viewer_script(),
    )


def draw_difference(
    plan: Plan, pair: tuple[Named, Named], workload: str, *, title: str = "", standalone: bool = True
) -> str:
    """Draw how two graphs of a workload differ; ``title`` says what of (default: the workload).

    Raises:
        UsageError: they cannot be compared, with the reason.
    """
    now, before = pair
    one, other = sides(now, before)
    heading = f"{title or workload}, {MEANING[now.graph.kind]}: {now.name} against {before.name}"
    weights = f"{now.name}: {seconds(total(one.folded))}{one.per} \u00b7 {before.name}: {seconds(total(other.folded))}{other.per}"
    notes = tuple(dict.fromkeys((*now.graph.notes, *before.graph.notes)))
    return render_difference(
        one, other, Heading(heading, weights, notes), own=_own_frames(plan, workload), standalone=standalone
    )


def _own_frames(plan: Plan, workload: str) -> Callable[[str], bool]:
    """Tell the frames of a workload: of the user's own file or package; for built-in work, those of the catalogue."""
    return own_frames(target.reference for target in plan.targets if target.workload == workload)
