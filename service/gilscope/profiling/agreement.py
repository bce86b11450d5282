"""A flame graph beside the lens over the same seconds: two ways to count the same thing. Pure."""

from __future__ import annotations

from dataclasses import replace

from gilscope.flame.algebra import total
from gilscope.flame.capture import Capture
from gilscope.lens.ledger import add_up
from gilscope.model import FlameKind, Graph, LensReading, StateSeconds, ThreadRole

TOLERANCE = 0.1
"""By how much, as a share of the threads' time, a graph and the lens may differ before the reader is told."""

DOES = {FlameKind.HOLDING: "holding the GIL", FlameKind.WAITING: "waiting for the GIL"}


def beside_lens(capture: Capture, reading: LensReading | None) -> Capture:
    """Return a capture with its share of the threads' time, that which the lens saw, and a note if they are far apart.

    Both are shares of the same time: that of the event loop and the workers where the process told which threads these
    are, and of all threads otherwise, as the lens saw it.
    """
    graph = capture.graph
    if reading is None or graph.kind not in DOES:
        return capture
    threads = _threads(reading)
    if not threads.wall_s:
        return capture
    share = total(capture.folded) / graph.seconds * reading.seconds / threads.wall_s
    seen_s = threads.gil_wait_s if graph.kind is FlameKind.WAITING else threads.gil_held_s
    lens_share = None if seen_s is None else seen_s / threads.wall_s
    compared = replace(graph, share=share, lens_share=lens_share)
    return replace(capture, graph=replace(compared, notes=(*graph.notes, *_disagreement(compared))))


def _threads(reading: LensReading) -> StateSeconds:
    known = [reading.roles[role] for role in (ThreadRole.LOOP, ThreadRole.WORKER) if role in reading.roles]
    return add_up(known or reading.roles.values())


def _disagreement(graph: Graph) -> tuple[str, ...]:
    if graph.share is None or graph.lens_share is None or abs(graph.share - graph.lens_share) <= TOLERANCE:
        return ()
    told = f"the lens saw the threads {DOES[graph.kind]} for {graph.lens_share:.0%} of their time, this graph has"
    return (f"{told} {graph.share:.0%}: trust the lens for how much, and the graph for where",)
