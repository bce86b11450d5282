"""A process's threads and children, by number."""

from __future__ import annotations

import contextlib
import functools
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
    if not _kernel_lists_children():
        return _children_by_search(pid)
    found = list(_own_children(pid))
    return [*found, *(grandchild for child in found for grandchild in children(child))]


@functools.cache
def _kernel_lists_children() -> bool:
    """Whether the kernel has ``CONFIG_PROC_CHILDREN``."""
    return Path("/proc/thread-self/children").exists()


def _own_children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for tid in thread_ids(pid):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # a thread that has just ended
                yield from map(int, Path(f"/proc/{pid}/task/{tid}/children").read_bytes().split())


def _children_by_search(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []
