"""The live page in a real browser, fed by a stream that the test writes."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from browser import Page, chromium, find_chromium
from polling import PATIENCE_S
from requirements import require

from gilscope.flame.svg import Heading, render_svg
from gilscope.live.page import page as live_page
from gilscope.live.page import policy
from gilscope.model import BackendName, Folded
from gilscope.palette import BACKENDS, DARK_INK, DARK_PAPER, LIGHT_INK, STAGES, readable

pytestmark = pytest.mark.integration

NAMES = tuple(BackendName)
START_S = 1_800_000_000.0
BUSY = {"rps": 40.0, "failed": 0.0, "p50_ms": 20.0, "p99_ms": 60.0, "queued": 3, "active": 2}
IDLE = {"rps": 0.0, "failed": 0.0, "p50_ms": None, "p99_ms": None, "queued": 0, "active": 0}
SHARES = {"on_cpu": 0.2, "gil_wait": 0.4, "runqueue": 0.1, "blocked": 0.3}
EVIL = '<img src=x onerror="globalThis.hacked=1">&\'"</script><script>globalThis.hacked=1</script>'
JSON = {"Accept": "application/json"}


def point(at: float, names: Sequence[str] = NAMES, **figures: object) -> dict[str, Any]:
    """Make the point of a second: each backend twice as slow as the one before it, to tell the lines apart."""
    given = {
        name: {
            **BUSY,
            "p50_ms": 20.0 * 2**index,
            "p99_ms": 60.0 * 2**index,
            "rps": 40.0 + 30 * index,
            "queued": 3 + 5 * index,
        }
        for index, name in enumerate(names)
    }
    states = {"loop": SHARES, "worker": SHARES}
    made = {"t": START_S + at, "seconds": 1.0, "backends": given, "lag_p99_ms": 5.0, "states": states}
    return made | figures


def hello(history: Sequence[dict[str, Any]] = (), **said: object) -> dict[str, Any]:
    return {
        "title": "primes",
        "python": "3.13.0",
        "gil": True,
        "backends": list(NAMES),
        "captures": True,
        "no_captures": None,
        "states": True,
        "no_states": None,
        "history": list(history),
        "trials": [],
        "graphs": [],
        "note": None,
        "report": None,
        **said,
    }


HISTORY = [point(at) for at in range(50)]


class Service:
    """Serves the page, the stream that the test writes, and profiles that it made up."""

    def __init__(self) -> None:
        self.greeting = hello(HISTORY)
        self.connections = 0
        self.is_refusing = False
        self.refused = asyncio.Event()
        self.captures = True
        self.comparison = False
        self.begun: tuple[int, object] = (202, {"id": "p1", "state": "running"})
        self.profiles: list[dict[str, Any]] = []
        self.orders: list[tuple[str, Any]] = []
        self.graphs: dict[str, str] = {}
        self._streams: list[tuple[web.StreamResponse, asyncio.Event]] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/live", self._live),
                web.get("/workloads", self._workloads),
                web.post("/profiles", self._begin),
                web.get("/profiles/{id}", self._profile),
                web.get("/profiles/{id}/flamegraph.svg", self._graph),
                web.get("/flames/{name}", self._graph),
                web.get("/report.html", self._report),
            ]
        )
        return app

    async def say(self, name: str, data: object) -> None:
        for stream, _ in self._streams:
            await stream.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())

    def drop(self) -> None:
        for _, over in self._streams:
            over.set()
        self._streams.clear()

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(
            text=live_page(title=self.greeting["title"], captures=self.captures, comparison=self.comparison),
            content_type="text/html",
            headers={"Content-Security-Policy": policy()},
        )

    async def _live(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if self.is_refusing:
            self.refused.set()
            return web.Response(status=503)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b"retry: 50\n\n")
        over = asyncio.Event()
        self._streams.append((stream, over))
        await stream.write(f"event: hello\ndata: {json.dumps(self.greeting)}\n\n".encode())
        await over.wait()
        return stream

    async def _report(self, _request: web.Request) -> web.Response:
        return web.Response(text="<body>the report</body>", content_type="text/html")

    async def _workloads(self, _request: web.Request) -> web.Response:
        return web.json_response([{"name": "it's mine"}, {"name": "noop"}])

    async def _begin(self, request: web.Request) -> web.Response:
        self.orders.append((request.content_type, await request.json()))
        status, body = self.begun
        type_ = "application/json" if status == 202 else "application/problem+json"
        return web.Response(text=json.dumps(body), status=status, content_type=type_)

    async def _profile(self, request: web.Request) -> web.Response:
        assert request.headers["Accept"] == "application/json"
        profile = self.profiles.pop(0) if len(self.profiles) > 1 else self.profiles[0]
        return web.json_response(profile)

    async def _graph(self, request: web.Request) -> web.Response:
        name = request.query.get("kind") or request.match_info["name"]
        return web.Response(text=self.graphs[name], content_type="image/svg+xml")


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[str]:
    server = TestServer(service.app())
    await server.start_server()
    try:
        yield str(server.make_url("/"))
    finally:
        service.drop()
        await server.close()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    path = find_chromium()
    require(path, "there is no chromium")
    assert path is not None
    async with chromium(path) as opened:
        yield opened


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def url(service: Service) -> AsyncIterator[str]:
    async with serving(service) as address:
        yield address


async def until(page: Page, script: str) -> None:
    """Wait until a JavaScript expression is true."""
    end = time.monotonic() + PATIENCE_S
    while not await page.evaluate(f"Boolean({script})"):
        assert time.monotonic() < end, (script, await page.evaluate("document.body.innerText"))
        await asyncio.sleep(0.05)


async def shown(page: Page, url: str, **how: Any) -> None:  # noqa: ANN401
    await page.open(url, **how)
    await until(page, "!document.getElementById('live').hidden")
    await settled(page)


async def settled(page: Page) -> None:
    """Wait until what was said is on the canvas."""
    await page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    )


def is_quiet_and_alone(page: Page, url: str) -> None:
    assert page.complaints == []
    assert {address for address in page.requests if not address.startswith((url, "data:,"))} == set()


PLOT = "liveCharts.plots[{chart}]"
PIXELS = (
    "(() => { const copy = new OffscreenCanvas(plot.ctx.canvas.width, plot.ctx.canvas.height)"
    ".getContext('2d', { willReadFrequently: true }); copy.drawImage(plot.ctx.canvas, 0, 0); return copy })()"
)
"""A copy to read from: Chromium complains of those who read the one that is drawn on."""
LATENCY, RATE, QUEUE, LAG, LOOP, WORKER = range(6)


async def pixel(page: Page, chart: int, at: float, value: float) -> str:
    """Return the colour of a chart at a moment and a value, as ``#RRGGBB``; empty where nothing is drawn."""
    plot = PLOT.format(chart=chart)
    found = await page.evaluate(
        f"(() => {{ const plot = {plot};"
        f" const x = Math.round(plot.valToPos({START_S + at}, 'x', true));"
        f" const y = Math.round(plot.valToPos({value}, 'y', true));"
        f" return [...{PIXELS}.getImageData(x, y, 1, 1).data] }})()"
    )
    return "" if found[3] < 255 else "#" + "".join(f"{channel:02X}" for channel in found[:3])


