"""Subinterpreters of two spinning threads each, until standard input ends: ``python interpreters.py COUNT``. Python 3.14."""

from __future__ import annotations

import importlib
import sys
import threading

SPINNERS = """
import threading

def spin():
    while True:
        pass

threads = [threading.Thread(target=spin, name=f"spin-{NUMBER}") for _ in range(2)]
for thread in threads:
    thread.start()
"""


def main() -> None:
    """Start them, say so, and wait for the end."""
    interpreters = importlib.import_module("concurrent.interpreters")
    for number in range(int(sys.argv[1])):
        own = interpreters.create()
        threading.Thread(
            target=own.exec, args=(SPINNERS.replace("NUMBER", str(number)),), daemon=True
        ).start()
    print("{}", flush=True)  # noqa: T201  its parent reads it
    sys.stdin.read()


if __name__ == "__main__":
    main()
