"""The textbook's table, measured: as a section of a report, as a page of its own, and for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill, indent

from gilscope.claims import Cell, Claim, Figure, Measured, Standing, Textbook, Topic
from gilscope.model import BackendName, Evidence, Verdict
from gilscope.report import formats
from gilscope.report.html import render_page

WIDTH = 100
FREE_THREADED = "threads, no GIL"
"""The column of a free-threaded Python: its threads, beside the others of a Python with a GIL."""

MARKS = {Standing.HOLDS: "✓", Standing.FOOTNOTE: "✓*", Standing.FAILS: "✗", Standing.UNKNOWN: "–"}  # noqa: RUF001
SLUGS = {
    Standing.HOLDS: "holds",
    Standing.FOOTNOTE: "noted",
    Standing.FAILS: "fails",
    Standing.UNKNOWN: "unknown",
}

UNDER_LOAD = {Topic.WAITING_WORK: False, Topic.COMPUTING_WORK: True}
"""The rows that a comparison under load has something to say about; whether it is about work that computes."""

COMPUTES = 0.5
"""A function computes if it is on a core for at least this share of a call."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the backend whose colour it has, and where nothing of it was measured, why."""

    name: str
    backend: BackendName
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ShownCell:
    """A cell, ready to be shown. ``under_load`` is what the run's own comparison found of the same.

    ``in_column``: its footnote is said once for the whole column, wherever that has a head. ``is_call``: its code is what
    the cell is about.
    """

    column: str
    backend: BackendName
    says: str
    mark: str
    slug: str
    standing: str
    headline: str
    footnote: str
    in_column: bool
    under_load: tuple[str, ...]
    figures: tuple[tuple[str, str], ...]
    code: str
    module: str
    is_call: bool


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A claim with its cells."""

    title: str
    cells: tuple[ShownCell, ...]


@dataclass(frozen=True, slots=True)
class ShownTable:
    """The table of one Python."""

    anchor: str
    heading: str
    summary: str
    columns: tuple[Column, ...]
    rows: tuple[ShownRow, ...]


@dataclass(frozen=True, slots=True)
class TextbookPage:
    """All tables, and what one must know of them."""

    tables: tuple[ShownTable, ...]
    machine: str
    cautions: tuple[str, ...]
    gilscope: str
    made: str


def build_textbook(
    textbook: Textbook, claims: Sequence[Claim], evidence: Evidence | None = None
) -> TextbookPage:
    """Put the tables into words; ``evidence`` is the run that they lie beside, if there is one."""
    with_gil = [one for one in textbook.measured if not one.python.free_threaded]
    without = [one for one in textbook.measured if one.python.free_threaded]
    # A free-threaded Python is a column beside the others; where there are no others, a table.
    tables = [
        _table(at, one, without, claims, evidence) for at, one in enumerate(with_gil or without, start=1)
    ]
    machine = textbook.machine
    stolen = textbook.steal_share
    cautions = [f"{caution.message}: {caution.remedy}" for caution in textbook.cautions]
    if stolen is not None and stolen > 0.02:
        cautions.append(
            f"The machine's hypervisor gave {formats.percent(stolen)} of its time to others meanwhile: times are longer "
            "than they need to be."
        )
    return TextbookPage(
        tables=tuple(tables),
        machine=f"{machine.cpu}, {formats.many(machine.cores, 'core')}, {machine.system}",
        cautions=tuple(cautions),
        gilscope=textbook.gilscope,
        made=formats.moment(textbook.made_at),
    )


def render_textbook(textbook: Textbook, claims: Sequence[Claim]) -> str:
    """Render the table as one HTML document, which opens offline."""
    return render_page(
        "textbook.html.jinja", viewer_style="", viewer_script="", page=build_textbook(textbook, claims)
    )


def _table(
    at: int,
    measured: Measured,
    without: Sequence[Measured],
    claims: Sequence[Claim],
    evidence: Evidence | None,
) -> ShownTable:
    columns = {
        Column(backend.value, backend, _reason(measured, backend)): measured for backend in BackendName
    }
    columns |= {
        Column(FREE_THREADED, BackendName.THREADS): other for other in without if other is not measured
    }
    return ShownTable(
        anchor=f"textbook-{at}",
        heading=f"Python {measured.python.name}",
        summary=_summary(measured),
        columns=tuple(columns),
        rows=tuple(_row(claim, columns, evidence) for claim in claims),
    )


def _summary(measured: Measured) -> str:
    """Say how many cells stand how."""
    counts = Counter(cell.standing for cell in measured.cells)
    told = ", ".join(
        f"{counts[standing]} {words[counts[standing] > 1]}"
        for standing, words in (
            (Standing.HOLDS, ("holds", "hold")),
            (Standing.FOOTNOTE, ("holds with a footnote", "hold with a footnote")),
            (Standing.FAILS, ("does not hold", "do not hold")),
            (Standing.UNKNOWN, ("not measured", "not measured")),
        )
        if counts[standing]
    )
    return f"{formats.many(len(measured.cells), 'cell')} in {formats.seconds(measured.seconds)}: {told}"


def summary_of(textbook: Textbook) -> str:
    """Say in a line for each Python how its cells stand."""
    told = (f"Python {one.python.name}: {_summary(one)}" for one in textbook.measured)
    return "; ".join(told).replace(formats.NO_BREAK, " ")


def _reason(measured: Measured, backend: BackendName) -> str:
    """Return the one reason why nothing of a backend was measured; nothing where anything was."""
    own = [cell for cell in measured.cells if cell.backend is backend]
    reasons = {cell.footnote if cell.standing is Standing.UNKNOWN else "" for cell in own}
    return reasons.pop() if len(reasons) == 1 else ""


def _row(claim: Claim, columns: Mapping[Column, Measured], evidence: Evidence | None) -> ShownRow:
    cells = tuple(
        _cell(column, one.cell(claim.topic, column.backend), evidence) for column, one in columns.items()
    )
    return ShownRow(claim.title, cells)


def _cell(column: Column, cell: Cell, evidence: Evidence | None) -> ShownCell:
    known = cell.standing is not Standing.UNKNOWN
    return ShownCell(
        column=column.name,
        backend=cell.backend,
        says=cell.says,
        mark=MARKS[cell.standing],
        slug=SLUGS[cell.standing],
        standing=cell.standing.value,
        headline=cell.headline if known and cell.topic is not Topic.CALL else "",
        footnote=cell.footnote,
        in_column=bool(column.reason),
        under_load=tuple(_under_load(cell, evidence)) if column.name == cell.backend else (),
        figures=tuple((_named(name), _written(value)) for name, value in cell.figures.items()),
        code=cell.code,
        module=cell.module,
        is_call=cell.topic is Topic.CALL,
    )


def _under_load(cell: Cell, evidence: Evidence | None) -> Iterator[str]:
    """Yield what the run's comparison found of the work that a row is about: throughput against its baseline."""
    if evidence is None or cell.topic not in UNDER_LOAD:
        return
    targets = {target.workload: target.classification for target in evidence.run.plan.targets}
    for verdict in evidence.run.verdicts:
        found = targets.get(verdict.workload)
        if found and (found.cpu_share >= COMPUTES) is UNDER_LOAD[cell.topic]:
            yield from _ratio(verdict, cell.backend)