async def colours(page: Page, chart: int, start: float, end: float) -> set[str]:
    """Return all colours that a chart has between two moments, without those of its grid and of rounded edges."""
    plot = PLOT.format(chart=chart)
    found = await page.evaluate(
        f"(() => {{ const plot = {plot}, {{ top, height }} = plot.bbox, seen = new Map();"
        f" const [from, to] = [{START_S + start}, {START_S + end}].map(t => Math.round(plot.valToPos(t, 'x', true)));"
        f" const {{ data }} = {PIXELS}.getImageData(from, top, Math.max(1, to - from), height);"
        " for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) {"
        " const one = data.slice(at, at + 3).join(); seen.set(one, (seen.get(one) || 0) + 1) }"
        " return [...seen].filter(([, times]) => times > 3).map(([one]) => one) })()"
    )
    return {"#" + "".join(f"{int(channel):02X}" for channel in one.split(",")) for one in found}


def marks(*, dark: bool) -> set[str]:
    return {readable(colour, DARK_PAPER) if dark else colour for colour in BACKENDS.values()}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 400])
async def test_every_chart_is_drawn(
    page: Page,
    url: str,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    await shown(page, url, width=width, dark=dark)
    assert await page.evaluate("liveCharts.plots.length") == 6
    for chart in (LATENCY, RATE, QUEUE):
        assert await colours(page, chart, 2, 48) >= marks(dark=dark)
    assert (DARK_INK if dark else LIGHT_INK) in await colours(page, LAG, 2, 48)
    states = {
        STAGES[key].dark if dark else STAGES[key].light for key in ("cpu", "gil_wait", "runqueue", "blocked")
    }
    for chart in (LOOP, WORKER):
        assert await colours(page, chart, 2, 48) >= states
    assert await page.evaluate("document.querySelectorAll('figure.empty').length") == 0
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(int(part) for part in re.findall(r"\d+", background)) < 80) is dark
    is_quiet_and_alone(page, url)


async def test_the_slow_line_is_bold_and_the_median_thin(page: Page, url: str) -> None:
    await shown(page, url)
    assert await page.evaluate("liveCharts.plots[0].series.slice(1).map(one => one.width)") == pytest.approx(
        [1.1] * 4 + [2.4] * 4
    )
    assert await page.evaluate(
        "liveCharts.plots[0].data.slice(1).map(values => values.at(-1))"
    ) == [20, 40, 80, 160, 60, 120, 240, 480]  # fmt: skip


