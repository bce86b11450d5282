"""Whether extension modules can release the GIL at all, as their files have it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gilscope.elf import refers_to

RELEASE = "PyEval_SaveThread"
"""What ``Py_BEGIN_ALLOW_THREADS`` calls; an extension that does not refer to it cannot release the GIL itself."""


def can_release(files: Iterable[str]) -> bool | None:
    """Whether any of these extension modules can release the GIL; None where there is none that can be asked.

    What is built into the interpreter has no file, and a library that an extension module is linked with is not
    looked into.
    """
    answers = [answer for file in files if (answer := _refers(Path(file))) is not None]
    return any(answers) if answers else None


def _refers(path: Path) -> bool | None:
    try:
        return refers_to(path, RELEASE)
    except OSError:
        return None
