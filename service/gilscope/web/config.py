"""What a service is made of: known before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gilscope.backends.table import BACKENDS
from gilscope.model import BackendName
from gilscope.web.gate import BACKLOG, TIME_LIMIT_S
from gilscope.workloads.base import Workload


@dataclass(frozen=True, slots=True)
class Profiling:
    """Where profiles are kept, and the token that whoever wants to see them has to give, if any."""

    folder: Path
    token: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """The workloads and backends of a service.

    ``pool_size`` is the number of workers of each pool, None for each backend's default. ``upstream_url``
    names an upstream that runs already; where it is None and a workload needs one, the service starts it.
    ``observer`` is the id of a process that, with its children, may watch the service's processes. Without
    ``profiling`` no profiles can be taken over HTTP. ``backlog`` calls may wait for a worker of each backend, and
    ``time_limit_s`` seconds is how long a request may take. ``token`` is what readers of the service's description and of tracebacks have to
    give, if any. ``host`` is where it listens. ``is_shared``: other processes listen on the same port, and answer some requests.
    """

    workloads: tuple[Workload, ...]
    backends: tuple[BackendName, ...]
    pool_size: int | None = None
    upstream_url: str | None = None
    observer: int | None = None
    profiling: Profiling | None = None
    backlog: int = BACKLOG
    time_limit_s: float = TIME_LIMIT_S
    token: str | None = None
    host: str = "127.0.0.1"
    is_shared: bool = False

    @property
    def workload_names(self) -> tuple[str, ...]:
        """The workloads' names, as they stand in URLs."""
        return tuple(workload.name for workload in self.workloads)

    @property
    def reader_token(self) -> str | None:
        """The token that stands before the description and tracebacks: its own, or that of the profiles."""
        return self.token or (self.profiling.token if self.profiling else None)

    def workers(self) -> Mapping[BackendName, int]:
        """Return how many workers each backend gets."""
        return {
            name: 1 if name is BackendName.ASYNCIO else self.pool_size or BACKENDS[name].default_workers()
            for name in self.backends
        }