async def test_states_are_stacked_to_a_whole(page: Page, url: str) -> None:
    await shown(page, url)
    for chart in (LOOP, WORKER):
        assert [await pixel(page, chart, 25, value) for value in (0.1, 0.5, 0.65, 0.85)] == [
            STAGES["cpu"].light,
            STAGES["gil_wait"].light,
            STAGES["runqueue"].light,
            STAGES["blocked"].light,
        ]
        edges = await page.evaluate(f"liveCharts.plots[{chart}].data.slice(1).map(values => values.at(-1))")
        assert edges == pytest.approx([0.2, 0.6, 0.7, 1.0])
        assert await page.evaluate(
            f"[liveCharts.plots[{chart}].scales.y.min, liveCharts.plots[{chart}].scales.y.max]"
        ) == [0, 1]  # fmt: skip


async def test_a_gap_stays_a_gap(page: Page, service: Service, url: str) -> None:
    service.greeting = hello([point(at) for at in (*range(20), *range(30, 50))])
    await shown(page, url)
    for chart in range(6):
        assert await colours(page, chart, 10, 18)
        assert await colours(page, chart, 32, 48)
        drawn = marks(dark=False) | {
            LIGHT_INK,
            *(STAGES[key].light for key in ("cpu", "gil_wait", "blocked")),
        }
        assert await colours(page, chart, 20, 29) & drawn == set()


async def test_a_gap_appears_when_the_next_point_is_late(page: Page, service: Service, url: str) -> None:
    await shown(page, url)
    await service.say("point", point(51.9))
    await service.say("point", point(55.5))
    await service.say("point", point(56.5))
    await until(page, f"liveCharts.plots[0].data[0].at(-1) === {START_S + 56.5}")
    await settled(page)
    orange = BACKENDS[BackendName.THREADS]
    assert orange in await colours(page, LATENCY, 49.5, 51.5)
    assert orange not in await colours(page, LATENCY, 52.5, 55)
    assert orange in await colours(page, LATENCY, 55.6, 56.4)


async def test_seconds_without_a_request_are_bridged_until_they_are_a_gap(
    page: Page, service: Service, url: str
) -> None:
    silent = (*range(10, 12), *range(30, 35))
    service.greeting = hello(
        [point(at) | ({"backends": {"threads": IDLE}} if at in silent else {}) for at in range(50)]
    )
    await shown(page, url)
    orange = BACKENDS[BackendName.THREADS]
    assert orange in await colours(page, LATENCY, 9.5, 11.5)
    assert orange not in await colours(page, LATENCY, 30, 34)


async def test_the_table_tells_the_last_second(page: Page, service: Service, url: str) -> None:
    await shown(page, url)
    rows = (
        "[...document.querySelectorAll('#now tr')].map(row => [...row.children].map(one => one.textContent))"
    )
    assert (await page.evaluate(rows))[:2] == [
        ["asyncio", "40", "20", "60", "0", "3", "2"],
        ["threads", "70", "40", "120", "0", "8", "2"],
    ]
    assert await page.evaluate("document.querySelectorAll('#now th[scope=row]').length") == 4
    threads = {**BUSY, "rps": 1234.4, "failed": 0.5, "p50_ms": 0.254, "p99_ms": 1234.0}
    await service.say("point", point(50, backends={"threads": threads, "asyncio": IDLE}))
    await until(page, f"({rows})[1][1] === '1,234'")
    found = await page.evaluate(rows)
    assert found[1] == ["threads", "1,234", "0.25", "1,200", "0.5", "3", "2"]
    # What the last second does not know is from before, and grey.
    assert found[0] == ["asyncio", "0", "20", "60", "0", "0", "0"]
    assert await page.evaluate(
        "[...document.querySelectorAll('#now tr')[0].children].map(one => one.classList.contains('old'))"
    ) == [False, False, True, True, False, False, False]  # fmt: skip
    await service.say("point", point(75, backends={"asyncio": IDLE}))
    await until(page, f"({rows})[0][2] === '\\u2013'")


async def test_the_cursor_tells_its_moment_in_all_charts_and_moves_nothing(
    page: Page, service: Service, url: str
) -> None:
    service.greeting = hello([point(at, lag_p99_ms=1.0 + at) for at in range(50)])
    await shown(page, url)
    lag = "document.querySelector('[data-chart=lag] .legend b').textContent"
    height = "document.documentElement.scrollHeight"
    assert await page.evaluate(lag) == "50 ms"
    before = await page.evaluate(height)
    x, y = await page.evaluate(
        "(() => { const over = liveCharts.plots[0].over; over.scrollIntoView({ block: 'center' });"
        " const edges = over.getBoundingClientRect();"
        f" return [edges.left + liveCharts.plots[0].valToPos({START_S + 20}, 'x'), edges.top + 30] }})()"
    )
    await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    await until(page, f"{lag} === '21 ms'")
    moments = await page.evaluate(
        "[...document.querySelectorAll('figcaption time')].map(one => one.textContent)"
    )
    assert len(moments) == 6
    assert len(set(moments)) == 1
    assert re.fullmatch(r"\d\d:\d\d:\d\d", moments[0])
    assert await page.evaluate(height) == before
    await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    await until(page, f"{lag} === '50 ms'")
    is_quiet_and_alone(page, url)


