"""``asyncio``: on the event loop itself. A coroutine is awaited; a plain function blocks the loop, as it would."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gilscope.backends.base import BackendSpec, Outcome
from gilscope.backends.execution import execute_on_loop
from gilscope.model import BackendName
from gilscope.workloads.base import Workload
from gilscope.workloads.importing import load


class EventLoopBackend:
    """Runs every call on the service's own loop."""

    workers = 1
    restarts = 0
    pids: Collection[int] = ()

    def __init__(self) -> None:
        self.abandoned = self.abandoned_ever = 0

    async def start(self, workloads: Sequence[Workload]) -> None:
        """Import the workloads; there is nothing else to start."""
        for workload in workloads:
            load(workload.native_async or workload.function)

    async def run(self, workload: Workload, arguments: Mapping[str, object]) -> Outcome:
        """Await the native async version where there is one; otherwise call the function here and now."""
        if workload.native_async is not None:
            return await execute_on_loop(workload.native_async, arguments, is_async=True)
        return await execute_on_loop(workload.function, arguments, is_async=workload.is_async)

    async def stop(self, grace_s: float) -> bool:  # noqa: ARG002  the protocol's
        """Nothing to stop."""
        return True


SPEC = BackendSpec(
    name=BackendName.ASYNCIO,
    summary="on the event loop itself",
    create=lambda _workers, _observer: EventLoopBackend(),
    default_workers=lambda: 1,
    unavailable=lambda: None,
)
