"""Capturing stacks with the sampling profiler of Python 3.15's standard library, run by the target's own interpreter."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Collection
from importlib import resources
from pathlib import Path
from typing import Any

from gilscope.errors import CaptureError
from gilscope.flame.algebra import total
from gilscope.flame.capture import RATE_HZ, Capture
from gilscope.flame.harness import without_helpers
from gilscope.model import FlameKind, Graph

SLACK_S = 20.0
"""How much longer than asked a capture may take: an interpreter has to start."""

FIRST_MINOR = 15
_PYTHON = re.compile(r"python3\.(\d+)t?")


class StandardProfiler:
    """``profiling.sampling``, which never pauses its target. Only for targets of its own build."""

    def __init__(self, python: Path) -> None:
        """``python`` is the interpreter of the processes to be profiled."""
        self._python = python

    def capture(
        self, pid: int, kinds: Collection[FlameKind], seconds: int, rate_hz: int = RATE_HZ
    ) -> list[Capture]:
        """Capture the stacks of a process and its children, all ``kinds`` over the same seconds.

        Raises:
            CaptureError: it may not, or found nothing; with the cause and the remedy.
        """
        answer = self._ask({"pid": pid, "seconds": seconds, "rate_hz": rate_hz}, seconds + SLACK_S)
        if "error" in answer:
            raise CaptureError(
                f"Python's own profiler could not capture stacks: {answer['error']}", remedy=answer["remedy"]
            )
        # It takes what it gets on a busy machine: a stack weighs the time between two looks.
        weight_s = seconds / answer["looks"]
        return [self._made(kind, answer, weight_s, seconds, rate_hz) for kind in FlameKind if kind in kinds]

    def _made(
        self, kind: FlameKind, answer: dict[str, Any], weight_s: float, seconds: int, rate_hz: int
    ) -> Capture:
        counted = without_helpers({tuple(stack): samples for stack, samples in answer["stacks"][kind]})
        graph = Graph(
            kind=kind,
            source=f"profiling.sampling of {self._python.name}",
            rate_hz=rate_hz,
            seconds=float(seconds),
            samples=round(total(counted)),
            lost=answer["lost"],
            pause_share=0.0,
        )
        return Capture(graph, {stack: samples * weight_s for stack, samples in counted.items()})

    def _ask(self, order: dict[str, int], timeout_s: float) -> dict[str, Any]:
        with resources.as_file(resources.files("gilscope.flame").joinpath("remote_sampler.py")) as script:
            try:
                done = subprocess.run(
                    [self._python, "-I", script],
                    input=json.dumps(order),
                    capture_output=True,
                    text=True,
                    errors="replace",
                    # A locale that is not installed makes it fail (CPython 3.15).
                    env={**os.environ, "LC_ALL": "C"},
                    timeout=timeout_s,
                    check=False,
                    start_new_session=True,
                )
                answer: dict[str, Any] = json.loads(done.stdout)
            except subprocess.TimeoutExpired:
                raise CaptureError(f"Python's own profiler did not finish within {timeout_s:.0f} s") from None
            except OSError as problem:
                raise CaptureError(
                    f"Python's own profiler could not capture stacks: {problem}",
                    remedy=f"see whether {self._python} runs",
                ) from None
            except ValueError:
                last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
                raise CaptureError(
                    f"Python's own profiler could not capture stacks: {last}",
                    remedy=f"{self._python} -m profiling.sampling attach PID says more",
                ) from None
        return answer


def find_standard_profiler(pid: int) -> StandardProfiler | None:
    """Return the profiler of a process's own interpreter; None where that has none, or cannot be found.

    Only an executable that is called ``python3.15`` or newer is run: another program may embed Python.
    """
    with contextlib.suppress(OSError):
        python = Path(f"/proc/{pid}/exe").readlink()
        match = _PYTHON.fullmatch(python.name)
        if match and int(match[1]) >= FIRST_MINOR and os.access(python, os.X_OK) and _has_profiler(python):
            return StandardProfiler(python)
    return None


def _has_profiler(python: Path) -> bool:
    """Distributions may leave the profiler out."""
    done = subprocess.run(
        [python, "-I", "-c", "import profiling.sampling.sample"],
        capture_output=True,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
        start_new_session=True,
    )
    return done.returncode == 0
