"""Grafana's dashboards: what is committed is what ``build.py`` writes, and holds to rules that a reader relies on.

``grafana-foundation-sdk`` 0.0.21 ships typed classes and no JSON schema. So the schema check is a round trip through
them: ``Dashboard.from_json`` drops keys that it does not know, and they would be missing afterwards.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from dashboards import (
    BOARDS,
    FOLDER,
    METRICS,
    NAMES,
    PROMETHEUS_OWN,
    SOMETIMES_EMPTY,
    dashboard,
    every_panel,
    names_in,
    panels,
    queries,
    raw_queries,
    recorded,
    sometimes_empty,
    substituted,
)
from requirements import require

from gilscope.model import BackendName
from gilscope.palette import BACKENDS, STATES

Board = dict[str, Any]
Rule = Callable[[Board], Iterator[str]]

UNITS = {"s", "percentunit", "reqps", "ops", "short", "bytes"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
FLAMES = "${profiles_url}/profiles?from=${__from}&to=${__to}"
STATE_KEYS = {"on_cpu": "cpu", "gil_wait": "gil_wait", "runqueue": "runqueue", "blocked": "blocked"}
EXTENTS = ("h", "w", "x", "y")


def data_source_is_a_variable(board: Board) -> Iterator[str]:
    found = [variable for variable in board["templating"]["list"] if variable["type"] == "datasource"]
    if [(each["name"], each["query"], each.get("label")) for each in found] != [
        ("datasource", "prometheus", "Data source")
    ]:
        yield "there is no one variable for the data source, labelled so"
    if any(each["multi"] or each["includeAll"] for each in found):
        yield "more than one data source can be chosen"


def everything_uses_it(board: Board) -> Iterator[str]:
    users = [("variable", each) for each in board["templating"]["list"] if each["type"] == "query"]
    users += [("annotation", each) for each in board["annotations"]["list"]]
    for panel in panels(board):
        users += [(panel["title"], each) for each in (panel, *panel["targets"])]
    for where, user in users:
        if user.get("datasource") != SOURCE:
            yield f"{where} does not use the data source that is chosen"


def panels_have_title_and_description(board: Board) -> Iterator[str]:
    for panel in panels(board):
        if not panel.get("title"):
            yield f"panel {panel['id']} has no title"
        if len(re.findall(r"[.:](?=\s|$)", panel.get("description", ""))) < 2:
            yield f"panel {panel['id']} does not say how to read it"


def panels_have_a_unit(board: Board) -> Iterator[str]:
    for panel in panels(board):
        if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
            yield f"{panel['title']} has no unit"


def panels_have_targets(board: Board) -> Iterator[str]:
    for panel in panels(board):
        references = [target["refId"] for target in panel["targets"]]
        if not references or len(set(references)) < len(references):
            yield f"{panel['title']} has no targets, or two of one name"


def promql_parses(board: Board) -> Iterator[str]:
    rules = [{"record": f"query:{at}", "expr": asked.promql} for at, asked in enumerate(queries(board))]
    require(shutil.which("promtool"), "promtool is not installed")
    done = subprocess.run(
        ["promtool", "check", "rules", "/dev/stdin"],
        input=json.dumps({"groups": [{"name": board["uid"], "rules": rules}]}),  # JSON is YAML
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        yield done.stderr


def ranges_are_the_rate_interval(board: Board) -> Iterator[str]:
    for where, raw in raw_queries(board):
        if any(found != "$__rate_interval" for found in re.findall(r"\[([^]]*)\]", raw)):
            yield f"{where} has a range of its own: {raw}"


def counters_are_rated(board: Board) -> Iterator[str]:
    """Counters of which only the growth means anything, rated before they are added: sums hide resets."""
    for where, raw in raw_queries(board):
        for found in re.finditer(r"(?<![\w:])\w+_(total|bucket|sum|count)\b(?!:)", raw):
            if "label_values" not in raw and not re.search(r"\b(rate|increase)\($", raw[: found.start()]):
                yield f"{where} shows a raw counter: {found[0]}"
        for found in re.finditer(r"\b(rate|increase)\((?=(\w*))", raw):
            if not found[2].endswith(("_total", "_bucket", "_sum", "_count")):
                yield f"{where} rates what is not a counter"
            if not re.search(r"\bsum( by \([^)]*\))? \($", raw[: found.start()]):
                yield f"{where} does not aggregate a rate"


def quantiles_keep_buckets_apart(board: Board) -> Iterator[str]:
    for where, raw in raw_queries(board):
        for found in re.finditer(r"histogram_quantile\([\d.]+, (.*)", raw):
            if not re.match(r"sum by \((le|le, [^)]*)\) \(rate\(\w+_bucket\b", found[1]):
                yield f"{where} takes a quantile of what is no histogram any more"


def variables_follow_the_time_range(board: Board) -> Iterator[str]:
    for variable in board["templating"]["list"]:
        if variable["type"] == "query" and variable.get("refresh") != 2:
            yield f"{variable['name']} is not refreshed when the time range changes"


def variables_are_used(board: Board) -> Iterator[str]:
    text = json.dumps([board["panels"], board["annotations"]])
    for variable in board["templating"]["list"]:
        if not re.search(rf"\$({variable['name']}\b|{{{variable['name']}}})", text):
            yield f"{variable['name']} is not used"


def several_values_are_matched_as_such(board: Board) -> Iterator[str]:
    several = [variable["name"] for variable in board["templating"]["list"] if variable["multi"]]
    for where, raw in raw_queries(board):
        for operator, name in re.findall(r'(=~|!~|!=|=)"\$(\w+)"', raw):
            if name in several and operator not in ("=~", "!~"):
                yield f"{where} matches {name} as if it had one value"


def it_cannot_be_edited(board: Board) -> Iterator[str]:
    if board["editable"]:
        yield "changes made in the browser would be lost"


def it_refreshes_with_the_scrapes(board: Board) -> Iterator[str]:
    if (board["refresh"], board["time"]) != ("5s", {"from": "now-15m", "to": "now"}):
        yield "it does not show the last quarter of an hour, as it comes in"


def ids_are_unique(board: Board) -> Iterator[str]:
    found = [panel["id"] for panel in every_panel(board)]
    if len(set(found)) < len(found) or not all(found):
        yield f"panels share a number, or have none: {found}"


def panels_do_not_overlap(board: Board) -> Iterator[str]:
    places = [(panel["title"], *(panel["gridPos"][key] for key in EXTENTS)) for panel in every_panel(board)]
    for name, h, w, x, y in places:
        if not (x >= 0 and x + w <= 24 and w > 0 and h > 0 and y >= 0):
            yield f"{name} is not on the grid"
    for (one, h, w, x, y), (other, its_h, its_w, its_x, its_y) in combinations(places, 2):
        if x < its_x + its_w and its_x < x + w and y < its_y + its_h and its_y < y + h:
            yield f"{one} and {other} overlap"


def series_can_be_told_apart(board: Board) -> Iterator[str]:
    for panel in panels(board):
        if panel["type"] == "table":
            continue
        legends = [target.get("legendFormat", "") for target in panel["targets"]]
        if len(set(legends)) < len(legends):
            yield f"{panel['title']} has two queries of the same name"
        for target, legend in zip(panel["targets"], legends, strict=True):
            grouped = re.search(r"\bby \(([^)]*)\)", target["expr"])
            labels = set(grouped[1].split(", ")) - {"le"} if grouped else set()
            if not legend or not labels <= set(re.findall(r"{{(\w+)}}", legend)):
                yield f"{panel['title']}: the legend {legend!r} does not name {sorted(labels)}"


def only_known_metrics(board: Board) -> Iterator[str]:
    for where, promql in queries(board):
        if unknown := names_in(promql) - METRICS - PROMETHEUS_OWN - set(recorded()):
            yield f"{where} asks for what nobody exposes: {unknown}"


def backends_have_their_colour(board: Board) -> Iterator[str]:
    for panel in panels(board):
        legends = [target.get("legendFormat", "") for target in panel["targets"]]
        for backend in BackendName:
            for legend in legends:
                name = legend.replace("{{backend}}", backend).replace("{{workload}}", "primes")
                if "{{backend}}" in legend and _colour_of(panel, name) != BACKENDS[backend]:
                    yield f"{panel['title']}: {name} is not {BACKENDS[backend]}"


def backends_in_tables_have_their_colour(board: Board) -> Iterator[str]:
    wanted = {str(backend): colour for backend, colour in BACKENDS.items()}
    for panel in panels(board):
        if panel["type"] == "table":
            mapped = _properties(panel, "Backend").get("mappings", [{"options": {}}])[0]["options"]
            if {name: each["color"] for name, each in mapped.items()} != wanted:
                yield f"{panel['title']} has other colours"


def states_have_their_colour(board: Board) -> Iterator[str]:
    for panel in panels(board):
        for legend in (target.get("legendFormat") for target in panel["targets"]):
            if legend in STATE_KEYS and _colour_of(panel, legend) != STATES[STATE_KEYS[legend]].light:
                yield f"{panel['title']}: {legend} has another colour"


def points_lead_to_flame_graphs(board: Board) -> Iterator[str]:
    for panel in panels(board):
        found = panel["fieldConfig"]["defaults"].get("links", ())
        links = [(link["url"], link["targetBlank"]) for link in found]
        has_points = panel["options"].get("textMode") != "name"
        if has_points and links != [(FLAMES, True)]:
            yield f"{panel['title']} does not lead to flame graphs"


def durations_are_logarithmic(board: Board) -> Iterator[str]:
    for panel in panels(board):
        defaults = panel["fieldConfig"]["defaults"]
        if panel["type"] == "timeseries" and defaults["unit"] == "s":
            if defaults["custom"].get("scaleDistribution") != {"type": "log", "log": 10}:
                yield f"{panel['title']} is not logarithmic"
        elif panel["type"] == "timeseries" and defaults.get("min") != 0:
            yield f"{panel['title']} does not begin at 0"


def heatmaps_get_buckets(board: Board) -> Iterator[str]:
    for panel in panels(board):
        if panel["type"] == "heatmap":
            (target,) = panel["targets"]
            right = re.fullmatch(
                r"sum by \(le\) \(rate\(\w+_bucket(\{.*\})?\[\$__rate_interval\]\)\)", target["expr"]
            )
            if target["format"] != "heatmap" or not right:
                yield f"{panel['title']} does not get buckets"


def rows_of_tables_can_be_merged(board: Board) -> Iterator[str]:
    """Grafana merges the answers to several queries where all labels are equal, and a series' name is one of them."""
    for panel in panels(board):
        if panel["type"] == "table":
            heads = {re.sub(r"\) \(.*", ")", target["expr"]) for target in panel["targets"]}
            formats = {target["format"] for target in panel["targets"]}
            if heads != {"max by (workload, backend)"} or formats != {"table"}:
                yield f"{panel['title']} has queries with different labels"


