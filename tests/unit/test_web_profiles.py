"""The routes of profiles, with a shelf of made-up ones and without a profiler."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import cattrs
import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request

from gilscope.errors import CaptureError, ParameterError
from gilscope.flame.capture import Capture
from gilscope.flame.svg import viewer_script
from gilscope.model import BackendName, FlameKind, Folded, Graph
from gilscope.profiling import companion
from gilscope.profiling.companion import Profiles
from gilscope.profiling.process import write
from gilscope.profiling.shelf import Profile, Shelf, State
from gilscope.web import profile_pages, profiles
from gilscope.web.access import guarded_by
from gilscope.web.app import create_app
from gilscope.web.config import Profiling, ServiceConfig
from gilscope.web.problems import DOORS, Doors, answering_problems, awaited
from gilscope.workloads.loader import resolve

if TYPE_CHECKING:
    from aiohttp import ClientResponse

Client = TestClient[Request, Application]
Connect = Callable[[Application], Awaitable[Client]]
Start = Callable[..., Awaitable[Client]]

HOLDING, WAITING, WALL = FlameKind
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
EVIL = "<script>alert('1')</script>&\"'"
STACKS: Folded = {
    ("run (a.py:1)", "primes (gilscope/workloads/primes.py:4)"): 1.5,
    (f"{EVIL} (b.py:2)",): 0.5,
}
FORMS = {"svg": "image/svg+xml", "folded": "text/plain", "speedscope.json": "application/json"}
STATIC = Path(profiles.__file__).with_name("static")


class Asked:
    """Stands for the process that captures and draws: answers what the test says, once the test says it."""

    def __init__(self) -> None:
        self.orders: list[Mapping[str, Any]] = []
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def __call__(self, order: Mapping[str, Any], _timeout_s: float) -> dict[str, Any]:
        self.orders.append(order)
        return await asyncio.shield(self.answer)


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(companion, "_ask", asked)
    return asked


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def start(aiohttp_client: Connect, shelf: Shelf, asked: Asked) -> Start:
    """Start the routes of profiles alone, over the shelf as it is by then."""

    async def start(token: str | None = None) -> Client:
        app = Application()
        app.add_routes(profiles.routes(guarded_by(token)))
        app[profiles.PROFILES] = kept = Profiles(shelf, 4711, "primes")

        async def stop(_app: Application) -> None:
            await kept.stop()

        app.on_cleanup.append(stop)
        return await aiohttp_client(app)

    return start


def made(second: int = 1, state: State = State.DONE, kind: FlameKind = WAITING) -> Profile:
    name = f"20261122T1010{second:02}Z-{kind}-00000{second % 10}"
    return Profile(name, kind, 5, 100, f"2026-11-22T10:10:{second:02}+00:00", state)


def put(shelf: Shelf, second: int = 1, kinds: Mapping[FlameKind, Folded] | None = None) -> Profile:
    """Put a profile that is done on the shelf, with its graphs drawn."""
    kinds = dict.fromkeys(FlameKind, STACKS) if kinds is None else kinds
    graphs = {
        kind: Graph(
            kind=kind,
            source="py-spy 0.4.3",
            rate_hz=100,
            seconds=5.0,
            samples=200 if folded else 0,
            lost=0,
            notes=(EVIL,),
        )
        for kind, folded in kinds.items()
    }
    profile = replace(
        made(second), graphs={kind: cattrs.unstructure(graph) for kind, graph in graphs.items()}
    )
    place = shelf.add(profile)
    for kind, folded in kinds.items():
        write(Capture(graphs[kind], folded), place, "primes")
    return profile


async def problem(answer: ClientResponse, status: int) -> str:
    """Check that an answer is a problem document (RFC 9457) and give what it says."""
    assert answer.status == status, await answer.text()
    assert answer.content_type == "application/problem+json"
    body = json.loads(await answer.read())
    assert (body["title"], body["status"]) == (HTTPStatus(status).phrase, status)
    detail = body["detail"]
    assert isinstance(detail, str)
    return detail


async def raw(client: Client, target: str) -> tuple[int, bytes]:
    """Ask for a path as it is written here: no client tidies it up."""
    assert client.port is not None
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_a_profile_is_accepted_with_the_place_where_it_will_be(start: Start, asked: Asked) -> None:
    client = await start()
    answer = await client.post("/profiles", json={"kind": "holding", "seconds": 7, "rate": 50})
    assert answer.status == 202
    body = await answer.json()
    place = answer.headers["Location"]
    assert place == f"/profiles/{body['id']}"
    assert answer.headers["Retry-After"] == "8"
    assert (body["kind"], body["seconds"], body["rate_hz"]) == ("holding", 7, 50)
    assert (body["state"], body["graphs"], body["links"]) == ("running", {}, {})
    assert await (await client.get(place)).json() == body
    asked.answer.set_result({"graphs": {"wall": {"samples": 0}}})
    while running(client):  # noqa: ASYNC110  nothing announces it
        await asyncio.sleep(0)
    done = await (await client.get(place)).json()
    assert (done["state"], done["graphs"]) == ("done", {"wall": {"samples": 0}})
    assert done["links"] == {form: f"{place}/flamegraph.{form}" for form in FORMS}
    (order,) = asked.orders
    assert order["capture"].items() >= {"pid": 4711, "seconds": 7, "rate_hz": 50}.items()


def running(client: Client) -> Profile | None:
    assert client.app is not None
    return client.app[profiles.PROFILES].running


@pytest.mark.parametrize("body", ["", "{}"])
async def test_nothing_need_be_said(start: Start, body: str) -> None:
    client = await start()
    answer = await client.post("/profiles", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 202
    found = await answer.json()
    assert (found["kind"], found["seconds"], found["rate_hz"]) == ("waiting", 5, 100)


@pytest.mark.parametrize(
    "order", [{"seconds": 1}, {"seconds": 60}, {"seconds": 5.0}, {"rate": 1}, {"rate": 1_000}], ids=str
)
async def test_the_bounds_are_allowed(start: Start, order: dict[str, float]) -> None:
    client = await start()
    assert (await client.post("/profiles", json=order)).status == 202


@pytest.mark.parametrize("kind", FlameKind)
async def test_each_kind_may_be_asked_for(start: Start, kind: FlameKind) -> None:
    client = await start()
    answer = await client.post("/profiles", json={"kind": kind})
    assert (await answer.json())["kind"] == kind


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"kind": "cpu"}, "kind is one of holding, waiting, wall, not 'cpu'"),
        ({"kind": "Waiting"}, "not 'Waiting'"),
        ({"kind": ""}, "not ''"),
        ({"kind": None}, "not None"),
        ({"kind": ["waiting"]}, "not ['waiting']"),
        ({"seconds": 0}, "seconds is a whole number from 1 to 60, not 0"),
        ({"seconds": 61}, "not 61"),
        ({"seconds": -1}, "not -1"),
        ({"seconds": True}, "not true"),
        ({"seconds": "5"}, 'not "5"'),
        ({"seconds": 1.5}, "not 1.5"),
        ({"seconds": 5.5}, "not 5.5"),
        ({"seconds": None}, "not null"),
        ({"seconds": [5]}, "not [5]"),
        ({"rate": 0}, "rate is a whole number from 1 to 1000, not 0"),
        ({"rate": 1_001}, "not 1001"),
        ({"rate": False}, "not false"),
        ({"rate": "100"}, 'not "100"'),
        ({"rate": 10**400}, "not 1000"),
        ({"pid": 1}, "unknown: pid\n  -> kind, seconds and rate are known"),
        ({"rate_hz": 1, "Seconds": 1}, "unknown: Seconds, rate_hz"),
        ([], 'the body is an object, such as {"kind": "waiting", "seconds": 5}'),
        ("waiting", "the body is an object"),
        (5, "the body is an object"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_bad_order_is_refused_with_the_reason(
    start: Start, asked: Asked, shelf: Shelf, order: object, says: str
) -> None:
    client = await start()
    assert says in await problem(await client.post("/profiles", json=order), 400)
    assert (asked.orders, list(shelf.profiles())) == ([], [])


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"kind=waiting",
        b'{"seconds": 5',
        b"{'seconds': 5}",
        b"\xff\xfe",
        b'{"seconds": NaN}',
        b"null",
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_a_body_that_is_not_json_is_refused(start: Start, asked: Asked, body: bytes) -> None:
    client = await start()
    answer = await client.post("/profiles", data=body, headers={"Content-Type": "application/json"})
    await problem(answer, 400)
    assert asked.orders == []


@pytest.mark.parametrize(
    "type_",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "text/plain; application/json",
    ],
)
async def test_a_type_that_another_site_may_send_is_refused(start: Start, asked: Asked, type_: str) -> None:
    client = await start()
    answer = await client.post("/profiles", data=b'{"seconds": 1}', headers={"Content-Type": type_})
    assert "Content-Type: application/json" in await problem(answer, 400)
    assert asked.orders == []


async def test_no_site_is_allowed_to_ask(start: Start) -> None:
    client = await start()
    asking = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for method in ("OPTIONS", "GET"):
        answer = await client.request(method, "/profiles", headers=asking)
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


async def test_the_second_is_told_which_is_running(start: Start, asked: Asked) -> None:
    client = await start()
    first = await client.post("/profiles", json={"seconds": 9})
    second = await client.post("/profiles", json={"seconds": 1})
    place = first.headers["Location"]
    assert (await second.json())["running"] == place
    assert second.headers["Retry-After"] == "9"
    detail = await problem(second, 409)
    assert place.rpartition("/")[2] in detail
    assert "wait for its 9 s" in detail
    assert len(asked.orders) == 1


async def test_a_bad_order_is_refused_even_while_another_runs(start: Start) -> None:
    client = await start()
    await client.post("/profiles", json={})
    await problem(await client.post("/profiles", json={"seconds": 0}), 400)


async def test_what_is_missing_for_profiling_is_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(companion.PACKAGES, "no_such_module", "no-such")
    client = await start()
    answer = await client.post("/profiles", json={})
    assert await problem(answer, 501) == (
        "profiling needs no-such beside the service\n  -> pip install no-such"
    )


async def test_all_are_listed_the_newest_first(start: Start, shelf: Shelf) -> None:
    client = await start()
    assert await (await client.get("/profiles")).json() == []
    for second in (1, 2):
        put(shelf, second)
    shelf.add(replace(made(3, State.FAILED), error="no right"))
    found = await (await client.get("/profiles")).json()
    assert [one["id"] for one in found] == [made(second).id for second in (3, 2, 1)]
    assert [one["links"] == {} for one in found] == [True, False, False]
    assert found[0]["error"] == "no right"
    assert found == [await (await client.get(f"/profiles/{one['id']}")).json() for one in found]


@pytest.mark.parametrize("path", ["", "/flamegraph.svg", ".svg", ".folded", "/difference.svg"])
@pytest.mark.parametrize(
    "name", ["nothing", "20261122T101009Z-waiting-000009", "..%2f..", "%2e%2e", "%00", "%0a"]
)
async def test_one_that_is_not_there(start: Start, name: str, path: str) -> None:
    client = await start()
    assert (await raw(client, f"/profiles/{name}{path}"))[0] == 404


async def test_it_is_said_which_is_not_there(start: Start) -> None:
    client = await start()
    answer = await client.get("/profiles/nothing")
    assert await problem(answer, 404) == "no profile 'nothing': GET /profiles lists those that are kept"


def places(profile: Profile) -> list[tuple[str, str]]:
    return [(f"/profiles/{profile.id}{stem}.{form}", form) for stem in ("/flamegraph", "") for form in FORMS]


async def test_every_form_is_at_both_places(start: Start, shelf: Shelf) -> None:
    profile = put(shelf)
    client = await start()
    for place, form in places(profile):
        answer = await client.get(place)
        assert (answer.status, answer.content_type) == (200, FORMS[form])
        assert await answer.read() == shelf.file(profile, WAITING, form).read_bytes()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("kind", FlameKind)
async def test_another_kind_may_be_asked_for(start: Start, shelf: Shelf, kind: FlameKind) -> None:
    profile = put(shelf)
    client = await start()
    for place, form in places(profile):
        answer = await client.get(f"{place}?kind={kind}")
        assert await answer.read() == shelf.file(profile, kind, form).read_bytes()


@pytest.mark.parametrize("form", ["png", "fragment.svg", "json", "svg.tmp", "SVG"])
async def test_other_forms_are_not_there(start: Start, shelf: Shelf, form: str) -> None:
    profile = put(shelf)
    client = await start()
    for stem in ("/flamegraph", "", "/profile"):
        assert (await client.get(f"/profiles/{profile.id}{stem}.{form}")).status == 404
    assert (await client.get(f"/profiles/{profile.id}/profile.json")).status == 404


async def test_a_kind_that_there_is_not(start: Start, shelf: Shelf) -> None:
    profile = put(shelf, kinds={HOLDING: STACKS, WALL: STACKS})
    client = await start()
    for place, _ in places(profile):
        answer = await client.get(f"{place}?kind=waiting")
        assert await problem(answer, 404) == f"profile {profile.id} has holding and wall, not waiting"
        answer = await client.get(f"{place}?kind=cpu")
        assert await problem(answer, 400) == "kind is one of holding, waiting, wall, not 'cpu'"


async def test_one_that_is_being_captured_has_no_graphs_yet(start: Start) -> None:
    client = await start()
    begun = await (await client.post("/profiles", json={"seconds": 9})).json()
    for place, _ in places(replace(made(), id=begun["id"])):
        detail = await problem(await client.get(place), 409)
        assert detail == f"profile {begun['id']} is being captured: wait for its 9 s"


@pytest.mark.parametrize("remedy", ["sudo", None])
async def test_one_that_failed_says_why(start: Start, shelf: Shelf, remedy: str | None) -> None:
    profile = replace(made(1, State.FAILED), error="no right", remedy=remedy)
    shelf.add(profile)
    client = await start()
    for place, _ in places(profile):
        detail = await problem(await client.get(place), 409)
        assert detail == f"profile {profile.id} failed: no right{' -> sudo' if remedy else ''}"


@pytest.mark.parametrize(
    ("kind", "nobody"),
    [
        (WAITING, "No thread was seen waiting for the GIL."),
        (HOLDING, "No Python code was seen holding the GIL."),
    ],
)
async def test_there_is_never_an_empty_graph(
    start: Start, shelf: Shelf, kind: FlameKind, nobody: str
) -> None:
    profile = put(shelf, kinds={kind: {}, WALL: STACKS})
    client = await start()
    for place, form in places(profile):
        answer = await client.get(f"{place}?kind={kind}")
        if form == "folded":
            assert (answer.status, await answer.read()) == (200, b"")
        else:
            assert await problem(answer, 404) == f"there is nothing to draw: {nobody}"
    page = await (await client.get(f"/profiles/{profile.id}", headers=PAGE)).text()
    assert nobody in page
    assert page.count('<svg class="boxes"') > 0
    assert f'id="{kind}"' not in page


async def test_a_file_that_has_gone_is_told(start: Start, shelf: Shelf) -> None:
    profile = put(shelf)
    shelf.file(profile, WAITING, "svg").unlink()
    client = await start()
    answer = await client.get(f"/profiles/{profile.id}.svg")
    assert await problem(answer, 404) == "waiting.svg is not there any more"


async def test_a_page_of_a_profile_with_a_part_missing_is_no_bug_of_ours(start: Start, shelf: Shelf) -> None:
    profile = put(shelf)
    shelf.file(profile, WAITING, "fragment.svg").unlink()
    client = await start()
    assert (await client.get(f"/profiles/{profile.id}", headers=PAGE)).status != 500


async def test_a_folder_that_has_gone_has_no_profiles(start: Start, shelf: Shelf) -> None:
    client = await start()
    shelf.folder.rmdir()
    assert (await client.get("/profiles")).status != 500


async def test_a_difference_is_asked_for_and_shown(start: Start, shelf: Shelf, asked: Asked) -> None:
    before, now = put(shelf, 1), put(shelf, 2)
    client = await start()
    shelf.file(now, HOLDING, f"against-{before.id}.svg").write_text("<svg/>")
    asked.answer.set_result({})
    answer = await client.get(f"/profiles/{now.id}/difference.svg?against={before.id}&kind=holding")
    assert (answer.status, answer.content_type, await answer.text()) == (200, "image/svg+xml", "<svg/>")
    assert answer.headers["Content-Security-Policy"] == profile_pages.GRAPH_POLICY
    assert asked.orders == []
    await client.get(f"/profiles/{now.id}/difference.svg?against={before.id}")
    (order,) = asked.orders
    assert order["difference"]["kind"] == "waiting"


async def test_what_a_difference_cannot_be_with(start: Start, shelf: Shelf, asked: Asked) -> None:
    now, short = put(shelf, 1), put(shelf, 2, {HOLDING: STACKS, WALL: STACKS})
    failed = replace(made(3, State.FAILED), error="no right")
    shelf.add(failed)
    client = await start()
    place = f"/profiles/{now.id}/difference.svg"
    for given in ("", "?against=", "?against=nothing", "?against=..%2f..", "?against=%00"):
        detail = await problem(await client.get(f"{place}{given}"), 404)
        assert detail.endswith("to compare with; GET /profiles lists them")
    detail = await problem(await client.get(f"{place}?against={short.id}"), 404)
    assert detail == f"profile {short.id} has holding and wall, not waiting"
    assert "no right" in await problem(await client.get(f"{place}?against={failed.id}"), 409)
    assert "no right" in await problem(
        await client.get(f"/profiles/{failed.id}/difference.svg?against={now.id}"), 409
    )
    assert "not 'cpu'" in await problem(await client.get(f"{place}?against={now.id}&kind=cpu"), 400)
    assert asked.orders == []


async def test_why_there_is_no_difference_is_told(start: Start, shelf: Shelf, asked: Asked) -> None:
    before, now = put(shelf, 1), put(shelf, 2)
    asked.answer.set_exception(CaptureError("of other profilers", remedy="the same"))
    client = await start()
    answer = await client.get(f"/profiles/{now.id}/difference.svg?against={before.id}")
    assert await problem(answer, 409) == "of other profilers\n  -> the same"


async def test_browsers_get_pages_and_others_json(start: Start, shelf: Shelf) -> None:
    profile = put(shelf)
    client = await start()
    for place in ("/profiles", f"/profiles/{profile.id}"):
        answer = await client.get(place, headers=PAGE)
        assert answer.content_type == "text/html"
        assert (await answer.text()).startswith("<!doctype html>")
        for accept in ("*/*", "application/json", "", "image/*"):
            answer = await client.get(place, headers={"Accept": accept})
            assert answer.content_type == "application/json"


async def test_the_list_has_a_form_and_a_link_to_each(start: Start, shelf: Shelf) -> None:
    client = await start()
    page = await (await client.get("/profiles", headers=PAGE)).text()
    assert "None has been captured yet." in page
    profile = put(shelf)
    shelf.add(made(2, State.FAILED))
    page = await (await client.get("/profiles", headers=PAGE)).text()
    assert f'href="/profiles/{profile.id}"' in page
    assert "is being captured" not in page
    assert re.findall(r'<option value="(\w+)"', page) == ["waiting", "holding", "wall"]
    assert page.count("<td>failed</td>") == 1
    begun = (await client.post("/profiles", json={})).headers["Location"]
    page = await (await client.get("/profiles", headers=PAGE)).text()
    assert f'<a href="{begun}">A profile</a> is being captured.' in page


async def test_the_page_of_a_profile_has_its_graphs_and_what_to_compare_with(
    start: Start, shelf: Shelf
) -> None:
    one, other = put(shelf, 1), put(shelf, 2, {HOLDING: STACKS, WALL: STACKS})
    failed = replace(made(3, State.FAILED), error="no right")
    shelf.add(failed)
    client = await start()
    page = await (await client.get(f"/profiles/{one.id}", headers=PAGE)).text()
    assert re.findall(r'<section id="(\w+)">', page) == ["waiting", "holding", "wall"]
    assert page.count('class="flame" role="group"') == 3
    assert set(re.findall(r"difference\.svg\?against=([^&]+)&amp;kind=(\w+)", page)) == {
        (other.id, "holding"),
        (other.id, "wall"),
    }
    for form in ("svg", "folded"):
        assert f'href="/profiles/{one.id}/flamegraph.{form}?kind=holding"' in page
    assert (
        f"/static/speedscope/index.html#profileURL=%2Fprofiles%2F{one.id}%2Fflamegraph.speedscope.json%3Fkind%3Dwall"
        in page
    )
    assert "http-equiv" not in page
    for path in set(re.findall(r'href="(/[^"#]+)', page)) - {f"/profiles/{one.id}/difference.svg"}:
        if "difference" not in path:
            assert (await client.get(path)).status == 200, path


async def test_a_page_comes_back_by_itself_until_the_profile_is_done(start: Start) -> None:
    client = await start()
    place = (await client.post("/profiles", json={"seconds": 9})).headers["Location"]
    page = await (await client.get(place, headers=PAGE)).text()
    assert '<meta http-equiv="refresh" content="2">' in page
    assert "It is being captured: 9 s" in page


async def test_hostile_names_are_escaped_in_pages(start: Start, shelf: Shelf) -> None:
    failed = replace(made(3, State.FAILED), error=EVIL, remedy=f"{EVIL}!")
    shelf.add(failed)
    one = put(shelf, 1)
    put(shelf, 2)
    client = await start()
    for place in ("/profiles", f"/profiles/{one.id}", f"/profiles/{failed.id}"):
        page = await (await client.get(place, headers=PAGE)).text()
        assert ("alert(" in page) is (place != "/profiles")
        assert EVIL not in page
        scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
        assert scripts == [(STATIC / "profiles.js").read_text(), viewer_script()]


async def test_hostile_names_are_escaped_in_graphs(start: Start, shelf: Shelf) -> None:
    profile = put(shelf)
    client = await start()
    svg = await (await client.get(f"/profiles/{profile.id}.svg")).text()
    assert "alert(" in svg
    assert "<script>alert" not in svg


async def test_nothing_but_its_own_scripts_may_run_in_a_page(start: Start, shelf: Shelf) -> None:
    profile = put(shelf)
    client = await start()
    for place in ("/profiles", f"/profiles/{profile.id}"):
        answer = await client.get(place, headers=PAGE)
        policy = rules(answer.headers["Content-Security-Policy"])
        assert policy["default-src"] == ["'none'"]
        assert policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
        assert policy["form-action"] == policy["connect-src"] == ["'self'"]
        hashes = {f"'sha256-{profile_pages._digest(script)}'" for script in in_page(await answer.text())}
        assert len(hashes) == 2
        assert set(policy["script-src"]) == hashes
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"


def in_page(page: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def rules(policy: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (rule.split() for rule in policy.split(";"))}


async def test_a_graph_may_ask_nobody_for_anything(start: Start, shelf: Shelf) -> None:
    profile = put(shelf)
    client = await start()
    for place, _ in places(profile):
        policy = rules((await client.get(place)).headers["Content-Security-Policy"])
        assert policy["default-src"] == ["'none'"]
        assert policy.keys() == {"default-src", "style-src", "script-src"}


async def test_speedscope_is_served_and_may_ask_nobody_else(start: Start) -> None:
    client = await start()
    for path in STATIC.joinpath("speedscope").iterdir():
        answer = await client.get(f"/static/speedscope/{path.name}")
        assert (answer.status, await answer.read()) == (200, path.read_bytes())
        policy = rules(answer.headers["Content-Security-Policy"])
        assert policy["default-src"] == ["'self'"]
        assert policy["frame-ancestors"] == ["'none'"]
        allowed = {value for values in policy.values() for value in values}
        assert not [value for value in allowed if "*" in value or "http" in value]
        assert "'unsafe-inline'" not in policy["script-src"]
        assert "'unsafe-eval'" not in policy["script-src"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("speedscope/index.html", "text/html"),
        ("speedscope/*.js", "text/javascript"),
        ("speedscope/*.css", "text/css"),
        ("speedscope/*.wasm", "application/wasm"),
    ],
)
async def test_static_files_have_the_type_that_a_browser_insists_on(
    start: Start, name: str, type_: str
) -> None:
    client = await start()
    for path in STATIC.glob(name):
        answer = await client.get(f"/static/{path.relative_to(STATIC)}")
        assert answer.content_type in {type_, type_.replace("text/javascript", "application/javascript")}


@pytest.mark.parametrize(
    "target",
    [
        "/static/../profiles.py",
        "/static/../../errors.py",
        "/static/speedscope/../../profiles.py",
        "/static/%2e%2e/profiles.py",
        "/static/%2E%2E/%2E%2E/errors.py",
        "/static/..%2fprofiles.py",
        "/static/%2e%2e%2fprofiles.py",
        "/static/speedscope%2f..%2f..%2fprofiles.py",
        "/static/..%5cprofiles.py",
        "/static/%252e%252e/profiles.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static//%2fetc/passwd",
        "/static/../static/../profiles.py",
        "/static/../static_/x",
        "/static/",
        "/static",
        "/static/.",
        "/static/..",
        "/static/speedscope",
        "/static/speedscope/",
        "/static/no-such-file",
        "/static/profiles.js/x",
        "/static/%00",
        "/static/profiles.js%00.html",
        f"/static/{'x' * 300}",
        "/../web/profiles.py",
    ],
)
async def test_nothing_outside_the_folder_is_served(start: Start, target: str) -> None:
    client = await start()
    assert (STATIC.parent / "profiles.py").is_file()
    code, body = await raw(client, target)
    assert code == 404
    assert b"import" not in body
    assert b"root:" not in body


async def test_a_way_out_and_back_in_is_served_as_what_it_is(start: Start) -> None:
    client = await start()
    code, body = await raw(client, "/static/speedscope/%2e%2e/profiles.js")
    assert (code, body) == (200, (STATIC / "profiles.js").read_bytes())


PATHS = ("/profiles", "/profiles/{id}", "/profiles/{id}.svg", "/profiles/{id}/flamegraph.folded")
MORE = ("/profiles/{id}/difference.svg?against={id}", "/static/profiles.js")


@pytest.mark.parametrize("path", [*PATHS, *MORE, "/profiles/nothing"])
async def test_every_route_wants_the_token(start: Start, shelf: Shelf, asked: Asked, path: str) -> None:
    profile = put(shelf)
    client = await start("secret")
    place = path.format(id=profile.id)
    asked.answer.set_result({})
    await problem(await client.get(place), 401)
    assert (await client.head(place)).status == 401
    assert (await client.get(place, headers={"Authorization": "Bearer secret"})).status != 401
    await problem(await client.post("/profiles", json={}), 401)
    assert [order for order in asked.orders if "capture" in order] == []


@pytest.mark.parametrize("path", [*PATHS, *MORE])
async def test_every_route_turns_other_names_away(
    start: Start, shelf: Shelf, asked: Asked, path: str
) -> None:
    profile = put(shelf)
    client = await start()
    other = {"Host": "evil.example"}
    await problem(await client.get(path.format(id=profile.id), headers=other), 403)
    await problem(await client.post("/profiles", json={}, headers=other), 403)
    assert asked.orders == []


def config(profiling: Profiling | None) -> ServiceConfig:
    return ServiceConfig((resolve("noop", {}),), (BackendName.ASYNCIO,), 1, profiling=profiling)


async def test_without_the_option_there_are_no_such_routes(aiohttp_client: Connect) -> None:
    client = await aiohttp_client(create_app(config(None)))
    for method, path in (
        ("POST", "/profiles"),
        ("GET", "/profiles"),
        ("GET", "/profiles/x.svg"),
        ("GET", "/static/profiles.js"),
    ):
        answer = await client.request(method, path, json={} if method == "POST" else None)
        assert f"no route {path}; " in await problem(answer, 404)


async def test_the_service_profiles_itself_and_keeps_that_in_its_folder(
    aiohttp_client: Connect, tmp_path: Path, asked: Asked
) -> None:
    left = Shelf(tmp_path / "kept").add(made(1, State.RUNNING))
    client = await aiohttp_client(create_app(config(Profiling(tmp_path / "kept"))))
    (found,) = await (await client.get("/profiles")).json()
    assert (found["id"], found["state"], found["error"]) == (
        left.name,
        "failed",
        "the service ended meanwhile",
    )
    place = (await client.post("/profiles", json={})).headers["Location"]
    (order,) = asked.orders
    assert order["capture"]["pid"] == os.getpid()
    assert (order["capture"]["title"], order["capture"]["backends"]) == ("noop", ["asyncio"])
    await client.close()
    stopped = Shelf(tmp_path / "kept").find(place.rpartition("/")[2])
    assert stopped is not None
    assert (stopped.state, stopped.error) == (State.FAILED, "it was cut short: the service ended")


async def test_a_token_guards_the_profiles_of_a_service_and_nothing_else(
    aiohttp_client: Connect, tmp_path: Path
) -> None:
    client = await aiohttp_client(create_app(config(Profiling(tmp_path / "kept", "secret"))))
    await problem(await client.get("/profiles"), 401)
    for path in ("/ping", "/work/noop/asyncio", "/readyz"):
        assert (await client.get(path)).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_told_which_there_are(
    aiohttp_client: Connect, tmp_path: Path, method: str
) -> None:
    client = await aiohttp_client(create_app(config(Profiling(tmp_path / "kept"))))
    answer = await client.request(method, "/profiles")
    await problem(answer, 405)
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "POST"}


def moment(second: int) -> str:
    return f"{datetime(2026, 11, 22, 10, 10, second, tzinfo=UTC).timestamp() * 1e3:.0f}"


@pytest.mark.parametrize(
    ("span", "seconds"),
    [
        ({}, [40, 20, 1]),
        ({"from": moment(20), "to": moment(30)}, [20]),
        ({"from": moment(25), "to": moment(30)}, [20]),
        ({"from": moment(26), "to": moment(39)}, []),
        ({"from": moment(6)}, [40, 20, 1]),
        ({"from": moment(7)}, [40, 20]),
        ({"to": moment(20)}, [20, 1]),
        ({"to": moment(19)}, [1]),
        ({"from": moment(30), "to": moment(10)}, []),
    ],
)
async def test_profiles_of_a_time_are_those_captured_in_some_part_of_it(
    start: Start, shelf: Shelf, span: Mapping[str, str], seconds: Sequence[int]
) -> None:
    """Each took five seconds."""
    for second in (1, 20, 40):
        shelf.add(made(second))
    client = await start()
    answer = await client.get("/profiles", params=span)
    assert [profile["id"] for profile in await answer.json()] == [made(second).id for second in seconds]


async def test_the_page_of_a_time_says_which_and_leads_to_all(start: Start, shelf: Shelf) -> None:
    shelf.add(made(20))
    client = await start()
    text = await (
        await client.get("/profiles", params={"from": moment(20), "to": moment(30)}, headers=PAGE)
    ).text()
    assert "Captured between 2026-11-22 10:10:20 and 2026-11-22 10:10:30 UTC." in text
    assert '<a href="/profiles">All profiles</a>' in text
    assert made(20).id in text
    text = await (await client.get("/profiles", params={"from": moment(30)}, headers=PAGE)).text()
    assert "None was captured then." in text
    assert made(20).id not in text


@pytest.mark.parametrize("given", ["now-15m", "", "1e400", "9" * 30, "-" + "9" * 30, "1.5"])
async def test_a_time_that_is_none(start: Start, given: str) -> None:
    client = await start()
    detail = await problem(await client.get("/profiles", params={"from": given}), 400)
    assert detail == f"from is a number of milliseconds since 1970, not {given!r}"


async def test_that_there_is_no_room_is_not_that_it_cannot_be_done(start: Start, shelf: Shelf) -> None:
    client = await start()
    shelf.folder.rmdir()
    answer = await client.post("/profiles", json={})
    assert "profiles cannot be kept in" in await problem(answer, 503)
    assert answer.headers["Retry-After"] == "1"


async def test_an_answer_that_takes_long_is_counted_until_it_is_given(aiohttp_client: Connect) -> None:
    doors, seen = Doors(), []

    async def draw(_request: Request) -> NoReturn:
        seen.append(doors.inside)
        raise ParameterError("of which nothing can be drawn")

    app = Application()
    app[DOORS] = doors
    app.router.add_get("/", answering_problems(awaited(draw)))
    client = await aiohttp_client(app)
    await problem(await client.get("/"), 400)
    assert (seen, doors.inside) == ([1], 0)
