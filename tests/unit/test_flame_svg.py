from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.errors import CaptureError
from gilscope.flame.difference import Side
from gilscope.flame.harness import HARNESS
from gilscope.flame.svg import (
    Heading,
    render_difference,
    render_svg,
    seconds,
    viewer_script,
    viewer_style,
)
from gilscope.model import Folded

SVG = "{http://www.w3.org/2000/svg}"
PRIMES = "primes (gilscope/workloads/primes.py:12)"
SQRT = "sqrt (mathutil.py:3)"
RUN = "run (threading.py:982)"
WORKER = "_worker (concurrent/futures/thread.py:81)"
GET = "get (queue.py:1)"
FOLDED: Folded = {
    (RUN, WORKER, PRIMES, SQRT): 0.6,
    (RUN, WORKER, PRIMES): 0.2,
    (RUN, WORKER, GET): 0.2,
}
PLAIN: Folded = {(PRIMES, SQRT): 0.6, (PRIMES,): 0.2, (GET,): 0.2}
HEADING = Heading("t")

stacks = st.lists(st.text(max_size=6), min_size=1, max_size=5).map(tuple)
weights = st.integers(1, 1000).map(float)
some_folded = st.dictionaries(stacks, weights, min_size=1, max_size=9)

Drawn = tuple[str, str, str]
"""What a box is of, its left edge and its width, both in percent."""


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def graph_of(folded: Folded, heading: Heading = HEADING, *, standalone: bool = True) -> ET.Element:
    return parsed(render_svg(folded, heading, standalone=standalone))


def layers_of(graph: ET.Element) -> list[ET.Element]:
    return graph.findall(f".//{SVG}svg[@class='boxes']")


def marks_of(layer: ET.Element) -> tuple[str | None, str | None, str | None]:
    return layer.get("data-harness"), layer.get("data-side"), layer.get("display")


def layer_of(graph: ET.Element, side: str, harness: str = "shown") -> ET.Element:
    (layer,) = (layer for layer in layers_of(graph) if marks_of(layer)[:2] == (harness, side))
    return layer


def boxes_in(layer: ET.Element) -> list[ET.Element]:
    return layer.findall(f"{SVG}svg")


def boxes_of(graph: ET.Element) -> list[ET.Element]:
    return [box for layer in layers_of(graph) for box in boxes_in(layer)]


def title_of(box: ET.Element) -> str:
    return box.findtext(f"{SVG}title") or ""


def titles_of(graph: ET.Element) -> list[str]:
    return list(map(title_of, boxes_of(graph)))


def frames_in(layer: ET.Element) -> list[str]:
    return [title_of(box).split("\n")[0] for box in boxes_in(layer)]


def classes_in(layer: ET.Element) -> dict[str, str]:
    return {title_of(box).split("\n")[0]: box.get("class") or "" for box in boxes_in(layer)}


def drawn_in(layer: ET.Element) -> list[Drawn]:
    return [
        (frame, box.get("x") or "", box.get("width") or "")
        for frame, box in zip(frames_in(layer), boxes_in(layer), strict=True)
    ]


def text_of(element: ET.Element) -> str:
    return " ".join("".join(text.itertext()) for text in element.iter(f"{SVG}text"))


def lines_of(graph: ET.Element, class_: str) -> list[str]:
    return ["".join(text.itertext()) for text in graph.iter(f"{SVG}text") if text.get("class") == class_]


def test_boxes_are_drawn_to_scale_by_their_kind() -> None:
    drawn = [
        (box.get("class"), box.get("x"), box.get("width"), box.get("y"))
        for box in boxes_in(layer_of(graph_of(FOLDED), ""))
    ]
    assert drawn == [
        ("root", "0.0000%", "100.0000%", "0"),
        ("harness", "0.0000%", "100.0000%", "19"),
        ("harness", "0.0000%", "100.0000%", "38"),
        ("own", "0.0000%", "80.0000%", "57"),
        ("other", "0.0000%", "60.0000%", "76"),
        ("other", "80.0000%", "20.0000%", "57"),
    ]


