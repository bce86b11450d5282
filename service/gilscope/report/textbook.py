"""The textbook's table, measured: as a section of a report, as a page of its own, and for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from textwrap import fill, indent

from gilscope.claims import Cell, Claim, Figure, Measured, Standing, Textbook, Topic
from gilscope.model import BackendName, Evidence, Verdict
from gilscope.report import formats
from gilscope.report.html import render_page

WIDTH, COLUMN = 100, 16
GIL_ON = "GIL on"
"""Said of a free-threaded Python: in the head of a column where all of it was measured so, else in the cells that were."""

MARKS = {Standing.HOLDS: "✓", Standing.FOOTNOTE: "✓*", Standing.FAILS: "✗", Standing.UNKNOWN: "–"}  # noqa: RUF001
SLUGS = {
    Standing.HOLDS: "holds",
    Standing.FOOTNOTE: "noted",
    Standing.FAILS: "fails",
    Standing.UNKNOWN: "unknown",
}

GLOSSARY = (
    ("GIL", "The global interpreter lock: of the threads of a process, one at a time runs Python code, the one that holds it."),
    ("event loop", "What runs the coroutines of asyncio, in turn, in a single thread: while it cannot run, no request is answered."),
    ("worker, pool", "A task, thread, process or subinterpreter that runs a function for others; several of them that are kept ready."),
    (
        "interpreters",
        "Subinterpreters: several Pythons in one process, each with objects and, since Python 3.12, a GIL of its own.",
    ),
    (
        "switch interval",
        "How long a thread may keep the GIL once another has asked for it: 5 ms, unless sys.setswitchinterval says otherwise.",
    ),
    ("p99", "What 99 of 100 take less than: how the slowest fared."),
    ("pickle", "Python's way to turn objects into bytes and back, as processes have to."),
    ("fork, forkserver", "How a process starts: as a copy of the one that starts it, or of a small one that was kept for that."),
)  # fmt: skip
"""The words of the page that a tutorial does not explain."""

UNDER_LOAD = {Topic.WAITING_WORK: False, Topic.COMPUTING_WORK: True}
"""The rows that a comparison under load has something to say about; whether it is about work that computes."""

COMPUTES = 0.5
"""A function computes if it is on a core for at least this share of a call."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the backend whose colour it has, and where nothing of it was measured, why.

    ``beside``: it is of another Python than the table. ``gil_on`` has the rows in which a free-threaded Python had its GIL on.
    """

    name: str
    backend: BackendName
    reason: str = ""
    beside: bool = False
    gil_on: frozenset[Topic] = frozenset()


@dataclass(frozen=True, slots=True)
class ShownCell:
    """A cell, ready to be shown. ``under_load`` is what the run's own comparison found of the same.

    ``in_column``: its footnote is said once for the whole column, wherever that has a head. ``call`` is the code that the
    cell is about; of the others it is below the row, at ``anchor``.
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
    call: str
    anchor: str


@dataclass(frozen=True, slots=True)
class ShownCode:
    """The code of an experiment, and the columns whose cells it measured; free-threaded builds run that of the others."""

    anchor: str
    columns: tuple[Column, ...]
    code: str


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A claim, what was run, its cells, the code that measured them, and its module (nothing, where none was run)."""

    title: str
    run: str
    module: str
    cells: tuple[ShownCell, ...]
    codes: tuple[ShownCode, ...]

    @property
    def file(self) -> str:
        """The name of the module's file."""
        return PurePosixPath(self.module).name


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
    legend: tuple[tuple[str, str], ...]
    glossary: tuple[tuple[str, str], ...]
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
    beside = {_column(one, BackendName.THREADS, beside=True): one for one in without if with_gil}
    tables = [
        _table(at, one, beside, claims, evidence) for at, one in enumerate(with_gil or without, start=1)
    ]
    machine = textbook.machine
    stolen = textbook.steal_share
    cautions = [f"{caution.message}: {caution.remedy}" for caution in textbook.cautions]
    cautions += [told for one in without for told in _switched_on(one, claims)]
    if stolen is not None and stolen > 0.02:
        cautions.append(
            f"The machine's hypervisor gave {formats.percent(stolen)} of its time to others meanwhile: times are longer "
            "than they need to be."
        )
    return TextbookPage(
        tables=tuple(tables),
        legend=tuple((mark, standing.value) for standing, mark in MARKS.items()),
        glossary=GLOSSARY,
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
    beside: dict[Column, Measured],
    claims: Sequence[Claim],
    evidence: Evidence | None,
) -> ShownTable:
    columns = {_column(measured, backend): measured for backend in BackendName} | beside
    anchor = f"textbook-{at}"
    return ShownTable(
        anchor=anchor,
        heading=f"Python {measured.python.name}",
        summary=_summary(measured),
        columns=tuple(columns),
        rows=tuple(_row(anchor, claim, columns, evidence) for claim in claims),
    )


def _column(measured: Measured, backend: BackendName, *, beside: bool = False) -> Column:
    """Head a column; one beside those of another Python is called after its own as well."""
    words = [backend.value, *([measured.python.name] if beside else [])]
    known = {cell.topic for cell in _known(measured) if cell.backend is backend}
    gil_on = frozenset(cell.topic for cell in _with_gil(measured) if cell.backend is backend)
    if gil_on == known and known:
        words, gil_on = [*words, GIL_ON], frozenset()
    return Column(", ".join(words), backend, _reason(measured, backend), beside, gil_on)


def _known(measured: Measured) -> list[Cell]:
    return [cell for cell in measured.cells if cell.standing is not Standing.UNKNOWN]


