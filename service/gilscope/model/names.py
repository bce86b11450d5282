"""The names of what is told apart: backends, loops, graphs, roles of threads, classes of functions."""

from __future__ import annotations

from enum import StrEnum


class BackendName(StrEnum):
    """A way to run a workload; the value is the label, the URL part and the command-line word."""

    ASYNCIO = "asyncio"
    THREADS = "threads"
    PROCESSES = "processes"
    INTERPRETERS = "interpreters"


SIMPLEST_FIRST = (
    BackendName.ASYNCIO,
    BackendName.THREADS,
    BackendName.INTERPRETERS,
    BackendName.PROCESSES,
)
"""The order in which a tie is resolved: what has fewer moving parts comes first."""


BASELINE = BackendName.ASYNCIO
"""Ratios are against this backend unless said otherwise."""


class LoadKind(StrEnum):
    """Closed loop: users wait for their answer. Open loop: arrivals do not."""

    CLOSED = "closed"
    OPEN = "open"


class Arrivals(StrEnum):
    """When the requests of an open loop are due: at random moments (a Poisson process) or evenly spaced."""

    POISSON = "poisson"
    UNIFORM = "uniform"


class FlameKind(StrEnum):
    """Stacks that hold the GIL, stacks that wait for it, and all stacks of the wall clock."""

    HOLDING = "holding"
    WAITING = "waiting"
    WALL = "wall"


class ThreadRole(StrEnum):
    """What a thread of the service is there for."""

    LOOP = "loop"
    WORKER = "worker"
    OTHER = "other"


class GilClass(StrEnum):
    """What a function does to the GIL.

    It *releases* it for its long parts; it holds it but gives it up every switch interval, and so is
    *preemptible*; one C call holds it throughout and is *blocking*; or it is *mixed*: some of each.
    """

    RELEASES = "releases"
    PREEMPTIBLE = "preemptible"
    BLOCKING = "blocking"
    MIXED = "mixed"
