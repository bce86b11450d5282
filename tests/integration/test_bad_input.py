"""Requests that are wrong in some way, as bytes on a socket: no client tidies them up."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus import scraped
from served import Served, serving

from gilscope.model import BackendName
from gilscope.web import profiles
from gilscope.web.app import create_app
from gilscope.web.config import Profiling, ServiceConfig
from gilscope.workloads.loader import resolve

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient
    from aiohttp.web import Application, Request

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(3_600 if "GILSCOPE_REQUESTS" in os.environ else 300),
]

REQUESTS = int(os.environ.get("GILSCOPE_REQUESTS", "500"))
"""How many; set it to 10000 and more to look further (and give -s, to see what they were answered)."""

SEED = int(os.environ.get("GILSCOPE_SEED", "1"))
LENIENT = Path(__file__).parents[1] / "targets" / "lenient.py"
TOKEN = "secret"
ANSWER_S = 60.0
QUIET_S = 0.3
"""What has not been answered by then waits for more."""

AT_ONCE = 24
JSON = b"Content-Type: application/json\r\n"

METHODS = (*[b"GET"] * 12, *[b"POST"] * 4, b"HEAD", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE")
ODD_METHODS = (b"CONNECT", b"BREW", b"get", b"", b"G\x00T", b"\xff", b"A" * 9_000, b"PRI", b"M-SEARCH")
PATHS = (
    b"/work/noop/asyncio",
    b"/work/sqlite_query/threads",
    b"/work/lenient.give_back/asyncio",
    b"/work/lenient.give_back/threads",
    b"/work/lenient.give_back/processes",
    b"/work/noop/fibers",
    b"/work/none/threads",
    b"/ping",
    b"/healthz",
    b"/readyz",
    b"/workloads",
    b"/backends",
    b"/openapi.json",
    b"/",
    b"/profiles",
    b"/profiles/20261122T101001Z-waiting-000001",
    b"/profiles/20261122T101001Z-waiting-000001.svg",
    b"/profiles/20261122T101001Z-waiting-000001/difference.svg",
    b"/static/speedscope/index.html",
)
ODD_TARGETS = (
    *(b"*", b"", b"//", b"//[", b"/%", b"/%00", b"/%ff%fe", b"/\xff", b"ping", b"?", b"#", b"/;", b"/.."),
    *(b"http://evil/ping", b"http://[::1/ping", b"http://a:99999/ping", b"localhost:80", b"/" + b"a" * 9_000),
    *(b"/work/%2e%2e/%2e%2e", b"/work/noop%2fasyncio", b"/profiles/..%2f..%2fetc", b"/profiles/%00"),
    *(b"/static/../app.py", b"/static/..%2f..%2fapp.py", b"/static/%00", b"/static/" + b"a/" * 2_000),
)
NAMES = (b"value", b"rows", b"label", b"n", b"from", b"to", b"kind", b"against", b"", b"%00", b"self")
VALUES = (
    *(
        b"",
        b"1",
        b"-1",
        b"0",
        b"10",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"1.5",
        b"0x10",
        b"1_000",
        b"+5",
        b"true",
    ),
    *(
        b"null",
        b"%22a%22",
        b"%22%5Cud800%22",
        b"%D9%A1",
        b"%zz",
        b"%",
        b"%ff",
        b"\xff",
        b"%00",
        b"a b",
        b"<b>",
    ),
    *(b"9" * 300, b"9" * 5_000, b"[" * 3_000, b"[" * 400 + b"]" * 400, b"{" * 50, b"a" * 9_000, b"%5B1,2%5D"),
)
HEADERS = (
    *(
        b"Accept: text/html\r\n",
        b"Accept: \xff\r\n",
        b"X: a\x00b\r\n",
        b"X: a\r\n b\r\n",
        b"NoColon\r\n",
        b": x\r\n",
    ),
    *(b"Host: b\r\n", b"X: " + b"a" * 9_000 + b"\r\n", b"X: 1\r\n" * 127, b"X: 1\r\n" * 1_000, b"X" * 9_000),
    *(b"Content-Length: -1\r\n", b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n"),
    *(
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: x\r\n",
    ),
    *(
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    ),
    *(b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Expect: cats\r\n", b"Content-Encoding: gzip\r\n"),
    *(b"Content-Encoding: br\r\n", b"Content-Encoding: deflate\r\n", b"Content-Encoding: zstd\r\n", JSON),
    *(
        b"Content-Type: application/json; charset=none\r\n",
        b"Content-Type: \xff;;=\r\n",
        b"Range: bytes=9-1\r\n",
    ),
    *(
        b"Range: bytes=99999999-\r\n",
        b"If-Modified-Since: \xff\r\n",
        b"If-None-Match: \xff\r\n",
        b"Cookie: \xff=;=\r\n",
    ),
    *(b"Authorization: Basic \xff\r\n", b"Authorization: Bearer\r\n", b"Sec-WebSocket-Key: \xff\r\n"),
)
BODIES = (
    *(b"", b"{}", b"[]", b"{", b"\xff", b"null", b'{"seconds": 0}', b'{"kind": []}', b'{"kind": "\\ud800"}'),
    *(b'{"seconds": NaN}', b'{"rate": ' + b"9" * 5_000 + b"}", b"[" * 16_000, b" " * 20_000, b"zz\r\n{}\r\n"),
    *(
        b"2\r\n{}XX0\r\n\r\n",
        b"2\r\n{}\r\n0\r\n\r\n",
        b"\x1f\x8b\x08\x00garbage",
        b'{"seconds": true, "x": 1}',
    ),
)
GARBAGE = (
    *(
        b"\x00" * 20,
        b"\r\n\r\n",
        b"\n\n",
        b" ",
        b"\xff\xff\xff",
        b"GET\r\n\r\n",
        b"GET /ping\r\n\r\n",
        b"GET " * 3_000,
    ),
    *(
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 50,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ),
)
VERSIONS = (b"HTTP/1.1",) * 12 + (
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/9.9",
    b"HTTP/1",
    b"",
    b"http/1.1",
)

Pick = random.Random


def request_of(pick: Pick) -> bytes:
    """Return one request in which a few things are wrong, and sometimes none."""
    if pick.random() < 0.05:
        return pick.choice(GARBAGE)
    body = pick.choice(BODIES) if pick.random() < 0.3 else b""
    head = b"%s %s %s\r\nHost: localhost\r\n" % (_method(pick), _target(pick), pick.choice(VERSIONS))
    fields = [pick.choice(HEADERS) for _ in range(pick.choice((0, 0, 0, 0, 1, 2)))]
    if pick.random() < 0.5:
        fields.append(b"Authorization: Bearer %s\r\n" % TOKEN.encode())
    if body and pick.random() < 0.8:
        fields.append(JSON + b"Content-Length: %d\r\n" % max(0, len(body) + pick.choice((0, 0, 0, -1, 1))))
    return _maim(pick, head + b"".join(fields) + b"\r\n" + body)


def _method(pick: Pick) -> bytes:
    return pick.choice(METHODS if pick.random() < 0.97 else ODD_METHODS)


def _target(pick: Pick) -> bytes:
    path = pick.choice(PATHS if pick.random() < 0.9 else ODD_TARGETS)
    given = [
        b"%s=%s" % (pick.choice(NAMES), pick.choice(VALUES)) for _ in range(pick.choice((0, 0, 1, 1, 2, 3)))
    ]
    return path + (b"?" + b"&".join(given) if given else b"")


def _maim(pick: Pick, request: bytes) -> bytes:
    """Damage some requests further: bytes changed, cut off, or more after the end."""
    match pick.randrange(12):
        case 0:
            place = pick.randrange(len(request))
            return request[:place] + pick.randbytes(pick.randrange(1, 4)) + request[place + 1 :]
        case 1:
            return request[: pick.randrange(1, len(request))]
        case 2:
            return request + pick.choice(GARBAGE)
        case 3:
            return request * pick.randrange(2, 5)
        case _:
            return request


def exchange(port: int, request: bytes, quiet_s: float = QUIET_S) -> bytes:
    """Send a request, and return all that comes back until nothing more does."""
    answers = b""
    with socket.create_connection(("127.0.0.1", port), quiet_s) as connection, suppress(ConnectionError):
        try:
            connection.sendall(request)
            while part := connection.recv(65_536):
                answers += part
        except TimeoutError:  # It waits for the rest, or keeps the connection for another request.
            connection.settimeout(ANSWER_S)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                answers += part
    return answers  # A connection may be closed before all has been read that was sent on it.


def statuses(port: int, request: bytes) -> list[int]:
    """Return the status of each answer; none: the connection was closed without one."""
    return [
        int(found)
        for found in re.findall(rb"^HTTP/\d\.\d (\d{3}) .*\r$", exchange(port, request), re.MULTILINE)
    ]


@contextmanager
def guarded(folder: Path) -> Iterator[Served]:
    """Run a service that takes profiles, for whoever has the token."""
    options = (
        *("--workload=noop", "--workload=sqlite_query", f"--workload={LENIENT}:give_back", "--pool-size=1"),
        *("--backends=asyncio,threads,processes", f"--profiles={folder}", f"--token={TOKEN}"),
    )
    with serving(*options) as served:
        yield served


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a service that several tests share."""
    with guarded(tmp_path_factory.mktemp("profiles")) as served:
        yield port_of(served)


