from __future__ import annotations

import socket

import pytest

from gilscope.errors import UsageError
from gilscope.web.supervisor import LONGEST_PAUSE_S, pause_s, reserved


def test_pauses_double_up_to_a_bound() -> None:
    assert [pause_s(deaths) for deaths in (1, 2, 3, 4)] == [0.1, 0.2, 0.4, 0.8]
    assert pause_s(100) == pause_s(100_000) == LONGEST_PAUSE_S
    assert pause_s(0) == 0.1


def test_a_reserved_port_may_be_listened_on_by_several_and_by_nobody_else() -> None:
    with reserved("127.0.0.1", 0) as port:
        listeners = []
        for _ in range(2):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen()
            listeners.append(listener)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        for listener in listeners:
            listener.close()
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", port))


def test_a_port_that_somebody_has() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on port {port}"), reserved("127.0.0.1", port):
            pass


def test_a_port_that_somebody_had_a_moment_ago() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            connection, _ = server.accept()
            connection.close()  # first: it is this end that waits (TIME_WAIT)
            assert client.recv(1) == b""
    with reserved("127.0.0.1", port) as again:
        assert again == port


def test_a_host_that_is_none() -> None:
    with pytest.raises(UsageError, match="cannot listen on host"), reserved("no.such.host.invalid", 0):
        pass
