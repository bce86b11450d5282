"""The Pythons on this machine that are not the one that runs the tests.

They are looked for on the search path, where pyenv keeps its own, and below ``/opt``. A test that wants one that is
not there is skipped; it fails where ``GILSCOPE_REQUIRED_PYTHONS`` ("3.12 3.13") names that version.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Interpreter:
    """A Python to run targets with; they need no package, not even gilscope."""

    version: tuple[int, int]
    path: str


VERSIONS = ((3, 11), (3, 12), (3, 13), (3, 14), (3, 15))


@functools.cache
def find(version: tuple[int, int]) -> Interpreter:
    """Return a Python of this version, or skip the test."""
    if version == sys.version_info[:2]:
        return Interpreter(version, sys.executable)
    name = f"python{version[0]}.{version[1]}"
    for path in _candidates(name):
        return Interpreter(version, str(path))
    reason = f"there is no {name} on this machine"
    if name.removeprefix("python") in os.environ.get("GILSCOPE_REQUIRED_PYTHONS", "").split():
        pytest.fail(f"GILSCOPE_REQUIRED_PYTHONS names it, but {reason}")
    pytest.skip(reason)


def _candidates(name: str) -> Iterator[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/*/bin/{name}"), reverse=True)
    yield from sorted(Path("/opt").glob(f"*/usr/bin/{name}"))
    yield from sorted(Path("/opt").glob(f"*/bin/{name}"))
    # Last: pyenv puts a script of that name on the path for every version that it knows, installed or not.
    found = shutil.which(name)
    if found is not None and "shims" not in Path(found).parts:
        yield Path(found)
