"""Draw the dashboards from what a Prometheus has recorded, where no Grafana runs: ``docs/images/dashboard-*.svg``.

    python dashboards/record.py FOLDER        five minutes; says how to serve what it recorded
    prometheus …                              as it said
    python dashboards/draw.py --prometheus http://127.0.0.1:9090 --from … --to … [--out docs/images] [--told TEXT]

Places, titles, queries, legends, units, colours and thresholds are those of ``grafana/dashboards/*.json``; every query is asked
as Grafana would ask it. How that is drawn, is not Grafana's: pictures say so. Nothing of the values is changed.

``--from`` and ``--to`` are moments as in ``2026-01-31T12:00:00Z``. Tables and figures without a past are those of the end.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import reading
import sketch
from answers import Prometheus, Series, Source, Span, substituted
from sketch import Asked, Marks, Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent / "grafana" / "dashboards"
NAMES = ("compare", "contention", "load")
POINTS = 600
"""What a panel has room for, at the most."""

LABEL = "Drawn from the panels\N{RIGHT SINGLE QUOTATION MARK} queries and recorded data; Grafana looks like, and is not, this."

STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "gilscope"}
"""Letters stay letters; the same data give the same file."""

NOBODY = dict.fromkeys(("Creator", "Date", "Format", "Type"))
SANS = (
    "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', Arial, sans-serif"
)

Board = dict[str, Any]


def board(name: str) -> Board:
    """Return a dashboard as Grafana reads it."""
    found: Board = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def picture(wanted: Board, source: Source, span: Span, told: str = "") -> Figure:
    """Draw all panels of a dashboard over a span; ``told`` is what else the heading says of the data."""
    sheet = Sheet(reading.height(wanted["panels"]))
    _head(sheet, wanted["title"], span, told)
    marks = marked(wanted, source, span)
    for panel in wanted["panels"]:
        if panel["type"] == "row":
            sketch.heading(sheet, panel)
        else:
            sketch.panel(sheet, Asked(panel, span, dict(_answers(panel, source, span)), marks))
    return sheet.figure


def marked(wanted: Board, source: Source, span: Span) -> Marks:
    """Return when service and load started, which is the value, and when alerts fired, which is where there is one."""
    starts: set[tuple[float, str]] = set()
    alerts: list[tuple[float, float]] = []
    for each in wanted["annotations"]["list"]:
        found = source.over(substituted(each["expr"], span.step_s), span)
        if each.get("useValueForTime"):
            colour = reading.NAMED_COLOURS[each["iconColor"]]
            starts |= {(value / 1e3, colour) for series in found for value in series.values}
        else:
            lines = reading.styled({"fieldConfig": {"overrides": []}}, [("", series) for series in found])
            alerts += [(at[0], at[-1]) for line in lines for at, _ in reading.pieces(line, span.step_s)]
    return Marks(sorted(starts), merged(alerts))


def merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join spans that overlap."""
    joined: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _answers(panel: reading.Panel, source: Source, span: Span) -> Iterator[tuple[str, list[Series]]]:
    for target in panel["targets"]:
        promql = substituted(target["expr"], span.step_s)
        instant = target.get("instant", False)
        yield target["refId"], source.at(promql, span.end_s) if instant else source.over(promql, span)


def svg(drawn: Figure, about: str) -> str:
    """Return a picture as SVG, made smaller: tenths of a pixel are enough, and letters say once what they are."""
    with mpl.rc_context(STYLE), io.StringIO() as file:
        drawn.savefig(file, format="svg", metadata=NOBODY)
        text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' transform="rotate\(-0 [^)]*\)"| id="[^"#]*_\d+"', "", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r' (d|x|y|transform|width|height)="[^"]*"', _shorter, text)
    text = re.sub(r"\n+ *", "\n", text)
    size = f'width="{reading.WIDTH}" role="img" aria-label="{about}" font-family="{SANS}"'
    return re.sub(r'width="\d+pt" height="[\d.]+pt"', size, text, count=1)


def _shorter(attribute: re.Match[str]) -> str:
    return re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), attribute[0])


def _head(sheet: Sheet, title: str, span: Span, told: str) -> None:
    begin, end = (datetime.fromtimestamp(moment, UTC) for moment in (span.start_s, span.end_s))
    right = reading.WIDTH - reading.MARGIN - 4
    sheet.words(reading.MARGIN + 4, 34, title, fontsize=20, weight="bold")
    sheet.words(right, 34, f"{begin:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC", ha="right", fontsize=14)
    sheet.words(reading.MARGIN + 4, 62, LABEL, fontsize=14, color=sketch.MUTED)
    sheet.words(right, 62, told, ha="right", fontsize=14, color=sketch.MUTED)
    sketch.key(sheet, reading.MARGIN + 4, 88)


def moment_s(text: str) -> float:
    """Return seconds since 1970 of ``2026-01-31T12:00:00Z``.

    Raises:
        ValueError: it is no such moment, or does not say in which zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} does not say in which zone: add Z")
    return moment.timestamp()


def main() -> None:
    """Draw all dashboards."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--prometheus", default="http://127.0.0.1:9090", metavar="URL", help="default: %(default)s"
    )
    parser.add_argument("--from", dest="begin", type=moment_s, required=True, metavar="MOMENT")
    parser.add_argument("--to", dest="end", type=moment_s, required=True, metavar="MOMENT")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/images"), metavar="FOLDER", help="default: %(default)s"
    )
    parser.add_argument("--told", default="", metavar="TEXT", help="what the headings say of the data")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these dashboards alone")
    options = parser.parse_args()
    source, span = Prometheus(options.prometheus), Span.of(options.begin, options.end, POINTS)
    for name in options.only:
        path, wanted = options.out / f"dashboard-{name}.svg", board(name)
        drawn = picture(wanted, source, span, options.told)
        path.write_text(svg(drawn, f"{wanted['title']}. {LABEL}"), encoding="utf-8")
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
