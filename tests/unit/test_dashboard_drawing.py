"""The drawings of the dashboards: what is read from a dashboard's JSON exactly, and one drawing of made-up data."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from dashboards import FOLDER, NAMES, RULES, dashboard, every_panel, panels
from requirements import require

from gilscope.model import BackendName
from gilscope.palette import BACKENDS, STATES

if TYPE_CHECKING:
    from answers import Series, Span

PAGE = FOLDER.parent / "docs" / "dashboards.md"
IMAGES = PAGE.parent / "images"
MOST_BYTES = 250_000
START_S, STEP_S = 1_800_000_000.0, 5
TIMES_S = [START_S + at * STEP_S for at in range(40)]
NAN = math.nan


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.0, "s", None, "0 s"),
        (0.0000416, "s", None, "41.6 µs"),
        (0.001, "s", None, "1 ms"),
        (0.0123456, "s", None, "12.3 ms"),
        (0.0123456, "s", 1, "12.3 ms"),
        (1.0, "s", None, "1 s"),
        (75.0, "s", None, "1.25 min"),
        (0.1234, "percentunit", 1, "12.3%"),
        (1.0, "percentunit", None, "100%"),
        (0.0, "percentunit", 1, "0.0%"),
        (54.321, "reqps", None, "54.3 req/s"),
        (1234.0, "reqps", None, "1.23 K req/s"),
        (199.6, "ops", None, "200 ops/s"),
        (2.0, "short", None, "2"),
        (0.046, "short", None, "0.046"),
        (2_500_000.0, "short", None, "2.5 Mil"),
        (0.0, "bytes", None, "0 B"),
        (19_713_229.0, "bytes", None, "18.8 MiB"),
        (NAN, "s", 1, "\N{EN DASH}"),
        (math.inf, "short", None, "\N{EN DASH}"),
    ],
)
def test_values_are_written_with_grafanas_units(
    value: float, unit: str, decimals: int | None, text: str
) -> None:
    from reading import written

    assert written(value, unit, decimals) == text.replace("µ", "\N{GREEK SMALL LETTER MU}")


def test_legends_are_filled_with_labels() -> None:
    from reading import named

    labels = {"workload": "primes", "backend": "threads"}
    assert named("{{workload}} {{ backend }} due", labels) == "primes threads due"
    assert named("p99", labels) == "p99"
    assert named("{{clock}}", labels) == ""
    assert named("", labels) == "backend=threads, workload=primes"


@pytest.mark.parametrize(
    ("seconds", "points", "step", "window"),
    [
        (270, 600, 5, 20),
        (900, 600, 5, 20),
        (3600, 600, 10, 20),
        (86_400, 600, 300, 305),
        (1e9, 600, 86_400, 86_405),
    ],
)
def test_steps_are_no_finer_than_scrapes_and_no_more_than_there_is_room_for(
    seconds: float, points: int, step: int, window: int
) -> None:
    from answers import Span, step_s, substituted, window_s

    assert step_s(seconds, points) == step
    assert window_s(step) == window
    assert substituted('rate(a{b=~"$backend"}[$__rate_interval])', step) == f'rate(a{{b=~".*"}}[{window}s])'
    span = Span.of(1_000_003, 1_000_003 + seconds, points)
    assert span.start_s % step == 0
    assert 0 <= 1_000_003 - span.start_s < step


@pytest.mark.parametrize("name", NAMES)
def test_places_fill_the_picture_and_do_not_overlap(name: str) -> None:
    from reading import GAP, MARGIN, WIDTH, height, place

    every = list(every_panel(dashboard(name)))
    boxes = [place(panel["gridPos"]) for panel in every]
    assert min(box.left for box in boxes) == MARGIN
    assert max(box.left + box.width for box in boxes) == pytest.approx(WIDTH - MARGIN)
    assert max(box.top + box.height for box in boxes) == pytest.approx(height(every) - MARGIN)
    for one in boxes:
        for other in boxes:
            beside = one.left + one.width + GAP <= other.left + 1e-6 or other.left + other.width <= one.left
            above = one.top + one.height + GAP <= other.top + 1e-6 or other.top + other.height <= one.top
            assert one is other or beside or above


def _series(values: list[float], **labels: str) -> Series:
    from answers import Series

    return Series(labels, TIMES_S[: len(values)], values)


def test_overrides_give_colour_and_dashes() -> None:
    from reading import SERIES_COLOURS, styled

    panel = next(panel for panel in panels(dashboard("load")) if panel["title"].startswith("Rates"))
    primes = _series([1.0], workload="primes", backend="threads")
    lines = styled(panel, [("{{workload}} {{backend}} asked for", primes), ("nobody's", primes)])
    assert [line.name for line in lines] == ["primes threads asked for", "nobody's"]
    assert [line.colour for line in lines] == [BACKENDS[BackendName.THREADS], SERIES_COLOURS[1]]
    assert [line.dash for line in lines] == [(10, 6), ()]


def test_lines_break_where_nothing_was_measured() -> None:
    from reading import Line, pieces

    times = [0.0, 5.0, 10.0, 15.0, 45.0, 50.0]
    line = Line("", "", (), times, [1.0, NAN, 3.0, 4.0, 5.0, NAN])
    assert list(pieces(line, 15.0)) == [([0.0, 10.0, 15.0], [1.0, 3.0, 4.0]), ([45.0], [5.0])]
    assert list(pieces(Line("", "", (), [0.0], [NAN]), 15.0)) == []


def test_cells_of_a_heatmap_are_what_each_bucket_has_more_than_the_one_below() -> None:
    from reading import cells

    found = [
        _series([9.0, 9.0], le="+Inf"),
        _series([2.0, 0.0], le="0.001"),
        _series([7.0, 4.0, 5.0], le="0.01"),
    ]
    bounds, rows = cells(found, TIMES_S[:3])
    assert bounds == ["0.001", "0.01", "+Inf"]
    assert rows[0][:2] == [2.0, 0.0]
    assert rows[1] == [5.0, 4.0, 5.0]
    assert rows[2][:2] == [2.0, 5.0]
    assert math.isnan(rows[0][2])


def test_thresholds_and_last_values() -> None:
    from reading import NAMED_COLOURS, last, level

    steps: list[dict[str, Any]] = [{"color": "green", "value": None}, {"color": "red", "value": 0.5}]
    assert [level(steps, value) for value in (0.4, 0.5)] == [NAMED_COLOURS["green"], NAMED_COLOURS["red"]]
    assert last([1.0, 2.0, NAN]) == 2.0
    assert math.isnan(last([NAN]))


def test_alerts_at_the_same_time_are_one_span() -> None:
    _require_matplotlib()
    from draw import merged

    assert merged([(5, 9), (1, 3), (2, 4), (9, 10)]) == [(1, 4), (5, 10)]


def test_starts_have_the_colours_of_their_annotations() -> None:
    _require_matplotlib()
    from answers import Span
    from draw import marked
    from reading import NAMED_COLOURS

    marks = marked(dashboard("load"), MadeUp(), Span(TIMES_S[0], TIMES_S[-1], STEP_S))
    assert marks.starts_s == [(START_S + 20, NAMED_COLOURS["blue"]), (START_S + 22, NAMED_COLOURS["purple"])]


def test_a_moment_needs_a_zone() -> None:
    _require_matplotlib()
    from draw import moment_s

    assert moment_s("1970-01-01T00:01:00Z") == 60
    with pytest.raises(ValueError, match="add Z"):
        moment_s("1970-01-01T00:01:00")


class MadeUp:
    """Answers every query for two backends, with labels and values that its kind has to have."""

    def over(self, promql: str, span: Span) -> list[Series]:
        assert span.step_s == STEP_S
        if "run_started" in promql:
            return [_series([(START_S + 20) * 1e3] * 3)]
        if "client_started" in promql:
            return [_series([(START_S + 22) * 1e3] * 3, workload="primes", backend="threads")]
        if "restarts" in promql or "ALERTS" in promql:
            return []
        if "by (le) " in promql:
            rising = enumerate(("0.001", "0.01", "0.1", "+Inf"), start=1)
            return [_series([float(at)] * len(TIMES_S), le=bound) for at, bound in rising]
        return [self._one(promql, backend) for backend in ("asyncio", "threads")][
            : 2 if "backend" in promql else 1
        ]

    def at(self, promql: str, moment_s: float) -> list[Series]:
        assert promql.startswith("max by")
        assert moment_s == TIMES_S[-1]
        return [_series([0.25], workload="primes", backend="threads", version="1", python="3.13.0", gil="on")]

    def _one(self, promql: str, backend: str) -> Series:
        half = [NAN] * 20 + [0.25] * 20 if backend == "threads" else [0.25] * 20
        labels = {
            "workload": "primes",
            "backend": backend,
            "role": "loop",
            "status": "500",
            "clock": "service",
        }
        wanted = re.search(r"by \(([^)]*)\)", promql)
        names = wanted[1].split(", ") if wanted else []
        return _series(half, **{name: labels[name] for name in names if name in labels})


def _require_matplotlib() -> None:
    require(importlib.util.find_spec("matplotlib"), "Matplotlib is not installed")


@pytest.fixture(params=NAMES)
def drawn(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Any]:
    _require_matplotlib()
    return dashboard(request.param), _picture(request.param)


@functools.cache
def _picture(name: str) -> Any:  # noqa: ANN401  Matplotlib's, where there is one
    from answers import Span
    from draw import picture

    return picture(dashboard(name), MadeUp(), Span(TIMES_S[0], TIMES_S[-1], STEP_S), "made up")


def _axes(figure: Any) -> dict[str, Any]:  # noqa: ANN401  Matplotlib's, where there is one
    return {axes.get_label(): axes for axes in figure.axes}


def test_every_panel_is_drawn_where_it_stands(drawn: tuple[dict[str, Any], Any]) -> None:
    from reading import WIDTH, height, place

    board, figure = drawn
    found = _axes(figure)
    assert set(found) - {"scale"} >= {panel["title"] for panel in panels(board)} - {"Service"}
    for panel in panels(board):
        if panel["title"] in found:
            box, spot = place(panel["gridPos"]), found[panel["title"]].get_position()
            assert box.left <= spot.x0 * WIDTH <= spot.x1 * WIDTH <= box.left + box.width + 1e-6
            assert box.top <= (1 - spot.y1) * height(board["panels"]) <= box.top + box.height


def test_series_have_the_palettes_colours(drawn: tuple[dict[str, Any], Any]) -> None:
    _, figure = drawn
    found = _axes(figure)
    found.pop("What the lens watches", None)  # Threads and processes there are no backends.
    lines = [line for axes in found.values() for line in axes.get_lines()]
    seen = {name: set[str]() for name in BACKENDS}
    for line in lines:
        for name in BACKENDS:
            if name in str(line.get_label()).split():
                seen[name].add(line.get_color())
    assert {name: colours for name, colours in seen.items() if colours} == {
        name: {BACKENDS[name]} for name in (BackendName.ASYNCIO, BackendName.THREADS)
    }


def test_states_are_stacked_in_their_colours() -> None:
    _require_matplotlib()
    from matplotlib.colors import to_hex

    areas = _axes(_picture("contention"))["Where the event loop's time goes"].collections
    keys = {"on_cpu": "cpu"}
    states = {area.get_label(): to_hex(area.get_facecolor()[0]).upper() for area in areas}
    assert list(states) == ["on_cpu", "gil_wait", "runqueue", "blocked"]
    assert states == {name: STATES[keys.get(name, name)].light for name in states}
    assert [area.get_paths()[0].vertices[:, 1].max() for area in areas] == [0.25, 0.5, 0.75, 1.0]


def test_a_panel_without_values_says_so(drawn: tuple[dict[str, Any], Any]) -> None:
    board, figure = drawn
    words = [text.get_text() for text in figure.texts]
    assert words.count("No data") == sum(panel["title"] == "Restarts" for panel in panels(board))


def test_what_it_is_stands_in_the_picture(drawn: tuple[dict[str, Any], Any]) -> None:
    from draw import LABEL, svg

    board, figure = drawn
    text = svg(figure, "about")
    assert text.startswith("<svg")
    assert text == svg(figure, "about")
    words = [
        "".join(each.itertext()).strip()
        for each in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {LABEL, board["title"], "made up"} <= set(words)
    assert {panel["title"] for panel in panels(board)} <= set(words)
    assert {each.get_text().strip() for each in figure.texts} <= set(words)


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_picture_shows_every_panel(name: str) -> None:
    path = IMAGES / f"dashboard-{name}.svg"
    assert path.stat().st_size < MOST_BYTES
    words = {
        "".join(each.itertext()).strip() for each in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")
    }
    assert {panel["title"] for panel in every_panel(dashboard(name)) if panel["type"] != "row"} <= words
    assert f"images/dashboard-{name}.svg" in PAGE.read_text(encoding="utf-8")


def _alerts(text: str, before: str) -> Iterator[str]:
    for found in re.finditer(rf"^{before}(Gilscope\w+)", text, re.MULTILINE):
        yield found[1]


def test_the_page_tells_of_every_alert_in_the_order_of_the_rules() -> None:
    rules = list(_alerts((RULES / "alerting.yml").read_text(encoding="utf-8"), " *- alert: "))
    assert rules
    assert list(_alerts(PAGE.read_text(encoding="utf-8"), r"\| `")) == rules


def test_the_page_tells_of_every_dashboard() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [dashboard(name)["title"] for name in NAMES if f"## {dashboard(name)['title']}" not in text] == []


def test_recorded_targets_have_the_jobs_of_the_stack() -> None:
    from record import Ports, configuration

    config = json.loads(json.dumps(configuration(Ports(1, 2, 3, 4, 5))))
    jobs = {each["job_name"]: each["static_configs"][0]["targets"] for each in config["scrape_configs"]}
    stack = (FOLDER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    assert list(jobs) == re.findall(r"job_name: (\S+)", stack)
    assert jobs["gilscope-lens"] == ["127.0.0.1:3"]
    assert [Path(rule).parent for rule in config["rule_files"]] == [RULES]
