"""The upstream that ``http_fetch`` waits for: a process of its own that answers after a set delay.

``python -m gilscope.workloads.upstream`` prints its URL in one JSON line and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiohttp import web

BODY = b"x" * 1_000
MAX_DELAY_MS = 10_000


async def answer(request: web.Request) -> web.Response:
    """Answer 1 kB after ``delay_ms`` milliseconds; 400 where that is not a number from 0 to 10 000."""
    try:
        delay_ms = float(request.query.get("delay_ms", "0"))
    except ValueError:
        raise web.HTTPBadRequest(text="delay_ms takes a number") from None
    if not 0 <= delay_ms <= MAX_DELAY_MS:
        raise web.HTTPBadRequest(text=f"delay_ms takes 0 to {MAX_DELAY_MS}")
    await asyncio.sleep(delay_ms / 1_000)
    return web.Response(body=BODY)


def create_app() -> web.Application:
    """Return the upstream's application."""
    app = web.Application()
    app.router.add_get("/", answer)
    return app


async def serve() -> None:
    """Serve on a free loopback port until standard input ends."""
    runner = web.AppRunner(create_app(), access_log=None, keepalive_timeout=3_600)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1_024, shutdown_timeout=0.1)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)  # noqa: T201  the ready line
    await asyncio.to_thread(sys.stdin.buffer.read)
    await runner.cleanup()


if __name__ == "__main__":
    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        sys.exit(130)
