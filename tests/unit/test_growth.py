"""Facts about the picture of a sweep and its sentences: where marks lie, what they say, that nothing collides."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from gilscope.model import BackendName, BreakEven, Interval, Standing
from gilscope.report import charts
from gilscope.report.growth import describe_break_evens, growth_chart, main_crossings

ASYNCIO, THREADS = BackendName.ASYNCIO, BackendName.THREADS
PROCESSES, INTERPRETERS = BackendName.PROCESSES, BackendName.INTERPRETERS

HOSTILE = '<script>alert("n")</script>&'
WIDTHS = (charts.WIDE, charts.NARROW)
SIZES = (1_000, 3_000, 10_000)
ONE = Interval(1.0, 1.0, 1.0)
RATIOS: Sequence[Mapping[BackendName, Interval]] = (
    {ASYNCIO: ONE, THREADS: Interval(0.9, 0.98, 1.1), PROCESSES: Interval(0.2, 0.25, 0.3)},
    {ASYNCIO: ONE, THREADS: Interval(0.9, 0.99, 1.1), PROCESSES: Interval(0.7, 0.75, 0.8)},
    {ASYNCIO: ONE, THREADS: Interval(0.9, 1.01, 1.1), PROCESSES: Interval(1.8, 2.0, 2.2)},
)
SIZE = Interval(3_100, 4_200, 6_000)
PAYS = BreakEven(PROCESSES, ASYNCIO, Standing.CROSSES, SIZE)
TIED = BreakEven(THREADS, ASYNCIO, Standing.TIED)


def draw(
    overtakings: Iterable[BreakEven] = (TIED, PAYS),
    ratios: Sequence[Mapping[BackendName, Interval]] = RATIOS,
    width: int = charts.WIDE,
    parameter: str = "n",
    sizes: Sequence[float] = SIZES,
) -> ET.Element:
    return ET.fromstring(growth_chart(sizes, ratios, overtakings, parameter=parameter, width=width))


def marked(root: ET.Element, backend: str, class_: str) -> list[ET.Element]:
    groups = [group for group in root.iter("g") if group.get("class") == f"b-{backend}"]
    return [mark for group in groups for mark in group.iter() if mark.get("class") == class_]


def number(element: ET.Element, name: str) -> float:
    return float(element.attrib[name])


def said(*overtakings: BreakEven) -> list[str]:
    return [words.replace("\N{NO-BREAK SPACE}", " ") for words in describe_break_evens(overtakings, "n")]


# The picture.

CROWD = [
    BreakEven(THREADS, ASYNCIO, Standing.CROSSES, Interval(1_100, 1_300, 1_500)),
    BreakEven(INTERPRETERS, ASYNCIO, Standing.CROSSES, Interval(7_000, 9_000, math.inf)),
    BreakEven(PROCESSES, INTERPRETERS, Standing.CROSSES, Interval(9_400, 9_700, 9_900)),
]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("parameter", ["n", "a_rather_long_name_of_a_parameter_of_a_function"])
@pytest.mark.parametrize("overtakings", [[], [TIED, PAYS], CROWD])
def test_chart_stays_on_its_paper(width: int, parameter: str, overtakings: list[BreakEven]) -> None:
    root = draw(overtakings, width=width, parameter=parameter)
    assert number(root, "width") == width
    for mark in root.iter():
        for across in ("x", "x1", "x2", "cx"):
            assert 0 <= float(mark.get(across, 0)) <= width
        for down in ("y", "y1", "y2", "cy"):
            assert 0 <= float(mark.get(down, 0)) <= number(root, "height")


@pytest.mark.parametrize("width", WIDTHS)
def test_labels_of_marks_end_on_the_paper_and_keep_apart(width: int) -> None:
    root = draw(CROWD, width=width, parameter="items_in_the_payload")
    names = [mark for mark in root.iter("text") if " pay from " in (mark.text or "")]
    assert len(names) == 3
    assert all(number(mark, "x") + 7 * len(mark.text or "") <= width for mark in names)
    rows = [number(mark, "y") for mark in names]
    assert all(after - before >= 30 for before, after in pairwise(rows))


@pytest.mark.parametrize("width", WIDTHS)
def test_no_pole_runs_through_its_own_label(width: int) -> None:
    root = draw(CROWD, width=width)
    for one in CROWD:
        (pole,), (span,) = marked(root, one.backend, "thread"), marked(root, one.backend, "told tick")
        assert number(span, "x") > number(pole, "x1") or number(pole, "y1") > number(span, "y")


def test_chart_takes_its_colours_from_the_page() -> None:
    markup = growth_chart(SIZES, RATIOS, [PAYS], parameter="n", width=charts.WIDE)
    assert not re.search(r"#[0-9A-Fa-f]{3,6}|style=|fill=|xmlns|https?:", markup)


def test_chart_speaks() -> None:
    label = draw().attrib["aria-label"].replace("\N{NO-BREAK SPACE}", " ")
    assert label.startswith("Throughput against asyncio by n: asyncio 1.00")
    assert "processes 0.250\N{MULTIPLICATION SIGN} at 1,000, 0.750\N{MULTIPLICATION SIGN} at 3,000" in label
    assert label.endswith(
        ". processes pay from n = 4,200 on (95 % interval 3,100 to 6,000) against asyncio"
    )  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_a_parameter_is_escaped(width: int) -> None:
    markup = growth_chart(SIZES, RATIOS, [PAYS], parameter=HOSTILE, width=width)
    assert "<script" not in markup
    root = ET.fromstring(markup)
    assert HOSTILE in root.attrib["aria-label"]
    assert HOSTILE in [mark.text for mark in root.iter("text")]


def test_sizes_and_ratios_are_logarithmic() -> None:
    root = draw(sizes=[1, 10, 100], ratios=[{THREADS: Interval(r, r, r)} for r in (0.5, 1.0, 2.0)])
    first, second, third = marked(root, THREADS, "dot")
    for axis in ("cx", "cy"):
        assert number(second, axis) - number(first, axis) == pytest.approx(
            number(third, axis) - number(second, axis), abs=0.2
        )
    (rule,) = [mark for mark in root.iter("line") if mark.get("class") == "reference"]
    assert number(rule, "y1") == number(second, "cy")
    assert number(third, "cy") < number(first, "cy")


def test_each_dot_has_its_interval_and_says_so() -> None:
    root = draw()
    dots, whiskers = marked(root, PROCESSES, "dot"), marked(root, PROCESSES, "whisker")
    assert (len(dots), len(whiskers)) == (3, 9)
    assert [number(whisker, "x1") for whisker in whiskers[::3]] == [number(dot, "cx") for dot in dots]
    assert not marked(root, ASYNCIO, "whisker"), "a backend over itself has no spread"
    assert (
        dots[1][0].text == "processes at n = 3,000: 0.750\N{MULTIPLICATION SIGN}, 95 % within 0.700 to 0.800"
    )


def test_an_unknown_interval_is_not_drawn_and_an_unknown_ratio_neither() -> None:
    nan = math.nan
    ratios = [
        {ASYNCIO: ONE, THREADS: Interval(nan, 0.9, nan)},
        {ASYNCIO: ONE, THREADS: Interval(nan, nan, nan)},
        {ASYNCIO: ONE},
    ]
    root = draw(ratios=ratios)
    assert len(marked(root, THREADS, "dot")) == 1
    assert not marked(root, THREADS, "whisker")
    assert len(marked(root, ASYNCIO, "dot")) == 3


def test_a_single_size_and_no_ratio_at_all_are_drawn() -> None:
    assert len(marked(draw((), RATIOS[:1], sizes=[5.0]), PROCESSES, "dot")) == 1
    assert draw((), [{}], sizes=[5.0]).tag == "svg"


def test_a_break_even_is_marked_where_it_is_and_its_interval_as_wide_as_it_is() -> None:
    ratios = [{ASYNCIO: ONE, PROCESSES: Interval(r, r, r)} for r in (0.5, 2.0)]
    mark = BreakEven(PROCESSES, ASYNCIO, Standing.CROSSES, Interval(100, 1_000, 10_000))
    root = draw([mark], ratios, sizes=[100, 10_000])
    (band,), (pole,) = marked(root, PROCESSES, "band"), marked(root, PROCESSES, "thread")
    first, last = (number(dot, "cx") for dot in marked(root, PROCESSES, "dot"))
    assert number(band, "x") == first
    assert number(band, "x") + number(band, "width") == pytest.approx(last, abs=0.2)
    assert number(pole, "x1") == pytest.approx((first + last) / 2, abs=0.1)
    assert "processes pay from n = 1,000 on" in (band[0].text or "")


def test_an_interval_without_end_ends_with_the_axis() -> None:
    mark = BreakEven(PROCESSES, ASYNCIO, Standing.CROSSES, Interval(3_100, 4_200, math.inf))
    root = draw([mark])
    (band,) = marked(root, PROCESSES, "band")
    assert number(band, "x") + number(band, "width") == pytest.approx(charts.WIDE - 98, abs=0.2)
    assert [text.text for text in marked(root, PROCESSES, "told tick")] == ["(3,100 or more) against asyncio"]


def test_a_mark_is_written_with_its_interval() -> None:
    root = draw()
    assert marked(root, PROCESSES, "name")[-1].text == "processes pay from n = 4,200"
    assert [text.text for text in marked(root, PROCESSES, "told tick")] == [
        "(3,100 to 6,000) against asyncio"
    ]
    assert not marked(root, THREADS, "band")


@pytest.mark.parametrize("width", WIDTHS)
def test_names_of_lines_keep_apart(width: int) -> None:
    same = [dict.fromkeys(BackendName, ONE)] * 3
    root = draw((), same, width=width)
    rows = sorted(number(marked(root, backend, "name")[0], "y") for backend in BackendName)
    assert all(after - before >= 34 for before, after in pairwise(rows))


@pytest.mark.parametrize("width", WIDTHS)
def test_labels_of_sizes_keep_apart_and_are_exact(width: int) -> None:
    sizes = [2.0**at for at in range(10, 23)]
    root = draw((), [{ASYNCIO: ONE}] * len(sizes), width=width, sizes=sizes)
    labels = [mark for mark in root.iter("text") if mark.get("text-anchor") == "middle"]
    ends = sorted((number(mark, "x"), len(mark.text or "") * 3.2) for mark in labels)
    assert all(after - half > before + room for (before, room), (after, half) in pairwise(ends))
    written = {f"{size:,.0f}" for size in sizes}
    assert 2 <= len(labels) < len(sizes)
    assert {mark.text for mark in labels} <= written
    assert "4,194,304" in {mark.text for mark in labels}


def test_each_backend_has_one_mark_where_it_overtakes_the_last_one() -> None:
    def crosses(backend: BackendName, over: BackendName, at: float) -> BreakEven:
        return BreakEven(backend, over, Standing.CROSSES, Interval(at, at, at))

    early, late = crosses(PROCESSES, ASYNCIO, 10), crosses(PROCESSES, THREADS, 30)
    other = crosses(INTERPRETERS, ASYNCIO, 20)
    assert main_crossings([late, early, other, TIED]) == [other, late]
    assert main_crossings([TIED]) == []


# The sentences.


@pytest.mark.parametrize(
    ("overtaking", "sentence"),
    [
        (
            BreakEven(PROCESSES, THREADS, Standing.CROSSES, SIZE),
            "processes pay from n = 4,200 on (95 % interval 3,100 to 6,000) against threads",
        ),
        (
            BreakEven(ASYNCIO, THREADS, Standing.CROSSES, Interval(4_181, 4_212, 4_239)),
            "asyncio pays from n = 4,210 on (95 % interval 4,180 to 4,240) against threads",
        ),
        (
            BreakEven(PROCESSES, THREADS, Standing.CROSSES, Interval(3_100, 4_200, math.inf)),
            "processes pay from n = 4,200 on (95 % interval 3,100 or more) against threads",
        ),
        (
            BreakEven(PROCESSES, THREADS, Standing.CROSSES, Interval(0, 4_200, 6_000)),
            "processes pay from n = 4,200 on (95 % interval 6,000 or less) against threads",
        ),
        (
            BreakEven(PROCESSES, THREADS, Standing.CROSSES, Interval(0, 4_200, math.inf)),
            "processes pay from n = 4,200 on (95 % interval not known) against threads",
        ),
        (BreakEven(THREADS, ASYNCIO, Standing.ALWAYS), "threads are ahead of asyncio at every size tried"),
        (BreakEven(ASYNCIO, THREADS, Standing.NEVER), "asyncio is behind threads at every size tried"),
        (TIED, "no size tried shows a difference between threads and asyncio"),
        (
            BreakEven(PROCESSES, THREADS, Standing.UNCLEAR, Interval(0, 0, 2_500)),
            "processes are ahead of threads from n = 2,500 on at the latest; smaller sizes do not tell",
        ),
        (
            BreakEven(PROCESSES, THREADS, Standing.UNCLEAR, Interval(2_500, math.inf, math.inf)),
            "processes overtake threads beyond n = 2,500, if at all; larger sizes do not tell",
        ),
        (
            BreakEven(ASYNCIO, THREADS, Standing.UNCLEAR),
            "the sizes tried do not tell whether asyncio overtakes threads",
        ),
    ],
)
def test_sentences_say_who_stands_where(overtaking: BreakEven, sentence: str) -> None:
    assert said(overtaking) == [sentence]


def test_every_kind_of_verdict_has_a_sentence() -> None:
    found = [BreakEven(PROCESSES, THREADS, kind, SIZE) for kind in Standing]
    told = said(*found)
    assert len(set(told)) == len(Standing)