def boards_lead_to_each_other(board: Board) -> Iterator[str]:
    found = [
        (link["type"], link["tags"], link["keepTime"], link["includeVars"], link.get("placement"))
        for link in board["links"]
    ]
    if found != [("dashboards", ["gilscope"], True, True, None)] or "gilscope" not in board["tags"]:
        yield "there is no way to the other dashboards that keeps time range and variables"


def empty_queries_are_not_nan(board: Board) -> Iterator[str]:
    """Quantiles without observations and divisions by 0 are NaN, and would stand in legends and figures."""
    for where, raw in raw_queries(board):
        if raw.count("histogram_quantile") > raw.count(">= 0"):
            yield f"{where} is NaN while nothing is observed"
        if " / " in raw and not re.search(r" / .*> 0\)$", raw):
            yield f"{where} may divide by 0"


LINTER: Mapping[str, Rule | str] = {
    "dashboard-refresh-interval": it_refreshes_with_the_scrapes,
    "panel-datasource-rule": everything_uses_it,
    "panel-no-targets-rule": panels_have_targets,
    "panel-title-description-rule": panels_have_title_and_description,
    "panel-units-rule": panels_have_a_unit,
    "target-counter-agg-rule": counters_are_rated,
    "target-histogram-rule": quantiles_keep_buckets_apart,
    "target-legend-rule": series_can_be_told_apart,
    "target-promql-rule": promql_parses,
    "target-rate-interval-rule": ranges_are_the_rate_interval,
    "template-datasource-rule": data_source_is_a_variable,
    "template-label-promql-rule": promql_parses,
    "template-on-time-change-reload-rule": variables_follow_the_time_range,
    "template-unused-rule": variables_are_used,
    "template-variable-matchers-rule": several_values_are_matched_as_such,
    "uneditable-dashboard": it_cannot_be_edited,
    "target-logql-rule": "no query is for Loki",
    "target-job-rule": "names are gilscope's own: in which job they are is the reader's business",
    "target-instance-rule": "there is one service; Locust's processes are always added up",
    "template-job-rule": "no query selects by job, so there is nothing to choose",
    "template-instance-rule": "no query selects by instance, so there is nothing to choose",
}
"""grafana/dashboard-linter's rules: ours for the same, or why it does not apply."""

