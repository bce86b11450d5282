"""Pings a service at a steady rate, each counted from when it was due: who is late with one is late with the next."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gilscope.quantiles import quantile

LIMIT_S = 1.0
"""After so long a ping counts as unanswered."""
_REQUEST = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Pings:
    """What became of the pings of a stage. An unanswered one counts as having taken as long as it was waited for."""

    latencies_ms: tuple[float, ...]
    unanswered: int

    def quantile_ms(self, q: float) -> float:
        """Return a quantile of the latencies."""
        return quantile(sorted(self.latencies_ms), q)


@dataclass(slots=True)
class _Pinger:
    """Keeps as many connections as there are pings without an answer."""

    port: int
    free: list[_Connection] = field(default_factory=list)
    all: list[_Connection] = field(default_factory=list)

    async def ping(self, due: float) -> float | None:
        """Wait until it is due, and for its answer; return the ms between, None where there was none."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(due - loop.time())
        try:
            async with asyncio.timeout_at(due + LIMIT_S):
                await self._exchange()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            return None
        return (loop.time() - due) * 1e3

    async def _exchange(self) -> None:
        if self.free:
            connection = self.free.pop()
        else:
            connection = await asyncio.open_connection("127.0.0.1", self.port)
            self.all.append(connection)
        reader, writer = connection
        writer.write(_REQUEST)
        await reader.readuntil(b"pong")
        self.free.append(connection)


async def ping_steadily(port: int, seconds: float, rate: float) -> Pings:
    """Send pings when they are due, each on a connection that has none on its way; wait for all answers."""
    pinger = _Pinger(port)
    begin = asyncio.get_running_loop().time() + 0.01
    answers = await asyncio.gather(
        *(pinger.ping(begin + number / rate) for number in range(round(seconds * rate)))
    )
    for _, writer in pinger.all:
        writer.transport.abort()
    unanswered = answers.count(None)
    return Pings(tuple(LIMIT_S * 1e3 if ms is None else ms for ms in answers), unanswered)


def ping(port: int, seconds: float, rate: float) -> Pings:
    """Ping a service of this machine for so long, so many times a second, and wait for the last answer."""
    return asyncio.run(ping_steadily(port, seconds, rate))
