"""What belongs to the harness and not to the work: threads, processes and frames. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import PurePath

from gilscope.flame.folded import is_root, split_frame
from gilscope.model import Folded, Stack

HARNESS = "(service)"
"""Stands for a run of frames that carry the work: the event loop, pools, aiohttp, gilscope itself."""

_HELPERS = re.compile(
    r"serve_forever \((?:.*/)?socketserver\.py"  # the metrics server's thread
    r"|^_end_with_service \("  # the worker's watch over its service
    r"|^main \((?:.*/)?multiprocessing/resource_tracker\.py"
    r"|\((?:.*/)?gilscope/(?:lens/(?:process|exporter)|profiling/process|flame/pausing)\.py"  # who looks
)
_FORK_SERVER = re.compile(r"^main \((?:.*/)?multiprocessing/forkserver\.py")
_WORKER = re.compile(r"^_main \((?:.*/)?multiprocessing/spawn\.py")

_CARRIERS = re.compile(
    r"[(/](?:asyncio|concurrent/futures|multiprocessing|aiohttp|uvloop|prometheus_client|gilscope(?!/workloads/))/"
    r"|[(/](?:threading|selectors|runpy)\.py(?::\d+)?\)$"
    r"|\((?:<frozen runpy>|gilscope)(?::\d+)?\)$"  # the latter is the command's own script
)
_STARTS = {HARNESS, "<module> (<string>)", "<module> (<string>:1)"}
"""The one line of a process that another one has started to work for it (``python -c``)."""

_WORKLOADS = re.compile(r"[(/]gilscope/workloads/")


def without_helpers(folded: Folded) -> dict[Stack, float]:
    """Leave out stacks beside the work: metrics server, fork server, resource tracker, and whoever looks."""
    return {stack: weight for stack, weight in folded.items() if not _is_helper(stack)}


def _is_helper(stack: Stack) -> bool:
    if any(_HELPERS.search(frame) for frame in stack):
        return True
    # The fork server's own frames are on top of every worker's, too, because a worker is its fork.
    return any(_FORK_SERVER.search(frame) for frame in stack) and not any(
        _WORKER.search(frame) for frame in stack
    )


def is_workload(frame: str) -> bool:
    """Tell whether a frame is of one of the built-in workloads."""
    return _WORKLOADS.search(frame) is not None


def own_frames(references: Iterable[str]) -> Callable[[str], bool]:
    """Return what tells the frames of the work itself: of built-in workloads, or the user's own files and packages, or both.

    ``references`` are the targets as they were typed: ``primes``, ``package.module:function``, ``path/to/file.py:function``.
    """
    known = list(references)
    has_built_in = not known or any(":" not in reference for reference in known)
    places = [reference.rpartition(":")[0] for reference in known if ":" in reference]
    files = {PurePath(place).name for place in places if place.endswith(".py")}
    packages = {place.partition(".")[0] for place in places if not place.endswith(".py")}

    def is_own(frame: str) -> bool:
        file = PurePath(split_frame(frame).file or "")
        is_users = file.name in files or not packages.isdisjoint(str(file).removesuffix(".py").split("/"))
        return is_users or (has_built_in and is_workload(frame))

    return is_own


def is_harness(frame: str) -> bool:
    """Tell whether a frame carries work rather than doing it: the event loop, pools, aiohttp, gilscope."""
    return frame in _STARTS or is_root(frame) or _CARRIERS.search(frame) is not None
