"""Running the application: sockets, signals, the ready line and the end."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from gilscope.backends.execution import prepare_thread
from gilscope.errors import ServiceError, UsageError
from gilscope.model import ThreadRole
from gilscope.web.app import create_app
from gilscope.web.config import ServiceConfig
from gilscope.web.metrics import ServiceMetrics, gil_enabled
from gilscope.web.service import SERVICE

SHUTDOWN_S = 0.5


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 9464


Announce = Callable[[dict[str, object]], None]

Company = AbstractAsyncContextManager[Mapping[str, object]]
"""What runs beside the service from when it is ready to when it is told to stop; gives what the ready line says of it."""


async def serve(
    config: ServiceConfig,
    address: Address,
    announce: Announce,
    *,
    lifeline: bool = False,
    company: Company | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, or with ``lifeline`` until standard input ends.

    ``announce`` gets the ready line once every pool has run a task, both ports are open and ``company`` is there.

    Raises:
        UsageError: host or port cannot be listened on.
        BackendFailedError: a pool did not come up.
    """
    prepare_thread(ThreadRole.LOOP, config.observer)
    metrics = ServiceMetrics()
    app = create_app(config, metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    try:
        try:
            metrics_port = metrics.serve(address.host, address.metrics_port)
        except OSError as problem:
            raise _cannot_listen(address.host, address.metrics_port, "--metrics-port", problem) from problem
        await runner.setup()
        await listen(runner, address.host, address.port, "--port")
        async with company or nullcontext[Mapping[str, object]]({}) as additions:
            app[SERVICE].lens_url = cast("str | None", additions.get("lens_url"))
            ready_line = {**_ready_line(config, runner, metrics_port), **additions}
            with watching(lifeline=lifeline) as told:
                announce(ready_line)  # not before: whoever reads it may tell us to stop at once
                await told.wait()
    finally:
        await runner.cleanup()


async def listen(runner: web.AppRunner, host: str, port: int, option: str) -> None:
    """Listen; ``option`` is what the port was given by.

    Raises:
        UsageError: host or port cannot be listened on.
    """
    try:
        await web.TCPSite(runner, host, port, backlog=1_024).start()
    except OSError as problem:
        raise _cannot_listen(host, port, option, problem) from problem


def url_of(runner: web.AppRunner) -> str:
    """Return the URL of an application that listens."""
    host, port = runner.addresses[0][:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _cannot_listen(host: str, port: int, option: str, problem: OSError) -> UsageError:
    if problem.errno in (errno.EADDRINUSE, errno.EACCES):
        return UsageError(
            f"cannot listen on port {port}: {os.strerror(problem.errno)}",
            remedy=f"another {option}; 0 takes a free one",
        )
    return UsageError(
        f"cannot listen on host {host}: {problem.strerror or problem}",
        remedy="another --host: an address of this machine",
    )


def _ready_line(config: ServiceConfig, runner: web.AppRunner, metrics_port: int) -> dict[str, object]:
    if not runner.addresses:
        raise ServiceError("the service has no address")
    url = url_of(runner)
    return {
        "pid": os.getpid(),
        "url": url,
        "metrics_url": f"{url.rpartition(':')[0]}:{metrics_port}/metrics",
        "python": platform.python_version(),
        "gil_enabled": gil_enabled(),
        "backends": list(config.backends),
        "workloads": [workload.name for workload in config.workloads],
    }


@contextmanager
def watching(*, lifeline: bool) -> Iterator[asyncio.Event]:
    """Give an event that a signal or the end of the lifeline sets."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    if not lifeline:
        yield told
        return
    _watch_input(loop, told)
    try:
        yield told
    finally:
        loop.remove_reader(sys.stdin)


def _watch_input(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    def read() -> None:
        if not os.read(sys.stdin.fileno(), 4_096):
            ended.set()

    try:
        loop.add_reader(sys.stdin, read)
    except OSError:  # A file or /dev/null, which nobody holds open for us: it has ended already.
        ended.set()
