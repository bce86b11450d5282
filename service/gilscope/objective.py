"""A latency objective, such as ``p99=200ms``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gilscope.errors import UsageError

LIMIT_MS: Final = 60_000.0
"""The longest limit of an objective."""

_SLO = re.compile(
    r"(?:p(?P<percentile>\d{1,2}(?:\.\d{1,4})?)|max)=(?P<limit>\d{1,6}(?:\.\d{1,6})?)(?P<unit>ms|s)", re.ASCII
)
_SLO_REMEDY = (
    "give a percentile or max and a limit of at most 60 s, such as --slo p99=200ms, p50=1.5s or max=1s"
)


@dataclass(frozen=True, slots=True)
class Slo:
    """A latency objective: the ``quantile`` (above 0, up to 1, which is the maximum) is at most ``limit_ms``."""

    quantile: float
    limit_ms: float

    def __str__(self) -> str:
        """Return the text that :func:`parse_slo` reads back: ``p99=200ms``, ``p50=1.5s``, ``max=1s``."""
        name = "max" if self.quantile == 1 else f"p{self.quantile * 100:.10g}"
        limit = f"{self.limit_ms:.10g}ms" if self.limit_ms < 1_000 else f"{self.limit_ms / 1_000:.10g}s"
        return f"{name}={limit}"


def parse_slo(text: str) -> Slo:
    """Read an objective such as ``p99=200ms``, ``p99.9=80ms``, ``p50=1.5s`` or ``max=1s``.

    Raises:
        UsageError: the text is none, or its percentile or limit is out of bounds.
    """
    found = _SLO.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a latency objective", remedy=_SLO_REMEDY)
    percentile = found["percentile"]
    # Rounded, so that 99.9 / 100 is the float that 0.999 is.
    quantile = 1.0 if percentile is None else round(float(percentile) / 100, 8)
    limit_ms = round(float(found["limit"]) * (1_000 if found["unit"] == "s" else 1), 6)
    if quantile <= 0:
        raise UsageError(f"{text!r}: the percentile must be above 0", remedy=_SLO_REMEDY)
    if not 0 < limit_ms <= LIMIT_MS:
        raise UsageError(f"{text!r}: the limit must be above 0 and at most 60 s", remedy=_SLO_REMEDY)
    return Slo(quantile, limit_ms)
