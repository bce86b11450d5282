from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from gilscope.errors import CaptureError
from gilscope.flame import pyspy
from gilscope.flame.algebra import NO_FRAMES
from gilscope.flame.capture import Capture
from gilscope.flame.pyspy import ALL, ALL_NATIVE, HOLDERS, PySpy, explain
from gilscope.model import FlameKind

NONE_FOUND = "Error: No python processes found in process 12 or any of its subprocesses"

PERMISSION = "no right to read the process's memory"
UNKNOWN = "py-spy does not know this Python"
ENDED = "the process has ended"

# What py-spy 0.4 prints when it gives up.
SAID = [
    ("Permission Denied: Try running again with elevated permissions by going 'sudo env ...'\n", PERMISSION),
    ("Error: Failed to open process 12\nReason: Permission denied (os error 13)\n", PERMISSION),
    ("Error: Operation not permitted (os error 1)\n", PERMISSION),
    ("Error: Failed to find python version from target process\n", UNKNOWN),
    ("Error: Failed to find a python interpreter in the .data section\n", UNKNOWN),
    ("Error: No such process (os error 3)\n", ENDED),
    ("Error: Failed to get process executable name. Check that the process is running.\n\nCaused by:\n    0: No such file or directory (os error 2)\n    1: No such file or directory (os error 2)\n", ENDED),
    (f"{NONE_FOUND}\n", NONE_FOUND),
    ("Error: something new (os error 17)\n\n  \n", "something new (os error 17)"),
    ("", "it said nothing"),
]  # fmt: skip


def capture(pid: int, kinds: Collection[FlameKind], seconds: int) -> list[Capture]:
    return PySpy().capture(pid, kinds, seconds)


@pytest.mark.parametrize(("said", "cause"), SAID)
def test_a_failure_is_explained(said: str, cause: str) -> None:
    error = explain(said)
    assert error.message.startswith("py-spy could not capture stacks: ")
    assert error.message.endswith(cause)
    assert error.remedy


def test_one_that_dies_without_a_word_is_told_by_its_exit_code() -> None:
    said = "py-spy> Sampling process 25 times a second for 4 seconds. Press Control-C to exit.\n\n"
    assert explain(said, -11).message.endswith(": it said nothing, and ended with exit code -11")


@pytest.mark.parametrize("number", [10, 12, 17, 30, 131])
def test_other_numbers_are_not_mistaken_for_permission_or_end(number: int) -> None:
    message = explain(f"Error: unheard of (os error {number})").message
    assert not any(cause in message for cause in (PERMISSION, ENDED))


def test_a_missing_py_spy_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    with pytest.raises(CaptureError, match="py-spy is not installed") as caught:
        capture(os.getpid(), [FlameKind.WALL], 1)
    assert caught.value.remedy == "pip install py-spy"


def test_py_spy_is_found_on_the_search_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "py-spy").write_text("#!/bin/sh\n")
    (tmp_path / "py-spy").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path / "elsewhere"))
    assert pyspy.find_py_spy() == str(tmp_path / "py-spy")


