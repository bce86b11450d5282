"""Asking a lens that exports what it has seen, at little cost: a service does so once a second, on the loop that is measured."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from gilscope.address import split_address
from gilscope.live.reading import LensTotals, lens_totals

ANSWER_S = 5.0
"""It answers within milliseconds; a loop that computes takes several of its turns to ask and to hear that."""


async def totals_at(url: str) -> LensTotals | None:
    """Return what a lens has seen so far; None where it does not answer in time.

    Over a bare connection: aiohttp's client takes twice as long for it.

    Raises:
        OSError: it is not there any more.
    """
    host, port = split_address(urlsplit(url).netloc)
    try:
        async with asyncio.timeout(ANSWER_S):
            return lens_totals(await _get(host, port))
    except TimeoutError:
        return None


async def _get(host: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        return (await reader.read()).decode()
    finally:
        writer.close()
