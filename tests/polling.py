"""Waiting for a fact that nothing announces: poll it, up to a generous deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import psutil

PAUSE_S = 0.01
PATIENCE_S = 200.0
"""Minutes, for machines whose cores are stolen; less than a test may take."""


def eventually(fact: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Return as soon as ``fact`` holds; fail where it does not within ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(PAUSE_S)


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or a zombie that somebody else has to reap."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_end(processes: Iterable[psutil.Process], within_s: float = PATIENCE_S) -> None:
    """Fail unless all these processes end within ``within_s`` seconds."""
    waiting = list(processes)
    eventually(lambda: all(map(has_ended, waiting)), f"the end of {waiting}", within_s)
