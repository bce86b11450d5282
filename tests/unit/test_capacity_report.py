"""Facts about how the report tells a search for capacities: its table, its picture, its law in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from factories import make_evidence

from gilscope.errors import UsageError
from gilscope.model import BackendName, Capacity, CapacityStep, Evidence, Scalability
from gilscope.objective import parse_slo
from gilscope.report import charts
from gilscope.report.capacity import build_capacities, capacity_chart, describe_law
from gilscope.report.method import build_method

ASYNCIO, THREADS, *_ = BackendName
HOSTILE = '<script>alert("x")</script>&'
NO_BREAK, DASH = "\N{NO-BREAK SPACE}", "\N{EN DASH}"
WIDTHS = (charts.WIDE, charts.NARROW)
TICK_PX = 6.5
"""Width of a character of a tick's label (px), on the safe side."""


def step(
    rate: float,
    latency_ms: float | None,
    *,
    kept: bool | None = True,
    purpose: str = "ramp",
    in_flight: float | None = 1.5,
) -> CapacityStep:
    return CapacityStep(rate, purpose, kept, rate * 0.99, latency_ms, in_flight, 2_000)


STEPS = (
    step(16, 20.0),
    step(32, 24.0),
    step(64, 900.0, kept=False),
    step(45.3, None, kept=None, in_flight=None),
    step(45.3, 60.0, purpose="bisect"),
    step(40.8, 50.0, purpose="confirm"),
)
CURVE = tuple(
    step(share * 45.3, 10.0 * 2**at, purpose="curve") for at, share in enumerate((1.3, 0.25, 0.7, 1.0, 0.1))
)
LAW = Scalability(52.1, 0.12, 0.004, 14.8, 96.3, (0.012, -0.034, 0.0))
FOUND = Capacity("primes", THREADS, "p99=200ms", 45.3, 46.8, 40.8, "", STEPS, CURVE, LAW)
NOTHING = Capacity(
    "primes", ASYNCIO, "p99=200ms", None, 0.5, None, "Even 0.5 requests/s break it.", (step(0.5, 2_000, kept=False),)
)  # fmt: skip


def evidence_of(*capacities: Capacity, slo: str | None = "p99=200ms") -> Evidence:
    run = make_evidence().run
    return Evidence(replace(run, plan=replace(run.plan, slo=slo), trials=(), capacities=capacities))


def draw(*capacities: Capacity, width: int = charts.WIDE) -> ET.Element:
    return ET.fromstring(capacity_chart(capacities, width))


def marked(root: ET.Element, backend: str, class_: str) -> list[ET.Element]:
    groups = [group for group in root.iter("g") if group.get("class") == f"b-{backend}"]
    return [mark for group in groups for mark in group.iter() if mark.get("class") == class_]


def number(element: ET.Element, name: str) -> float:
    return float(element.attrib[name])


def plain(text: str) -> str:
    return text.replace(NO_BREAK, " ")


# The sections.


def test_a_run_without_an_objective_has_no_section() -> None:
    assert build_capacities(evidence_of(FOUND, slo=None), {"primes": "workload-1"}) == ()


def test_each_workload_has_a_section_with_its_own_capacities() -> None:
    other = replace(FOUND, workload="sha256", backend=ASYNCIO)
    first, second, third = build_capacities(
        evidence_of(NOTHING, other, FOUND),
        {"primes": "workload-1", "sha256": "workload-2", "late": "workload-3"},
    )
    assert [(one.anchor, one.workload, one.slo) for one in (first, second, third)] == [
        ("workload-1", "primes", "p99=200ms"),
        ("workload-2", "sha256", "p99=200ms"),
        ("workload-3", "late", "p99=200ms"),
    ]
    assert [row.backend for row in first.rows] == [ASYNCIO, THREADS]
    assert [row.backend for row in second.rows] == [ASYNCIO]
    assert (third.rows, third.chart) == ((), None)
    assert first.chart is not None


def test_a_row_has_what_was_found_and_how_many_trials_that_took() -> None:
    ((nothing, found),) = [
        section.rows for section in build_capacities(evidence_of(NOTHING, FOUND), {"primes": "workload-1"})
    ]
    assert found.cells == ("45.3", "46.8", "40.8", "6", "")
    assert nothing.cells == (DASH, "0.500", DASH, "1", "Even 0.5 requests/s break it.")
    assert nothing.law == ""
    assert found.law == describe_law(LAW, CURVE)


def test_every_step_is_told_and_those_of_the_curve_come_last() -> None:
    (section,) = build_capacities(evidence_of(FOUND), {"primes": "workload-1"})
    (row,) = section.rows
    assert [plain(" | ".join(cells)) for cells in row.steps[:4]] == [
        "ramp | 16.0 | 15.8 | 1.50 | 20.0 ms | kept",
        "ramp | 32.0 | 31.7 | 1.50 | 24.0 ms | kept",
        "ramp | 64.0 | 63.4 | 1.50 | 900 ms | broken",
        f"ramp | 45.3 | 44.8 | {DASH} | {DASH} | spoilt: counts for nothing",
    ]
    assert [cells[0] for cells in row.steps] == ["ramp"] * 4 + ["bisect", "confirm"] + ["curve"] * 5


def test_a_step_of_few_requests_and_a_second_search_are_marked() -> None:
    few = replace(FOUND.steps[0], requests=1_999)
    again = replace(FOUND, steps=(few,), curve=(), twin=True)
    sections = [
        build_capacities(evidence_of(*found), {"primes": "workload-1"})[0]
        for found in ([FOUND], [FOUND, again])
    ]
    assert [section.rough for section in sections] == [False, True]
    assert [(row.twin, plain(row.steps[0][4])) for row in sections[1].rows] == [
        (False, "20.0 ms"),
        (True, "~20.0 ms"),
    ]
    assert sections[0].chart == sections[1].chart, "a colour stands for one search"


def test_without_any_latency_there_is_nothing_to_draw() -> None:
    silent = replace(FOUND, steps=(step(16, None, kept=False), step(8, 0.0)), curve=())
    (section,) = build_capacities(evidence_of(silent), {"primes": "workload-1"})
    assert section.chart is None
    assert len(section.rows[0].steps) == 2


# The law in words.


def test_a_law_is_told_with_its_peak_and_its_residuals() -> None:
    curve = [step(10, 5.0, in_flight=at) for at in (0.5, 20.0)]
    assert describe_law(LAW, curve) == (
        "Universal Scalability Law: 52.1 requests/s for one in flight, contention 0.12, coherency 0.004; "
        "it peaks at 14.8 in flight with 96.3 requests/s. Residuals: +1.2%, -3.4%, +0.0%; at most 3.4%"
    )


@pytest.mark.parametrize(("largest", "beyond"), [(14.8, False), (14.7, True), (None, True)])
def test_a_peak_that_was_not_reached_is_told_to_be_beyond(largest: float | None, beyond: bool) -> None:  # noqa: FBT001
    told = describe_law(LAW, [step(10, 5.0, in_flight=largest)])
    assert (", beyond what was measured" in told) is beyond


def test_a_law_without_a_peak_never_falls() -> None:
    law = replace(LAW, beta=0.0, peak_in_flight=None, peak_rps=None)
    assert "coherency 0; throughput never falls. Residuals" in describe_law(law, CURVE)


def test_a_refusal_is_told_instead() -> None:
    refused = Scalability(refusal="4 different loads are too few")
    assert describe_law(refused, CURVE) == (
        "Universal Scalability Law: not fitted; 4 different loads are too few"
    )


# The limit.


@pytest.mark.parametrize(
    ("slo", "limit"),
    [
        ("p99=200ms", 200.0),
        ("max=1.5s", 1_500.0),
        ("p99.9=0.25ms", 0.25),
        ("p50=60s", 60_000.0),
        ("p95=1s", 1_000.0),
    ],
)
def test_the_limit_of_an_objective_is_that_of_the_search(slo: str, limit: float) -> None:
    assert parse_slo(slo).limit_ms == limit
    assert parse_slo(str(parse_slo(slo))).limit_ms == limit


@pytest.mark.parametrize("slo", ["", "p99", "p99=", "p99=200", "p99=200us", "200ms", "p99=-1s", HOSTILE])
def test_what_is_no_objective_has_no_limit(slo: str) -> None:
    with pytest.raises(UsageError, match="not a latency objective"):
        parse_slo(slo)


# The picture.

TALL = replace(FOUND, steps=(*STEPS, step(90_000, 59_000.0, kept=False), step(0.5, 0.4)))
ONE = replace(NOTHING, slo="max=1s")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("capacities", [(FOUND,), (NOTHING, FOUND), (TALL,), (ONE,)])
def test_the_chart_stays_on_its_paper(width: int, capacities: Sequence[Capacity]) -> None:
    root = draw(*capacities, width=width)
    assert number(root, "width") == width
    for mark in root.iter():
        for across in ("x", "x1", "x2", "cx"):
            assert 0 <= float(mark.get(across, 0)) <= width
        for down in ("y", "y1", "y2", "cy"):
            assert 0 <= float(mark.get(down, 0)) <= number(root, "height")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("capacities", [(NOTHING, FOUND), (TALL,), (ONE,)])
def test_its_words_stay_on_the_paper_too(width: int, capacities: Sequence[Capacity]) -> None:
    for text in draw(*capacities, width=width).iter("text"):
        room = TICK_PX * len(text.text or "")
        begins = number(text, "x") - {"end": room, "middle": room / 2}.get(text.get("text-anchor", ""), 0)
        assert begins >= -1, text.text
        assert begins + room <= width, text.text


def test_the_chart_speaks_and_takes_its_colours_from_the_page() -> None:
    markup = capacity_chart((NOTHING, FOUND), charts.WIDE)
    root = ET.fromstring(markup)
    assert root.attrib["aria-label"] == (
        f"Latency by offered rate, p99=200ms kept: asyncio up to {DASH} requests/s; threads up to 45.3 requests/s"
    )
    assert root.get("role") == "img"
    assert not re.search(r"#[0-9A-Fa-f]{3,6}|style=|fill=|xmlns|https?:", markup)


def test_every_rate_with_a_latency_has_a_dot_that_says_so() -> None:
    dots = marked(draw(FOUND), THREADS, "dot")
    assert len(dots) == len(STEPS) - 1 + len(CURVE)
    told = [plain(dot[0].text or "") for dot in dots]
    assert told[0] == "threads, 16.0 requests/s offered: 20.0 ms, kept"
    assert told[2] == "threads, 64.0 requests/s offered: 900 ms, broken"


def test_what_did_not_keep_it_is_pale_and_so_is_what_was_spoilt() -> None:
    spoilt = replace(FOUND, steps=(*STEPS, step(50, 30.0, kept=None)), curve=())
    pale = [group for group in draw(spoilt).iter("g") if group.get("opacity") == "0.4"]
    assert [plain(group[0][0].text or "").rpartition(": ")[0] for group in pale] == [
        "threads, 64.0 requests/s offered",
        "threads, 50.0 requests/s offered: 30.0 ms, spoilt",
    ]
    assert len(marked(draw(spoilt), THREADS, "dot")) == 6


def test_rates_and_latencies_are_logarithmic_and_the_limit_is_a_line() -> None:
    three = replace(
        FOUND, steps=tuple(step(rate, at) for rate, at in ((1, 20.0), (10, 200.0), (100, 2_000.0))), curve=()
    )
    root = draw(three)
    first, second, third = marked(root, THREADS, "dot")
    for axis in ("cx", "cy"):
        assert number(second, axis) - number(first, axis) == pytest.approx(
            number(third, axis) - number(second, axis), abs=0.2
        )
    (rule,) = [mark for mark in root.iter("line") if mark.get("class") == "reference"]
    assert number(rule, "y1") == number(rule, "y2") == number(second, "cy")
    assert number(third, "cy") < number(first, "cy")
    assert "p99=200ms" in [text.text for text in root.iter("text")]


@pytest.mark.parametrize("latency_ms", [1.0, 50_000.0])
def test_the_limit_is_on_the_axis_however_far_away(latency_ms: float) -> None:
    root = draw(replace(FOUND, steps=(step(16, latency_ms),), curve=()))
    (rule,) = [mark for mark in root.iter("line") if mark.get("class") == "reference"]
    (dot,) = marked(root, THREADS, "dot")
    assert abs(number(rule, "y1") - number(dot, "cy")) > 200


def test_an_upright_line_stands_where_the_capacity_is_and_only_there() -> None:
    root = draw(NOTHING, FOUND)
    (pole,) = marked(root, THREADS, "thread")
    dots = {plain(dot[0].text or "").split(",")[1]: dot for dot in marked(root, THREADS, "dot")}
    assert number(pole, "x1") == number(pole, "x2") == number(dots[" 45.3 requests/s offered: 60.0 ms"], "cx")
    assert marked(root, ASYNCIO, "thread") == []


def test_a_curve_is_joined_in_the_order_of_its_rates() -> None:
    (line,) = marked(draw(FOUND), THREADS, "curve")
    places = [float(x) for x in re.findall(r"[ML]([\d.]+) ", line.attrib["d"])]
    assert len(places) == len(CURVE)
    assert places == sorted(places)
    assert marked(draw(replace(FOUND, curve=())), THREADS, "curve") == []


def test_points_of_a_curve_without_a_latency_are_left_out() -> None:
    silent = replace(FOUND, curve=(*CURVE, step(70, None, kept=False, purpose="curve")))
    (line,) = marked(draw(silent), THREADS, "curve")
    assert line.attrib["d"].count("L") == len(CURVE) - 1


def test_the_looks_of_a_search_are_counted_with_the_others() -> None:
    run = make_evidence().run
    watched = [trial for trial in run.trials if trial.lens]
    timing = dict(dict(build_method(replace(run, trials=(), searched=tuple(watched))).groups)["Timing"])
    assert timing["lens"].replace(NO_BREAK, " ").endswith(f"in {len(watched)} of {len(watched)} trials")
