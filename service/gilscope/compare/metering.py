"""What a service uses while it is measured, and what the machine loses to its neighbours meanwhile."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

import psutil

from gilscope.steal import stolen_seconds


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU (in cores) and memory of the service and its children, and what the hypervisor took from everybody.

    ``steal_share`` is of the whole machine's CPU time, 0 to 1. None: the service runs elsewhere.
    """

    cpu_cores: float | None
    memory_mb: float | None
    steal_share: float


class Meter:
    """Reads a process tree's usage from when it is made; without a ``pid``, what this machine loses alone."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._cpu_s, self._stolen_s, self._begun = _cpu(pid), stolen_seconds(), time.monotonic()

    def usage(self) -> Usage:
        """Return the usage since then."""
        elapsed_s = time.monotonic() - self._begun
        return Usage(
            cpu_cores=None if self._pid is None else (_cpu(self._pid) - self._cpu_s) / elapsed_s,
            memory_mb=None if self._pid is None else memory_mb(self._pid),
            steal_share=(stolen_seconds() - self._stolen_s) / elapsed_s / (os.cpu_count() or 1),
        )


def busy_cores(seconds: float) -> float:
    """Watch for so long how many of this machine's cores are busy; what a hypervisor takes is not counted."""
    before, begun = _used_seconds(), time.monotonic()
    time.sleep(seconds)
    return (_used_seconds() - before) / (time.monotonic() - begun)


def _used_seconds() -> float:
    times = psutil.cpu_times()  # Its percentages are wrong below one second.
    return times.user + times.nice + times.system + times.irq + times.softirq


def _cpu(pid: int | None) -> float:
    return 0.0 if pid is None else cpu_seconds(pid)


def cpu_seconds(pid: int) -> float:
    """Add up the CPU time so far of a process and its children; those that have just ended count nothing."""
    seconds = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


def memory_mb(pid: int) -> float:
    """Add up the memory of a process and its children: proportional (PSS) where the system tells, else resident."""
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", 0) or memory.rss
    return total / 1e6


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
