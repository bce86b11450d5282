"""The evidence of one workload: its charts, tables, flame graphs and warnings."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gilscope.model import Anatomy, BackendName, Evidence, Flame, FlameKind, Trial
from gilscope.palette import STAGES, STATES, Stage
from gilscope.report import anatomy, charts, formats, stacks
from gilscope.report import facts as known
from gilscope.report.classes import Kind, put_in_words
from gilscope.report.facts import Facts
from gilscope.report.failures import taken_apart
from gilscope.report.percentiles import percentile_chart
from gilscope.report.tables import (
    TRIAL_COLUMNS,
    Details,
    Table,
    TrialRow,
    backend_table,
    place,
    request_details,
    trial_rows,
)

T = TypeVar("T")

NO_LENS = "no-lens"
"""Code of the caution that says why no lens watched."""

READING = {
    FlameKind.HOLDING: "Who had the GIL. The wider a frame, the larger its share of the time the GIL was held.",
    FlameKind.WAITING: "Who waited for the GIL while another thread held it. Event-loop frames here are the neighbours' delay.",
    FlameKind.WALL: "All threads, waiting included. The wider a frame, the longer it was on the stack, running or not.",
}

NOBODY = {
    FlameKind.HOLDING: "No Python code was seen holding the GIL.",
    FlameKind.WAITING: "No thread was seen waiting for the GIL.",
    FlameKind.WALL: "No thread was seen at all.",
}
"""What an empty graph means: it is a result, where the others of the same seconds are not empty."""

SIDE_BY_SIDE = (FlameKind.WAITING, FlameKind.HOLDING)
"""Whose requests were kept waiting, beside whose code kept them."""

GRAPH_OF = {
    "cpu": FlameKind.HOLDING,
    "gil_wait": FlameKind.WAITING,
    "runqueue": FlameKind.WALL,
    "blocked": FlameKind.WALL,
    "off_cpu": FlameKind.WALL,
}
"""Which graph explains a part of a bar: a click on the part leads there."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One chart drawn twice: for a wide place and for a phone."""

    wide: str
    narrow: str


@dataclass(frozen=True, slots=True)
class Stacked:
    """A chart of stacked bars (None without data), how to read it, what its colours mean, what it lacks.

    ``holds`` says whether it has lines for how long the GIL was held.
    """

    chart: Pair | None
    reading: str
    legend: tuple[tuple[str, Stage], ...]
    lacks: str
    holds: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """A flame graph and how to read it; ``svg`` is trusted markup, and empty where ``lacks`` says why."""

    anchor: str
    reading: str
    notes: tuple[str, ...]
    svg: str
    lacks: str


@dataclass(frozen=True, slots=True)
class GraphGroup:
    """The flame graphs of one backend, all over the same seconds: two beside each other, and the others below."""

    backend: BackendName
    made: str
    beside: tuple[Drawn, ...]
    below: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How the graph of one backend differs from another's; ``svg`` is trusted markup."""

    kind: FlameKind
    now: BackendName
    before: BackendName
    svg: str


@dataclass(frozen=True, slots=True)
class Note:
    """A warning with its remedy; ``entries`` pair what it said with the trials that said it."""

    code: str
    remedy: str
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Discarded:
    """A trial that counts for nothing, and why; ``is_repeated``: its second attempt counts."""

    where: str
    reasons: tuple[tuple[str, str], ...]
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """The first error that a backend gave."""

    where: str
    errors: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """All that the report shows of one workload. A chart without data is None."""

    anchor: str
    workload: str
    called: str
    kind: Kind | None
    latency: Pair | None
    throughput: str | None
    probe: str | None
    request: Stacked
    threads: Stacked
    table: Table
    trial_columns: tuple[str, ...]
    trials: tuple[TrialRow, ...]
    details: Details | None
    graphs: tuple[GraphGroup, ...]
    differences: tuple[Difference, ...]
    notes: tuple[Note, ...]
    discarded: tuple[Discarded, ...]
    failures: tuple[Failure, ...]


def build_section(
    evidence: Evidence,
    workload: str,
    anchor: str,
    graphs: Mapping[str, str],
    differences: Sequence[Difference] = (),
) -> Section:
    """Build the section of one workload; ``graphs`` maps :attr:`Flame.path` to markup."""
    rows = known.collect(evidence, workload)
    groups = _graph_groups(evidence, workload, anchor, graphs)
    link = _linking(groups, anchor)
    return Section(
        anchor=anchor,
        workload=workload,
        called=_called(evidence, workload),
        kind=_kind(evidence, workload),
        latency=_latency(rows),
        throughput=_drawn(_measured(rows, known.rate), charts.throughput),
        probe=_drawn(_measured(rows, known.ping), charts.probe),
        request=_request(rows, link),
        threads=_threads(rows, link),
        table=backend_table(rows, known.find_verdict(evidence, workload)),
        trial_columns=TRIAL_COLUMNS,
        trials=trial_rows(rows),
        details=request_details(rows),
        graphs=groups,
        differences=tuple(differences),
        notes=_notes(rows),
        discarded=_discarded(rows),
        failures=_failures(rows),
    )


def _measured(rows: tuple[Facts, ...], figure: Callable[[Facts], T | None]) -> dict[BackendName, T]:
    return {facts.backend: value for facts in rows if (value := figure(facts)) is not None}


def _drawn(rows: dict[BackendName, T], draw: Callable[[dict[BackendName, T]], str]) -> str | None:
    return draw(rows) if rows else None


def _pair(draw: Callable[[int], str]) -> Pair:
    return Pair(draw(charts.WIDE), draw(charts.NARROW))


def _latency(rows: tuple[Facts, ...]) -> Pair | None:
    curves = {facts.backend: facts.work_ms for facts in rows if facts.work_ms}
    return _pair(lambda width: percentile_chart(curves, width)) if curves else None


def _request(rows: tuple[Facts, ...], link: stacks.Link) -> Stacked:
    """Draw where the mean request's time went."""
    found = _measured(rows, known.anatomy)
    return Stacked(
        chart=_pair(lambda width: stacks.anatomy(found, width, link)) if found else None,
        reading=" ".join(
            ("The mean request, from the client's send to its answer.", *_told_apart(found.values()))
        ),
        legend=_legend([anatomy.drawn(row) for row in found.values()], STAGES),
        lacks="" if found else "No anatomy was measured.",
    )


def _told_apart(found: Collection[Anatomy]) -> Iterator[str]:
    """Say whose figures the parts of the run are, where anything told them apart."""
    if any(row.unexplained is not None for row in found):
        yield "Inside the function as the lens saw it."
    if any(stacks.excess_told(row) for row in found):
        yield "Where a split exceeds the run, it is drawn shorter than it was measured."


def _threads(rows: tuple[Facts, ...], link: stacks.Link) -> Stacked:
    """Draw where the time of the loop's thread and of the workers went."""
    found, gil = _measured(rows, known.lens), known.with_gil(rows)
    seen = [crew.spent for reading in found.values() for crew in stacks.crews(reading)]
    holds = any(stacks.held_share(spent) is not None for spent in seen)
    line = " The line below a bar: holding the GIL." if holds else ""
    return Stacked(
        chart=_pair(lambda width: stacks.threads(found, width, link, gil=gil)) if seen else None,
        reading=f"Shares of the threads' wall time, seen from outside.{line}" if seen else "",
        legend=_legend([stacks.shares(spent) for spent in seen], STATES),
        lacks=_unwatched(rows),
        holds=holds,
    )


def _unwatched(rows: tuple[Facts, ...]) -> str:
    """Say where no lens watched, and where to read why."""
    tried = [facts for facts in rows if facts.valid]
    missing = [facts for facts in tried if known.lens(facts) is None]
    if not missing:
        return "" if tried else "No valid trial yet."
    which = (
        "this workload"
        if len(missing) == len(tried)
        else formats.listing([facts.backend for facts in missing])
    )
    why = any(
        caution.code == NO_LENS for facts in missing for trial in facts.valid for caution in trial.warnings
    )
    what = "waited for the GIL" if known.with_gil(rows) else "were off the CPU"
    return f"No lens watched {which}: how long threads {what} is not known." + (
        " The reason stands below." if why else ""
    )


def _legend(
    parts: Sequence[Mapping[str, float]], words: Mapping[str, Stage]
) -> tuple[tuple[str, Stage], ...]:
    """Explain the parts that are wide enough anywhere to be seen."""
    widest = {
        name: max((row.get(name, 0.0) / (sum(row.values()) or 1) for row in parts), default=0.0)
        for name in words
    }
    return tuple((name, meaning) for name, meaning in words.items() if widest[name] >= stacks.SEEN)


def _kind(evidence: Evidence, workload: str) -> Kind | None:
    found = known.find_target(evidence, workload)
    return put_in_words(found.classification) if found and found.classification else None


def _called(evidence: Evidence, workload: str) -> str:
    """Write the call that was measured: the target and its arguments."""
    target = known.find_target(evidence, workload)
    if target is None:
        return workload
    arguments = ", ".join(
        f"{name}={json.dumps(value, default=str)}" for name, value in target.arguments.items()
    )
    return f"{target.reference}({arguments})"


