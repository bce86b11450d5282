"""The kinds of panels, drawn with Matplotlib in Grafana's light theme. All places are pixels from the upper left corner."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import answers
import reading
from answers import Series, Span
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from reading import INK, Box, Line, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER, CANVAS, EDGE, MUTED, HAIR = "#FFFFFF", "#F4F5F5", "#E0E1E4", "#5F6570", "#E9EAEC"
TITLE, TEXT, LETTER = 14.0, 13.0, 0.54
"""Sizes of letters in pixels; how wide one is on average, as a part of that."""

LEFT, RIGHT, TOP, TIMES, LINE = 66.0, 14.0, 38.0, 26.0, 18.0
"""Room for the vertical axis's labels, beside the plot, for the title, for the moments, and for a line of the legend."""

LEGEND_SHARE = 0.4
"""How much of a panel the legend may take, at the most."""

TICK_ROOM = 76.0
TICKS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
SHADES: dict[str, Any] = {"cmap": "Oranges", "vmin": 0, "vmax": 1, "aspect": "auto", "interpolation": "none"}
STARTED, LOADED, ALERT = (reading.NAMED_COLOURS[name] for name in ("blue", "purple", "red"))


@dataclass(frozen=True, slots=True)
class Marks:
    """Annotations, in seconds since 1970: what started when, with its colour, and from when to when an alert fired."""

    starts_s: Sequence[tuple[float, str]] = ()
    alerts_s: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A panel with its answers: by ``refId``, in the order of its queries."""

    panel: Panel
    span: Span
    found: Mapping[str, Sequence[Series]]
    marks: Marks = field(default_factory=Marks)

    @property
    def lines(self) -> list[Line]:
        """All series with their names and colours."""
        templates = {target["refId"]: target.get("legendFormat", "") for target in self.panel["targets"]}
        every = [(templates[reference], each) for reference, found in self.found.items() for each in found]
        return reading.styled(self.panel, every)


class Sheet:
    """A figure of so many pixels, on which places count from the upper left corner."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure = Figure(figsize=(reading.WIDTH / 72, height / 72), dpi=72, facecolor=CANVAS)

    def box(self, box: Box, fill: str, edge: str = "none") -> None:
        """Draw a rectangle."""
        left, bottom, width, height = self._parts(box)
        self.figure.add_artist(
            Rectangle((left, bottom), width, height, facecolor=fill, edgecolor=edge, linewidth=1.0, zorder=-1)
        )

    def words(self, left: float, base: float, text: str, **style: Any) -> None:  # noqa: ANN401  Matplotlib's own
        """Write on a base line; ``ha="right"`` makes ``left`` the right end."""
        chosen = {"fontsize": TEXT, "color": INK, "va": "baseline", **style}
        self.figure.text(left / reading.WIDTH, 1 - base / self.height, text, **chosen)

    def dash(self, left: float, middle: float, colour: str, dash: tuple[float, ...]) -> None:
        """Draw what a series looks like, for a legend."""
        for at in (0, 10) if dash else (0,):
            self.box(Box(left + at, middle - 1.5, 6 if dash else 16, 3), colour)

    def axes(self, box: Box, name: str) -> Axes:
        """Return axes inside a box, without a frame."""
        axes = self.figure.add_axes(self._parts(box), label=name, facecolor="none")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=TEXT - 1, labelcolor=MUTED, pad=4)
        return axes

    def _parts(self, box: Box) -> tuple[float, float, float, float]:
        wide, high = reading.WIDTH, self.height
        return box.left / wide, 1 - (box.top + box.height) / high, box.width / wide, box.height / high


def heading(sheet: Sheet, panel: Panel) -> None:
    """Write the title of a row."""
    box = reading.place(panel["gridPos"])
    sheet.words(
        box.left + 4,
        box.top + 21,
        f"\N{BLACK DOWN-POINTING SMALL TRIANGLE}  {panel['title']}",
        fontsize=15,
        weight="bold",
    )


def key(sheet: Sheet, left: float, base: float) -> None:
    """Say what the marks of annotations mean, which Grafana does when they are pointed at."""
    meanings = ((STARTED, "the service starts"), (LOADED, "the load starts"), (ALERT, "an alert fires"))
    for at, (colour, text) in enumerate(meanings):
        sheet.box(Box(left + 160 * at, base - 11, 12, 12), colour)
        sheet.words(left + 160 * at + 18, base, text, fontsize=14, color=MUTED)


