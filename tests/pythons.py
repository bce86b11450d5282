"""The Pythons of this machine: those that the lens is tested on."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
"""What gilscope supports."""

FOLDERS = "GILSCOPE_PYTHONS"
"""Environment variable: more folders to look for ``pythonX.Y`` in, separated as in ``PATH``."""


@functools.cache
def find_python(version: str) -> Path | None:
    """Return an executable of this version, ``X.Y``: this one, one on the path, pyenv's, or one that was pointed at."""
    return next((path for path in _candidates(version) if _is(path, version)), None)


def _candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    name = f"python{version}"
    for folders in (None, os.environ.get(FOLDERS) or os.devnull):
        found = shutil.which(name, path=folders)
        if found is not None:
            yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)
    yield from sorted(Path("/opt").glob(f"*/usr/bin/{name}"))


def _is(path: Path, version: str) -> bool:
    """Whether it runs, is of that version, and is a CPython with a GIL; a shim on the path may be none of it."""
    code = (
        "import sys; print('%d.%d' % sys.version_info[:2], sys.implementation.name,"
        " getattr(sys, '_is_gil_enabled', lambda: True)())"
    )
    try:
        done = subprocess.run([path, "-c", code], check=True, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.stdout.split() == [version, "cpython", "True"]
