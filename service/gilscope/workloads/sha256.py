"""CPU work in C that releases the GIL: hashing a large buffer (CPython releases it above 2047 bytes)."""

import functools
import hashlib


@functools.cache
def _buffer(megabytes: int) -> bytes:
    return bytes(megabytes * 1_000_000)


def sha256(megabytes: int) -> str:
    """Return the SHA-256 of ``megabytes`` MB of zeros, in hexadecimal."""
    return hashlib.sha256(_buffer(megabytes)).hexdigest()
