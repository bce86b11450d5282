"""Figures as words: three significant digits, a unit, and a dash where there is no figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from gilscope.model import Interval

ABSENT = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"


def significant(value: float | None, digits: int = 3) -> str:
    """Write a figure with ``digits`` significant digits, thousands grouped: ``0.0813``, ``12.3``, ``1,230``."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, decimals)}f}"


def plain(value: float) -> str:
    """Write an axis tick: no more digits than it needs."""
    return f"{float(f'{value:.3g}'):,.10g}"


def count(value: int) -> str:
    """Write a count exactly, thousands grouped."""
    return f"{value:,}"


def milliseconds(value_ms: float | None, digits: int = 3) -> str:
    """Write a latency with its unit; a second and more in seconds."""
    if value_ms is None or not math.isfinite(value_ms):
        return ABSENT
    if float(f"{value_ms:.2e}") >= 1000:
        return f"{significant(value_ms / 1000, digits)}{NO_BREAK}s"
    return f"{significant(value_ms, digits)}{NO_BREAK}ms"


def microseconds(value_ms: float | None) -> str:
    """Write milliseconds to the last microsecond, for columns that add up: ``71.402``."""
    if value_ms is None or not math.isfinite(value_ms):
        return ABSENT
    return f"{round(value_ms, 3) + 0.0:,.3f}"


def tick_milliseconds(value_ms: float) -> str:
    """Write a latency on an axis: ``50 ms``, ``2 s``."""
    if value_ms >= 1000:
        return f"{plain(value_ms / 1000)}{NO_BREAK}s"
    return f"{plain(value_ms)}{NO_BREAK}ms"


def rate(value_rps: float | None) -> str:
    """Write requests per second."""
    written = significant(value_rps)
    return written if written == ABSENT else f"{written}{NO_BREAK}/s"


def ratio(value: float | None) -> str:
    """Write a factor, as in ``1.91x`` with a real multiplication sign."""
    written = significant(value)
    return written if written == ABSENT else f"{written}{TIMES}"


def tick_ratio(value: float) -> str:
    """Write a factor on an axis."""
    return f"{plain(value)}{TIMES}"


def span(interval: Interval | None) -> str:
    """Write the two ends of an interval; nothing where there is none, or it has no width or is not known."""
    if interval is None or interval.low == interval.high or not math.isfinite(interval.low + interval.high):
        return ""
    return f"{significant(interval.low)} to {significant(interval.high)}"


def percent(share: float | None) -> str:
    """Write a share of 0 to 1 in per cent: tenths below ten, none above."""
    if share is None or not math.isfinite(share):
        return ABSENT
    value = share * 100
    return f"{value:.0f}{NO_BREAK}%" if value == 0 or value >= 9.95 else f"{value:.1f}{NO_BREAK}%"


def seconds(value_s: float) -> str:
    """Write how long something took: ``2 min 05 s``, ``12 s``."""
    if value_s < 60:
        return f"{plain(value_s)}{NO_BREAK}s"
    minutes, rest = divmod(round(value_s), 60)
    if minutes < 60:
        return f"{minutes}{NO_BREAK}min {rest:02d}{NO_BREAK}s"
    return f"{minutes // 60}{NO_BREAK}h {minutes % 60:02d}{NO_BREAK}min"


def listing(words: Sequence[str], last: str = "and") -> str:
    """Join words the way one says them: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def many(number: int, word: str) -> str:
    """Write a count with its noun: ``1 block``, ``3 blocks``."""
    return f"{count(number)} {word if number == 1 else word + 's'}"


def block(position: int) -> str:
    """Number a block as people do: from 1."""
    return str(position + 1)


def moment(stamp: str) -> str:
    """Write an ISO 8601 stamp for people; anything else stays as it is."""
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    zone = f" {at.tzname()}" if at.tzinfo else ""
    return f"{at.day} {at:%B %Y, %H:%M}{zone}"
