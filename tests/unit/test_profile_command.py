from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gilscope.commands import profile
from gilscope.commands.main import build_parser, main
from gilscope.errors import INTERRUPTED, CaptureError
from gilscope.profiling import asking, process
from gilscope.profiling.asking import ProfilesThere
from gilscope.profiling.process import Order

ID = "20261122T101001Z-waiting-000001"
PLACE = f"/profiles/{ID}"


def graph(kind: str, samples: int = 200, notes: tuple[str, ...] = ()) -> dict[str, object]:
    return {
        "kind": kind,
        "source": "py-spy 0.4.3",
        "rate_hz": 100,
        "seconds": 5.0,
        "samples": samples,
        "lost": 2,
        "notes": notes,
        "pause_share": 0.0,
        "requests": 12,
        "share": None,
        "lens_share": None,
    }


GRAPHS = {
    "holding": graph("holding"),
    "waiting": graph("waiting", 0, ("a note",)),
    "wall": graph("wall"),
}
RUNNING: dict[str, object] = {"id": ID, "state": "running", "graphs": {}, "error": None, "remedy": None}
DONE = {**RUNNING, "state": "done", "graphs": GRAPHS}
FAILED = {**RUNNING, "state": "failed", "error": "no right", "remedy": "sudo"}

Answer = tuple[int, bytes]
FILES = {
    "waiting.folded": b"",
    **{f"{kind}.{form}": f"{kind} {form}".encode() for kind in ("holding", "wall") for form in profile.FORMS},
}