def panel(sheet: Sheet, asked: Asked) -> None:
    """Draw a panel of any kind where it stands; one without any value says so."""
    box = reading.place(asked.panel["gridPos"])
    sheet.box(box, PAPER, EDGE)
    sheet.words(box.left + 10, box.top + 22, asked.panel["title"], fontsize=TITLE, weight="bold")
    if any(math.isfinite(value) for line in asked.lines for value in line.values):
        KINDS[asked.panel["type"]](sheet, box, asked)
    else:
        middle = box.left + box.width / 2, box.top + box.height / 2 + 6
        sheet.axes(Box(box.left + LEFT, box.top + TOP, 1, 1), asked.panel["title"]).set_axis_off()
        sheet.words(*middle, "No data", fontsize=16, color=MUTED, ha="center")


def time_series(sheet: Sheet, box: Box, asked: Asked) -> None:
    """Draw lines, or where they are stacked areas, above their legend."""
    lines = asked.lines
    most = math.floor((LEGEND_SHARE * box.height - LINE) / LINE)
    legend = LINE * (1 + min(most, len(lines)))
    plot = Box(
        box.left + LEFT, box.top + TOP, box.width - LEFT - RIGHT, box.height - TOP - TIMES - legend - 8
    )
    axes = sheet.axes(plot, asked.panel["title"])
    longest_s = asked.panel["fieldConfig"]["defaults"]["custom"].get("spanNulls", 0) / 1e3
    draw = _stacked if "stacking" in asked.panel["fieldConfig"]["defaults"]["custom"] else _separate
    draw(axes, lines, longest_s)
    _time_axis(axes, asked.span, plot.width)
    _value_axis(axes, asked.panel, lines)
    _annotate(axes, asked)
    place = Box(box.left + 10, box.top + box.height - legend - 4, box.width - 24, legend)
    _legend(sheet, place, lines[:most], asked.panel)
    if len(lines) > most:
        sheet.box(Box(box.left + box.width - 9, place.top + 8, 5, 0.6 * legend), EDGE)  # It scrolls.


def _separate(axes: Axes, lines: Sequence[Line], longest_s: float) -> None:
    for line in lines:
        style = (0, tuple(part / 2 for part in line.dash)) if line.dash else "solid"
        for times, values in reading.pieces(line, longest_s):
            mark = "o" if len(times) == 1 else ""
            (drawn,) = axes.plot(times, values, color=line.colour, linestyle=style, linewidth=1.8)
            drawn.set(marker=mark, markersize=3, label=line.name)


def _stacked(axes: Axes, lines: Sequence[Line], longest_s: float) -> None:
    """Stack in the order of the queries; what has no value at a moment counts as 0 there."""
    known = [dict(zip(line.times_s, line.values, strict=True)) for line in lines]
    moments = sorted({moment for row in known for moment in row})
    whole = Line("", "", (), moments, [0.0] * len(moments))
    for times, below in reading.pieces(whole, longest_s):
        for line, row in zip(lines, known, strict=True):
            values = [row.get(moment, 0.0) for moment in times]
            parts = [value if math.isfinite(value) else 0.0 for value in values]
            above = [low + part for low, part in zip(below, parts, strict=True)]
            fill = to_rgba(line.colour, 0.8)
            axes.fill_between(times, below, above, facecolor=fill, linewidth=0, label=line.name)
            axes.plot(times, above, color=line.colour, linewidth=1)
            below = above  # noqa: PLW2901  the next one stands on it


def _time_axis(axes: Axes, span: Span, width: float) -> None:
    axes.set_xlim(span.start_s, span.end_s)
    step = next(
        (each for each in TICKS_S if each * width / (span.end_s - span.start_s) >= TICK_ROOM), TICKS_S[-1]
    )
    first = math.ceil(span.start_s / step) * step
    axes.xaxis.set_major_locator(FixedLocator([float(at) for at in range(first, int(span.end_s) + 1, step)]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda moment, _: f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S}")
    )
    axes.grid(visible=True, color=HAIR, linewidth=1)
    axes.set_axisbelow(True)


