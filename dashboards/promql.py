"""PromQL as text, and the few shapes of it that all dashboards share."""

from __future__ import annotations

from dataclasses import dataclass

CHOSEN = 'workload=~"$workload",backend=~"$backend"'
"""Selects what the reader chose; for series that have both labels."""

BACKEND = 'backend=~"$backend"'
"""The same for series of a pool, which know no workload."""


WHO = "workload, backend"
"""Groups by both labels."""

LEGEND = "{{workload}} {{backend}}"
"""Names series by both labels."""


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and the name of each series that it yields."""

    expr: str
    legend: str


def rate(metric: str, labels: str = "") -> str:
    """Return the growth per second of a counter, over a window that always has enough scrapes in it."""
    return f"rate({metric}{{{labels}}}[$__rate_interval])" if labels else f"rate({metric}[$__rate_interval])"


def total(metric: str, by: str = "", labels: str = "") -> str:
    """Return the growth per second of counters together, by labels (``"workload, backend"``) or of all."""
    return f"sum{_by(by)} ({rate(metric, labels)})"


def quantile(share: float, histogram: str, by: str = "", labels: str = "") -> str:
    """Return a percentile of a histogram, in its unit; nothing where nothing was observed.

    ``>= 0`` drops the NaN that Prometheus yields then: it would stand in every legend of an idle service.
    """
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {total(f'{histogram}_bucket', grouped, labels)}) >= 0"


def over(part: str, whole: str, matching: str = "") -> str:
    """Return a ratio; nothing where the whole is 0, in place of NaN. ``matching`` is as in ``a / on (x) b``."""
    return f"{part} / {f'{matching} ' if matching else ''}({whole} > 0)"


def heat(histogram: str, labels: str = "") -> Query:
    """Return what a heatmap wants: observations per second by bucket."""
    return Query(total(f"{histogram}_bucket", "le", labels), "{{le}}")


def running(metric: str) -> str:
    """Return a standard process metric of the service alone, whatever its job is called: other jobs have it, too."""
    return f"sum ({metric} and on (job, instance) gilscope_run_info)"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
