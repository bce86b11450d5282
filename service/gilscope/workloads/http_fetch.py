"""Waiting for somebody else: an HTTP request over a real socket to an upstream that takes its time."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from gilscope.workloads.base import Surroundings
from gilscope.workloads.keeping import worker_local

if TYPE_CHECKING:
    import aiohttp

_local = worker_local()
_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()


def http_fetch(url: str, delay_ms: int) -> int:
    """Fetch from ``url`` with a blocking client; return the length of the answer in bytes."""
    path = f"/?delay_ms={delay_ms}"
    try:
        return len(_get(_connection(url), path))
    except (http.client.RemoteDisconnected, ConnectionError):
        # The upstream closed an idle connection: once more on a new one.
        _local.__dict__.pop(url).close()
        return len(_get(_connection(url), path))


def _connection(url: str) -> http.client.HTTPConnection:
    """Return this worker's kept-alive connection: with the workers' number as its bound, that is a pool."""
    kept: dict[str, http.client.HTTPConnection] = _local.__dict__
    if url not in kept:
        kept[url] = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    return kept[url]


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    with connection.getresponse() as response:
        body = response.read()
    if response.status != http.HTTPStatus.OK:
        raise http.client.HTTPException(f"the upstream answered {response.status}")
    return body


async def http_fetch_async(url: str, delay_ms: int) -> int:
    """Fetch from ``url`` with aiohttp's client; return the length of the answer in bytes."""
    async with _session().get(url, params={"delay_ms": delay_ms}) as response:
        response.raise_for_status()
        return len(await response.read())


def _session() -> aiohttp.ClientSession:
    """Return the running loop's client session, made on first use; the service closes it."""
    import aiohttp  # noqa: PLC0415  its C extensions do not load in a subinterpreter

    loop = asyncio.get_running_loop()
    if loop not in _sessions:
        _sessions[loop] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    return _sessions[loop]


async def close_session() -> None:
    """Close the running loop's client session, if there is one."""
    session = _sessions.pop(asyncio.get_running_loop(), None)
    if session is not None:
        await session.close()


def prepare(arguments: Mapping[str, object], surroundings: Surroundings) -> dict[str, object]:
    """Add the address of the upstream that the service started."""
    assert surroundings.upstream_url is not None
    return {"url": surroundings.upstream_url, **arguments}
