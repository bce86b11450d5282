"""The kinds of panels, each with all that a panel of its kind needs to be read."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from grafana_foundation_sdk.builders import common as parts
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from promql import CHOSEN, LEGEND, WHO, Query, quantile

from gilscope.palette import BACKENDS, STATES

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.cog.variants import Dataquery

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")

SECONDS, RATIO, PER_SECOND, COUNT, BYTES = "s", "percentunit", "reqps", "short", "bytes"
"""Grafana's names of units."""

GOOD, POOR, BAD, PLAIN = "green", "orange", "red", "transparent"

STATE_KEYS = {"on_cpu": "cpu", "gil_wait": "gil_wait", "runqueue": "runqueue", "blocked": "blocked"}
"""The lens's states, as Prometheus names them, with their keys in gilscope's palette; in the order of stacking."""

DASHED, DOTTED = (10, 6), (2, 6)

Panel = timeseries.Panel | heatmap.Panel | stat.Panel | table.Panel
_Coloured = TypeVar("_Coloured", timeseries.Panel, stat.Panel)

Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from which value on (None: from the beginning) which colour holds."""


def lines(
    title: str, description: str, queries: Sequence[Query], unit: str, *, bounds: Steps = ()
) -> timeseries.Panel:
    """Return a time series panel, from 0 on; ``bounds`` are drawn as dashed lines."""
    return _series(title, description, queries, unit, bounds).min(0)


def latencies(
    title: str, description: str, queries: Sequence[Query], *, bounds: Steps = ()
) -> timeseries.Panel:
    """Return a panel of durations in seconds on a logarithmic axis: the same ratio, the same distance."""
    scale = parts.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
    return _series(title, description, queries, SECONDS, bounds).scale_distribution(scale)


def pings(description: str) -> timeseries.Panel:
    """Return the latency of pings by what was asked for meanwhile, each in its backend's colour, the median in dashes."""
    queries = [
        Query(quantile(share, "gilscope_client_probe_seconds", WHO, CHOSEN), f"{LEGEND} {name}")
        for share, name in ((0.99, "p99"), (0.5, "p50"))
    ]
    return by_backend(styled(latencies("Latency of /ping", description, queries), "p50", DASHED))


def shares(title: str, description: str, queries: Sequence[Query]) -> timeseries.Panel:
    """Return a panel of shares that fill the height up to 100 %."""
    stacking = parts.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
    panel = lines(title, description, queries, RATIO).max(1).line_width(1).fill_opacity(80)
    return panel.stacking(stacking)


def heat_map(title: str, description: str, query: Query) -> heatmap.Panel:
    """Return a heatmap of durations over a histogram's buckets, which are spaced logarithmically themselves."""
    panel = (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(SECONDS)
        .with_target(_target(query, 0).format(PromQueryFormat.HEATMAP))
        .y_axis(heatmap.YAxisConfig().unit(SECONDS).axis_placement(common.AxisPlacement.LEFT))
        .cell_values(heatmap.CellValues().unit("cps"))
        .tooltip(
            heatmap.HeatmapTooltip()
            .mode(common.TooltipDisplayMode.SINGLE)
            .y_histogram(True)  # noqa: FBT003  the SDK's signature
            .show_color_scale(True)  # noqa: FBT003
        )
    )
    return panel.data_links([_flame_graphs()])


def figure(title: str, description: str, query: Query, unit: str, *, steps: Steps) -> stat.Panel:
    """Return a single figure with its recent past, coloured by ``steps``."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .decimals(1)
        .with_target(_target(query, 0))
        .reduce_options(parts.ReduceDataOptions().calcs(["lastNotNull"]).values(False))  # noqa: FBT003
        .graph_mode(common.BigValueGraphMode.AREA)
        .color_mode(common.BigValueColorMode.VALUE)
        .thresholds(_thresholds(steps))
    )
    return panel.data_links([_flame_graphs()])


def wording(title: str, description: str, query: Query) -> stat.Panel:
    """Return a panel that shows the names of series, whose values mean nothing."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(COUNT)
        .with_target(_target(query, 0).instant())
        .reduce_options(parts.ReduceDataOptions().calcs(["lastNotNull"]).values(False))  # noqa: FBT003
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.NONE)
        .text_mode(common.BigValueTextMode.NAME)
    )


Column = tuple[str, Query, str]
"""A table's column: heading, query, unit."""


