"""What the hypervisor takes: CPU time of this machine that was given to others on the same host."""

from __future__ import annotations

import psutil


def stolen_seconds() -> float:
    """Return the CPU time that the hypervisor has taken from all cores so far (0 where the system does not tell)."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


class StolenTime:
    """Stolen time per second that anybody was on a CPU."""

    def __init__(self) -> None:
        self._last = _stolen_and_used()

    def ratio(self) -> float:
        """Return the ratio since the last time it was asked for (0 where nothing ran)."""
        stolen_before, used_before = self._last
        stolen, used = self._last = _stolen_and_used()
        return max(0.0, stolen - stolen_before) / (used - used_before) if used > used_before else 0.0


def _stolen_and_used() -> tuple[float, float]:
    times = psutil.cpu_times()
    used = times.user + times.nice + times.system + times.irq + times.softirq
    return float(getattr(times, "steal", 0.0)), float(used)
