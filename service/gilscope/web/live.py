"""The live page of a service: its own counters, and its threads' states from a lens that runs while somebody looks."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable, Mapping

from aiohttp import web

from gilscope.backends.execution import gil_enabled
from gilscope.errors import LensError
from gilscope.lens.companion import Companion
from gilscope.live.feed import Feed
from gilscope.live.lens import totals_at
from gilscope.live.page import page, policy
from gilscope.live.reading import NOT_KNOWN, LensTotals, Reading
from gilscope.web.profile_pages import headers
from gilscope.web.service import SERVICE, Service

FEED = web.AppKey("feed", Feed)
ENDED = f"{NOT_KNOWN}the lens has ended. Leave this page for some seconds, and the next who opens it starts another."
NO_CAPTURES = "Flame graphs: start the service with --profiles, or see gilscope profile --pid."
TITLE_CHARS = 40


async def show(request: web.Request) -> web.Response:
    """``GET /``: the page."""
    config = request.app[SERVICE].config
    text = page(title=title_of(config.workload_names), captures=config.profiling is not None)
    return web.Response(text=text, content_type="text/html", headers=headers(policy()))


async def stream(request: web.Request) -> web.StreamResponse:
    """``GET /live``: what it shows, as it happens."""
    return await request.app[FEED].answer(request)


def title_of(names: tuple[str, ...]) -> str:
    """Name the workloads, or count them where there are many."""
    joined = ", ".join(names)
    return joined if len(joined) < TITLE_CHARS else f"{len(names)} workloads"


class Own:
    """The service itself as a source of readings."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lens = OwnLens(service)

    async def open(self, changed: Callable[[], None]) -> None:
        """Start a lens, unless one runs anyway."""
        await self._lens.open(changed)

    async def read(self) -> Reading:
        """Read the counters; to ask the lens costs the loop a millisecond, and most of what the page costs it."""
        service, metrics = self._service, self._service.metrics
        backends = service.backends
        return Reading(
            at_s=time.time(),
            answered=metrics.answered(backends),
            failed=metrics.failed(backends),
            queued={name.value: gate.queued for name, gate in service.gates.items()},
            active={name.value: gate.active for name, gate in service.gates.items()},
            lag=list(metrics.loop_lag.counts),
            lens=await self._lens.totals(),
        )

    async def close(self) -> None:
        """Stop the lens that was started for this."""
        await self._lens.close()

    def describe(self) -> Mapping[str, object]:
        """Say what is watched."""
        config = self._service.config
        captures = config.profiling is not None
        return {
            "title": title_of(config.workload_names),
            "python": platform.python_version(),
            "gil": gil_enabled(),
            "backends": list(config.backends),
            "shared": config.is_shared,
            "captures": captures,
            "no_captures": None if captures else NO_CAPTURES,
            "states": self._lens.url is not None,
            "no_states": self._lens.problem,
            "trials": [],
            "graphs": [],
            "note": None,
            "report": None,
        }


class OwnLens:
    """A lens on this service: the one that it was started with, or one of its own while it is open."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._companion: Companion | None = None
        self._changed: Callable[[], None] = lambda: None
        self.url: str | None = None
        self.problem: str | None = None
        """Why there is none, and what to do."""

    async def open(self, changed: Callable[[], None]) -> None:
        """Start it; where that cannot be, :attr:`problem` says why. ``changed`` is called if there is none later on."""
        self._changed, self.problem = changed, None
        self.url = self._service.lens_url
        if self.url is None:
            await self._start()

    async def _start(self) -> None:
        try:
            self._companion = Companion("127.0.0.1", 0)
            self.url = await self._companion.watch(os.getpid())
        except LensError as problem:
            await self._stop()
            self.problem = f"{NOT_KNOWN}{problem}"

    async def totals(self) -> LensTotals | None:
        """Return what the lens has seen so far; None where it does not answer."""
        if self.url is None:
            return None
        try:
            return await totals_at(self.url)
        except OSError:
            await self._replace()
            return None

    async def _replace(self) -> None:
        """Start a lens of our own in place of the service's, which has ended; if it was one of ours already, say so."""
        self.url = None
        if self._companion is None:
            await self._start()
        else:
            await self._stop()
            self.problem = ENDED
        if self.problem is not None:
            self._changed()

    async def close(self) -> None:
        """Stop the lens, if it was started here; the next who looks is told nothing of what became of it."""
        self.url = self.problem = None
        await self._stop()

    async def _stop(self) -> None:
        companion, self._companion = self._companion, None
        if companion is not None:
            await asyncio.to_thread(companion.stop)