async def test_points_move_the_window_and_the_oldest_go(page: Page, service: Service, url: str) -> None:
    service.greeting = hello([point(at) for at in range(300)])
    await shown(page, url)
    await service.say("point", point(300))
    await service.say("point", point(301))
    await until(page, f"liveCharts.plots[0].data[0].at(-1) === {START_S + 301}")
    assert await page.evaluate("liveCharts.plots[0].data[0][0]") == START_S + 1
    assert await page.evaluate(
        "[liveCharts.plots[0].scales.x.min, liveCharts.plots[0].scales.x.max]"
    ) == [START_S + 1, START_S + 301]  # fmt: skip


async def test_a_stream_that_ends_is_taken_up_again_and_replaces_everything(
    page: Page, service: Service, url: str
) -> None:
    service.greeting = hello(HISTORY, trials=[{"text": "[1/2] one", "backend": "threads", "valid": True}])
    await shown(page, url)
    service.greeting = hello(
        [point(at, ("threads",)) for at in range(100, 110)], title="other", backends=["threads"], gil=False
    )
    service.drop()
    await until(page, "document.querySelector('h1').textContent === 'other'")
    assert service.connections == 2
    assert await page.evaluate("document.title") == "gilscope: other"
    assert await page.evaluate("document.getElementById('gil').textContent") == "GIL off"
    assert await page.evaluate("document.querySelectorAll('#now tr').length") == 1
    assert await page.evaluate("document.querySelectorAll('.uplot').length") == 6
    assert await page.evaluate("document.querySelectorAll('figcaption time').length") == 6
    assert await page.evaluate("liveCharts.plots[0].data.length") == 3
    assert await page.evaluate("liveCharts.plots[0].data[0][0]") == START_S + 100
    assert await page.evaluate("document.getElementById('trials').hidden")
    assert await page.evaluate("document.getElementById('state').textContent") == "live"
    is_quiet_and_alone(page, url)


async def test_a_service_that_refuses_is_asked_again(page: Page, service: Service, url: str) -> None:
    await shown(page, url)
    service.is_refusing = True
    service.drop()
    state = "document.getElementById('state').textContent"
    await until(page, f"{state} === 'the service does not answer, trying again'")
    await service.refused.wait()
    service.is_refusing = False
    await until(page, f"{state} === 'live'")
    assert service.connections == 3


async def test_silence_is_told(page: Page, service: Service, url: str) -> None:
    await shown(page, url)
    said = "document.getElementById('connection').textContent"
    assert await page.evaluate(said) == "live"
    await until(page, f"/^late by [4-9] s$/.test({said})")
    await service.say("point", point(60))
    await until(page, f"{said} === 'live'")


async def test_the_end_is_the_end(page: Page, service: Service, url: str) -> None:
    await shown(page, url)
    await service.say("end", {"report": None})
    await until(page, "document.getElementById('state').textContent === 'ended'")
    service.drop()
    await asyncio.sleep(0.6)
    assert service.connections == 1
    assert await page.evaluate("document.getElementById('state').textContent") == "ended"
    assert await page.evaluate("document.getElementById('report').hidden")
    is_quiet_and_alone(page, url)


async def test_at_the_end_the_page_becomes_the_report(page: Page, service: Service, url: str) -> None:
    await shown(page, url)
    await service.say("end", {"report": "/report.html"})
    await until(page, "location.pathname === '/report.html' && document.body?.textContent === 'the report'")


async def test_names_stay_text(page: Page, service: Service, url: str) -> None:
    service.graphs["evil.svg"] = graph_of("f")
    service.greeting = hello(
        [point(at, (EVIL,)) for at in range(5)],
        title=EVIL,
        backends=[EVIL],
        python=EVIL,
        note=EVIL,
        trials=[{"text": EVIL, "backend": EVIL, "valid": False}],
        graphs=[
            {"url": "/flames/evil.svg", "title": EVIL},
            {"url": "javascript:globalThis.hacked=1", "title": "script"},
            {"url": "https://example.org/a.svg", "title": "elsewhere"},
        ],
        report="javascript:globalThis.hacked=1",
        states=False,
        no_states=EVIL,
        captures=False,
        no_captures=EVIL,
    )
    await shown(page, url)
    places = (
        "h1",
        "#note",
        "#now th",
        "#ended span",
        "#drawn figcaption a",
        ".legend span",
        "#no-states",
        "#no-captures",
    )
    for place in places:
        assert await page.evaluate(f"document.querySelector({place!r}).textContent") == EVIL, place
    assert await page.evaluate("document.querySelectorAll('#drawn figure').length") == 1
    assert await page.evaluate("document.getElementById('report').hidden")
    assert await page.evaluate("document.querySelector('[onerror]') === null")
    assert await page.evaluate("globalThis.hacked === undefined")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    is_quiet_and_alone(page, url)