def _graph_groups(
    evidence: Evidence, workload: str, anchor: str, graphs: Mapping[str, str]
) -> tuple[GraphGroup, ...]:
    flames = {
        (flame.backend, flame.kind): flame for flame in evidence.run.flames if flame.workload == workload
    }
    found = []
    for backend in BackendName:
        drawn = {
            kind: _graph(flames[backend, kind], anchor, graphs)
            for kind in FlameKind
            if (backend, kind) in flames
        }
        if drawn:
            kinds = [*(kind for kind in SIDE_BY_SIDE if kind in drawn), *(drawn.keys() - set(SIDE_BY_SIDE))]
            same = " the same" if len(kinds) > 1 else ""
            seconds = formats.seconds(flames[backend, kinds[0]].seconds)
            made = f"{formats.listing(kinds)}, over{same} {seconds}"
            beside = tuple(drawn.pop(kind) for kind in SIDE_BY_SIDE if kind in drawn)
            found.append(GraphGroup(backend, made, beside, tuple(drawn.values())))
    return tuple(found)


def _graph(flame: Flame, anchor: str, graphs: Mapping[str, str]) -> Drawn:
    svg = graphs.get(flame.path, "")
    missing = "This graph is not in the report." if flame.samples else _nobody(flame)
    return Drawn(
        anchor=_graph_anchor(anchor, flame.backend, flame.kind),
        reading=READING[flame.kind],
        notes=flame.notes,
        svg=svg,
        lacks="" if svg else missing,
    )


def _nobody(flame: Flame) -> str:
    """Say that nobody was seen, and how hard it was looked."""
    lost = f", {formats.count(flame.lost)} stacks lost" if flame.lost else ""
    return f"{NOBODY[flame.kind]} ({flame.source}, {flame.rate_hz} Hz for {formats.seconds(flame.seconds)}{lost})"


def _graph_anchor(anchor: str, backend: BackendName, kind: FlameKind) -> str:
    return f"{anchor}-{backend}-{kind}"


def _linking(groups: Sequence[GraphGroup], anchor: str) -> stacks.Link:
    """Return what leads from a part of a backend's bar to the graph that explains it."""
    anchors = {drawn.anchor for group in groups for drawn in (*group.beside, *group.below)}

    def link(backend: BackendName, part: str) -> str | None:
        target = _graph_anchor(anchor, backend, GRAPH_OF[part]) if part in GRAPH_OF else ""
        return f"#{target}" if target in anchors else None

    return link


def _notes(rows: tuple[Facts, ...]) -> tuple[Note, ...]:
    """Gather equal warnings of valid trials; those of the others are told where they are discarded."""
    found: dict[tuple[str, str], dict[str, list[Trial]]] = {}
    for trial in (trial for facts in rows for trial in facts.valid):
        for caution in trial.warnings:
            messages = found.setdefault((caution.code, caution.remedy), {})
            messages.setdefault(caution.message, []).append(trial)
    return tuple(
        Note(code, remedy, tuple((message, _places(trials)) for message, trials in messages.items()))
        for (code, remedy), messages in found.items()
    )


def _discarded(rows: tuple[Facts, ...]) -> tuple[Discarded, ...]:
    trials = [trial for facts in rows for trial in (*facts.trials, *facts.twins)]
    counted = {trial.place_in_plan for trial in trials if trial.valid}
    return tuple(
        Discarded(
            _where(trial),
            tuple((caution.message, caution.remedy) for caution in trial.warnings),
            is_repeated=trial.place_in_plan in counted,
        )
        for trial in trials
        if not trial.valid
    )


def _failures(rows: tuple[Facts, ...]) -> tuple[Failure, ...]:
    """Take the first error of each backend."""
    firsts = (next((trial for trial in facts.trials if trial.first_error), None) for facts in rows)
    return tuple(
        Failure(_where(trial), formats.many(trial.errors, "error"), taken_apart(trial.first_error or "").text)
        for trial in firsts
        if trial is not None
    )


def _places(trials: list[Trial]) -> str:
    """Name the trials, backend by backend: ``threads, blocks 1 and 3``."""
    blocks: dict[BackendName, list[str]] = {}
    for trial in trials:
        blocks.setdefault(trial.backend, []).append(formats.block(trial.block))
    return "; ".join(
        f"{backend}, {'block' if len(numbers) == 1 else 'blocks'} {formats.listing(numbers)}"
        for backend, numbers in blocks.items()
    )


def _where(trial: Trial) -> str:
    return f"{trial.backend}, block {place(trial)}"