def _with_gil(measured: Measured) -> list[Cell]:
    """Return the cells in which a free-threaded Python had its GIL on all the same; none of any other Python."""
    python = measured.python

    def had_one(cell: Cell) -> bool:
        said = cell.figures.get(
            "gil_enabled"
        )  # Asked when it had run; else it is as a service says of itself.
        return said if isinstance(said, bool) else python.gil_enabled

    return [cell for cell in _known(measured) if python.free_threaded and had_one(cell)]


def _switched_on(measured: Measured, claims: Sequence[Claim]) -> Iterator[str]:
    """Warn of a free-threaded Python that had its GIL on, and say where."""
    on = _with_gil(measured)
    topics = {cell.topic for cell in on}
    if on:
        rows = "; ".join(claim.title for claim in claims if claim.topic in topics)
        where = "" if len(on) == len(_known(measured)) else f" in some rows ({rows})"
        yield (
            f"Python {measured.python.name} is free-threaded, but an extension module switched its GIL on{where}: those are "
            "the figures of a Python with a GIL. PYTHON_GIL=0 leaves it off all the same."
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


def _row(table: str, claim: Claim, columns: Mapping[Column, Measured], evidence: Evidence | None) -> ShownRow:
    found = {column: one.cell(claim.topic, column.backend) for column, one in columns.items()}
    codes = tuple(_codes(f"{table}-{claim.topic}", found)) if claim.topic is not Topic.CALL else ()
    anchors = {column: code.anchor for code in codes for column in code.columns}
    return ShownRow(
        title=claim.title,
        run=claim.run,
        module=next((cell.module for cell in found.values() if cell.module), ""),
        cells=tuple(_cell(column, cell, anchors.get(column, ""), evidence) for column, cell in found.items()),
        codes=codes,
    )


def _codes(row: str, found: Mapping[Column, Cell]) -> Iterator[ShownCode]:
    """Yield every code of a row once."""
    for at, code in enumerate(dict.fromkeys(cell.code for cell in found.values() if cell.code), start=1):
        yield ShownCode(
            f"{row}-{at}", tuple(column for column, cell in found.items() if cell.code == code), code
        )


def _cell(column: Column, cell: Cell, anchor: str, evidence: Evidence | None) -> ShownCell:
    known, is_call = cell.standing is not Standing.UNKNOWN, cell.topic is Topic.CALL
    return ShownCell(
        column=column.name,
        backend=cell.backend,
        says=cell.says,
        mark=MARKS[cell.standing],
        slug=SLUGS[cell.standing],
        standing=f"{cell.standing}, {GIL_ON}" if cell.topic in column.gil_on else cell.standing.value,
        headline=cell.headline if known and not is_call else "",
        footnote=cell.footnote,
        in_column=bool(column.reason),
        under_load=() if column.beside else tuple(_under_load(cell, evidence)),
        figures=() if is_call else tuple(_figure(name, value) for name, value in cell.figures.items()),
        call=cell.code if is_call else "",
        anchor=anchor,
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


def _figure(name: str, value: Figure) -> tuple[str, str]:
    """Write a figure and its name: the unit last, after a comma; a share in per cent."""
    stem, _, unit = name.rpartition("_")
    if unit in UNITS and stem and not stem.endswith("_per"):
        name = f"{stem}, {UNITS[unit]}"
    words = " ".join("GIL" if word == "gil" else word for word in name.split("_"))
    if unit == "share" and isinstance(value, float | int):
        return words, formats.percent(value)
    return words, _written(value)


def _written(value: Figure) -> str:
    if value is None:
        return formats.ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else formats.significant(value)


def describe_textbook(textbook: Textbook, claims: Sequence[Claim]) -> str:
    """Render the tables for the terminal: a line and more for each cell."""
    page = build_textbook(textbook, claims)
    lines = [
        "What is said of each way to run a function, in quotes, and what was measured of it here:",
        ", ".join(f"{mark} {standing}" for mark, standing in page.legend) + ".",
        *(
            fill(f"{word}: {meaning}", WIDTH, initial_indent="  ", subsequent_indent="    ")
            for word, meaning in page.glossary
        ),
        "",
    ]
    for caution in page.cautions:
        lines += [fill(caution, WIDTH, initial_indent="! ", subsequent_indent="  "), ""]
    for table in page.tables:
        lines += [f"{table.heading}: {table.summary}"]
        lines += [f"  {column.name}: {column.reason}" for column in table.columns if column.reason]
        lines.append("")
        absent = {column.name for column in table.columns if column.reason}
        room = max(COLUMN, *(len(column.name) + 2 for column in table.columns))
        for row in table.rows:
            lines.append(f"{row.title} ({row.module})" if row.module else row.title)
            lines.append(fill(row.run, WIDTH, initial_indent="  ", subsequent_indent="  "))
            told = [cell for cell in row.cells if cell.column not in absent]
            lines += [line for cell in told for line in _cell_lines(cell, room)]
            lines.append("")
    return "\n".join(lines).rstrip().replace(formats.NO_BREAK, " ")


def _cell_lines(cell: ShownCell, room: int) -> Iterator[str]:
    """Write what is said and what was measured, and below it the footnote; the column's name has ``room``."""
    head = f"  {cell.mark:<3}{cell.column:<{room}}"
    yield fill(
        f'"{cell.says}": {cell.standing}', WIDTH, initial_indent=head, subsequent_indent=" " * len(head)
    )
    if cell.headline:
        yield indent(fill(cell.headline, WIDTH - len(head)), " " * len(head))
    if cell.call:
        yield indent(cell.call, " " * len(head))
    if cell.footnote:
        note = "* " if cell.slug == SLUGS[Standing.FOOTNOTE] else ""
        yield fill(
            note + cell.footnote,
            WIDTH,
            initial_indent=" " * len(head),
            subsequent_indent=" " * (len(head) + len(note)),
        )
