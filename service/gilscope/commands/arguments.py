"""Types of command-line values, shared by the commands. Bad input ends in argparse's message and exit code 2."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar
from urllib.parse import urlsplit

from gilscope.address import split_address
from gilscope.errors import ParameterError, UsageError
from gilscope.model import BackendName
from gilscope.objective import Slo, parse_slo

T = TypeVar("T")

Group = argparse._ArgumentGroup  # noqa: SLF001  what add_argument_group returns; it has no public name
"""Options under a heading of their own."""


def number(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return a type for numbers from ``minimum`` to ``maximum``, both inclusive."""

    def parse(text: str) -> float:
        value = _as(float, text, "a number")
        if math.isnan(value) or not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f"takes {minimum:g} to {maximum:g}, not {text}")
        return value

    return parse


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a type for whole numbers from ``minimum`` to ``maximum``, both inclusive."""

    def parse(text: str) -> int:
        value = _as(int, text, "a whole number")
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f"takes {minimum} to {maximum}, not {text}")
        return value

    return parse


def _as(kind: Callable[[str], T], text: str, what: str) -> T:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes {what}, not {text!r}") from None


def address(text: str) -> str:
    """Check ``HOST:PORT``."""
    try:
        split_address(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None
    return text


def backends(text: str) -> tuple[BackendName, ...]:
    """Parse ``a,b`` into backends, each once, in the order given."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in set(BackendName):
            raise argparse.ArgumentTypeError(
                f"there is no backend {name!r}; there is: {', '.join(BackendName)}"
            )
    if not names:
        raise argparse.ArgumentTypeError(f"names no backend; there is: {', '.join(BackendName)}")
    return tuple(dict.fromkeys(BackendName(name) for name in names))


def service_url(text: str) -> str:
    """Check the URL of a service, ``http://HOST:PORT``; a slash at its end is taken off."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
        fits = fits and parts.port != 0 and parts.username is None and not re.search(r"\s", text)
    except ValueError:
        fits = False
    if not fits:
        raise argparse.ArgumentTypeError(f"takes http://HOST:PORT, not {text!r}")
    return text.rstrip("/")


def slo(text: str) -> Slo:
    """Read a latency objective such as ``p99=200ms``."""
    try:
        return parse_slo(text)
    except UsageError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def sweep(text: str) -> tuple[str, tuple[str, ...]]:
    """Split ``NAME=V1,V2,…`` into the name and its values as typed: numbers, positive and ascending, two at least."""
    name, equals, listed = text.partition("=")
    values = tuple(value.strip() for value in listed.split(","))
    sizes = [_as(float, value, "NAME=V1,V2,… with numbers") for value in values]
    if not equals or not name or len(sizes) < 2:
        raise argparse.ArgumentTypeError(f"takes NAME=V1,V2,… with two sizes or more, not {text!r}")
    if not all(0 < before < after < math.inf for before, after in pairwise(sizes)):
        raise argparse.ArgumentTypeError(f"takes sizes that are positive and ascend, not {listed}")
    return name, values


def pairs(given: Sequence[str]) -> dict[str, str]:
    """Split ``--arg NAME=JSON`` values.

    Raises:
        UsageError: one has no ``=``, or a name comes twice.
    """
    split: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--arg takes NAME=JSON, not '{text}'", remedy="such as --arg n=20000")
        if name in split:
            raise ParameterError(f"--arg {name} is given twice")
        split[name] = value
    return split
