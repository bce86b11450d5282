"""Running the application: sockets, signals, the ready line and the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import platform
import signal
import sys
import time
from _thread import start_new_thread
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from typing import cast

from aiohttp import web

from gilscope.backends.execution import gil_enabled, prepare_thread
from gilscope.errors import ServiceError, UsageError
from gilscope.model import ThreadRole
from gilscope.telling import tell
from gilscope.web.app import create_app
from gilscope.web.config import ServiceConfig
from gilscope.web.metrics import ServiceMetrics
from gilscope.web.service import SERVICE, Service

SHUTDOWN_S = 0.5
DRAIN_S = 10.0
"""How long what is under way has to be answered after a signal, unless asked otherwise."""

QUIET_S = 0.5
"""Connections on which nothing has come for so long are closed."""

KEEP_ALIVE_S = 75.0
"""How long a connection may be idle between two requests."""

LAST_S = 5.0
"""How long the process has to end when nothing is left to wait for, or when it was told to twice."""

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 9464
    is_shared: bool = False
    """Whether other processes listen on the port, too."""


Announce = Callable[[dict[str, object]], None]

Company = AbstractAsyncContextManager[Mapping[str, object]]
"""What runs beside the service from when it is ready to when it is told to stop; gives what the ready line says of it."""


async def serve(
    config: ServiceConfig,
    address: Address,
    announce: Announce,
    *,
    lifeline: bool = False,
    drain_s: float = DRAIN_S,
    company: Company | None = None,
    give_up: Callable[[], object] | None = None,
) -> bool:
    """Serve until SIGINT, SIGTERM or SIGHUP, or with ``lifeline`` until standard input ends; return whether all calls have ended.

    After a signal, what is under way has ``drain_s`` seconds to be answered; a second signal ends that. Where the loop does
    not hear even of the second, ``give_up`` is called a while later in a thread.
    ``announce`` gets the ready line once every pool has run a task, both ports are open and ``company`` is there.

    Raises:
        UsageError: host or port cannot be listened on.
        BackendFailedError: a pool did not come up.
    """
    prepare_thread(ThreadRole.LOOP, config.observer)
    metrics = ServiceMetrics()
    app = create_app(config, metrics)
    service = app[SERVICE]
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SHUTDOWN_S,
        handler_cancellation=True,  # who has gone waits for nothing
        keepalive_timeout=KEEP_ALIVE_S,
    )
    with watching(lifeline=lifeline, give_up=give_up) as told:
        try:
            try:
                metrics_port = metrics.serve(address.host, address.metrics_port)
            except OSError as problem:
                raise _cannot_listen(
                    address.host, address.metrics_port, "--metrics-port", problem
                ) from problem
            if await _unless_told(told, runner.setup()):
                await listen(runner, address.host, address.port, "--port", is_shared=address.is_shared)
                async with company or nullcontext[Mapping[str, object]]({}) as additions:
                    service.lens_url = cast("str | None", additions.get("lens_url"))
                    announce({**_ready_line(config, runner, metrics_port), **additions})
                    await told.once.wait()
                    if not told.is_hung_up:
                        await _drain(runner, service, drain_s, told.again)
            if told.again.is_set():
                service.stop_grace_s = 0.0
        finally:
            await runner.cleanup()
            if not await _all_tasks_end(service.stop_grace_s):
                service.is_stuck = True
    return not service.is_stuck


async def _unless_told(told: Told, starting: Coroutine[object, object, None]) -> bool:
    """Await what starts the service, and return whether it did: where it is told to end first, that is given up."""
    start, end = asyncio.ensure_future(starting), asyncio.ensure_future(told.once.wait())
    try:
        await asyncio.wait([start, end], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (start, end):
            task.cancel()
        await asyncio.wait([start, end])
    return not start.cancelled() and start.result() is None


async def _all_tasks_end(limit_s: float) -> bool:
    """Cancel what else still runs on the loop, and return whether it has ended: a coroutine need not heed that."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    left = (await asyncio.wait(others, timeout=limit_s))[1] if others else None
    return not left


async def _drain(runner: web.AppRunner, service: Service, limit_s: float, enough: asyncio.Event) -> None:
    """Take no connection any more, and answer what is under way and what still comes on those there are.

    A client that keeps its connection open is told with its next answer to close it: closing it here could meet a
    request on its way.
    """
    service.close()
    for site in list(runner.sites):
        await site.stop()
    if service.inside and limit_s:
        calls = f"{service.inside:,} call{'s' if service.inside > 1 else ''}"
        told = f"{calls} under way: up to {limit_s:g} s for them, or again to end now"
        tell(told)
    loop = asyncio.get_running_loop()
    quiet_since, deadline = loop.time(), loop.time() + limit_s
    while (now := loop.time()) < deadline and not enough.is_set():
        if service.inside:
            quiet_since = now
        connections = runner.server.connections if runner.server else []
        if not connections or now - quiet_since > QUIET_S:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                await enough.wait()


async def listen(
    runner: web.AppRunner, host: str, port: int, option: str, *, is_shared: bool = False
) -> None:
    """Listen; ``option`` is what the port was given by, and ``is_shared`` whether others may listen on it as well.

    Raises:
        UsageError: host or port cannot be listened on.
    """
    try:
        await web.TCPSite(runner, host, port, backlog=1_024, reuse_port=is_shared or None).start()
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


@dataclass(slots=True)
class Told:
    """To end: ``once``, and ``again``, which is to be at once; ``is_hung_up``: whoever started us waits for nothing."""

    once: asyncio.Event = field(default_factory=asyncio.Event)
    again: asyncio.Event = field(default_factory=asyncio.Event)
    is_hung_up: bool = False

    def tell(self) -> None:
        """Tell it."""
        (self.again if self.once.is_set() else self.once).set()

    def hang_up(self) -> None:
        """Tell that nobody waits for answers any more."""
        self.is_hung_up = True
        self.once.set()


@contextmanager
def watching(*, lifeline: bool, give_up: Callable[[], object] | None = None) -> Iterator[Told]:
    """Give what signals, or the end of the lifeline, set.

    ``give_up`` is called in a thread where a second signal is not heard of within ``LAST_S`` seconds.
    """
    loop, told, signals = asyncio.get_running_loop(), Told(), count(1)

    def on_signal(*_: object) -> None:
        if next(signals) > 1:
            if give_up is not None:
                start_new_thread(
                    look_again, (give_up,)
                )  # a Thread's locks may be held by what was interrupted
            if not told.once.is_set():
                raise KeyboardInterrupt  # Somebody's function keeps the loop from hearing of the first.
        loop.call_soon_threadsafe(told.tell)

    def look_again(give_up: Callable[[], object]) -> None:
        time.sleep(LAST_S)
        if not told.again.is_set():
            give_up()

    former = {number: signal.signal(number, on_signal) for number in _numbers()}
    if lifeline:
        _watch_input(loop, told.hang_up)
    try:
        yield told
    finally:
        if lifeline:
            loop.remove_reader(sys.stdin)
        for number, handler in former.items():
            signal.signal(number, handler)


def _numbers() -> Iterator[signal.Signals]:
    """Yield the signals that tell a service to end; one that is ignored by ``nohup`` stays so."""
    yield from (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


def _watch_input(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    def read() -> None:
        if not os.read(sys.stdin.fileno(), 4_096):
            end()

    try:
        loop.add_reader(sys.stdin, read)
    except OSError:  # A file or /dev/null, which nobody holds open for us: it has ended already.
        end()
