"""The lightest client there is: fixed bytes over kept-alive connections, answers counted by their length.

It must not be what is measured, so it parses nothing but ``Content-Length``.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


class Connection(asyncio.Protocol):
    """Sends a request, waits for its answer, sends the next."""

    def __init__(self, request: bytes) -> None:
        self.answers = 0
        self._request = request
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count an answer once it is whole, and send the next request."""
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"answered {head[:200]!r}")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._buffer = b""
            self.answers += 1
            self._transport.write(self._request)


async def measure(url: str, *, connections: int, warmup_s: float, seconds: float) -> float:
    """Return answers per second of ``url`` over so many connections."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(request), parts.hostname, parts.port)
        for _ in range(connections)
    ]
    await asyncio.sleep(warmup_s)
    before, begun = sum(protocol.answers for _, protocol in opened), loop.time()
    await asyncio.sleep(seconds)
    after, ended = sum(protocol.answers for _, protocol in opened), loop.time()
    for transport, _ in opened:
        transport.abort()
    return (after - before) / (ended - begun)