async def test_before_the_first_request_it_says_what_to_do(page: Page, service: Service, url: str) -> None:
    idle = [point(at, backends=dict.fromkeys(NAMES, IDLE)) for at in range(5)]
    service.greeting = hello(idle)
    await shown(page, url)
    await until(page, "document.getElementById('curl').textContent")
    host = url.rstrip("/")
    assert await page.evaluate("document.getElementById('curl').innerText") == (
        f"curl {host}/work/it%27s%20mine/threads"
    )
    assert await page.evaluate("document.getElementById('locust').innerText") == (
        f"locust -f loadtests/locustfile.py --host {host}"
    )
    empty = "[...document.querySelectorAll('figure.empty')].map(one => one.dataset.chart)"
    assert await page.evaluate(empty) == ["latency"]
    await service.say("point", idle[0] | {"t": START_S + 5})
    await until(page, f"liveCharts.plots[0].data[0].at(-1) === {START_S + 5}")
    assert await page.evaluate("document.getElementById('idle').checkVisibility()")
    await service.say("point", point(6))
    await until(page, "!document.getElementById('idle').checkVisibility()")
    assert await page.evaluate(empty) == []
    is_quiet_and_alone(page, url)


async def test_without_the_lens_it_says_why(page: Page, service: Service, url: str) -> None:
    service.greeting = hello(
        [point(at, states=None) for at in range(9)], states=False, no_states="The lens is off."
    )
    await shown(page, url)
    assert await page.evaluate("liveCharts.plots.length") == 4
    assert await page.evaluate("document.querySelector('[data-chart=loop]').checkVisibility()") is False
    assert await page.evaluate("document.getElementById('no-states').innerText") == "The lens is off."
    is_quiet_and_alone(page, url)


@pytest.fixture
def comparison(service: Service) -> Service:
    """Have the service be one that shows a comparison which has just begun."""
    service.captures, service.comparison = False, True
    service.greeting = hello(captures=False, python=None, gil=None)
    return service


def ended(backend: str, begun: float, **figures: object) -> dict[str, Any]:
    """Make a trial of four seconds that is over."""
    window = {"begun": START_S + begun, "seconds": 4.0, "rps": 40.0, "failed": 0.0}
    given = {**window, "p50_ms": 20.0, "p99_ms": 60.0, "ping_p99_ms": 5.0, **figures}
    text = f"[1/2] {backend}"
    return {"text": text, "workload": "primes", "backend": backend, "valid": True, "figures": given}


def seen(at: float, states: object = None) -> dict[str, Any]:
    """Make the point of a second of a comparison: nothing but what the lens saw."""
    return {"t": START_S + at, "seconds": 1.0, "backends": {}, "lag_p99_ms": None, "states": states}


TRIALS_LATENCY, TRIALS_RATE, TRIALS_PING, TRIALS_LOOP, TRIALS_WORKER = range(5)
ROWS = "[...document.querySelectorAll('#now tr')].map(row => [...row.children].map(one => one.textContent))"


async def test_a_trials_figures_are_drawn_over_its_window_once_it_is_over(
    page: Page, comparison: Service, url: str
) -> None:
    await shown(page, url)
    assert await page.evaluate("liveCharts.plots.length") == 5
    assert not await page.evaluate("document.getElementById('idle').checkVisibility()")
    assert (await page.evaluate(ROWS))[1] == ["threads", *"\u2013" * 5]
    for second in range(10):
        states = {"loop": SHARES, "worker": SHARES} if 2 <= second <= 6 else None
        await comparison.say("point", seen(second, states))
    await comparison.say("trial", ended("threads", 2.5))
    await until(page, f"({ROWS})[1][1] === '40'")
    await settled(page)
    assert (await page.evaluate(ROWS))[1] == ["threads", "40", "20", "60", "0", "5.0"]
    orange = BACKENDS[BackendName.THREADS]
    for chart in (TRIALS_LATENCY, TRIALS_RATE, TRIALS_PING):
        assert orange in await colours(page, chart, 2.6, 6.4)
        assert orange not in await colours(page, chart, 0, 2.4)
        assert orange not in await colours(page, chart, 6.6, 9)
    for value in (20.0, 60.0):
        assert await pixel(page, TRIALS_LATENCY, 4.5, value) == orange
    for chart in (TRIALS_LOOP, TRIALS_WORKER):
        assert STAGES["gil_wait"].light in await colours(page, chart, 2.1, 5.9)
    legend = "document.querySelector('[data-chart=latency] [data-key=threads] b')"
    assert await page.evaluate(f"[{legend}.textContent, {legend}.className]") == [
        "p99 60 \u00b7 p50 20",
        "old",
    ]
    is_quiet_and_alone(page, url)


