"""Facts about what is seen of a service that runs already, through the stream of its live page."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gilscope.compare import onlooker
from gilscope.compare.figures import RanOn
from gilscope.compare.onlooker import Onlooker, between
from gilscope.errors import LensError
from gilscope.lens.ledger import Span
from gilscope.lens.readings import Window
from gilscope.live.reading import LensTotals
from gilscope.model import StateSeconds, ThreadRole

LOOP, WORKER, OTHER = ThreadRole

Event = tuple[str, object]
HELLO: dict[str, object] = {"python": "3.14.2", "gil": True, "states": True, "no_states": None}
OPENING: Event = ("hello", {**HELLO, "states": False})


def totals(seconds: float) -> LensTotals:
    """So long after it began: a loop that waits for the GIL three quarters of its time, two workers, and their calls."""
    return LensTotals(
        {
            "loop": {
                "on_cpu": seconds / 8,
                "gil_wait": seconds * 0.75,
                "runqueue": 0.0,
                "blocked": seconds / 8,
            },
            "worker": {"on_cpu": seconds, "gil_wait": seconds, "runqueue": 0.0, "blocked": 0.0},
            "other": {"on_cpu": 0.0, "gil_wait": 0.0, "runqueue": 0.0, "blocked": 0.0},
        },
        {"worker": {"on_cpu": seconds / 2, "gil_wait": seconds / 4, "runqueue": 0.0, "blocked": 0.0}},
        {"loop": seconds / 4, "worker": seconds / 2, "other": 0.0},
        looks=seconds * 200,
        cpu_s=seconds / 64,
    )


def seen(seconds: float) -> Window:
    """What a window of so many seconds has of that."""
    loop = StateSeconds(seconds / 8, 0.0, seconds * 0.75, seconds / 8, seconds / 4)
    workers = StateSeconds(seconds, 0.0, seconds, 0.0, seconds / 2)
    calls = StateSeconds(seconds / 2, 0.0, seconds / 4, 0.0)
    nothing = StateSeconds(0.0, 0.0, 0.0, 0.0)
    return Window(
        seconds, round(seconds * 200), 1 / 64, {LOOP: Span(loop, nothing), WORKER: Span(workers, calls)}
    )


def test_a_window_is_what_came_between() -> None:
    assert between(totals(64.0), totals(72.0)) == seen(8.0)


def test_before_python_3_13_nobody_knows_who_held_the_gil() -> None:
    before, after = (replace(totals(seconds), held={}) for seconds in (4.0, 8.0))
    assert {span.all.gil_held_s for span in between(before, after).roles.values()} == {None}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (totals(8.0), totals(0.5)),
        (totals(8.0), replace(totals(0.5), looks=2_000.0)),
        (totals(8.0), totals(8.0)),
        (LensTotals(), LensTotals()),
    ],
    ids=["another lens", "another lens that looked for longer", "nothing new", "nothing at all"],
)
def test_of_no_time_there_is_no_window(before: LensTotals, after: LensTotals) -> None:
    with pytest.raises(LensError, match="began anew"):
        between(before, after)


class Page:
    """A service's stream: says what it is given, event by event, and then hangs, or hangs up."""

    def __init__(
        self,
        events: Callable[[], Iterator[Event]],
        *,
        status: int = 200,
        hangs: bool = False,
        type_: str = "text/event-stream",
    ) -> None:
        page = self
        self.asked: list[str] = []
        self.over = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Type", type_)
                self.end_headers()
                for name, data in events():
                    self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
                if hangs:
                    page.over.wait(60)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @contextmanager
    def up(self) -> Iterator[str]:
        self._thread.start()
        try:
            yield self.url
        finally:
            self.over.set()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


def nobody_listens() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name == "onlooker"]


@contextmanager
def looking_at(url: str) -> Iterator[Onlooker]:
    with Onlooker() as looking:
        looking.watch(url)
        yield looking


def window_of(url: str) -> Window:
    with looking_at(url) as looking:
        looking.open_window(0.1)
        return looking.window()


EVERY_S = 0.02


def going_on() -> Iterator[Event]:
    """A lens that sees a second in each fiftieth of one."""
    yield OPENING
    yield "hello", HELLO
    for second in range(1, 500):
        time.sleep(EVERY_S)
        yield "point", {"t": second}
        yield "lens", asdict(totals(float(second)))


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlooker, "SETTLE_S", 2 * EVERY_S)
    monkeypatch.setattr(onlooker, "LATE_S", 1.0)


