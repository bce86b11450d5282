"""What is timed where requests are sent, beside what Locust makes of the same requests."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

pytestmark = pytest.mark.integration

ANSWER_S = 0.02
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"

ASK = """
import json, sys
from locust.env import Environment
from gilscope.load.users import StampingUser
from gilscope.load.wire import took_ms

class User(StampingUser):
    host = sys.argv[1]

environment, seen = Environment(user_classes=[User]), []
environment.events.request.add_listener(
    lambda response_time, response, exception, **_: seen.append([response_time, took_ms(response), exception is not None])
)
user = User(environment)
for path in sys.argv[2:]:
    user.client.get(path)
print(json.dumps(seen))
"""


def serve(listening: socket.socket) -> None:
    """Answer every request after a while: at once where it is for ``/whole``, else its headers first."""
    with suppress(OSError):
        connection, _ = listening.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while request := connection.recv(4096):
                time.sleep(ANSWER_S)
                if b" /whole " in request:
                    connection.sendall(HEAD + b"done")
                    continue
                connection.sendall(HEAD)
                time.sleep(ANSWER_S)
                connection.sendall(b"done")


def ask(url: str, *paths: str) -> list[tuple[float, float | None, bool]]:
    """Request the paths one after the other; return Locust's ms, those from send to answer, and whether it failed."""
    command = [sys.executable, "-c", ASK, url, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [(locust, wire, failed) for locust, wire, failed in json.loads(done.stdout.splitlines()[-1])]


def test_a_request_is_timed_within_what_locust_has_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        answers = ask(f"http://127.0.0.1:{listening.getsockname()[1]}", *["/whole"] * 3, "/in-two", "/whole")
    assert [failed for *_, failed in answers] == [False] * 5
    locust_ms, wire_ms, _ = answers.pop(3)
    assert wire_ms is None, "the headers alone are no answer"
    assert locust_ms >= 2e3 * ANSWER_S
    for locust_ms, wire_ms, _ in answers:
        assert wire_ms is not None
        assert 1e3 * ANSWER_S <= wire_ms < locust_ms


def test_a_request_that_fails_has_no_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    [(_, wire_ms, failed)] = ask(f"http://127.0.0.1:{port}", "/whole")
    assert failed
    assert wire_ms is None
