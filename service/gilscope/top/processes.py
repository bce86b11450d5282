"""A process that the user named by its id: what is wrong with that, said before anything is tried."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from gilscope.errors import UsageError

MOST_PROCESSES = 4_194_304
"""Linux's ``PID_MAX_LIMIT``: no process has a higher id."""

LIST_PYTHONS = "ps -e -o pid,args | grep -i python lists those that run Python"
NAMED_CHILDREN = 3
"""How many children a message names."""


def parse_status(text: str) -> dict[str, str]:
    """Read ``/proc/PID/status``."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _colon, value in pairs}


def require_program(pid: int) -> None:
    """Refuse what is no running program, and ourselves. Off Linux there is nothing to ask, and nothing is refused.

    Raises:
        UsageError: with the reason and the remedy.
    """
    if sys.platform != "linux":
        return
    if pid == os.getpid():
        raise UsageError(
            f"process {pid} is gilscope itself: to look it takes its GIL, and would see all else wait for it",
            remedy="the id of another process",
        )
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        raise UsageError(f"there is no process {pid}", remedy=LIST_PYTHONS) from None
    _refuse(pid, parse_status(text))


def _refuse(pid: int, status: dict[str, str]) -> None:
    if status["Tgid"] != str(pid):
        raise UsageError(
            f"{pid} is a thread of process {status['Tgid']}", remedy=f"gilscope top {status['Tgid']}"
        )
    if status["State"].startswith(("Z", "X")):
        raise UsageError(
            f"process {pid} has ended (a zombie: its parent, process {status['PPid']}, has not asked how)",
            remedy=LIST_PYTHONS,
        )
    if "VmSize" not in status and status.get("Kthread", "1") == "1":
        raise UsageError(f"process {pid} is a thread of the kernel, no program", remedy=LIST_PYTHONS)


def is_running(pid: int) -> bool:
    """Whether there is such a process and it has not ended."""
    try:
        require_program(pid)
    except UsageError:
        return False
    return True


def command_line(pid: int) -> list[str]:
    """Return what the process was started with, its executable first; nothing of one that has ended."""
    folder = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        text = (folder / "cmdline").read_text(encoding="utf-8", errors="replace")
        return [str((folder / "exe").readlink()), *text.split("\0")[:2]]
    return []


def name_pythons(pids: Iterable[int]) -> str:
    """Return those of some processes that look like Python, as a phrase; nothing if none does."""
    lines = ((pid, command_line(pid)) for pid in pids)
    found = [str(pid) for pid, line in lines if line and "python" in line[0].rpartition("/")[2].lower()]
    return ", ".join(found[:NAMED_CHILDREN])
