"""Which backend is faster, for whom, and what it costs the neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from frame import Section, board
from promql import CHOSEN, LEGEND, WHO, Query, quantile, total
from visuals import (
    BAD,
    GOOD,
    PER_SECOND,
    POOR,
    RATIO,
    SECONDS,
    Panel,
    backend_cells,
    by_backend,
    figure,
    latencies,
    lines,
    pings,
    rows,
    sized,
    wording,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.models import dashboard as models

REQUESTS = "gilscope_request_duration_seconds"
CLIENTS = "gilscope_client_duration_seconds"
LAST_MINUTE = "backend_workload:gilscope_request_duration_seconds"

BUSY = f"{total(f'{REQUESTS}_count', WHO, CHOSEN)} > 0"
"""Requests per second of those that have any: what was asked for once has a series for as long as the service runs."""


def dashboard() -> models.Dashboard:
    """Return the dashboard that compares backends."""
    return board(
        "compare",
        "gilscope: compare backends",
        "Which backend is faster, for its clients and for its neighbours. Choose one workload at the top; its backends then differ "
        "in colour alone. Percentiles come from histogram buckets and are within some 12 %.",
        [
            Section("At a glance: the last minute", [sized(_table(), 16, 10), *_figures()]),
            Section("Latency: what clients see, what the service sees", list(_percentiles())),
            Section("Throughput and errors", [sized(_throughput(), 12, 8), sized(_errors(), 12, 8)]),
            Section("The neighbours", [sized(_probe(), 12, 8), sized(_lag(), 12, 8)]),
        ],
    )


def _table() -> Panel:
    panel = rows(
        "Backends, last minute",
        "One row per workload and backend that had requests within the last minute; latencies are of those that succeeded, as the service sees them, and for clients from when each was due (in a closed loop, sent). Off CPU is the share of "
        "its time inside the function in which a request was not on a core: it waited for the GIL, for a core or for I/O. Where a function only "
        "computes, much of that on threads is GIL wait: see the figures beside this, then the contention dashboard.",
        [("workload", "Workload"), ("backend", "Backend")],
        [
            ("Requests/s", _cell(f"{LAST_MINUTE}_count:rate1m{{{CHOSEN}}} > 0"), PER_SECOND),
            ("p50", _cell(f"{LAST_MINUTE}:p50_1m{{{CHOSEN}}}"), SECONDS),
            ("p99", _cell(f"{LAST_MINUTE}:p99_1m{{{CHOSEN}}}"), SECONDS),
            (
                "p99 for clients",
                _cell(f"backend_workload:gilscope_client_duration_seconds:p99_1m{{{CHOSEN}}}"),
                SECONDS,
            ),
            (
                "Off CPU",
                _cell(f"backend_workload:gilscope_stage_seconds:off_cpu_ratio_rate1m{{{CHOSEN}}}"),
                RATIO,
            ),
            (
                "Failed",
                _cell(f"backend_workload:gilscope_request_failures:ratio_rate1m{{{CHOSEN}}}"),
                RATIO,
            ),
        ],
    )
    return backend_cells(panel, "Backend")


def _cell(series: str) -> Query:
    """Return a column's query. The series' own name has to go: rows are merged where all labels are equal."""
    return Query(f"max by ({WHO}) ({series})", "")


def _figures() -> Iterator[Panel]:
    yield sized(_gil_wait("loop", "GIL wait of the event loop"), 4, 4)
    yield sized(_gil_wait("worker", "GIL wait of the workers"), 4, 4)
    yield sized(
        figure(
            "Event loop lag, p99",
            "How late the event loop ran what was due, over the last minute. Below 2 ms it is idle or healthy; one thread that hogs the GIL makes "
            "it 14 to 26 ms, four 82 to 141 ms. If it is high, the contention dashboard says what the loop waits for.",
            Query("job:gilscope_event_loop_lag_seconds:p99_1m", "event loop"),
            SECONDS,
            steps=[(None, GOOD), (0.01, POOR), (0.04, BAD)],
        ),
        4,
        4,
    )
    yield sized(
        figure(
            "Neighbours, p99 of /ping",
            "What everybody else on the event loop feels, over the last minute, from when each ping was due; the worst of those chosen. A healthy service answers in "
            "a few milliseconds. If it is high while the work's own latency is fine, the backend in use starves its neighbours.",
            Query(f"max (backend_workload:gilscope_client_probe_seconds:p99_1m{{{CHOSEN}}})", "/ping"),
            SECONDS,
            steps=[(None, GOOD), (0.01, POOR), (0.04, BAD)],
        ),
        4,
        4,
    )
    yield sized(
        wording(
            "Service",
            "The Python that runs the service, and whether it has a GIL. Without one there is no GIL wait, and threads may compute at the same time.",
            Query(
                "max by (version, python, gil) (gilscope_run_info)",
                "gilscope {{version}}, Python {{python}}, GIL {{gil}}",
            ),
        ),
        8,
        2,
    )


def _gil_wait(role: str, title: str) -> Panel:
    state = f'role="{role}",state="gil_wait"'
    return figure(
        title,
        "The share of their time for which these threads sleep until they get the GIL, of all backends together, over the last minute. From a tenth on "
        "they share it with work that holds it, and that work wants processes or interpreters. Idle workers count as well, and sleep for other reasons.",
        Query(f"role_state:gilscope_thread_state_seconds:ratio_rate1m{{{state}}}", role),
        RATIO,
        steps=[(None, GOOD), (0.1, POOR), (0.25, BAD)],
    )


def _percentiles() -> Iterator[Panel]:
    for share, name in ((0.99, "p99"), (0.95, "p95"), (0.5, "p50")):
        yield sized(_clients(share, name), 12, 9)
        yield sized(_service(share, name), 12, 9)


def _clients(share: float, name: str) -> Panel:
    due = quantile(share, CLIENTS, WHO, f'clock="response",{CHOSEN}')
    sent = quantile(share, CLIENTS, WHO, f'clock="service",{CHOSEN}')
    return by_backend(
        latencies(
            f"Clients' view, {name}",
            "Latency as clients see it: from when a request was due in an open loop (a rate is asked for), from when it was sent in a closed one. Lower is better, "
            "and a step on this axis is a ratio. If this is far above the service's view beside it, requests wait before the service has seen them: "
            "for the event loop (see its lag below), or in the load generator (see the load dashboard).",
            [Query(f"({due}) or ({sent})", LEGEND)],
        )
    )


def _service(share: float, name: str) -> Panel:
    return by_backend(
        latencies(
            f"Service's view, {name}",
            "Latency from accepting a work request to its answer, queueing for a worker included, of those that succeeded: a refusal is fast. Backends of the same workload "
            "may be compared under the same load only. Where one is slow, the heatmaps of the stages on the contention dashboard say whether its requests queue, compute or wait.",
            [Query(quantile(share, REQUESTS, WHO, f'status="200",{CHOSEN}'), LEGEND)],
        )
    )


def _throughput() -> Panel:
    return by_backend(
        lines(
            "Requests per second",
            "Requests that the service answered, whatever their status; what nobody asks for has no line. In a closed loop more is better; in an open loop it is what was asked for, as long as the "
            "backend keeps up. If it falls while the load stays, look for errors beside this and for a growing queue on the contention dashboard.",
            [Query(BUSY, LEGEND)],
            PER_SECOND,
        )
    )


def _errors() -> Panel:
    failed = total(f"{REQUESTS}_count", f"{WHO}, status", f'status!="200",{CHOSEN}')
    return by_backend(
        lines(
            "Errors by status",
            "Answers per second that are not 200, of whatever is in use; all lines lie on 0 while all is well. 500 is an exception of the function. 503 is a full backlog, a pool that broke (see "
            "queue and restarts on the contention dashboard), or what could not be handed over. 504 took longer than the time limit. A backend that fails does less work than one that does not.",
            [
                Query(
                    f"{failed} and on ({WHO}) ({BUSY})",
                    f"{LEGEND} {{{{status}}}}",
                ),
            ],
            PER_SECOND,
        )
    )


def _probe() -> Panel:
    return pings(
        "A light request to the same service at a steady rate, timed from when it was due: what the neighbours of the work feel while it runs on this backend. A healthy service "
        "answers in a few milliseconds whatever the work does. Functions that run on the event loop, or hold the GIL in threads, lift it at once; processes hardly do.",
    )


def _lag() -> Panel:
    return latencies(
        "Event loop lag",
        "How late the event loop ran what was due at random moments. An idle loop shows up to 1 ms, and less than 2 ms means nothing. The dashed line is the alert's bound, "
        "40 ms. If it moves together with /ping, the event loop is what the neighbours wait for; the contention dashboard says what the loop waits for.",
        [
            Query(quantile(0.99, "gilscope_event_loop_lag_seconds"), "p99"),
            Query(quantile(0.5, "gilscope_event_loop_lag_seconds"), "p50"),
        ],
        bounds=[(0.04, BAD)],
    )
