"""One thread of another process, as ``/proc/PID/task/TID`` shows it, through descriptors that are kept open."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable
from pathlib import Path

from gilscope.errors import LensError
from gilscope.lens.ledger import Clock, Look

FUTEX = {"x86_64": 202, "aarch64": 98}
"""Number of the system call ``futex`` by architecture (Linux's ``unistd_64.h`` and ``asm-generic/unistd.h``)."""

_READY = ord("r")


def futex_prefix(machine: str) -> bytes:
    """Return how ``/proc/PID/syscall`` begins while a thread is in ``futex``.

    Raises:
        LensError: this architecture is not known here.
    """
    number = FUTEX.get(machine)
    if number is None:
        raise LensError(
            f"the lens does not know the system calls of {machine}", remedy="an x86-64 or aarch64 machine"
        )
    return b"%d 0x" % number


def parse_schedstat(text: bytes) -> Clock:
    """Read ``/proc/PID/task/TID/schedstat``."""
    on_cpu, runqueue, _slices = text.split()
    return Clock(int(on_cpu), int(runqueue))


class Waits:
    """Tells what a system call is slept in for, from the text of ``/proc/PID/task/TID/syscall``.

    Answers are remembered by address, as text: few addresses are waited at often.
    """

    def __init__(self, is_gil: Callable[[int], bool], machine: str = "") -> None:
        self._is_gil = is_gil
        self._prefix = futex_prefix(machine or platform.machine())
        self._known: dict[bytes, Look] = {}

    def forget(self) -> None:
        """Ask again for every address: an interpreter has come or gone."""
        self._known.clear()

    def look(self, text: bytes) -> Look:
        """Say what a thread was seen doing."""
        if text[0] == _READY:
            return Look.READY
        if not text.startswith(self._prefix):
            return Look.BLOCKED
        start = len(self._prefix)
        address = text[start : text.index(b" ", start)]
        look = self._known.get(address)
        if look is None:
            look = Look.GIL if self._is_gil(int(address, 16)) else Look.BLOCKED
            self._known[address] = look
        return look


class Task:
    """A thread that is being watched."""

    def __init__(self, pid: int, tid: int) -> None:
        """Open its files.

        Raises:
            OSError: it has ended, or there is no right to see what it does.
        """
        self.pid, self.tid = pid, tid
        folder = f"/proc/{pid}/task/{tid}"
        with contextlib.ExitStack() as stack:
            self._syscall = _opened(f"{folder}/syscall", stack)
            self._schedstat = _opened(f"{folder}/schedstat", stack)
            self.name = Path(f"{folder}/comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
            self.clock()
            self._closing = stack.pop_all()

    def syscall(self) -> bytes:
        """Return what the thread is doing, as the kernel writes it; costs about a microsecond.

        Raises:
            OSError: it has ended.
        """
        return os.pread(self._syscall, 64, 0)

    def clock(self) -> Clock:
        """Return its two clocks, counted from its start.

        Raises:
            OSError: it has ended.
        """
        return parse_schedstat(os.pread(self._schedstat, 64, 0))

    def close(self) -> None:
        """Close its files."""
        self._closing.close()


def _opened(path: str, stack: contextlib.ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor
