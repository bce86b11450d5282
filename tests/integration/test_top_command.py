from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from polling import PATIENCE_S, eventually
from pythons import find_python
from requirements import require

from gilscope.commands.main import main
from gilscope.model import StateSeconds
from gilscope.top.processes import command_line

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="the lens reads Linux's /proc"),
]

THREADS = Path(__file__).parent.parent / "targets" / "threads.py"
STATES = ("on_cpu_s", "runqueue_s", "gil_wait_s", "blocked_s")
ESCAPE = "\x1b"

Watched = subprocess.Popen[str]


@contextmanager
def running(*what: str, python: str | Path = sys.executable) -> Iterator[Watched]:
    """Run the target for the block, once it is ready."""
    with subprocess.Popen(
        [python, THREADS, *what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            with suppress(ProcessLookupError):  # It may have been ended on purpose.
                os.killpg(process.pid, signal.SIGKILL)


def command(pid: object, *options: str) -> list[str]:
    return [sys.executable, "-P", "-m", "gilscope", "top", str(pid), *options]


@contextmanager
def watching(pid: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``gilscope top`` for the block."""
    with subprocess.Popen(
        command(pid, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(pid: object, *options: str) -> dict[str, object]:
    """Return what ``--json`` prints."""
    done = subprocess.run(
        command(pid, "--json", *options), check=False, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def threads_of(answer: dict[str, object]) -> list[dict[str, object]]:
    threads = answer["threads"]
    assert isinstance(threads, list)
    return threads


def seconds_of(thread: dict[str, object]) -> StateSeconds:
    figures = {key: value for key, value in thread.items() if key.endswith("_s")}
    return StateSeconds(**figures)  # type: ignore[arg-type]


def assert_sane(answer: dict[str, object]) -> None:
    """Check what holds of any process: states add up, and nobody lives longer than he was watched."""
    seconds = answer["seconds"]
    assert isinstance(seconds, float)
    assert threads_of(answer)
    for thread in threads_of(answer):
        states = seconds_of(thread)
        assert 0 < states.wall_s <= seconds * 1.05 + 0.05, thread
        assert min(states.on_cpu_s, states.runqueue_s, states.gil_wait_s, states.blocked_s) >= 0
        assert states.gil_held_s is None or 0 <= states.gil_held_s <= states.wall_s


def test_who_computes_waits_for_the_gil_and_who_sleeps_does_not(python: tuple[str, Path]) -> None:
    version, executable = python
    with running("spinning", "3", "1", python=executable) as process:
        answer = told(process.pid, "--seconds=2")
    assert_sane(answer)
    assert set(answer) == {"pid", "python", "seconds", "looks", "unseen", "threads"}
    assert answer["pid"] == process.pid
    assert str(answer["python"]).startswith(f"{version}.")
    assert isinstance(answer["looks"], int)
    assert answer["looks"] > 50
    *spinners, one, other = threads_of(answer)
    seconds = answer["seconds"]
    assert isinstance(seconds, float)
    for thread in spinners:
        states = seconds_of(thread)
        assert states.wall_s == pytest.approx(seconds, rel=0.05)
        assert states.gil_wait_share > 0.1
        assert states.on_cpu_s > 0
        assert states.blocked_s < 0.2 * seconds
    for thread in (one, other):
        assert seconds_of(thread).blocked_s == pytest.approx(seconds, rel=0.1)
    assert len(spinners) == 3
    total_cpu = sum(seconds_of(thread).on_cpu_s for thread in spinners)
    assert total_cpu < 1.2 * seconds, "one GIL is one core's worth"


def test_the_holder_is_known_from_3_13_on(python: tuple[str, Path]) -> None:
    version, executable = python
    with running("spinning", "2", python=executable) as process:
        held = [seconds_of(thread).gil_held_s for thread in threads_of(told(process.pid, "--seconds=1"))]
    if version < "3.13":
        assert held == [None] * 3
    else:
        assert 0.7 < sum(share or 0.0 for share in held) < 1.2


def test_threads_have_their_names_where_python_sets_them(python: tuple[str, Path]) -> None:
    version, executable = python
    with running("spinning", "0", "2", python=executable) as process:
        threads = threads_of(told(process.pid, "--seconds=0.5", "--sort=tid"))
    names = [thread["name"] for thread in threads]
    assert names[0] == "MainThread"
    assert {thread["role"] for thread in threads} == {None}
    assert {thread["pid"] for thread in threads} == {process.pid}
    assert threads[0]["tid"] == process.pid
    if version >= "3.14":
        assert names[1:] == ["calm-0", "calm-1"]


@pytest.mark.parametrize(
    ("sort", "key"), [("gil-wait", "gil_wait_s"), ("on-cpu", "on_cpu_s"), ("blocked", "blocked_s")]
)
def test_what_is_asked_for_comes_first(sort: str, key: str) -> None:
    with running("spinning", "2", "2") as process:
        threads = threads_of(told(process.pid, "--seconds=0.5", f"--sort={sort}"))
    figures = [float(str(thread[key])) for thread in threads]
    assert figures == sorted(figures, reverse=True)


def test_a_pipe_gets_a_table_per_interval_and_the_whole_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with running("spinning", "2", "1") as process:
        assert main(["top", str(process.pid), "--seconds", "3", "--interval", "0.5"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert ESCAPE not in out
    tables = out.split("\n\n")
    assert 3 <= len(tables) <= 7, "six and the whole; where looks are late the last interval is longer"
    for table in tables:
        first, gil, cores, *_ = table.splitlines()
        assert first.startswith(f"process {process.pid}: Python 3.")
        assert gil.startswith("GIL: ")
        assert cores.startswith("cores: ")
        assert "  GIL held\n" in table
        assert table.count("MainThread") == 1
    assert " s in all, " in tables[-1]
    assert not any(" s in all, " in table for table in tables[:-1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_the_normal_end(number: signal.Signals) -> None:
    with running("spinning", "1") as process, watching(process.pid, "--interval=0.2") as top:
        assert top.stdout is not None
        first = top.stdout.readline()
        top.send_signal(number)
        out, err = top.communicate(timeout=PATIENCE_S)
    assert (top.returncode, err) == (0, "")
    assert first.startswith(f"process {process.pid}: ")
    assert " s in all, " in out


def test_interrupted_json_is_whole() -> None:
    with running("spinning", "1") as process, watching(process.pid, "--json", "--interval=0.2") as top:
        assert top.stderr is not None
        assert top.stderr.readline() == f"watching process {process.pid} until Ctrl-C\n"
        time.sleep(0.5)
        top.send_signal(signal.SIGINT)
        out, err = top.communicate(timeout=PATIENCE_S)
    assert (top.returncode, err) == (0, "")
    assert_sane(json.loads(out))


def test_it_ends_with_who_reads_it() -> None:
    with running("spinning", "1") as process, watching(process.pid, "--interval=0.1") as top:
        assert top.stdout is not None
        assert top.stderr is not None
        top.stdout.readline()
        top.stdout.close()
        assert top.wait(PATIENCE_S) == 0
        assert top.stderr.read() == ""


def test_it_ends_with_the_process() -> None:
    with running("spinning", "1") as process, watching(process.pid, "--interval=0.2") as top:
        assert top.stdout is not None
        top.stdout.readline()
        process.kill()
        process.wait()
        out, err = top.communicate(timeout=PATIENCE_S)
    assert (top.returncode, err) == (0, f"process {process.pid} has ended\n")
    assert " s in all, " in out


def test_the_threads_of_a_service_have_roles() -> None:
    serve = [sys.executable, "-P", "-m", "gilscope", "serve", "--port=0", "--metrics-port=0", "--pool-size=2"]
    with subprocess.Popen(
        [*serve, "--workload=noop", "--backends=threads,processes"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            for backend in ("threads", "processes"):
                urlopen(f"{ready['url']}/work/noop/{backend}", timeout=PATIENCE_S).close()
            alone = threads_of(told(process.pid, "--seconds=1"))
            family = threads_of(told(process.pid, "--seconds=1", "-s"))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert {thread["pid"] for thread in alone} == {process.pid}
    assert {"loop", "worker", "other"} >= {thread["role"] for thread in alone} >= {"loop", "worker"}
    assert [thread["role"] for thread in alone if thread["tid"] == process.pid] == ["loop"]
    children = [thread for thread in family if thread["pid"] != process.pid]
    assert len({thread["pid"] for thread in children}) >= 2
    assert "worker" in {thread["role"] for thread in children}


def refused(pid: object, *options: str) -> str:
    """Watch what cannot be watched; give the message."""
    done = subprocess.run(
        command(pid, *options), check=False, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@contextmanager
def sleeping(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run something that waits for its input to end, once it is what it says."""
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            eventually(lambda: words[0] in "".join(command_line(process.pid)[:1]), f"{words[0]} to run")
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_process_of_another_kind_is_refused() -> None:
    with sleeping("cat") as process:
        message = refused(process.pid)
    assert message.startswith(f"gilscope top: process {process.pid} is not a CPython process: ")
    assert "\n  -> ps " in message


def test_a_launcher_leads_to_its_child() -> None:
    script = f"'{sys.executable}' '{THREADS}' spinning 0 & wait"
    with sleeping("sh", "-c", script) as process:
        eventually(lambda: _is_python(psutil.Process(process.pid).children()), "the child to run")
        (child,) = psutil.Process(process.pid).children()
        message = refused(process.pid)
    assert message.endswith(f"  -> among its children, these run Python: {child.pid}\n")


def _is_python(processes: Sequence[psutil.Process]) -> bool:
    return any("python" in process.exe() for process in processes)


def test_an_old_python_is_refused() -> None:
    old = find_python("3.10")
    if old is None:
        pytest.skip("there is no Python 3.10 here")
    with running("spinning", "0", python=old) as process:
        assert refused(process.pid) == (
            "gilscope top: the process runs a Python older than 3.11\n  -> Python 3.11 or newer\n"
        )


def test_a_thread_leads_to_its_process() -> None:
    with running("spinning", "0", "1") as process:
        (thread,) = (
            thread.id for thread in psutil.Process(process.pid).threads() if thread.id != process.pid
        )
        assert refused(thread) == (
            f"gilscope top: {thread} is a thread of process {process.pid}\n  -> gilscope top {process.pid}\n"
        )


def test_what_has_ended_is_refused() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert refused(process.pid).startswith(f"gilscope top: process {process.pid} has ended (a zombie: ")
    assert refused(process.pid).startswith(f"gilscope top: there is no process {process.pid}\n  -> ")


def test_itself_it_refuses_with_the_reason() -> None:
    script = 'exec "$0" -P -m gilscope top $$'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable], check=False, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 2
    assert "is gilscope itself: to look it takes its GIL" in done.stderr


def test_without_the_right_it_says_what_gives_it() -> None:
    require(os.geteuid() == 0, "only root can become another user")

    def as_another(*words: str) -> subprocess.CompletedProcess[str]:
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        return subprocess.run(
            [*other, *words], check=False, capture_output=True, text=True, timeout=PATIENCE_S
        )

    imported = as_another(sys.executable, "-P", "-c", "import gilscope.commands.main")
    require(imported.returncode == 0, "another user cannot read this Python or gilscope where they lie")
    with running("spinning", "0") as process:
        done = as_another(*command(process.pid))
    assert done.returncode == 2
    assert done.stderr.startswith(f"gilscope top: no right to watch process {process.pid}\n  -> ")


@pytest.mark.parametrize(
    "options",
    [
        ["-5"],
        ["0"],
        ["4194305"],
        ["python"],
        ["1", "--rate=0"],
        ["1", "--rate=1001"],
        ["1", "--interval=0"],
        ["1", "--seconds=nan"],
        ["1", "--sort=name"],
    ],
    ids=" ".join,
)
def test_bad_usage(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["top", *options])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("gilscope top: argument ")


def test_threads_that_come_and_go_are_counted_and_leave_nothing_open() -> None:
    with running("churning") as process, watching(process.pid, "--json", "--seconds=4") as top:
        descriptors = [count for _ in range(8) if (count := _open_files(top)) is not None]
        out, err = top.communicate(timeout=PATIENCE_S)
    assert top.returncode == 0, err
    answer = json.loads(out)
    assert_sane(answer)
    assert answer["unseen"]["on_cpu_s"] > 0
    assert max(descriptors) < 60


def _open_files(top: subprocess.Popen[str]) -> int | None:
    time.sleep(0.3)
    try:
        return psutil.Process(top.pid).num_fds()
    except psutil.NoSuchProcess:
        return None


def test_five_hundred_threads() -> None:
    with running("spinning", "1", "500") as process:
        answer = told(process.pid, "--seconds=1.5", "--rate=50")
    assert_sane(answer)
    assert len(threads_of(answer)) == 502


def test_children_that_come_and_go() -> None:
    with running("forking") as process, watching(process.pid, "-s", "--json", "--seconds=4") as top:
        descriptors = [count for _ in range(8) if (count := _open_files(top)) is not None]
        out, err = top.communicate(timeout=PATIENCE_S)
    assert top.returncode == 0, err
    answer = json.loads(out)
    assert_sane(answer)
    pids = {thread["pid"] for thread in answer["threads"]}
    assert process.pid in pids
    assert len(pids) > 1
    assert max(descriptors) < 100


def test_another_python_in_its_place_is_watched_on(python: tuple[str, Path]) -> None:
    version, executable = python
    with (
        running("becoming", str(executable), str(THREADS), "spinning", "2") as process,
        _often(process) as top,
    ):
        _change(process, top)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        _read_until(top, f": Python {version}.", "3 threads")
        top.send_signal(signal.SIGINT)
        out, err = top.communicate(timeout=PATIENCE_S)
    assert (top.returncode, err) == (0, f"process {process.pid} ran another program in its place\n")
    assert " s in all, " in out


def test_another_program_in_its_place_is_the_end(python: tuple[str, Path]) -> None:
    _version, executable = python
    with running("becoming", "/bin/cat", python=executable) as process, _often(process) as top:
        _change(process, top)
        out, err = top.communicate(timeout=PATIENCE_S)
    assert top.returncode == 0
    assert err.startswith(f"process {process.pid} can no longer be watched: ")
    assert "is not a CPython process" in err
    assert " s in all, " in out


def _often(process: Watched) -> AbstractContextManager[subprocess.Popen[str]]:
    return watching(process.pid, "--interval=0.3")


def _change(process: Watched, top: subprocess.Popen[str]) -> None:
    """Let the process run another program, once it is being watched."""
    _read_until(top, f"process {process.pid}: ")
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _read_until(top: subprocess.Popen[str], *words: str) -> None:
    assert top.stdout is not None
    for line in top.stdout:
        if all(word in line for word in words):
            return
    pytest.fail(f"it ended before a line with {words}")


@pytest.mark.parametrize("plain", [True, False])
def test_a_terminal_is_given_back_as_it_was(plain: bool) -> None:  # noqa: FBT001  a column
    kept = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "COLUMNS", "LINES"}}
    env = {**kept, "TERM": "xterm", **({"NO_COLOR": "1"} if plain else {})}
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0), os.fdopen(theirs, "wb", buffering=0):
        termios.tcsetwinsize(theirs, (24, 80))
        before = termios.tcgetattr(theirs)
        with running("spinning", "2") as process, _on_terminal(process, theirs, env) as top:
            shown = _screen(ours, until="Ctrl-C ends")
            top.send_signal(signal.SIGINT)
            shown += _screen(ours, until="sorted by GIL wait\r\n")
            assert top.wait(PATIENCE_S) == 0
        assert termios.tcgetattr(theirs) == before
    assert shown.index("\x1b[?1049h") < shown.index("Ctrl-C ends") < shown.index("\x1b[?1049l")
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert shown.rindex(" s in all, ") > shown.index("\x1b[?1049l")
    assert ("\x1b[33m▒" in shown) is not plain


def _on_terminal(process: Watched, terminal: int, env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(process.pid, "--interval=0.2"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env=env,
    )


def _screen(terminal: int, until: str) -> str:
    shown, deadline = b"", time.monotonic() + PATIENCE_S
    while until not in shown.decode(errors="replace"):
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, shown
        shown += os.read(terminal, 65_536)
    return shown.decode(errors="replace")
