from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gilscope.errors import UsageError
from gilscope.top import processes
from gilscope.top.processes import command_line, is_running, name_pythons, parse_status, require_program

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

PROGRAM = {"Tgid": "70", "State": "S (sleeping)", "PPid": "1", "VmSize": "4 kB"}


@pytest.fixture
def asleep() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that is no Python and waits."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def test_status_is_read_by_key() -> None:
    assert parse_status("Name:\tpython:x\nState:\tS (sleeping)\nTgid:\t7\n\n") == {
        "Name": "python:x",
        "State": "S (sleeping)",
        "Tgid": "7",
        "": "",
    }


@pytest.mark.parametrize(
    ("changed", "says", "remedy"),
    [
        ({"Tgid": "60"}, "70 is a thread of process 60", "gilscope top 60"),
        ({"State": "Z (zombie)"}, "process 70 has ended (a zombie: its parent, process 1, ", None),
        ({"State": "X (dead)"}, "process 70 has ended", None),
        ({"VmSize": None}, "process 70 is a thread of the kernel, no program", None),
        ({"VmSize": None, "Kthread": "1"}, "process 70 is a thread of the kernel, no program", None),
    ],
)
def test_what_is_no_running_program_is_refused(
    changed: dict[str, str | None], says: str, remedy: str | None
) -> None:
    status = {key: value for key, value in {**PROGRAM, **changed}.items() if value is not None}
    with pytest.raises(UsageError) as refused:
        processes._refuse(70, status)
    assert refused.value.message.startswith(says)
    assert refused.value.remedy == (remedy or processes.LIST_PYTHONS)


def test_a_program_that_is_just_ending_is_left_to_who_looks_closer() -> None:
    processes._refuse(70, {**PROGRAM, "Kthread": "0"})
    processes._refuse(
        70, {key: value for key, value in {**PROGRAM, "Kthread": "0"}.items() if key != "VmSize"}
    )


@linux
def test_ourselves_we_refuse_with_the_reason() -> None:
    with pytest.raises(UsageError, match="is gilscope itself: to look it takes its GIL"):
        require_program(os.getpid())


@linux
def test_a_process_that_runs_and_one_that_has_ended(asleep: subprocess.Popen[bytes]) -> None:
    require_program(asleep.pid)
    assert is_running(asleep.pid)
    asleep.kill()
    os.waitid(os.P_PID, asleep.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(UsageError, match=f"a zombie: its parent, process {os.getpid()}, "):
        require_program(asleep.pid)
    asleep.wait()
    with pytest.raises(UsageError, match=f"there is no process {asleep.pid}"):
        require_program(asleep.pid)
    assert not is_running(asleep.pid)


def test_elsewhere_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    require_program(os.getpid())


@linux
def test_what_a_process_runs(asleep: subprocess.Popen[bytes]) -> None:
    executable, *words = command_line(os.getpid())
    assert executable == os.path.realpath(sys.executable)
    assert len(words) == 2
    asleep.kill()
    asleep.wait()
    assert command_line(asleep.pid) == []


def test_pythons_are_told_by_their_executable(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {
        1: ["/bin/sh"],
        2: ["/usr/bin/python3.13", "x"],
        3: [],
        4: ["/opt/Python"],
        5: ["/python"],
        6: ["/python/cat"],
        7: ["/python"],
    }
    monkeypatch.setattr(processes, "command_line", programs.__getitem__)
    assert name_pythons([1, 3, 6]) == ""
    assert name_pythons(programs) == "2, 4, 5"