def test_a_box_tells_its_frame_seconds_and_share() -> None:
    titles = titles_of(graph_of(PLAIN))
    assert titles[0] == "all\n1.00 s, 100.0 %"
    assert titles[1] == f"{PRIMES}\n800 ms, 80.0 %"
    assert titles_of(graph_of({("a",): 0.02, ("b",): 0.01}))[2] == "b\n10.0 ms, 33.3 %"


@pytest.mark.parametrize(("weight", "label"), [(0.5, "500 ms"), (12.34, "12.3 s"), (1234.5, "1,234.5 s")])
def test_the_root_is_labelled_with_all_its_seconds(weight: float, label: str) -> None:
    assert text_of(boxes_of(graph_of({("a",): weight}))[0]) == f"all · {label}"


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (0.0, "0.00 s"),
        (0.00002, "0.02 ms"),
        (0.00144, "1.44 ms"),
        (0.0714, "71.4 ms"),
        (0.123, "123 ms"),
        (1.0, "1.00 s"),
        (9.87, "9.87 s"),
        (12.34, "12.3 s"),
        (1234.5, "1,234.5 s"),
    ],
)
def test_seconds_are_written_so_that_three_digits_count(weight: float, words: str) -> None:
    assert seconds(weight) == words


def test_the_header_says_what_is_shown() -> None:
    text = text_of(graph_of(FOLDED, Heading("The title", "the subtitle", ["a note"])))
    for words in (
        "The title",
        "the subtitle",
        "a note",
        "all · 1.00 s",
        "workload, in 80.0 %",
        "loop, pools, service",
        "other code",
        "width = share of 1.00 s",
    ):
        assert words in text


def test_long_texts_wrap_into_lines_that_a_phone_shows() -> None:
    lines = lines_of(graph_of(FOLDED, Heading("t", "word " * 40, ["note " * 40])), "subtitle")
    assert " ".join(lines) == ("word " * 40).strip()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 58


def test_a_list_in_the_subtitle_breaks_between_its_items() -> None:
    items = ["holding", "100 Hz for 3 s", "CPython 3.11.7", "4 workers, 4 users", "py-spy 0.4.3"]
    lines = lines_of(graph_of(FOLDED, Heading("t", " · ".join(items))), "subtitle")
    assert len(lines) == 2
    assert not any(line.endswith("·") for line in lines)
    assert all(any(item.replace(" ", "\u00a0") in line for line in lines) for item in items)


@pytest.mark.parametrize("standalone", [True, False])
@given(folded=some_folded, words=st.text(max_size=20))
def test_any_names_make_well_formed_xml(folded: Folded, words: str, *, standalone: bool) -> None:
    svg = render_svg(folded, Heading(words, words, [words]), standalone=standalone)
    assert boxes_of(parsed(svg))
    svg.encode()


@given(now=some_folded, before=some_folded, words=st.text(max_size=20))
def test_any_names_make_well_formed_differences(now: Folded, before: Folded, words: str) -> None:
    sides = (Side(f"now {words}", now, 1.0, words), Side(f"before {words}", before, 1.0, words))
    svg = render_difference(*sides, Heading(words, words, [words]))
    assert boxes_of(parsed(svg))
    svg.encode()


def test_names_are_text_never_markup() -> None:
    evil = "</text><script>alert(1)</script>&\"' (x.py:1)"
    graph = graph_of({(evil,): 1}, Heading(evil, evil, [evil]), standalone=False)
    assert not list(graph.iter(f"{SVG}script"))
    assert graph.get("aria-label") == evil
    assert titles_of(graph)[1].startswith(evil)
    difference = difference_of({(evil,): 1.0}, {(evil,): 3.0}, names=(evil, f"not {evil}"))
    assert not list(difference.iter(f"{SVG}script"))
    assert layers_of(difference)[0].get("data-side") == evil


def test_characters_that_xml_forbids_are_replaced() -> None:
    assert titles_of(graph_of({("a\x00b\x1b\ud800c",): 1}))[1].startswith("a\ufffdb\ufffd\ufffdc")


def test_narrow_siblings_become_one_box_that_says_how_many() -> None:
    graph = graph_of({("wide",): 9.0, **{(f"narrow{at}", "below"): 0.001 for at in range(1000)}})
    assert [title.split("\n")[0] for title in titles_of(graph)] == ["all", "wide", "1,000 narrower frames"]
    assert (boxes_of(graph)[-1].get("class"), boxes_of(graph)[-1].get("width")) == ("rest", "10.0000%")
    assert "10.0 % is in frames too narrow to draw (under 0.15 %)" in text_of(graph)


