"""One function on several Pythons: a picture and a table for each function."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gilscope.model import (
    BASELINE,
    BackendName,
    Evidence,
    Interpreter,
    Interval,
    PythonChange,
    Target,
    Verdict,
)
from gilscope.report import charts, formats
from gilscope.report import facts as known
from gilscope.report.charts import Rate, coloured, draw_axis
from gilscope.report.facts import Facts
from gilscope.report.scales import Scale, from_zero
from gilscope.report.sections import Pair
from gilscope.report.svg import dot, element, picture, words
from gilscope.report.tables import Cell

COLUMNS = (
    "requests/s",
    "ratio",
    "p99 ms",
    "ratio",
    "/ping p99 ms",
    "ratio",
    "loop waits for the GIL",
    "cores",
)
WITHOUT_GIL = ("loop off CPU", "workers off CPU", "against asyncio")
"""The columns more where a Python has no GIL to wait for."""

PITCH, GAP, NAMES, LABELS, VALUES = 22, 12, 88, 78, 76


@dataclass(frozen=True, slots=True)
class PythonRow:
    """The figures of a backend on one Python, or ``instead`` of them the reason why there are none."""

    backend: BackendName
    python: str
    cells: tuple[Cell, ...] = ()
    instead: str = ""


@dataclass(frozen=True, slots=True)
class PythonSection:
    """A function on all its Pythons; ``notes`` say what one must know of them.

    ``without_gil``: one of them has no GIL, and so there are more columns.
    """

    anchor: str
    workload: str
    pythons: tuple[str, ...]
    without_gil: bool
    chart: Pair
    columns: tuple[str, ...]
    rows: tuple[PythonRow, ...]
    notes: tuple[str, ...]


def build_pythons(evidence: Evidence) -> tuple[PythonSection, ...]:
    """Build a section for each function of a run that was made on several Pythons."""
    plan = evidence.run.plan
    if len(plan.pythons) < 2 or plan.slo is not None:
        return ()
    functions: dict[str, list[Target]] = {}
    for target in plan.targets:
        functions.setdefault(target.name_in_service, []).append(target)
    return tuple(
        _section(evidence, f"pythons-{at}", workload, targets)
        for at, (workload, targets) in enumerate(functions.items(), start=1)
    )


def _section(evidence: Evidence, anchor: str, workload: str, targets: Sequence[Target]) -> PythonSection:
    found = {target.python: known.collect(evidence, target.workload) for target in targets}
    verdicts = {target.python: known.find_verdict(evidence, target.workload) for target in targets}
    rates = {
        (facts.backend, python): rate
        for backend in BackendName
        for python, rows in found.items()
        for facts in rows
        if facts.backend is backend and (rate := known.rate(facts))
    }
    pythons = tuple(one for one in evidence.run.plan.pythons if one.name in found)
    changes = [change for change in evidence.run.python_changes if change.workload == workload]
    without_gil = any(not _has_gil(one, found[one.name]) for one in pythons)

    def row(facts: Facts, python: str) -> PythonRow:
        shown = _row(facts, python, verdicts[python], changes)
        more = _without_gil(facts, found[python], verdicts[python]) if without_gil and shown.cells else ()
        return replace(shown, cells=(*shown.cells, *more))

    return PythonSection(
        anchor=anchor,
        workload=workload,
        pythons=tuple(found),
        without_gil=without_gil,
        chart=Pair(draw_rates(rates, charts.WIDE), draw_rates(rates, charts.NARROW)),
        columns=(*COLUMNS, *(WITHOUT_GIL if without_gil else ())),
        rows=tuple(
            row(facts, python)
            for backend in BackendName
            for python, rows in found.items()
            for facts in rows
            if facts.backend is backend
        ),
        notes=tuple(note for one in pythons for note in _notes(one, found[one.name])),
    )


def _row(facts: Facts, python: str, verdict: Verdict | None, changes: Sequence[PythonChange]) -> PythonRow:
    rate = known.rate(facts)
    if rate is None:
        return PythonRow(facts.backend, python, instead=facts.excluded or "no valid trial yet")
    own = next((one for one in changes if (one.backend, one.python) == (facts.backend, python)), None)
    wait, cores = known.gil_wait(facts), known.mean_of(facts, lambda trial: trial.cpu_cores)
    return PythonRow(
        facts.backend,
        python,
        (
            Cell(formats.significant(rate.mid), formats.span(rate.interval)),
            _ratio(own.throughput if own else None),
            _figure(verdict.p99_ms.get(facts.backend) if verdict else None),
            _ratio(own.p99 if own else None),
            _figure(verdict.probe_p99_ms.get(facts.backend) if verdict else None),
            _ratio(own.probe_p99 if own else None),
            Cell(formats.percent(wait.loop if wait else None)),
            Cell(formats.significant(cores)),
        ),
    )


def _without_gil(facts: Facts, rows: Sequence[Facts], verdict: Verdict | None) -> tuple[Cell, ...]:
    """Return what takes the place of GIL wait: time off the CPU, and how far a backend scales."""
    loop, worker = known.off_cpu(facts) or (None, None)
    ratios = verdict.throughput_ratio if verdict and verdict.baseline is BASELINE else {}
    ratio = ratios.get(facts.backend) if facts.backend is not BASELINE else None
    scaling = Cell(_scaling(facts.backend, rows)) if ratio is None else _ratio(ratio)
    return Cell(formats.percent(loop)), Cell(formats.percent(worker)), scaling


def _figure(figure: Interval | None) -> Cell:
    return Cell(formats.significant(figure.mid if figure else None), formats.span(figure))


def _ratio(ratio: Interval | None) -> Cell:
    if ratio is None or not math.isfinite(ratio.mid):
        return Cell(formats.ABSENT)
    shown = math.isfinite(ratio.low + ratio.high) and ratio.leaves_out(1.0)
    return Cell(formats.ratio(ratio.mid) + ("*" if shown else ""), formats.span(ratio))


def _has_gil(one: Interpreter, rows: Sequence[Facts]) -> bool:
    """Whether a Python was measured with a GIL, as its trials say; where none was asked, as it said before."""
    asked = any(trial.gil_enabled is not None for facts in rows for trial in facts.trials)
    return not one.free_threaded or (known.with_gil(rows) if asked else one.gil_enabled)


def _notes(one: Interpreter, rows: Sequence[Facts]) -> Iterator[str]:
    """Say of a free-threaded Python what takes the place of GIL wait, or that its GIL is on all the same."""
    if not one.free_threaded:
        return
    if _has_gil(one, rows):
        yield (
            f"Python {one.name} is free-threaded, but an extension module switched its GIL back on: its figures are those of "
            "a Python with a GIL."
        )
        return
    scaling = _scaling(BackendName.THREADS, rows)
    told = (
        ""
        if scaling == formats.ABSENT
        else f" Threads keep up with {scaling} the requests of the event loop."
    )
    yield (
        f"Python {one.name} has no GIL to wait for. What is told of it is the time that threads are not on a core, and how "
        f"far they scale.{told}"
    )


def _scaling(backend: BackendName, rows: Sequence[Facts]) -> str:
    """Write how many times the throughput of the event loop a backend has on the same Python, where that is known."""
    rates = {facts.backend: rate.mid for facts in rows if (rate := known.rate(facts))}
    own, alone = rates.get(backend), rates.get(BASELINE)
    if backend is BASELINE or own is None or not alone:
        return formats.ABSENT
    return formats.ratio(own / alone)


def draw_rates(rates: dict[tuple[BackendName, str], Rate], width: int) -> str:
    """Draw requests per second: a group for each backend, a line in it for each Python, in the order of the mapping."""
    ends = [value for rate in rates.values() for value in (rate.mid, *(rate.interval or ()))]
    scale = from_zero(ends, NAMES + LABELS, width - VALUES)
    marks: list[str] = []
    bottom, former = 0.0, None
    for (backend, python), rate in rates.items():
        first = backend is not former
        bottom += PITCH + (GAP if first and former is not None else 0)
        former = backend
        name = words(0, bottom - 5, backend, class_="name") if first else ""
        marks.append(coloured(backend, name, *_marks(backend, python, rate, scale, bottom, width)))
    told = ", ".join(
        f"{backend} on {python} {formats.rate(rate.mid)}" for (backend, python), rate in rates.items()
    )
    axis = draw_axis(scale, bottom + 6, charts.RATES)
    return picture(width, bottom + 32, f"Requests per second: {told}", axis, *marks)


def _marks(
    backend: BackendName, python: str, rate: Rate, scale: Scale, bottom: float, width: int
) -> Iterator[str]:
    """Draw one line of a group: the Python, its interval, its figure."""
    ends = formats.span(rate.interval)
    hover = f"{backend}, Python {python}: {formats.rate(rate.mid)}" + (
        f", 95 % within {ends}" if ends else ""
    )
    yield words(NAMES, bottom - 5, python, class_="tick")
    if rate.interval and ends:
        left, right = scale(rate.interval.low), scale(rate.interval.high)
        yield element("rect", x=left, y=bottom - 15, width=right - left, height=12, class_="band")
    yield dot(scale(rate.mid), bottom - 9, 4, "dot", hover)
    yield words(width, bottom - 5, formats.rate(rate.mid), class_="value", text_anchor="end")
