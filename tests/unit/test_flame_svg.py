from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.errors import CaptureError
from gilscope.flame.folded import Tree
from gilscope.flame.svg import (
    MIN_SHARE,
    Box,
    Kind,
    is_harness,
    is_workload,
    lay_out,
    render_svg,
    viewer_script,
    viewer_style,
)
from gilscope.model import Folded

SVG = "{http://www.w3.org/2000/svg}"
PRIMES = "primes (gilscope/workloads/primes.py:12)"
WORKER = "_worker (concurrent/futures/thread.py:81)"
FOLDED: Folded = {
    (WORKER, PRIMES, "sqrt (mathutil.py:3)"): 60,
    (WORKER, PRIMES): 20,
    (WORKER, "get (queue.py:1)"): 20,
}

stacks = st.lists(st.text(max_size=6), min_size=1, max_size=5).map(tuple)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def boxes_of(graph: ET.Element) -> list[ET.Element]:
    return graph.findall(f".//{SVG}svg[@class='boxes']/{SVG}svg")


def text_of(element: ET.Element) -> str:
    return " ".join("".join(text.itertext()) for text in element.iter(f"{SVG}text"))


def titles_of(graph: ET.Element) -> list[str]:
    return [box.findtext(f"{SVG}title") or "" for box in boxes_of(graph)]


def laid_out(folded: Folded) -> tuple[Box, ...]:
    return lay_out(Tree(folded), is_workload).boxes


def test_boxes_are_placed_to_scale_heaviest_first() -> None:
    graph = parsed(render_svg(FOLDED, title="primes on threads"))
    drawn = [(box.get("class"), box.get("x"), box.get("width"), box.get("y")) for box in boxes_of(graph)]
    assert drawn == [
        ("root", "0.0000%", "100.0000%", "0"),
        ("harness", "0.0000%", "100.0000%", "19"),
        ("own", "0.0000%", "80.0000%", "38"),
        ("other", "0.0000%", "60.0000%", "57"),
        ("other", "80.0000%", "20.0000%", "38"),
    ]


def test_a_box_tells_its_frame_samples_and_share() -> None:
    titles = titles_of(parsed(render_svg(FOLDED, title="t")))
    assert titles[0] == "all\n100 samples, 100.0 %"
    assert titles[2] == f"{PRIMES}\n80 samples, 80.0 %"
    assert "1 sample, 33.3 %" in titles_of(parsed(render_svg({("a",): 2, ("b",): 1}, title="t")))[2]


def test_the_header_says_what_is_shown() -> None:
    text = text_of(parsed(render_svg(FOLDED, title="The title", subtitle="the subtitle", notes=["a note"])))
    for words in (
        "The title",
        "the subtitle",
        "a note",
        "all · 100 samples",
        "workload, in 80.0 %",
        "other code",
    ):
        assert words in text


def test_long_texts_wrap_into_lines_that_a_phone_shows() -> None:
    graph = parsed(render_svg(FOLDED, title="t", subtitle="word " * 40, notes=["note " * 40]))
    lines = ["".join(text.itertext()) for text in graph.iter(f"{SVG}text") if text.get("class") == "subtitle"]
    assert " ".join(lines) == ("word " * 40).strip()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 58


def test_a_list_in_the_subtitle_breaks_between_its_items() -> None:
    items = ["holding", "100 Hz for 3 s", "CPython 3.11.7", "4 workers, 4 users", "py-spy 0.4.3"]
    graph = parsed(render_svg(FOLDED, title="t", subtitle=" · ".join(items)))
    lines = ["".join(text.itertext()) for text in graph.iter(f"{SVG}text") if text.get("class") == "subtitle"]
    assert len(lines) == 2
    assert not any(line.endswith("·") for line in lines)
    assert all(any(item.replace(" ", "\u00a0") in line for line in lines) for item in items)


@pytest.mark.parametrize("standalone", [True, False])
@given(
    folded=st.dictionaries(stacks, st.integers(1, 1000), min_size=1, max_size=9), words=st.text(max_size=20)
)
def test_any_names_make_well_formed_xml(folded: Folded, words: str, *, standalone: bool) -> None:
    svg = render_svg(folded, title=words, subtitle=words, notes=[words], standalone=standalone)
    assert boxes_of(parsed(svg))
    svg.encode()


def test_names_are_text_never_markup() -> None:
    evil = "</text><script>alert(1)</script>&\"' (x.py:1)"
    graph = parsed(render_svg({(evil,): 1}, title=evil, subtitle=evil, notes=[evil], standalone=False))
    assert not list(graph.iter(f"{SVG}script"))
    assert graph.get("aria-label") == evil
    assert titles_of(graph)[1].startswith(evil)


def test_characters_that_xml_forbids_are_replaced() -> None:
    assert titles_of(parsed(render_svg({("a\x00b\x1b\ud800c",): 1}, title="t")))[1].startswith(
        "a\ufffdb\ufffd\ufffdc"
    )


@given(st.dictionaries(stacks, st.integers(1, 1000), min_size=1, max_size=12))
def test_siblings_fill_no_more_than_their_caller_and_never_overlap(folded: Folded) -> None:
    edge: dict[int, float] = {}
    for box in laid_out(folded):
        assert box.start >= edge.get(box.row, 0.0) - 1e-9
        edge[box.row] = box.start + box.width
        assert box.start + box.width <= edge.get(box.row - 1, 1.0) + 1e-9