def _value_axis(axes: Axes, panel: Panel, lines: Sequence[Line]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    values = [value for line in lines for value in line.values if math.isfinite(value)]
    if defaults["custom"].get("scaleDistribution", {}).get("type") == "log":
        _log_axis(axes, values)
    else:
        top = defaults.get("max", max(values) * 1.05 or 1.0)
        axes.set_ylim(defaults.get("min", min(values)), top)
        axes.yaxis.set_major_locator(_ticks(defaults["unit"], top))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: reading.written(value, defaults["unit"])))
    low, high = axes.get_ylim()
    for step in defaults.get("thresholds", {}).get("steps", ()):
        if step["value"] is not None and low < step["value"] < high:
            colour = reading.NAMED_COLOURS[step["color"]]
            axes.axhline(step["value"], color=colour, linestyle=(0, (5, 4)), linewidth=1)


def _log_axis(axes: Axes, values: Sequence[float]) -> None:
    """Show whole powers of ten, as Grafana does; what is 0 has no place on such an axis."""
    exponents = [math.log10(value) for value in values if value > 0] or [0.0]
    low, high = math.floor(min(exponents)), math.ceil(max(exponents))
    axes.set_yscale("log")
    axes.set_ylim(10.0**low, 10.0 ** max(high, low + 1))
    axes.yaxis.set_major_locator(FixedLocator([10.0**at for at in range(low, max(high, low + 1) + 1)]))
    axes.yaxis.set_minor_locator(NullLocator())


def _ticks(unit: str, top: float) -> MaxNLocator | FixedLocator:
    """Return round values: of bytes, such as are round in their unit."""
    if unit != "bytes":
        return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
    step = 2.0 ** math.ceil(math.log2(max(top, 5) / 5))
    return FixedLocator([at * step for at in range(math.floor(top / step) + 1)])


def _annotate(axes: Axes, asked: Asked) -> None:
    span, marks = asked.span, asked.marks
    across = axes.get_xaxis_transform()
    for moment, colour in marks.starts_s:
        if span.start_s <= moment <= span.end_s:
            axes.axvline(moment, color=colour, linestyle=(0, (3, 3)), linewidth=1)
            axes.plot([moment], [0], marker="^", color=colour, markersize=6, clip_on=False, transform=across)
    for begin, end in marks.alerts_s:
        axes.axvspan(begin, end, facecolor=to_rgba(ALERT, 0.07), linewidth=0)
        (bar,) = axes.plot([begin, end], [0, 0], color=ALERT, linewidth=4, transform=across)
        bar.set(clip_on=False, solid_capstyle="butt")


def _legend(sheet: Sheet, box: Box, lines: Sequence[Line], panel: Panel) -> None:
    """Write names with their last and largest values, as the panels' legends have them."""
    right, unit = box.left + box.width, panel["fieldConfig"]["defaults"]["unit"]
    columns = {"Last *": right - 88, "Max": right}
    sheet.words(box.left, box.top + 12, "Name", fontsize=TEXT - 1, color=MUTED)
    for name, end in columns.items():
        sheet.words(end, box.top + 12, name, fontsize=TEXT - 1, color=STARTED, ha="right")
    for at, line in enumerate(lines, start=1):
        base = box.top + at * LINE + 12
        known = [value for value in line.values if math.isfinite(value)]
        figures = reading.last(line.values), max(known, default=math.nan)
        sheet.dash(box.left, base - 4, line.colour, line.dash)
        sheet.words(box.left + 24, base, _cut(line.name, columns["Last *"] - 64 - box.left - 24))
        for end, value in zip(columns.values(), figures, strict=True):
            sheet.words(end, base, reading.written(value, unit), ha="right")


def _cut(text: str, width: float) -> str:
    """Shorten a text that is too long for its place."""
    most = int(width / (TEXT * LETTER))
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def stat(sheet: Sheet, box: Box, asked: Asked) -> None:
    """Write a single figure in its threshold's colour above its recent past; or the name of a series alone."""
    options, defaults = asked.panel["options"], asked.panel["fieldConfig"]["defaults"]
    line = asked.lines[0]
    value = reading.last(line.values)
    coloured = options["colorMode"] == "value"
    colour = reading.level(defaults["thresholds"]["steps"], value) if coloured else INK
    if options["graphMode"] == "area":
        _spark(sheet, box, asked, colour)
    by_name = options["textMode"] == "name"
    text = line.name if by_name else reading.written(value, defaults["unit"], defaults.get("decimals"))
    size = min(34.0, box.height / 3.4, (box.width - 24) / (len(text) * LETTER))
    base = box.top + TOP + (box.height - TOP) * (0.42 if by_name else 0.4) + size / 4
    sheet.words(box.left + box.width / 2, base, text, fontsize=size, weight="bold", color=colour, ha="center")


def _spark(sheet: Sheet, box: Box, asked: Asked, colour: str) -> None:
    lower = 0.3 * box.height
    axes = sheet.axes(
        Box(box.left + 1, box.top + box.height - lower - 1, box.width - 2, lower), asked.panel["title"]
    )
    axes.set_axis_off()
    axes.set_xlim(asked.span.start_s, asked.span.end_s)
    tops = [value for line in asked.lines for value in line.values if math.isfinite(value)]
    axes.set_ylim(0, max(tops) * 1.05 or 1.0)
    for times, values in reading.pieces(asked.lines[0], 3.0 * answers.SCRAPE_S):
        axes.fill_between(times, values, facecolor=to_rgba(colour, 0.15), linewidth=0)
        axes.plot(times, values, color=colour, linewidth=1.2)


def rows(sheet: Sheet, box: Box, asked: Asked) -> None:
    """Draw a table."""
    headings, found = reading.table(asked.panel, asked.found)
    sheet.axes(Box(box.left + 10, box.top + TOP, 1, 1), asked.panel["title"]).set_axis_off()
    width = (box.width - 20) / len(headings)
    for at, heading_ in enumerate(headings):
        sheet.words(box.left + 10 + at * width, box.top + TOP + 20, heading_, color=STARTED, weight="bold")
    for down, row in enumerate(found):
        top = box.top + TOP + 32 + 36 * down
        sheet.box(Box(box.left + 8, top, box.width - 16, 1), EDGE)
        for at, (text, colour) in enumerate(row):
            sheet.words(box.left + 10 + at * width, top + 24, text, fontsize=TEXT + 1, color=colour)


def heat_map(sheet: Sheet, box: Box, asked: Asked) -> None:
    """Draw how often a histogram's buckets were hit: the darker, the more often; what was never, is left blank."""
    times = _moments(asked.span)
    bounds, found = reading.cells([each for series in asked.found.values() for each in series], times)
    plot = Box(box.left + LEFT, box.top + TOP, box.width - LEFT - RIGHT, box.height - TOP - TIMES - LINE - 8)
    axes = sheet.axes(plot, asked.panel["title"])
    most = max((value for row in found for value in row if math.isfinite(value)), default=0.0) or 1.0
    exponent = asked.panel["options"]["color"]["exponent"]
    shades = [[(value / most) ** exponent if value > 1e-9 else math.nan for value in row] for row in found]
    half = asked.span.step_s / 2
    extent = (times[0] - half, times[-1] + half, 0.0, float(len(bounds)))
    axes.imshow(shades, origin="lower", extent=extent, zorder=1, **SHADES)
    _time_axis(axes, asked.span, plot.width)
    _bucket_axis(axes, bounds)
    _annotate(axes, asked)
    _scale(sheet, box, most)


def _moments(span: Span) -> list[float]:
    count = math.floor((span.end_s - span.start_s) / span.step_s) + 1
    return [span.start_s + at * span.step_s for at in range(count)]


def _bucket_axis(axes: Axes, bounds: Sequence[str]) -> None:
    """Label the upper ends of those buckets whose bounds are powers of ten."""
    places = {at + 1: float(bound) for at, bound in enumerate(bounds) if math.isfinite(float(bound))}
    tens = [at for at, bound in places.items() if abs(math.remainder(math.log10(bound), 1)) < 1e-6]
    axes.set_ylim(0, len(bounds))
    axes.yaxis.set_major_locator(FixedLocator([float(at) for at in tens]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: reading.written(places[round(at)], "s")))


def _scale(sheet: Sheet, box: Box, most: float) -> None:
    base, left, width = box.top + box.height - 12, box.left + LEFT, 160.0
    axes = sheet.axes(Box(left, base - 10, width, 9), "scale")
    axes.set_axis_off()
    axes.imshow([[at / 31 for at in range(32)]], **SHADES)
    sheet.words(left - 8, base, "0", fontsize=TEXT - 1, color=MUTED, ha="right")
    sheet.words(left + width + 8, base, reading.written(most, "cps"), fontsize=TEXT - 1, color=MUTED)


KINDS: Mapping[str, Callable[[Sheet, Box, Asked], None]] = {
    "timeseries": time_series,
    "stat": stat,
    "table": rows,
    "heatmap": heat_map,
}
"""Each kind of panel that the dashboards have."""
