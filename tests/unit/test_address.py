from __future__ import annotations

import pytest

from gilscope.address import split_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.5:5557", "10.0.0.5", 5557),
        ("localhost:0", "localhost", 0),
        ("a.example:65535", "a.example", 65_535),
        ("[::1]:8080", "::1", 8080),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("host:0080", "host", 80),
    ],
)
def test_an_address_has_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        ":80",
        ":",
        "host:x",
        "host:-1",
        "host:65536",
        "host:1.5",
        "host: 80",
        "[::1]",
        "8080",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"takes HOST:PORT, such as 10\.0\.0\.5:5557, not") as caught:
        split_address(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["::1", "fe80::1", "::1:8080", "[::1:8080", "::1]:8080", "[]:80"])
def test_an_ipv6_address_stands_in_brackets(text: str) -> None:
    with pytest.raises(ValueError, match="takes HOST:PORT"):
        split_address(text)