def _ratio(verdict: Verdict, backend: BackendName) -> Iterator[str]:
    ratio = verdict.throughput_ratio.get(backend)
    if ratio is not None and backend is not verdict.baseline:
        ends = formats.span(ratio)
        known = f" ({ends})" if ends else ""
        yield f"{verdict.workload}: {formats.ratio(ratio.mid)} the throughput of {verdict.baseline}{known}"


UNITS = {"ms": "ms", "us": "µs", "ns": "ns", "mb": "MB", "kb": "kB", "rps": "/s", "hz": "Hz", "s": "s"}


def _named(name: str) -> str:
    """Write a figure's name: its unit last, after a comma."""
    stem, _, unit = name.rpartition("_")
    if stem and unit in UNITS:
        return f"{stem.replace('_', ' ')}, {UNITS[unit]}"
    return name.replace("_", " ")


def _written(value: Figure) -> str:
    if value is None:
        return formats.ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else formats.significant(value)


def describe_textbook(textbook: Textbook, claims: Sequence[Claim]) -> str:
    """Render the tables for the terminal: a line and more for each cell."""
    page = build_textbook(textbook, claims)
    lines: list[str] = []
    for table in page.tables:
        lines += [f"{table.heading}: {table.summary}"]
        lines += [f"  {column.name}: {column.reason}" for column in table.columns if column.reason]
        lines.append("")
        absent = {column.name for column in table.columns if column.reason}
        for row in table.rows:
            lines.append(row.title)
            lines += [line for cell in row.cells if cell.column not in absent for line in _cell_lines(cell)]
            lines.append("")
    lines += [fill(caution, WIDTH, initial_indent="! ", subsequent_indent="  ") for caution in page.cautions]
    return "\n".join(lines).rstrip().replace(formats.NO_BREAK, " ")


def _cell_lines(cell: ShownCell) -> Iterator[str]:
    """Write what is said and what was measured, and below it the footnote."""
    head = f"  {cell.mark:<3}{cell.column:<16}"
    yield fill(f"{cell.says}: {cell.standing}", WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    if cell.headline:
        yield indent(fill(cell.headline, WIDTH - len(head)), " " * len(head))
    if cell.is_call:
        yield indent(cell.code, " " * len(head))
    if cell.footnote:
        yield fill(
            cell.footnote,
            WIDTH,
            initial_indent=" " * len(head) + "* ",
            subsequent_indent=" " * (len(head) + 2),
        )
