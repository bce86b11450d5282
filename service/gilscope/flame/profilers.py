"""Which profiler to use for a process."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from gilscope.errors import CaptureError
from gilscope.flame.capture import Profiler
from gilscope.flame.pyspy import PySpy
from gilscope.flame.sampling import find_standard_profiler

_FREE_THREADED = re.compile(r"python3\.\d+td?")


def profiler_for(pid: int) -> Profiler:
    """Return Python's own profiler for a process that has it (3.15 and newer), and py-spy for any other.

    Python's own knows who asked for the GIL, sees every subinterpreter and never pauses the process.

    Raises:
        CaptureError: it is a free-threaded Python, which neither can tell anything of.
    """
    with contextlib.suppress(OSError):
        if _FREE_THREADED.fullmatch(Path(f"/proc/{pid}/exe").readlink().name):
            raise CaptureError(
                f"process {pid} runs a free-threaded Python: nobody holds a GIL or waits for one",
                remedy="a build with a GIL, to see what threads would wait for there",
            )
    return find_standard_profiler(pid) or PySpy()
