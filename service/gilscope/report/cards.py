"""The verdicts at the top of the report: one card per workload."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gilscope.model import BackendName, Evidence, Interval, NoiseFloor, Plan, Target, Verdict
from gilscope.report import charts, formats
from gilscope.report.classes import Kind, put_in_words
from gilscope.report.facts import find_target, find_verdict
from gilscope.report.scales import log_domain

Excluded = tuple[tuple[BackendName, str], ...]
"""Backends that were not tried, each with the reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The big words: what leads up to the backend, and the backend itself (None where there is no answer)."""

    lead: str
    backend: BackendName | None


@dataclass(frozen=True, slots=True)
class Visual:
    """A small picture under a heading."""

    heading: str
    svg: str


@dataclass(frozen=True, slots=True)
class Card:
    """One workload's verdict, ready to be shown.

    ``excluded`` pairs backends with the reason, those left out that :func:`untried` names for all workloads.
    ``kind`` is what the function does to the GIL, None where nobody asked.
    """

    anchor: str
    workload: str
    kind: Kind | None
    answer: Answer
    reason: str
    caveats: tuple[str, ...]
    noise: str
    excluded: Excluded
    visuals: tuple[Visual, ...]


@dataclass(frozen=True, slots=True)
class _Domains:
    """Axes that all cards share, so that they compare down the page."""

    ratio: tuple[float, float]
    rate: tuple[float, float]
    ping: tuple[float, float]


def build_cards(evidence: Evidence, anchors: Mapping[str, str]) -> tuple[Card, ...]:
    """Build a card for each workload; ``anchors`` maps a workload to the id of its section."""
    verdicts = evidence.run.verdicts
    domains = _Domains(
        ratio=_domain([verdict.throughput_ratio for verdict in verdicts], (0.45, 2.2)),
        rate=_domain([verdict.throughput_rps for verdict in verdicts]),
        ping=_domain([verdict.probe_p99_ms for verdict in verdicts]),
    )
    return tuple(_card(evidence, workload, anchor, domains) for workload, anchor in anchors.items())


def _card(evidence: Evidence, workload: str, anchor: str, domains: _Domains) -> Card:
    verdict, target = find_verdict(evidence, workload), find_target(evidence, workload)
    found = target.classification if target else None
    return Card(
        anchor=anchor,
        workload=workload,
        kind=put_in_words(found) if found else None,
        answer=answer(verdict),
        reason=verdict.reason if verdict else "The run has no verdict on this workload yet.",
        caveats=verdict.caveats if verdict else (),
        noise=describe_noise(verdict.noise) if verdict and verdict.noise else "",
        excluded=_excluded(target, untried(evidence.run.plan)) if target else (),
        visuals=tuple(_visuals(verdict, domains)) if verdict else (),
    )


def describe_noise(noise: NoiseFloor) -> str:
    """Say how much a backend differs from itself."""
    pairs = formats.many(noise.pairs, "A/A pair")
    ratios = (("throughput", noise.throughput), ("p99", noise.p99), ("/ping p99", noise.probe_p99))
    *first, last = (
        f"{_against_itself(ratio)} the {name}" for name, ratio in ratios if ratio and math.isfinite(ratio.mid)
    )
    told = " and ".join(filter(None, (", ".join(first), last)))
    return f"Noise floor, from {pairs}: {noise.backend} against itself has {told}"


def _against_itself(ratio: Interval) -> str:
    known = math.isfinite(ratio.low + ratio.high)
    return f"{ratio.mid:.2f}x" + (f" ({ratio.low:.2f} to {ratio.high:.2f})" if known else "")


def untried(plan: Plan) -> Excluded:
    """Return the backends that no workload was tried on, each with its one reason."""
    reasons = [set(target.excluded.items()) for target in plan.targets]
    return tuple(sorted(set.intersection(*reasons))) if reasons else ()


def _excluded(target: Target, known: Excluded) -> Excluded:
    return tuple(pair for pair in target.excluded.items() if pair not in known)


def answer(verdict: Verdict | None) -> Answer:
    """Say a verdict in two or three words."""
    if verdict is None:
        return Answer("no verdict yet", None)
    if verdict.winner is not None:
        return Answer("", verdict.winner)
    if verdict.recommended is not None:
        return Answer("tie: use" if len(verdict.ties) > 1 else "nothing to compare with", verdict.recommended)
    return Answer("undecided" if verdict.throughput_rps else "no answer", None)


def _visuals(verdict: Verdict, domains: _Domains) -> list[Visual]:
    visuals = [_throughput(verdict, domains)]
    if verdict.probe_p99_ms:
        heading = "What the neighbours felt: /ping p99"
        about = f"{verdict.workload}, /ping p99"
        svg = charts.forest(_ordered(verdict.probe_p99_ms), domains.ping, charts.LATENCIES, about)
        visuals.append(Visual(heading, svg))
    return [visual for visual in visuals if visual.svg]


def _throughput(verdict: Verdict, domains: _Domains) -> Visual:
    """Show ratios against the baseline; the absolute figures where there is no baseline."""
    if verdict.throughput_ratio:
        heading = f"Throughput against {verdict.baseline}"
        rows, about = (
            _ordered(verdict.throughput_ratio),
            f"{verdict.workload}, throughput against {verdict.baseline}",
        )
        return Visual(heading, charts.forest(rows, domains.ratio, charts.RATIOS, about, reference=1.0))
    if verdict.throughput_rps:
        rows, about = _ordered(verdict.throughput_rps), f"{verdict.workload}, throughput"
        return Visual("Throughput", charts.forest(rows, domains.rate, charts.RATES, about))
    return Visual("Throughput", "")


def _domain(
    tables: Sequence[Mapping[BackendName, Interval]], within: tuple[float, float] | None = None
) -> tuple[float, float]:
    return log_domain([end for table in tables for interval in table.values() for end in interval], within)


def _ordered(rows: Mapping[BackendName, Interval]) -> dict[BackendName, Interval]:
    return {backend: rows[backend] for backend in BackendName if backend in rows}
