"""Running the application: sockets, signals, the ready line and the end."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gilscope.errors import ServiceError, UsageError
from gilscope.web.app import create_app
from gilscope.web.config import ServiceConfig
from gilscope.web.metrics import ServiceMetrics

SHUTDOWN_S = 0.5


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 9464


Announce = Callable[[dict[str, object]], None]


async def serve(
    config: ServiceConfig, address: Address, announce: Announce, *, lifeline: bool = False
) -> None:
    """Serve until SIGINT or SIGTERM, or with ``lifeline`` until standard input ends.

    ``announce`` gets the ready line once every pool has run a task and both ports are open.

    Raises:
        UsageError: a port cannot be listened on.
        BackendFailedError: a pool did not come up.
    """
    metrics = ServiceMetrics()
    app = create_app(config, metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    try:
        try:
            metrics_port = metrics.serve(address.host, address.metrics_port)
        except OSError as problem:
            raise _port_taken(address.metrics_port, "--metrics-port", problem) from problem
        await runner.setup()
        try:
            await web.TCPSite(runner, address.host, address.port, backlog=1_024).start()
        except OSError as problem:
            raise _port_taken(address.port, "--port", problem) from problem
        announce(_ready_line(config, runner, metrics_port))
        await _until_told(lifeline=lifeline)
    finally:
        await runner.cleanup()


def _port_taken(port: int, option: str, problem: OSError) -> UsageError:
    reason = os.strerror(problem.errno) if problem.errno else str(problem)
    return UsageError(
        f"cannot listen on port {port}: {reason}", remedy=f"another {option}; 0 takes a free one"
    )


def _ready_line(config: ServiceConfig, runner: web.AppRunner, metrics_port: int) -> dict[str, object]:
    if not runner.addresses:
        raise ServiceError("the service has no address")
    host, port = runner.addresses[0][:2]
    shown = f"[{host}]" if ":" in host else host
    return {
        "pid": os.getpid(),
        "url": f"http://{shown}:{port}",
        "metrics_url": f"http://{shown}:{metrics_port}/metrics",
        "python": platform.python_version(),
        "gil_enabled": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "backends": list(config.backends),
        "workloads": [workload.name for workload in config.workloads],
    }


async def _until_told(*, lifeline: bool) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    if lifeline:
        loop.add_reader(sys.stdin, lambda: told.set() if not os.read(sys.stdin.fileno(), 4_096) else None)
    await told.wait()
    if lifeline:
        loop.remove_reader(sys.stdin)
