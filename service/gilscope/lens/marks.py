"""Finding the marks of a process's threads; see :mod:`gilscope.observed` for what writes them."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass

from gilscope.model import ThreadRole
from gilscope.observed import Mark, parse_mark_name


@dataclass(frozen=True, slots=True)
class FoundMark:
    """A thread's mark, shared with it: reading the byte costs no system call."""

    role: ThreadRole
    byte: Mark


UNMARKED = FoundMark(ThreadRole.OTHER, bytearray(1))
"""Of a thread that is nobody's worker: it is never inside a measured function."""


def find_marks(pid: int, threads: Container[int]) -> dict[int, FoundMark]:
    """Return the marks that some of a process's threads have at present, by thread id as the process itself has it.

    Takes about 3 us for each file that the process has open.

    Raises:
        OSError: the process has ended, or may not be read.
    """
    return dict(_marks(f"/proc/{pid}/fd", threads))


def _marks(folder: str, threads: Container[int]) -> Iterator[tuple[int, FoundMark]]:
    for number in os.listdir(folder):  # noqa: PTH208  of thousands, as text: not every link names a path
        link = f"{folder}/{number}"
        # Any of them may be closed meanwhile, and a mark that is being made is empty, which is a ValueError.
        with contextlib.suppress(OSError, ValueError):
            name = parse_mark_name(os.readlink(link))  # noqa: PTH115
            if name is not None and name.thread in threads:
                yield name.thread, FoundMark(name.role, _shared(link))


def _shared(link: str) -> Mark:
    with open(link, "rb", buffering=0) as file:  # noqa: PTH123
        return mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_READ)