def test_what_is_too_narrow_even_together_is_left_out_and_said() -> None:
    graph = graph_of({("wide",): 9.99, ("speck",): 0.01}, standalone=False)
    assert [box.get("class") for box in boxes_of(graph)] == ["root", "other"]
    assert "0.1 % is in frames too narrow to draw" in text_of(graph)
    assert graph.get("data-merged") == "0.0010"


def test_nothing_is_said_where_everything_is_drawn() -> None:
    graph = graph_of(FOLDED, standalone=False)
    assert "narrow" not in text_of(graph)
    assert graph.get("data-merged") is None


def test_a_box_too_narrow_for_its_text_says_so() -> None:
    graph = graph_of({("wide",): 98.1, ("thin",): 1.9})
    assert [box.get("class") for box in boxes_of(graph)] == ["root", "other", "other thin"]


def test_deep_stacks_do_not_hit_the_recursion_limit() -> None:
    boxes = boxes_of(graph_of({("f (a.py:1)",) * 5000: 1, ("f (a.py:1)",) * 4999: 1}))
    assert len(boxes) == 5001
    assert boxes[-1].get("y") == str(19 * 5000)
    assert boxes[-1].get("width") == "50.0000%"


# Layers: the harness folded away or not.


def test_the_harness_is_folded_away_first_and_shown_second() -> None:
    less, full = layers_of(graph_of(FOLDED))
    assert (marks_of(less), marks_of(full)) == (("folded", "", None), ("shown", "", "none"))
    assert frames_in(less) == ["all", HARNESS, PRIMES, SQRT, GET]
    assert frames_in(full) == ["all", RUN, WORKER, PRIMES, SQRT, GET]
    assert classes_in(less)[HARNESS] == "harness"


@pytest.mark.parametrize("standalone", [True, False])
def test_only_the_first_layer_takes_room(standalone: bool) -> None:  # noqa: FBT001
    svg = render_svg(FOLDED, HEADING, standalone=standalone)
    graph = parsed(svg)
    less, full = layers_of(graph)
    assert (less.get("height"), full.get("height")) == (str(19 * 4 + 1), str(19 * 5 + 1))
    assert less.get("y") == full.get("y")
    flame = graph.find(f"{SVG}svg[@class='flame']") if standalone else graph
    assert flame is not None
    assert int(flame.get("height") or 0) == int(less.get("y") or 0) + 19 * 4 + 1


def test_where_nothing_is_folded_there_is_one_layer() -> None:
    (layer,) = layers_of(graph_of(PLAIN))
    assert marks_of(layer) == ("shown", "", None)
    assert frames_in(layer) == ["all", PRIMES, SQRT, GET]


def test_there_is_room_for_the_choice_of_a_layer_only_where_there_is_a_choice() -> None:
    heights = [graph.find(f".//{SVG}svg[@class='views']") for graph in map(graph_of, (FOLDED, PLAIN))]
    assert [view.get("height") for view in heights if view is not None] == ["30", "0"]


def test_the_innermost_frame_of_the_harness_stays() -> None:
    less, full = layers_of(graph_of({(RUN, WORKER): 1.0, (RUN, WORKER, PRIMES): 1.0}))
    assert frames_in(less) == ["all", HARNESS, WORKER, PRIMES]
    assert frames_in(full) == ["all", RUN, WORKER, PRIMES]


def test_a_single_frame_of_the_harness_is_folded_away_too() -> None:
    less, _full = layers_of(graph_of({(RUN, PRIMES): 1.0}))
    assert frames_in(less) == ["all", HARNESS, PRIMES]


def test_the_work_wins_over_the_harness() -> None:
    run = "run (asyncio/runners.py:1)"
    graph = parsed(render_svg({(run, "f (a.py:1)"): 1}, HEADING, own=lambda frame: frame == run))
    (layer,) = layers_of(graph)
    assert classes_in(layer)[run] == "own"
    assert "workload, in 100.0 %" in text_of(graph)


