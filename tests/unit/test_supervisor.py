from __future__ import annotations

import asyncio
import errno
import signal
import socket
import sys
from typing import Any

import pytest

from gilscope.errors import UsageError
from gilscope.web.supervisor import LONGEST_PAUSE_S, Supervisor, pause_s, reserved


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


async def test_a_process_that_cannot_be_started_again_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The others go on meanwhile."""
    ready = "import sys; print('{}', flush=True); sys.stdin.read(); print()"
    dies = "print('{}', flush=True)"
    starts, start = [], asyncio.create_subprocess_exec

    async def short_of_files(*command: str, **named: Any) -> asyncio.subprocess.Process:  # noqa: ANN401
        starts.append(command[-1])
        if starts.count(dies) == 2 and command[-1] == dies:
            raise OSError(errno.EMFILE, "Too many open files")
        return await start(*command, **named)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", short_of_files)
    monkeypatch.setattr("gilscope.web.supervisor.FIRST_PAUSE_S", 0.01)
    commands = [[sys.executable, "-c", program] for program in (ready, dies)]
    supervising = asyncio.create_task(Supervisor(commands, drain_s=0.1).run(lambda _line: None))
    while starts.count(dies) < 4:
        await asyncio.sleep(0.01)
        assert not supervising.done(), supervising.exception()
    assert starts.count(ready) == 1
    signal.raise_signal(signal.SIGTERM)
    await supervising
    assert (
        "a process cannot be started (Too many open files): another one begins in" in capfd.readouterr().err
    )
