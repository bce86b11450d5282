"""May interfere with each other, by a crash: a worker segfaults while another one is busy. What dies with it?

``python -m gilscope.textbook.cells.crashing BACKEND`` is the service that may die: it answers once, and crashes on request.
"""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor

NEIGHBOUR_S = 5.0


def crash() -> None:
    """Read what is at address 0."""
    ctypes.string_at(0)


def answer() -> str:
    """Be a call that works."""
    return "pong"


async def crash_in_asyncio() -> None:
    """Crash in a task, beside another one."""

    async def worker() -> None:
        crash()

    print(answer(), flush=True)  # noqa: T201
    sys.stdin.readline()
    await asyncio.gather(asyncio.sleep(NEIGHBOUR_S), worker())


def crash_in_pool(pool: Executor) -> None:
    """Crash in a worker of a pool, beside another one."""
    print(pool.submit(answer).result(), flush=True)  # noqa: T201
    sys.stdin.readline()
    pool.submit(time.sleep, NEIGHBOUR_S)
    pool.submit(crash).result()


def start_service(backend: str) -> subprocess.Popen[str]:
    """Start a service and wait until it has answered once."""
    service = subprocess.Popen(
        [sys.executable, "-P", "-m", "gilscope.textbook.cells.crashing", backend],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    assert service.stdout.readline() == "pong\n"
    return service


def crash_service(backend: str) -> dict[str, object]:
    """Have the service crash; start it again where that ended it."""
    with start_service(backend) as service:
        service.communicate("crash\n")
    begun = time.perf_counter()
    with start_service(backend) as again:
        again_ms = (time.perf_counter() - begun) * 1e3
        again.communicate("crash\n")
    return {
        "service_died": service.returncode < 0,
        "signal": max(0, -service.returncode),
        "answers_again_ms": again_ms,
    }


def in_asyncio() -> dict[str, object]:
    """Crash in a task."""
    return crash_service("asyncio")


def in_threads() -> dict[str, object]:
    """Crash in a thread."""
    return crash_service("threads")


def in_interpreters() -> dict[str, object]:
    """Crash in a subinterpreter."""
    return crash_service("interpreters")


def in_processes() -> dict[str, object]:
    """Crash in a process of a pool, beside another call; then make a new pool."""
    with ProcessPoolExecutor(2) as pool:
        for call in [pool.submit(time.sleep, 0.1) for _ in range(2)]:
            call.result()  # both workers are up
        neighbour = pool.submit(time.sleep, NEIGHBOUR_S)
        crashed = pool.submit(crash)
        broken = [isinstance(call.exception(), BrokenExecutor) for call in (crashed, neighbour)]

    begun = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        pool.submit(answer).result()
        again_ms = (time.perf_counter() - begun) * 1e3
    # Who gets so far has not died.
    return {
        "service_died": False,
        "call_failed": broken[0],
        "neighbour_failed": broken[1],
        "answers_again_ms": again_ms,
    }


def main() -> None:
    """Be the service that may die."""
    if sys.argv[1] == "asyncio":
        asyncio.run(crash_in_asyncio())
    elif sys.argv[1] == "threads":
        crash_in_pool(ThreadPoolExecutor(2))
    else:
        from concurrent.futures import InterpreterPoolExecutor  # type: ignore[attr-defined] # noqa: PLC0415

        crash_in_pool(InterpreterPoolExecutor(2))


if __name__ == "__main__":
    main()
