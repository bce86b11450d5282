"""Describes the machine that a run is made on."""

from __future__ import annotations

import os
import platform
import sysconfig
from pathlib import Path

import psutil

from gilscope.backends.processes import start_method
from gilscope.model import Machine


def describe_machine() -> Machine:
    """Read the machine's facts; ``cores`` are those that this process may use."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_mb=psutil.virtual_memory().total // 1_000_000,
        python=f"{platform.python_implementation()} {platform.python_version()}"
        + (" free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""),
        start_method=start_method(),
    )


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: the standard library's answer will do
    return platform.processor() or platform.machine()
