from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

import psutil
import pytest
from polling import all_end, eventually

from gilscope.child import Child, how_it_ended, module_command
from gilscope.errors import GilscopeError, LoadError, ServiceError
from gilscope.limits import allow_many_files

pytestmark = pytest.mark.integration

ANSWER_S = 60.0
ECHO = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"heard": json.loads(line)}), flush=True)
"""


def child(code: str, *, env: Mapping[str, str] | None = None) -> Child:
    return Child([sys.executable, "-c", code], failure=ServiceError, env=env)


def failure(started: Child, timeout_s: float = ANSWER_S) -> str:
    with pytest.raises(ServiceError) as caught:
        started.receive(timeout_s)
    return caught.value.message


@pytest.mark.parametrize(
    ("code", "name"),
    [(0, "exit code 0"), (3, "exit code 3"), (-11, "SIGSEGV"), (-9, "SIGKILL"), (-200, "signal 200")],
)
def test_the_end_of_a_process_has_a_name(code: int, name: str) -> None:
    assert how_it_ended(code) == name


def test_messages_go_there_and_back() -> None:
    with child(ECHO) as echo:
        for message in ({"n": 1}, {"text": "ü\n\u2028", "list": [None, 1.5]}, {"big": "x" * 300_000}):
            echo.send(message)
            assert echo.receive(ANSWER_S) == {"heard": message}
        echo.require_alive()
        assert echo.alive()


def test_lines_that_come_together_are_told_apart() -> None:
    with child("""print('{"n": 1}\\n{"n": 2}'); print('{"n": 3}', end="")""") as both:
        assert [both.receive(ANSWER_S), both.receive(ANSWER_S)] == [{"n": 1}, {"n": 2}]
        # A last line without its end is no message.
        assert "ended with exit code 0" in failure(both)


def test_a_line_may_come_in_pieces() -> None:
    code = """
import sys
sys.stdout.write('{"a":'); sys.stdout.flush()
sys.stdin.readline()
sys.stdout.write(' 1}\\n'); sys.stdout.flush()
sys.stdin.readline()
"""
    with child(code) as slow:
        assert "did not answer" in failure(slow, 0.3)
        slow.send({})
        assert slow.receive(ANSWER_S) == {"a": 1}


@pytest.mark.parametrize("line", ["hello", "[1]", "1", "null", "", "{", '{"a": 1} {"b": 2}', "\\xff"])
def test_a_line_that_is_no_message_is_quoted(line: str) -> None:
    with child(f"import sys; sys.stdout.buffer.write(b'{line}\\n')") as garbage:
        message = failure(garbage)
    assert "printed b" in message
    assert "not a message" in message
    assert line in message


def test_a_long_garbage_line_is_cut() -> None:
    with child("print('x' * 100_000)") as garbage:
        assert len(failure(garbage)) < 400


def test_last_words_are_quoted_with_the_exit_code() -> None:
    code = "import sys; [print('word', n, file=sys.stderr) for n in range(20)]; sys.exit(7)"
    with child(code) as dying:
        first, *quoted = failure(dying).splitlines()
    assert first.startswith(f"{sys.executable} -c ")
    assert first.endswith("ended with exit code 7")
    assert quoted == [f"  | word {n}" for n in range(8, 20)]


def test_the_signal_that_killed_it_is_named() -> None:
    with child("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") as dying:
        assert f"exit code -{int(signal.SIGKILL)}" in failure(dying)


def test_silence_has_an_end_and_leaves_the_child_alive() -> None:
    with child(
        "import sys; print('thinking', file=sys.stderr, flush=True); print('{}', flush=True); sys.stdin.read()"
    ) as silent:
        assert silent.receive(ANSWER_S) == {}
        message = failure(silent, 0.05)
        assert "did not answer within 0.05 s" in message
        assert message.endswith("  | thinking")
        silent.require_alive()


def test_quoting_does_not_disturb_what_the_child_writes_next() -> None:
    code = """
import sys
for line in sys.stdin:
    print(line.strip(), file=sys.stderr, flush=True)
    print("{}", flush=True)
