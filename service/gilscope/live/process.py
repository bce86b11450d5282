"""The live page of a running comparison, in a process of its own: what is measured and what measures pay nothing for it.

``python -m gilscope.live.process --port N RUN`` prints ``{"url"}`` and reads from standard input, a JSON object per line,
what happens: ``{"plan": {…}}`` (title, Python, backends), ``{"serves": {"metrics_url", "lens_url"}}`` (null between
two trials), ``{"note"}``, ``{"trial"}``, ``{"graph"}`` and ``{"end": {"report"}}``. The last three are sent on to those who look as they
are. It ends when its input does, and after the end as soon as everybody who looked has the report.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gilscope.live.feed import Feed
from gilscope.live.page import page, policy
from gilscope.live.reading import Reading, scraped

EVERY_S = 0.5
"""Trials are short."""

ANSWER_S = 2.0
FAREWELL_S = 3.0
"""How long those who look have to fetch the report."""

NO_CAPTURES = "A comparison takes its own flame graphs, in the last block of each backend."
SVG_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'"
)
"""Graphs and reports have style and script inside; we wrote them, with every name escaped."""


class Comparison:
    """A running comparison as a source of readings: those of whichever service is up."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {
            "title": "gilscope compare", "python": "", "gil": True, "backends": [], "captures": False,
            "no_captures": NO_CAPTURES, "states": True, "no_states": None, "trials": [], "graphs": [], "note": None,
            "report": None,
        }  # fmt: skip
        self._serves: Mapping[str, str | None] | None = None
        self._client: aiohttp.ClientSession | None = None

    def learn(self, event: str, data: Any) -> None:  # noqa: ANN401  JSON
        """Take in what happened."""
        if event == "plan":
            self.known |= data
        elif event == "serves":
            self._serves = data
        elif event == "note":
            self.known["note"] = data["text"]
        elif event in {"trial", "graph"}:
            self.known[f"{event}s"].append(data)
        elif event == "end":
            self.known["report"] = data["report"]

    def describe(self) -> Mapping[str, object]:
        """Return all that is known."""
        return self.known

    async def open(self) -> None:
        """Prepare to ask services."""
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S))

    async def close(self) -> None:
        """Ask no more."""
        if self._client is not None:
            await self._client.close()

    async def read(self) -> Reading | None:
        """Scrape the service that is up; None where there is none, or it does not answer in time."""
        serves = self._serves
        if serves is None:
            return None
        try:
            lens = await self._get(serves["lens_url"]) if serves["lens_url"] else None
            url = str(serves["metrics_url"])
            return scraped(time.time(), await self._get(url), lens, origin=url)
        except (TimeoutError, aiohttp.ClientError, ValueError):
            return None

    async def _get(self, url: str) -> str:
        assert self._client is not None
        async with self._client.get(url) as answer:
            return await answer.text()


COMPARISON = web.AppKey("comparison", Comparison)
FEED = web.AppKey("feed", Feed)
FOLDER = web.AppKey("folder", Path)
FETCHED = web.AppKey("fetched", asyncio.Semaphore)
"""Released each time that the report has been sent."""


def create_app(folder: Path) -> web.Application:
    """Return the application over a run's folder."""
    app = web.Application()
    app[COMPARISON] = Comparison()
    app[FEED] = Feed(app[COMPARISON], EVERY_S)
    app[FOLDER] = folder
    app[FETCHED] = asyncio.Semaphore(0)
    app.router.add_get("/", _show)
    app.router.add_get("/live", _stream)
    app.router.add_get("/report.html", _report)
    app.router.add_get("/flames/{name:[^/]+\\.svg}", _flame)
    app.on_shutdown.append(_ending_streams)
    return app


async def _show(request: web.Request) -> web.Response:
    known = request.app[COMPARISON].known
    headers = {
        "Content-Security-Policy": policy(),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    text = page(title=known["title"], captures=False)
    return web.Response(text=text, content_type="text/html", headers=headers)


async def _stream(request: web.Request) -> web.StreamResponse:
    return await request.app[FEED].answer(request)


async def _report(request: web.Request) -> web.StreamResponse:
    response = _file(request.app[FOLDER] / "report.html")
    await response.prepare(request)
    await response.write_eof()
    request.app[FETCHED].release()
    return response


async def _flame(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if Path(name).name != name:  # A quoted slash is one here.
        raise web.HTTPNotFound(text="no such graph")
    return _file(request.app[FOLDER] / "flames" / name)


def _file(path: Path) -> web.StreamResponse:
    if not path.is_file():
        raise web.HTTPNotFound(text="it is not there yet")
    headers = {
        "Content-Security-Policy": SVG_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return web.FileResponse(path, headers=headers)


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
            if event in {"note", "trial", "graph", "end"}:
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
