"""What the dashboards have in common: variables, links to each other, annotations, and the grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard
from promql import CHOSEN, WHO
from visuals import SOURCE, Panel

TAG = "gilscope"
COLUMNS = 24

_Built = TypeVar("_Built")


@dataclass(frozen=True, slots=True)
class Section:
    """A titled row and the panels below it, in the order of reading."""

    title: str
    panels: Sequence[Panel]


def board(name: str, title: str, description: str, sections: Sequence[Section]) -> dashboard.Dashboard:
    """Return a whole dashboard; ``name`` ends its uid, which links rely on."""
    builder = (
        boards.Dashboard(title)
        .uid(f"gilscope-{name}")
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time("now-15m", "now")
        .refresh("5s")
        .link(_others())
        .variables(_variables())
        .annotations([_runs(), _loads(), _alerts()])
    )
    for placed in _placed(sections):
        if isinstance(placed, dashboard.RowPanel):
            builder.with_row(_Ready(placed))
        else:
            builder.with_panel(_Ready(placed))
    return builder.build()


def plain(built: dict[str, Any]) -> dict[str, Any]:
    """Return a dashboard's JSON without what the SDK adds to every link and annotation and Grafana would act on.

    It places them all in a menu, where nobody finds them; and it has no class for data links, which take three keys.
    """
    for item in (*built["links"], *built["annotations"]["list"]):
        item.pop("placement", None)
    for panel in built["panels"]:
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        if "links" in defaults:
            defaults["links"] = [
                {key: link[key] for key in ("title", "url", "targetBlank")} for link in defaults["links"]
            ]
    return built


class _Ready(Builder[_Built]):
    """What is built already, for the SDK's methods that take builders alone."""

    def __init__(self, built: _Built) -> None:
        self._built = built

    def build(self) -> _Built:
        return self._built


def _placed(sections: Sequence[Section]) -> Iterator[dashboard.RowPanel | dashboard.Panel]:
    """Yield rows and panels with their place and a number, each panel as far up and left as it goes."""
    number, heights = 0, [0] * COLUMNS
    for section in sections:
        number += 1
        top = max(heights)
        place = dashboard.GridPos(h=1, w=COLUMNS, x=0, y=top)
        yield boards.Row(section.title).id(number).grid_pos(place).build()
        heights = [top + 1] * COLUMNS
        for panel in (builder.build() for builder in section.panels):
            number += 1
            panel.id_val = number
            panel.grid_pos = _fit(panel.grid_pos or dashboard.GridPos(), heights)
            yield panel


def _fit(size: dashboard.GridPos, heights: list[int]) -> dashboard.GridPos:
    """Return the highest free place for a panel of this size, and take it."""
    top, left = min((max(heights[x : x + size.w]), x) for x in range(COLUMNS - size.w + 1))
    heights[left : left + size.w] = [top + size.h] * size.w
    return dashboard.GridPos(h=size.h, w=size.w, x=left, y=top)


def _others() -> boards.DashboardLink:
    return (
        boards.DashboardLink("gilscope")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(True)  # noqa: FBT003  the SDK's signature
        .keep_time(True)  # noqa: FBT003
    )


def _variables() -> list[Builder[dashboard.VariableModel]]:
    source = (
        boards.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(dashboard.VariableOption(text="Prometheus", value="prometheus"))
    )
    profiles = (
        boards.TextBoxVariable("profiles_url")
        .label("Flame graphs at")
        .description("Where the service or its profiler serves /profiles, as your browser reaches it.")
        .default_value("http://127.0.0.1:8081")
        .current(dashboard.VariableOption(text="http://127.0.0.1:8081", value="http://127.0.0.1:8081"))
    )
    workload = _label("workload", "gilscope_request_duration_seconds_count")
    return [source, workload, _label("backend", "gilscope_backend_workers"), profiles]


def _label(name: str, metric: str) -> boards.QueryVariable:
    """Return a choice of a label's values in a metric: of workloads those that have had a request, of backends all."""
    query = f"label_values({metric}, {name})"
    return (
        boards.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .definition(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)  # noqa: FBT003  the SDK's signature
        .include_all(True)  # noqa: FBT003
        .all_value(".*")
        .current(dashboard.VariableOption(text="All", value="$__all"))
    )


def _runs() -> boards.AnnotationQuery:
    """Return a mark at each start of the service: the value is the moment, so no step of a query can miss it."""
    return (
        _annotation("Service starts", "gilscope_run_started_timestamp_seconds * 1000", "blue")
        .use_value_for_time(True)  # noqa: FBT003  the SDK's signature
        .title_format("The service started")
        .text_format("{{instance}}")
    )


def _loads() -> boards.AnnotationQuery:
    """Return a mark at each start of the load; all of Locust's processes begin at about the same time, and make one."""
    started = f"gilscope_client_started_timestamp_seconds{{{CHOSEN}}}"
    return (
        _annotation("Load starts", f"min by ({WHO}) ({started}) * 1000", "purple")
        .use_value_for_time(True)  # noqa: FBT003  the SDK's signature
        .title_format("The load started")
        .text_format("{{workload}} {{backend}}")
    )


def _alerts() -> boards.AnnotationQuery:
    expr = 'ALERTS{source="gilscope",alertstate="firing"}'
    return (
        _annotation("Firing alerts", expr, "red")
        .title_format("{{alertname}}")
        .text_format("{{workload}} {{backend}}")
        .tag_keys("severity")
    )


def _annotation(name: str, expr: str, colour: str) -> boards.AnnotationQuery:
    """Return an annotation; Grafana reads the expression in two places, depending on its age."""
    target = prometheus.Dataquery().ref_id("Anno").datasource(SOURCE).expr(expr).range()
    return (
        boards.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)  # noqa: FBT003  the SDK's signature
        .icon_color(colour)
        .expr(expr)
        .target(target)
        .step("5s")
    )
