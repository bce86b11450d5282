"""The report as one HTML file: it opens offline, and no request leaves it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from gilscope import palette
from gilscope.model import BackendName, Evidence, Run
from gilscope.report import charts, formats
from gilscope.report.capacity import CapacitySection, build_capacities
from gilscope.report.cards import Card, Excluded, build_cards, untried
from gilscope.report.facts import how_far, workloads
from gilscope.report.growth import describe_break_evens, growth_chart
from gilscope.report.method import Method, build_method, offered, pythons_of
from gilscope.report.pythons import PythonSection, build_pythons
from gilscope.report.sections import Difference, Pair, Section, build_section

if TYPE_CHECKING:
    from gilscope.report.textbook import TextbookPage


@dataclass(frozen=True, slots=True)
class Growth:
    """How throughput changes with the size of the work: sentences and a picture, wide and narrow."""

    parameter: str
    sentences: tuple[str, ...]
    chart: Pair


@dataclass(frozen=True, slots=True)
class Page:
    """All that the template shows, in words and pictures."""

    name: str
    started: str
    backends: tuple[BackendName, ...]
    summary: str
    untried: Excluded
    banners: tuple[str, ...]
    cards: tuple[Card, ...]
    sections: tuple[Section, ...]
    capacities: tuple[CapacitySection, ...]
    growth: Growth | None
    pythons: tuple[PythonSection, ...]
    method: Method
    profiled: bool
    gilscope: str


def render(
    evidence: Evidence,
    *,
    graphs: Mapping[str, str],
    differences: Mapping[str, Sequence[Difference]] | None = None,
    viewer_style: str = "",
    viewer_script: str = "",
    textbook: TextbookPage | None = None,
) -> str:
    """Render a run as one HTML document.

    Args:
        evidence: the run with its raw samples.
        graphs: :attr:`Flame.path <gilscope.model.Flame.path>` to inline SVG. This markup is trusted and
            embedded as it is; everything else is escaped.
        differences: how graphs differ, by workload; their markup is trusted, too.
        textbook: the textbook's table, built by :mod:`gilscope.report.textbook`, where the run has one.
        viewer_style: CSS of the flame graphs, embedded once.
        viewer_script: JavaScript of the flame graphs, embedded once. No other script may run in the page:
            its Content-Security-Policy names this one by its SHA-256, and allows no request at all.
    """
    return render_page(
        "report.html.jinja",
        viewer_style=viewer_style,
        viewer_script=viewer_script,
        page=_page(evidence, graphs, differences or {}),
        textbook=textbook,
    )


def render_page(template: str, *, viewer_style: str, viewer_script: str, **values: object) -> str:
    """Render a template with the report's style; ``viewer_script`` is the only script that may run in the page."""
    environment = _environment()
    source = _source(environment, "report.css")
    script = _inert(viewer_script, "script").replace("\r\n", "\n")
    return environment.get_template(template).render(
        style="\n".join((palette.css(), source, _inert(viewer_style, "style"))),
        script=script,
        policy=_policy(script),
        **values,
    )


def build_growth(run: Run) -> Growth | None:
    """Draw a sweep; None for a run without one, or without a verdict yet."""
    sweep, verdicts = run.plan.sweep, {verdict.workload: verdict for verdict in run.verdicts}
    if sweep is None:
        return None
    known = [
        (size, verdicts[target.workload])
        for size, target in zip(sweep.sizes, run.plan.targets, strict=True)
        if target.workload in verdicts and verdicts[target.workload].throughput_ratio
    ]
    if not known:
        return None
    # Ratios against another backend are of another scale.
    baseline = known[0][1].baseline
    known = [(size, verdict) for size, verdict in known if verdict.baseline is baseline]

    def draw(width: int) -> str:
        return growth_chart(
            [size for size, _ in known],
            [verdict.throughput_ratio for _, verdict in known],
            run.break_evens,
            parameter=sweep.parameter,
            width=width,
            baseline=baseline,
        )

    return Growth(
        sweep.parameter,
        tuple(describe_break_evens(run.break_evens, sweep.parameter)),
        Pair(draw(charts.WIDE), draw(charts.NARROW)),
    )


def _environment() -> Environment:
    loader = PackageLoader("gilscope.report", "templates")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    scripts = f"'sha256-{digest}'" if script else "'none'"
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {scripts}; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _inert(source: str, element: str) -> str:
    """Keep a style or script from closing its own element."""
    return re.sub(rf"</(?={element})", r"<\/", source, flags=re.IGNORECASE)


def _page(
    evidence: Evidence, graphs: Mapping[str, str], differences: Mapping[str, Sequence[Difference]]
) -> Page:
    run = evidence.run
    anchors = {workload: f"workload-{at}" for at, workload in enumerate(workloads(evidence), start=1)}
    return Page(
        name=run.name,
        started=formats.moment(run.started_at),
        backends=tuple(name for name in BackendName if name in run.plan.backends),
        summary=_summary(run, len(anchors)),
        untried=untried(run.plan),
        banners=tuple(_banners(run)),
        cards=build_cards(evidence, anchors),
        sections=tuple(
            build_section(evidence, name, anchor, graphs, differences.get(name, ()))
            for name, anchor in anchors.items()
            if run.plan.slo is None
        ),
        capacities=build_capacities(evidence, anchors),
        growth=build_growth(run),
        pythons=build_pythons(evidence),
        method=build_method(run),
        profiled=bool(run.plan.profile_seconds),
        gilscope=run.gilscope,
    )


def _summary(run: Run, workload_count: int) -> str:
    plan = run.plan
    functions = len({target.name_in_service for target in plan.targets}) if plan.pythons else workload_count
    return (
        f"{formats.many(functions, 'workload')} behind one aiohttp service: {offered(plan)},"
        f" {formats.seconds(plan.load.seconds)} per trial, {formats.many(plan.blocks, 'block')}."
        f" {_where(run)}."
    )


def _where(run: Run) -> str:
    """Say which Pythons the service ran on, and on how many cores where it ran on this machine."""
    if run.plan.url is not None:
        pythons = pythons_of(run)
        return f"A service that ran already{f', on CPython {formats.listing(pythons)}' if pythons else ''}"
    names = [one.name for one in run.plan.pythons]
    python = f"CPython {formats.listing(names)}" if names else run.machine.python
    return f"{python}, {formats.many(run.machine.cores, 'core')}"


def _banners(run: Run) -> Iterator[str]:
    """Yield what one must know before anything else: that the run is partial, and what changed before it was resumed."""
    if not run.complete:
        yield (
            f"This run is partial: {how_far(run)}. Verdicts may still change; unless it still runs,"
            " gilscope compare --resume finishes it."
        )
    for caution in run.cautions:
        yield f"{caution.message[:1].upper()}{caution.message[1:]}: {caution.remedy}."
