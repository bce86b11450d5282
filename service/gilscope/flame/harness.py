"""Threads and processes that belong to the harness alone, and never to the work. Pure."""

from __future__ import annotations

import re

from gilscope.model import Folded

_HELPERS = re.compile(
    r"serve_forever \((?:.*/)?socketserver\.py"  # the metrics server's thread
    r"|^_end_with_service \("  # the worker's watch over its service
    r"|^main \((?:.*/)?multiprocessing/resource_tracker\.py"
)
_FORK_SERVER = re.compile(r"^main \((?:.*/)?multiprocessing/forkserver\.py")
_WORKER = re.compile(r"^_main \((?:.*/)?multiprocessing/spawn\.py")


def without_helpers(folded: Folded) -> dict[tuple[str, ...], float]:
    """Leave out stacks that only idle beside the work: metrics server, fork server, resource tracker."""
    return {stack: weight for stack, weight in folded.items() if not _is_helper(stack)}


def _is_helper(stack: tuple[str, ...]) -> bool:
    if any(_HELPERS.search(frame) for frame in stack):
        return True
    # The fork server's own frames are on top of every worker's, too, because a worker is its fork.
    return any(_FORK_SERVER.search(frame) for frame in stack) and not any(
        _WORKER.search(frame) for frame in stack
    )