async def test_each_backends_last_trial_stays_in_the_table(page: Page, comparison: Service, url: str) -> None:
    await shown(page, url)
    await comparison.say("trial", ended("threads", 0))
    await comparison.say("trial", ended("threads", 30, rps=50.0, ping_p99_ms=None))
    await comparison.say("trial", {**ended("asyncio", 60, rps=7.0), "valid": False})
    await comparison.say("trial", {"text": "it died", "backend": "threads", "valid": False, "figures": None})
    await comparison.say("point", seen(1000))
    await until(page, f"liveCharts.plots[0].data[0].at(-1) === {START_S + 1000}")
    assert (await page.evaluate(ROWS))[:2] == [
        ["asyncio", "7.0", "20", "60", "0", "5.0"],
        ["threads", "50", "20", "60", "0", "\u2013"],
    ]
    assert await page.evaluate(
        "[...document.querySelectorAll('#now tr')].map(row => row.querySelectorAll('td.old').length)"
    ) == [5, 0, 0, 0]  # fmt: skip
    assert await page.evaluate("liveCharts.plots[0].data[0].length") == 1, "the trials were too long ago"
    is_quiet_and_alone(page, url)


async def test_the_table_has_trials_of_one_workload(page: Page, comparison: Service, url: str) -> None:
    await shown(page, url)
    of = "document.getElementById('workload').textContent"
    await comparison.say("trial", ended("threads", 0))
    await comparison.say("trial", ended("asyncio", 10))
    await until(page, f"{of} === ' of primes'")
    assert [row[1] for row in await page.evaluate(ROWS)] == ["40", "40", "\u2013", "\u2013"]
    await comparison.say("trial", {**ended("threads", 20), "workload": "noop"})
    await until(page, f"{of} === ' of noop'")
    assert [row[1] for row in await page.evaluate(ROWS)] == ["\u2013", "40", "\u2013", "\u2013"]


async def test_who_comes_later_sees_the_trials_that_are_over(
    page: Page, comparison: Service, url: str
) -> None:
    comparison.greeting = hello([seen(9)], captures=False, trials=[ended("threads", 2)])
    await shown(page, url)
    assert (await page.evaluate(ROWS))[1][1:3] == ["40", "20"]
    assert BACKENDS[BackendName.THREADS] in await colours(page, TRIALS_RATE, 2.1, 5.9)
    comparison.greeting["title"] = "again"
    comparison.drop()
    await until(page, "document.querySelector('h1').textContent === 'again'")
    assert await page.evaluate("liveCharts.plots[0].data[0].length") == 6, "five of the window and one"


async def test_nothing_is_said_of_a_python_that_is_not_known(
    page: Page, comparison: Service, url: str
) -> None:
    await shown(page, url)
    said = "['python', 'gil'].map(id => document.getElementById(id)).map(one => one.checkVisibility() && one.textContent)"
    assert await page.evaluate(said) == [False, False]
    await comparison.say("runs_on", {"python": "3.14.2", "gil": False})
    await until(page, f"({said})[0] === 'Python 3.14.2'")
    assert await page.evaluate(said) == ["Python 3.14.2", "GIL off"]


@pytest.mark.parametrize("width", [1400, 500])
async def test_a_comparison_says_nothing_of_what_only_a_service_has(
    page: Page, comparison: Service, url: str, width: int
) -> None:
    comparison.greeting = hello([seen(9)], captures=False, trials=[ended("threads", 2)])
    await shown(page, url, width=width)
    text = await page.evaluate("document.body.innerText")
    assert "A trial's figures come after its window" in text
    assert "The last second" not in text
    assert "curl" not in text
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not [address for address in page.requests if "/workloads" in address]
    is_quiet_and_alone(page, url)


async def test_a_comparison_is_followed(page: Page, service: Service, comparison: Service, url: str) -> None:
    comparison.greeting = hello(captures=False, no_captures="They come at the end.")
    await shown(page, url)
    assert await page.evaluate("document.getElementById('captures').checkVisibility()")
    for section in ("progress", "trials", "flames"):
        assert not await page.evaluate(f"document.getElementById('{section}').checkVisibility()")
    service.graphs["one.svg"] = graph_of("f")
    await service.say("note", {"text": "block 1 of 3"})
    await service.say("trial", {**ended("threads", 0), "text": "[1/2] one"})
    await service.say("trial", {"text": "[2/2] two", "backend": "asyncio", "valid": False, "figures": None})
    await service.say("graph", {"url": "/flames/one.svg", "title": "primes threads waiting"})
    await until(page, "document.querySelector('#drawn img')?.complete")
    assert await page.evaluate("document.getElementById('progress').innerText") == "block 1 of 3"
    assert await page.evaluate(
        "[...document.querySelectorAll('#ended li')].map(one => [one.className, one.innerText])"
    ) == [["b-asyncio invalid", "[2/2] two not valid"], ["b-threads", "[1/2] one"]]  # fmt: skip
    assert await page.evaluate("document.querySelector('#drawn img').getBoundingClientRect().height > 100")
    assert await page.evaluate("document.querySelector('#drawn a').href") == f"{url}flames/one.svg"
    assert not await page.evaluate("document.getElementById('captures').checkVisibility()")
    is_quiet_and_alone(page, url)