@given(some_folded, st.sampled_from([RUN, WORKER, "thread (4)"]))
def test_folding_loses_no_weight(folded: Folded, carrier: str) -> None:
    less, full = layers_of(graph_of({(carrier, *stack): weight for stack, weight in folded.items()}))
    for above_harness_and_below in (0, 1):
        one, other = (title_of(boxes_in(layer)[above_harness_and_below]) for layer in (less, full))
        assert one.split("\n")[1] == other.split("\n")[1]
    assert (frames_in(less)[1], frames_in(full)[1]) == (HARNESS, carrier)


# Differences.

NOW: Folded = {("a", "b"): 2.0, ("a", "new"): 1.0, ("same",): 1.0}
BEFORE: Folded = {("a", "b"): 0.5, ("same",): 1.0, ("gone", "away"): 0.5}


def difference_of(
    now: Folded,
    before: Folded,
    names: tuple[str, str] = ("now", "before"),
    grain: float = 0.001,
    heading: Heading = HEADING,
    own: Callable[[str], bool] | None = None,
) -> ET.Element:
    one, other = (
        Side(name, folded, grain, " per request") for name, folded in zip(names, (now, before), strict=True)
    )
    if own is None:
        return parsed(render_difference(one, other, heading, standalone=False))
    return parsed(render_difference(one, other, heading, own=own, standalone=False))


def carried(folded: Folded) -> Folded:
    return {(RUN, WORKER, *stack): weight for stack, weight in folded.items()}


def test_a_difference_has_a_layer_for_the_widths_of_each_side() -> None:
    layers = layers_of(difference_of(NOW, BEFORE))
    assert [marks_of(layer) for layer in layers] == [("shown", "now", None), ("shown", "before", "none")]
    now, before = layers
    assert frames_in(now) == ["all", "a", "b", "new", "same"]
    assert frames_in(before) == ["all", "same", "a", "b", "gone", "away"]


def test_with_a_harness_each_side_has_two_layers_and_the_first_is_shown() -> None:
    layers = layers_of(difference_of(carried(NOW), carried(BEFORE)))
    assert [marks_of(layer) for layer in layers] == [
        ("folded", "now", None),
        ("folded", "before", "none"),
        ("shown", "now", "none"),
        ("shown", "before", "none"),
    ]
    assert frames_in(layers[0])[:2] == ["all", HARNESS]
    assert frames_in(layers[3])[:3] == ["all", RUN, WORKER]


@pytest.mark.parametrize(
    ("now", "before"),
    [(carried(NOW), carried(BEFORE)), (NOW, BEFORE), (carried(NOW), BEFORE), (NOW, carried(BEFORE))],
    ids=["both", "neither", "now", "before"],
)
def test_whichever_side_has_a_harness_the_other_side_can_be_chosen(now: Folded, before: Folded) -> None:
    marks = [marks_of(layer)[:2] for layer in layers_of(difference_of(now, before))]
    for harness, _ in marks:
        for side in ("now", "before"):
            assert {(harness, side), ("shown", side)} & set(marks), (
                "the script looks for these, in this order"
            )


def test_both_sides_are_drawn_to_one_scale() -> None:
    now, before = layers_of(difference_of(NOW, BEFORE))
    assert drawn_in(now)[:2] == [("all", "0.0000%", "100.0000%"), ("a", "0.0000%", "75.0000%")]
    assert drawn_in(before) == [
        ("all", "0.0000%", "50.0000%"),
        ("same", "0.0000%", "25.0000%"),
        ("a", "25.0000%", "12.5000%"),
        ("b", "25.0000%", "12.5000%"),
        ("gone", "37.5000%", "12.5000%"),
        ("away", "37.5000%", "12.5000%"),
    ]


def test_the_lighter_side_is_the_narrower_one_whichever_it_is() -> None:
    now, before = layers_of(difference_of(BEFORE, NOW))
    assert drawn_in(now)[0] == ("all", "0.0000%", "50.0000%")
    assert drawn_in(before)[0] == ("all", "0.0000%", "100.0000%")


