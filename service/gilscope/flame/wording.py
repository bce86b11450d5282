"""What is said of a graph beside it: how it was made, and what to hold it against. Pure."""

from __future__ import annotations

from gilscope.model import FlameKind, Graph

MEANING = {
    FlameKind.HOLDING: "who held the GIL",
    FlameKind.WAITING: "who waited for the GIL",
    FlameKind.WALL: "all threads, waiting and sleeping included",
}

_LENS = {FlameKind.HOLDING: "held it", FlameKind.WAITING: "waited"}


def origin(graph: Graph) -> str:
    """Say how a graph was made, as a list with dots: source, rate, samples, losses, pauses, and the lens's figure."""
    parts = [
        graph.source,
        f"{graph.rate_hz} Hz for {graph.seconds:g} s",
        f"{graph.samples:,} stack{'' if graph.samples == 1 else 's'}",
        f"{graph.lost:,} lost",
        _paused(graph.pause_share),
    ]
    if graph.requests is not None:
        parts.append(f"{graph.requests:,} requests")
    if graph.share is not None and graph.kind in _LENS:
        parts.append(
            f"threads {_LENS[graph.kind]} {graph.share:.0%} of their time{_by_lens(graph.lens_share)}"
        )
    return " \u00b7 ".join(parts)


def _paused(share: float | None) -> str:
    if share is None:
        return "pauses not measured"
    return f"process paused {share:.1%} of the time" if share else "process never paused"


def _by_lens(share: float | None) -> str:
    return "" if share is None else f", by the lens {share:.0%}"
