"""The stream behind the live page: reads once a second while somebody looks, and tells all who do (server-sent events).

Nothing is read while nobody looks, and a viewer who comes back sees what was seen before. The format is that of
https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from typing import Protocol

from aiohttp import web

from gilscope.live.reading import Reading, point

EVERY_S = 1.0
KEPT = 300
"""Points that are kept: five minutes."""

MAX_VIEWERS = 32
LINGER_S = 5.0
"""How long the source stays open without a viewer: a page that is loaded again does not start it anew."""

_WAITING = 50
"""Messages that may wait for a viewer; a slower one is let go, and its browser comes back."""


class Source(Protocol):
    """Where readings come from."""

    async def open(self, changed: Callable[[], None]) -> None:
        """Prepare to read: the first viewer has come. ``changed`` is to be called if :meth:`describe` says something new."""
        ...

    async def read(self) -> Reading | None:
        """Return the counters as they are now; None where there is nothing to read at present."""
        ...

    async def close(self) -> None:
        """Let go: the last viewer has left. :meth:`open` may follow again."""
        ...

    def describe(self) -> Mapping[str, object]:
        """Return what the page needs to know beside points."""
        ...


class Feed:
    """Reads a source for its viewers, from one event loop."""

    def __init__(self, source: Source, every_s: float = EVERY_S, linger_s: float = LINGER_S) -> None:
        self._source = source
        self._every_s, self._linger_s = every_s, linger_s
        self._history: deque[Mapping[str, object]] = deque(maxlen=KEPT)
        self._viewers: set[asyncio.Queue[bytes | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._come = asyncio.Event()

    @property
    def viewers(self) -> int:
        """How many look."""
        return len(self._viewers)

    def tell(self, event: str, data: Mapping[str, object]) -> None:
        """Send an event to all who look."""
        self._tell(encode(event, data))

    def _tell(self, message: bytes) -> None:
        for viewer in list(self._viewers):
            if viewer.qsize() >= _WAITING:
                self._let_go(viewer)
            else:
                viewer.put_nowait(message)

    def _let_go(self, viewer: asyncio.Queue[bytes | None]) -> None:
        self._viewers.discard(viewer)
        viewer.put_nowait(None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send events for as long as somebody listens: a handler of ``GET``."""
        if len(self._viewers) >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(
                text=f"{MAX_VIEWERS} are looking already", headers={"Retry-After": "5"}
            )
        headers = {
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "X-Content-Type-Options": "nosniff",
        }
        response = web.StreamResponse(headers=headers)
        response.content_type = "text/event-stream"
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            async for message in self._messages():
                await response.write(message)
        return response

    async def _messages(self) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._viewers.add(queue)
        self._come.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._fail)
        try:
            yield self._hello()
            while (message := await queue.get()) is not None:
                yield message
        finally:
            self._viewers.discard(queue)

    def _greet(self) -> None:
        self._tell(self._hello())

    def _hello(self) -> bytes:
        return encode("hello", {**self._source.describe(), "history": list(self._history)})

    def _fail(self, task: asyncio.Task[None]) -> None:
        """Let all viewers go where reading has failed: they come back, and it begins anew."""
        self._task = None
        self._come.clear()
        for viewer in list(self._viewers):
            self._let_go(viewer)
        if not task.cancelled():
            task.result()  # it is the loop's to tell

    async def _run(self) -> None:
        """Read whenever somebody looks, until cancelled."""
        while True:
            await self._come.wait()
            try:
                await self._source.open(self._greet)
                self._greet()  # What there is to see may only be known now.
                await self._read()
            finally:
                await self._source.close()

    async def _read(self) -> None:
        """Read until nobody has looked for a while."""
        loop = asyncio.get_running_loop()
        before, due = await self._source.read(), loop.time()
        while await self._is_watched():
            due = max(due + self._every_s, loop.time())
            await asyncio.sleep(due - loop.time())
            after = await self._source.read()
            if before is not None and after is not None and (found := point(before, after)):
                self._history.append(found)
                self.tell("point", found)
            if after is not None and after.lens is not None:
                self.tell("lens", asdict(after.lens))
            before = after

    async def _is_watched(self) -> bool:
        if self._viewers:
            return True
        self._come.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._linger_s):
                await self._come.wait()
        return bool(self._viewers)

    async def stop(self) -> None:
        """Let all viewers go, and the source."""
        for viewer in list(self._viewers):
            self._let_go(viewer)
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def encode(event: str, data: Mapping[str, object]) -> bytes:
    """Write one event; JSON has no line breaks of its own."""
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()
