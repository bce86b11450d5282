from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from limited import few_files, soft_limits
from polling import PATIENCE_S, all_end, eventually
from served import FREE_PORTS, SMALL, command, refused, serving

from gilscope.backends.table import available
from gilscope.commands import serve
from gilscope.commands.main import main
from gilscope.scratch import PREFIX

pytestmark = pytest.mark.integration


def test_the_ready_line_says_where_and_what() -> None:
    with serving("--workload=noop", "--workload=primes", "--backends=threads,asyncio") as served:
        ready = served.ready
        assert set(ready) == {
            "pid",
            "url",
            "metrics_url",
            "python",
            "gil_enabled",
            "backends",
            "workloads",
        }
        assert ready["pid"] == served.process.pid
        assert ready["python"] == platform.python_version()
        assert ready["gil_enabled"] is getattr(sys, "_is_gil_enabled", lambda: True)()
        assert ready["backends"] == ["threads", "asyncio"]
        assert ready["workloads"] == ["noop", "primes"]
        assert served.get("/readyz") == {"status": "ready"}
        assert served.result("/work/primes/threads?n=100") == 25


def test_without_workloads_there_are_all_on_all_backends() -> None:
    from gilscope.workloads.catalogue import BUILT_IN

    with serving("--pool-size=1") as served:
        assert served.ready["workloads"] == list(BUILT_IN)
        assert served.ready["backends"] == list(available())
        assert served.result("/work/http_fetch/asyncio?delay_ms=0") == 1_000
        everybody = served.tree()
        served.process.send_signal(signal.SIGTERM)
        assert served.end()[0] == 0
        all_end(everybody)


def test_it_and_its_workers_may_have_as_many_connections_as_the_system_allows() -> None:
    with (
        few_files() as allowed,
        serving("--workload=noop", "--backends=processes", "--pool-size=1") as served,
    ):
        assert len(served.tree()) > 1
        assert soft_limits(served.tree()) == {allowed}


