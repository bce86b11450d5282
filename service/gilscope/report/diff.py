"""What changed between two runs as one HTML file: ratios, and how flame graphs differ."""

from __future__ import annotations

from dataclasses import dataclass

from gilscope.model import BackendName, Change, FlameKind, Interval, Run
from gilscope.report import formats
from gilscope.report.html import render_page


@dataclass(frozen=True, slots=True)
class ChangedGraph:
    """How one graph differs from the same one of the earlier run; ``svg`` is trusted markup."""

    workload: str
    backend: BackendName
    kind: FlameKind
    svg: str


@dataclass(frozen=True, slots=True)
class Differences:
    """All that changed; ``unlike`` says what else differs between the runs."""

    changes: tuple[Change, ...]
    unlike: tuple[str, ...]
    graphs: tuple[ChangedGraph, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A ratio in words, and whether it shows a difference."""

    text: str
    below: str
    shown: bool


def render_diff(
    now: Run, before: Run, differences: Differences, *, viewer_style: str, viewer_script: str
) -> str:
    """Render what changed as one HTML document; the graphs' markup is trusted, everything else is escaped."""
    workloads = dict.fromkeys(
        [change.workload for change in differences.changes] + [graph.workload for graph in differences.graphs]
    )
    return render_page(
        "diff.html.jinja",
        viewer_style=viewer_style,
        viewer_script=viewer_script,
        now=now,
        before=before,
        moments=(formats.moment(now.started_at), formats.moment(before.started_at)),
        unlike=differences.unlike,
        workloads=tuple(workloads),
        rows={
            workload: [_row(change) for change in differences.changes if change.workload == workload]
            for workload in workloads
        },
        graphs={
            workload: [graph for graph in differences.graphs if graph.workload == workload]
            for workload in workloads
        },
    )


def _row(change: Change) -> tuple[BackendName, tuple[Cell, ...]]:
    return change.backend, tuple(map(_cell, (change.throughput, change.p99, change.probe_p99)))


def _cell(ratio: Interval) -> Cell:
    return Cell(formats.ratio(ratio.mid), formats.span(ratio), ratio.leaves_out(1.0))
