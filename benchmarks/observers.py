"""What watching costs: the lens beside py-spy and, on Python 3.15, beside the standard library's own sampling profiler.

A thread that does nothing but count is watched and left alone in turn, a few seconds each; a turn is compared with
those right before and after it. Observers take their turns in shuffled order, so that what drifts on the machine
hits all. A turn in which the hypervisor took time is repeated. Printed are the median slowdown of the target
with its 95 % bootstrap interval, and the CPU that the observer itself used, as a share of one core.

    python benchmarks/observers.py [--python python3.15] [--rounds 12] [--seconds 2]
"""

from __future__ import annotations

import argparse
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
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from gilscope.child import Child
from gilscope.compare.metering import cpu_seconds
from gilscope.errors import LensError, ServiceError
from gilscope.flame.pyspy import find_py_spy
from gilscope.lens.control import Lens
from gilscope.lens.steal import stolen_seconds

START_S = 20.0
SETTLE_S = 1.0
"""What an observer gets to find its way about the target before its turn counts."""

MAX_STOLEN_S = 0.02
TRIES = 3
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
        yield psutil.Process().children()[-1].pid
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


def turn(target: Target, observer: Observer, seconds: float) -> tuple[float, float]:
    """Return the share of its speed that the target lost while it was watched, and the observer's share of a core."""
    for _ in range(TRIES):
        stolen_s = stolen_seconds()
        before = target.speed(seconds)
        with observer(target.pid, seconds) as own:
            time.sleep(SETTLE_S)
            begun, cpu_s = time.perf_counter(), cpu_seconds(own)
            watched = target.speed(seconds)
            cpu_share = (cpu_seconds(own) - cpu_s) / (time.perf_counter() - begun)
        after = target.speed(seconds)
        if stolen_seconds() - stolen_s <= MAX_STOLEN_S * seconds:
            break
    return 1 - watched / ((before + after) / 2), cpu_share


def interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    medians = sorted(median(random.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]


def compare(target: Target, watching: dict[str, Observer], options: argparse.Namespace) -> None:
    """Print a row per observer."""
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in watching}
    try:
        for _ in range(options.rounds):
            for name in random.sample(list(watching), len(watching)):
                turns[name].append(turn(target, watching[name], options.seconds))
    except KeyboardInterrupt:
        print("interrupted; so far:")
    for name, seen in ((name, seen) for name, seen in turns.items() if seen):
        lost, used = [one[0] for one in seen], median(one[1] for one in seen)
        low, high = interval(lost)
        print(
            f"{name:<32}{median(lost):>8.2%}  ({low:+.2%} to {high:+.2%}){used:>12.1%}{len(seen):>4}",
            flush=True,
        )


def main() -> None:
    """Print what each observer costs its target and itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    version = subprocess.check_output([options.python, "--version"], text=True).strip()
    print(f"a counting thread on {version}, {options.rounds} rounds of {options.seconds:g} s; medians")
    print(f"{'observer':<32}{'slowdown':>8}{'95 % interval':>22}{'own CPU':>12}   n")
    with ExitStack() as stack:
        compare(Target(options.python, 1, stack), observers(options.python), options)
    print(f"\nthe same with {MANY} threads that count")
    with ExitStack() as stack:
        only = {name: observers(options.python)[name] for name in ("lens, 200 Hz", "lens, 1000 Hz")}
        compare(Target(options.python, MANY, stack), only, options)


if __name__ == "__main__":
    main()
