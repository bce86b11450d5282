"""Graphs and pages of a run: brings flame graphs, colours and report together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from gilscope.flame.folded import split_frame
from gilscope.flame.svg import is_workload, render_svg, viewer_script, viewer_style
from gilscope.model import Evidence, Flame, FlameKind, Folded, Plan
from gilscope.report import html
from gilscope.report.palette import BACKENDS

MEANING = {
    FlameKind.HOLDING: "who held the GIL",
    FlameKind.WAITING: "who waited for the GIL",
    FlameKind.WALL: "all threads, waiting and sleeping included",
}


def draw_flame(plan: Plan, flame: Flame, folded: Folded, *, standalone: bool = True) -> str:
    """Draw one graph, the workload's own frames in its backend's colour."""
    return render_svg(
        folded,
        title=f"{flame.workload} on {flame.backend}: {MEANING[flame.kind]}",
        subtitle=_origin(flame) if standalone else "",  # the page says where it comes from
        accent=BACKENDS[flame.backend],
        own=_own_frames(plan, flame.workload),
        notes=flame.notes if standalone else (),  # the page says them itself
        standalone=standalone,
    )


def _origin(flame: Flame) -> str:
    return (
        f"{flame.samples} stacks in {flame.seconds:.0f} s at {flame.rate_hz} Hz, {flame.source} "
        f"without pausing the service; {flame.lost} lost"
    )


def render_report(evidence: Evidence) -> str:
    """Render the run as one HTML page, its flame graphs included."""
    run = evidence.run
    graphs = {
        flame.path: draw_flame(run.plan, flame, evidence.stacks[flame.path], standalone=False)
        for flame in run.flames
    }
    return html.render(evidence, graphs=graphs, viewer_style=viewer_style(), viewer_script=viewer_script())


def _own_frames(plan: Plan, workload: str) -> Callable[[str], bool]:
    """Tell the frames of the user's own file or package; for built-in work, those of the catalogue."""
    reference = next((target.reference for target in plan.targets if target.workload == workload), "")
    where, colon, _ = reference.rpartition(":")
    if not colon:
        return is_workload
    if where.endswith(".py"):
        name = PurePath(where).name
        return lambda frame: PurePath(split_frame(frame).file or "").name == name
    package = where.partition(".")[0]
    return lambda frame: package in PurePath((split_frame(frame).file or "").removesuffix(".py")).parts
