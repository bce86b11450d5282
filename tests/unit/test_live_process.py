"""The process behind the page of a comparison, told what a comparison would tell it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gilscope.live.process import COMPARISON, Comparison, create_app
from gilscope.live.reading import LensTotals, point

Client = TestClient[web.Request, web.Application]
LENS = """
# TYPE gilscope_thread_state_seconds_total counter
gilscope_thread_state_seconds_total{role="loop",state="on_cpu"} 1.5
"""


@pytest.fixture
async def client(tmp_path: Path, aiohttp_client: Callable[[web.Application], Awaitable[Client]]) -> Client:
    (tmp_path / "flames").mkdir()
    for name in ("report.html", "flames/x.svg"):
        (tmp_path / name).write_text("source paths")
    return await aiohttp_client(create_app(tmp_path))


@pytest.mark.parametrize("path", ["/", "/live", "/report.html", "/flames/x.svg"])
@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example"])
async def test_a_page_of_another_site_under_a_name_that_points_here_is_turned_away(
    client: Client, path: str, host: str
) -> None:
    answer = await client.get(path, headers={"Host": host})
    assert answer.status == 403
    assert await answer.text() == f"this is for this machine alone, and '{host}' is another name"


@pytest.mark.parametrize("path", ["/", "/live", "/report.html", "/flames/x.svg"])
@pytest.mark.parametrize("host", ["localhost:8080", "[::1]"])
async def test_our_own_names_are_let_in(client: Client, path: str, host: str) -> None:
    async with client.get(path, headers={"Host": host}) as answer:
        assert answer.status == 200
        if path != "/live":
            await answer.read()  # aiohttp leaves a file to the collector if nobody does
            async with client.get("/nowhere") as after:  # over the same connection, which nothing has broken
                assert after.status == 404


async def test_nothing_is_said_of_a_python_before_a_service_runs(client: Client) -> None:
    assert client.app is not None
    comparison = client.app[COMPARISON]
    assert (comparison.known["python"], comparison.known["gil"]) == (None, None)
    comparison.learn("plan", {"title": "primes", "backends": ["threads"], "states": True, "no_states": None})
    assert (comparison.known["title"], comparison.known["python"]) == ("primes", None)
    comparison.learn("runs_on", {"python": "3.14.0", "gil": False})
    assert (comparison.describe()["python"], comparison.describe()["gil"]) == ("3.14.0", False)


@pytest.fixture
async def lens() -> AsyncIterator[TestServer]:
    async def expose(_request: web.Request) -> web.Response:
        return web.Response(text=LENS)

    app = web.Application()
    app.router.add_get("/metrics", expose)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


async def test_what_is_read_is_the_lens_on_the_service_that_is_up(lens: TestServer) -> None:
    comparison = Comparison()
    nobody = await comparison.read()
    assert nobody.lens is None
    comparison.learn("serves", {"lens_url": str(lens.make_url("/metrics"))})
    one = await comparison.read()
    assert one.lens == LensTotals({"loop": {"on_cpu": 1.5}})
    assert one.answered == {}, "that would take asking the service"
    assert point(nobody, one) is None, "another service"
    comparison.learn("serves", None)
    assert (await comparison.read()).lens is None
    comparison.learn("serves", {"lens_url": None})
    assert (await comparison.read()).lens is None


async def test_a_lens_that_is_not_there_is_no_reason_to_stop(lens: TestServer) -> None:
    comparison = Comparison()
    comparison.learn("serves", {"lens_url": str(lens.make_url("/metrics"))})
    await lens.close()
    before, after = await comparison.read(), await comparison.read()
    assert (before.lens, after.lens) == (None, None)
    assert point(before, after) is not None, "those who look see that time goes on"
