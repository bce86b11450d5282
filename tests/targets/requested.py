"""How often each thread of another process had asked for the GIL, by Python 3.15's own profiler.

``python requested.py PID SECONDS`` prints, as JSON, each thread's share of samples in which it had.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from collections import Counter

ALL_MODES, GIL_REQUESTED = 3, 8
RATE_HZ = 200


def main() -> None:
    """Sample, then print the shares."""
    pid, seconds = int(sys.argv[1]), float(sys.argv[2])
    unwinder = importlib.import_module("_remote_debugging").RemoteUnwinder(
        pid, all_threads=True, mode=ALL_MODES, skip_non_matching_threads=False
    )
    seen: Counter[int] = Counter()
    asked: Counter[int] = Counter()
    print("{}", flush=True)  # noqa: T201  its parent reads it
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for interpreter in unwinder.get_stack_trace():
            for thread in interpreter.threads:
                seen[thread.thread_id] += 1
                asked[thread.thread_id] += bool(thread.status & GIL_REQUESTED)
        time.sleep(random.uniform(0.5, 1.5) / RATE_HZ)
    print(json.dumps({thread: asked[thread] / count for thread, count in seen.items()}), flush=True)  # noqa: T201  its parent reads it


if __name__ == "__main__":
    main()