def test_narrow_siblings_become_one_box_that_says_how_many() -> None:
    folded: Folded = {("wide",): 9000, **{(f"narrow{at}", "below"): 1 for at in range(1000)}}
    graph = parsed(render_svg(folded, title="t"))
    assert [title.split("\n")[0] for title in titles_of(graph)] == ["all", "wide", "1,000 narrower frames"]
    assert boxes_of(graph)[-1].get("width") == "10.0000%"
    assert "10.0 % is in frames too narrow to draw (under 0.15 %)" in text_of(graph)


def test_what_is_too_narrow_even_together_is_left_out_and_said() -> None:
    graph = parsed(render_svg({("wide",): 9990, ("speck",): 10}, title="t", standalone=False))
    assert [box.get("class") for box in boxes_of(graph)] == ["root", "other"]
    assert "0.1 % is in frames too narrow to draw" in text_of(graph)
    assert graph.get("data-merged") == "0.0010"


def test_nothing_is_said_where_everything_is_drawn() -> None:
    graph = parsed(render_svg(FOLDED, title="t", standalone=False))
    assert "narrow" not in text_of(graph)
    assert graph.get("data-merged") is None


def test_many_equal_specks_still_make_a_picture() -> None:
    boxes = laid_out({(f"f{at}",): 1 for at in range(100_000)})
    assert [(box.kind, box.width) for box in boxes] == [(Kind.ROOT, 1.0), (Kind.REST, 1.0)]


@given(st.dictionaries(stacks, st.integers(1, 10**6), min_size=1, max_size=12))
def test_no_drawn_frame_is_narrower_than_the_limit(folded: Folded) -> None:
    assert all(box.width >= MIN_SHARE for box in laid_out(folded))


def test_deep_stacks_do_not_hit_the_recursion_limit() -> None:
    boxes = boxes_of(parsed(render_svg({("f (a.py:1)",) * 5000: 1, ("f (a.py:1)",) * 4999: 1}, title="t")))
    assert len(boxes) == 5001
    assert boxes[-1].get("y") == str(19 * 5000)
    assert boxes[-1].get("width") == "50.0000%"


@pytest.mark.parametrize("folded", [{}, {("f",): 0.0}])
def test_no_samples_make_no_graph(folded: Folded) -> None:
    with pytest.raises(CaptureError, match="primes on threads") as caught:
        render_svg(folded, title="primes on threads")
    assert caught.value.remedy is not None
    assert "load" in caught.value.remedy


@pytest.mark.parametrize("accent", ["red", "#12345", "#1234567", '#000000"/><script>', ""])
def test_an_accent_is_a_colour(accent: str) -> None:
    with pytest.raises(ValueError, match="accent"):
        render_svg(FOLDED, title="t", accent=accent)


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
    style = parsed(render_svg(FOLDED, title="t", accent=accent, standalone=False)).get("style") or ""
    variables = dict(item.split(":") for item in style.split(";"))
    assert variables["--flame-accent"] == accent
    assert contrast(variables["--flame-on-accent"], accent) >= 4.5  # WCAG AA


def test_text_on_the_other_colours_is_readable_in_light_and_dark() -> None:
    light, dark = viewer_style().split("@media (prefers-color-scheme: dark)")
    for theme in (light, dark):
        colours = dict(
            line.strip(" ;").split(": ") for line in theme.splitlines() if line.strip().startswith("--")
        )
        for name in ("root", "harness", "other"):
            assert contrast(colours[f"--flame-{name}"], colours[f"--flame-{name}-ink"]) >= 7
        for name in ("ink", "muted"):
            assert contrast(colours["--flame-page"], colours[f"--flame-{name}"]) >= 4.5


@pytest.mark.parametrize(
    "frame",
    [
        "run (asyncio/runners.py:190)",
        "Runner.run (/usr/lib/python3.11/asyncio/runners.py:190)",
        WORKER,
        "Thread._bootstrap (threading.py:1002)",
        "worker (multiprocessing/pool.py:125)",
        "EpollSelector.select (selectors.py:468)",
        "_run_code (<frozen runpy>:88)",
        "_run_code (runpy.py:88)",
        "RequestHandler.start (aiohttp/web_protocol.py:5)",
        "serve (gilscope/commands/serve.py:9)",
        "thread (41): MainThread",
        'process 41:"python -m gilscope serve"',
    ],
)
def test_what_carries_work_is_harness(frame: str) -> None:
    assert is_harness(frame)


@pytest.mark.parametrize(
    "frame",
    [
        PRIMES,
        "dumps (json/__init__.py:231)",
        "f (mythreading.py:1)",
        "f (myasyncio/x.py:1)",
        "asyncio",
        "pthread_cond_timedwait (libc.so.6)",
    ],
)
def test_what_does_work_is_not(frame: str) -> None:
    assert not is_harness(frame)


def test_the_work_wins_over_the_harness() -> None:
    svg = render_svg(
        {("run (asyncio/runners.py:1)",): 1}, title="t", own=lambda frame: frame.startswith("run")
    )
    assert boxes_of(parsed(svg))[1].get("class") == "own"
    assert is_workload(PRIMES)
    assert not is_workload(WORKER)


def test_a_fragment_has_no_ids_style_or_script_of_its_own() -> None:
    graph = parsed(render_svg(FOLDED, title="t", standalone=False))
    assert graph.get("class") == "flame"
    assert not [element for element in graph.iter() if "id" in element.keys()]  # noqa: SIM118  (an Element is no dict)
    assert not list(graph.iter(f"{SVG}style"))
    assert not list(graph.iter(f"{SVG}script"))


def test_a_file_carries_its_style_and_script() -> None:
    graph = parsed(render_svg(FOLDED, title="t"))
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
