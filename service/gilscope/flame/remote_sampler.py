"""Takes stacks with the standard library's own profiler of Python 3.15 and newer. Needs nothing but that Python.

It is a script for another interpreter than gilscope's own: that of the process to be profiled, because
``profiling.sampling`` reads processes of its own build alone. It reads ``{"pid", "seconds", "rate_hz"}`` as one JSON
line and prints ``{"looks", "lost", "stacks": {kind: [[frames, samples], …]}}`` as another, or ``{"error", "remedy"}``.
"""

from __future__ import annotations

import functools
import json
import os
import random
import sys
import sysconfig
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

import _remote_debugging  # type: ignore[import-not-found]  # of Python 3.15
from profiling.sampling import constants, sample  # type: ignore[import-not-found]

RESCAN_S = 0.5
"""How often processes that have come or gone are looked for."""

TORN = (RuntimeError, OSError, UnicodeDecodeError, MemoryError)
"""What reading raises where memory changed meanwhile."""


class Frame(Protocol):
    """A frame of ``_remote_debugging``."""

    funcname: str
    filename: str


class Dumper(Protocol):
    """What is needed of a ``SampleProfiler``."""

    def dump_stack(self) -> Iterable[Any]:
        """Return the threads of each interpreter."""
        ...


class Stacks:
    """Counts stacks: those that hold the GIL, those that wait for it, and all."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[tuple[str, ...]]] = {
            kind: Counter() for kind in ("holding", "waiting", "wall")
        }

    def add(self, interpreters: Iterable[Any]) -> None:
        """Count what every thread of a process was doing.

        A thread that is in a subinterpreter appears in the main one, too: there with what led to it.
        """
        frames: defaultdict[int, tuple[str, ...]] = defaultdict(tuple)
        flags: defaultdict[int, int] = defaultdict(int)
        for interpreter in sorted(interpreters, key=lambda one: one.interpreter_id):
            for thread in interpreter.threads:
                frames[thread.thread_id] += tuple(map(named, reversed(thread.frame_info)))
                flags[thread.thread_id] |= thread.status
        for thread, stack in frames.items():
            if stack:
                self.counts["wall"][stack] += 1
                self.counts["holding"][stack] += bool(flags[thread] & constants.THREAD_STATUS_HAS_GIL)
                self.counts["waiting"][stack] += bool(flags[thread] & constants.THREAD_STATUS_GIL_REQUESTED)

    def as_lists(self) -> dict[str, list[tuple[tuple[str, ...], int]]]:
        """Return the stacks of each kind with their samples; those without one are left out."""
        return {kind: list((+counts).items()) for kind, counts in self.counts.items()}


def named(frame: Frame) -> str:
    """Write a frame as py-spy does, without its line."""
    return f"{frame.funcname} ({shortened(frame.filename)})"


@functools.cache
def shortened(path: str) -> str:
    """Return a path from its outermost package on."""
    folder, name = os.path.split(path)
    while folder.strip("/") and os.path.exists(f"{folder}/__init__.py"):  # noqa: PTH110  of any text: not every one names a path
        folder, package = os.path.split(folder)
        name = f"{package}/{name}"
    return name


class Family:
    """A process and its children; each that runs this Python has a profiler, the others None."""

    def __init__(self, pid: int, rate_hz: float) -> None:
        self._pid, self._interval_us = pid, round(1e6 / rate_hz)
        self.members: dict[int, Dumper | None] = {pid: self._profiler(pid)}

    def _profiler(self, pid: int) -> Dumper:
        profiler: Dumper = sample.SampleProfiler(
            pid,
            self._interval_us,
            all_threads=True,
            mode=constants.PROFILING_MODE_ALL,
            skip_non_matching_threads=False,
        )
        return profiler

    def rescan(self) -> None:
        """Look for children that have come."""
        for pid in _remote_debugging.get_child_pids(self._pid, recursive=True):
            if pid not in self.members and pid != os.getpid():
                try:
                    self.members[pid] = self._profiler(pid)
                except (*TORN, SystemExit):  # Not a Python, or not this one, or gone.
                    self.members[pid] = None


def take(pid: int, seconds: float, rate_hz: float) -> dict[str, object]:
    """Take stacks for so long, at random moments of that mean rate.

    Raises:
        ProcessLookupError: the process has ended.
        PermissionError: it may not be read.
    """
    family, stacks, lost, looks = Family(pid, rate_hz), Stacks(), 0, 0
    begun = due = rescan_due = time.monotonic()
    while (now := time.monotonic()) < begun + seconds:
        if now >= rescan_due:
            family.rescan()
            rescan_due = now + RESCAN_S
        looks += 1
        for member, profiler in list(family.members.items()):
            try:
                if profiler:
                    stacks.add(profiler.dump_stack())
            except ProcessLookupError:
                if member == pid:
                    raise
                family.members[member] = None
            except TORN:
                lost += 1
        due = max(due + random.uniform(0.5, 1.5) / rate_hz, time.monotonic())
        time.sleep(max(0.0, min(due, begun + seconds) - time.monotonic()))
    return {"looks": looks, "lost": lost, "stacks": stacks.as_lists()}


def answer(order: dict[str, Any]) -> dict[str, object]:
    """Do what was ordered, or say why not."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return {"error": "this is a free-threaded Python: no GIL is held or waited for", "remedy": None}
    try:
        return take(**order)
    except ProcessLookupError:
        return {"error": "the process has ended", "remedy": "see why it ended"}
    except PermissionError:
        return {
            "error": "no right to read the process's memory",
            "remedy": "run as the same user with the right to ptrace (sudo, or in a container: cap_add SYS_PTRACE)",
        }
    except (*TORN, SystemExit) as problem:
        return {"error": str(problem), "remedy": None}


if __name__ == "__main__":
    json.dump(answer(json.loads(sys.stdin.readline())), sys.stdout)
