from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry, start_http_server

from gilscope.lens.exporter import LensCollector
from gilscope.live import lens
from gilscope.live.lens import totals_at

STATES = dict.fromkeys(("on_cpu", "gil_wait", "runqueue", "blocked"), 0.0)


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """Serve at the address that is given, but never an answer."""

    async def wait(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_get("/metrics", wait)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0.0)
    yield str(server.make_url("/metrics"))
    await server.close()


async def test_a_lens_tells_what_it_has_seen_until_it_ends() -> None:
    registry = CollectorRegistry()
    registry.register(LensCollector())
    server, thread = start_http_server(0, "127.0.0.1", registry)
    url = f"http://127.0.0.1:{server.server_port}/metrics"
    found = await totals_at(url)
    assert found is not None
    assert found.states == dict.fromkeys(("loop", "worker", "other"), STATES)
    assert found.cpu_s > 0
    await asyncio.to_thread(server.shutdown)
    server.server_close()
    thread.join()
    with pytest.raises(OSError, match="Connect call failed"):
        await totals_at(url)


async def test_a_lens_that_is_late_tells_nothing(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens, "ANSWER_S", 0.05)
    assert await totals_at(silent) is None
