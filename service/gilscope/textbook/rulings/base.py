"""What all rulings have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gilscope.claims import Figure, Standing
from gilscope.model import BackendName

Figures = Mapping[str, Figure]


class Ruling(NamedTuple):
    """What was found of a claim."""

    standing: Standing
    headline: str
    footnote: str = ""


class Column(NamedTuple):
    """What a ruling may look at: a backend's figures, and the same experiment's of all backends, its own included."""

    backend: BackendName
    figures: Figures
    all: Mapping[BackendName, Figures]


def number(figures: Figures, name: str) -> float:
    """Return a figure that is a number.

    Raises:
        ValueError: there is none, or it is none.
    """
    value = figures.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the figure {name} is missing")  # noqa: TRY004  either is incomplete
    return value


def truth(figures: Figures, name: str) -> bool:
    """Return a figure that says yes or no.

    Raises:
        ValueError: there is none, or it is none.
    """
    value = figures.get(name)
    if not isinstance(value, bool):
        raise ValueError(f"the figure {name} is missing")  # noqa: TRY004  either is incomplete
    return value


def short(value: float) -> str:
    """Write a number with two or three digits that count: 0.35, 4.2, 412,000."""
    if abs(value) >= 1000:
        return f"{round(value, 2 - len(str(int(abs(value))))):,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2g}"


def milliseconds(value: float) -> str:
    """Write a time that is given in ms in the unit that suits it."""
    if value < 1e-3:
        return f"{short(value * 1e6)} ns"
    if value < 1:
        return f"{short(value * 1e3)} us"
    return f"{short(value)} ms" if value < 1000 else f"{short(value / 1e3)} s"


def percent(share: float) -> str:
    """Write a share, 0 to 1."""
    return f"{share * 100:.0f} %"
