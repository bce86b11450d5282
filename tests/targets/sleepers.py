"""Threads that do one thing each, until standard input ends: ``python sleepers.py KIND COUNT …``, KIND a function's name.

Says on standard output, as JSON, which thread ids each kind has. Only the standard library of any Python from 3.11 on.
"""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading
import time
import zlib


def spin() -> None:
    """Hold the GIL whenever it can be had."""
    number = 0
    while True:
        number += 1


def sleep() -> None:
    while True:
        time.sleep(0.05)


def wake() -> None:
    """Sleep a little, a hundred times a second: each time, the GIL is needed again."""
    while True:
        time.sleep(0.01)


def read_socket() -> None:
    near, _far = socket.socketpair()
    near.recv(1)


def wait_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def wait_queue() -> None:
    queue.Queue[int]().get()


def wait_condition() -> None:
    condition = threading.Condition()
    with condition:
        while True:
            condition.wait(0.05)


def compress() -> None:
    """Work hard without the GIL: some 40 ms per call."""
    data = b"gilscope" * 250_000
    while True:
        zlib.compress(data, 9)


def main() -> None:
    """Start what was asked for, as pairs of a kind and a count, say so, and wait for the end."""
    started: dict[str, list[int | None]] = {}
    for kind, count in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        threads = [
            threading.Thread(target=globals()[kind], name=kind, daemon=True) for _ in range(int(count))
        ]
        for thread in threads:
            thread.start()
        started[kind] = [thread.native_id for thread in threads]
    print(json.dumps(started), flush=True)  # noqa: T201  its parent reads it
    sys.stdin.read()


if __name__ == "__main__":
    main()
