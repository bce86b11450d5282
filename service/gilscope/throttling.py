"""How long a CPU quota has held this process's control group (Linux; elsewhere nothing ever does)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_CGROUP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def throttled_seconds() -> dict[Path, float]:
    """Return for how many seconds so far the kernel has throttled this process's group, and each that it lies in.

    By the file that says so, a ``cpu.stat``: ``throttled_usec`` in a unified hierarchy, ``throttled_time`` (ns) in one of
    its own (the kernel's ``admin-guide/cgroup-v2`` and ``scheduler/sched-bwc``). A container often sees its own group as
    the root.
    """
    found = {path: _throttled(path) for path in group_files("cpu", "cpu.stat")}
    return {path: seconds for path, seconds in found.items() if seconds is not None}


def throttled_meanwhile(before: Mapping[Path, float], after: Mapping[Path, float]) -> float:
    """Return the seconds for which a process was held between two readings of its groups; 0 without a quota.

    Of several groups the one that was held longest counts, and what any of them went through before does not.
    """
    return max((after[path] - before[path] for path in before.keys() & after.keys()), default=0.0)


def group_files(controller: str, file: str) -> list[Path]:
    """Return where a controller's file of this process's group may be, and of those it lies in: not all need be there."""
    try:
        lines = _CGROUP.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, colon, rest = line.partition(":")
        controllers, second, group = rest.partition(":")
        if not colon or not second or not group.startswith("/"):
            continue
        if controllers and controller not in controllers.split(","):
            continue
        mounts = [_MOUNT / controllers, _MOUNT / controller, _MOUNT] if controllers else [_MOUNT]
        inside = Path(group.lstrip("/"))
        groups = [inside, *inside.parents]
        found += [mount / group / file for mount in mounts for group in groups]
    return found


def _throttled(path: Path) -> float | None:
    try:
        figures = dict(line.split(maxsplit=1) for line in path.read_text(encoding="ascii").splitlines())
        return int(figures.get("throttled_usec", 0)) / 1e6 + int(figures.get("throttled_time", 0)) / 1e9
    except (OSError, ValueError):
        return None
