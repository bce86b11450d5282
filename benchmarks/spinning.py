"""A target that only counts: ``python spinning.py FILE THREADS`` writes each thread's count to its 8 bytes of FILE."""

from __future__ import annotations

import mmap
import sys
import threading
from pathlib import Path

STEP = 10_000


def count(counts: memoryview, slot: int) -> None:
    """Count for ever."""
    total = 0
    while True:
        for _ in range(STEP):
            pass
        total += STEP
        counts[slot] = total


def main() -> None:
    """Count on as many threads as were asked for, until standard input ends."""
    path, threads = Path(sys.argv[1]), int(sys.argv[2])
    with path.open("r+b") as file:
        counts = memoryview(mmap.mmap(file.fileno(), 8 * threads)).cast("Q")
    for slot in range(threads):
        threading.Thread(target=count, args=(counts, slot), daemon=True).start()
    print("{}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
