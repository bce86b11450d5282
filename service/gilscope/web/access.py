"""Who may see profiles: they show source paths. Everybody on this machine, or whoever has the token."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus

from aiohttp import web  # noqa: TC002  get_type_hints of handlers must work

from gilscope.address import is_loopback, names_this_machine
from gilscope.errors import UsageError
from gilscope.web.problems import Handler, problem

Guard = Callable[[Handler], Handler]


def require_safe(host: str, token: str | None) -> None:
    """Check that only those who may can reach the profiles.

    Raises:
        UsageError: others can.
    """
    if token is not None and not token.strip():
        raise UsageError("an empty token keeps nobody out", remedy="--token SECRET, or none at all")
    if token is None and not is_loopback(host):
        raise UsageError(
            f"profiles show source paths, and {host} can be reached from elsewhere",
            remedy="--token SECRET, which readers then have to give; or 127.0.0.1",
        )


def require_permission(host: str, token: str | None, *, insecure: bool) -> str | None:
    """Check that others may call the service, where they can; return what there is to be warned of.

    Raises:
        UsageError: they can, and nobody has said that they may.
    """
    if (token and token.strip()) or is_loopback(host):
        return None
    if not insecure:
        raise UsageError(
            f"{host} can be reached from elsewhere, and whoever does could run the workloads",
            remedy="--insecure if they may; --token SECRET if they may, and profiles are to be yours; or --host 127.0.0.1",
        )
    return f"everybody who can reach {host} can run the workloads"


def guarded_by(token: str | None) -> Guard:
    """Return what keeps a handler from strangers.

    With a token it must come with each request: as a bearer token, or as the password of a browser's own dialog. Without
    one the service listens on loopback, and a page of another site that has its name point there is turned away.
    """

    def guard(handler: Handler) -> Handler:
        @wraps(handler)
        async def answer(request: web.Request) -> web.StreamResponse:
            if token is None:
                return await handler(request) if names_this_machine(request.host) else _turned_away(request)
            return await handler(request) if _has(request, token) else _asked_for_token()

        return answer

    return guard


def guarded_at(host: str) -> Guard:
    """Return what keeps a handler from pages of other sites, where the service listens on ``host``: nothing, if others may call it."""
    return guarded_by(None) if is_loopback(host) else lambda handler: handler


def showing_paths(host: str, token: str | None) -> Callable[[web.Request], bool]:
    """Return what tells whether a request may see source paths, of a service that listens on ``host``: as with profiles."""
    if token is not None:
        return lambda request: _has(request, token)
    is_ours = is_loopback(host)
    return lambda request: is_ours and names_this_machine(request.host)


def _turned_away(request: web.Request) -> web.Response:
    detail = f"this is for this machine alone, and {request.host!r} is another name"
    return problem(HTTPStatus.FORBIDDEN, detail)


def _asked_for_token() -> web.Response:
    headers = {"WWW-Authenticate": 'Basic realm="gilscope: any name, and the token as password"'}
    return problem(HTTPStatus.UNAUTHORIZED, "this needs the token of gilscope serve --token", headers=headers)


def _has(request: web.Request, token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except ValueError:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())
