"""Functions that die, hang or eat memory, each in the process that runs them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import time


def die(how: str = "not") -> str:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "memory":  # as the kernel ends whoever has more than there is
        resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))
        try:
            bytearray(2**32)
        except MemoryError:
            os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def rest(seconds: float = 0.0) -> float:
    time.sleep(seconds)
    return seconds


async def rest_async(seconds: float = 0.0) -> float:
    await asyncio.sleep(seconds)
    return seconds


def spin(seconds: float = 0.0) -> float:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds
