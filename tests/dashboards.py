"""The dashboards as tests read them: their panels and queries, and which metrics there are to ask for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent.parent / "dashboards"
BOARDS = FOLDER / "grafana" / "dashboards"
RULES = FOLDER / "prometheus" / "rules"
NAMES = ("compare", "contention", "load")

METRICS = frozenset(
    {
        "gilscope_backend_active_tasks",
        "gilscope_backend_queued_tasks",
        "gilscope_backend_restarts_total",
        "gilscope_backend_workers",
        "gilscope_call_state_seconds_total",
        "gilscope_client_dispatch_lag_seconds",
        "gilscope_client_dropped_total",
        "gilscope_client_duration_seconds",
        "gilscope_client_failures_total",
        "gilscope_client_in_flight",
        "gilscope_client_probe_failures_total",
        "gilscope_client_probe_seconds",
        "gilscope_client_rate",
        "gilscope_client_sent_total",
        "gilscope_client_started_timestamp_seconds",
        "gilscope_client_users",
        "gilscope_event_loop_lag_seconds",
        "gilscope_gil_held_seconds_total",
        "gilscope_lens_cpu_seconds_total",
        "gilscope_lens_looks_total",
        "gilscope_lens_watched_processes",
        "gilscope_lens_watched_threads",
        "gilscope_request_duration_seconds",
        "gilscope_run_info",
        "gilscope_run_started_timestamp_seconds",
        "gilscope_stage_seconds",
        "gilscope_thread_state_seconds_total",
        "gilscope_worker_cpu_seconds_total",
        "gilscope_worker_memory_bytes",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    }
)
"""What the service, the lens and Locust expose; histograms by their family's name. The one list of it in the tests."""

PROMETHEUS_OWN = frozenset({"ALERTS", "up"})
"""Series that Prometheus makes itself."""

SOMETIMES_EMPTY: Mapping[str, str] = {"ALERTS": "only while an alert fires"} | (
    {"gilscope_gil_held_seconds_total": "only Python 3.13 and newer tells who holds the GIL"}
    if sys.version_info < (3, 13)
    else {}
)
"""Why a query with this metric may rightly have no answer, even of a service with all backends on this Python, and under load."""


class Asked(NamedTuple):
    """A query as Prometheus gets it, and where it stands."""

    where: str
    promql: str


def dashboard(name: str) -> dict[str, Any]:
    """Return the committed dashboard."""
    found: dict[str, Any] = json.loads((BOARDS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all panels but rows; those inside collapsed rows, too."""
    return [panel for panel in every_panel(board) if panel["type"] != "row"]


def every_panel(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield rows and panels, in the order of the file."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", ())


def queries(board: Mapping[str, Any], window: str = "10s") -> list[Asked]:
    """Return every query of panels, annotations and variables, for all workloads and backends.

    ``label_values(series, label)`` is asked for as the series, which must exist for there to be values.
    """
    return [Asked(where, substituted(raw, window)) for where, raw in raw_queries(board)]


def raw_queries(board: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each query as it stands in the file, with where."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield f"{board['uid']}: {panel['title']} {target['refId']}", target["expr"]
    for annotation in board["annotations"]["list"]:
        yield f"{board['uid']}: annotation {annotation['name']}", annotation["target"]["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield f"{board['uid']}: variable {variable['name']}", variable["query"]["query"]


def substituted(promql: str, window: str = "10s") -> str:
    """Put values in the place of Grafana's variables, and the series in that of ``label_values``."""
    values = re.fullmatch(r"label_values\((.+),\s*\w+\)", promql)
    text = values[1] if values else promql
    for variable, value in (("$__rate_interval", window), ("$workload", ".*"), ("$backend", ".*")):
        text = text.replace(variable, value)
    return text


def names_in(promql: str) -> set[str]:
    """Return the names of metrics and recorded series in a query, histograms' parts as their family."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', " ", promql)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"(?<!\w)[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)
    return {re.sub(r"_(bucket|sum|count)$", "", word) for word in words if word not in _OPERATORS}


_OPERATORS = frozenset(
    {"and", "or", "unless", "bool", "offset", "sum", "max", "min", "by", "on", "group_left"}
)


def sometimes_empty(promql: str) -> str | None:
    """Return why a query may rightly have no answer; None where it has to have one under load."""
    return next((why for name, why in SOMETIMES_EMPTY.items() if name in names_in(promql)), None)


def recorded() -> dict[str, str]:
    """Return the recording rules: expression by name."""
    text = (RULES / "recording.yml").read_text(encoding="utf-8")
    found = re.findall(r"- record: (\S+)\n\s+expr: (?:>-\n)?((?:.+\n?)+?)(?=\n|\Z)", text)
    return {name: " ".join(expr.split()) for name, expr in found}
