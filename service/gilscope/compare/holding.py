"""Who writes into a run's folder: one process at a time, and the lock of one that was killed holds nobody up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from gilscope.errors import RunFileError, unwritten
from gilscope.locking import lock

LOCK_FILE = "run.lock"
TRIES, PAUSE_S = 5, 0.02
"""Whoever looks who holds a folder has its lock for an instant: that is waited out."""


@contextlib.contextmanager
def holding(folder: Path, *, remedy: str) -> Iterator[None]:
    """Keep others from writing into ``folder``, which is made where it is missing; they are told ``remedy``.

    The system lets go of the lock (``flock``) when the process ends, however it does. An empty folder goes with it.

    Raises:
        RunFileError: another process holds the folder (its number is in the message), or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(folder, remedy)
    except OSError as problem:
        raise unwritten(f"to {folder}", problem, "a folder that you may write to") from problem
    try:
        _sign(folder, descriptor)
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK_FILE).unlink()  # Before it is let go: who comes next makes a new one.
        os.close(descriptor)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _sign(folder: Path, descriptor: int) -> None:
    """Write down who holds the folder."""
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as problem:
        raise unwritten(folder / LOCK_FILE, problem) from problem


def _locked(folder: Path, remedy: str) -> int:
    """Return the descriptor that has the lock."""
    for _ in range(TRIES):
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        if lock(descriptor, fcntl.LOCK_EX) is not False and _is_there(folder, descriptor):
            return descriptor
        os.close(descriptor)
        time.sleep(PAUSE_S)
    raise held(folder, holder(folder) or 0, remedy)


def held(folder: Path, pid: int, remedy: str) -> RunFileError:
    """Return the error that says who holds a folder."""
    who = f"process {pid}" if pid else "another process"
    return RunFileError(f"{folder} is being written by a comparison that still runs ({who})", remedy=remedy)


def holder(folder: Path) -> int | None:
    """Return the process that writes into ``folder``, 0 where only that there is one is known; None: nobody does."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY)
    except OSError:
        return None
    try:
        if lock(descriptor, fcntl.LOCK_SH) is not False:
            return None
        written = os.pread(descriptor, 32, 0)
        return int(written) if written.strip().isdigit() else 0
    finally:
        os.close(descriptor)


def _is_there(folder: Path, descriptor: int) -> bool:
    """Whether what was locked is still the folder's lock file: who had it before may have taken it away since."""
    try:
        return os.path.samestat((folder / LOCK_FILE).stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