def test_what_is_gone_is_seen_at_the_widths_of_before_alone() -> None:
    now, before = layers_of(difference_of(NOW, BEFORE))
    assert "gone" not in frames_in(now)
    assert "gone" in frames_in(before)
    assert classes_in(before)["gone"].split()[0] == "shrank-3"
    assert "new" not in frames_in(before)
    assert classes_in(now)["new"].split()[0] == "grew-3"


def test_a_change_has_the_same_colour_at_both_widths() -> None:
    now, before = map(classes_in, layers_of(difference_of(NOW, BEFORE)))
    assert now == {
        "all": "grew-2 root",
        "a": "grew-3",
        "b": "grew-2",
        "new": "grew-3",
        "same": "same",
    }
    assert before == {
        "all": "grew-2 root",
        "same": "same",
        "a": "grew-3",
        "b": "grew-2",
        "gone": "shrank-3",
        "away": "shrank-3",
    }


def test_where_samples_are_few_nothing_is_claimed() -> None:
    for layer in layers_of(difference_of(NOW, BEFORE, grain=1.0)):
        assert {name for classes in classes_in(layer).values() for name in classes.split()} <= {
            "same",
            "root",
        }


def test_a_box_tells_both_weights_now_first() -> None:
    now, before = layers_of(difference_of(NOW, BEFORE))
    told = "now: 3.00 s per request\nbefore: 500 ms per request"
    assert title_of(boxes_in(now)[1]) == f"a\n{told}"
    assert title_of(boxes_in(before)[2]) == f"a\n{told}"
    assert title_of(boxes_in(before)[4]) == "gone\nnow: 0.00 s per request\nbefore: 500 ms per request"


def test_the_header_of_a_difference_says_what_colours_and_widths_mean() -> None:
    text = text_of(difference_of(NOW, BEFORE, heading=Heading("The title", "the subtitle", ["a note"])))
    for words in (
        "The title",
        "the subtitle",
        "a note",
        "more",
        "less",
        "no difference shown",
        "width = share of 4.00 s per request",
        "all · now: 4.00 s per request",
    ):
        assert words in text


def test_narrow_frames_of_a_difference_become_one_box_with_both_weights() -> None:
    narrow: Folded = {(f"narrow{at}",): 0.001 for at in range(1000)}
    graph = difference_of({("wide",): 9.0, **narrow}, {("wide",): 9.0, ("narrow7",): 0.25})
    now, before = layers_of(graph)
    rest = boxes_in(now)[-1]
    assert rest.get("class") == "rest"
    assert rest.get("width") == "10.0000%"
    assert title_of(rest) == ("1,000 narrower frames\nnow: 1.00 s per request\nbefore: 250 ms per request")
    assert frames_in(before) == ["all", "wide", "narrow7"]
    assert "10.0 % is in frames too narrow to draw" in text_of(graph)


@pytest.mark.parametrize(
    ("now", "before", "shown"), [(NOW, {}, "now"), ({}, NOW, "before"), (NOW, {("a",): 0.0}, "now")]
)
def test_of_an_empty_side_the_other_is_drawn(now: Folded, before: Folded, shown: str) -> None:
    (layer,) = layers_of(difference_of(now, before))
    assert marks_of(layer) == ("shown", shown, None)
    assert drawn_in(layer)[0] == ("all", "0.0000%", "100.0000%")
    change = "grew-3" if shown == "now" else "shrank-3"
    assert {classes.split()[0] for classes in classes_in(layer).values()} == {change}


def test_the_difference_of_a_graph_with_itself_shows_none() -> None:
    one = Side("one", NOW, 0.001, " per second")
    layers = layers_of(parsed(render_difference(one, replace(one, name="other"), HEADING)))
    assert [layer.get("data-side") for layer in layers] == ["one", "other"]
    for layer in layers:
        assert {classes.split()[0] for classes in classes_in(layer).values()} == {"same"}
        assert drawn_in(layer)[0][2] == "100.0000%"


@given(some_folded, some_folded)
def test_the_sides_of_a_difference_swap_with_it(now: Folded, before: Folded) -> None:
    there = {layer.get("data-side"): drawn_in(layer) for layer in layers_of(difference_of(now, before))}
    back = {
        layer.get("data-side"): drawn_in(layer)
        for layer in layers_of(difference_of(before, now, names=("before", "now")))
    }
    assert there == back


