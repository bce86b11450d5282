"""What several experiments need to measure: medians and memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

from gilscope.throttling import group_files


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
    """Return how much memory can be had without swapping, in MB: of the machine, and within what this process lies in."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    machine = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    pairs = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    groups = [
        _left(path, path.with_name(used)) for most, used in pairs for path in group_files("memory", most)
    ]
    return min([*machine, *filter(None, groups)], default=0) / 1e6


def _left(most: Path, used: Path) -> int | None:
    """Return what a control group may still take, in bytes, its idle cache given back; None where there is no limit."""
    try:
        stat = dict(line.split() for line in most.with_name("memory.stat").read_text().splitlines())
        idle = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
        return max(1, int(most.read_text()) - int(used.read_text()) + idle)
    except (OSError, ValueError):  # there is no such group, or its limit is "max"
        return None
