"""Charts with one row per backend: data in, SVG out.

Colours are CSS variables (see :mod:`gilscope.palette`), so that a picture follows the reader's light
or dark mode. Text has the size it is drawn at: a chart for a wide place and one for a phone are two charts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gilscope.model import BackendName, Interval, ProbeLatency
from gilscope.report import formats
from gilscope.report.scales import Scale, from_zero, log_domain
from gilscope.report.svg import dot, element, line, picture, title, words

WIDE = 632
SIDE = 392
CARD = 344
NARROW = 350

NAMES = 86
_VALUES = 88
_AXIS = 26


@dataclass(frozen=True, slots=True)
class Rate:
    """Throughput of one backend (requests per second): its figure, and what each block gave.

    ``interval`` is None where the run has no interval yet; ``mid`` is then the mean of the blocks.
    """

    mid: float
    interval: Interval | None
    blocks: Sequence[float]


@dataclass(frozen=True, slots=True)
class Words:
    """How figures are written: beside a row, and on the axis."""

    value: Callable[[float], str]
    tick: Callable[[float], str]


RATIOS = Words(formats.ratio, formats.tick_ratio)
RATES = Words(formats.rate, formats.plain)
LATENCIES = Words(formats.milliseconds, formats.tick_milliseconds)


def forest(
    rows: Mapping[BackendName, Interval],
    domain: tuple[float, float],
    written: Words,
    about: str,
    reference: float | None = None,
) -> str:
    """Draw a dot and its 95 % interval per backend on a logarithmic axis, with a line at ``reference``."""
    scale = Scale(*domain, NAMES, CARD - _VALUES, log=True)
    pitch = 38
    bottom = len(rows) * pitch + 4
    marks = [
        _forest_row(backend, interval, scale, (at + 0.5) * pitch, written)
        for at, (backend, interval) in enumerate(rows.items())
    ]
    rule = [] if reference is None else [line(scale(reference), 0, scale(reference), bottom, "reference")]
    summary = tell(about, {backend: written.value(row.mid) for backend, row in rows.items()})
    return picture(CARD, bottom + _AXIS, summary, draw_axis(scale, bottom, written), *rule, *marks)


def throughput(rows: Mapping[BackendName, Rate]) -> str:
    """Draw a bar with its interval per backend, and a small dot for each block."""
    ends = [value for row in rows.values() for value in (row.mid, *row.blocks, *(row.interval or ()))]
    scale = from_zero(ends, NAMES, SIDE - _VALUES)
    pitch = 40
    bottom = len(rows) * pitch + 4
    marks = [
        _throughput_row(backend, row, scale, (at + 0.5) * pitch)
        for at, (backend, row) in enumerate(rows.items())
    ]
    summary = tell("Throughput", {backend: formats.rate(row.mid) for backend, row in rows.items()})
    return picture(SIDE, bottom + _AXIS, summary, draw_axis(scale, bottom, RATES), *marks)


def probe(rows: Mapping[BackendName, ProbeLatency]) -> str:
    """Draw p50 (ring), p99 (dot) and maximum (stroke) of ``/ping`` per backend on a logarithmic axis."""
    figures = [value for row in rows.values() for value in (row.p50, row.p99, row.max)]
    scale = Scale(*log_domain(figures), NAMES, SIDE - _VALUES, log=True)
    pitch = 32
    bottom = len(rows) * pitch + 4
    marks = [
        _probe_row(backend, row, scale, (at + 0.5) * pitch) for at, (backend, row) in enumerate(rows.items())
    ]
    told = {backend: f"p99 {formats.milliseconds(row.p99)}" for backend, row in rows.items()}
    axis = draw_axis(scale, bottom, LATENCIES)
    return picture(SIDE, bottom + _AXIS, tell("/ping latency", told), axis, *marks)


def tell(about: str, told: Mapping[BackendName, str]) -> str:
    """Say what a picture shows: a few words for each backend."""
    return f"{about}: " + ", ".join(f"{backend} {value}" for backend, value in told.items())


def draw_axis(scale: Scale, bottom: float, written: Words) -> str:
    """Draw the ticks, their lines and their labels below ``bottom``."""
    rules = [line(scale(tick), 0, scale(tick), bottom, "grid") for tick in scale.ticks() if tick]
    labels = _tick_labels(scale, bottom + 17, written)
    return element("g", *rules, *labels, class_="axis")


def _tick_labels(scale: Scale, y: float, written: Words) -> Iterable[str]:
    """Label the ticks; those at the very ends are written to the side, inside the picture."""
    for tick in scale.ticks():
        place, anchor = _anchored(scale(tick), last=tick == scale.high)
        yield words(place, y, written.tick(tick), class_="tick", text_anchor=anchor)


def _anchored(place: float, *, last: bool) -> tuple[float, str]:
    if place < 12:
        return place - 1, "start"
    return (place, "end") if last else (place, "middle")


def coloured(backend: BackendName, *marks: str) -> str:
    """Group marks in the colour of a backend."""
    return element("g", *marks, class_=f"b-{backend}")


def _name(backend: BackendName, y: float) -> str:
    return words(0, y + 4, backend, class_="name")


def _value(content: str, y: float, right: float = SIDE) -> str:
    return words(right, y + 4, content, class_="value", text_anchor="end")


def _whisker(interval: Interval, scale: Scale, y: float, half: float) -> str:
    low, high = scale(interval.low), scale(interval.high)
    return element(
        "g",
        line(low, y, high, y, "whisker"),
        line(low, y - half, low, y + half, "whisker"),
        line(high, y - half, high, y + half, "whisker"),
    )


def _band(interval: Interval, scale: Scale, y: float) -> str:
    start, end = scale(interval.low), scale(interval.high)
    return element("rect", x=start, y=y - 6, width=end - start, height=12, class_="band")


def _forest_row(backend: BackendName, interval: Interval, scale: Scale, y: float, written: Words) -> str:
    ends = formats.span(interval)
    hover = f"{backend}: {written.value(interval.mid)}" + (f", 95 % within {ends}" if ends else "")
    return coloured(
        backend,
        _name(backend, y),
        _band(interval, scale, y) if ends else "",
        dot(scale(interval.mid), y, 4, "dot", hover),
        _value(written.value(interval.mid), y - 6 if ends else y, CARD),
        words(CARD, y + 12, ends, class_="tick", text_anchor="end") if ends else "",
    )


def _throughput_row(backend: BackendName, row: Rate, scale: Scale, y: float) -> str:
    ends = formats.span(row.interval)
    hover = f"{backend}: {formats.rate(row.mid)}" + (f", 95 % within {ends}" if ends else "")
    start = scale(0)
    bar = element(
        "rect", title(hover), x=start, y=y - 11, width=scale(row.mid) - start, height=13, class_="bar"
    )
    dots = [
        dot(scale(value), y + 9, 2.5, "block", f"{backend}, one block: {formats.rate(value)}")
        for value in row.blocks
    ]
    whisker = _whisker(row.interval, scale, y - 4.5, 4) if row.interval and ends else ""
    return coloured(backend, _name(backend, y - 4), bar, whisker, *dots, _value(formats.rate(row.mid), y - 4))


def _probe_row(backend: BackendName, row: ProbeLatency, scale: Scale, y: float) -> str:
    def hover(figure: str, value: float) -> str:
        return f"{backend} /ping {figure}: {formats.milliseconds(value)}"

    end = scale(row.max)
    return coloured(
        backend,
        _name(backend, y),
        line(scale(row.p50), y, end, y, "thread"),
        element("g", title(hover("max", row.max)), line(end, y - 6, end, y + 6, "whisker")),
        dot(scale(row.p50), y, 4, "ring", hover("p50", row.p50)),
        dot(scale(row.p99), y, 5.5, "dot", hover("p99", row.p99)),
        _value(formats.milliseconds(row.p99), y),
    )