Pretend = Callable[[str], Path]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pretend:
    """Put a Python script in py-spy's place; returns the folder in which temporary ones are made."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def put(script: str) -> Path:
        fake = tmp_path / "py-spy"
        head = f"#!{sys.executable}\nimport os, sys, time\n"
        find = "output = next((a.partition('=')[2] for a in sys.argv if a.startswith('--output=')), '')\n"
        fake.write_text(head + find + script)
        fake.chmod(0o755)
        monkeypatch.setattr(pyspy, "find_py_spy", lambda: str(fake))
        return temporary

    return put


@pytest.mark.integration
def test_what_it_wrote_and_said_is_the_capture(pretend: Pretend) -> None:
    temporary = pretend(
        "open(output, 'w').write("
        "'process 5:\"\";thread (5): MainThread;main (app.py);spin (app.py) 40\\n'"
        "'process 5:\"\";thread (6): worker;spin (app.py) 2\\n'"
        "'process 5:\"\";thread (7): x;serve_forever (socketserver.py) 7\\n')\n"
        "print('py-spy> Wrote raw flamegraph data. Samples: 49 Errors: 3')\n"
    )
    (found,) = capture(5, [FlameKind.HOLDING], 1)
    assert found.folded == {
        ("main (app.py)", "spin (app.py)"): pytest.approx(0.4),
        ("spin (app.py)",): pytest.approx(0.02),
    }
    graph = found.graph
    assert (graph.kind, graph.samples, graph.lost) == (FlameKind.HOLDING, 42, 3)
    assert (graph.rate_hz, graph.seconds, graph.notes) == (100, 1.0, ())
    assert graph.source.startswith("py-spy 0.")
    assert (graph.requests, graph.share, graph.lens_share) == (None, None, None)
    assert list(temporary.iterdir()) == []


def writing(arguments: str, below: str = "") -> str:
    """Return a py-spy that answers with one stack: arguments that it was given, and what is below them."""
    return f"open(output, 'w').write(' '.join({arguments}) + ' (app.py){below} 1\\n')"


def options_in(found: Capture) -> set[str]:
    ((frame,),) = found.folded
    return set(frame.removesuffix(" (app.py)").split())


@pytest.mark.integration
@pytest.mark.parametrize(
    ("kinds", "modes"),
    [
        ([FlameKind.HOLDING], [HOLDERS]),
        ([FlameKind.WALL], [ALL]),
        ([FlameKind.WALL, FlameKind.HOLDING], [HOLDERS, ALL]),
    ],
)
def test_it_is_run_once_for_each_kind_and_gives_them_in_the_order_of_the_kinds(
    pretend: Pretend, kinds: list[FlameKind], modes: list[tuple[str, ...]]
) -> None:
    pretend(writing("sys.argv[1:-1]"))
    captures = PySpy().capture(os.getpid(), kinds, 1, 250)
    assert [found.graph.kind for found in captures] == [kind for kind in FlameKind if kind in kinds]
    for found, mode in zip(captures, modes, strict=True):
        assert options_in(found) == {
            *("record", f"--pid={os.getpid()}", "--duration=1", "--rate=250"),
            *("--subprocesses", "--threads", "--function", "--format=raw"),
            *mode,
        }
        assert found.graph.rate_hz == 250
        assert list(found.folded.values()) == [1 / 250]


@pytest.mark.integration
@pytest.mark.parametrize(("rate_hz", "native_hz"), [(100, 25), (250, 62), (4, 1), (1, 1)])
def test_c_frames_are_taken_at_a_quarter_of_the_rate(pretend: Pretend, rate_hz: int, native_hz: int) -> None:
    rate_and_mode = "[sys.argv[4], *sys.argv[-3:-1]]"
    pretend(writing(rate_and_mode))
    (found,) = PySpy().capture(os.getpid(), [FlameKind.WALL], 1, rate_hz)
    assert (options_in(found), found.graph.rate_hz) == ({f"--rate={rate_hz}", *ALL}, rate_hz)
    pretend(writing(rate_and_mode, ";pthread_cond_wait (libc.so.6)"))
    for found in PySpy().capture(os.getpid(), [FlameKind.WALL, FlameKind.WAITING], 1, rate_hz):
        assert options_in(found) == {f"--rate={native_hz}", *ALL_NATIVE}
        assert found.graph.rate_hz == native_hz
        assert list(found.folded.values()) == [1 / native_hz]


EVERYTHING = """
if '--gil' in sys.argv:
    stacks = ['thread (5): x;run (threading.py);spin (app.py) 30']
elif '--native' in sys.argv:
    stacks = [
        'thread (5): x;run (threading.py);spin (app.py);0x7f (libc.so.6) 40',
        'thread (6): y;run (threading.py);spin (app.py);pthread_cond_timedwait (libc.so.6);0x7f (libc.so.6) 10',
        'thread (7): z;run (threading.py);wait (queue.py);sem_clockwait (libc.so.6) 50',
        'thread (8);pthread_cond_wait (libc.so.6) 2',
    ]
else:
    stacks = ['nobody asked for this (app.py) 1']
