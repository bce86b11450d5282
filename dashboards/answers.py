"""What Prometheus answers to the panels' queries, asked as Grafana asks them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode
from urllib.request import urlopen

TIMEOUT_S = 30.0
SCRAPE_S = 5
STEPS_S = (5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 21_600, 86_400)
"""Steps that Grafana chooses from."""


@dataclass(frozen=True, slots=True)
class Series:
    """One answer: labels, moments in seconds since 1970, and values in the unit of the query; NaN is possible."""

    labels: Mapping[str, str]
    times_s: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is shown, in seconds since 1970, and the distance of two points."""

    start_s: float
    end_s: float
    step_s: int

    @classmethod
    def of(cls, start_s: float, end_s: float, points: int) -> Span:
        """Return the span whose step gives no more than ``points``; it begins at a multiple of it, as Grafana's does."""
        step = step_s(end_s - start_s, points)
        return cls(start_s - start_s % step, end_s, step)


class Source(Protocol):
    """Who answers queries."""

    def over(self, promql: str, span: Span) -> list[Series]:
        """Return all series over a span; none where there is no answer."""

    def at(self, promql: str, moment_s: float) -> list[Series]:
        """Return all series at a moment, each with one value."""


class Prometheus:
    """A server, by its URL."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def over(self, promql: str, span: Span) -> list[Series]:
        """Return a range query's answer.

        Raises:
            OSError: Prometheus does not answer, or refuses the query.
        """
        times = {"start": span.start_s, "end": span.end_s, "step": span.step_s}
        return [_series(row["metric"], row["values"]) for row in self._ask("query_range", promql, times)]

    def at(self, promql: str, moment_s: float) -> list[Series]:
        """Return an instant query's answer; raises as :meth:`over` does."""
        return [
            _series(row["metric"], [row["value"]]) for row in self._ask("query", promql, {"time": moment_s})
        ]

    def _ask(self, kind: str, promql: str, times: Mapping[str, float]) -> list[dict[str, Any]]:
        question = urlencode({"query": promql, **times})
        with urlopen(f"{self._url}/api/v1/{kind}?{question}", timeout=TIMEOUT_S) as answer:  # noqa: S310  the user's own
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


def step_s(seconds: float, points: int) -> int:
    """Return the distance of points, in seconds: no more than ``points`` of them, and not finer than the scrapes."""
    least = max(SCRAPE_S, seconds / points)
    return next((step for step in STEPS_S if step >= least), STEPS_S[-1])


def window_s(step: int) -> int:
    """Return ``$__rate_interval`` in seconds, by Grafana's rule."""
    return max(step + SCRAPE_S, 4 * SCRAPE_S)


def substituted(promql: str, step: int) -> str:
    """Put values in the place of Grafana's variables; all workloads and backends are chosen."""
    values = {"$__rate_interval": f"{window_s(step)}s", "$workload": ".*", "$backend": ".*"}
    for variable, value in values.items():
        promql = promql.replace(variable, value)
    return promql


def _series(labels: Mapping[str, str], points: Sequence[tuple[float, str]]) -> Series:
    return Series(labels, [moment for moment, _ in points], [float(value) for _, value in points])
