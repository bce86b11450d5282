"""A process that captures and draws, so that the one that is looked into does neither.

``python -m gilscope.profiling.process`` reads one order as a JSON line from standard input and answers with another:

* ``{"capture": {"pid", "kinds", "seconds", "rate_hz", "folder", "title", "backends", "metrics_url"}}`` with
  ``{"graphs": {kind: …}}``; the graphs are in the folder then, each in every form,
* ``{"difference": {"kind", "now", "before", "file"}}``, where ``now`` and ``before`` are the folders of two profiles,
  with ``{}``; the picture is in the file then,
* and where it cannot, with ``{"error", "remedy"}``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cattrs

from gilscope.errors import INTERRUPTED, GilscopeError
from gilscope.flame.algebra import total
from gilscope.flame.capture import Capture
from gilscope.flame.difference import Named, sides
from gilscope.flame.folded import format_folded, parse
from gilscope.flame.harness import own_frames
from gilscope.flame.speedscope import to_speedscope
from gilscope.flame.svg import Heading, render_difference, render_svg, seconds
from gilscope.flame.wording import MEANING, origin
from gilscope.lens.control import Lens
from gilscope.model import BackendName, FlameKind, Graph
from gilscope.profiling.observing import Observation
from gilscope.profiling.shelf import ABOUT_FILE
from gilscope.profiling.taking import take


@dataclass(frozen=True, slots=True)
class Order:
    """What to capture, and where to write it."""

    pid: int
    kinds: tuple[FlameKind, ...]
    seconds: int
    rate_hz: int
    folder: str
    title: str
    backends: tuple[BackendName, ...] = ()
    metrics_url: str | None = None
    targets: tuple[str, ...] = ()


def capture(order: Order) -> dict[str, Any]:
    """Capture stacks of a process beside the lens; write the graphs and say how they were made.

    Raises:
        CaptureError: there are no stacks; with the cause and the remedy.
    """
    lens = Lens()
    try:
        observation = Observation(lens)
        observation.watch(order.pid)
        captures = take(
            order.pid,
            order.kinds,
            order.seconds,
            order.rate_hz,
            observation=observation,
            backends=order.backends,
            metrics_url=order.metrics_url,
        )
    finally:
        lens.stop(grace_s=0.0)
    if observation.caution is not None:
        captures = [_noting(taken, observation.caution.message) for taken in captures]
    for taken in captures:
        write(taken, Path(order.folder), order.title, order.targets)
    return {"graphs": {taken.graph.kind: cattrs.unstructure(taken.graph) for taken in captures}}


def _noting(taken: Capture, note: str) -> Capture:
    return replace(taken, graph=replace(taken.graph, notes=(*taken.graph.notes, note)))


def write(taken: Capture, folder: Path, title: str, targets: Sequence[str] = ()) -> None:
    """Write a graph in every form, the frames of the targets in the work's colour; one without a stack is text alone, since there is nothing to draw."""
    graph, folded = taken.graph, taken.folded
    (folder / f"{graph.kind}.folded").write_text(format_folded(folded), encoding="utf-8", errors="replace")
    if not graph.samples:
        return
    heading = Heading(f"{title}: {MEANING[graph.kind]}", origin(graph), graph.notes)
    for form, standalone in (("svg", True), ("fragment.svg", False)):
        picture = render_svg(folded, heading, own=own_frames(targets), standalone=standalone)
        (folder / f"{graph.kind}.{form}").write_text(picture, encoding="utf-8", errors="replace")
    document = to_speedscope(folded, name=f"{title}, {graph.kind}")
    (folder / f"{graph.kind}.speedscope.json").write_text(document, encoding="utf-8")


def difference(kind: str, now: str, before: str, file: str, targets: Sequence[str] = ()) -> dict[str, Any]:
    """Draw how the graph of one kind differs between two profiles.

    Raises:
        UsageError: they cannot be compared, with the reason.
        CaptureError: there is no stack in either.
    """
    pair = [_read(Path(folder), FlameKind(kind)) for folder in (now, before)]
    one, other = sides(*pair)
    weights = (
        f"now: {seconds(total(one.folded))}{one.per} \u00b7 before: {seconds(total(other.folded))}{other.per}"
    )
    notes = tuple(dict.fromkeys(note for named in pair for note in named.graph.notes))
    heading = Heading(f"{MEANING[FlameKind(kind)]}: {one.name} against {other.name}", weights, notes)
    unfinished = Path(f"{file}.{os.getpid()}.tmp")
    try:
        picture = render_difference(one, other, heading, own=own_frames(targets))
        unfinished.write_text(picture, encoding="utf-8", errors="replace")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return {}


def _read(folder: Path, kind: FlameKind) -> Named:
    graphs = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))["graphs"]
    return Named(
        folder.name,
        cattrs.structure(graphs[kind], Graph),
        parse((folder / f"{kind}.folded").read_bytes().decode()),
    )


def obey(order: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Carry out one order and return the answer."""
    try:
        if "capture" in order:
            return capture(cattrs.structure(order["capture"], Order))
        return difference(**order["difference"])
    except GilscopeError as problem:
        return {"error": problem.message, "remedy": problem.remedy}
    except OSError as problem:
        return {"error": f"the profile cannot be written: {problem}", "remedy": "room on the disk"}


def _end_with_input() -> None:
    """Interrupt this process once whoever ordered has gone: what it has started ends with it."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGINT)


def main() -> int:
    """Obey one order, and return the exit code."""
    answers = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # It may have been started to ignore it.
    line = sys.stdin.readline()
    if not line:
        return 0
    threading.Thread(target=_end_with_input, name="input", daemon=True).start()
    try:
        os.write(answers, json.dumps(obey(json.loads(line))).encode() + b"\n")
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