def port_of(served: Served) -> int:
    return int(str(served.ready["url"]).rpartition(":")[2])


def is_fair(status: int) -> bool:
    return status == 100 or status // 100 in {2, 4} or status in {501, 503, 504}


def test_nothing_that_is_sent_breaks_the_service(tmp_path: Path) -> None:
    """Each request is answered with a fair status or the connection is closed; nothing is said on standard error."""
    pick = random.Random(SEED)
    requests = [request_of(pick) for _ in range(REQUESTS)]
    with guarded(tmp_path) as served:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answered = list(pool.map(partial(statuses, port_of(served)), requests))
        counts = Counter(status for found in answered for status in found or [0])
        print(f"{len(requests)} requests: {dict(sorted(counts.items()))} (0: closed)")  # noqa: T201  for runs by hand
        pairs = zip(answered, requests, strict=True)
        assert [(found, request) for found, request in pairs if not all(map(is_fair, found))] == []
        assert counts.keys() >= {200, 400, 401, 404, 405}
        _require_unharmed(served)


def _require_unharmed(served: Served) -> None:
    """Check that the service is the one that was started, does its work, and has said nothing."""
    assert served.get("/healthz")["pid"] == served.process.pid
    for backend in ("asyncio", "threads", "processes"):
        assert served.result(f"/work/lenient.give_back/{backend}?value=7") == 7
    restarts = re.findall(
        r"^gilscope_backend_restarts_total\{.*\} (.*)$",
        scraped(str(served.ready["metrics_url"])),
        re.MULTILINE,
    )
    assert restarts == ["0.0"] * 3
    served.process.send_signal(signal.SIGTERM)
    code, _, err = served.end()
    assert (code, err) == (0, "")


