"""Facts about a service that runs already: what it is asked, and what is made of its answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from typing import ClassVar
from urllib.error import HTTPError
from urllib.parse import parse_qs

import pytest

from gilscope.commands.main import build_parser
from gilscope.commands.planning import check, make_plan
from gilscope.compare import elsewhere
from gilscope.compare.elsewhere import Elsewhere, ask_service, check_elsewhere, query_of, require_there
from gilscope.errors import ServiceError, ServiceGoneError, TargetError, UsageError
from gilscope.model import BackendName, Caution

ASYNCIO, THREADS, PROCESSES, INTERPRETERS = BackendName
WORKLOADS: list[dict[str, object]] = [
    {"name": "primes", "summary": "counts", "parameters": [{"name": "n", "default": 8000}, {"name": "kind"}]},
    {"name": "noop", "parameters": []},
]
RUNNING: list[dict[str, object]] = [
    {"name": "asyncio", "running": True, "workers": 1},
    {"name": "threads", "running": True},
    {"name": "processes", "running": False, "unavailable": None},
]
FOUND = Elsewhere({"primes": ["n", "kind"], "noop": []}, (ASYNCIO, THREADS))

Answers = Mapping[str, tuple[int, bytes]]
Serve = Callable[[Answers], str]


class Handler(BaseHTTPRequestHandler):
    """Answers what it was told to."""

    answers: ClassVar[Answers] = {}

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, b"404: Not Found"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's
        """Say nothing."""


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def serve(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Serve:
    def answering(answers: Answers) -> str:
        monkeypatch.setattr(Handler, "answers", answers)
        return server_url

    return answering


def answers(workloads: object = WORKLOADS, backends: object = RUNNING) -> Answers:
    return {
        "/workloads": (200, json.dumps(workloads).encode()),
        "/backends": (200, json.dumps(backends).encode()),
    }


# What is taken of it beside latency.


@pytest.mark.parametrize(
    ("answer", "message", "remedy"),
    [
        (None, "this service takes no profiles", "start it with --profiles"),
        ((401, b"{}"), "the service wants its token", "--token SECRET, or GILSCOPE_TOKEN"),
    ],
)
def test_a_service_that_gives_no_profiles_is_compared_without(
    serve: Serve, answer: tuple[int, bytes] | None, message: str, remedy: str
) -> None:
    given = {**answers(), **({} if answer is None else {"/profiles": answer})}
    options = build_parser().parse_args(["compare", "primes", "noop", "--url", serve(given)])
    checked = check(options)
    assert [item.cautions for item in checked] == [
        (Caution("no-profile", f"no flame graphs: {message}", remedy),), (),
    ]  # fmt: skip
    plan = make_plan(options, checked)
    assert (plan.profile_seconds, plan.lens) == (0.0, True)


def test_a_service_that_gives_profiles_is_asked_for_them(serve: Serve) -> None:
    url = serve({**answers(), "/profiles": (200, b"[]")})
    options = build_parser().parse_args(["compare", "primes", "--url", url, "--no-lens"])
    plan = make_plan(options, check(options))
    assert (plan.profile_seconds, plan.lens) == (3.0, False)


@pytest.mark.parametrize("option", [("--no-profiles",), ("--slo", "p99=1s")])
def test_nobody_asks_for_profiles_that_are_not_taken(serve: Serve, option: tuple[str, ...]) -> None:
    options = build_parser().parse_args(["compare", "primes", *option, "--url", serve(answers())])
    (checked,) = check(options)
    assert checked.cautions == ()


# What it is asked.


def test_a_service_says_what_it_has_and_what_runs_in_it(serve: Serve) -> None:
    assert ask_service(serve(answers())) == FOUND


def test_a_backend_of_a_later_version_matters_only_if_it_runs(serve: Serve) -> None:
    later = {"name": "fibres", "running": False}
    assert ask_service(serve(answers(backends=[*RUNNING, later]))) == FOUND
    with pytest.raises(ServiceError, match="does not answer as a gilscope service does"):
        ask_service(serve(answers(backends=[*RUNNING, {**later, "running": True}])))


@pytest.mark.parametrize(
    "answer", [None, 7, "text", {"name": 1}, [7], [None], ["name"], [{}], [{"name": "primes"}]]
)
@pytest.mark.parametrize("what", ["workloads", "backends"])
def test_json_of_something_else_is_refused_with_a_remedy(serve: Serve, what: str, answer: object) -> None:
    url = serve(answers(**{what: answer}))
    with pytest.raises(ServiceError) as caught:
        ask_service(url)
    assert caught.value.message == f"{url} does not answer as a gilscope service does"
    assert caught.value.remedy == "start it there with: gilscope serve --host ADDRESS --port 8080"


@pytest.mark.parametrize(
    "parameters",
    [None, 7, "ab", [None], [{}], [{"default": 1}]],
    ids=["null", "number", "text", "nulls", "empty", "nameless"],
)
def test_parameters_without_names_are_refused(serve: Serve, parameters: object) -> None:
    with pytest.raises(ServiceError, match="does not answer as a gilscope service does"):
        ask_service(serve(answers([{"name": "primes", "parameters": parameters}])))


@pytest.mark.parametrize("body", [b"", b"<!doctype html>", b"pong", b"[{", b"\xff\xfe\xfa", b"\x00"])
def test_an_answer_that_is_no_json_is_refused_with_its_address(serve: Serve, body: bytes) -> None:
    url = serve({**answers(), "/workloads": (200, body)})
    with pytest.raises(ServiceError) as caught:
        ask_service(url)
    assert caught.value.message.startswith(f"{url}/workloads is no answer of a gilscope service: ")
    assert caught.value.remedy


@pytest.mark.parametrize("path", ["/workloads", "/backends"])
@pytest.mark.parametrize("status", [404, 500, 503])
def test_an_answer_that_is_an_error_names_its_address(serve: Serve, path: str, status: int) -> None:
    url = serve({**answers(), path: (status, b"[]")})
    with pytest.raises(ServiceError) as caught:
        ask_service(url)
    assert f"{url}{path}" in caught.value.message
    assert caught.value.remedy
    if isinstance(answer := caught.value.__cause__, HTTPError):
        answer.close()


def test_an_answer_that_is_an_error_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    body = BytesIO(b"404: Not Found")

    def refuse(url: str, timeout_s: float) -> None:
        raise HTTPError(url, 404, "Not Found", Message(), body)

    monkeypatch.setattr(elsewhere, "ask", refuse)
    with pytest.raises(ServiceError) as caught:
        ask_service("http://there")
    closed = body.closed
    body.close()
    assert "Not Found" in caught.value.message
    assert closed, "at once, and not when it is collected"


@contextmanager
def answering_port(reply: bytes) -> Iterator[str]:
    """Take one connection and reply the same to whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply)

        thread = Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join()


