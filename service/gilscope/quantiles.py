"""Exact quantiles of raw samples. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from gilscope.model import Latency, ProbeLatency

BEYOND = 20
"""Samples that have to lie beyond a quantile; with fewer it is rough."""

SOUND_P99 = 2_000
"""Samples that a p99 wants for that."""


def is_rough(count: int, q: float) -> bool:
    """Whether too few of so many samples lie beyond the ``q``-quantile; beyond the maximum none ever does."""
    return q < 1 and count * (1 - q) < BEYOND - 1e-9


def quantile(ordered: Sequence[float], q: float) -> float:
    """Return the ``q``-quantile of values in ascending order by the nearest-rank method.

    The answer is always a value that was observed (Hyndman & Fan 1996, definition 1), so that no latency
    is invented between two others.

    Raises:
        ValueError: there are no values, or ``q`` is not within 0 to 1.
    """
    if not ordered:
        raise ValueError("no values")
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile lies within 0 to 1, not {q}")
    # The product is rounded first: 0.07 * 100 is a hair above 7, and must not become the 8th value.
    return ordered[max(0, math.ceil(round(q * len(ordered), 9)) - 1)]


def summarize_latency(latencies_ms: Iterable[float]) -> Latency | None:
    """Summarize work latencies (ms); None where there are none."""
    ordered = sorted(latencies_ms)
    if not ordered:
        return None
    p50, p90, p95, p99 = (quantile(ordered, q) for q in (0.50, 0.90, 0.95, 0.99))
    return Latency(p50=p50, p90=p90, p95=p95, p99=p99, max=ordered[-1])


def summarize_probe(latencies_ms: Iterable[float]) -> ProbeLatency | None:
    """Summarize probe latencies (ms); None where there are none."""
    ordered = sorted(latencies_ms)
    if not ordered:
        return None
    return ProbeLatency(p50=quantile(ordered, 0.50), p99=quantile(ordered, 0.99), max=ordered[-1])
