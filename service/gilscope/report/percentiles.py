"""Latency on a percentile axis: one line per backend, each nine as wide as the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gilscope.model import BackendName
from gilscope.quantiles import quantile
from gilscope.report import formats
from gilscope.report.scales import Scale, latency_scale, spread, tail
from gilscope.report.svg import dot, element, line, path, picture, words

BEYOND = 20
"""Samples that have to lie beyond a percentile before it counts as more than rough (2,000 for a p99)."""

MARKED = (0.5, 0.9, 0.99, 0.999, 0.9999)
_STEPS = 160
_LEFT, _TOP, _BOTTOM, _LABELS = 52, 10, 42, 98


@dataclass(frozen=True, slots=True)
class _Plot:
    """The two axes, and the ascending latencies (ms) of each backend."""

    x: Scale
    y: Scale
    curves: Mapping[BackendName, Sequence[float]]

    def place(self, p: float, latency_ms: float) -> tuple[float, float]:
        return self.x(tail(p)), self.y(latency_ms)


def percentile_chart(
    curves: Mapping[BackendName, Sequence[float]], width: int, about: str = "Latency"
) -> str:
    """Draw latencies (ms, ascending, at least one each) over percentiles, as HdrHistogram does.

    A line is dashed from where fewer than :data:`BEYOND` samples lie beyond.
    """
    height = 400 if width > 500 else 330
    plot = _plot(curves, width, height)
    told = ", ".join(
        f"{backend} p99 {formats.milliseconds(_p99(curve))}" for backend, curve in curves.items()
    )
    return picture(
        width, height, f"{about} by percentile: {told}", _axes(plot), *_lines(plot), *_end_labels(plot, width)
    )


def last_percentile(samples: int) -> float:
    """Return the percentile at which a line ends: half a sample short of 1, where the largest one lies."""
    return 1 - 0.5 / max(samples, 1)


def solid_percentile(samples: int) -> float:
    """Return the percentile up to which enough samples lie beyond."""
    return max(0.0, 1 - BEYOND / max(samples, 1))


def _plot(curves: Mapping[BackendName, Sequence[float]], width: int, height: int) -> _Plot:
    furthest = max(tail(last_percentile(len(curve))) for curve in curves.values())
    ends = [value for curve in curves.values() for value in (curve[0], curve[-1])]
    x = Scale(0, furthest, _LEFT, width - _LABELS)
    return _Plot(x, latency_scale(ends, height - _BOTTOM, _TOP), curves)


def _p99(curve: Sequence[float]) -> float:
    return quantile(curve, 0.99)


def _axes(plot: _Plot) -> str:
    left, right, bottom, top = plot.x.start, plot.x.end, plot.y.start, plot.y.end
    parts = [words(right, bottom + 36, "percentile of requests", class_="tick", text_anchor="end")]
    for tick in plot.y.ticks():
        parts.append(line(left, plot.y(tick), right, plot.y(tick), "grid"))
        parts.append(_left_label(formats.tick_milliseconds(tick), left - 8, plot.y(tick) + 4))
    for p in (0.0, *MARKED):
        if tail(p) <= plot.x.high:
            x = plot.x(tail(p))
            parts.append(line(x, top, x, bottom, "grid strong" if p == 0.99 else "grid"))
            parts.append(words(x, bottom + 18, _percentile(p), class_="tick", text_anchor="middle"))
    return element("g", *parts, class_="axis")


def _left_label(content: str, x: float, y: float) -> str:
    return words(x, y, content, class_="tick", text_anchor="end")


def _percentile(p: float) -> str:
    return f"{p * 100:g}" if p else "0"


def _lines(plot: _Plot) -> list[str]:
    return [
        element("g", *_line(plot, curve), *_marks(plot, backend, curve), class_=f"b-{backend}")
        for backend, curve in plot.curves.items()
    ]


def _line(plot: _Plot, curve: Sequence[float]) -> list[str]:
    solid, last = solid_percentile(len(curve)), last_percentile(len(curve))
    pieces = ((0.0, solid, "curve"), (solid, last, "curve rough"))
    return [path(_points(plot, curve, start, end), class_) for start, end, class_ in pieces if end > start]


def _points(plot: _Plot, curve: Sequence[float], start: float, end: float) -> list[tuple[float, float]]:
    """Sample the curve evenly along the axis, both ends included."""
    begin, room = tail(start), tail(end) - tail(start)
    steps = max(2, round(_STEPS * room / plot.x.high))
    measures = [begin + room * at / steps for at in range(steps + 1)]
    return [plot.place(p, quantile(curve, p)) for p in (1 - 10**-measure for measure in measures)]


def _marks(plot: _Plot, backend: BackendName, curve: Sequence[float]) -> list[str]:
    known = [(p, quantile(curve, p)) for p in MARKED if p <= last_percentile(len(curve))]
    return [
        dot(*plot.place(p, value), 3.5, "dot", f"{backend} p{_percentile(p)}: {formats.milliseconds(value)}")
        for p, value in known
    ]


def _end_labels(plot: _Plot, width: int) -> list[str]:
    """Name each line where it ends, with its p99; labels that would collide move apart."""
    ends = [plot.place(last_percentile(len(curve)), curve[-1]) for curve in plot.curves.values()]
    rows = spread([y for _, y in ends], 34, plot.y.end + 8, plot.y.start - 14)
    return [
        _end_label(backend, curve, end, (width - _LABELS + 14, row))
        for (backend, curve), end, row in zip(plot.curves.items(), ends, rows, strict=True)
    ]


def _end_label(
    backend: BackendName, curve: Sequence[float], end: tuple[float, float], at: tuple[float, float]
) -> str:
    x, y = at
    figure = f"p99 {formats.milliseconds(_p99(curve))}"
    return element(
        "g",
        line(end[0] + 3, end[1], x - 4, y, "leader"),
        words(x, y + 3, backend, class_="name"),
        words(x, y + 17, figure, class_="tick"),
        class_=f"b-{backend}",
    )
