"""The live page of a running comparison, in a process of its own, which never asks the service that is measured.

To answer a scrape takes the service some milliseconds of its GIL. So what is shown while a trial runs is what the lens
sees, which lives in another process, and a trial's figures come once it is over, as the comparison has them.

``python -m gilscope.live.process --port N RUN`` prints ``{"url"}`` and reads from standard input, a JSON object per line,
what happens: ``{"plan": {…}}`` (title, backends), ``{"serves": {"lens_url"}}`` (null between two trials),
``{"runs_on": {"python", "gil"}}``, ``{"note"}``, ``{"trial"}``, ``{"graph"}`` and ``{"end": {"report"}}``. The last five are
sent on to those who look as they are. It ends when its input does, and after the end as soon as everybody who looked has the
report.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gilscope.address import names_this_machine
from gilscope.live.feed import Feed
from gilscope.live.lens import totals_at
from gilscope.live.page import page, policy
from gilscope.live.reading import LensTotals, Reading

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.typedefs import Handler

FAREWELL_S = 3.0
"""How long those who look have to fetch the report."""

NO_CAPTURES = "A comparison takes its own flame graphs, in the last block of each backend."
TOLD = frozenset({"runs_on", "note", "trial", "graph", "end"})
"""What those who look are told as it is."""

SVG_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'"
)
"""Graphs and reports have style and script inside; we wrote them, with every name escaped."""


class Comparison:
    """A running comparison as a source of readings: those of the lens on whichever service is up."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {
            "title": "gilscope compare", "python": None, "gil": None, "backends": [], "captures": False,
            "no_captures": NO_CAPTURES, "states": True, "no_states": None, "trials": [], "graphs": [], "note": None,
            "report": None,
        }  # fmt: skip
        self._lens_url: str | None = None
        self._services = 0

    def learn(self, event: str, data: Any) -> None:  # noqa: ANN401  JSON
        """Take in what happened."""
        if event in {"plan", "runs_on"}:
            self.known |= data
        elif event == "serves":
            self._lens_url = None if data is None else data["lens_url"]
            self._services += 1
        elif event == "note":
            self.known["note"] = data["text"]
        elif event in {"trial", "graph"}:
            self.known[f"{event}s"].append(data)
        elif event == "end":
            self.known["report"] = data["report"]

    def describe(self) -> Mapping[str, object]:
        """Return all that is known."""
        return self.known

    async def open(self, changed: Callable[[], None]) -> None:
        """Do nothing: the lens is there anyway."""

    async def close(self) -> None:
        """Do nothing."""

    async def read(self) -> Reading:
        """Return what the lens has seen so far; nothing where there is none, or it does not answer in time."""
        at_s, origin = time.time(), str(self._services)
        return Reading(at_s, {}, {}, {}, {}, lens=await self._lens(), origin=origin)

    async def _lens(self) -> LensTotals | None:
        if self._lens_url is None:
            return None
        with contextlib.suppress(OSError):
            return await totals_at(self._lens_url)
        return None


COMPARISON = web.AppKey("comparison", Comparison)
FEED = web.AppKey("feed", Feed)
FOLDER = web.AppKey("folder", Path)
FETCHED = web.AppKey("fetched", asyncio.Semaphore)
"""Released each time that the report has been sent."""


def create_app(folder: Path) -> web.Application:
    """Return the application over a run's folder."""
    app = web.Application(middlewares=[_from_here_alone])
    app[COMPARISON] = Comparison()
    app[FEED] = Feed(app[COMPARISON])
    app[FOLDER] = folder
    app[FETCHED] = asyncio.Semaphore(0)
    app.router.add_get("/", _show)
    app.router.add_get("/live", _stream)
    app.router.add_get("/report.html", _report)
    app.router.add_get("/flames/{name:[^/]+\\.svg}", _flame)
    app.on_shutdown.append(_ending_streams)
    return app


@web.middleware
async def _from_here_alone(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn away a page of another site that has its name point here: what is shown has source paths."""
    if not names_this_machine(request.host):
        raise web.HTTPForbidden(text=f"this is for this machine alone, and {request.host!r} is another name")
    return await handler(request)


async def _show(request: web.Request) -> web.Response:
    known = request.app[COMPARISON].known
    headers = {
        "Content-Security-Policy": policy(),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    text = page(title=known["title"], captures=False, comparison=True)
    return web.Response(text=text, content_type="text/html", headers=headers)


async def _stream(request: web.Request) -> web.StreamResponse:
    return await request.app[FEED].answer(request)


async def _report(request: web.Request) -> web.StreamResponse:
    return _file(request.app[FOLDER] / "report.html", request.app[FETCHED].release)


async def _flame(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if Path(name).name != name:  # A quoted slash is one here.
        raise web.HTTPNotFound(text="no such graph")
    return _file(request.app[FOLDER] / "flames" / name)


class _File(web.FileResponse):
    """A file, and whom to tell that it has been sent."""

    def __init__(self, path: Path, headers: Mapping[str, str], sent: Callable[[], None]) -> None:
        super().__init__(path, headers=headers)
        self._sent = sent

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it, headers and all. A second call would send it again."""
        writer = await super().prepare(request)
        self._sent()
        return writer


def _file(path: Path, sent: Callable[[], None] = lambda: None) -> web.StreamResponse:
    if not path.is_file():
        raise web.HTTPNotFound(text="it is not there yet")
    headers = {
        "Content-Security-Policy": SVG_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return _File(path, headers, sent)


async def _ending_streams(app: web.Application) -> None:
    await app[FEED].stop()


async def serve(folder: Path, port: int, answers: int) -> None:
    """Serve until the input ends.

    Raises:
        OSError: the port cannot be listened on.
    """
    app = create_app(folder)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        listening = runner.addresses[0][1]
        os.write(answers, json.dumps({"url": f"http://127.0.0.1:{listening}/"}).encode() + b"\n")
        await _obey(app)
    finally:
        await runner.cleanup()


async def _obey(app: web.Application) -> None:
    """Take in what happens, until there is no more of it."""
    orders = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    comparison, feed, leaving = app[COMPARISON], app[FEED], 0
    async for line in orders:
        for event, data in json.loads(line).items():
            comparison.learn(event, data)
            if event == "end":
                leaving = feed.viewers
            if event in TOLD:
                feed.tell(event, data)
            elif event == "plan":
                feed.tell("hello", {**comparison.describe(), "history": []})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            for _ in range(leaving):  # Each page leaves for the report.
                await app[FETCHED].acquire()


def main() -> int:
    """Serve the page of one comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    answers = os.dup(1)
    os.dup2(2, 1)
    try:
        asyncio.run(serve(options.folder, options.port, answers))
    except OSError as problem:
        os.write(answers, json.dumps({"error": os.strerror(problem.errno or 0)}).encode() + b"\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
