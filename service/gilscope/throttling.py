"""How long a CPU quota has held this process's control group (Linux; elsewhere nothing ever does)."""

from __future__ import annotations

from pathlib import Path

_CGROUP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def throttled_seconds() -> float:
    """Return the seconds for which the kernel has throttled this process's group and what it lies in; 0 without a quota.

    Read from ``cpu.stat``: ``throttled_usec`` in a unified hierarchy, ``throttled_time`` (ns) in one of its own
    (the kernel's ``admin-guide/cgroup-v2`` and ``scheduler/sched-bwc``). A container often sees its own group as the root.
    """
    return max((_throttled(path) for path in _stat_files()), default=0.0)


def _stat_files() -> list[Path]:
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
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [_MOUNT / controllers, _MOUNT / "cpu", _MOUNT] if controllers else [_MOUNT]
        inside = Path(group.lstrip("/"))
        groups = [inside, *inside.parents]
        found += [mount / group / "cpu.stat" for mount in mounts for group in groups]
    return found


def _throttled(path: Path) -> float:
    try:
        figures = dict(line.split(maxsplit=1) for line in path.read_text(encoding="ascii").splitlines())
        return int(figures.get("throttled_usec", 0)) / 1e6 + int(figures.get("throttled_time", 0)) / 1e9
    except (OSError, ValueError):
        return 0.0
