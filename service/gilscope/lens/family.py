"""A process's threads and children, by number."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil


def thread_ids(pid: int) -> list[int]:
    """Return the ids of a process's threads.

    Raises:
        OSError: the process has ended.
    """
    return [int(name) for name in os.listdir(f"/proc/{pid}/task")]  # noqa: PTH208  numbers, not paths


def children(pid: int) -> list[int]:
    """Return the ids of a process's children, of their children, and so on; none of a process that has ended."""
    try:
        found = list(_own_children(pid))
    except FileNotFoundError:
        return _children_by_search(pid)
    return [*found, *(grandchild for child in found for grandchild in children(child))]


def _own_children(pid: int) -> Iterator[int]:
    for tid in thread_ids(pid):
        with contextlib.suppress(ProcessLookupError):
            yield from map(int, Path(f"/proc/{pid}/task/{tid}/children").read_text(encoding="ascii").split())


def _children_by_search(pid: int) -> list[int]:
    """Search all processes: a kernel without ``CONFIG_PROC_CHILDREN``, or a process that has just ended."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []
