"""What processes may have open, where this one may have little."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

FEW = 256


@contextmanager
def few_files() -> Iterator[int]:
    """Let what is started in the block begin with a soft limit of a few open files; gives the hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, before[1]))
    try:
        yield before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def soft_limits(processes: Iterable[psutil.Process]) -> set[int]:
    """Return how many files these processes may have open now."""
    return {resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] for process in processes}
