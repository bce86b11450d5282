"""The live page where it is really served: by a service, and over a running comparison."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from browser import chromium, find_chromium
from commanded import gilscope, require_the_end_of_all, started, survivors
from polling import PATIENCE_S, all_end, eventually, has_ended
from requirements import require
from served import Served, free_port, serving

from gilscope.backends.execution import gil_enabled

if TYPE_CHECKING:
    import psutil

pytestmark = pytest.mark.integration

WORK = ("--workload=primes", "--arg=n=3000", "--backends=threads", "--pool-size=2")
LONG_WORK = tuple(word.replace("3000", "30000") for word in WORK)
"""Calls of which always one is under way, however seldom whoever sends them gets a core: those are in every graph."""

STATES = {"on_cpu", "gil_wait", "runqueue", "blocked"}
REPORT = "report.html"


class Event(NamedTuple):
    name: str
    data: Any


def events(answer: Any) -> Iterator[Event]:  # noqa: ANN401  urlopen's
    """Read a stream as a browser does."""
    name = ""
    for line in answer:
        kind, _, rest = line.decode().rstrip("\n").partition(": ")
        if kind == "event":
            name = rest
        elif kind == "data":
            yield Event(name, json.loads(rest))


@contextmanager
def looking(url: str) -> Iterator[Iterator[Event]]:
    with urlopen(f"{url.rstrip('/')}/live", timeout=PATIENCE_S) as answer:
        yield events(answer)


@contextmanager
def under_load(url: str) -> Iterator[None]:
    """Request the work from three threads for the block."""
    over = threading.Event()

    def request() -> None:
        while not over.is_set():
            with urlopen(f"{url}/work/primes/threads", timeout=PATIENCE_S) as answer:
                answer.read()

    threads = [threading.Thread(target=request) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def lenses(served: Served) -> list[psutil.Process]:
    return [
        process
        for process in served.tree()
        if not has_ended(process) and "gilscope.lens.exporter" in process.cmdline()
    ]


def test_a_service_shows_what_it_does_and_is_watched_only_while_somebody_looks() -> None:
    with serving(*WORK) as served, under_load(str(served.ready["url"])):
        assert lenses(served) == []
        with looking(str(served.ready["url"])) as seen:
            hello = next(seen)
            assert hello.name == "hello"
            assert (hello.data["title"], hello.data["backends"]) == ("primes", ["threads"])
            assert (hello.data["captures"], hello.data["history"]) == (False, [])
            points = (event.data for event in seen if event.name == "point")
            found = next(point for point in points if point["backends"]["threads"]["rps"] and point["states"])
            assert len(lenses(served)) == 1
            for role in ("loop", "worker"):
                assert found["states"][role].keys() == STATES
                assert sum(found["states"][role].values()) == pytest.approx(1)
            threads = found["backends"]["threads"]
            assert 0 < threads["p50_ms"] <= threads["p99_ms"]
            assert 0 <= threads["active"] <= 2
        eventually(lambda: not lenses(served), "the lens to end with the last viewer")


def test_the_lens_that_a_service_was_started_with_is_enough() -> None:
    with serving(*WORK, "--lens-port=0") as served:
        own = lenses(served)
        with looking(str(served.ready["url"])) as seen:
            next(event for event in seen if event.name == "point" and event.data["states"])
            assert lenses(served) == own
        with looking(str(served.ready["url"])) as seen:
            next(event for event in seen if event.name == "point" and event.data["states"])
        assert lenses(served) == own


def watched(seen: Iterator[Event]) -> Any:  # noqa: ANN401  JSON
    """Return the next point in which threads were seen."""
    return next(event.data for event in seen if event.name == "point" and event.data["states"])


def test_a_lens_that_has_ended_is_replaced_once_and_then_missed() -> None:
    with serving(*WORK, "--lens-port=0") as served:
        [given] = lenses(served)
        with looking(str(served.ready["url"])) as seen:
            watched(seen)
            given.kill()
            given.wait()
            eventually(lambda: bool(lenses(served)), "a lens of the page's own")
            [own] = lenses(served)
            assert own.pid != given.pid
            watched(seen)
            own.kill()
            hello = next(event.data for event in seen if event.name == "hello" and not event.data["states"])
            assert hello["no_states"].startswith("Who waits for the GIL is not known: the lens has ended.")
            assert next(event for event in seen if event.name == "point").data["states"] is None
            assert lenses(served) == []


def test_who_comes_when_the_lens_has_ended_gets_another() -> None:
    with serving(*WORK, "--lens-port=0") as served:
        [given] = lenses(served)
        given.kill()
        given.wait()
        with looking(str(served.ready["url"])) as seen:
            watched(seen)
            assert len(lenses(served)) == 1


def test_a_service_ends_at_once_while_somebody_looks() -> None:
    with serving(*WORK) as served, looking(str(served.ready["url"])) as seen:
        next(event for event in seen if event.name == "point")
        tree = served.tree()
        served.process.send_signal(signal.SIGTERM)
        assert served.end() == (0, "", "")
        assert all(event.name in {"hello", "point", "lens"} for event in seen), "the stream ends"
        all_end(tree)


def test_the_page_moves_under_load_and_shows_a_capture(tmp_path: Path) -> None:
    path = find_chromium()
    require(path, "there is no chromium")

    async def look() -> None:
        assert path is not None
        async with chromium(path) as page:
            await page.open(f"{served.ready['url']}/")
            while not await page.evaluate("Number(document.querySelector('tbody td')?.textContent) > 0"):
                pass
            await page.evaluate("document.querySelector('form [name=seconds]').value = 2")
            await page.evaluate("document.querySelector('form').requestSubmit()")
            while not await page.evaluate("document.querySelectorAll('svg.flame').length"):
                pass
            text = await page.evaluate(
                "[...document.querySelectorAll('svg.flame')].map((one) => one.textContent).join()"
            )
            assert "primes (gilscope/workloads/primes.py" in text, text
            assert page.complaints == []
            assert {url.split("/")[2] for url in page.requests} == {str(served.ready["url"]).split("/")[2]}

    with serving(*LONG_WORK, f"--profiles={tmp_path}") as served, under_load(str(served.ready["url"])):
        asyncio.run(asyncio.wait_for(look(), PATIENCE_S))


COMPARED = (
    "compare", "primes", "--arg", "n=3000", "--backends", "threads", "--blocks", "1", "--duration", "1",
    "--warm-up", "0.2", "--lenient", "--out", "run", "--live",
)  # fmt: skip


def test_a_comparison_is_shown_from_its_first_trial_to_its_report(tmp_path: Path) -> None:
    port = free_port()
    seen: list[Event] = []
    report = ""
    with started(tmp_path, *COMPARED, str(port)) as (process, mark):
        assert process.stderr is not None
        assert process.stderr.readline() == f"live page: http://127.0.0.1:{port}/\n"
        with looking(f"http://127.0.0.1:{port}") as stream:
            for event in stream:
                seen.append(event)
                if event.name == "end":
                    break
        report = read(f"http://127.0.0.1:{port}{seen[-1].data['report']}")
        assert process.wait(PATIENCE_S) == 0
        require_the_end_of_all(mark)
    assert report == (tmp_path / "run" / REPORT).read_text(encoding="utf-8")
    of = {
        name: [event.data for event in seen if event.name == name] for name in {event.name for event in seen}
    }
    assert of["hello"][-1]["title"] == "primes"
    assert all(note["text"] for note in of["note"])
    assert of["runs_on"] == [{"python": platform.python_version(), "gil": gil_enabled()}] * 2
    assert [trial["backend"] for trial in of["trial"]] == ["threads", "threads"], "and once more: A/A"
    for trial in of["trial"]:
        figures = trial["figures"]
        assert figures["seconds"] == 1
        assert figures["rps"] > 0
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert {graph["title"] for graph in of["graph"]} >= {"primes threads holding", "primes threads wall"}
    assert all(graph["url"].startswith("/flames/primes-threads.") for graph in of["graph"])
    assert not any(point["backends"] for point in of["point"]), "that would take asking the service"
    moments = [point["t"] for point in of["point"]]
    assert len(moments) <= moments[-1] - moments[0] + 2, "one a second"
    assert any(point["states"] and point["states"]["worker"].keys() == STATES for point in of["point"])
    assert any("measuring" in note["text"] for note in of["note"])


DIARY = """(() => {
    const texts = [];
    const write = () => {
        texts.push([document.getElementById("note").textContent, document.body.innerText].join("\\n\\n"));
        sessionStorage.diary = JSON.stringify(texts);
    };
    write();
    new MutationObserver(write).observe(document.getElementById("note"), { childList: true, characterData: true, subtree: true });
})()"""
"""Keeps what the page says at each new note, and keeps it beyond the page."""


def test_a_browser_follows_a_comparison_without_a_complaint(tmp_path: Path) -> None:
    path = find_chromium()
    require(path, "there is no chromium")
    port = free_port()
    url = f"http://127.0.0.1:{port}/"

    async def look() -> list[str]:
        assert path is not None
        async with chromium(path) as page:  # first: a comparison does not wait for it
            with started(tmp_path, *COMPARED, str(port)) as (process, _):
                assert process.stderr is not None
                assert process.stderr.readline() == f"live page: {url}\n"
                await page.open(url)
                await page.evaluate(DIARY)
                while await page.evaluate("location.pathname") == "/":  # noqa: ASYNC110  nobody tells
                    await asyncio.sleep(0.1)
                found: list[str] = await page.evaluate("JSON.parse(sessionStorage.diary)")
                assert process.wait(PATIENCE_S) == 0
            assert page.complaints == []
            asked = {address for address in page.requests if address.startswith("http")}
            assert {address.split("/")[2] for address in asked} == {url.split("/")[2]}
            assert f"{url}workloads" not in asked
            return found

    found = asyncio.run(asyncio.wait_for(look(), PATIENCE_S))
    notes = [text.split("\n\n")[0] for text in found]
    for phase in ("starting", "measuring", "profiling"):
        assert [note for note in notes if note.endswith(f": {phase}")], phase
    assert f"Python {platform.python_version()}" in found[-1]
    assert "[2/2] primes threads" in found[-1], "both trials are in"
    assert not [text for text in found if "No request yet" in text]


def read(url: str, **headers: str) -> str:
    with urlopen(Request(url, headers=headers), timeout=PATIENCE_S) as answer:
        text: str = answer.read().decode()
    return text


def test_nothing_but_the_run_is_served_beside_the_page(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "secret.svg").write_text("secret")
    with started(tmp_path, *COMPARED, str(port)) as (process, _):
        assert process.stderr is not None
        process.stderr.readline()
        base = f"http://127.0.0.1:{port}"
        assert "<!doctype html>" in read(f"{base}/").lower()
        for path in (
            "/flames/..%2f..%2fsecret.svg",
            "/flames/%2e%2e/secret.svg",
            "/run.json",
            "/report.html",
            "/flames/x.svg",
        ):
            with pytest.raises(HTTPError) as refused:
                read(base + path)
            with refused.value:
                assert refused.value.code == 404, path


def test_a_comparison_goes_on_without_its_page(tmp_path: Path) -> None:
    with started(tmp_path, *COMPARED, "--no-profiles") as (process, mark):
        assert process.stderr is not None
        process.stderr.readline()
        [page] = [child for child in survivors(mark) if "gilscope.live.process" in child.cmdline()]
        os.kill(page.pid, signal.SIGKILL)
        assert process.wait(PATIENCE_S) == 0
        assert "Traceback" not in process.stderr.read()
        require_the_end_of_all(mark)
    assert (tmp_path / "run" / REPORT).exists()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        ended = gilscope(tmp_path, *COMPARED, str(port))
    assert ended.code == 2
    assert ended.err.splitlines() == [
        f"gilscope compare: the live page cannot listen on port {port}: Address already in use",
        "  -> another --live PORT; without PORT, a free one",
    ]
    assert not (tmp_path / "run").exists()
    require_the_end_of_all(ended.mark)