def rows(
    title: str, description: str, labels: Sequence[tuple[str, str]], columns: Sequence[Column]
) -> table.Panel:
    """Return a table with one row per combination of ``labels`` (name, heading), and a column per query."""
    targets: list[Builder[Dataquery]] = [
        _target(query, at).instant().format(PromQueryFormat.TABLE) for at, (_, query, _) in enumerate(columns)
    ]
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(COUNT)
        .decimals(1)
        .targets(targets)
        .with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            dashboard.DataTransformerConfig(id_val="organize", options=_organised(labels, columns))
        )
        .sort_by([parts.TableSortByFieldState().display_name(labels[0][1])])
    )
    for heading, _, unit in columns:
        panel.override_by_name(heading, [dashboard.DynamicConfigValue(id_val="unit", value=unit)])
    return panel.data_links([_flame_graphs()])


def by_backend(panel: _Coloured) -> _Coloured:
    """Give every series with a backend in its name that backend's colour."""
    for backend, colour in BACKENDS.items():
        panel.override_by_regexp(rf"/\b{backend}\b/", [_fixed(colour)])
    return panel


def by_state(panel: timeseries.Panel) -> timeseries.Panel:
    """Give every series that is named after a thread state that state's colour."""
    for state, key in STATE_KEYS.items():
        panel.override_by_name(state, [_fixed(STATES[key].light)])
    return panel


def backend_cells(panel: table.Panel, heading: str) -> table.Panel:
    """Write the backends in a table's column in their colours."""
    options = {
        str(backend): {"color": colour, "index": at} for at, (backend, colour) in enumerate(BACKENDS.items())
    }
    return panel.override_by_name(
        heading,
        [
            dashboard.DynamicConfigValue("mappings", [{"type": "value", "options": options}]),
            dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
        ],
    )


def styled(panel: timeseries.Panel, ending: str, dash: tuple[int, int]) -> timeseries.Panel:
    """Draw those series in dashes whose name ends so: same colour, other meaning."""
    style = {"fill": "dash", "dash": list(dash)}
    return panel.override_by_regexp(f"/{ending}$/", [dashboard.DynamicConfigValue("custom.lineStyle", style)])


def sized(panel: Panel, width: int, height: int) -> Panel:
    """Set how many of the grid's 24 columns and how many rows of 30 pixels a panel takes."""
    return panel.span(width).height(height)


def _series(
    title: str, description: str, queries: Sequence[Query], unit: str, bounds: Steps
) -> timeseries.Panel:
    """Return lines that break where nothing was measured: three scrapes without a value are a gap."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .line_width(2)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.AUTO)
        .span_nulls(15_000)
        .targets([_target(query, at) for at, query in enumerate(queries)])
        .legend(_legend())
        .tooltip(
            parts.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .data_links([_flame_graphs()])
    )
    return _with_bounds(panel, bounds) if bounds else panel


def _target(query: Query, at: int) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .ref_id(string.ascii_uppercase[at])
        .datasource(SOURCE)
        .expr(query.expr)
        .legend_format(query.legend)
        .range()
    )


def _legend() -> parts.VizLegendOptions:
    return (
        parts.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)  # noqa: FBT003  the SDK's signature
        .calcs(["lastNotNull", "max"])
    )


def _with_bounds(panel: timeseries.Panel, bounds: Steps) -> timeseries.Panel:
    style = parts.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(_thresholds([(None, PLAIN), *bounds])).thresholds_style(style)


def _thresholds(steps: Steps) -> boards.ThresholdsConfig:
    levels = [dashboard.Threshold(value, colour) for value, colour in steps]
    return boards.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(levels)


def _fixed(colour: str) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def _organised(labels: Sequence[tuple[str, str]], columns: Sequence[Column]) -> dict[str, object]:
    renamed = dict(labels) | {
        f"Value #{string.ascii_uppercase[at]}": heading for at, (heading, _, _) in enumerate(columns)
    }
    return {
        "excludeByName": {"Time": True},
        "indexByName": {name: at for at, name in enumerate(renamed)},
        "renameByName": renamed,
    }


def _flame_graphs() -> boards.DashboardLink:
    """Return what a click on a point leads to: the flame graphs of the time range that is shown."""
    return (
        boards.DashboardLink("Flame graphs captured in this time range")
        .url("${profiles_url}/profiles?from=${__from}&to=${__to}")
        .target_blank(True)  # noqa: FBT003  the SDK's signature
    )
