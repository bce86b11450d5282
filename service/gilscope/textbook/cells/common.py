"""What several experiments need to measure: medians and memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, sleep


def median_ms(call: Callable[[], object], times: int) -> float:
    """Call something so many times; return the median in ms."""
    return median(once_ms(call) for _ in range(times))


def once_ms(call: Callable[[], object]) -> float:
    """Call something once; return how long it took in ms."""
    begun = perf_counter()
    call()
    return (perf_counter() - begun) * 1e3


def family() -> list[int]:
    """Return the ids of this process and of all that descend from it."""
    parents = {int(path.parent.name): _parent(path) for path in Path("/proc").glob("[0-9]*/stat")}
    found = [os.getpid()]
    for pid in found:  # grows meanwhile
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return 0


def pss_mb() -> float:
    """Return the memory of this process and its descendants in MB; what they share counts once (``man 5 proc``)."""
    sleep(0.05)  # let what has just started settle
    return sum(_pss_kb(pid) for pid in family()) * 1024 / 1e6


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def available_mb() -> float:
    """Return how much memory can be had without swapping, in MB (``MemAvailable``)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
