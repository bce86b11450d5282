"""Finding the marks of a process's threads; see :mod:`gilscope.observed` for what writes them."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gilscope.model import ThreadRole
from gilscope.observed import Mark, parse_mark_name


@dataclass(frozen=True, slots=True)
class FoundMark:
    """A thread's mark, shared with it: reading the byte costs no system call."""

    role: ThreadRole
    byte: Mark


UNMARKED = FoundMark(ThreadRole.OTHER, bytearray(1))
"""Of a thread that is nobody's worker: it is never inside a measured function."""


def find_marks(pid: int) -> dict[int, FoundMark]:
    """Return the marks that a process's threads have at present, by thread id.

    Raises:
        OSError: the process has ended, or may not be read.
    """
    return dict(_marks(Path(f"/proc/{pid}/fd")))


def _marks(folder: Path) -> Iterator[tuple[int, FoundMark]]:
    for link in folder.iterdir():
        # Any of them may be closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            name = parse_mark_name(os.readlink(link))  # noqa: PTH115  as text: not every link names a path
            if name is not None:
                yield name.thread, FoundMark(name.role, _shared(link))


def _shared(link: Path) -> Mark:
    with link.open("rb") as file:
        return mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_READ)