def get(target: str, *fields: str, method: str = "GET") -> bytes:
    return order(b"", f"Authorization: Bearer {TOKEN}", *fields, target=target, method=method, length=False)


def order(
    body: bytes, *fields: str, target: str = "/profiles", method: str = "POST", length: bool = True
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *fields]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


OWN = ("Content-Type: application/json", f"Authorization: Bearer {TOKEN}")


def test_what_is_wrong_is_told_as_a_problem(port: int) -> None:
    give_back = "/work/lenient.give_back/threads?value="
    for status, request in (
        (400, get("/work/sqlite_query/threads?rows=%zz")),
        (400, get("/work/sqlite_query/threads?rows=%ff")),
        (400, get("/work/sqlite_query/threads?rows=" + "9" * 5_000)),
        (400, get("/work/sqlite_query/threads?rows=0")),
        (400, get("/work/sqlite_query/threads?rows")),
        (400, get("/work/sqlite_query/threads?=5")),
        (400, get(give_back + "[" * 4_000)),
        (400, get(give_back + "NaN")),
        (400, get(give_back + "1e999")),
        (400, get(give_back)),
        (400, get("/profiles?from=1_000")),
        (400, get("/profiles?from=-1")),
        (400, get("/profiles?to=253370764800001")),
        (400, order(b"{}", "Content-Type: text/plain", OWN[1])),
        (400, order(b"{", *OWN)),
        (400, order(b"{}", *OWN, "Content-Encoding: gzip")),
        (400, order(b"{}", *OWN, "Content-Encoding: br")),
        (400, order(b"[]", "Content-Type: application/json; charset=none", OWN[1])),
        (400, order(b"[" * 16_000, *OWN)),
        (401, order(b"{}", OWN[0])),
        (401, order(b"", target="/openapi.json", method="GET", length=False)),
        (404, get("/%00")),
        (404, get("/profiles/..%2f..%2fetc")),
        (404, get("/static/..%2fapp.py")),
        (405, get("/live", method="HEAD")),
        (405, get("/ping", method="OPTIONS")),
        (405, get("/work/noop/asyncio", method="PUT")),
        (405, get("/profiles/20261122T101001Z-waiting-000001", method="DELETE")),
        (413, order(b" " * 16_385, *OWN)),
        (501, get("/work/noop/interpreters")),
    ):
        head, _, body = exchange(port, request, ANSWER_S).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), (request[:80], head)
        assert b"Content-Type: application/problem+json" in head, (request[:80], head)
        assert b"Traceback" not in body
        if status == 405:
            assert b"\r\nAllow: GET" in head


@pytest.mark.parametrize(
    "request_",
    [
        get("/" + "a" * 8_190),
        get("/ping?" + "a" * 8_190),
        get("/ping", "X: " + "a" * 8_191),
        get("/ping", *["X: 1"] * 129),
        get("/ping", "Host: b"),
        get("/ping", method="BREW"),
        get("/ping", "Content-Length: -1"),
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /ping HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=lambda request: repr(request[:20]),
)
def test_what_is_no_http_is_400_and_the_end_of_the_connection(port: int, request_: bytes) -> None:
    answer = exchange(port, request_, ANSWER_S)
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"Content-Type: text/plain" in answer


def test_half_requests_hold_nobody_up(tmp_path: Path) -> None:
    halves = (b"GET /ping HT", b"GET /ping HTTP/1.1\r\nHost:", order(b"{}", *OWN)[:-1])
    with guarded(tmp_path) as served, ExitStack() as stack:
        for half in halves * 30:
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", port_of(served)), ANSWER_S)
            )
            connection.sendall(half)
        _require_unharmed(served)


async def test_a_body_that_does_not_come_is_408(
    aiohttp_client: Callable[[Application], Awaitable[TestClient[Request, Application]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(profiles, "BODY_S", 0.05)
    config = ServiceConfig((resolve("noop", {}),), (BackendName.ASYNCIO,), profiling=Profiling(tmp_path))
    client = await aiohttp_client(create_app(config))
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(order(b"{}", OWN[0])[:-1])
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in head
    writer.close()
    await writer.wait_closed()