def test_metrics_have_a_port_of_their_own() -> None:
    with serving(*SMALL) as served:
        assert served.result("/work/noop/asyncio") is None
        with urlopen(str(served.ready["metrics_url"]), timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        labels = 'backend="asyncio",status="200",workload="noop"'
        assert f"gilscope_request_duration_seconds_count{{{labels}}} 1.0\n" in text
        assert str(served.ready["metrics_url"]).split("/metrics")[0] != served.ready["url"]
        assert served.get("/metrics")["status"] == 404


def test_what_a_function_prints_goes_to_standard_error(functions: Path) -> None:
    with serving(f"--workload={functions}:shout", "--pool-size=1") as served:
        for backend in available():
            assert served.result(f"/work/functions.shout/{backend}") == 42
        served.process.send_signal(signal.SIGTERM)
        code, out, err = served.end()
    assert (code, out) == (0, "")
    for text in ("not a ready line\n", "nor is this\n"):
        assert err.count(text) == len(available())


@pytest.mark.parametrize("told", ["SIGTERM", "SIGINT", "SIGHUP", "lifeline"])
def test_it_ends_when_told_and_leaves_nobody_behind(told: str, functions: Path) -> None:
    options = ["--lifeline"] if told == "lifeline" else []
    with serving(
        f"--workload={functions}:where", "--workload=http_fetch", "--pool-size=2", *options
    ) as served:
        place = served.result("/work/functions.where/processes")
        assert isinstance(place, dict)
        everybody = served.tree()
        pids = {process.pid for process in everybody}
        assert {served.process.pid, place["pid"]} <= pids
        assert len(pids) >= 4  # with a second worker and the upstream
        if told == "lifeline":
            assert served.process.stdin is not None
            served.process.stdin.close()
            served.process.stdin = None
        else:
            served.process.send_signal(signal.Signals[told])
        code, out, err = served.end()
    assert (code, out, err) == (0, "", "")
    all_end(everybody)


def test_a_signal_that_follows_the_ready_line_at_once_is_heeded() -> None:
    with serving(*SMALL) as served:
        served.process.send_signal(signal.SIGTERM)
        assert served.end() == (0, "", "")


def test_the_end_of_input_means_nothing_without_a_lifeline() -> None:
    with serving(*SMALL) as served:
        assert served.process.stdin is not None
        served.process.stdin.close()
        served.process.stdin = None
        for _ in range(20):
            assert served.result("/work/noop/asyncio") is None
        assert served.process.poll() is None


def test_workers_end_with_a_service_that_is_killed(functions: Path) -> None:
    options = (f"--workload={functions}:where", "--backends=processes", "--pool-size=2")
    with serving(*options) as served:
        place = served.result("/work/functions.where/processes")
        assert isinstance(place, dict)
        everybody = served.tree()
        workers = [process for process in everybody if process.pid != served.process.pid]
        assert place["pid"] in {worker.pid for worker in workers}
        assert len(workers) >= 2
        served.process.kill()
        served.process.wait()
        all_end(everybody)


def test_workers_that_are_busy_end_with_a_killed_service_too(functions: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        options = (
            f"--workload={functions}:wait_for",
            '--arg=host="127.0.0.1"',
            f"--arg=port={port}",
            "--backends=processes",
            "--pool-size=1",
        )
        with serving(*options) as served:
            host, own_port = str(served.ready["url"]).removeprefix("http://").split(":")
            with socket.create_connection((host, int(own_port))) as request:
                request.sendall(b"GET /work/functions.wait_for/processes HTTP/1.1\r\nHost: localhost\r\n\r\n")
                connection, _ = server.accept()
                everybody = served.tree()
                assert len(everybody) >= 2
                served.process.kill()
                served.process.wait()
                all_end(everybody)
                connection.close()


def test_a_worker_that_dies_does_not_keep_the_service_from_ending(functions: Path) -> None:
    options = (f"--workload={functions}:die", f"--workload={functions}:where", "--backends=processes")
    with serving(*options, "--pool-size=2") as served:
        for _ in range(5):
            assert served.get("/work/functions.die/processes")["status"] == 503
            assert isinstance(served.result("/work/functions.where/processes"), dict)
        everybody = served.tree()
        served.process.send_signal(signal.SIGTERM)
        assert served.end()[:2] == (0, "")
        all_end(everybody)


def scratch_folders(temporary: Path) -> set[Path]:
    return set(temporary.glob(f"{PREFIX}*"))


def test_scratch_of_a_service_that_was_killed_goes_with_the_next(tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path)}
    with serving(*SMALL, env=env) as neighbour:
        of_the_neighbour = scratch_folders(tmp_path)
        assert of_the_neighbour
        with serving(*SMALL, env=env) as served:
            left = scratch_folders(tmp_path) - of_the_neighbour
            assert left
            served.process.kill()
            served.process.wait()
        with serving(*SMALL, env=env) as served:
            own = scratch_folders(tmp_path) - of_the_neighbour
            assert own
            assert own.isdisjoint(left)
            served.process.send_signal(signal.SIGTERM)
            assert served.end()[0] == 0
        assert scratch_folders(tmp_path) == of_the_neighbour
        neighbour.process.send_signal(signal.SIGTERM)
        assert neighbour.end()[0] == 0
    assert not scratch_folders(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_that_is_still_starting(number: signal.Signals, tmp_path: Path) -> None:
    path, begun = tmp_path / "slow.py", tmp_path / "begun"
    path.write_text(
        "import multiprocessing, pathlib, time\n"
        "if multiprocessing.parent_process():\n"
        f"    pathlib.Path({str(begun)!r}).touch(); time.sleep(600)\n"
        "def work(): ...\n"
    )
    # Sockets lie in there, and their paths must be short.
    with (
        tempfile.TemporaryDirectory(prefix="g-") as place,
        subprocess.Popen(
            command(*FREE_PORTS, f"--workload={path}:work", "--pool-size=1", "--backends=processes"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": place},
        ) as process,
    ):
        eventually(begun.exists, "a worker that starts")
        everybody = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE_S) == ("", "")
        assert process.returncode == 0
        all_end(everybody)
        assert not list(Path(place).iterdir())


@pytest.mark.parametrize("option", ["--port", "--metrics-port"])
def test_a_port_in_use_is_named(option: str) -> None:
    other = "--port=0" if option == "--metrics-port" else "--metrics-port=0"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(f"{option}={port}", other, *SMALL)
    assert message == (
        f"gilscope serve: cannot listen on port {port}: Address already in use\n"
        f"  -> another {option}; 0 takes a free one\n"
    )


def test_a_workload_that_is_not_there_ends_a_real_process_too() -> None:
    assert refused("--workload=prime").startswith(
        "gilscope serve: there is no workload 'prime'\n  -> built in: noop, "
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            [*FREE_PORTS, *SMALL, "--insecure", "--host=no.such.host.invalid"],
            "cannot listen on host no.such.host.invalid: ",
        ),
        (
            [*FREE_PORTS, *SMALL, "--insecure", "--host=192.0.2.1"],
            "cannot listen on host 192.0.2.1: Cannot assign",
        ),
        (["--workload=no/such/file.py:f"], "there is no file no/such/file.py\n  -> looked for /"),
        (["--workload=primes", "--arg=n=many"], "parameter 'n' takes a whole number from 10 to 1000000"),
        (["--workload=primes", "--arg=m=1"], "workload 'primes' has no parameter 'm'\n  -> it takes: n\n"),
        (["--workload=primes", "--arg=n"], "--arg takes NAME=JSON, not 'n'"),
        (["--workload=primes", "--arg=n=10", "--arg=n=11"], "--arg n is given twice"),
        (["--workload={functions}:add", "--arg=a=one"], "argument 'a' is not valid JSON"),
        (["--workload={functions}:add"], "missing a required argument: 'a'"),
        (["--workload=noop", "--workload=noop", "--backends=asyncio"], "two workloads are called 'noop'"),
        (["--workload=noop", "--workload=noop"], "two workloads are called 'noop'"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_bad_input_is_one_message(
    options: list[str],
    says: str,
    functions: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(serve, "_keep_stdout", lambda: 1)
    assert main(["serve", *(option.format(functions=functions) for option in options)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("gilscope serve: ")
    assert says in printed.err
    assert len(printed.err.splitlines()) <= 2


@pytest.mark.skipif("interpreters" in available(), reason="this Python has all backends")
def test_a_backend_that_this_python_lacks_is_refused_with_the_reason() -> None:
    message = refused(*FREE_PORTS, "--workload=noop", "--backends=interpreters")
    assert message == (
        "gilscope serve: the interpreters backend needs Python 3.14 or newer; this is "
        f"{platform.python_version()}\n  -> leave it out of --backends\n"
    )


def test_a_module_of_the_current_folder_needs_app_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def work(): return __name__\n")
    monkeypatch.chdir(tmp_path)
    assert "there is no module 'only_here'" in refused("--workload=only_here:work")
    with serving("--workload=only_here:work", "--app-dir=.", "--pool-size=1") as served:
        for backend in available():
            assert served.result(f"/work/only_here.work/{backend}") == "only_here"


def test_a_service_that_is_told_while_it_works_drops_the_work(functions: Path) -> None:
    """The call goes on until its other end lets go; the service waits for that and no longer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        options = (f"--workload={functions}:wait_for", '--arg=host="127.0.0.1"', f"--arg=port={port}")
        with serving(*options, "--backends=threads", "--pool-size=1") as served:
            host, own_port = str(served.ready["url"]).removeprefix("http://").split(":")
            with socket.create_connection((host, int(own_port))) as request:
                request.sendall(b"GET /work/functions.wait_for/threads HTTP/1.1\r\nHost: localhost\r\n\r\n")
                connection, _ = server.accept()
                served.process.send_signal(signal.SIGTERM)
                eventually(lambda: not _listens(host, int(own_port)), "the service to stop listening")
                connection.close()
                assert served.end()[0] == 0


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionError:
        return False
    return True
