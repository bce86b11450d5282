"""What a process does so that the lens can observe it: it lets it in, and says where its threads are.

Each thread that runs calls has a *mark*: a byte in memory of its own, shared through a file that has no name in
any folder (``memfd_create``), and that ends with the process however it ends. The thread writes it, which
costs tens of nanoseconds; the lens finds it among the process's open files and reads it without a system call.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import threading
from typing import NamedTuple

from gilscope.model import ThreadRole

INSIDE, OUTSIDE = 1, 0
"""What a mark says: the thread is inside the function that is measured, or it is not."""

PR_SET_PTRACER = 0x59616D61
"""Of ``prctl(2)``: under Yama's ``ptrace_scope`` 1, lets one more process and its children attach."""

_NAME = re.compile(
    rf"/memfd:gilscope-(?P<role>{'|'.join(ThreadRole)})-(?P<thread>[1-9][0-9]{{0,9}})(?: \(deleted\))?"
)

Mark = mmap.mmap | bytearray
"""One byte that its thread alone writes."""


class MarkName(NamedTuple):
    """What the name of a mark's file says."""

    role: ThreadRole
    thread: int


def mark_thread(role: ThreadRole) -> Mark:
    """Return a mark for the calling thread; where there is no ``memfd_create``, one that nobody else can see.

    The file stays open for as long as the mark lives, which keeps a descriptor of its own: the lens finds it there.
    """
    create = getattr(os, "memfd_create", None)
    if create is None:
        return bytearray(1)
    try:
        with open(create(f"gilscope-{role}-{threading.get_native_id()}"), "r+b", buffering=0) as file:  # noqa: PTH123  a number
            file.truncate(1)
            return mmap.mmap(file.fileno(), 1)
    except OSError:  # out of descriptors, say: not being observed must not keep anybody from working
        return bytearray(1)


def parse_mark_name(link: str) -> MarkName | None:
    """Read the target of a link in ``/proc/PID/fd``; None where it is not a mark's file."""
    found = _NAME.fullmatch(link)
    return MarkName(ThreadRole(found["role"]), int(found["thread"])) if found else None


def let_in(observer: int) -> None:
    """Let a process and its children observe this one, where Yama would not. Elsewhere this does nothing."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PTRACER, ctypes.c_ulong(observer), 0, 0, 0)  # EINVAL where there is no Yama: fine
