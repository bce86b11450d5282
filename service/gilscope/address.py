"""``HOST:PORT`` as it is typed, and whether a host is this machine. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache


def split_address(text: str) -> tuple[str, int]:
    """Split ``HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is not one, or the port is not within 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    inside = host[1:-1] if bracketed else host
    sound = inside and (bracketed or ":" not in host) and "[" not in inside and "]" not in inside
    if not colon or not sound or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"takes HOST:PORT, such as 10.0.0.5:5557, not {text!r}")
    return inside, int(port)


@lru_cache(maxsize=128)  # it is asked for each request
def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def names_this_machine(host: str) -> bool:
    """Tell whether a request's ``Host`` is this machine's own name, with a port or without.

    A page of another site that has its name point here (DNS rebinding) still asks under that name.
    """
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    return is_loopback(name)