open(output, 'w').write('\\n'.join(stacks) + '\\n')
print('Samples: 1 Errors:', 7 if '--native' in sys.argv else 3)
"""


@pytest.mark.integration
def test_one_that_sees_c_frames_serves_both_who_waits_and_the_wall_clock(pretend: Pretend) -> None:
    pretend(EVERYTHING)
    holding, waiting, wall = capture(os.getpid(), list(FlameKind), 1)
    assert [one.graph.kind for one in (holding, waiting, wall)] == list(FlameKind)
    assert holding.folded == {("run (threading.py)", "spin (app.py)"): pytest.approx(0.3)}
    assert waiting.folded == {
        ("run (threading.py)", "spin (app.py)"): pytest.approx(0.4),
        (NO_FRAMES,): pytest.approx(0.08),
    }
    assert wall.folded == {
        ("run (threading.py)", "spin (app.py)"): pytest.approx(2.0),
        ("run (threading.py)", "wait (queue.py)"): pytest.approx(2.0),
        (NO_FRAMES,): pytest.approx(0.08),
    }
    assert [one.graph.rate_hz for one in (holding, waiting, wall)] == [100, 25, 25]
    graphs = [one.graph for one in (holding, waiting, wall)]
    assert [(graph.samples, graph.lost) for graph in graphs] == [(30, 3), (12, 7), (102, 7)]
    assert [["condition variable" in note for note in graph.notes] for graph in graphs] == [[], [True], []]


@pytest.mark.integration
def test_nobody_waiting_is_a_capture_without_stacks(pretend: Pretend) -> None:
    pretend("open(output, 'w').write('run (threading.py);sem_clockwait (libc.so.6) 50\\n')")
    (waiting,) = capture(os.getpid(), [FlameKind.WAITING], 1)
    assert (waiting.folded, waiting.graph.samples) == ({}, 0)


@pytest.mark.integration
def test_who_is_never_held_was_never_paused(pretend: Pretend) -> None:
    pretend("time.sleep(0.3)\nopen(output, 'w').write('f (app.py) 1\\n')")
    (found,) = capture(os.getpid(), [FlameKind.WALL], 1)
    assert found.graph.pause_share == 0.0


@pytest.mark.integration
def test_of_a_process_that_is_gone_no_pause_is_known(pretend: Pretend) -> None:
    pretend("time.sleep(0.1)\nopen(output, 'w').write('f (app.py) 1\\n')")
    (found,) = capture(2**22 + 1, [FlameKind.WALL], 1)
    assert found.graph.pause_share is None


@pytest.mark.integration
@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("open(output, 'w').write('no weight here\\n')", "line 1"),
        ("pass", "No such file"),
    ],
)
def test_stacks_that_cannot_be_read_are_a_capture_that_failed(
    pretend: Pretend, script: str, cause: str
) -> None:
    temporary = pretend(script)
    with pytest.raises(CaptureError, match=cause) as caught:
        capture(5, [FlameKind.WALL], 1)
    assert caught.value.remedy
    assert list(temporary.iterdir()) == []


@pytest.mark.integration
@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("Permission Denied: Try running again with elevated permissions", PERMISSION),
        ("Error: Failed to find python version from target process", UNKNOWN),
        ("", "No python processes found in process 12 or any of its subprocesses"),
    ],
)
def test_where_it_found_no_process_it_is_asked_for_the_reason(
    pretend: Pretend, reason: str, cause: str
) -> None:
    pretend(
        f"asked = 'dump' in sys.argv and '--pid=12' in sys.argv\n"
        f"sys.stderr.write({reason!r} if asked else {NONE_FOUND!r})\n"
        "sys.exit(1)\n"
    )
    with pytest.raises(CaptureError, match=cause):
        capture(12, [FlameKind.WALL], 1)


@pytest.mark.integration
def test_a_rust_users_backtraces_do_not_hide_the_reason(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUST_BACKTRACE", "full")
    monkeypatch.setenv("RUST_LIB_BACKTRACE", "1")
    pretend("print(os.environ['RUST_BACKTRACE'], os.environ['RUST_LIB_BACKTRACE'])\nsys.exit(1)")
    with pytest.raises(CaptureError, match="py-spy could not capture stacks: 0 0"):
        capture(12, [FlameKind.WALL], 1)


@pytest.mark.integration
def test_a_torn_frame_costs_no_capture(pretend: Pretend) -> None:
    pretend("open(output, 'wb').write(b'spin (app.py);\\xff\\x00\\r\\x85 (app.py) 2\\n')")
    (found,) = capture(5, [FlameKind.WALL], 1)
    assert found.folded == {
        ("spin (app.py)", "\N{REPLACEMENT CHARACTER}\0\r\N{REPLACEMENT CHARACTER} (app.py)"): 0.02
    }


@pytest.mark.integration
def test_one_that_never_ends_is_given_up_and_killed(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = pretend("time.sleep(600)")
    monkeypatch.setattr(pyspy, "SLACK_S", 0.2)
    started: list[subprocess.Popen[str]] = []
    collect = pyspy._Recording.collect

    def watched(recording: pyspy._Recording) -> pyspy._Raw:
        started.append(recording._process)
        return collect(recording)

    monkeypatch.setattr(pyspy._Recording, "collect", watched)
    with pytest.raises(CaptureError, match="did not finish 0 s of stacks") as caught:
        capture(5, [FlameKind.WALL], 0)
    assert caught.value.remedy
    assert [process.returncode for process in started] == [-9]
    assert list(temporary.iterdir()) == []


@pytest.mark.integration
def test_where_one_of_two_fails_the_other_is_killed_at_once(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = pretend("if '--gil' in sys.argv:\n    sys.exit('first')\ntime.sleep(600)")
    started: list[pyspy._Recording] = []
    enter = pyspy._Recording.__enter__

    def watched(recording: pyspy._Recording) -> pyspy._Recording:
        started.append(recording)
        return enter(recording)

    monkeypatch.setattr(pyspy._Recording, "__enter__", watched)
    with pytest.raises(CaptureError, match="first"):
        capture(5, [FlameKind.HOLDING, FlameKind.WALL], 1)
    assert [one._process.returncode for one in started] == [1, -9]
    assert list(temporary.iterdir()) == []


def test_the_modes_are_those_that_py_spy_has() -> None:
    assert HOLDERS == ("--gil", "--nonblocking")
    assert ALL == ("--idle", "--nonblocking")
    assert ALL_NATIVE == ("--idle", "--native")
