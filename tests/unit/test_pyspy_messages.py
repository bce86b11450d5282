from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gilscope.errors import CaptureError
from gilscope.flame import pyspy
from gilscope.flame.pyspy import capture, explain
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


@pytest.mark.parametrize(("said", "cause"), SAID)
def test_a_failure_is_explained(said: str, cause: str) -> None:
    error = explain(said)
    assert error.message.startswith("py-spy could not capture stacks: ")
    assert error.message.endswith(cause)
    assert error.remedy


@pytest.mark.parametrize("number", [10, 12, 17, 30, 131])
def test_other_numbers_are_not_mistaken_for_permission_or_end(number: int) -> None:
    message = explain(f"Error: unheard of (os error {number})").message
    assert not any(cause in message for cause in (PERMISSION, ENDED))


def test_a_missing_py_spy_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    with pytest.raises(CaptureError, match="py-spy is not installed") as caught:
        capture(os.getpid(), [FlameKind.WALL], 1)
    assert caught.value.remedy == "pip install py-spy; or --no-profiles"


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
    assert found.folded == {("main (app.py)", "spin (app.py)"): 40, ("spin (app.py)",): 2}
    assert (found.kind, found.samples, found.lost) == (FlameKind.HOLDING, 42, 3)
    assert (found.rate_hz, found.seconds) == (100, 1.0)
    assert found.source.startswith("py-spy 0.")
    assert list(temporary.iterdir()) == []


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
        ("spin (app.py)", "\N{REPLACEMENT CHARACTER}\0\r\N{REPLACEMENT CHARACTER} (app.py)"): 2
    }


@pytest.mark.integration
def test_one_that_never_ends_is_given_up_and_killed(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = pretend("time.sleep(600)")
    monkeypatch.setattr(pyspy, "SLACK_S", 0.2)
    started: list[subprocess.Popen[str]] = []
    collect = pyspy._collect

    def watched(
        pid: int, kind: FlameKind, process: subprocess.Popen[str], seconds: int, folder: Path
    ) -> pyspy.Capture:
        started.append(process)
        return collect(pid, kind, process, seconds, folder)

    monkeypatch.setattr(pyspy, "_collect", watched)
    with pytest.raises(CaptureError, match="did not finish 0 s of stacks"):
        capture(5, [FlameKind.WALL, FlameKind.HOLDING], 0)
    assert [process.returncode for process in started] == [-9]
    assert list(temporary.iterdir()) == []
