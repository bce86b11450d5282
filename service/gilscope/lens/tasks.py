"""One thread of another process, as ``/proc/PID/task/TID`` shows it, through descriptors that are kept open."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable

from gilscope.errors import LensError
from gilscope.lens.ledger import Clock, Look

FUTEX = {"x86_64": 202, "aarch64": 98}
"""Number of the system call ``futex`` by architecture (Linux's ``unistd_64.h`` and ``asm-generic/unistd.h``)."""


_FIRST_ARGUMENT = 4
"""Where ``/proc/PID/syscall`` is past the number of the call, and not yet past its first argument (``0x`` and more)."""


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


def parse_status(text: bytes) -> int:
    """Read from ``/proc/PID/task/TID/status`` the number that a thread has for its process itself.

    In a container numbers are other ones than outside; the last one of several is the innermost.
    """
    fields = dict(line.partition(b":\t")[::2] for line in text.split(b"\n"))
    return int(fields.get(b"NSpid", fields[b"Pid"]).split()[-1])


class Waits:
    """Tells what a system call is slept in for, from the text of ``/proc/PID/task/TID/syscall``.

    Answers are remembered by the call and its first argument, which for ``futex`` is the address; others change with each
    wait.
    """

    def __init__(self, is_gil: Callable[[int], bool], machine: str = "") -> None:
        self._is_gil = is_gil
        self._prefix = futex_prefix(machine or platform.machine())
        self._known: dict[bytes, int] = {}

    def forget(self) -> None:
        """Ask anew: an interpreter has come or gone."""
        self._known.clear()

    def look(self, text: bytes) -> int:
        """Say what a thread was seen doing, by number: as plain integers, looks are counted faster."""
        key = text[: text.find(b" ", _FIRST_ARGUMENT)]
        look = self._known.get(key)
        if look is None:
            look = self._known[key] = int(self._understood(key))
        return look

    def _understood(self, text: bytes) -> Look:
        if text.startswith(b"running"):
            return Look.READY
        if not text.startswith(self._prefix):
            return Look.BLOCKED
        return Look.GIL if self._is_gil(int(text[len(self._prefix) :], 16)) else Look.BLOCKED


class Task:
    """A thread that is being watched; ``number`` is its id as the process itself has it (see :func:`parse_status`)."""

    __slots__ = ("_closing", "_schedstat", "_syscall", "name", "number", "pid", "tid")

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
            self.number = parse_status(_read(f"{folder}/status"))
            self.rename()
            self.clock()
            self._closing = stack.pop_all()

    def rename(self) -> None:
        """Read its name again: Python 3.14 and newer gives it to a thread that has begun already.

        Raises:
            OSError: it has ended.
        """
        comm = _read(f"/proc/{self.pid}/task/{self.tid}/comm")
        self.name = comm.decode(errors="replace").removesuffix("\n")

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


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  for each thread, and twice as fast
        return file.read()


def _opened(path: str, stack: contextlib.ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor
