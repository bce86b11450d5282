"""Several processes that serve the same port, and one that starts another whenever one of them dies.

The kernel shares connections out among all sockets that are bound with ``SO_REUSEPORT`` (``man 7 socket``). On the event
loop and in threads a crash takes its process along, with all calls in it; the other processes go on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator, Mapping, Sequence
from subprocess import Popen
from typing import Any

from gilscope.child import dismiss_guard, how_it_ended, kill_group, start_guard
from gilscope.errors import ServiceError, UsageError
from gilscope.telling import tell
from gilscope.web.serving import Announce, Told, watching

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
STEADY_S = 10.0
"""Who has served for so long since it was ready did not die of being started: the next pause is a short one again."""

KILL_S = 3.0
"""How much longer than it may drain a process has to end, before it is killed."""


def pause_s(deaths: int) -> float:
    """Return for how long to wait before the next start, in seconds, after so many deaths in a row: each time twice as long."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(max(0, deaths - 1), 10))


@contextlib.contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Hold a port that all processes may bind; nobody is connected to a socket that does not listen.

    Raises:
        UsageError: somebody has it, or the host is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        holder = socket.socket(family, kind, protocol)
    except OSError as problem:
        raise UsageError(
            f"cannot listen on host {host}: {problem.strerror}", remedy="another --host"
        ) from None
    with holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # As a server does: connections of whoever had it before may still be there (TIME_WAIT).
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(address)
        except OSError as problem:
            raise UsageError(
                f"cannot listen on port {port} of {host}: {os.strerror(problem.errno or 0)}",
                remedy="another --port; 0 takes a free one",
            ) from None
        yield int(holder.getsockname()[1])


class Supervisor:
    """Keeps a process running for each command.

    Each is guarded: should it be stuck and this process be killed, it would go on taking connections.
    """

    def __init__(self, commands: Sequence[Sequence[str]], drain_s: float) -> None:
        self._commands, self._drain_s = commands, drain_s
        self._processes: dict[int, Process] = {}
        self._guards: dict[int, Popen[bytes] | None] = {}
        self._ready: dict[int, Mapping[str, Any]] = {}
        self._all_ready = asyncio.Event()

    async def run(self, announce: Announce) -> None:
        """Run until SIGINT or SIGTERM; ``announce`` gets the ready line of all once each of them is ready.

        Raises:
            ServiceError: one did not become ready at its first start; it has said why.
        """
        with watching(lifeline=False) as told:
            keepers: list[asyncio.Task[Any]] = [
                asyncio.create_task(self._keep(place)) for place in range(len(self._commands))
            ]
            end: asyncio.Task[Any] = asyncio.create_task(told.once.wait())
            ready = asyncio.create_task(self._announce(announce))
            try:
                awaited: list[asyncio.Task[Any]] = [end, *keepers]
                done, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (end, ready, *keepers):
                    task.cancel()
                await asyncio.gather(end, ready, *keepers, return_exceptions=True)
                await self._stop(told)
        for keeper in done - {end}:
            keeper.result()

    async def _announce(self, announce: Announce) -> None:
        await self._all_ready.wait()
        first = self._ready[0]
        of_each = [
            {key: line[key] for key in ("pid", "metrics_url", "lens_url") if key in line}
            for _, line in sorted(self._ready.items())
        ]
        announce({**first, "pid": os.getpid(), "processes": of_each})

    async def _keep(self, place: int) -> None:
        """Start a process again whenever it ends; never returns."""
        deaths = 0
        while True:
            how, served_s = await self._serve_once(place)
            deaths = 1 if served_s > STEADY_S else deaths + 1
            pause = pause_s(deaths)
            tell(f"{how}: another one begins in {pause:g} s")
            await asyncio.sleep(pause)

    async def _serve_once(self, place: int) -> tuple[str, float]:
        """Run a process until it ends; return how it did, and for how long it had served (s)."""
        loop = asyncio.get_running_loop()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._commands[place],
                stdin=PIPE,
                stdout=PIPE,
                start_new_session=True,  # Ctrl-C reaches us alone: to each of them a second one would be an order to hurry
            )
        except OSError as problem:
            if place not in self._ready:
                raise ServiceError(f"a process cannot be started: {problem.strerror}") from problem
            return f"a process cannot be started ({problem.strerror})", 0.0
        self._processes[place], self._guards[place] = process, start_guard(process.pid)
        await self._await_ready(place, process)
        ready_at = loop.time()
        ended = how_it_ended(await process.wait())
        self._bury(place)
        if place not in self._ready:
            raise ServiceError(f"process {process.pid} ended before it was ready ({ended})")
        return f"process {process.pid} has ended ({ended})", loop.time() - ready_at

    async def _await_ready(self, place: int, process: Process) -> None:
        assert process.stdout is not None
        with contextlib.suppress(ValueError):  # It ended, or was ended, before it could say it.
            self._ready[place] = json.loads(await process.stdout.readline())
        if len(self._ready) == len(self._commands):
            self._all_ready.set()

    def _bury(self, place: int) -> None:
        """End what is left of a process that has ended."""
        kill_group(self._processes[place].pid)
        dismiss_guard(self._guards.pop(place, None))

    async def _stop(self, told: Told) -> None:
        """Have all processes answer what is under way, and end; a second signal is passed on, and whoever is stuck killed."""
        running = [process for process in self._processes.values() if process.returncode is None]
        _signal(running)
        ends = asyncio.gather(*(process.wait() for process in running))
        again = asyncio.create_task(told.again.wait())
        either: list[asyncio.Future[Any]] = [ends, again]
        await asyncio.wait(either, timeout=self._drain_s + KILL_S, return_when=asyncio.FIRST_COMPLETED)
        if again.done():
            _signal(running)
            await asyncio.wait([ends], timeout=KILL_S)
        again.cancel()
        for process in running:
            kill_group(process.pid)
        await ends
        for place in list(self._guards):
            self._bury(place)


def _signal(processes: Sequence[Process]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
