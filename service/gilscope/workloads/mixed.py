"""The common endpoint: fetch something, then compute on it."""

from gilscope.workloads.http_fetch import http_fetch, http_fetch_async
from gilscope.workloads.primes import primes


def mixed(url: str, delay_ms: int, n: int) -> list[int]:
    """Fetch with a blocking client, then count primes; return the answer's length and the count."""
    return [http_fetch(url, delay_ms), primes(n)]


async def mixed_async(url: str, delay_ms: int, n: int) -> list[int]:
    """Fetch with aiohttp's client, then count primes on the loop, as such handlers do."""
    return [await http_fetch_async(url, delay_ms), primes(n)]
