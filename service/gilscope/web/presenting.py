"""Results as JSON of bounded size: encoding a large result on the event loop would pose as work."""

from __future__ import annotations

from collections.abc import Sized

MAX_ITEMS = 20
MAX_TEXT = 1_000
MAX_INTEGER = 2**53
"""Largest integer that every JSON reader keeps exactly (RFC 8259, section 6)."""


def presentable(result: object, depth: int = 3) -> object:
    """Return ``result`` where it is small and plain, and otherwise its type and length; never raises.

    Takes time bounded by ``MAX_ITEMS`` and ``depth``, whatever the result is.
    """
    try:
        return _present(result, depth)
    except Exception:  # noqa: BLE001  lengths, items and texts of the user's classes are their code
        return {"type": type(result).__name__}


def _present(result: object, depth: int) -> object:
    if result is None or isinstance(result, bool | float):
        return result if result == result and result not in (float("inf"), float("-inf")) else str(result)  # noqa: PLR0124  NaN
    if isinstance(result, int):
        return result if abs(result) <= MAX_INTEGER else _outline(result)
    if isinstance(result, str) and len(result) <= MAX_TEXT:
        return result
    if depth and isinstance(result, list | tuple) and len(result) <= MAX_ITEMS:
        return [presentable(item, depth - 1) for item in result]
    if depth and isinstance(result, dict) and len(result) <= MAX_ITEMS and all(map(_is_plain, result)):
        return {str(key)[:MAX_TEXT]: presentable(value, depth - 1) for key, value in result.items()}
    return _outline(result)


def _is_plain(key: object) -> bool:
    """Whether a key is quickly written as text, and keeps apart from its neighbours so."""
    if isinstance(key, int):
        return abs(key) <= MAX_INTEGER
    return key is None or isinstance(key, str | float)


def _outline(result: object) -> dict[str, object]:
    outline: dict[str, object] = {"type": type(result).__name__}
    if isinstance(result, int):
        outline["bits"] = result.bit_length()
    elif isinstance(result, Sized):
        outline["length"] = len(result)
    return outline
