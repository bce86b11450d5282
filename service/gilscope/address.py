"""``HOST:PORT`` as it is typed. Pure."""

from __future__ import annotations


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
