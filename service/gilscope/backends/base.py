"""What a backend is: one way to run a workload, behind one signature."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gilscope.model import BackendName
from gilscope.workloads.base import Workload


class Failure(NamedTuple):
    """An exception that the function raised, as text: an exception object need not survive the way back."""

    kind: str
    message: str
    traceback: str


class Outcome(NamedTuple):
    """What came back from a call, with the worker's own stamps.

    ``started_ns`` and ``finished_ns`` are of ``time.monotonic_ns``, which all processes of a machine share;
    ``cpu_ns`` is the CPU time of the thread that ran the call; ``suspended_ns`` is for how long a
    coroutine had given its thread away.
    """

    result: object
    failure: Failure | None
    started_ns: int
    finished_ns: int
    cpu_ns: int
    suspended_ns: int = 0


class Backend(Protocol):
    """A way to run a workload. Used from one event loop; ``start`` before and ``stop`` after everything else."""

    abandoned: int
    """How many calls run that nobody waits for any more: they cannot be stopped."""

    abandoned_ever: int
    """How many calls have been abandoned since the start."""

    @property
    def workers(self) -> int:
        """How many calls run at once (1 on the event loop)."""
        ...

    @property
    def restarts(self) -> int:
        """How often a broken pool was replaced."""
        ...

    @property
    def pids(self) -> Collection[int]:
        """The workers' processes; empty where they live in the service's own."""
        ...

    async def start(self, workloads: Sequence[Workload]) -> None:
        """Start every worker, import the workloads there, and have each run a task.

        Raises:
            BackendFailedError: the workers did not come up, with the reason.
        """
        ...

    async def run(self, workload: Workload, arguments: Mapping[str, object]) -> Outcome:
        """Call the workload's function and wait for the outcome, without blocking the loop where possible.

        Who is cancelled meanwhile gives the call back if it has not begun, and abandons it otherwise.

        Raises:
            BackendFailedError: the pool broke, or arguments or result could not be handed over.
        """
        ...

    async def stop(self, grace_s: float) -> bool:
        """Stop all workers; calls not yet begun are dropped, those that run have so many seconds to end.

        Returns whether all have ended. A process that has not is killed; a thread cannot be.
        """
        ...


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """One row of the table of backends.

    ``create`` takes the number of workers and the id of a process that may observe them, if there is one.
    ``unavailable`` returns why the backend cannot run on this Python, or None. ``default_workers`` says how
    many workers a pool gets where nothing was asked for.
    """

    name: BackendName
    summary: str
    create: Callable[[int, int | None], Backend]
    default_workers: Callable[[], int]
    unavailable: Callable[[], str | None]
