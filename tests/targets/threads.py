"""A process to be watched: `threads.py WHAT [HOW_MANY …]` prints "ready" and goes on until it is killed.

Runs on every Python that gilscope can watch, and on older ones; imports nothing of gilscope.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable


def spin() -> None:
    while True:
        sum(range(100))


def calm() -> None:
    time.sleep(3600)


def brief(seconds: float = 0.005) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def start(work: Callable[[], None], count: int, name: str) -> None:
    for number in range(count):
        threading.Thread(target=work, name=f"{name}-{number}", daemon=True).start()


def spinning(spinners: str, sleepers: str = "0") -> None:
    """Threads that compute, and threads that sleep."""
    start(spin, int(spinners), "spin")
    start(calm, int(sleepers), "calm")
    ready()
    calm()


def churning() -> None:
    """A hundred threads begin and end per second."""
    ready()
    while True:
        threading.Thread(target=brief).start()
        time.sleep(0.01)


def forking() -> None:
    """Children that compute for a while, and children that run another program."""
    ready()
    while True:
        child = os.fork()
        if not child:
            brief(0.4)
            os._exit(0)
        subprocess.run(["true"], check=True)
        time.sleep(0.1)
        collect()


def collect() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def becoming(*command: str) -> None:
    """Another program, in place of this one, as soon as a line comes."""
    start(calm, 2, "calm")
    ready()
    sys.stdin.readline()
    os.execv(command[0], command)


def ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
