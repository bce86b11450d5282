"""What workers do beside a service or in a pool. Each worker imports this module anew, so it needs next to nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence


def begin(begun: str, cores: Sequence[int]) -> None:
    """Keep to these cores, and tell who reads the pipe of this name; it stays open for as long as the process lives."""
    os.sched_setaffinity(0, cores)
    os.write(os.open(begun, os.O_WRONLY), b"!")


def forever(begun: str, cores: Sequence[int]) -> None:
    """Be the tutorial's infinite loop."""
    begin(begun, cores)
    while True:
        print("still running")  # noqa: T201


def forever_in_lines(begun: str, cores: Sequence[int]) -> None:
    """Be the same, with each line written at once, as it is to a terminal."""
    begin(begun, cores)
    while True:
        print("still running", flush=True)  # noqa: T201


def compute(begun: str, cores: Sequence[int]) -> None:
    """Be an infinite loop that never writes anything: it has no reason to give up the GIL."""
    begin(begun, cores)
    number = 0
    while True:
        number += 1


def crash(begun: str, cores: Sequence[int]) -> None:
    """Read what is at address 0."""
    import ctypes  # noqa: PLC0415  the loops have no use for it

    begin(begun, cores)
    ctypes.string_at(0)


def add_up(numbers: int) -> int:
    """Be a single C call, which holds the GIL from beginning to end."""
    return sum(range(numbers))


def largest(values: list[int]) -> int:
    """Do little with a large argument."""
    return max(values)
