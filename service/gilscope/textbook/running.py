"""Runs one experiment in a process of its own.

``python -P -m gilscope.textbook.running CELLS BACKEND [NAME=VALUE ...]`` prints one JSON line: the figures, and the
code that gave them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import sys

CELLS = "gilscope.textbook.cells"


def run(cells: str, backend: str, given: dict[str, str]) -> dict[str, object]:
    """Run one function; return its figures and its code."""
    module = importlib.import_module(f"{CELLS}.{cells}")
    figures = getattr(module, f"in_{backend}")(**given)
    from gilscope.textbook.showing import shown  # noqa: PLC0415  a worker process has no use for it

    return {"figures": figures, "code": shown(module, backend)}


def main() -> None:
    """Run what the command line says; what the experiment prints goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cells, backend, *given = sys.argv[1:]
    answer = run(cells, backend, dict(argument.partition("=")[::2] for argument in given))
    line = memoryview(json.dumps(answer).encode() + b"\n")
    while line:
        line = line[os.write(answers, line) :]
    # An experiment may leave workers that never end: leave.
    os._exit(0)


if __name__ == "__main__":
    main()
