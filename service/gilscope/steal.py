"""What the hypervisor takes: CPU time of this machine that was given to others on the same host."""

from __future__ import annotations

import psutil


def stolen_seconds() -> float:
    """Return the CPU time that the hypervisor has taken from all cores so far (0 where the system does not tell)."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


class StolenTime:
    """What was stolen since it was last asked for."""

    def __init__(self) -> None:
        self._last = stolen_seconds()

    def seconds(self) -> float:
        """Return the time taken from all cores together, in seconds (0 for a counter that falls)."""
        before, self._last = self._last, stolen_seconds()
        return max(0.0, self._last - before)