"""
    with child(code) as talker:
        for n in range(3):
            talker.send({"n": n})
            talker.receive(ANSWER_S)
            assert failure(talker, 0.01).splitlines()[-n - 1 :] == [
                f'  | {{"n": {before}}}' for before in range(n + 1)
            ]


def test_one_that_closes_its_output_and_lives_on_is_not_waited_for() -> None:
    with child("import os, sys; os.close(1); sys.stdin.read()") as mute:
        assert "closed its standard output and still runs" in failure(mute, 0.5)


def test_sending_to_one_that_has_ended() -> None:
    with child("import sys; print('no', file=sys.stderr)") as gone:
        eventually(lambda: not gone.alive(), "the end of the child")
        with pytest.raises(ServiceError, match="has ended"):
            gone.send({"x": 1})
        with pytest.raises(ServiceError, match=r"ended with exit code 0\n  \| no"):
            gone.require_alive()


def test_failures_are_of_the_kind_that_was_asked_for() -> None:
    with Child([sys.executable, "-c", ""], failure=LoadError) as gone, pytest.raises(LoadError):
        gone.receive(ANSWER_S)


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(GilscopeError, match=r"cannot start /no/such/program: No such file or directory"):
        Child(["/no/such/program"], failure=GilscopeError)


def test_the_environment_is_added_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GILSCOPE_TEST_KEPT", "kept")
    code = """
import json, os
print(json.dumps({name: os.environ.get("GILSCOPE_TEST_" + name) for name in ("KEPT", "ADDED")}))
"""
    with child(code, env={"GILSCOPE_TEST_ADDED": "added"}) as started:
        assert started.receive(ANSWER_S) == {"KEPT": "kept", "ADDED": "added"}


def test_it_ends_when_its_input_does() -> None:
    with child(ECHO) as echo:
        process = psutil.Process(echo.pid)
        echo.send({})
        echo.receive(ANSWER_S)
    assert not process.is_running()
    assert not echo.alive()


def test_one_that_ignores_its_input_is_killed_after_the_grace() -> None:
    deaf = child("import signal, time; print('{}', flush=True)\nwhile True: time.sleep(60)")
    assert deaf.receive(ANSWER_S) == {}
    process = psutil.Process(deaf.pid)
    deaf.stop(grace_s=0.05)
    assert not process.is_running()


@pytest.mark.parametrize("patient", [True, False], ids=["ends by itself", "has to be killed"])
def test_stopping_it_takes_its_own_children_along(*, patient: bool) -> None:
    code = f"""
import json, subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(json.dumps({{"grandchild": grandchild.pid}}), flush=True)
sys.stdin.read() if {patient} else time.sleep(600)
grandchild.returncode = 0
"""
    parent = child(code)
    grandchild = psutil.Process(int(str(parent.receive(ANSWER_S)["grandchild"])))
    assert grandchild.is_running()
    parent.stop(grace_s=20 if patient else 0.05)
    all_end([grandchild])


def test_it_is_in_a_session_of_its_own() -> None:
    with child(ECHO) as echo:
        assert os.getsid(echo.pid) == echo.pid != os.getsid(0)


def test_stopping_twice_does_no_harm() -> None:
    with child(ECHO) as echo:
        echo.stop()
        echo.stop()


def test_the_guard_of_a_child_goes_with_it() -> None:
    def guards() -> list[psutil.Process]:
        return [process for process in psutil.Process().children() if "gilscope-guard" in process.cmdline()]

    with Child([sys.executable, "-c", ECHO], failure=ServiceError, guarded=True) as echo:
        eventually(lambda: len(guards()) == 1, "the guard, whose command line is there soon after it")
        (guard,) = guards()
        assert guard.cmdline()[-1] == str(echo.pid)
        echo.stop()
        assert not guard.is_running()


def test_a_child_is_stopped_when_the_block_fails() -> None:
    echo = child(ECHO)
    process = psutil.Process(echo.pid)
    with pytest.raises(KeyboardInterrupt), echo:
        raise KeyboardInterrupt
    assert not process.is_running()


def test_our_modules_run_without_the_current_folder_on_the_path() -> None:
    command = module_command("gilscope.some.module", "--x", python="/other/python")
    assert command == ["/other/python", "-P", "-m", "gilscope.some.module", "--x"]
    assert module_command("m")[0] == sys.executable


def test_a_deadline_covers_all_pieces_together() -> None:
    code = "import sys, time\nwhile True: sys.stdout.write('x'); sys.stdout.flush(); time.sleep(0.02)"
    with child(code) as dripping:
        begun = time.monotonic()
        assert "did not answer" in failure(dripping, 0.2)
        assert time.monotonic() - begun < 10
        dripping.stop(grace_s=0)


def test_it_may_have_a_file_beyond_the_1024th() -> None:
    """A service with so many connections starts children, too."""
    with ExitStack() as files:
        allow_many_files()
        while (last := files.enter_context(open(os.devnull))).fileno() < 1_024:  # noqa: PTH123
            pass
        with child(ECHO) as echo:
            assert echo.fileno() > last.fileno()
            echo.send({})
            assert echo.receive(ANSWER_S) == {"heard": {}}
