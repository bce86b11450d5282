"""Runs one experiment in a process of its own.

``python -P -m gilscope.textbook.running CELLS BACKEND [NAME=VALUE ...]`` prints one JSON line: the figures, and the
code that gave them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import resource
import sys
import sysconfig

CELLS = "gilscope.textbook.cells"


def run(cells: str, backend: str, given: dict[str, str]) -> dict[str, object]:
    """Run one function; return its figures and its code. A free-threaded build says whether it has a GIL by then."""
    module = importlib.import_module(f"{CELLS}.{cells}")
    figures = getattr(module, f"in_{backend}")(**given)
    from gilscope.backends.execution import gil_enabled  # noqa: PLC0415  a worker process has no use for these
    from gilscope.textbook.showing import shown  # noqa: PLC0415

    if backend == "processes":
        figures.setdefault("start_method", multiprocessing.get_start_method())
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        figures = {**figures, "gil_enabled": gil_enabled()}
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
