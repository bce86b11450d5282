"""Temporary files in a folder that cannot be left behind for good."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gilscope.errors import unwritten
from gilscope.locking import lock

PREFIX = "gilscope-c-"
"""Short: the sockets of process pools lie below, and their paths must not exceed some 100 characters."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give this process and its children a folder for temporary files, which goes with the block.

    Whatever a child that had to be killed leaves goes with it.

    Raises:
        RunFileError: the folder cannot be made.
    """
    with folder() as path:
        told, kept = os.environ.get("TMPDIR"), tempfile.tempdir
        os.environ["TMPDIR"] = tempfile.tempdir = str(path)
        try:
            yield path
        finally:
            tempfile.tempdir = kept
            del os.environ["TMPDIR"]
            os.environ.update({} if told is None else {"TMPDIR": told})


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a temporary folder, which goes with the block.

    Where this process is killed, it goes when the next one begins: it has a lock on it for as long as it lives.

    Raises:
        RunFileError: the folder cannot be made.
    """
    place = Path(tempfile.gettempdir())
    _sweep(place)
    try:
        path, descriptor = _locked_folder(place)
    except OSError as problem:
        raise unwritten(f"to {place}", problem) from problem
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


@contextlib.contextmanager
def sockets() -> Iterator[None]:
    """Have multiprocessing keep the sockets of this process and its children in such a folder, until the block ends.

    A folder of its own (``pymp-``) stays for good where its process is killed.

    Raises:
        RunFileError: the folder cannot be made.
    """
    with folder() as path:
        # multiprocessing.util.get_temp_dir looks there first, in CPython 3.11 to 3.15; there is no public way to tell it.
        config = multiprocessing.current_process()._config  # type: ignore[attr-defined] # noqa: SLF001
        kept = config.get("tempdir")
        config["tempdir"] = str(path)
        try:
            yield
        finally:
            config["tempdir"] = kept


def _locked_folder(place: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        # Somebody may have found it before it was locked, and taken it away.
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            if lock(descriptor, fcntl.LOCK_EX) is not False and path.exists():
                return path, descriptor
            os.close(descriptor)


def _sweep(place: Path) -> None:
    """Take away the folders of those who have ended without."""
    for path in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # It is somebody else's, or somebody else was faster.
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid() and lock(descriptor, fcntl.LOCK_EX):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
