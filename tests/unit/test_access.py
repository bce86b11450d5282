from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request, Response, get

from gilscope.errors import UsageError
from gilscope.web.access import guarded_by, require_permission, require_safe, showing_paths
from gilscope.web.problems import answering_problems

Client = TestClient[Request, Application]
Start = Callable[[str | None], Awaitable[Client]]

TOKEN = "s3cret: with ü and a colon"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    require_safe(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.1", "service.example"])
def test_any_other_host_needs_one(host: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_safe(host, None)
    assert caught.value.message == f"profiles show source paths, and {host} can be reached from elsewhere"
    assert "--token SECRET" in str(caught.value.remedy)
    assert "127.0.0.1" in str(caught.value.remedy)
    require_safe(host, TOKEN)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1"])
def test_strangers_may_call_only_where_somebody_said_so(host: str) -> None:
    with pytest.raises(UsageError, match="can be reached from elsewhere") as caught:
        require_permission(host, None, insecure=False)
    assert str(caught.value.remedy).startswith("--insecure if they may")
    warning = require_permission(host, None, insecure=True)
    assert warning == f"everybody who can reach {host} can run the workloads"
    assert require_permission(host, TOKEN, insecure=False) is None
    assert require_permission("127.0.0.1", None, insecure=False) is None


def test_an_empty_token_keeps_nobody_out_and_so_is_refused() -> None:
    with pytest.raises(UsageError):
        require_safe("0.0.0.0", "")


@pytest.fixture
def start(aiohttp_client: Callable[[Application], Awaitable[Client]]) -> Start:
    """Start an application with one guarded route."""

    async def start(token: str | None) -> Client:
        async def secret(_request: Request) -> Response:
            return Response(text="the source paths")

        app = Application()
        app.add_routes([get("/", answering_problems(guarded_by(token)(secret)))])
        return await aiohttp_client(app)

    return start


async def status(client: Client, header: bytes, *, host: bytes = b"Host: 127.0.0.1\r\n") -> tuple[int, bytes]:
    """Ask with raw headers, as only some clients would; give status and body."""
    assert client.port is not None
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"GET / HTTP/1.1\r\n" + host + header + b"Connection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def bearer(token: str, scheme: str = "Bearer") -> bytes:
    return b"Authorization: " + f"{scheme} {token}".encode() + b"\r\n"


def basic(text: str | bytes, scheme: str = "Basic") -> bytes:
    given = text.encode() if isinstance(text, str) else text
    return f"Authorization: {scheme} {base64.b64encode(given).decode()}\r\n".encode()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8080", "127.0.0.2"]
)
async def test_without_a_token_our_own_names_are_let_in(start: Start, host: str) -> None:
    client = await start(None)
    assert await status(client, b"", host=f"Host: {host}\r\n".encode()) == (200, b"the source paths")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8080",
        "192.168.0.1:8080",
        "[2001:db8::1]:8080",
        "[::1",
        "::1",
        "@127.0.0.1",
        "evil.example,127.0.0.1",
        "",
    ],
)
async def test_without_a_token_another_name_is_turned_away(start: Start, host: str) -> None:
    client = await start(None)
    code, body = await status(client, b"", host=f"Host: {host}\r\n".encode())
    assert code in ({403} if host not in ("", "[::1", "@127.0.0.1") else {400, 403})
    assert b"source paths" not in body


async def test_who_is_turned_away_is_told_why(start: Start) -> None:
    client = await start(None)
    code, body = await status(client, b"", host=b"Host: evil.example\r\n")
    assert (code, json.loads(body)["detail"]) == (
        403,
        "this is for this machine alone, and 'evil.example' is another name",
    )