@pytest.mark.usefixtures("quickly")
def test_a_service_is_looked_at_for_a_window_and_let_alone() -> None:
    with Page(going_on).up() as url, looking_at(url) as looking:
        assert looking.ran_on == RanOn("3.14.2", gil_enabled=True)
        windows = []
        for _ in range(2):
            looking.open_window(8 * EVERY_S)
            windows.append(looking.window())
    assert nobody_listens()
    for window in windows:
        assert window == seen(window.seconds)
        assert 1 <= window.seconds <= 60, "whole events; as many as came"


SEE = "see whether the service is of this gilscope, and what its live page shows"


def silent() -> Iterator[Event]:
    yield OPENING


def blind() -> Iterator[Event]:
    yield OPENING
    yield (
        "hello",
        {
            **HELLO,
            "states": False,
            "no_states": "Who waits for the GIL is not known: No right to look\n  -> sudo",
        },
    )


def blind_meanwhile() -> Iterator[Event]:
    yield "hello", HELLO
    time.sleep(0.3)
    yield "lens", asdict(totals(1.0))
    yield (
        "hello",
        {**HELLO, "states": False, "no_states": "Who waits for the GIL is not known: the lens has ended."},
    )


def twice_the_same() -> Iterator[Event]:
    yield "hello", HELLO
    for second in (1.0, 1.0, 1.0, 4.0):
        time.sleep(0.1)
        yield "lens", asdict(totals(second))


def one_of_several() -> Iterator[Event]:
    yield "hello", {**HELLO, "shared": True}


def seen_once() -> Iterator[Event]:
    yield "hello", HELLO
    time.sleep(0.3)
    yield "lens", asdict(totals(1.0))


def babbling() -> Iterator[Event]:
    yield "hello", ["nonsense"]


def odd() -> Iterator[Event]:
    yield "hello", HELLO
    yield "lens", {"states": 5}


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(
    ("page", "message", "remedy"),
    [
        (Page(silent, hangs=True), "{url}/live says nothing", SEE),
        (Page(silent), "{url}/live has ended", SEE),
        (Page(blind, hangs=True), "No right to look", "there: sudo"),
        (
            Page(one_of_several, hangs=True),
            "several processes share the service's port, and each sees only itself",
            "gilscope serve with one process",
        ),
        (Page(blind_meanwhile, hangs=True), "the lens has ended.", None),
        (Page(seen_once), "{url}/live has ended", SEE),
        (Page(seen_once, hangs=True), "{url}/live says nothing of its lens any more", SEE),
        (Page(silent, status=503), "{url}/live cannot be read: 503 Service Unavailable", SEE),
        (Page(babbling), "{url}/live is no stream of a gilscope service", SEE),
        (Page(silent, type_="text/html"), "{url}/live is no stream of a gilscope service", SEE),
        (Page(odd), "{url}/live is no stream of a gilscope service", SEE),
    ],
    ids=[
        "silent",
        "ended",
        "blind",
        "one of several",
        "blind meanwhile",
        "ended meanwhile",
        "silent meanwhile",
        "too many look",
        "babbling",
        "a page",
        "odd",
    ],
)
def test_what_cannot_be_seen_is_told(
    page: Page, message: str, remedy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onlooker, "START_S", 0.2)
    with page.up() as url:
        with pytest.raises(LensError) as caught:
            window_of(url)
        assert nobody_listens()
    assert (caught.value.message, caught.value.remedy) == (message.format(url=url), remedy)


@pytest.mark.usefixtures("quickly")
def test_a_window_ends_with_something_new() -> None:
    with Page(twice_the_same, hangs=True).up() as url, looking_at(url) as looking:
        looking.open_window(0.05)
        assert looking.window() == seen(3.0)


def test_a_service_that_is_not_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(LensError, match="Connection refused"), looking_at(url):
        pass


def test_nobody_is_asked_before_there_is_something_to_look_at() -> None:
    with Onlooker() as looking:
        looking.prepare()
        assert nobody_listens()
    assert looking.ran_on == RanOn()


def test_a_path_before_the_page_is_kept() -> None:
    page = Page(blind)
    with page.up() as url, pytest.raises(LensError), looking_at(f"{url}/behind/a/proxy"):
        pass
    assert page.asked == ["/behind/a/proxy/live"]
