"""What this process has used, and what kept it from a core."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gilscope.steal import stolen_seconds
from gilscope.throttling import throttled_seconds


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds, seconds in which it waited for a core, and seconds for which a CPU quota held each of its groups.

    ``stolen_s`` is what the hypervisor took from all cores of the machine.
    """

    at: float
    cpu_s: float
    runqueue_s: float
    throttled_s: Mapping[Path, float]
    stolen_s: float

    @classmethod
    def now(cls) -> Usage:
        """Read the clocks. Without Linux's ``schedstat`` the wait for a core reads 0."""
        waited_ns = 0
        with contextlib.suppress(OSError):
            waited_ns = int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1])
        return cls(
            time.monotonic(), time.process_time(), waited_ns / 1e9, throttled_seconds(), stolen_seconds()
        )