@pytest.mark.parametrize(
    ("listens", "token", "header", "name", "may_see"),
    [
        ("127.0.0.1", None, b"", b"localhost", True),
        ("127.0.0.1", None, b"", b"evil.example", False),
        ("0.0.0.0", None, b"", b"localhost", False),
        ("127.0.0.1", TOKEN, b"", b"localhost", False),
        ("127.0.0.1", TOKEN, b"Authorization: Bearer " + TOKEN.encode() + b"\r\n", b"evil.example", True),
        ("0.0.0.0", TOKEN, b"Authorization: Bearer " + TOKEN.encode() + b"\r\n", b"service.example", True),
    ],
)
async def test_source_paths_are_for_those_who_may_see_profiles(
    aiohttp_client: Callable[[Application], Awaitable[Client]],
    listens: str,
    token: str | None,
    header: bytes,
    name: bytes,
    may_see: bool,  # noqa: FBT001
) -> None:
    shows_paths = showing_paths(listens, token)

    async def shown(request: Request) -> Response:
        return Response(text=str(shows_paths(request)))

    app = Application()
    app.add_routes([get("/", shown)])
    client = await aiohttp_client(app)
    assert await status(client, header, host=b"Host: " + name + b"\r\n") == (200, str(may_see).encode())


async def test_without_a_token_none_is_needed_and_one_does_no_harm(start: Start) -> None:
    client = await start(None)
    for header in (b"", bearer("anything"), b"Authorization: nonsense\r\n"):
        assert (await status(client, header))[0] == 200


@pytest.mark.parametrize(
    "header",
    [
        bearer(TOKEN),
        bearer(TOKEN, "bearer"),
        bearer(TOKEN, "BEARER"),
        basic(f"anybody:{TOKEN}"),
        basic(f":{TOKEN}"),
        basic(f"anybody:{TOKEN}", "basic"),
    ],
)
@pytest.mark.parametrize("host", [b"Host: 127.0.0.1\r\n", b"Host: service.example\r\n"])
async def test_the_token_lets_in_whatever_the_name(start: Start, header: bytes, host: bytes) -> None:
    client = await start(TOKEN)
    assert await status(client, header, host=host) == (200, b"the source paths")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Authorization:\r\n",
        b"Authorization: \r\n",
        b"Authorization: Bearer\r\n",
        b"Authorization: Bearer \r\n",
        bearer("wrong"),
        bearer(TOKEN[:-1]),
        bearer(TOKEN + "x"),
        bearer(TOKEN.upper()),
        bearer(TOKEN, "Token"),
        bearer(TOKEN, ""),
        b"Authorization: " + TOKEN.encode() + b"\r\n",
        b"Authorization: Bearer \xff\xfe\r\n",
        b"Authorization: \xff \xfe\r\n",
        b"Authorization: Basic\r\n",
        b"Authorization: Basic \r\n",
        b"Authorization: Basic not base64!\r\n",
        b"Authorization: Basic \xff\xfe\r\n",
        b"Authorization: Basic YQ\r\n",
        basic(b"\xff:\xfe"),
        basic(b""),
        basic(TOKEN),
        basic(f"{TOKEN}:"),
        basic("anybody:wrong"),
        basic(f"anybody:{TOKEN}:"),
        basic(f"anybody:{TOKEN}", "Digest"),
        bearer(base64.b64encode(f"anybody:{TOKEN}".encode()).decode()),
        b"Cookie: token=" + TOKEN.encode() + b"\r\n",
    ],
)
async def test_without_the_right_token_it_is_asked_for(start: Start, header: bytes) -> None:
    client = await start(TOKEN)
    code, body = await status(client, header)
    assert code == 401
    assert json.loads(body)["detail"] == "this needs the token of gilscope serve --token"


async def test_the_token_is_no_part_of_the_address(start: Start) -> None:
    client = await start("x")
    assert (await client.get("/?token=x")).status == 401


async def test_a_browser_is_told_to_ask(start: Start) -> None:
    client = await start(TOKEN)
    answer = await client.get("/")
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="gilscope')
    assert answer.content_type == "application/problem+json"


async def test_the_guarded_handler_keeps_its_name() -> None:
    async def secret(_request: Request) -> Response:
        return Response()

    assert guarded_by(None)(secret).__name__ == "secret"
