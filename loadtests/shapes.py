"""The same users under a load that changes over time: a ramp, steps or a spike.

    locust -f loadtests/shapes.py --host http://127.0.0.1:8080 --headless --shape spike --peak 32 --span 60
    locust -f loadtests/shapes.py --host http://127.0.0.1:8080 --headless --shape spike --rate 200 --span 60

With ``--rate``, the rate follows the shape, and is what was asked for at the peak.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events

sys.path.insert(0, str(Path(__file__).parent))

from locustfile import Probe, Stream, Work

from gilscope.load.by_hand import is_open

__all__ = ["Probe", "Shaped", "Work"]

STEPS = 5
PROBES = 1
"""One more user than asked for: the probe."""


def ramp(progress: float) -> float:
    """Rise evenly from none to all."""
    return progress


def steps(progress: float) -> float:
    """Rise in five equal steps."""
    return (int(progress * STEPS) + 1) / STEPS


def spike(progress: float) -> float:
    """Stay at a tenth, but for the middle fifth of the time, which has all."""
    return 1.0 if 0.4 <= progress < 0.6 else 0.1


SHAPES = {"ramp": ramp, "steps": steps, "spike": spike}


def share(options: Namespace, at_s: float) -> float:
    """Return what share of the rate the chosen shape wants, so many seconds after the start."""
    return min(1.0, SHAPES[options.shape](at_s / options.span))


Stream.shape = share


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def choose(parser: ArgumentParser, **_: Any) -> None:  # noqa: ANN401
    """Let the shape be chosen."""
    parser.add_argument(
        "--shape", default="ramp", choices=list(SHAPES), help="how the load changes over time"
    )
    parser.add_argument(
        "--peak", type=int, default=32, help="closed loop: work users at the most (default: 32)"
    )
    parser.add_argument("--span", type=float, default=60.0, help="seconds in all (default: 60)")


class Shaped(LoadTestShape):
    """Follows the chosen shape, then ends the test."""

    def tick(self) -> tuple[int, float] | None:
        """Return the users wanted now and how many may start per second; None ends the test."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        progress = self.get_run_time() / options.span  # type: ignore[no-untyped-call]
        if progress >= 1:
            return None
        if is_open(self.runner.environment):
            return PROBES, 1.0
        users = max(1, round(options.peak * SHAPES[options.shape](progress)))
        return users + PROBES, float(options.peak)
