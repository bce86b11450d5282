from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gilscope.live import feed
from gilscope.live.feed import Feed
from gilscope.live.reading import NONE, LensTotals, Reading

FAST_S = 0.01
LIMIT_S = 60.0


class Source:
    """Counts one request per reading; ``gaps`` names readings, from 0, that there are not."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.reads = 0
        self.gaps: set[int] = set()
        self.lens: LensTotals | None = None
        self.fails = False

    async def open(self, changed: Callable[[], None]) -> None:
        self.events.append("open")
        self.changed = changed

    async def read(self) -> Reading | None:
        number, self.reads = self.reads, self.reads + 1
        if self.fails:
            raise ValueError("no reading")
        if number in self.gaps:
            return None
        answered = [number, *NONE[1:]]
        return Reading(float(number), {"threads": answered}, {}, {}, {}, lens=self.lens)

    async def close(self) -> None:
        self.events.append("close")

    def describe(self) -> Mapping[str, object]:
        return {"title": "source", "opened": self.events.count("open")}


class Viewer:
    """Reads events as a browser does."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> tuple[str, Any]:
        event = await self._line("event: ")
        data = await self._line("data: ")
        assert await self._line("") == ""
        return event, json.loads(data)

    async def _line(self, begin: str) -> str:
        async with asyncio.timeout(LIMIT_S):
            line = (await self.answer.content.readline()).decode()
        assert line.startswith(begin), line
        return line[len(begin) :].rstrip("\n")

    async def wanted(self, event: str) -> Any:  # noqa: ANN401
        while True:
            name, data = await self.next()
            if name == event:
                return data


Open = Callable[[Feed], Awaitable[TestClient[web.Request, web.Application]]]


@pytest.fixture
async def open_feed() -> AsyncIterator[Open]:
    clients = []

    async def open_(made: Feed) -> TestClient[web.Request, web.Application]:
        app = web.Application()
        app.router.add_get("/live", made.answer)

        async def stop(_app: web.Application) -> None:
            await made.stop()

        app.on_shutdown.append(stop)
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        return client

    yield open_
    for client in clients:
        await client.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not holds():  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.005)


async def test_a_viewer_is_told_everything_and_then_what_is_new(open_feed: Open) -> None:
    source = Source()
    client = await open_feed(Feed(source, FAST_S))
    async with client.get("/live") as answer:
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        viewer = Viewer(answer)
        assert await viewer.next() == ("hello", {"title": "source", "opened": 0, "history": []})
        assert await viewer.next() == ("hello", {"title": "source", "opened": 1, "history": []})
        event, first = await viewer.next()
        assert (event, first["t"], first["backends"]["threads"]["rps"]) == ("point", 1.0, 1.0)
        assert (await viewer.next())[1]["t"] == 2.0


async def test_what_a_lens_has_seen_is_told_to_who_looks_and_not_kept(open_feed: Open) -> None:
    source = Source()
    source.lens = LensTotals({"loop": {"on_cpu": 1.5}}, held={"loop": 0.5}, looks=200.0)
    client = await open_feed(Feed(source, FAST_S))
    async with client.get("/live") as answer:
        viewer = Viewer(answer)
        assert await viewer.wanted("lens") == {
            "states": {"loop": {"on_cpu": 1.5}},
            "inside": {},
            "held": {"loop": 0.5},
            "looks": 200.0,
            "cpu_s": 0.0,
        }
        source.changed()
        assert "looks" not in (await viewer.wanted("hello"))["history"][0]


async def test_what_the_source_has_to_say_later_on_is_told(open_feed: Open) -> None:
    source = Source()
    client = await open_feed(Feed(source, FAST_S))
    async with client.get("/live") as answer:
        viewer = Viewer(answer)
        await viewer.wanted("point")
        source.events.append("open")
        source.changed()
        hello = await viewer.wanted("hello")
        assert hello["opened"] == 2
        assert hello["history"][0]["t"] == 1.0


async def test_nothing_is_read_before_anybody_looks_and_after_everybody_left(open_feed: Open) -> None:
    source = Source()
    made = Feed(source, FAST_S, linger_s=FAST_S)
    client = await open_feed(made)
    await asyncio.sleep(5 * FAST_S)
    assert (source.reads, source.events) == (0, [])
    async with client.get("/live") as answer:
        await Viewer(answer).wanted("point")
    await until(lambda: source.events == ["open", "close"])
    assert made.viewers == 0
    read = source.reads
    await asyncio.sleep(5 * FAST_S)
    assert source.reads == read
    async with client.get("/live") as answer:
        hello = await Viewer(answer).wanted("hello")
        assert [point["t"] for point in hello["history"]] == [float(at) for at in range(1, read)]
        await until(lambda: source.events == ["open", "close", "open"])


async def test_a_page_that_is_loaded_again_finds_the_source_open(open_feed: Open) -> None:
    source = Source()
    client = await open_feed(Feed(source, FAST_S, linger_s=LIMIT_S))
    for _ in range(3):
        async with client.get("/live") as answer:
            await Viewer(answer).wanted("point")
    assert source.events == ["open"]


async def test_after_a_failure_viewers_are_let_go_and_come_back(
    open_feed: Open, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source()
    client = await open_feed(Feed(source, FAST_S))
    async with client.get("/live") as answer:
        await Viewer(answer).wanted("point")
        source.fails = True
        async with asyncio.timeout(LIMIT_S):
            await answer.read()  # to its end
    assert "no reading" in caplog.text
    source.fails = False
    async with client.get("/live") as answer:
        await Viewer(answer).wanted("point")
    assert source.events[:3] == ["open", "close", "open"]


async def test_a_gap_is_left_out_and_so_is_what_it_would_be_compared_with(open_feed: Open) -> None:
    source = Source()
    source.gaps = {2}
    client = await open_feed(Feed(source, FAST_S))
    async with client.get("/live") as answer:
        viewer = Viewer(answer)
        found = [(await viewer.wanted("point"))["t"] for _ in range(3)]
    assert found == [1.0, 4.0, 5.0]


async def test_all_viewers_see_the_same(open_feed: Open) -> None:
    made = Feed(Source(), FAST_S)
    client = await open_feed(made)
    async with client.get("/live") as one, client.get("/live") as other:
        await until(lambda: made.viewers == 2)
        made.tell("note", {"text": "line\nbreaks"})
        viewers = Viewer(one), Viewer(other)
        assert [await viewer.wanted("note") for viewer in viewers] == [{"text": "line\nbreaks"}] * 2
        first, second = [(await viewer.wanted("point")) for viewer in viewers]
        assert first == second


async def test_history_is_bounded(open_feed: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "KEPT", 3)
    client = await open_feed(Feed(Source(), FAST_S))
    async with client.get("/live") as answer:
        viewer = Viewer(answer)
        while (await viewer.wanted("point"))["t"] < 10:
            pass
    async with client.get("/live") as answer:
        hello = await Viewer(answer).wanted("hello")
        assert len(hello["history"]) == 3
        assert hello["history"][0]["t"] >= 8


async def test_a_viewer_too_many_is_asked_to_come_back(
    open_feed: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_VIEWERS", 1)
    client = await open_feed(Feed(Source(), FAST_S))
    async with client.get("/live") as first, client.get("/live") as second:
        assert (first.status, second.status) == (200, 503)
        assert second.headers["Retry-After"] == "5"


async def test_a_viewer_who_does_not_read_is_let_go_and_the_others_are_not(
    open_feed: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_WAITING", 3)
    made = Feed(Source(), every_s=LIMIT_S)
    client = await open_feed(made)
    async with client.get("/live") as answer:
        viewer = Viewer(answer)
        await viewer.wanted("hello")
        for number in range(5):  # all at once: its handler cannot have sent any of them
            made.tell("note", {"number": number})
        assert made.viewers == 0
        await viewer.wanted("hello")
        assert [(await viewer.next())[1]["number"] for _ in range(2)] == [0, 1]


async def test_stopping_ends_the_streams_and_closes_the_source(open_feed: Open) -> None:
    source = Source()
    made = Feed(source, FAST_S)
    client = await open_feed(made)
    async with client.get("/live") as answer:
        await Viewer(answer).wanted("point")
        await made.stop()
        await asyncio.wait_for(answer.read(), LIMIT_S)
    assert source.events == ["open", "close"]
    assert made.viewers == 0


async def test_stopping_what_nobody_saw() -> None:
    source = Source()
    await Feed(source).stop()
    assert source.events == []
