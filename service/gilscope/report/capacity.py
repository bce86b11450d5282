"""A search for capacities: latency over the rate that was offered, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gilscope.model import BackendName, Capacity, CapacityStep, Evidence, Scalability
from gilscope.objective import parse_slo
from gilscope.quantiles import is_rough
from gilscope.report import charts, formats
from gilscope.report.charts import coloured
from gilscope.report.scales import Scale, log_domain
from gilscope.report.sections import Pair
from gilscope.report.svg import dot, element, line, path, picture, words

_LEFT, _TOP, _BOTTOM, _RIGHT = 52, 26, 42, 24
ROUGH = "~"
_KEPT = {True: "kept", False: "broken", None: "spoilt: counts for nothing"}


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one backend: the cells of the table, every step's cells, and the law of its curve in words.

    A ``twin`` is the second search on the backend.
    """

    backend: BackendName
    cells: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]
    law: str
    twin: bool


@dataclass(frozen=True, slots=True)
class CapacitySection:
    """All that the report shows of one workload's capacities."""

    anchor: str
    workload: str
    slo: str
    chart: Pair | None
    rows: tuple[Found, ...]
    rough: bool


def build_capacities(evidence: Evidence, anchors: Mapping[str, str]) -> tuple[CapacitySection, ...]:
    """Build a section for each workload whose capacities were searched for; ``anchors`` maps it to its id."""
    run = evidence.run
    if run.plan.slo is None:
        return ()
    sections = []
    for workload, anchor in anchors.items():
        own = [one for one in run.capacities if one.workload == workload]
        rows = tuple(_found(capacity) for capacity in own)
        rough = any(cell.startswith(ROUGH) for row in rows for step in row.steps for cell in step)
        sections.append(
            CapacitySection(
                anchor, workload, run.plan.slo, _charts([one for one in own if not one.twin]), rows, rough
            )
        )
    return tuple(sections)


def _found(capacity: Capacity) -> Found:
    figures = (capacity.rate, capacity.broken, capacity.confirmed)
    return Found(
        capacity.backend,
        (*(formats.significant(rate) for rate in figures), str(len(capacity.steps)), capacity.note),
        tuple(_cells(step, parse_slo(capacity.slo).quantile) for step in (*capacity.steps, *capacity.curve)),
        describe_law(capacity.law, capacity.curve) if capacity.law else "",
        capacity.twin,
    )


def _cells(step: CapacityStep, quantile: float) -> tuple[str, ...]:
    rough = ROUGH if is_rough(step.requests, quantile) else ""
    return (
        step.purpose,
        formats.significant(step.rate),
        formats.significant(step.throughput_rps),
        formats.significant(step.in_flight),
        rough + formats.milliseconds(step.latency_ms) if step.latency_ms is not None else formats.ABSENT,
        _KEPT[step.kept],
    )


def describe_law(law: Scalability, curve: Sequence[CapacityStep]) -> str:
    """Say what law the curve follows, with the residuals, or why none was fitted."""
    if law.refusal:
        return f"Universal Scalability Law: not fitted; {law.refusal}"
    largest = max((step.in_flight or 0.0 for step in curve), default=0.0)
    worst = max(map(abs, law.residuals), default=0.0)
    peak = "; throughput never falls"
    if law.peak_in_flight is not None and law.peak_rps is not None:
        beyond = ", beyond what was measured" if law.peak_in_flight > largest else ""
        peak = (
            f"; it peaks at {formats.significant(law.peak_in_flight)} in flight with "
            f"{formats.significant(law.peak_rps)} requests/s{beyond}"
        )
    residuals = ", ".join(f"{residual:+.1%}" for residual in law.residuals)
    return (
        f"Universal Scalability Law: {formats.significant(law.gamma)} requests/s for one in flight, contention "
        f"{law.alpha:.3g}, coherency {law.beta:.3g}{peak}. Residuals: {residuals}; at most {worst:.1%}"
    )


def _charts(capacities: Sequence[Capacity]) -> Pair | None:
    if not any(step.latency_ms for capacity in capacities for step in (*capacity.steps, *capacity.curve)):
        return None
    return Pair(capacity_chart(capacities, charts.WIDE), capacity_chart(capacities, charts.NARROW))


def capacity_chart(capacities: Sequence[Capacity], width: int) -> str:
    """Draw every rate that was tried: offered rate (log) to the right, latency (log) upwards, the objective a line.

    A full dot kept the objective, a pale one did not or was spoilt; a curve's points are joined.
    """
    drawn = {capacity.backend: _points([*capacity.steps, *capacity.curve]) for capacity in capacities}
    slo = capacities[0].slo
    limit = parse_slo(slo).limit_ms
    rates = [step.rate for steps in drawn.values() for step in steps]
    latencies = [step.latency_ms or 0.0 for steps in drawn.values() for step in steps]
    height = 360 if width > 500 else 300
    x = Scale(*log_domain(rates), _LEFT, width - _RIGHT, log=True)
    y = Scale(*log_domain([*latencies, limit]), height - _BOTTOM, _TOP, log=True)
    told = "; ".join(
        f"{capacity.backend} up to {formats.significant(capacity.rate)} requests/s" for capacity in capacities
    )
    return picture(
        width,
        height,
        f"Latency by offered rate, {slo} kept: {told}",
        _axes(x, y, limit, slo),
        *(_backend(capacity, drawn[capacity.backend], x, y) for capacity in capacities),
    )


def _points(steps: Sequence[CapacityStep]) -> list[CapacityStep]:
    return [step for step in steps if step.latency_ms]


def _axes(x: Scale, y: Scale, limit: float, slo: str) -> str:
    parts = [
        words(0, 12, slo.partition("=")[0], class_="tick"),
        words(x.end, y.start + 36, "requests offered per second", class_="tick", text_anchor="end"),
    ]
    for tick in y.ticks():
        parts.append(line(x.start, y(tick), x.end, y(tick), "grid"))
        label = formats.tick_milliseconds(tick)
        parts.append(words(x.start - 8, y(tick) + 4, label, class_="tick", text_anchor="end"))
    for tick in x.ticks():
        parts.append(line(x(tick), y.end, x(tick), y.start, "grid"))
        parts.append(words(x(tick), y.start + 18, f"{tick:g}", class_="tick", text_anchor="middle"))
    parts.append(line(x.start, y(limit), x.end, y(limit), "reference"))
    parts.append(words(x.start + 6, y(limit) - 6, slo, class_="tick"))
    return element("g", *parts, class_="axis")


def _backend(capacity: Capacity, steps: Sequence[CapacityStep], x: Scale, y: Scale) -> str:
    curve = sorted(_points(capacity.curve), key=lambda step: step.rate)
    joined = path([(x(step.rate), y(step.latency_ms or 0.0)) for step in curve], "curve") if curve else ""
    dots = []
    for step in steps:
        at = f"{capacity.backend}, {formats.significant(step.rate)} requests/s offered"
        hover = f"{at}: {formats.milliseconds(step.latency_ms or 0.0)}, {_KEPT[step.kept]}"
        mark = dot(x(step.rate), y(step.latency_ms or 0.0), 4, "dot", hover)
        dots.append(mark if step.kept else element("g", mark, opacity=0.4))
    pole = ""
    if capacity.rate is not None:
        place = x(capacity.rate)
        pole = line(place, y.end, place, y.start, "thread")
    return coloured(capacity.backend, pole, joined, *dots)