async def test_charts_follow_the_window_and_light_and_dark(page: Page, url: str) -> None:
    await shown(page, url)
    wide = await page.evaluate("liveCharts.plots[0].width")
    await page.call(
        "Emulation.setDeviceMetricsOverride", width=700, height=900, deviceScaleFactor=1, mobile=False
    )
    await until(page, f"liveCharts.plots[0].width < {wide / 1.8}")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert LIGHT_INK in await colours(page, LAG, 5, 45)
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    await page.call("Emulation.setEmulatedMedia", features=[dark])
    await settled(page)
    assert DARK_INK in await colours(page, LAG, 5, 45)
    assert await colours(page, LATENCY, 5, 45) >= marks(dark=True)
    is_quiet_and_alone(page, url)


async def test_without_javascript_it_says_where_to_look(page: Page, url: str) -> None:
    await page.call("Emulation.setScriptExecutionDisabled", value=True)
    await page.open(url)
    document = await page.call("DOM.getDocument")
    found = await page.call("DOM.querySelector", nodeId=document["root"]["nodeId"], selector="noscript p a")
    html = await page.call("DOM.getOuterHTML", nodeId=found["nodeId"])
    assert html["outerHTML"] == '<a href="/workloads">/workloads</a>'
    box = await page.call("DOM.getBoxModel", nodeId=found["nodeId"])
    assert box["model"]["height"] > 0
    is_quiet_and_alone(page, url)


# --- Flame graphs on request


def graph_of(name: str) -> str:
    stacks: Folded = {("run (a.py:1)", f"{name} (b.py:2)"): 3.0, ("run (a.py:1)", "other (c.py:3)"): 1.0}
    return render_svg(stacks, Heading("primes"))


def profile(state: str, **said: object) -> dict[str, Any]:
    return {"id": "p1", "state": state, "error": None, "remedy": None, "graphs": {}, **said}


async def order(page: Page, **fields: object) -> None:
    values = {"seconds": 1, **fields}
    await page.evaluate(
        f"(() => {{ const form = document.getElementById('capture');"
        f" for (const [name, value] of Object.entries({json.dumps(values)})) form.elements[name].value = value;"
        " form.querySelector('button').click() })()"
    )


async def test_a_flame_graph_is_captured_and_shown(page: Page, service: Service, url: str) -> None:
    samples = {"waiting": {"samples": 9}, "holding": {"samples": 9}, "wall": {"samples": 9}}
    service.profiles = [profile("running"), profile("done", graphs=samples)]
    service.graphs = {"waiting": graph_of("<b>mine</b>"), "holding": graph_of("held")}
    await shown(page, url)
    await page.evaluate(
        "(() => { window.told = []; const left = document.getElementById('left');"
        " const button = document.querySelector('#capture button');"
        " new MutationObserver(() => told.push([left.textContent, button.disabled]))"
        ".observe(left, { childList: true }) })()"
    )
    await order(page, rate=50)
    await until(page, "document.querySelectorAll('#taken svg.flame.live').length === 2")
    told = await page.evaluate("told")
    assert (told[0], told[-1]) == (["Capturing: 1 s left", True], ["Drawing", True])
    assert service.orders == [("application/json", {"kind": "waiting", "seconds": 1, "rate": 50})]
    assert not await page.evaluate("document.getElementById('running').checkVisibility()")
    assert not await page.evaluate("document.querySelector('#capture button').disabled")
    # Whose work waited stands beside whose code held the GIL.
    waiting, holding = await page.evaluate(
        "[...document.querySelectorAll('#taken section')].map(one => { const { left, top } ="
        " one.getBoundingClientRect(); return [one.dataset.kind, left, top] })"
    )
    assert (waiting[0], holding[0]) == ("waiting", "holding")
    assert waiting[1] < holding[1]
    assert waiting[2] == holding[2]
    assert await page.evaluate("document.querySelector('#taken > p a').href") == f"{url}profiles/p1"
    # It reacts, and is drawn in the colours that its file would have.
    graph = "document.querySelector('#taken svg.flame')"
    box = f"[...{graph}.querySelectorAll('.boxes > svg')].find(one => one.textContent.includes('mine'))"
    assert "<b>mine</b>" in await page.evaluate(f"{box}.textContent")
    await page.evaluate(f"{box}.dispatchEvent(new MouseEvent('click', {{ bubbles: true }}))")
    assert (
        await page.evaluate(f"{graph}.querySelector('.status').textContent")
        == "75.0 % zoomed \u00b7 Esc resets"
    )
    await page.evaluate(
        f"(() => {{ const input = {graph}.querySelector('input'); input.value = 'other';"
        " input.dispatchEvent(new Event('input')) })()"
    )
    assert "25.0 % matched" in await page.evaluate(f"{graph}.querySelector('.status').textContent")
    fill = f"getComputedStyle({box}.querySelector('rect')).fill"
    assert await page.evaluate(fill) != "rgb(0, 0, 0)"
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    is_quiet_and_alone(page, url)


