"""Functions that die, hang or eat memory, each in the process that runs them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import time
from pathlib import Path


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


def hold(begun: str) -> None:
    """Hold the GIL for ever, in C; there is a file once that begins."""
    Path(begun).touch()
    ctypes.PyDLL(None).pause()


def hold_with_child(begun: str) -> None:
    """Do the same, beside a child that nobody ends."""
    subprocess.Popen(["sleep", "600"])
    hold(begun)


async def never_mind(begun: str) -> None:
    """Sleep for ever, whoever cancels that."""
    Path(begun).touch()  # noqa: ASYNC240  once
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(600)


def spin_on(begun: str, catches: bool = False) -> None:  # noqa: FBT001, FBT002  it comes by name
    """Compute for ever; an interrupt may be caught, and forgotten."""
    Path(begun).touch()
    while True:
        try:
            spin(600)
        except KeyboardInterrupt:
            if not catches:
                raise
