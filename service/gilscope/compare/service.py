"""The process under test: ``gilscope serve`` with one workload on one backend."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gilscope.child import START_S, Child, module_command
from gilscope.errors import ServiceError

NICENESS = 10
"""By how much the service steps back behind the load generator and the lens.

On few cores a busy service would keep the generator waiting for one, and the generator's delay would pose as latency.
All that is under test steps back alike; where a core is free, nothing changes.
"""


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """How to start the service. ``target`` and ``arguments`` are as the user typed them."""

    target: str
    arguments: Mapping[str, str]
    backend: str
    pool_size: int | None
    app_dir: str | None
    upstream_url: str | None
    python: str
    host: str | None = None

    def command(self) -> list[str]:
        """Return the command line of ``gilscope serve``."""
        command = module_command(
            "gilscope", "serve", "--lifeline", "--port=0", "--metrics-port=0", python=self.python
        )
        command += [f"--workload={self.target}", f"--backends={self.backend}"]
        command += [f"--arg={name}={value}" for name, value in self.arguments.items()]
        optional = {
            "pool-size": self.pool_size,
            "app-dir": self.app_dir,
            "upstream": self.upstream_url,
            "host": self.host,
        }
        if self.host is not None:
            command.append("--insecure")  # Who names an address for load from elsewhere means it.
        return command + [f"--{name}={value}" for name, value in optional.items() if value is not None]


@dataclass(frozen=True, slots=True)
class Service:
    """A running service; ``gil_enabled`` says whether it has a GIL."""

    pid: int
    url: str
    metrics_url: str
    python: str
    child: Child
    gil_enabled: bool = True


@contextlib.contextmanager
def running_service(options: ServiceOptions) -> Iterator[Service]:
    """Run a service for the block; it is ready on entry and gone, with all its workers, on exit.

    Raises:
        ServiceError: it did not become ready; its last words are quoted.
    """
    with Child(options.command(), failure=ServiceError, guarded=True) as child:
        _step_back(child.pid)
        ready = child.receive(START_S)
        url, metrics_url, python = (str(ready[key]) for key in ("url", "metrics_url", "python"))
        yield Service(child.pid, url, metrics_url, python, child, bool(ready["gil_enabled"]))


def _step_back(pid: int) -> None:
    """Let everybody else go first, while the process has a single thread: what it starts inherits that.

    Where the kernel groups sessions (``man 7 sched``, autogroup), niceness counts within a session only, and the
    session has one of its own.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS), encoding="ascii")
