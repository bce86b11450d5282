"""Facts about stacked bars: what a mean request is made of, and where threads spent their time."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from gilscope.model import Anatomy, BackendName, LensReading, StateSeconds, ThreadRole
from gilscope.report import charts, stacks
from gilscope.report.anatomy import drawn, measured, overlap

ASYNCIO, THREADS, PROCESSES = BackendName.ASYNCIO, BackendName.THREADS, BackendName.PROCESSES

UNWATCHED = Anatomy(outside=80.0, queue=1.0, run=20.0, cpu=18.0, return_=0.5)
PARTLY = replace(UNWATCHED, runqueue=0.5)
EXPLAINED = Anatomy(20.0, 10.0, 65.0, 15.0, 5.0, gil_wait=40.0, runqueue=8.0, blocked=2.0)
SHORT = replace(EXPLAINED, gil_wait=36.0)
EXCESS = replace(EXPLAINED, gil_wait=52.5)
AFTER_ITS_TIME = Anatomy(3.0, 0.0, 5.0, 5.2, 0.0, gil_wait=0.1, runqueue=0.0, blocked=0.0)
ANATOMIES = {ASYNCIO: UNWATCHED, THREADS: SHORT, PROCESSES: EXCESS}

LOOP = StateSeconds(on_cpu_s=1.0, runqueue_s=1.0, gil_wait_s=6.0, blocked_s=2.0, gil_held_s=0.5)
WORKERS = StateSeconds(on_cpu_s=8.0, runqueue_s=2.0, gil_wait_s=28.0, blocked_s=2.0, gil_held_s=9.0)
READING = LensReading(10.0, 2000, {ThreadRole.LOOP: LOOP, ThreadRole.WORKER: WORKERS})


def plain(text: str | None) -> str:
    return (text or "").replace("\N{NO-BREAK SPACE}", " ")


def nowhere(backend: BackendName, part: str) -> str | None:
    return None


def to_the_waiting(backend: BackendName, part: str) -> str | None:
    return f"#{backend}-waiting" if part == "gil_wait" else None


def requests(width: int = charts.WIDE, link: stacks.Link = nowhere) -> ET.Element:
    return ET.fromstring(stacks.anatomy(ANATOMIES, width, link))


def crews_of(reading: LensReading, width: int = charts.WIDE, link: stacks.Link = nowhere) -> ET.Element:
    return ET.fromstring(stacks.threads({THREADS: reading}, width, link))


def linked(root: ET.Element) -> list[tuple[str | None, str]]:
    """Return where each link leads, and what the box in it says on hover."""
    return [(anchor.get("href"), hover) for anchor in root.iter("a") for hover in boxes(anchor)]


def boxes(root: ET.Element, class_: str = "segment") -> dict[str, float]:
    """Map what each box says on hover to its width."""
    found = [mark for mark in root.iter("rect") if mark.get("class") == class_]
    return {plain(mark[0].text): float(mark.attrib["width"]) for mark in found}


def texts(root: ET.Element, class_: str) -> list[str]:
    return [plain(mark.text) for mark in root.iter("text") if mark.get("class") == class_]


# The mean request, taken apart.


@pytest.mark.parametrize("row", [UNWATCHED, PARTLY, EXPLAINED, SHORT, EXCESS, AFTER_ITS_TIME])
def test_stages_add_up_to_the_mean_request(row: Anatomy) -> None:
    assert sum(measured(row).values()) == pytest.approx(row.mean)
    assert sum(drawn(row).values()) == pytest.approx(row.mean)
    assert min(drawn(row).values()) >= 0


def test_what_no_lens_told_apart_is_off_cpu() -> None:
    assert measured(UNWATCHED) == {"outside": 80.0, "queue": 1.0, "cpu": 18.0, "off_cpu": 2.0, "return": 0.5}
    assert drawn(UNWATCHED) == measured(UNWATCHED)
    assert measured(PARTLY)["off_cpu"] == 1.5


def test_what_the_parts_leave_is_unexplained() -> None:
    assert drawn(SHORT) == {
        "outside": 20.0, "queue": 10.0, "cpu": 15.0, "gil_wait": 36.0, "runqueue": 8.0, "blocked": 2.0,
        "unexplained": 4.0, "return": 5.0,
    }  # fmt: skip
    assert drawn(SHORT) == measured(SHORT)
    assert (overlap(SHORT), overlap(UNWATCHED)) == (0.0, 0.0)


def test_parts_that_exceed_the_run_share_what_the_stamps_leave() -> None:
    assert measured(EXCESS)["unexplained"] == -12.5
    assert overlap(EXCESS) == 12.5
    shown = drawn(EXCESS)
    assert (shown["cpu"], shown["unexplained"]) == (15.0, 0.0)
    assert shown["gil_wait"] == pytest.approx(42.0)
    assert shown["gil_wait"] / shown["runqueue"] == pytest.approx(52.5 / 8)


def test_nothing_is_drawn_negative_when_clocks_disagree() -> None:
    shown = drawn(replace(AFTER_ITS_TIME, outside=-0.1))
    assert (shown["outside"], shown["cpu"], shown["gil_wait"]) == (0.0, 5.0, 0.0)


# Its picture.


def test_segments_are_as_wide_as_the_stages() -> None:
    per_ms = (charts.WIDE - 2) / (101.5 * 1.04)
    widths = boxes(requests())
    assert widths["threads, GIL wait: 36.0 ms (36 %)"] == pytest.approx(36 * per_ms, abs=0.1)
    assert widths["threads, unexplained: 4.00 ms (4.0 %)"] == pytest.approx(4 * per_ms, abs=0.1)
    assert widths["asyncio, outside: 80.0 ms (79 %)"] == pytest.approx(80 * per_ms, abs=0.1)


def test_a_bar_is_as_long_as_the_mean_even_where_the_parts_exceed_it() -> None:
    per_ms = (charts.WIDE - 2) / (101.5 * 1.04)
    widths = {hover: width for hover, width in boxes(requests()).items() if hover.startswith("processes")}
    assert sum(widths.values()) == pytest.approx(100 * per_ms, abs=0.5)
    # What is said is what was measured.
    assert widths["processes, GIL wait: 52.5 ms (52 %)"] == pytest.approx(42 * per_ms, abs=0.1)


def test_an_excess_is_told_in_words_where_it_could_be_seen() -> None:
    assert [text for text in texts(requests(), "tick") if "split" in text] == [
        "split exceeds the run by 12.5 ms"
    ]
    assert stacks.excess_told(replace(EXPLAINED, gil_wait=40.4)) == ""
    assert stacks.excess_told(SHORT) == stacks.excess_told(UNWATCHED) == ""


def test_only_the_unexplained_is_striped() -> None:
    striped = [group.get("class") for group in requests().iter("g") if group.find("path") is not None]
    assert striped == ["s-unexplained"]


def test_the_picture_says_what_it_shows() -> None:
    assert plain(requests().get("aria-label")) == (
        "Anatomy of the mean request: asyncio 102 ms on average, threads 100 ms on average, 36.0 ms of it"
        " waiting for the GIL, processes 100 ms on average, 52.5 ms of it waiting for the GIL"
    )


# Where the threads' time went.


def test_states_are_shares_of_the_wall_time() -> None:
    assert stacks.shares(LOOP) == {"cpu": 0.1, "gil_wait": 0.6, "runqueue": 0.1, "blocked": 0.2}
    assert sum(stacks.shares(StateSeconds(0, 0, 0, 0)).values()) == 0
    assert stacks.held_share(LOOP) == 0.05
    assert stacks.held_share(replace(LOOP, gil_held_s=None)) is None


def test_workers_are_counted_by_their_wall_time() -> None:
    assert [(crew.name, crew.threads) for crew in stacks.crews(READING)] == [
        ("event loop", 1),
        ("4 workers", 4),
    ]
    single = replace(READING, roles={ThreadRole.WORKER: LOOP})
    assert [crew.name for crew in stacks.crews(single)] == ["1 worker"]


def test_roles_without_time_have_no_bar() -> None:
    idle = {ThreadRole.LOOP: LOOP, ThreadRole.WORKER: StateSeconds(0, 0, 0, 0), ThreadRole.OTHER: WORKERS}
    assert [crew.name for crew in stacks.crews(replace(READING, roles=idle))] == ["event loop"]


def test_bars_have_the_shares_and_lines_have_what_was_held() -> None:
    root = crews_of(READING)
    room = charts.WIDE - 2
    assert boxes(root)["threads, event loop, GIL wait: 60 %"] == pytest.approx(0.6 * room, abs=0.1)
    assert boxes(root)["threads, 4 workers, GIL wait: 70 %"] == pytest.approx(0.7 * room, abs=0.1)
    assert boxes(root, "held") == {
        "threads, event loop, held the GIL: 5.0 %": pytest.approx(0.05 * room, abs=0.1),
        "threads, 4 workers, held the GIL: 22 %": pytest.approx(0.225 * room, abs=0.1),
    }


def test_contention_is_said_in_bold() -> None:
    assert texts(crews_of(READING), "value") == [
        "waits for the GIL 60 % of its time, holds it 5.0 %",
        "wait for the GIL 70 % of their time, hold it 22 %",
    ]
    calm = replace(READING, roles={ThreadRole.LOOP: StateSeconds(9.0, 0.1, 0.9, 0.0)})
    assert texts(crews_of(calm), "value") == []
    assert texts(crews_of(calm), "told") == ["event loop", "waits for the GIL 9.0 % of its time"]


def test_a_phone_gets_fewer_words() -> None:
    told = texts(crews_of(READING, charts.NARROW), "value")
    assert told == ["GIL wait 60 %, held 5.0 %", "GIL wait 70 %, held 22 %"]


def test_what_was_held_is_left_out_where_nobody_knows() -> None:
    unknown = replace(READING, roles={ThreadRole.LOOP: replace(LOOP, gil_held_s=None)})
    assert boxes(crews_of(unknown), "held") == {}
    assert texts(crews_of(unknown, charts.NARROW), "value") == ["GIL wait 60 %"]


def test_without_a_gil_time_off_the_cpu_is_told() -> None:
    spent = {ThreadRole.LOOP: StateSeconds(1, 2, 0, 7), ThreadRole.WORKER: StateSeconds(30, 5, 0, 5)}
    rows = {THREADS: replace(READING, roles=spent)}
    root = ET.fromstring(stacks.threads(rows, charts.WIDE, nowhere, gil=False))
    assert texts(root, "told") == [
        "event loop",
        "is off the CPU 90 % of its time",
        "4 workers",
        "are off the CPU 25 % of their time",
    ]
    narrow = ET.fromstring(stacks.threads(rows, charts.NARROW, nowhere, gil=False))
    assert texts(narrow, "told") == ["event loop", "off CPU 90 %", "4 workers", "off CPU 25 %"]
    assert "GIL" not in ET.tostring(root, encoding="unicode")


def test_the_threads_are_told_to_those_who_cannot_see_them() -> None:
    assert plain(crews_of(READING).get("aria-label")) == (
        "Where the threads' time went: threads event loop waits for the GIL 60 % of its time, holds it 5.0 %;"
        " 4 workers wait for the GIL 70 % of their time, hold it 22 %"
    )


# Where a click leads.


@pytest.mark.parametrize("width", [charts.WIDE, charts.NARROW])
def test_a_part_of_a_request_leads_where_its_link_says(width: int) -> None:
    root = requests(width, to_the_waiting)
    assert linked(root) == [
        ("#threads-waiting", "threads, GIL wait: 36.0 ms (36 %)"),
        ("#processes-waiting", "processes, GIL wait: 52.5 ms (52 %)"),
    ]
    assert boxes(root) == boxes(requests(width))


@pytest.mark.parametrize("width", [charts.WIDE, charts.NARROW])
def test_a_state_of_the_threads_leads_where_its_link_says(width: int) -> None:
    root = crews_of(READING, width, to_the_waiting)
    assert linked(root) == [
        ("#threads-waiting", "threads, event loop, GIL wait: 60 %"),
        ("#threads-waiting", "threads, 4 workers, GIL wait: 70 %"),
    ]
    assert boxes(root, "held") == boxes(crews_of(READING, width), "held")


def test_without_a_place_to_lead_to_there_is_no_link() -> None:
    assert linked(requests()) == linked(crews_of(READING)) == []


def test_every_part_may_have_a_link_of_its_own() -> None:
    root = requests(link=lambda backend, part: f"#{backend}-{part}")
    assert [href for href, hover in linked(root) if hover.startswith("threads")] == [
        f"#threads-{part}"
        for part in ("outside", "queue", "cpu", "gil_wait", "runqueue", "blocked", "unexplained", "return")
    ]


def test_a_link_is_escaped() -> None:
    root = requests(link=lambda _, part: '#"><script>' if part == "gil_wait" else None)
    assert {href for href, _ in linked(root)} == {'#"><script>'}
    assert root.find(".//script") is None
