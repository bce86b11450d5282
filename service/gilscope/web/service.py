"""The state of a running service, under one application key."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from aiohttp import web

from gilscope.backends.base import Backend
from gilscope.model import BackendName
from gilscope.web.config import ServiceConfig
from gilscope.web.metrics import ServiceMetrics
from gilscope.web.work import WorkRoute


@dataclass(slots=True)
class Service:
    """Pools and routes fill up while the service starts; ``ready`` says that they have.

    ``lens_url`` is where the lens that was started with the service serves what it sees.
    """

    config: ServiceConfig
    metrics: ServiceMetrics
    backends: dict[BackendName, Backend] = field(default_factory=dict)
    in_flight: dict[BackendName, int] = field(default_factory=lambda: defaultdict(int))
    routes: dict[tuple[str, str], WorkRoute] = field(default_factory=dict)
    ready: bool = False
    lens_url: str | None = None


SERVICE = web.AppKey("service", Service)
