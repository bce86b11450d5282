"""Carries out searches for a capacity."""

from __future__ import annotations

from collections.abc import Callable

from gilscope.compare.capacity import Outcome, Search


def ask(search: Search, measure: Callable[[float], bool | None]) -> Outcome:
    """Carry a search through."""
    while (asked := search.next_rate()) is not None:
        search.record(measure(asked[0]))
    return search.outcome()
