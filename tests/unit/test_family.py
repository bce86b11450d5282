from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator

import pytest
from watched import Obedient, obedient

from gilscope import family
from gilscope.family import children, thread_ids

pytestmark = pytest.mark.integration
WAITS = "import sys; print(flush=True); sys.stdin.read()"
NESTED = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {WAITS!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(flush=True)
sys.stdin.read()
"""
"""A child that has a child of its own."""


@pytest.fixture
def process() -> Iterator[Obedient]:
    with obedient() as started:
        yield started


def ended() -> int:
    """The number of a process that there is no more."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_threads_are_listed_by_number(process: Obedient) -> None:
    assert thread_ids(process.pid) == [process.pid]
    tids = [process.number("begin") for _ in range(3)]
    assert sorted(thread_ids(process.pid)) == sorted([process.pid, *tids])
    assert threading.get_native_id() in thread_ids(os.getpid())


def test_a_process_that_has_ended_has_neither_threads_nor_children() -> None:
    pid = ended()
    with pytest.raises(FileNotFoundError):
        thread_ids(pid)
    assert children(pid) == []


@pytest.mark.parametrize("listed", [True, False], ids=["by the kernel", "by search"])
def test_children_and_theirs_are_found(
    process: Obedient,
    monkeypatch: pytest.MonkeyPatch,
    listed: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(family, "_kernel_lists_children", lambda: listed)
    assert children(process.pid) == []
    child, parent = process.number("python", WAITS), process.number("python", NESTED)
    found = children(process.pid)
    assert len(found) == 3
    (grandchild,) = children(parent)
    assert set(found) == {child, parent, grandchild}
    assert children(child) == []


def test_a_search_for_children_of_nobody_finds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "_kernel_lists_children", lambda: False)
    assert children(ended()) == []


def test_children_of_any_thread_are_found(process: Obedient) -> None:
    code = (
        "import subprocess, sys, threading\n"
        "children = []\n"
        "def start(): children.append(subprocess.Popen(['sleep', '60']))\n"
        "leave = threading.Event()\n"
        "there = threading.Event()\n"
        "def body(): start(); there.set(); leave.wait()\n"
        "threading.Thread(target=body, daemon=True).start()\n"
        "there.wait()\n"
        "result = children[0].pid\n"
    )
    pid = process.number("evaluate", code)
    assert children(process.pid) == [pid]


def test_a_thread_that_ends_while_children_are_read_hides_none(
    process: Obedient, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = process.number("python", WAITS)
    real = family.thread_ids
    monkeypatch.setattr(family, "thread_ids", lambda pid: [2**22 + 1, *real(pid)])
    assert children(process.pid) == [child]


def test_this_kernel_says_whether_it_lists_children() -> None:
    family._kernel_lists_children.cache_clear()
    assert family._kernel_lists_children() is os.path.exists(  # noqa: PTH110
        f"/proc/self/task/{threading.get_native_id()}/children"
    )
