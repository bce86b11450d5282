"""May interfere with each other, by a crash: a worker of a web service segfaults. What dies with it?"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

SHOWN = {
    backend: ("answers", "crash_worker", "crash_service", f"in_{backend}")
    for backend in ("asyncio", "threads", "processes", "interpreters")
}
"""What a reader wants to see of each."""
WORK_SHOWN = dict.fromkeys(SHOWN, (("gilscope.textbook.cells.works", "crash"),))

SERVICE = "gilscope.textbook.cells.looping"
"""The one beside which the infinite loops run."""
NEIGHBOUR_S = 5.0


def start_service(backend: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the service; return it and its port once it has answered."""
    command = [sys.executable, "-P", "-m", SERVICE, backend]
    service = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert service.stdout is not None
    port = int(json.loads(service.stdout.readline())["port"])
    assert answers(port)
    return service, port


def answers(port: int) -> bool:
    """Whether the service answers a ping."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().read() == b"pong"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def crash_worker(service: subprocess.Popen[bytes]) -> None:
    """Have a worker of the service read address 0; return when whatever process that was in has ended."""
    with TemporaryDirectory() as folder:
        begun = Path(folder, "begun")
        os.mkfifo(begun)
        cores = list(os.sched_getaffinity(0))
        order = {
            "work": "crash",
            "times": 1,
            "begun": str(begun),
            "loop_on": cores,
            "work_on": cores,
            "interval_ms": 5,
        }
        assert service.stdin is not None
        service.stdin.write(json.dumps(order).encode() + b"\n")
        begun.read_bytes()  # the pipe ends with who wrote to it


def crash_service(backend: str) -> dict[str, object]:
    """Crash a worker of a service; where no ping is answered any more, start the service again."""
    service, port = start_service(backend)
    with service:
        crash_worker(service)
        crashed = time.perf_counter()
        died = not answers(port)
    figures: dict[str, object] = {"service_died": died, "signal": max(0, -service.returncode)}
    if died:
        again, _ = start_service(backend)
        figures["answers_again_ms"] = (time.perf_counter() - crashed) * 1e3
        with again:
            pass
    return figures


def in_asyncio() -> dict[str, object]:
    """Crash on the event loop."""
    return crash_service("asyncio")


def in_threads() -> dict[str, object]:
    """Crash in a thread."""
    return crash_service("threads")


def in_interpreters() -> dict[str, object]:
    """Crash in a subinterpreter."""
    return crash_service("interpreters")


def in_processes() -> dict[str, object]:
    """Crash in a process; then in one of a pool, beside another call, and make a new pool."""
    figures = crash_service("processes")
    with ProcessPoolExecutor(2) as pool:
        for call in [pool.submit(time.sleep, 0.1) for _ in range(2)]:
            call.result()  # both workers are up
        neighbour, crashed = pool.submit(time.sleep, NEIGHBOUR_S), pool.submit(ctypes.string_at, 0)
        figures["call_failed"] = isinstance(crashed.exception(), BrokenExecutor)
        figures["neighbour_failed"] = isinstance(neighbour.exception(), BrokenExecutor)
    begun = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        pool.submit(int).result()
        return {**figures, "answers_again_ms": (time.perf_counter() - begun) * 1e3}
