"""Reading another process's memory, never writing it and never stopping it."""

from __future__ import annotations

import errno
import os
import struct
from types import TracebackType
from typing import Protocol, Self

_HIGHEST = 2**63 - 1
"""The system call takes no more."""


class Memory(Protocol):
    """Bytes at addresses."""

    def read(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes.

        Raises:
            OSError: there is no memory, or no longer.
        """
        ...


class ProcessMemory:
    """The memory of a process, through ``/proc/PID/mem``; use as a context manager, or close it."""

    def __init__(self, pid: int) -> None:
        """Open it.

        Raises:
            OSError: there is no such process, or no right to read it.
        """
        self._descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def read(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes.

        Raises:
            OSError: there is no memory at that address, or the process has ended.
        """
        if not 0 <= address <= _HIGHEST:  # What was freed and filled with a pattern makes such pointers.
            raise OSError(errno.EFAULT, "no address of memory", hex(address))
        found = os.pread(self._descriptor, size, address)
        if len(found) < size:  # A process that has ended has memory of no length.
            raise ProcessLookupError("the process has ended")
        return found

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_word(memory: Memory, address: int) -> int:
    """Read a 64-bit word, such as a pointer."""
    return int(struct.unpack("<Q", memory.read(address, 8))[0])


def read_int(memory: Memory, address: int) -> int:
    """Read a C ``int``."""
    return int(struct.unpack("<i", memory.read(address, 4))[0])
