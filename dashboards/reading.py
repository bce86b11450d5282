"""A dashboard's JSON, read as Grafana reads it: places, names, colours, units. Nothing is drawn here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from answers import Series

Panel = Mapping[str, Any]

WIDTH, COLUMNS = 1280, 24
ROW, GAP, MARGIN, HEADER = 30, 8, 12, 104
"""Pixels: Grafana's rows and gaps, and what is above the first panel."""

SERIES_COLOURS = ("#56A64B", "#E0B400", "#5794F2", "#FA6400", "#E02F44", "#3274D9", "#A352CC", "#705DA0")
"""What series get that no override colours, one after another: close to Grafana's own in its light theme."""

NAMED_COLOURS = {
    "green": "#299C46",
    "orange": "#E36A00",
    "red": "#D0213A",
    "blue": "#3274D9",
    "purple": "#8F3BB8",
    "transparent": "none",
}
"""What Grafana's names of colours are on light paper."""

INK = "#24292E"
NO_VALUE = "\N{EN DASH}"

MICRO = "\N{GREEK SMALL LETTER MU}s"
TIMES = ((1e-9, "ns"), (1e-6, MICRO), (1e-3, "ms"), (1.0, "s"), (60.0, "min"), (3600.0, "h"))
COUNTS = ((1.0, ""), (1e3, "K"), (1e6, "Mil"), (1e9, "Bil"))
SIZES = tuple((1024.0**at, unit) for at, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB")))
RATES = {"reqps": "req/s", "ops": "ops/s", "cps": "c/s"}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, from the upper left corner of the picture."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """A series as it is drawn: ``dash`` is empty for a solid line, else pixels on and off."""

    name: str
    colour: str
    dash: tuple[float, ...]
    times_s: Sequence[float]
    values: Sequence[float]


def place(grid: Mapping[str, int]) -> Box:
    """Return where a panel stands."""
    column = (WIDTH - 2 * MARGIN + GAP) / COLUMNS
    return Box(
        MARGIN + grid["x"] * column,
        HEADER + grid["y"] * (ROW + GAP),
        grid["w"] * column - GAP,
        grid["h"] * (ROW + GAP) - GAP,
    )


def height(panels: Sequence[Panel]) -> float:
    """Return how high the picture is, in pixels."""
    boxes = [place(panel["gridPos"]) for panel in panels]
    return max(box.top + box.height for box in boxes) + MARGIN


def named(template: str, labels: Mapping[str, str]) -> str:
    """Fill a legend's ``{{label}}``s in; without a template, a series is called by its labels."""
    if not template:
        return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), template)


def properties(panel: Panel, name: str) -> dict[str, Any]:
    """Return what overrides say of a series or column; the last one that says something counts."""
    found: dict[str, Any] = {}
    for override in panel["fieldConfig"]["overrides"]:
        kind, options = override["matcher"]["id"], override["matcher"]["options"]
        by_name = kind == "byName" and options == name
        if by_name or (kind == "byRegexp" and re.search(options.strip("/"), name)):
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


def styled(panel: Panel, answers: Sequence[tuple[str, Series]]) -> list[Line]:
    """Return what is drawn of the answers (with the template of the legend of each), in their order."""
    return [_styled(panel, at, *answer) for at, answer in enumerate(answers)]


def _styled(panel: Panel, at: int, template: str, series: Series) -> Line:
    name = named(template, series.labels)
    said = properties(panel, name)
    colour = said.get("color", {}).get("fixedColor", SERIES_COLOURS[at % len(SERIES_COLOURS)])
    dash = tuple(said.get("custom.lineStyle", {}).get("dash", ()))
    return Line(name, colour, dash, series.times_s, series.values)


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """Write a value with Grafana's unit: ``s``, ``percentunit``, ``bytes``, ``reqps``, …; a dash for NaN."""
    if not math.isfinite(value):
        return NO_VALUE
    if unit == "percentunit":
        return f"{_digits(100 * value, decimals)}%"
    scale = {"s": TIMES, "bytes": SIZES}.get(unit, COUNTS)
    size, suffix = _scaled(value, scale)
    suffix = f"{suffix} {RATES[unit]}" if unit in RATES else suffix
    return f"{_digits(value / size, decimals)} {suffix.strip()}".strip()


def _scaled(value: float, scale: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Return the largest unit that is not larger than the value; 0 gets the one that stands for itself."""
    wanted = abs(value) * (1 + 1e-9) if value else 1.0
    return max((each for each in scale if each[0] <= wanted), default=scale[0])


def _digits(value: float, decimals: int | None) -> str:
    """Write with ``decimals``, or else with three significant digits and no zeros at the end."""
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if not value:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value) * (1 + 1e-9))))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text


def level(steps: Sequence[Mapping[str, Any]], value: float) -> str:
    """Return the colour of a value among thresholds; the first of them has no bound."""
    reached = [step["color"] for step in steps if step.get("value") is None or value >= step["value"]]
    return NAMED_COLOURS[reached[-1]] if reached else INK


def last(values: Sequence[float]) -> float:
    """Return the last value that is one; NaN where there is none."""
    return next((value for value in reversed(values) if math.isfinite(value)), math.nan)


def pieces(line: Line, longest_s: float) -> Iterator[tuple[list[float], list[float]]]:
    """Yield moments and values of what hangs together: NaN is left out, a pause longer than ``longest_s`` is a gap."""
    times: list[float] = []
    values: list[float] = []
    for moment, value in zip(line.times_s, line.values, strict=True):
        if not math.isfinite(value):
            continue
        if times and moment - times[-1] > longest_s:
            yield times, values
            times, values = [], []
        times.append(moment)
        values.append(value)
    if times:
        yield times, values


def cells(answers: Sequence[Series], times_s: Sequence[float]) -> tuple[list[str], list[list[float]]]:
    """Return a heatmap's bounds (``le``, from below) and for each what lies within, by moment; NaN where nothing was asked.

    A histogram's buckets contain those below them, so each is what it has more than the one before.
    """
    ordered = sorted(answers, key=lambda series: float(series.labels["le"]))
    known = [dict(zip(series.times_s, series.values, strict=True)) for series in ordered]
    rows, below = [], dict.fromkeys(times_s, 0.0)
    for row in known:
        rows.append([max(row[at] - below.get(at, 0.0), 0.0) if at in row else math.nan for at in times_s])
        below = row
    return [series.labels["le"] for series in ordered], rows


def table(
    panel: Panel, answers: Mapping[str, Sequence[Series]]
) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """Return a table's headings, and its rows of texts with their colours.

    Answers, by ``refId``, are merged where all labels are equal; then columns are ordered and renamed, as the panel says.
    """
    merged: dict[frozenset[tuple[str, str]], dict[str, float]] = {}
    for reference, found in answers.items():
        for series in found:
            cell = merged.setdefault(frozenset(series.labels.items()), {})
            cell[f"Value #{reference}"] = series.values[-1]
    organised = next(each["options"] for each in panel["transformations"] if each["id"] == "organize")
    columns = sorted(organised["indexByName"], key=organised["indexByName"].__getitem__)
    headings = [organised["renameByName"].get(column, column) for column in columns]
    rows = []
    for labels, values in merged.items():
        known: dict[str, str | float] = {**dict(labels), **values}
        pairs = zip(columns, headings, strict=True)
        rows.append([_cell(panel, heading, known.get(column)) for column, heading in pairs])
    return headings, sorted(rows)


def _cell(panel: Panel, heading: str, value: str | float | None) -> tuple[str, str]:
    """Return a cell's text and colour."""
    said, defaults = properties(panel, heading), panel["fieldConfig"]["defaults"]
    if isinstance(value, str):
        options = said.get("mappings", [{"options": {}}])[0]["options"]
        return value, options.get(value, {}).get("color", INK)
    if value is None:
        return NO_VALUE, INK
    return written(value, said.get("unit", defaults["unit"]), defaults.get("decimals")), INK
