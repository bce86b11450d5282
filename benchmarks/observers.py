"""What watching costs: the lens beside py-spy and, on Python 3.15, beside the standard library's own sampling profiler.

A thread that does nothing but count is watched and left alone in turn, a quarter of a second each: the observer is
stopped (SIGSTOP) and goes on. Pairs of such slices are compared; one in which the hypervisor took time is done again.
Observers take their turns in shuffled order, so that what drifts on the machine hits all. Printed are the median slowdown
of the target with its 95 % bootstrap interval over the pairs, the CPU that the observer itself used, as a share of one
core, and the number of pairs.

    python benchmarks/observers.py [--python python3.15] [--rounds 4] [--pairs 12]
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from gilscope.child import Child
from gilscope.compare.metering import cpu_seconds
from gilscope.errors import LensError, ServiceError
from gilscope.flame.pyspy import find_py_spy
from gilscope.lens.control import Lens
from gilscope.steal import stolen_seconds

START_S = 20.0
SETTLE_S = 1.0
"""What an observer gets to find its way about the target before its turn counts."""

SLICE_S, PAUSE_S = 0.25, 0.1
"""How long the target is timed, and what an observer gets to come to rest or into its stride before."""

MAX_STOLEN_S = 0.02
TRIES = 2
"""How often a pair is tried, on average, before a turn ends with fewer."""

RESAMPLES = 2_000
MANY = 16


class Target:
    """A process whose threads count, and how far they have come."""

    def __init__(self, python: str, threads: int, stack: ExitStack) -> None:
        file = stack.enter_context(tempfile.NamedTemporaryFile())  # noqa: SIM115  it is one
        file.truncate(8 * threads)
        self._counts = memoryview(mmap.mmap(file.fileno(), 8 * threads)).cast("Q")
        command = [python, str(Path(__file__).with_name("spinning.py")), file.name, str(threads)]
        child = stack.enter_context(Child(command, failure=ServiceError))
        child.receive(START_S)
        self.pid = child.pid

    def speed(self, seconds: float) -> float:
        """Return counts per second, over so many."""
        begun, before = time.perf_counter(), sum(self._counts)
        time.sleep(seconds)
        return (sum(self._counts) - before) / (time.perf_counter() - begun)


Observer = Callable[[int, float], AbstractContextManager[int]]
"""Watches a process for so many seconds and more; gives its own process id."""


@contextmanager
def lens(rate_hz: float, pid: int, seconds: float) -> Iterator[int]:
    """Watch with the lens."""
    watching = Lens()
    try:
        watching.watch(pid)
        watching.open_window(SETTLE_S + seconds + 1, rate_hz)
        yield next(
            child.pid for child in psutil.Process().children() if "gilscope.lens.process" in child.cmdline()
        )
    finally:
        watching.stop(grace_s=0)


@contextmanager
def command(words: list[str], pid: int, seconds: float) -> Iterator[int]:
    """Watch with a profiler; in its words, PID, SECONDS and OUTPUT stand for what they say."""
    with tempfile.TemporaryDirectory() as folder:
        values = {"PID": str(pid), "SECONDS": f"{SETTLE_S + seconds + 1:.0f}", "OUTPUT": f"{folder}/out"}
        process = subprocess.Popen(
            [values.get(word, word) for word in words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            yield process.pid
        finally:
            died = process.poll()
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=START_S)[1]
            if died:
                raise LensError(f"{words[0]} ended with exit code {died}: {said.decode()[-300:]}")


def observers(python: str) -> dict[str, Observer]:
    """Return what can watch a target that runs on ``python``."""
    py_spy = [find_py_spy(), "record", "--format=raw", "--rate=100", "--pid", "PID"]
    py_spy += ["--duration", "SECONDS", "--output", "OUTPUT"]
    found: dict[str, Observer] = {
        "lens, 200 Hz": partial(lens, 200.0),
        "lens, 1000 Hz": partial(lens, 1000.0),
        "py-spy, 100 Hz": partial(command, py_spy),
        "py-spy --nonblocking, 100 Hz": partial(command, [*py_spy, "--nonblocking"]),
    }
    probe = subprocess.run([python, "-c", "import profiling.sampling"], capture_output=True, check=False)
    if probe.returncode == 0:
        words = [python, "-m", "profiling.sampling", "attach", "-a", "-r", "1000"]
        words += ["--duration", "SECONDS", "--collapsed", "--output", "OUTPUT", "PID"]
        found["profiling.sampling, 1000 Hz"] = partial(command, words)
    return found


@dataclass(frozen=True, slots=True)
class Turn:
    """One observer on the target for a while: the share of its speed that each pair of slices lost, and the CPU used."""

    lost: list[float]
    cpu_share: float


def turn(target: Target, observer: Observer, pairs: int) -> Turn:
    """Let an observer look and be still in turn, in random order within each pair."""
    lost, watched_s, used_s = [], 0.0, 0.0
    with observer(target.pid, TRIES * pairs * 2 * (SLICE_S + PAUSE_S)) as own:
        time.sleep(SETTLE_S)
        for _ in range(TRIES * pairs):
            stolen_s, speeds = stolen_seconds(), {}
            for looks in random.sample((True, False), 2):
                os.kill(own, signal.SIGCONT if looks else signal.SIGSTOP)
                time.sleep(PAUSE_S)
                cpu_s, begun = cpu_seconds(own), time.perf_counter()
                speeds[looks] = target.speed(SLICE_S)
                if looks:
                    watched_s += time.perf_counter() - begun
                    used_s += cpu_seconds(own) - cpu_s
            # A blocking profiler may be stopped while it holds the target.
            if speeds[False] and stolen_seconds() - stolen_s <= MAX_STOLEN_S:
                lost.append(1 - speeds[True] / speeds[False])
            if len(lost) == pairs:
                break
        os.kill(own, signal.SIGCONT)
    return Turn(lost, used_s / watched_s)


def interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    medians = sorted(median(random.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]


def compare(target: Target, watching: dict[str, Observer], options: argparse.Namespace) -> None:
    """Print a row per observer."""
    turns: dict[str, list[Turn]] = {name: [] for name in watching}
    with contextlib.suppress(KeyboardInterrupt):
        for _ in range(options.rounds):
            for name in random.sample(list(watching), len(watching)):
                turns[name].append(turn(target, watching[name], options.pairs))
    for name, seen in turns.items():
        lost = [share for one in seen for share in one.lost]
        if lost:
            (low, high), used = interval(lost), median(one.cpu_share for one in seen)
            shown = f"{median(lost):>8.2%}  ({low:+.2%} to {high:+.2%})"
            print(f"{name:<32}{shown}{used:>12.1%}{len(lost):>7}", flush=True)


def main() -> None:
    """Print what each observer costs its target and itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=12, help="in each turn")
    options = parser.parse_args()
    version = subprocess.check_output([options.python, "--version"], text=True).strip()
    print(f"a counting thread on {version}, {options.rounds} turns of {options.pairs} pairs; medians")
    print(f"{'observer':<32}{'slowdown':>8}{'95 % interval':>22}{'own CPU':>12}  pairs")
    with ExitStack() as stack:
        compare(Target(options.python, 1, stack), observers(options.python), options)
    print(f"\nthe same with {MANY} threads that count")
    with ExitStack() as stack:
        only = {name: observers(options.python)[name] for name in ("lens, 200 Hz", "lens, 1000 Hz")}
        compare(Target(options.python, MANY, stack), only, options)


if __name__ == "__main__":
    main()
