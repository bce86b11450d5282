"""The routes of profiles: ask for one, wait for it, look at it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import cast

from aiohttp import web

from gilscope.errors import CaptureError, ParameterError
from gilscope.flame.capture import MAX_RATE_HZ, MAX_SECONDS, RATE_HZ, SECONDS
from gilscope.model import FlameKind
from gilscope.profiling.companion import BusyError, NoRoomError, Profiles
from gilscope.profiling.shelf import Profile, State
from gilscope.web import profile_pages as pages
from gilscope.web.access import Guard
from gilscope.web.problems import RETRY_SOON, UNREADABLE, Handler, answering_problems, awaited, problem

PROFILES = web.AppKey("profiles", Profiles)

FORM_TYPES = {"svg": "image/svg+xml", "folded": "text/plain", "speedscope.json": "application/json"}
"""How a graph can be had, and the type of each."""

BODY_S = 10.0
"""How long the order of a profile may take to arrive."""

LAST_MOMENT_MS = 253_370_764_800_000
"""The year 9999, in milliseconds since 1970."""

_MILLISECONDS = re.compile(r"\d{1,15}", re.ASCII)
_FIRST, _LAST = (datetime(year, 1, 1, tzinfo=UTC) for year in (1970, 9999))
_STATIC = Path(__file__).resolve().with_name("static")


def routes(guard: Guard) -> Iterator[web.AbstractRouteDef]:
    """Yield all routes."""
    gets: Mapping[str, Handler] = {
        "/profiles": every_profile,
        "/profiles/{id:[^/.]+}": one_profile,
        "/profiles/{id:[^/.]+}{stem:(?:/flamegraph)?}.{form:svg|folded|speedscope\\.json}": one_graph,
        "/profiles/{id:[^/.]+}/difference.svg": one_difference,
        "/static/{path:(?s:.+)}": one_asset,
    }
    for path, handler in gets.items():
        yield web.get(path, answering_problems(awaited(guard(handler))))
    yield web.post("/profiles", answering_problems(guard(begin)))


def taking(make: Callable[[], Profiles]) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return the context in which an application takes profiles; ``make`` is called when it starts."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        app[PROFILES] = make()
        yield
        await app[PROFILES].stop()

    return context


async def begin(request: web.Request) -> web.Response:
    """``POST /profiles``: start to capture; 202 with the place where it will be."""
    kind, seconds, rate_hz = await _order(request)
    try:
        profile = request.app[PROFILES].begin(kind, seconds, rate_hz)
    except BusyError as busy:
        place = _place(busy.running)
        return problem(
            HTTPStatus.CONFLICT, str(busy), running=place, headers={"Retry-After": str(busy.running.seconds)}
        )
    except NoRoomError as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers=RETRY_SOON)
    except CaptureError as error:
        return problem(HTTPStatus.NOT_IMPLEMENTED, str(error))
    headers = {"Location": _place(profile), "Retry-After": str(profile.seconds + 1)}
    return web.json_response(_described(profile), status=HTTPStatus.ACCEPTED, headers=headers)


async def _order(request: web.Request) -> tuple[FlameKind, int, int]:
    # A page of another site cannot send this type without being asked first, and is not answered then.
    if request.content_type != "application/json":
        raise ParameterError("the body is JSON", remedy="Content-Type: application/json")
    try:
        given = json.loads(await _body(request) or b"{}")
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"the body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise ParameterError('the body is an object, such as {"kind": "waiting", "seconds": 5}')
    unknown = given.keys() - {"kind", "seconds", "rate"}
    if unknown:
        raise ParameterError(
            f"unknown: {', '.join(sorted(unknown))}", remedy="kind, seconds and rate are known"
        )
    try:
        kind = FlameKind(given.get("kind", FlameKind.WAITING))
    except ValueError:
        raise ParameterError(f"kind is one of {', '.join(FlameKind)}, not {given['kind']!r}") from None
    return kind, _whole(given, "seconds", SECONDS, MAX_SECONDS), _whole(given, "rate", RATE_HZ, MAX_RATE_HZ)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not come within {BODY_S:g} s") from None
    except UNREADABLE as error:
        raise ParameterError(f"the body cannot be read: {error}") from None


def _whole(given: Mapping[str, object], name: str, default: int, most: int) -> int:
    value = given.get(name, default)
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value in range(1, most + 1)
    if not is_whole:  # 5.0 is whole: JSON has but one kind of numbers
        raise ParameterError(f"{name} is a whole number from 1 to {most}, not {json.dumps(value)}")
    return int(cast("float", value))


async def every_profile(request: web.Request) -> web.Response:
    """``GET /profiles``: all that are kept, the newest first; as a page for a browser.

    With ``?from=`` and ``?to=``, in milliseconds since 1970 as Grafana writes them, those alone that were captured in
    some part of that time.
    """
    found = list(request.app[PROFILES].shelf.profiles())
    span = _span(request)
    if span is not None:
        found = [profile for profile in found if profile.overlaps(*span)]
    if _wants_page(request):
        return pages.answer(pages.every_profile(found, request.app[PROFILES].running, span))
    return web.json_response([_described(profile) for profile in found])


def _span(request: web.Request) -> tuple[datetime, datetime] | None:
    """Return the time that was asked for; None: all of it."""
    if not request.query.keys() & {"from", "to"}:
        return None
    return _moment(request, "from", _FIRST), _moment(request, "to", _LAST)


def _moment(request: web.Request, name: str, default: datetime) -> datetime:
    given = request.query.get(name)
    if given is None:
        return default
    if _MILLISECONDS.fullmatch(given) and int(given) <= LAST_MOMENT_MS:
        return datetime.fromtimestamp(int(given) / 1e3, UTC)
    raise ParameterError(f"{name} is a number of milliseconds since 1970, not {given!r}")


async def one_profile(request: web.Request) -> web.Response:
    """``GET /profiles/{id}``: how it was made, or why not; as a page for a browser."""
    profile, shelf = _found(request), request.app[PROFILES].shelf
    if not _wants_page(request):
        return web.json_response(_described(profile))
    fragments = {}
    for kind in FlameKind:
        with contextlib.suppress(OSError):  # It may have gone to make room.
            fragments[kind] = shelf.file(profile, kind, "fragment.svg").read_text(encoding="utf-8")
    others = [other for other in shelf.profiles() if other.state is State.DONE and other.id != profile.id]
    return pages.answer(pages.one_profile(profile, fragments, others))


async def one_graph(request: web.Request) -> web.StreamResponse:
    """``GET /profiles/{id}/flamegraph.svg`` and its kin: the graph that was asked for, or with ``?kind=`` another."""
    profile = _found(request)
    kind, form = _kind(request, profile), request.match_info["form"]
    _require_graph(profile, kind, form)
    path = request.app[PROFILES].shelf.file(profile, kind, form)
    return _file(path, FORM_TYPES[form], pages.GRAPH_POLICY)


async def one_difference(request: web.Request) -> web.StreamResponse:
    """``GET /profiles/{id}/difference.svg?against={id}``: how it differs from another."""
    profiles, now = request.app[PROFILES], _found(request)
    name = request.query.get("against", "")
    before = profiles.shelf.find(name)
    if before is None:
        raise web.HTTPNotFound(text=f"no profile {name!r} to compare with; GET /profiles lists them")
    kind = _kind(request, now)
    for profile in (now, before):
        _require_graph(profile, kind, "folded")
    try:
        path = await profiles.draw_difference(now, before, kind)
    except CaptureError as error:
        return problem(HTTPStatus.CONFLICT, str(error))
    return _file(path, FORM_TYPES["svg"], pages.GRAPH_POLICY)


async def one_asset(request: web.Request) -> web.StreamResponse:
    """``GET /static/…``: what the pages are made of. Nothing outside the folder, wherever the path leads."""
    try:
        path = (_STATIC / request.match_info["path"]).resolve()
        found = path.is_relative_to(_STATIC) and path.is_file()
    except (OSError, ValueError):  # too long a name, or one that no file can have
        found = False
    if not found:
        raise web.HTTPNotFound(text="no such file")
    return web.FileResponse(path, headers=pages.headers(pages.SPEEDSCOPE_POLICY))


def _found(request: web.Request) -> Profile:
    name = request.match_info["id"]
    profile = request.app[PROFILES].shelf.find(name)
    if profile is None:
        raise web.HTTPNotFound(text=f"no profile {name!r}: GET /profiles lists those that are kept")
    return profile


def _kind(request: web.Request, profile: Profile) -> FlameKind:
    asked = request.query.get("kind", profile.kind)
    try:
        return FlameKind(asked)
    except ValueError:
        raise ParameterError(f"kind is one of {', '.join(FlameKind)}, not {asked!r}") from None


def _require_graph(profile: Profile, kind: FlameKind, form: str) -> None:
    """Check that there is something to show: never an empty graph."""
    if profile.state is State.RUNNING:
        raise web.HTTPConflict(
            text=f"profile {profile.id} is being captured: wait for its {profile.seconds} s"
        )
    if profile.state is State.FAILED:
        reason = f"{profile.error}{f' -> {profile.remedy}' if profile.remedy else ''}"
        raise web.HTTPConflict(text=f"profile {profile.id} failed: {reason}")
    if kind not in profile.graphs:
        raise web.HTTPNotFound(text=f"profile {profile.id} has {' and '.join(profile.graphs)}, not {kind}")
    if form != "folded" and not profile.graphs[kind]["samples"]:
        raise web.HTTPNotFound(text=f"there is nothing to draw: {pages.NOBODY[kind]}")


def _file(path: Path, type_: str, policy: str) -> web.StreamResponse:
    if not path.is_file():
        raise web.HTTPNotFound(text=f"{path.name} is not there any more")
    return web.FileResponse(path, headers={"Content-Type": type_, **pages.headers(policy)})


def _wants_page(request: web.Request) -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _place(profile: Profile) -> str:
    return f"/profiles/{profile.id}"


def _described(profile: Profile) -> dict[str, object]:
    """Return a profile as JSON, with the places of what it has."""
    place = _place(profile)
    links = {form: f"{place}/flamegraph.{form}" for form in FORM_TYPES} if profile.state is State.DONE else {}
    return {**asdict(profile), "links": links}
