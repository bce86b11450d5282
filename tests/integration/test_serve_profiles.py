"""Profiles of a real service under load, by the real profiler, looked at in a real browser."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from browser import Page, chromium, find_chromium
from polling import PATIENCE_S, all_end, eventually
from requirements import require
from served import FREE_PORTS, SMALL, Served, refused, serving

from gilscope.commands import serve
from gilscope.commands.main import main
from gilscope.flame.folded import parse, split_frame
from gilscope.flame.speedscope import from_speedscope
from gilscope.model import FlameKind
from gilscope.profiling.shelf import ABOUT_FILE

if TYPE_CHECKING:
    import psutil

pytestmark = pytest.mark.integration

HOLDING, WAITING, WALL = FlameKind
OBSERVERS = ("gilscope/profiling/process.py", "gilscope/lens/", "gilscope/flame/")
HARMLESS = (
    "{'type': 'log', ",
    "{'type': 'timeEnd', ",
    "{'entry': {'source': 'rendering', 'level': 'warning', ",
)
"""What speedscope tells of its progress, and Chromium of a machine without a graphics card."""


@dataclass
class Profiled:
    """A service that takes profiles; ``busy`` is what it answered to a second order meanwhile."""

    served: Served
    folder: Path
    first: dict[str, Any]
    second: dict[str, Any]
    busy: tuple[int, dict[str, Any]]

    @property
    def url(self) -> str:
        return str(self.served.ready["url"])

    def text(self, path: str) -> str:
        with urlopen(f"{self.url}{path}", timeout=PATIENCE_S) as answer:
            content: bytes = answer.read()
        return content.decode()


def order(served: Served, **given: object) -> tuple[int, dict[str, Any]]:
    """Ask for a profile; give the status and the answer."""
    request = Request(
        f"{served.ready['url']}/profiles", json.dumps(given).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, json.load(answer)
    except HTTPError as answer:
        with answer:
            return answer.code, json.load(answer)


def finished(served: Served, profile: dict[str, Any]) -> dict[str, Any]:
    """Wait until a profile is done."""
    found = profile

    def is_over() -> bool:
        nonlocal found
        time.sleep(0.1)
        found = served.get(f"/profiles/{profile['id']}")
        return found["state"] != "running"

    eventually(is_over, f"the end of {profile['id']}")
    if found["state"] == "failed" and "no right" in str(found["error"]):
        require(condition=False, reason=f"py-spy cannot look into a service here: {found['error']}")
    assert found["state"] == "done", found
    return found


@contextmanager
def load(served: Served) -> Iterator[None]:
    """Keep the service at work for the block, for a bounded time."""
    over, until = threading.Event(), time.monotonic() + PATIENCE_S

    def ask() -> None:
        while not over.is_set() and time.monotonic() < until:
            served.result("/work/primes/threads?n=30000")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Profiled]:
    folder = tmp_path_factory.mktemp("profiles") / "kept"
    with serving("--workload=primes", "--pool-size=4", "--profiles", str(folder)) as served:
        with load(served):
            status, begun = order(served, kind="waiting", seconds=2)
            assert status == HTTPStatus.ACCEPTED, begun
            busy = order(served, kind="holding", seconds=1)
            first = finished(served, begun)
            second = finished(served, order(served, kind="waiting", seconds=2)[1])
        yield Profiled(served, folder, first, second, busy)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    path = find_chromium()
    require(path, "there is no chromium")
    assert path is not None
    async with chromium(path) as opened:
        yield opened


def test_a_waiting_profile_brings_all_kinds_over_the_same_seconds(profiled: Profiled) -> None:
    graphs = profiled.first["graphs"]
    assert list(graphs) == ["holding", "waiting", "wall"]
    for graph in graphs.values():
        assert graph["seconds"] == 2
        assert graph["requests"] > 0
        assert graph["samples"] > 0
        assert 0 <= graph["pause_share"] < 1
    assert graphs["holding"]["rate_hz"] == 100
    assert graphs["waiting"]["rate_hz"] < 100
    assert 0 < graphs["waiting"]["share"] < 1
    assert len({graph["requests"] for graph in graphs.values()}) == 1


@pytest.mark.parametrize("kind", FlameKind)
def test_every_form_has_the_same_stacks_and_nobody_who_looks(profiled: Profiled, kind: FlameKind) -> None:
    place = f"/profiles/{profiled.first['id']}/flamegraph"
    folded = parse(profiled.text(f"{place}.folded?kind={kind}"))
    assert folded == from_speedscope(profiled.text(f"{place}.speedscope.json?kind={kind}"))
    assert profiled.text(f"{place}.svg?kind={kind}").startswith("<?xml ")
    frames = {frame for stack in folded for frame in stack}
    assert any(split_frame(frame).name == "primes" for frame in frames)
    assert [frame for frame in frames if any(place in frame for place in OBSERVERS)] == []
    graph = profiled.first["graphs"][kind]
    assert sum(folded.values()) * graph["rate_hz"] == pytest.approx(graph["samples"])


def test_those_who_wait_do_so_in_their_own_work(profiled: Profiled) -> None:
    folded = parse(profiled.text(f"/profiles/{profiled.first['id']}.folded"))
    primes = sum(weight for stack, weight in folded.items() if split_frame(stack[-1]).name == "primes")
    assert primes > 0


def test_a_second_one_meanwhile_is_refused_and_told_which_runs(profiled: Profiled) -> None:
    status, answer = profiled.busy
    assert status == HTTPStatus.CONFLICT
    assert answer["running"] == f"/profiles/{profiled.first['id']}"
    assert profiled.first["id"] in answer["detail"]


def test_what_is_on_disk_is_what_is_shown(profiled: Profiled) -> None:
    about = json.loads((profiled.folder / profiled.first["id"] / ABOUT_FILE).read_text())
    shown = {name: value for name, value in profiled.first.items() if name != "links"}
    assert about == shown


def from_elsewhere(page: Page, profiled: Profiled) -> list[str]:
    host = urlsplit(profiled.url).netloc
    return [
        url
        for url in page.requests
        if urlsplit(url).netloc != host and urlsplit(url).scheme not in ("data", "blob")
    ]


async def holds(page: Page, expression: str, within_s: float = 60.0) -> None:
    """Wait until an expression is true in the page, which may be on its way to another."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if await page.evaluate(expression):
                return
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, expression


async def test_the_page_of_a_profile_shows_its_graphs(page: Page, profiled: Profiled) -> None:
    await page.open(f"{profiled.url}/profiles/{profiled.first['id']}")
    shown = "[...document.querySelectorAll('section')].map(one => one.id).join()"
    assert await page.evaluate(shown) == "waiting,holding,wall"
    assert await page.evaluate("document.querySelectorAll('section svg.flame.live').length") == 3
    assert await page.evaluate("document.body.innerText.includes('What changed')")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.complaints == []
    assert from_elsewhere(page, profiled) == []


async def test_graphs_on_the_page_zoom_and_search(page: Page, profiled: Profiled) -> None:
    await page.open(f"{profiled.url}/profiles/{profiled.first['id']}")
    await page.evaluate(
        """globalThis.graph = document.querySelector('#holding svg.flame');
        globalThis.layer = graph.querySelector('.boxes:not([display])');
        globalThis.width = one => parseFloat(one.getAttribute('width'));
        globalThis.boxes = [...layer.children].filter(one => !one.classList.contains('rest'));
        globalThis.narrow = boxes.filter(one => !one.textContent.startsWith('(service)'))
            .reduce((a, b) => width(b) < width(a) ? b : a);
        globalThis.before = width(narrow); undefined"""
    )
    assert await page.evaluate("before") < 100
    await page.evaluate("narrow.dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert await page.evaluate("width(narrow)") == 100
    await page.evaluate("narrow.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))")
    assert await page.evaluate("width(narrow)") == pytest.approx(await page.evaluate("before"), abs=0.01)
    await page.evaluate(
        """globalThis.input = graph.querySelector('input');
        input.value = 'primes'; input.dispatchEvent(new Event('input', {bubbles: true})); undefined"""
    )
    assert 0 < float(await page.evaluate("graph.dataset.matched")) <= 100
    assert await page.evaluate("layer.querySelectorAll('.hit').length") > 0
    assert await page.evaluate("document.querySelectorAll('#waiting .hit').length") == 0
    assert page.complaints == []


async def test_a_difference_opens_and_its_buttons_choose_the_widths(page: Page, profiled: Profiled) -> None:
    now, before = profiled.second["id"], profiled.first["id"]
    await page.open(f"{profiled.url}/profiles/{now}/difference.svg?against={before}&kind=holding")
    side = "document.querySelector('.boxes:not([display])').dataset.side"
    assert await page.evaluate(side) == now
    for wanted in (before, now):
        await page.evaluate(
            f"[...document.querySelectorAll('button')].find(one => one.textContent === 'widths: {wanted}').click()"
        )
        assert await page.evaluate(side) == wanted
        pressed = "[...document.querySelectorAll('button[aria-pressed=true]')].map(one => one.textContent)"
        assert f"widths: {wanted}" in await page.evaluate(pressed)
    assert page.complaints == []
    assert from_elsewhere(page, profiled) == []


async def test_the_form_of_the_list_starts_a_capture_and_leads_to_it(page: Page, profiled: Profiled) -> None:
    await page.open(f"{profiled.url}/profiles")
    links = "[...document.querySelectorAll('td a')].map(one => one.getAttribute('href'))"
    assert {f"/profiles/{one['id']}" for one in (profiled.first, profiled.second)} <= set(
        await page.evaluate(links)
    )
    with load(profiled.served):
        await page.evaluate(
            """document.querySelector('select[name=kind]').value = 'holding';
            document.querySelector('input[name=seconds]').value = '1';
            document.querySelector('#begin button').click()"""
        )
        await holds(page, "location.pathname.startsWith('/profiles/2')")
        begun = str(await page.evaluate("location.pathname")).rpartition("/")[2]
        found = finished(profiled.served, {"id": begun})
    assert (found["kind"], found["seconds"], found["rate_hz"]) == ("holding", 1, 100)
    await holds(page, "document.querySelectorAll('section svg.flame.live').length === 2")
    assert await page.evaluate("location.pathname") == f"/profiles/{begun}"
    assert page.complaints == []
    assert from_elsewhere(page, profiled) == []


async def test_the_form_says_why_not(page: Page, profiled: Profiled) -> None:
    await page.open(f"{profiled.url}/profiles")
    await page.evaluate(
        """document.querySelector('#begin').noValidate = true;
        document.querySelector('input[name=seconds]').value = '61';
        document.querySelector('#begin button').click()"""
    )
    await holds(page, "document.querySelector('#said').textContent.includes('from 1 to 60, not 61')")
    assert await page.evaluate("location.pathname") == "/profiles"


async def test_speedscope_opens_our_file_and_asks_nobody_else(page: Page, profiled: Profiled) -> None:
    place = f"{profiled.url}/profiles/{profiled.first['id']}"
    await page.open(place)
    address = await page.evaluate("document.querySelector('#holding a[href*=speedscope]').href")
    page.requests.clear()
    await page.open(address)
    name = json.dumps("primes, holding")
    await holds(page, f"(document.title + document.body.innerText).includes({name})")
    assert any("flamegraph.speedscope.json" in url for url in page.requests)
    assert [said for said in page.complaints if not said.startswith(HARMLESS)] == []
    assert from_elsewhere(page, profiled) == []


def observers(served: Served) -> list[psutil.Process]:
    return [process for process in served.tree() if process.name() == "py-spy"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_service_that_ends_in_mid_capture_leaves_nobody_behind(tmp_path: Path, how: signal.Signals) -> None:
    folder, temporary = tmp_path / "kept", tmp_path / "temporary"
    temporary.mkdir()
    options = ("--workload=primes", "--backends=threads", "--pool-size=1", "--profiles", str(folder))
    with serving(*options, env={"TMPDIR": str(temporary)}) as served:
        begun = order(served, kind="waiting", seconds=60)[1]
        eventually(lambda: len(observers(served)) == 2, "two py-spy at work")
        everybody = served.tree()
        assert len(everybody) >= 5  # with the process that captures, and its lens
        served.process.send_signal(how)
        begun_ending = time.monotonic()
        code, out, _ = served.end()
        assert time.monotonic() - begun_ending < 45, "the capture was to take a minute"
        all_end(everybody)
        about = json.loads((folder / begun["id"] / ABOUT_FILE).read_text())
    assert out == ""
    if how is signal.SIGKILL:
        assert (code, about["state"]) == (-signal.SIGKILL, "running")
    else:
        assert (code, about["state"]) == (0, "failed")
        assert about["error"] == "it was cut short: the service ended"
        assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_profiles_for_everybody_need_a_token(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "_keep_stdout", lambda: 1)
    monkeypatch.delenv("GILSCOPE_TOKEN", raising=False)
    command = [
        "serve",
        *FREE_PORTS,
        *SMALL,
        f"--host={host}",
        "--insecure",
        f"--profiles={tmp_path / 'kept'}",
    ]
    assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"gilscope serve: profiles show source paths, and {host} can be reached from elsewhere\n"
        "  -> --token SECRET, which readers then have to give; or 127.0.0.1\n"
    )
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = refused(*FREE_PORTS, *SMALL, f"--profiles={tmp_path / 'file'}")
    assert message == (
        f"gilscope serve: cannot keep profiles in {tmp_path / 'file'}: File exists\n"
        "  -> --profiles DIR names another folder\n"
    )