def test_the_work_is_never_folded_away_in_a_difference() -> None:
    graph = difference_of(carried(NOW), carried(BEFORE), own=lambda frame: frame == WORKER)
    for layer in layers_of(graph):
        assert WORKER in frames_in(layer)


# What cannot be drawn.


@pytest.mark.parametrize("folded", [{}, {("f",): 0.0}])
def test_no_samples_make_no_graph(folded: Folded) -> None:
    with pytest.raises(CaptureError, match="primes on threads") as caught:
        render_svg(folded, Heading("primes on threads"))
    assert caught.value.remedy is not None
    assert "load" in caught.value.remedy


@pytest.mark.parametrize("folded", [{}, {("f",): 0.0}])
def test_two_empty_graphs_make_no_difference(folded: Folded) -> None:
    with pytest.raises(CaptureError, match="threads against asyncio"):
        difference_of(folded, {}, heading=Heading("threads against asyncio"))


@pytest.mark.parametrize("accent", ["red", "#12345", "#1234567", '#000000"/><script>', ""])
def test_an_accent_is_a_colour(accent: str) -> None:
    with pytest.raises(ValueError, match="accent"):
        render_svg(FOLDED, HEADING, accent=accent)


# Colours, style and script.


def luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return sum(weight * channel for weight, channel in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@given(st.integers(0, 0xFFFFFF))
def test_text_on_any_accent_is_readable(colour: int) -> None:
    accent = f"#{colour:06x}"
    style = parsed(render_svg(FOLDED, HEADING, accent=accent, standalone=False)).get("style") or ""
    variables = dict(item.split(":") for item in style.split(";"))
    assert variables["--flame-accent"] == accent
    assert contrast(variables["--flame-on-accent"], accent) >= 4.5  # WCAG AA


def themes() -> list[dict[str, str]]:
    return [
        dict(line.strip(" ;").split(": ") for line in theme.splitlines() if line.strip().startswith("--"))
        for theme in viewer_style().split("@media (prefers-color-scheme: dark)")
    ]


def test_text_on_the_other_colours_is_readable_in_light_and_dark() -> None:
    for colours in themes():
        for name in ("root", "harness", "other"):
            assert contrast(colours[f"--flame-{name}"], colours[f"--flame-{name}-ink"]) >= 7
        for name in ("ink", "muted"):
            assert contrast(colours["--flame-page"], colours[f"--flame-{name}"]) >= 4.5


def test_text_on_the_colours_of_a_change_is_readable_in_light_and_dark() -> None:
    for colours in themes():
        for change in ("grew", "shrank"):
            for step, ink in (("1", "ink"), ("2", "ink"), ("3", "change-ink")):
                assert contrast(colours[f"--flame-{change}-{step}"], colours[f"--flame-{ink}"]) >= 4.5
        assert contrast(colours["--flame-harness"], colours["--flame-ink"]) >= 4.5


def test_a_fragment_has_no_ids_style_or_script_of_its_own() -> None:
    for graph in (graph_of(FOLDED, standalone=False), difference_of(NOW, BEFORE)):
        assert graph.get("class") == "flame"
        assert not [element for element in graph.iter() if "id" in element.keys()]  # noqa: SIM118  (an Element is no dict)
        assert not list(graph.iter(f"{SVG}style"))
        assert not list(graph.iter(f"{SVG}script"))


def test_a_file_carries_its_style_and_script() -> None:
    one, other = Side("now", NOW, 0.001, ""), Side("before", BEFORE, 0.001, "")
    for graph in (graph_of(FOLDED), parsed(render_difference(one, other, HEADING))):
        assert graph.findtext(f"{SVG}style") == viewer_style()
        assert (graph.findtext(f"{SVG}script") or "").strip() == viewer_script().strip()
        assert graph.find(f"{SVG}svg[@class='flame']") is not None


def test_style_and_script_may_be_embedded_as_they_are() -> None:
    for text in (viewer_style(), viewer_script()):
        assert "]]>" not in text
        assert "</" not in text
        assert "http" not in text.replace("http://www.w3.org/", "")
    assert "innerHTML" not in viewer_script()
    assert not set("<&") & set(viewer_style())
