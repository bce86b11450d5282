"""Is the lens right? Threads that count and nothing else sleep only for the GIL, so that the kernel knows the truth.

For each Python and number of threads, a row of means over the threads, in per cent of wall time: what the lens says, the
sleep that the kernel's own clocks leave (``schedstat``, read here), how long the GIL was held, and on Python 3.15 how
often its own profiler saw a thread that had asked for the GIL (a thread that was woken for it and waits for a core
has asked, and counts as run queue to the lens).

    python benchmarks/gil_wait.py --python python3.11 --python python3.15 [--seconds 8]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import fmean

from gilscope.child import Child
from gilscope.errors import ServiceError
from gilscope.lens.sampler import Sampler, Timer
from gilscope.lens.tasks import parse_schedstat
from gilscope.lens.watch import ThreadSpan, Watch
from gilscope.steal import stolen_seconds

START_S = 20.0
COUNTS = (1, 2, 3, 4, 8)
HEADER = (
    f"{'Python':<8}{'threads':>8}{'sum':>8}{'GIL wait':>10}{'asleep':>8}{'largest difference':>20}"
    f"{'run queue':>11}{'held':>8}{'requested':>11}{'stolen':>8}"
)


@contextmanager
def counting(python: str, threads: int) -> Iterator[int]:
    """Run the target; give its process id."""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(8 * threads)
        command = [python, str(Path(__file__).with_name("spinning.py")), file.name, str(threads)]
        with Child(command, failure=ServiceError) as child:
            child.receive(START_S)
            yield child.pid


@contextmanager
def requests(python: str, pid: int, seconds: float) -> Iterator[list[float]]:
    """Let Python 3.15's own profiler sample the same seconds; fills the list with each thread's share."""
    shares: list[float] = []
    program = Path(__file__).parents[1] / "tests" / "targets" / "requested.py"
    probe = subprocess.run([python, "-c", "import profiling.sampling"], capture_output=True, check=False)
    if probe.returncode:
        yield shares
        return
    process = subprocess.Popen(
        [python, str(program), str(pid), str(seconds)],
        stdout=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield shares
    shares.extend(json.loads(process.communicate()[0]).values())


def clocks(pid: int, tids: list[int]) -> list[float]:
    """Return the seconds that each thread was on a CPU or ready for one."""
    texts = (Path(f"/proc/{pid}/task/{tid}/schedstat").read_bytes() for tid in tids)
    return [sum(parse_schedstat(text)) / 1e9 for text in texts]


def row(python: str, threads: int, seconds: float) -> str:
    """Measure once and write it down."""
    with ExitStack() as stack:
        pid = stack.enter_context(counting(python, threads))
        watch = Watch(pid, family=False)
        stack.callback(watch.close)
        tids = [thread.tid for thread in watch.threads() if thread.tid != pid]
        with requests(python, pid, seconds) as shares:
            now = Timer().now
            watch.restart()
            begun, before, stolen = now(), clocks(pid, tids), stolen_seconds()
            Sampler(watch).run(seconds)
            after, elapsed = clocks(pid, tids), now() - begun
            stolen = (stolen_seconds() - stolen) / elapsed
        asleep = [1 - (end - start) / elapsed for start, end in zip(before, after, strict=True)]
        seen = {thread.tid: thread for thread in watch.threads()}
        found = [seen[tid] for tid in tids]
        # The main thread of the target waits for its input and asks for nothing.
        requested = f"{100 * sum(shares) / threads:>11.1f}" if shares else f"{'-':>11}"
        return f"{watch.python:<8}{threads:>8}{_figures(found, asleep, elapsed)}{requested}{stolen:>8.1%}"


def _figures(found: list[ThreadSpan], asleep: list[float], elapsed: float) -> str:
    spans = [thread.span.all for thread in found]
    waits = [span.gil_wait_s / elapsed for span in spans]
    apart = max(abs(wait - sleep) for wait, sleep in zip(waits, asleep, strict=True))
    held = [span.gil_held_s for span in spans if span.gil_held_s is not None]
    held_share = f"{100 * sum(held) / elapsed:>8.1f}" if held else f"{'-':>8}"
    return (
        f"{100 * fmean(span.wall_s for span in spans) / elapsed:>8.1f}{100 * fmean(waits):>10.1f}"
        f"{100 * fmean(asleep):>8.1f}{100 * apart:>20.1f}"
        f"{100 * fmean(span.runqueue_s for span in spans) / elapsed:>11.1f}{held_share}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    print(HEADER)
    for python in options.python or [sys.executable]:
        for threads in COUNTS:
            print(row(python, threads, options.seconds), flush=True)


if __name__ == "__main__":
    main()
