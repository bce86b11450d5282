from __future__ import annotations

import pytest

from gilscope.address import is_loopback, names_this_machine, split_address


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


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1.2.3",
        "127.255.255.255",
        "::1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
        "::1%lo",
        "localhost",
        "LocalHost",
    ],
)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "[::]",
        "*",
        "10.0.0.1",
        "192.168.0.1",
        "128.0.0.1",
        "126.255.255.255",
        "fe80::1",
        "::2",
        "2001:db8::1",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example",
        "127.0.0.1 evil.example",
        "127.0.0.1:80",
        "2130706433",
        "%127.0.0.1",
    ],
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8080", "127.0.0.2"]
)
def test_a_request_under_our_own_name(host: str) -> None:
    assert names_this_machine(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8080",
        "192.168.0.1:8080",
        "[2001:db8::1]:8080",
        "[::1",
        "@127.0.0.1",
    ],
)
def test_a_request_under_another_name(host: str) -> None:
    assert not names_this_machine(host)