OUR_OWN: tuple[Rule, ...] = (
    ids_are_unique,
    panels_do_not_overlap,
    only_known_metrics,
    backends_have_their_colour,
    backends_in_tables_have_their_colour,
    states_have_their_colour,
    points_lead_to_flame_graphs,
    durations_are_logarithmic,
    heatmaps_get_buckets,
    rows_of_tables_can_be_merged,
    boards_lead_to_each_other,
    empty_queries_are_not_nan,
)
PORTED = tuple(dict.fromkeys(rule for rule in LINTER.values() if callable(rule)))
EVERY_RULE = (*PORTED, *OUR_OWN)


def _properties(panel: Board, name: str) -> dict[str, Any]:
    """Return what overrides say of a series, the last one of several."""
    found: dict[str, Any] = {}
    for override in panel["fieldConfig"]["overrides"]:
        kind, options = override["matcher"]["id"], override["matcher"]["options"]
        by_name = kind == "byName" and options == name
        if by_name or (kind == "byRegexp" and re.search(options.strip("/"), name)):
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


def _colour_of(panel: Board, name: str) -> object:
    colour = _properties(panel, name).get("color", {})
    return colour.get("fixedColor") if colour.get("mode") == "fixed" else None


@pytest.mark.parametrize("rule", EVERY_RULE, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_dashboard_holds_to(name: str, rule: Rule) -> None:
    assert list(rule(dashboard(name))) == []


def _first(board: Board, kind: str = "timeseries") -> Board:
    found: Board = next(panel for panel in panels(board) if panel["type"] == kind)
    return found


def _asks(promql: str) -> Callable[[Board], None]:
    def ask(board: Board) -> None:
        _first(board)["targets"][0]["expr"] = promql

    return ask


def _put(*path: str | int, value: object) -> Callable[[Board], None]:
    """Return what sets a value at a path into the first time series panel (or the board, from ``"/"`` on)."""

    def put(board: Board) -> None:
        whole = path[0] == "/"
        at: Any = board if whole else _first(board)
        *way, last = path[1:] if whole else path
        for step in way:
            at = at[step]
        at[last] = value

    return put


def _of(name: str, put: Callable[[Board], None]) -> Callable[[Board], None]:
    """Return a change to the first panel whose title has this in it, made the first of all."""

    def change(board: Board) -> None:
        board["panels"].sort(key=lambda panel: name not in panel["title"])
        put(board)

    return change


GOOD_RATE = (
    'sum by (workload, backend) (rate(gilscope_client_sent_total{backend=~"$backend"}[$__rate_interval]))'
)
BROKEN: tuple[tuple[Rule, str, Callable[[Board], None]], ...] = (
    (data_source_is_a_variable, "compare", _put("/", "templating", "list", 0, "name", value="source")),
    (data_source_is_a_variable, "compare", _put("/", "templating", "list", 0, "label", value="")),
    (data_source_is_a_variable, "compare", _put("/", "templating", "list", 0, "multi", value=True)),
    (data_source_is_a_variable, "load", lambda board: board["templating"]["list"].pop(0)),
    (everything_uses_it, "compare", _put("datasource", value={"type": "prometheus", "uid": "prometheus"})),
    (everything_uses_it, "load", _put("targets", 0, "datasource", value=None)),
    (everything_uses_it, "load", _put("/", "templating", "list", 1, "datasource", value=None)),
    (everything_uses_it, "load", _put("/", "annotations", "list", 0, "datasource", value=None)),
    (panels_have_title_and_description, "load", _put("title", value="")),
    (panels_have_title_and_description, "load", _put("description", value="Latency")),
    (panels_have_a_unit, "load", _put("fieldConfig", "defaults", "unit", value="")),
    (panels_have_a_unit, "load", _put("fieldConfig", "defaults", "unit", value="seconds")),
    (panels_have_targets, "load", _put("targets", value=[])),
    (panels_have_targets, "load", _put("targets", 1, "refId", value="A")),
    (promql_parses, "load", _asks("sum by (workload (up)")),
    (
        promql_parses,
        "load",
        _put("/", "templating", "list", 1, "query", "query", value="label_values(a{, b)"),
    ),
    (ranges_are_the_rate_interval, "load", _asks(GOOD_RATE.replace("$__rate_interval", "1m"))),
    (ranges_are_the_rate_interval, "load", _asks(GOOD_RATE.replace("$__rate_interval", "$__interval"))),
    (counters_are_rated, "load", _asks("sum (gilscope_client_sent_total)")),
    (counters_are_rated, "load", _asks("rate(gilscope_client_sent_total[$__rate_interval])")),
    (counters_are_rated, "load", _asks("sum (rate(sum (gilscope_client_sent_total)[$__rate_interval:]))")),
    (counters_are_rated, "load", _asks("sum (rate(gilscope_client_users[$__rate_interval]))")),
    (
        quantiles_keep_buckets_apart,
        "load",
        _asks("histogram_quantile(0.9, sum (rate(a_bucket[$__rate_interval]))) >= 0"),
    ),
    (
        quantiles_keep_buckets_apart,
        "load",
        _asks("histogram_quantile(0.9, sum by (le) (rate(a_count[$__rate_interval]))) >= 0"),
    ),
    (variables_follow_the_time_range, "load", _put("/", "templating", "list", 1, "refresh", value=1)),
    (variables_are_used, "load", _put("/", "templating", "list", 1, "name", value="work")),
    (several_values_are_matched_as_such, "load", _asks(GOOD_RATE.replace("=~", "="))),
    (it_cannot_be_edited, "load", _put("/", "editable", value=True)),
    (it_refreshes_with_the_scrapes, "load", _put("/", "refresh", value="1s")),
    (it_refreshes_with_the_scrapes, "load", _put("/", "time", "from", value="now-6h")),
    (ids_are_unique, "load", _put("/", "panels", 1, "id", value=1)),
    (ids_are_unique, "load", _put("id", value=0)),
    (panels_do_not_overlap, "load", _put("/", "panels", 1, "gridPos", "h", value=6)),
    (panels_do_not_overlap, "load", _put("/", "panels", 1, "gridPos", "w", value=7)),
    (panels_do_not_overlap, "load", _put("/", "panels", -1, "gridPos", "x", value=17)),
    (series_can_be_told_apart, "load", _put("targets", 0, "legendFormat", value="")),
    (series_can_be_told_apart, "load", _put("targets", 0, "legendFormat", value="{{workload}}")),
    (series_can_be_told_apart, "load", _put("targets", 1, "legendFormat", value="{{workload}} {{backend}}")),
    (only_known_metrics, "load", _asks("sum (gilscope_client_user)")),
    (only_known_metrics, "load", _asks("job:gilscope_client_users:p99_1m")),
    (backends_have_their_colour, "load", _put("fieldConfig", "overrides", -1, "properties", value=[])),
    (backends_have_their_colour, "load", _put("fieldConfig", "overrides", value=[])),
    (
        backends_in_tables_have_their_colour,
        "compare",
        lambda board: _first(board, "table")["fieldConfig"]["overrides"].pop(),
    ),
    (states_have_their_colour, "contention", _put("fieldConfig", "overrides", 0, "properties", value=[])),
    (points_lead_to_flame_graphs, "contention", _put("fieldConfig", "defaults", "links", value=[])),
    (
        points_lead_to_flame_graphs,
        "compare",
        _put("fieldConfig", "defaults", "links", 0, "url", value="/profiles"),
    ),
    (
        points_lead_to_flame_graphs,
        "load",
        _of("Sent late", _put("fieldConfig", "defaults", "links", value=[])),
    ),
    (
        durations_are_logarithmic,
        "compare",
        _put("fieldConfig", "defaults", "custom", "scaleDistribution", value={"type": "linear"}),
    ),
    (durations_are_logarithmic, "load", _put("fieldConfig", "defaults", "min", value=None)),
    (
        heatmaps_get_buckets,
        "contention",
        lambda board: _first(board, "heatmap")["targets"][0].update(format="time_series"),
    ),
    (
        heatmaps_get_buckets,
        "contention",
        lambda board: _first(board, "heatmap")["targets"][0].update(expr="sum by (le) (a_bucket)"),
    ),
    (
        rows_of_tables_can_be_merged,
        "compare",
        lambda board: _first(board, "table")["targets"][1].update(expr="level:metric:p50_1m"),
    ),
    (
        rows_of_tables_can_be_merged,
        "compare",
        lambda board: _first(board, "table")["targets"][1].update(expr="max by (backend) (a)"),
    ),
    (boards_lead_to_each_other, "load", _put("/", "links", 0, "keepTime", value=False)),
    (boards_lead_to_each_other, "load", _put("/", "links", 0, "placement", value="inControlsMenu")),
    (boards_lead_to_each_other, "load", _put("/", "tags", value=[])),
    (
        empty_queries_are_not_nan,
        "load",
        _asks("histogram_quantile(0.9, sum by (le) (rate(a_bucket[$__rate_interval])))"),
    ),
    (empty_queries_are_not_nan, "load", _asks("sum (a) / sum (b)")),
)


@pytest.mark.parametrize(("rule", "name", "breaks"), BROKEN, ids=lambda part: getattr(part, "__name__", part))
def test_broken_dashboard_is_found(rule: Rule, name: str, breaks: Callable[[Board], None]) -> None:
    board = copy.deepcopy(dashboard(name))

    breaks(board)

    assert list(rule(board))


def test_every_rule_can_fail() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(EVERY_RULE)


def test_exclusions_from_the_linter_have_reasons() -> None:
    assert all(callable(rule) or len(rule.split()) > 4 for rule in LINTER.values())


def _build(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("grafana_foundation_sdk")
    return subprocess.run(
        [sys.executable, folder / "build.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_committed_dashboards_are_what_build_writes(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "dashboards", ignore=shutil.ignore_patterns("*.json"))

    assert _build(folder).returncode == 0

    written = {path.name: path.read_bytes() for path in (folder / "grafana" / "dashboards").iterdir()}
    assert written == {path.name: path.read_bytes() for path in BOARDS.iterdir()}


def test_check_says_what_differs(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "dashboards")
    (folder / "grafana" / "dashboards" / "load.json").write_text('{"title": "mine"}\n')
    (folder / "grafana" / "dashboards" / "compare.json").unlink()

    done = _build(folder, "--check")

    assert done.returncode == 1
    assert '-{"title": "mine"}' in done.stdout
    assert '+  "uid": "gilscope-compare"' in done.stdout
    assert "gilscope-contention" not in done.stdout
    assert (folder / "grafana" / "dashboards" / "load.json").read_text() == '{"title": "mine"}\n'


def test_check_is_silent_where_nothing_differs() -> None:
    done = _build(FOLDER, "--check")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


ABOUT_V2 = pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")
"""The SDK would rather have the next schema, which Grafana's file provisioning refuses."""


def _through_the_sdk(board: Board) -> Board:
    pytest.importorskip("grafana_foundation_sdk")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    returned: Board = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    return returned


def _lost(wanted: object, found: object, path: str = "") -> Iterator[str]:
    """Yield where ``found`` lacks something of ``wanted``, or has another value; what it has beyond that may be."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            yield from _lost(value, found.get(key, "nothing"), f"{path}/{key}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for at, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _lost(one, other, f"{path}/{at}")
    elif wanted != found:
        yield f"{path}: {found!r} for {wanted!r}"


@ABOUT_V2
@pytest.mark.parametrize("name", NAMES)
def test_the_sdk_knows_every_key(name: str) -> None:
    board = dashboard(name)

    assert list(_lost(board, _through_the_sdk(board))) == []


@ABOUT_V2
@pytest.mark.parametrize(
    "breaks",
    [
        _put("/", "refreshes", value="5s"),
        _put("descripton", value="misspelt"),
        _put("options", "legend", "showLegends", value=True),
        _put("fieldConfig", "defaults", "units", value="s"),
        _put("targets", 0, "legend", value="misspelt"),
        _put("/", "templating", "list", 1, "all", value=".*"),
    ],
)
def test_a_key_that_the_sdk_does_not_know_is_found(breaks: Callable[[Board], None]) -> None:
    board = dashboard("load")

    breaks(board)

    assert list(_lost(board, _through_the_sdk(board)))


def test_dashboards_are_what_links_and_provisioning_expect() -> None:
    assert [dashboard(name)["uid"] for name in NAMES] == [f"gilscope-{name}" for name in NAMES]
    assert {path.stem for path in BOARDS.iterdir()} == set(NAMES)


@pytest.mark.parametrize(
    ("file", "facts"),
    [
        (
            "datasources/prometheus.yml",
            ("uid: prometheus", "url: http://prometheus:9090", "editable: false", "timeInterval: 5s", "POST"),
        ),
        (
            "dashboards/gilscope.yml",
            ("path: /etc/grafana/dashboards", "disableDeletion: true", "allowUiUpdates: false"),
        ),
    ],
)
def test_provisioning_is_what_dashboards_expect(file: str, facts: tuple[str, ...]) -> None:
    text = (FOLDER / "grafana" / "provisioning" / file).read_text()

    assert [fact for fact in facts if fact not in text] == []


@pytest.mark.parametrize(
    ("promql", "names"),
    [
        ('sum by (le) (rate(a_bucket{x="up",y=~"b"}[1m])) > 0', {"a"}),
        ("c_sum / on (role) group_left () (sum by (role) (d_total) > 0)", {"c", "d_total"}),
        ("level:metric:p99_1m and on (job, instance) up", {"level:metric:p99_1m", "up"}),
        ("max (g) or histogram_quantile(0.9, h) offset 5m", {"g", "h"}),
        ("level:metric_count:rate1m", {"level:metric_count:rate1m"}),
    ],
)
def test_names_in_a_query(promql: str, names: set[str]) -> None:
    assert names_in(promql) == names


def test_queries_can_be_asked() -> None:
    asked = [promql for name in NAMES for _, promql in queries(dashboard(name), "30s")]

    assert not [promql for promql in asked if "$" in promql or "label_values" in promql]
    assert any("[30s]" in promql for promql in asked)
    assert substituted("label_values(up{a=~'$backend'}, job)") == "up{a=~'.*'}"


@pytest.mark.parametrize("name", NAMES)
def test_starts_of_service_and_load_are_marked_at_their_moment(name: str) -> None:
    found = dashboard(name)["annotations"]["list"]

    starts = {each["name"]: each for each in found if each.get("useValueForTime")}
    assert {name: each["textFormat"] for name, each in starts.items()} == {
        "Service starts": "{{instance}}",
        "Load starts": "{{workload}} {{backend}}",
    }
    assert all(each["expr"].endswith(" * 1000") for each in starts.values()), "milliseconds"
    assert len({each["iconColor"] for each in found}) == len(found)


def test_what_may_be_empty_is_named_for_a_reason() -> None:
    asked = [promql for name in NAMES for _, promql in queries(dashboard(name))]

    assert {why for promql in asked if (why := sometimes_empty(promql))} == set(SOMETIMES_EMPTY.values())
    assert sometimes_empty("sum (gilscope_client_users)") is None


def test_every_metric_is_shown_somewhere() -> None:
    asked = [promql for name in NAMES for _, promql in queries(dashboard(name))]

    shown = set[str]().union(*map(names_in, asked))
    assert METRICS - shown == set()