async def test_nothing_of_a_graph_acts(page: Page, service: Service, url: str) -> None:
    """Not even what the page's own policy would let run."""
    evil = (
        "<script>globalThis.hacked = 1</script>"
        '<g onclick="globalThis.hacked = 2"><text>harmless</text></g>'
        '<a href="javascript:globalThis.hacked = 3"><text>link</text></a>'
        '<image href="https://example.org/a.png" width="9" height="9"/>'
        "<style>body { display: none }</style>"
        '<foreignObject width="9" height="9"><img xmlns="http://www.w3.org/1999/xhtml" src="x" onerror="hacked = 4"/>'
        "</foreignObject>"
    )
    made = graph_of("mine")
    head, _, tail = made.partition('<text class="title"')
    viewer = re.search(r"<script>.*</script>", made, re.DOTALL)
    assert viewer is not None
    service.graphs = {"wall": f'{head}{evil}{viewer[0]}<text class="title"{tail}'}
    service.profiles = [profile("done", graphs={"wall": {"samples": 9}})]
    await shown(page, url)
    await order(page, kind="wall")
    await until(page, "document.querySelectorAll('#taken svg.flame.live').length === 1")
    graph = "document.querySelector('#taken svg.flame')"
    await page.evaluate(
        f"{graph}.querySelectorAll('g, text').forEach(one => one.dispatchEvent(new MouseEvent('click')))"
    )
    kinds = set(await page.evaluate(f"[...{graph}.querySelectorAll('*')].map(one => one.localName)"))
    assert kinds & {"script", "style", "a", "image", "img"} == set()
    assert await page.evaluate(f"[...{graph}.querySelectorAll('[onclick], [onerror], [href]')].length") == 0
    assert await page.evaluate(f"{graph}.textContent.includes('harmless')")
    assert await page.evaluate("globalThis.hacked === undefined")
    assert await page.evaluate("document.querySelector('h1').checkVisibility()")
    # The parser tells of handlers that it would not run; nothing else happens.
    assert all("Executing inline event handler violates" in complaint for complaint in page.complaints)
    assert all(address.startswith((url, "data:,")) for address in page.requests)


async def test_where_nobody_waited_it_says_so(page: Page, service: Service, url: str) -> None:
    service.graphs = {"holding": graph_of("held")}
    samples = {"waiting": {"samples": 0}, "holding": {"samples": 9}}
    service.profiles = [profile("done", graphs=samples)]
    await shown(page, url, width=400)
    await order(page)
    await until(page, "document.querySelectorAll('#taken svg.flame.live').length === 1")
    assert "No thread was seen waiting for the GIL." in await page.evaluate(
        "document.getElementById('taken').innerText"
    )
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    is_quiet_and_alone(page, url)


async def test_a_capture_that_failed_says_why(page: Page, service: Service, url: str) -> None:
    service.profiles = [profile("failed", error=f"py-spy may not: {EVIL}", remedy="cap_add: [SYS_PTRACE]")]
    await shown(page, url)
    await order(page)
    said = "document.getElementById('said')"
    await until(page, f"{said}.classList.contains('error')")
    assert await page.evaluate(f"{said}.textContent") == f"py-spy may not: {EVIL}\ncap_add: [SYS_PTRACE]"
    assert not await page.evaluate("document.querySelector('#capture button').disabled")
    assert not await page.evaluate("document.getElementById('running').checkVisibility()")
    is_quiet_and_alone(page, url)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            409,
            {"detail": "another is being captured", "running": "/profiles/p0"},
            "another is being captured See it.",
        ),
        (501, {"detail": "py-spy is not installed"}, "py-spy is not installed"),
        (400, {"detail": "seconds is 1 to 60"}, "seconds is 1 to 60"),
        (502, [], "The service answered 502."),
    ],
)
async def test_a_refusal_is_told_in_the_services_words(
    page: Page, service: Service, url: str, status: int, body: object, words: str
) -> None:  # fmt: skip
    service.begun = (status, body)
    await shown(page, url)
    await order(page)
    said = "document.getElementById('said')"
    await until(page, f"{said}.classList.contains('error')")
    assert await page.evaluate(f"{said}.innerText") == words
    links = await page.evaluate(f"[...{said}.querySelectorAll('a')].map(one => one.href)")
    assert links == ([f"{url}profiles/p0"] if status == 409 else [])
    assert not await page.evaluate("document.querySelector('#capture button').disabled")


async def test_where_captures_are_off_it_says_why(page: Page, service: Service, url: str) -> None:
    service.captures = False
    service.greeting = hello(HISTORY, captures=False, no_captures="Start it with --profiles.")
    await shown(page, url)
    assert await page.evaluate("document.getElementById('capture') === null")
    assert await page.evaluate("document.querySelector('a[href=\"/profiles\"]') === null")
    assert (
        await page.evaluate("document.getElementById('no-captures').innerText") == "Start it with --profiles."
    )
    is_quiet_and_alone(page, url)