class FakeService:
    """Answers each path with what is next for it, the last one for ever; notes what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service._answer(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.asked.append((handler.command, handler.path, dict(handler.headers), body))
        left = self.answers.get(handler.path, [problem(404, "no such thing")])
        status, content = left.pop(0) if len(left) > 1 else left[0]
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        if status == 307:
            handler.send_header("Location", content.decode())
        handler.end_headers()
        handler.wfile.write(content)

    def takes_profiles(self, *states: Mapping[str, object]) -> None:
        self.answers["/profiles"] = [(202, json.dumps(RUNNING).encode())]
        self.answers[PLACE] = [(200, json.dumps(state).encode()) for state in states]
        for name, content in FILES.items():
            kind, _, form = name.partition(".")
            self.answers[f"{PLACE}/flamegraph.{form}?kind={kind}"] = [(200, content)]

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def problem(status: int, detail: str) -> Answer:
    return status, json.dumps({"status": status, "detail": detail}).encode()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    monkeypatch.setattr(asking, "LOOK_S", 0.001)
    monkeypatch.delenv("GILSCOPE_TOKEN", raising=False)
    service = FakeService()
    yield service
    service.stop()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "graphs"


Says = Callable[..., tuple[int, str, str]]


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Says:
    """Run the command; give its exit code and what it printed."""

    def run(*options: object) -> tuple[int, str, str]:
        code = main(["profile", *map(str, options)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_graphs_of_a_service_are_written_and_described(
    service: FakeService, out: Path, says: Says
) -> None:
    service.takes_profiles(RUNNING, RUNNING, DONE)
    code, printed, err = says(service.url, "--out", out)
    assert (code, err) == (0, "")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == FILES
    origin = "py-spy 0.4.3 · 100 Hz for 5 s · {} stacks · 2 lost · process never paused · 12 requests"
    assert printed.splitlines() == [
        f"holding: {origin.format(200)}",
        f"  {out}/holding.svg",
        f"waiting: {origin.format(0)}",
        "  ! a note",
        "  nobody: there is nothing to draw",
        f"wall: {origin.format(200)}",
        f"  {out}/wall.svg",
    ]


def test_the_service_is_asked_what_was_typed(service: FakeService, out: Path, says: Says) -> None:
    service.takes_profiles(DONE)
    options = ("--kind=holding", "--seconds=7", "--rate=50", "--token=secret")
    assert says(f"{service.url}/", *options, "--out", out)[0] == 0
    method, path, headers, body = service.asked[0]
    assert (method, path) == ("POST", "/profiles")
    assert json.loads(body) == {"kind": "holding", "seconds": 7, "rate": 50}
    assert headers["Content-Type"] == headers["Accept"] == "application/json"
    assert {asked[2]["Authorization"] for asked in service.asked} == {"Bearer secret"}
    assert {asked[0] for asked in service.asked[1:]} == {"GET"}


def test_a_token_that_is_not_accepted_is_told_from_one_that_is_missing(
    service: FakeService, out: Path, says: Says
) -> None:
    service.answers["/profiles"] = [problem(401, "this needs the token of gilscope serve --token")]
    told = (
        "gilscope profile: the service does not accept this token\n  -> --token SECRET, or GILSCOPE_TOKEN\n"
    )
    assert says(service.url, "--token=wrong", "--out", out) == (1, "", told)


def test_a_token_may_have_any_letters(service: FakeService, out: Path, says: Says) -> None:
    service.takes_profiles(DONE)
    assert says(service.url, "--token=schl\u00fcssel\u20ac", "--out", out)[0] == 0
    sent = service.asked[0][2]["Authorization"].encode("latin-1").decode()
    assert sent == "Bearer schl\u00fcssel\u20ac"


@pytest.mark.parametrize("token", ["two\nlines", "line\r", "\x00"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(
    service: FakeService, out: Path, says: Says, token: str
) -> None:
    code, printed, err = says(service.url, f"--token={token}", "--out", out)
    assert (code, printed) == (2, "")
    assert err.startswith("gilscope profile: the token has a character that no header can carry")
    assert token not in err
    assert service.asked == []


def test_the_token_goes_nowhere_else(service: FakeService, out: Path, says: Says) -> None:
    elsewhere = FakeService()
    elsewhere.takes_profiles(DONE)
    service.answers["/profiles"] = [(307, f"{elsewhere.url}/profiles".encode())]
    code, printed, err = says(service.url, "--token=secret", "--out", out)
    elsewhere.stop()
    assert (code, printed) == (1, "")
    assert err == f"gilscope profile: {service.url}/profiles answered 307\n"
    assert elsewhere.asked == []


def test_without_a_token_none_is_sent(service: FakeService, out: Path, says: Says) -> None:
    service.takes_profiles(DONE)
    says(service.url, "--out", out)
    assert not [asked for asked in service.asked if "Authorization" in asked[2]]


def test_the_token_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GILSCOPE_TOKEN", "from there")
    assert build_parser().parse_args(["profile", "http://x"]).token == "from there"
    assert build_parser().parse_args(["profile", "http://x", "--token", "other"]).token == "other"


def test_json_is_one_object(service: FakeService, out: Path, says: Says) -> None:
    service.takes_profiles(DONE)
    code, printed, err = says(service.url, "--out", out, "--json")
    assert (code, err) == (0, "")
    assert json.loads(printed) == json.loads(json.dumps({"folder": str(out), "graphs": GRAPHS}))


def test_the_folder_is_named_after_time_and_kind(
    service: FakeService, tmp_path: Path, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    service.takes_profiles(DONE)
    printed = says(service.url, "--kind=wall", "--json")[1]
    (folder,) = (tmp_path / "profiles").iterdir()
    assert json.loads(printed)["folder"] == f"profiles/{folder.name}"
    assert folder.name.endswith("Z-wall")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            problem(401, "this needs the token of gilscope serve --token"),
            "the service wants its token\n  -> --token SECRET, or GILSCOPE_TOKEN\n",
        ),
        (
            problem(409, f"profile {ID} is being captured\n  -> wait for its 5 s"),
            f"profile {ID} is being captured\n  -> wait for its 5 s\n",
        ),
        (problem(404, "no route"), "this service takes no profiles\n  -> start it with --profiles\n"),
        (problem(405, "takes GET"), "this service takes no profiles\n  -> start it with --profiles\n"),
        (problem(403, "another name"), "another name\n"),
        (problem(501, "needs psutil\n  -> pip install psutil"), "needs psutil\n  -> pip install psutil\n"),
        ((502, b"<html>bad gateway"), "{url}/profiles answered 502\n"),
        ((500, b'{"title": "no detail"}'), "{url}/profiles answered 500\n"),
        ((500, b"[1]"), "{url}/profiles answered 500\n"),
        ((500, b"\xff"), "{url}/profiles answered 500\n"),
    ],
)
def test_a_refusal_is_one_message_and_leaves_nothing(
    service: FakeService, out: Path, says: Says, answer: Answer, message: str
) -> None:
    service.answers["/profiles"] = [answer]
    assert says(service.url, "--out", out) == (1, "", f"gilscope profile: {message.format(url=service.url)}")
    assert not out.exists()


@pytest.mark.parametrize("remedy", ["sudo", None])
def test_a_profile_that_failed_says_why(
    service: FakeService, out: Path, says: Says, remedy: str | None
) -> None:
    service.takes_profiles(RUNNING, {**FAILED, "remedy": remedy})
    message = f"gilscope profile: no right\n{'  -> sudo' if remedy else ''}".rstrip("\n") + "\n"
    assert says(service.url, "--out", out) == (1, "", message)
    assert not out.exists()


def test_a_profile_that_goes_missing_is_told(service: FakeService, out: Path, says: Says) -> None:
    service.takes_profiles(RUNNING, DONE)
    service.answers[PLACE] = [problem(404, f"no profile '{ID}'")]
    assert says(service.url, "--out", out) == (1, "", f"gilscope profile: no profile '{ID}'\n")
    assert not out.exists()


def test_a_service_that_never_finishes_is_not_waited_for(
    service: FakeService, out: Path, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "SLACK_S", -0.95)
    service.takes_profiles(RUNNING)
    code, printed, err = says(service.url, "--seconds=1", "--out", out)
    assert (code, printed) == (1, "")
    assert err.startswith(f"gilscope profile: the service did not finish {service.url}{PLACE}\n")
    assert not out.exists()


@pytest.mark.parametrize("at", ["holding.svg", "holding.folded", "wall.speedscope.json"])
def test_graphs_that_go_missing_leave_no_half_of_them(
    service: FakeService, out: Path, says: Says, at: str
) -> None:
    service.takes_profiles(DONE)
    kind, _, form = at.partition(".")
    service.answers[f"{PLACE}/flamegraph.{form}?kind={kind}"] = [problem(404, "not there any more")]
    assert says(service.url, "--out", out) == (1, "", "gilscope profile: not there any more\n")
    assert not out.exists()


@pytest.mark.parametrize("kind", ["../evil", "/{out}/../evil", "..", "sub/evil"])
def test_a_service_cannot_have_files_written_elsewhere(
    service: FakeService, out: Path, says: Says, kind: str
) -> None:
    kind = kind.format(out=out)
    service.takes_profiles({**DONE, "graphs": {kind: graph("waiting", 0)}})
    service.answers[f"{PLACE}/flamegraph.folded?kind={kind}"] = [(200, b"evil")]
    code, printed, err = says(service.url, "--out", out)
    assert (code, printed) == (1, "")
    assert err.startswith("gilscope profile: ")
    assert not list(out.parent.iterdir())


def test_a_service_that_is_not_there(out: Path, says: Says) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code, printed, err = says(f"http://127.0.0.1:{port}", "--out", out)
    assert (code, printed) == (1, "")
    assert err == (
        f"gilscope profile: http://127.0.0.1:{port}/profiles does not answer: [Errno 111] Connection refused\n"
        "  -> gilscope serve --profiles\n"
    )
    assert not out.exists()


def test_one_that_hangs_up_does_not_answer(out: Path, says: Says) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(65_536)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        code, _, err = says(f"http://127.0.0.1:{server.getsockname()[1]}", "--out", out)
        thread.join()
    assert code == 1
    assert "does not answer: Remote end closed connection" in err
    assert not out.exists()


def test_what_speaks_no_http_is_told(out: Path, says: Says) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            connection.recv(65_536)
            connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
            connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        try:
            code, _, err = says(f"http://127.0.0.1:{server.getsockname()[1]}", "--out", out)
        finally:
            thread.join()
    assert code == 1
    assert err.startswith("gilscope profile: ")
    assert not out.exists()


@pytest.mark.parametrize("body", [b"", b"<!doctype html>", b"[]", b"{}", b"\xff", b'{"id": "x"}'], ids=repr)
def test_another_service_that_answers_something_else_is_told(
    service: FakeService, out: Path, says: Says, body: bytes
) -> None:
    service.answers["/profiles"] = [(200, body)]
    code, printed, err = says(service.url, "--out", out)
    assert (code, printed) == (1, "")
    assert err.startswith("gilscope profile: ")
    assert not out.exists()


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "localhost",
        "/profiles",
        "x",
        "4711",
        "",
        "http:",
        "http://",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999999",
        "http://[::1",
        "http://127.0.0.1:1/with space",
        "gopher://127.0.0.1",
    ],
)
def test_what_is_no_url_is_told(out: Path, says: Says, url: str) -> None:
    code, printed, err = says(url, "--out", out)
    assert code in (1, 2)
    assert printed == ""
    assert err.startswith("gilscope profile: ")
    assert "\n  -> " in err
    assert not out.exists()


def test_a_url_without_its_scheme_is_bad_usage(out: Path, says: Says) -> None:
    code, _, err = says("localhost", "--out", out)
    assert code == 2
    assert err == (
        "gilscope profile: localhost/profiles is no URL: unknown url type: 'localhost/profiles'\n"
        "  -> such as http://127.0.0.1:8080\n"
    )


@pytest.mark.parametrize("target", ["service", "--pid=1"])
def test_a_folder_that_has_something_in_it_is_refused_and_left_alone(
    service: FakeService, out: Path, says: Says, target: str
) -> None:
    out.mkdir()
    (out / "mine").write_text("mine")
    target = service.url if target == "service" else target
    assert says(target, "--out", out) == (
        2,
        "",
        f"gilscope profile: {out} is not empty\n  -> another --out\n",
    )
    assert (out / "mine").read_text() == "mine"
    assert service.asked == []


def test_a_folder_that_cannot_be_written_is_refused(service: FakeService, out: Path, says: Says) -> None:
    out.write_text("a file")
    assert says(service.url, "--out", out) == (
        2,
        "",
        f"gilscope profile: cannot write to {out}: File exists\n  -> another --out\n",
    )
    code, _, err = says(service.url, "--out", out / "below")
    assert (code, err) == (
        2,
        f"gilscope profile: cannot write to {out}/below: Not a directory\n  -> another --out\n",
    )
    assert service.asked == []


def test_an_empty_folder_of_the_users_is_taken_and_stays_his(
    service: FakeService, out: Path, says: Says
) -> None:
    out.mkdir()
    service.answers["/profiles"] = [problem(409, "busy")]
    assert says(service.url, "--out", out)[0] == 1
    assert out.exists()
    service.takes_profiles(DONE)
    assert says(service.url, "--out", out)[0] == 0
    assert names(out) == FILES.keys()


def test_a_failure_leaves_no_folders_above_either(
    service: FakeService, tmp_path: Path, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    service.answers["/profiles"] = [problem(409, "busy")]
    assert says(service.url)[0] == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("when", ["/profiles", PLACE])
def test_ctrl_c_leaves_nothing(
    service: FakeService, out: Path, says: Says, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    service.takes_profiles(RUNNING)
    ask = ProfilesThere._ask

    def interrupted(there: ProfilesThere, url: str, body: bytes | None = None) -> bytes:
        if url.endswith(when):
            raise KeyboardInterrupt
        return ask(there, url, body)

    monkeypatch.setattr(ProfilesThere, "_ask", interrupted)
    assert says(service.url, "--out", out) == (INTERRUPTED, "", "")
    assert not out.exists()


def test_ctrl_c_between_two_graphs_leaves_nothing(
    service: FakeService, out: Path, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.takes_profiles(DONE)
    ask = ProfilesThere._ask

    def interrupted(there: ProfilesThere, url: str, body: bytes | None = None) -> bytes:
        if "flamegraph.svg?kind=wall" in url:
            raise KeyboardInterrupt
        return ask(there, url, body)

    monkeypatch.setattr(ProfilesThere, "_ask", interrupted)
    assert says(service.url, "--out", out)[0] == INTERRUPTED
    assert not out.exists()


class FakeCapture:
    """Stands for the profiler: writes graphs, and then raises what it was given."""

    def __init__(self, problem: BaseException | None = None) -> None:
        self.orders: list[Order] = []
        self._problem = problem

    def __call__(self, order: Order) -> dict[str, Any]:
        self.orders.append(order)
        for kind in order.kinds:
            for form in ("svg", "fragment.svg", "folded", "speedscope.json"):
                Path(order.folder, f"{kind}.{form}").write_text("written")
        if self._problem is not None:
            raise self._problem
        return {"graphs": {kind: graph(kind) for kind in order.kinds}}


@pytest.mark.parametrize(
    ("kind", "kinds"),
    [
        ("waiting", ("holding", "waiting", "wall")),
        ("holding", ("holding", "wall")),
        ("wall", ("holding", "wall")),
    ],
)
def test_a_process_is_captured_without_a_service(
    out: Path, says: Says, monkeypatch: pytest.MonkeyPatch, kind: str, kinds: tuple[str, ...]
) -> None:
    capture = FakeCapture()
    monkeypatch.setattr(process, "capture", capture)
    code, printed, err = says("--pid=4711", "--kind", kind, "--seconds=7", "--rate=50", "--out", out)
    assert (code, err) == (0, "")
    assert [line for line in printed.splitlines() if line.startswith("  ")] == [
        f"  {out}/{one}.svg" for one in kinds
    ]
    (order,) = capture.orders
    assert (order.pid, order.kinds, order.seconds, order.rate_hz) == (4711, kinds, 7, 50)
    assert (order.folder, order.title, order.backends, order.metrics_url) == (
        str(out),
        "process 4711",
        (),
        None,
    )
    assert names(out) == {f"{one}.{form}" for one in kinds for form in profile.FORMS}


def test_a_process_as_json(out: Path, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "capture", FakeCapture())
    printed = says("--pid=4711", "--kind=wall", "--out", out, "--json")[1]
    assert json.loads(printed)["folder"] == str(out)
    assert list(json.loads(printed)["graphs"]) == ["holding", "wall"]


def test_a_process_that_cannot_be_captured_is_one_message(
    out: Path, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_order: Order) -> NoReturn:
        raise CaptureError("it has ended", remedy="see why")

    monkeypatch.setattr(process, "capture", refuse)
    assert says("--pid=4711", "--out", out) == (1, "", "gilscope profile: it has ended\n  -> see why\n")
    assert not out.exists()


@pytest.mark.parametrize(
    ("problem", "code"),
    [(CaptureError("the disk"), 1), (KeyboardInterrupt(), INTERRUPTED)],
    ids=["failure", "Ctrl-C"],
)
def test_what_was_written_before_it_went_wrong_goes(
    out: Path, says: Says, monkeypatch: pytest.MonkeyPatch, problem: BaseException, code: int
) -> None:
    monkeypatch.setattr(process, "capture", FakeCapture(problem))
    assert says("--pid=4711", "--out", out)[0] == code
    assert not out.exists()


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["http://127.0.0.1", "--pid=1"],
        ["--pid=0"],
        ["--pid=-1"],
        ["--pid=me"],
        ["--pid=4194305"],
        ["--pid=1", "--seconds=0"],
        ["--pid=1", "--seconds=61"],
        ["--pid=1", "--seconds=1.5"],
        ["--pid=1", "--rate=0"],
        ["--pid=1", "--rate=1001"],
        ["--pid=1", "--kind=cpu"],
    ],
    ids=" ".join,
)
def test_bad_usage_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["profile", *argv])
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""