def test_a_connection_that_is_closed_is_no_answer() -> None:
    with answering_port(b"") as url, pytest.raises(ServiceError, match="is no answer of a gilscope service"):
        ask_service(url)


@pytest.mark.parametrize(
    "reply",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[]"],
    ids=["ssh", "cut short"],
)
def test_what_does_not_speak_http_is_no_answer(reply: bytes) -> None:
    with (
        answering_port(reply) as url,
        pytest.raises(ServiceError, match="is no answer of a gilscope service"),
    ):
        ask_service(url)


def test_a_port_that_nobody_listens_on_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServiceError) as caught:
        ask_service(f"http://127.0.0.1:{port}")
    assert caught.value.message.startswith(f"cannot reach http://127.0.0.1:{port}/workloads: ")
    assert caught.value.exit_code == 1
    assert caught.value.remedy


def test_a_service_that_does_not_answer_in_time_is_named(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(url: str, timeout_s: float) -> None:
        assert (url, timeout_s) == ("http://there/workloads", elsewhere.ANSWER_S)
        raise TimeoutError("timed out")

    monkeypatch.setattr(elsewhere, "ask", slow)
    with pytest.raises(
        ServiceError, match="http://there/workloads is no answer of a gilscope service: timed out"
    ):
        ask_service("http://there")


# Whether it is still there.


def test_who_answers_anything_at_all_is_there(serve: Serve) -> None:
    require_there(serve({"/ping": (200, b"pong")}))
    require_there(serve({}))


def test_who_is_too_busy_to_answer_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "THERE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        require_there(f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_who_does_not_listen_any_more_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ServiceGoneError) as caught:
        require_there(url)
    assert (
        caught.value.message
        == f"the service at {url} does not answer any more: [Errno 111] Connection refused"
    )
    assert caught.value.remedy == "start it again"


def test_nobody_is_asked_in_its_place(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask_service(serve(answers())) == FOUND


# What is to be compared.


def test_a_target_is_what_the_service_calls_it() -> None:
    (checked,) = check_elsewhere(FOUND, ["primes"], {"n": "5"}, None)
    target = checked.target
    assert (target.workload, target.reference, target.name_in_service) == ("primes", "primes", "primes")
    assert dict(target.arguments) == {"n": "5"}
    assert (checked.cautions, checked.raises) == ((), False)


def test_targets_keep_their_order() -> None:
    checked = check_elsewhere(FOUND, ["noop", "primes"], {}, None)
    assert [one.target.workload for one in checked] == ["noop", "primes"]


def test_without_targets_all_that_it_has_is_compared() -> None:
    assert [one.target.workload for one in check_elsewhere(FOUND, [], {}, None)] == ["primes", "noop"]


def test_backends_that_do_not_run_there_are_excluded_with_the_reason() -> None:
    (checked,) = check_elsewhere(FOUND, ["noop"], {}, [THREADS])
    assert checked.target.excluded == dict.fromkeys((PROCESSES, INTERPRETERS), "does not run in that service")


def test_a_backend_that_does_not_run_there_cannot_be_asked_for() -> None:
    with pytest.raises(UsageError) as caught:
        check_elsewhere(FOUND, ["primes"], {}, [ASYNCIO, PROCESSES])
    assert caught.value.message == "that service does not run processes; it runs: asyncio, threads"
    assert caught.value.remedy


def test_an_unknown_workload_is_refused_with_those_it_has() -> None:
    with pytest.raises(TargetError) as caught:
        check_elsewhere(FOUND, ["noop", "own.py:work"], {}, None)
    assert caught.value.message == "that service has no workload 'own.py:work'; it has: primes, noop"
    assert caught.value.remedy


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        check_elsewhere(FOUND, ["primes"], {"n": "5", "z": "1", "m": "1"}, None)
    assert str(caught.value) == "primes takes no argument 'm'\n  -> see /workloads of primes"
    with pytest.raises(UsageError, match="noop takes no argument 'n'"):
        check_elsewhere(FOUND, ["primes", "noop"], {"n": "5"}, None)


def test_an_unknown_argument_is_refused_without_targets_too() -> None:
    with pytest.raises(UsageError, match="primes takes no argument 'typo'"):
        check_elsewhere(FOUND, [], {"typo": "5"}, None)


def test_the_same_workload_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="two targets are called 'primes'"):
        check_elsewhere(FOUND, ["primes", "primes"], {}, None)


@pytest.mark.parametrize(
    ("given", "query"),
    [({}, ""), ({"n": "5"}, "n=5"), ({"n": "5", "text": '"a b&c=ü"'}, "n=5&text=%22a+b%26c%3D%C3%BC%22")],
)
def test_arguments_become_a_query(given: Mapping[str, str], query: str) -> None:
    assert query_of(given) == query
    assert parse_qs(query) == {name: [value] for name, value in given.items()}
