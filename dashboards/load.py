"""What the load generator asks for and gets, and whether its figures are to be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from frame import Section, board
from promql import CHOSEN, LEGEND, WHO, Query, over, quantile, total
from visuals import (
    BAD,
    COUNT,
    DASHED,
    DOTTED,
    GOOD,
    PER_SECOND,
    POOR,
    RATIO,
    SECONDS,
    Panel,
    by_backend,
    figure,
    latencies,
    lines,
    pings,
    sized,
    styled,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries
    from grafana_foundation_sdk.models import dashboard as models

CLIENTS = "gilscope_client_duration_seconds"
LAG = "gilscope_client_dispatch_lag_seconds"
SENT, DROPPED = "gilscope_client_sent_total", "gilscope_client_dropped_total"
FAILURES = "gilscope_client_failures_total"
SERVICE_CLOCK = f'clock="service",{CHOSEN}'

FLYING = f"sum (avg_over_time(gilscope_client_in_flight{{{CHOSEN}}}[$__rate_interval]))"
"""Requests on their way, on average: the gauge is a moment's value, Little's law is about means."""


def dashboard() -> models.Dashboard:
    """Return the dashboard about the load."""
    return board(
        "load",
        "gilscope: load",
        "What the load generator asks for, what it gets, and whether it is to blame itself. Look here before you believe a latency. All Locust processes are added up.",
        [
            Section("Are these figures to be trusted?", list(_trust())),
            Section("Load", list(_load())),
            Section("Latency from when it was due, and from when it was sent", list(_latency())),
            Section("What went wrong", list(_failures())),
        ],
    )


def _trust() -> Iterator[Panel]:
    yield sized(
        figure(
            "Sent late, p99",
            "How much later than due requests and pings were sent, over the last minute: what the generator itself adds. Below 2 ms is healthy. Above, differences in latency "
            "finer than that are Locust's own: give it a core or more workers, or ask for less.",
            Query("job:gilscope_client_dispatch_lag_seconds:p99_1m", "dispatch lag"),
            SECONDS,
            steps=[(None, GOOD), (0.002, BAD)],
        ),
        6,
        5,
    )
    yield sized(
        figure(
            "Due and not sent",
            "The share of what was due that was dropped over the last minute, because too many requests were in flight; the worst of those chosen. Above 2 % the latencies "
            "leave out those who would have waited longest, and look better than they are. Always 0 in a closed loop.",
            Query(f"max (backend_workload:gilscope_client_dropped:ratio_rate1m{{{CHOSEN}}})", "dropped"),
            RATIO,
            steps=[(None, GOOD), (0.02, BAD)],
        ),
        6,
        5,
    )
    yield sized(
        figure(
            "Sent of what was asked for",
            "Requests sent per second against the rate that was asked for. 100 % is healthy, give or take what chance does to arrivals. Less means that the generator does not "
            "reach the rate: it is held up, or drops what is due. Empty in a closed loop, where no rate is asked for.",
            Query(over(total(SENT, labels=CHOSEN), f"sum (gilscope_client_rate{{{CHOSEN}}})"), "sent"),
            RATIO,
            steps=[(None, BAD), (0.95, POOR), (0.98, GOOD)],
        ),
        6,
        5,
    )
    yield sized(
        figure(
            "Little's law",
            "Throughput times mean latency, against the requests counted in flight: the law says 100 %. More than some 5 % off for minutes means that requests wait somewhere that no "
            "clock sees, or fail. It says nothing while the load changes, while a backend falls behind, or where there is hardly one request in flight.",
            Query(
                over(total(f"{CLIENTS}_sum", labels=SERVICE_CLOCK), FLYING),
                "throughput x latency / in flight",
            ),
            RATIO,
            steps=[(None, BAD), (0.9, POOR), (0.95, GOOD), (1.05, POOR), (1.1, BAD)],
        ),
        6,
        5,
    )


def _load() -> Iterator[Panel]:
    yield sized(by_backend(styled(styled(_rates(), "asked for", DASHED), "due", DOTTED)), 16, 9)
    yield sized(
        lines(
            "Users",
            "Locust's users, the probe's included. In a closed loop each of them has one request in flight at most, so they are the load. "
            "In an open loop one user per process sends whatever is due, and their number means nothing.",
            [Query("sum (gilscope_client_users)", "users")],
            COUNT,
        ),
        8,
        9,
    )
    yield sized(_little(), 12, 8)
    yield sized(
        latencies(
            "Sent late",
            "How much later than due requests and pings were sent: the resolution floor of every latency on these dashboards. Above the dashed line, 2 ms, the generator is guilty, "
            "unless that is less than a tenth of the latencies themselves. Then look for a core that Locust could have alone.",
            [Query(quantile(0.99, LAG), "p99"), Query(quantile(0.5, LAG), "p50")],
            bounds=[(0.002, BAD)],
        ),
        12,
        8,
    )


def _rates() -> timeseries.Panel:
    due = f"{total(SENT, WHO, CHOSEN)} + {total(DROPPED, WHO, CHOSEN)}"
    return lines(
        "Rates: asked for, due, answered",
        "Requests per second that were asked for (dashed, in an open loop alone), that were due, sent or dropped (dotted), and that were answered. All three together is healthy. "
        "Due below asked for: the generator does not keep up. Answered below due: the backend does not, or requests fail; see below.",
        [
            Query(total(f"{CLIENTS}_count", WHO, SERVICE_CLOCK), LEGEND),
            Query(due, f"{LEGEND} due"),
            Query(f"sum by ({WHO}) (gilscope_client_rate{{{CHOSEN}}}) > 0", f"{LEGEND} asked for"),
        ],
        PER_SECOND,
    )


def _little() -> Panel:
    panel = lines(
        "In flight, and Little's law",
        "Requests on their way as the generator counts them, and dashed what Little's law makes of throughput times mean latency. Both lines lie together while the load is "
        "steady. Lines that part for minutes mean failures, or waiting that no clock sees: do not trust the latencies of that time.",
        [
            Query(
                f"sum by ({WHO}) (avg_over_time(gilscope_client_in_flight{{{CHOSEN}}}[$__rate_interval]))",
                LEGEND,
            ),
            Query(total(f"{CLIENTS}_sum", WHO, SERVICE_CLOCK), f"{LEGEND} by Little's law"),
        ],
        COUNT,
    )
    return by_backend(styled(panel, "law", DASHED))


def _latency() -> Iterator[Panel]:
    for share, name in ((0.99, "p99"), (0.5, "p50")):
        yield sized(_both_clocks(share, name), 12, 9)
    yield sized(
        pings(
            "The probe: a light request at a steady rate, timed from when it was due, while this workload ran on this backend. A healthy service answers in a few milliseconds. "
            "If it is as slow as the work itself, everything waits for the event loop; see the contention dashboard.",
        ),
        24,
        8,
    )


def _both_clocks(share: float, name: str) -> Panel:
    panel = latencies(
        f"Response and service time, {name}",
        "Service time runs from when a request was sent, response time (dashed, in an open loop alone) from when it was due. Response time is what clients would feel. "
        "Lines that lie together are healthy. If the dashed one is far above, requests could not even be sent: see how late they were sent above.",
        [Query(quantile(share, CLIENTS, f"{WHO}, clock", CHOSEN), f"{LEGEND} {{{{clock}}}}")],
    )
    return by_backend(styled(panel, "response", DASHED))


def _failures() -> Iterator[Panel]:
    dropped = lines(
        "Dropped",
        "Requests per second that were due and not sent, because too many were in flight; a healthy run has none. "
        "The backend does not keep up with the rate: ask for a lower one, and do not believe the latencies of this time.",
        [Query(total(DROPPED, WHO, CHOSEN), LEGEND)],
        PER_SECOND,
    )
    failed = lines(
        "Failures that clients see",
        "Requests per second that failed for the client, for whatever reason; a healthy run has none. If the service counts as many (errors by status, on the compare dashboard), the "
        "function, its pool or its backlog is to blame; if not, connections or time limits are. Locust's page has the messages.",
        [Query(total(FAILURES, WHO, CHOSEN), LEGEND)],
        PER_SECOND,
    )
    unanswered = lines(
        "Pings that failed",
        "Pings per second without an answer; a healthy run has none. The probe asks for next to nothing, so this means that the event loop stood still for "
        "longer than a client waits, or that the service is gone. Look at the event loop's lag on the contention dashboard.",
        [Query(total("gilscope_client_probe_failures_total", WHO, CHOSEN), LEGEND)],
        PER_SECOND,
    )
    yield from (sized(by_backend(panel), 8, 7) for panel in (dropped, failed, unanswered))
