"""Facts about the pictures: where marks lie, what they say, and that they are well-formed."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from gilscope import palette
from gilscope.model import (
    Anatomy,
    BackendName,
    Interval,
    LensReading,
    ProbeLatency,
    StateSeconds,
    ThreadRole,
)
from gilscope.report import charts, formats, stacks, svg
from gilscope.report.percentiles import last_percentile, percentile_chart, solid_percentile
from gilscope.report.scales import Scale, from_zero, latency_scale, log_domain, spread, tail

ASYNCIO, THREADS, PROCESSES = BackendName.ASYNCIO, BackendName.THREADS, BackendName.PROCESSES

RATIOS = {
    ASYNCIO: Interval(1.0, 1.0, 1.0),
    THREADS: Interval(0.96, 0.99, 1.01),
    PROCESSES: Interval(1.86, 1.9, 1.95),
}
RATES = {
    ASYNCIO: charts.Rate(150.0, Interval(147.0, 150.0, 153.0), (149.0, 150.0, 151.0)),
    PROCESSES: charts.Rate(300.0, None, (299.0, 301.0)),
}
PROBES = {ASYNCIO: ProbeLatency(61.0, 90.0, 130.0), PROCESSES: ProbeLatency(0.9, 4.0, 6.0)}
ANATOMIES = {
    ASYNCIO: Anatomy(outside=80.0, queue=0.0, run=20.0, cpu=20.0, return_=0.0),
    THREADS: Anatomy(20.0, 10.0, 65.0, 15.0, 5.0, gil_wait=36.0, runqueue=8.0, blocked=2.0),
    PROCESSES: Anatomy(5.0, 30.0, 10.0, 9.0, 3.0, gil_wait=1.0, runqueue=1.0, blocked=0.0),
}
LOOP = StateSeconds(on_cpu_s=1.0, runqueue_s=1.0, gil_wait_s=6.0, blocked_s=2.0, gil_held_s=0.5)
WORKERS = StateSeconds(on_cpu_s=8.0, runqueue_s=2.0, gil_wait_s=28.0, blocked_s=2.0, gil_held_s=9.0)
READINGS = {
    ASYNCIO: LensReading(10.0, 2000, {ThreadRole.LOOP: LOOP}),
    THREADS: LensReading(10.0, 2000, {ThreadRole.LOOP: LOOP, ThreadRole.WORKER: WORKERS}),
}
CURVES = {
    ASYNCIO: [float(value) for value in range(1, 3001)],
    THREADS: [float(value) for value in range(100, 3100)],
}


def to_the_graph(backend: BackendName, part: str) -> str | None:
    return f"#{backend}-{part}" if part != "outside" else None


DRAWN: dict[str, Callable[[], str]] = {
    "forest": lambda: charts.forest(RATIOS, (0.5, 2.2), charts.RATIOS, "Ratio", reference=1.0),
    "throughput": lambda: charts.throughput(RATES),
    "probe": lambda: charts.probe(PROBES),
    "anatomy": lambda: stacks.anatomy(ANATOMIES, charts.WIDE, to_the_graph),
    "anatomy on a phone": lambda: stacks.anatomy(ANATOMIES, charts.NARROW, to_the_graph),
    "threads": lambda: stacks.threads(READINGS, charts.WIDE, to_the_graph),
    "threads on a phone": lambda: stacks.threads(READINGS, charts.NARROW, to_the_graph),
    "percentiles": lambda: percentile_chart(CURVES, charts.WIDE),
}


def parse(markup: str) -> ET.Element:
    return ET.fromstring(markup)


def marked(root: ET.Element, backend: str, class_: str) -> list[ET.Element]:
    groups = [group for group in root.iter("g") if group.get("class") == f"b-{backend}"]
    return [mark for group in groups for mark in group.iter() if mark.get("class") == class_]


def number(element: ET.Element, name: str) -> float:
    return float(element.attrib[name])


@pytest.mark.parametrize("name", DRAWN)
def test_chart_is_well_formed_and_speaks(name: str) -> None:
    root = parse(DRAWN[name]())
    assert root.tag == "svg"
    assert root.get("role") == ("group" if root.findall(".//a") else "img"), "an image hides its links"
    assert "asyncio" in root.attrib["aria-label"]
    assert root.attrib["viewBox"] == f"0 0 {root.attrib['width']} {root.attrib['height']}"


@pytest.mark.parametrize("name", DRAWN)
def test_chart_stays_on_its_paper(name: str) -> None:
    root = parse(DRAWN[name]())
    width, height = number(root, "width"), number(root, "height")
    for mark in root.iter():
        for across in ("x", "x1", "x2", "cx"):
            assert 0 <= float(mark.get(across, 0)) <= width
        for down in ("y", "y1", "y2", "cy"):
            assert 0 <= float(mark.get(down, 0)) <= height


@pytest.mark.parametrize("name", DRAWN)
def test_chart_takes_its_colours_from_the_page(name: str) -> None:
    assert not re.search(r"#[0-9A-Fa-f]{3,6}|style=|fill=|xmlns|https?:", DRAWN[name]())


def test_forest_puts_the_baseline_on_the_line_and_the_rest_on_their_sides() -> None:
    root = parse(DRAWN["forest"]())
    places = {backend: number(marked(root, backend, "dot")[0], "cx") for backend in RATIOS}
    rule = next(number(mark, "x1") for mark in root.iter("line") if mark.get("class") == "reference")
    assert places[ASYNCIO] == rule
    assert places[THREADS] < rule < places[PROCESSES]


def test_forest_draws_no_interval_for_the_baseline_and_writes_the_others() -> None:
    root = parse(DRAWN["forest"]())
    assert not marked(root, ASYNCIO, "band")
    band, dot = marked(root, PROCESSES, "band")[0], marked(root, PROCESSES, "dot")[0]
    assert number(band, "x") < number(dot, "cx") < number(band, "x") + number(band, "width")
    assert [mark.text for mark in marked(root, PROCESSES, "value")] == ["1.90\N{MULTIPLICATION SIGN}"]
    assert [mark.text for mark in marked(root, PROCESSES, "tick")] == ["1.86 to 1.95"]


def test_forest_draws_what_lies_beyond_its_axis_at_the_end() -> None:
    rows = {ASYNCIO: Interval(0.0, 0.0, 0.0), THREADS: Interval(1.0, 50.0, float("inf"))}
    root = parse(charts.forest(rows, (0.5, 2.0), charts.RATIOS, "Ratio"))
    low, high = (number(marked(root, backend, "dot")[0], "cx") for backend in rows)
    assert (low, high) == (86, charts.CARD - 88)


def test_throughput_bars_are_as_long_as_the_rates() -> None:
    root = parse(DRAWN["throughput"]())
    slow, fast = (number(marked(root, backend, "bar")[0], "width") for backend in RATES)
    assert fast == pytest.approx(2 * slow, abs=0.2)
    assert len(marked(root, ASYNCIO, "block")) == 3
    assert len(marked(root, PROCESSES, "block")) == 2
    assert marked(root, ASYNCIO, "whisker")
    assert not marked(root, PROCESSES, "whisker")


def test_throughput_of_zero_has_a_row() -> None:
    root = parse(charts.throughput({THREADS: charts.Rate(0.0, None, (0.0,))}))
    assert [mark.text for mark in marked(root, THREADS, "value")] == ["0\N{NO-BREAK SPACE}/s"]


def test_probe_puts_p50_before_p99_before_the_longest() -> None:
    root = parse(DRAWN["probe"]())
    for backend in PROBES:
        ring, dot = marked(root, backend, "ring")[0], marked(root, backend, "dot")[0]
        longest = marked(root, backend, "whisker")[0]
        assert number(ring, "cx") < number(dot, "cx") < number(longest, "x1")


def test_percentile_axis_gives_each_nine_the_same_room() -> None:
    ticks = {
        mark.text: number(mark, "x")
        for mark in parse(DRAWN["percentiles"]()).iter("text")
        if mark.get("text-anchor") == "middle"
    }
    assert list(ticks) == ["0", "50", "90", "99", "99.9"]
    assert ticks["90"] - ticks["0"] == pytest.approx(ticks["99"] - ticks["90"], abs=0.2)
    assert ticks["99.9"] - ticks["99"] == pytest.approx(ticks["99"] - ticks["90"], abs=0.2)


def test_percentile_line_is_dashed_where_too_few_samples_lie_beyond() -> None:
    root = parse(DRAWN["percentiles"]())
    assert len(marked(root, ASYNCIO, "curve")) == 1
    assert len(marked(root, ASYNCIO, "curve rough")) == 1
    assert solid_percentile(2_000) == 0.99
    assert solid_percentile(20) == 0.0
    assert last_percentile(1) == 0.5


def test_percentile_line_ends_at_the_largest_sample() -> None:
    root = parse(percentile_chart({ASYNCIO: [1.0, 2.0, 3.0]}, charts.NARROW))
    last = marked(root, ASYNCIO, "curve rough")[0].attrib["d"].rsplit(" ", 1)[-1]
    assert float(last) == pytest.approx(Scale(0, 3.12, 330 - 42, 10)(3.0), abs=0.1)


def test_percentile_chart_of_one_sample_is_drawn() -> None:
    assert marked(parse(percentile_chart({ASYNCIO: [4.2]}, charts.NARROW)), ASYNCIO, "name")


def test_percentile_labels_keep_apart() -> None:
    same = {backend: [10.0, 11.0, 12.0] for backend in BackendName}
    root = parse(percentile_chart(same, charts.WIDE))
    rows = sorted(number(marked(root, backend, "name")[0], "y") for backend in BackendName)
    assert all(after - before >= 34 for before, after in pairwise(rows))


@pytest.mark.parametrize(("values", "log"), [([1.0, 19.0], False), ([1.0, 21.0], True), ([0.0, 5.0], False)])
def test_latency_axis_is_logarithmic_past_a_factor_of_twenty(values: list[float], log: bool) -> None:  # noqa: FBT001 -- a table column, not a switch
    assert latency_scale(values, 100, 0).log is log


@pytest.mark.parametrize(
    "scale",
    [
        from_zero([287.0], 0, 220),
        from_zero([], 0, 220),
        Scale(*log_domain([3.0, 300.0]), 0, 220, log=True),
        Scale(*log_domain([3.0, 3.1]), 0, 220, log=True),
        Scale(*log_domain([0.001, 9_000.0]), 0, 220, log=True),
        Scale(*log_domain([]), 0, 220, log=True),
    ],
)
def test_every_axis_has_a_few_ticks_within_its_ends(scale: Scale) -> None:
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    assert all(scale.low <= tick <= scale.high for tick in ticks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.15, 2.3, [0.2, 0.5, 1.0, 2.0]),
        (3.0, 160.0, [3.0, 10.0, 30.0, 100.0]),
        (0.9, 1100.0, [1.0, 10.0, 100.0, 1000.0]),
    ],
)
def test_ticks_are_as_dense_as_their_labels_allow(low: float, high: float, ticks: list[float]) -> None:
    assert Scale(low, high, 86, 256, log=True).ticks() == ticks


def test_a_tick_at_either_end_is_written_inside() -> None:
    ticks = [mark for mark in parse(DRAWN["threads"]()).iter("text") if mark.get("class") == "tick"]
    anchors = [
        (mark.text or "").replace("\N{NO-BREAK SPACE}", " ") + " " + mark.attrib["text-anchor"]
        for mark in ticks
    ]
    assert anchors[0] == "0 % start"
    assert anchors[-1] == "100 % end"
    assert {anchor.split()[-1] for anchor in anchors[1:-1]} == {"middle"}


def test_stripes_stay_within_their_rectangle() -> None:
    markup = svg.hatch(10, 20, 7, 30)
    points = [tuple(map(float, pair)) for pair in re.findall(r"[ML](\S+) ([\d.]+)", markup)]
    assert len(points) >= 8
    assert all(10 <= x <= 17 and 20 <= y <= 50 for x, y in points)
    assert all(
        before[0] - after[0] == pytest.approx(after[1] - before[1], abs=0.2)
        for before, after in zip(points[::2], points[1::2], strict=True)
    )


def test_tail_counts_the_nines() -> None:
    assert [round(tail(p), 9) for p in (0, 0.9, 0.99, 0.999)] == [0, 1, 2, 3]


def test_spread_keeps_the_order_and_the_bounds() -> None:
    assert spread([50.0, 10.0, 12.0], 20, 0, 100) == [50.0, 10.0, 30.0]
    assert spread([99.0, 100.0], 20, 0, 100) == [80.0, 100.0]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"), (0.0813, "0.0813"), (4, "4.00"), (9.996, "10.0"), (90, "90.0"), (286.6, "287"),
        (1234.5, "1,230"), (-2.5, "-2.50"), (None, "\N{EN DASH}"), (float("nan"), "\N{EN DASH}"), (float("inf"), "\N{EN DASH}"),
    ],
)  # fmt: skip
def test_figures_have_three_significant_digits(value: float | None, written: str) -> None:
    assert formats.significant(value) == written


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.milliseconds(72.14), "72.1 ms"),
        (formats.milliseconds(999.7), "1.00 s"),
        (formats.milliseconds(None), "\N{EN DASH}"),
        (formats.tick_milliseconds(2000), "2 s"),
        (formats.tick_milliseconds(0.5), "0.5 ms"),
        (formats.rate(287.0), "287 /s"),
        (formats.rate(None), "\N{EN DASH}"),
        (formats.ratio(1.9), "1.90\N{MULTIPLICATION SIGN}"),
        (formats.tick_ratio(0.5), "0.5\N{MULTIPLICATION SIGN}"),
        (formats.span(Interval(1.86, 1.9, 1.95)), "1.86 to 1.95"),
        (formats.span(Interval(1, 1, 1)), ""),
        (formats.span(None), ""),
        (formats.percent(0.074), "7.4 %"),
        (formats.percent(0.86), "86 %"),
        (formats.percent(0.0998), "10 %"),
        (formats.milliseconds(5.123, digits=2), "5.1 ms"),
        (formats.microseconds(1234.5678), "1,234.568"),
        (formats.microseconds(-0.0001), "0.000"),
        (formats.microseconds(-3.7), "-3.700"),
        (formats.microseconds(None), "\N{EN DASH}"),
        (formats.block(0), "1"),
        (formats.percent(None), "\N{EN DASH}"),
        (formats.seconds(12), "12 s"),
        (formats.seconds(125), "2 min 05 s"),
        (formats.seconds(7_500), "2 h 05 min"),
        (formats.listing(["a"]), "a"),
        (formats.listing(["a", "b", "c"], "or"), "a, b or c"),
        (formats.many(1, "block"), "1 block"),
        (formats.many(1200, "stack"), "1,200 stacks"),
        (formats.moment("2025-11-22T16:04:00+00:00"), "22 November 2025, 16:04 UTC"),
        (formats.moment("yesterday"), "yesterday"),
    ],
)
def test_units_follow_their_figures(written: str, expected: str) -> None:
    assert written.replace("\N{NO-BREAK SPACE}", " ") == expected


def test_svg_escapes_words_titles_and_attributes() -> None:
    hostile = '<script>"&'
    markup = svg.element("g", svg.words(0, 0, hostile), svg.title(hostile), aria_label=hostile)
    assert "<script>" not in markup
    root = parse(markup)
    assert [root.get("aria-label"), *(mark.text for mark in root)] == [hostile] * 3


def test_backends_have_the_colours_that_all_pictures_share() -> None:
    assert [palette.BACKENDS[backend] for backend in BackendName] == [
        "#0072B2",
        "#D55E00",
        "#009E73",
        "#CC79A7",
    ]
    shared = ("cpu", "gil_wait", "runqueue", "blocked")
    for table in (palette.STAGES, palette.STATES):
        assert [table[name].light for name in shared] == ["#4D4D4D", "#E69F00", "#56B4E9", "#BDBDBD"]
    assert tuple(palette.STATES) == shared


@pytest.mark.parametrize("paper", [palette.LIGHT_PAPER, palette.DARK_PAPER])
@pytest.mark.parametrize("backend", BackendName)
def test_words_can_be_read_and_keep_their_hue(backend: BackendName, paper: str) -> None:
    base = palette.BACKENDS[backend]
    word = palette.readable(base, paper)
    assert palette.contrast(word, paper) >= 4.5
    assert hue(word) == pytest.approx(hue(base), abs=0.01)


@pytest.mark.parametrize("stage", palette.STAGES.values())
def test_words_on_stages_can_be_read(stage: palette.Stage) -> None:
    for fill in (stage.light, stage.dark):
        assert palette.contrast(palette.ink_on(fill), fill) >= 4.5


def hue(colour: str) -> float:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return colorsys.rgb_to_hls(red, green, blue)[0]
