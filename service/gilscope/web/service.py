"""The state of a running service, under one application key."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from gilscope.backends.base import Backend
from gilscope.model import BackendName
from gilscope.web.config import ServiceConfig
from gilscope.web.gate import Gate
from gilscope.web.metrics import ServiceMetrics
from gilscope.web.problems import Doors
from gilscope.web.work import WorkRoute

STOP_GRACE_S = 1.0


@dataclass(slots=True)
class Service:
    """Pools and routes fill up while the service starts; ``ready`` says that they have.

    ``stop_grace_s`` seconds is how long calls have to end when pools are stopped; ``is_stuck`` says that some did not, in
    threads, which nobody can kill. ``lens_url`` is where the lens that was started with the service serves what it sees.
    """

    config: ServiceConfig
    metrics: ServiceMetrics
    backends: dict[BackendName, Backend] = field(default_factory=dict)
    gates: dict[BackendName, Gate] = field(default_factory=dict)
    routes: dict[tuple[str, str], WorkRoute] = field(default_factory=dict)
    doors: Doors = field(default_factory=Doors)
    ready: bool = False
    lens_url: str | None = None
    stop_grace_s: float = STOP_GRACE_S
    is_stuck: bool = False

    async def stop(self, backend: Backend) -> None:
        """Stop a backend; what still runs then is given up."""
        if not await backend.stop(self.stop_grace_s):
            self.is_stuck = True

    def close(self) -> None:
        """Take nobody in any more: whoever is answered from now on is told to come back elsewhere."""
        self.ready = False
        self.doors.are_closing = True

    @property
    def inside(self) -> int:
        """How many calls somebody waits for, and other answers that take long."""
        return sum(gate.inside for gate in self.gates.values()) + self.doors.inside


SERVICE = web.AppKey("service", Service)
