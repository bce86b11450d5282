"""Captures by the real py-spy, of real processes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
from polling import all_end
from requirements import require

from gilscope.child import Child
from gilscope.errors import CaptureError, ServiceError
from gilscope.flame.algebra import share, total
from gilscope.flame.capture import RATE_HZ, Capture
from gilscope.flame.folded import is_root, split_frame
from gilscope.flame.pyspy import NATIVE_PART, PySpy, _Recording
from gilscope.model import FlameKind

pytestmark = pytest.mark.integration

BOTH = (FlameKind.HOLDING, FlameKind.WALL)

capture = PySpy().capture

SPINS = """
import threading

def hold_the_gil():
    while True:
        pass

def wait_for_the_end():
    input()

threading.Thread(target=hold_the_gil, daemon=True).start()
print("{}", flush=True)
wait_for_the_end()
"""

POOL = """
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

def prepare(begun):
    global begins
    begins = begun

def spin_in_a_worker():
    begins.release()
    while True:
        pass

def wait_for_the_end():
    input()

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    begun = context.Semaphore(0)
    pool = ProcessPoolExecutor(2, context, prepare, (begun,))
    for _ in range(2):
        pool.submit(spin_in_a_worker)
    for _ in range(2):
        begun.acquire()
    print("{}", flush=True)
    try:
        wait_for_the_end()
    finally:
        os._exit(0)
"""


@contextmanager
def running(folder: Path, program: str) -> Iterator[int]:
    """Run a program until it has said that it is ready; end it, and what it started, after the block."""
    script = folder / "program.py"
    script.write_text(program)
    with Child([sys.executable, str(script)], failure=ServiceError) as child:
        child.receive(60)
        yield child.pid


@pytest.fixture(scope="module")
def spinning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("spinning"), SPINS) as pid:
        try:
            capture(pid, [FlameKind.WALL], 1)
        except CaptureError as problem:
            require(condition=False, reason=f"py-spy cannot look into a child of ours here: {problem}")
        yield pid


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary folders made where a test can count them."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def observers() -> list[psutil.Process]:
    """Return the py-spy processes that we have started."""
    children = psutil.Process().children(recursive=True)
    return [
        child for child in children if child.name() == "py-spy" and child.status() != psutil.STATUS_ZOMBIE
    ]


def names_of(found: Capture) -> set[str]:
    return {split_frame(frame).name for stack in found.folded for frame in stack}


def share_of(found: Capture, name: str) -> float:
    return share(found.folded, lambda frame: split_frame(frame).name == name)


@pytest.fixture(scope="module")
def captures(spinning: int) -> dict[FlameKind, Capture]:
    return {found.graph.kind: found for found in capture(spinning, BOTH, 2)}


def test_who_holds_the_gil_is_named(captures: dict[FlameKind, Capture]) -> None:
    holding = captures[FlameKind.HOLDING]
    assert share_of(holding, "hold_the_gil") > 0.9
    assert "wait_for_the_end" not in names_of(holding)


def test_the_wall_shows_who_waits_as_well(captures: dict[FlameKind, Capture]) -> None:
    wall = captures[FlameKind.WALL]
    # Two threads, of which one spins and one waits, are seen together.
    assert share_of(wall, "hold_the_gil") == pytest.approx(0.5, abs=0.1)
    assert share_of(wall, "wait_for_the_end") == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("kind", BOTH)
def test_the_counts_are_those_of_the_stacks(captures: dict[FlameKind, Capture], kind: FlameKind) -> None:
    found = captures[kind].graph
    threads = 1 if kind is FlameKind.HOLDING else 2
    assert found.samples == pytest.approx(RATE_HZ * total(captures[kind].folded))
    assert 0.25 * 2 * RATE_HZ * threads < found.samples <= 1.1 * 2 * RATE_HZ * threads
    assert 0 <= found.lost < found.samples
    assert (found.kind, found.rate_hz, found.seconds) == (kind, RATE_HZ, 2.0)
    assert found.source.startswith("py-spy 0.")


@pytest.mark.parametrize("kind", BOTH)
def test_stacks_have_no_roots_and_frames_are_functions(
    captures: dict[FlameKind, Capture], kind: FlameKind
) -> None:
    frames = [frame for stack in captures[kind].folded for frame in stack]
    assert not any(map(is_root, frames))
    (spin,) = {frame for frame in frames if frame.startswith("hold_the_gil")}
    assert spin == "hold_the_gil (program.py:4)", "the line where it begins, not the one that ran"


def test_nothing_is_left_behind(spinning: int, temporary: Path) -> None:
    assert capture(spinning, BOTH, 1)
    assert list(temporary.iterdir()) == []
    assert observers() == []


def test_the_target_lives_on(spinning: int) -> None:
    process = psutil.Process(spinning)
    before = sum(process.cpu_times()[:2])
    capture(spinning, [FlameKind.HOLDING], 1)
    assert process.status() != psutil.STATUS_STOPPED
    assert sum(process.cpu_times()[:2]) > before + 0.1


def test_with_waiting_graphs_all_stacks_are_taken_at_a_lower_rate_and_pause_the_target(spinning: int) -> None:
    holding, waiting, wall = capture(spinning, tuple(FlameKind), 2)
    assert (holding.graph.rate_hz, wall.graph.rate_hz) == (RATE_HZ, RATE_HZ * NATIVE_PART)
    assert waiting.graph.rate_hz == wall.graph.rate_hz
    assert wall.graph.pause_share
    assert 0 < wall.graph.pause_share < 1
    assert share_of(wall, "wait_for_the_end") == pytest.approx(0.5, abs=0.1)
    assert not any(frame.endswith(("libc.so.6)", ".c)")) for stack in wall.folded for frame in stack)
    assert "wait_for_the_end" not in names_of(waiting), "it sleeps, and not for the GIL"


def test_without_waiting_graphs_the_target_is_never_paused(captures: dict[FlameKind, Capture]) -> None:
    assert {found.graph.pause_share for found in captures.values()} == {0.0}


def test_an_interrupt_ends_py_spy(spinning: int, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[psutil.Process] = []

    def interrupt(recording: _Recording) -> NoReturn:
        assert recording._output.parent.parent == temporary
        seen.extend(observers())
        raise KeyboardInterrupt

    monkeypatch.setattr(_Recording, "collect", interrupt)
    with pytest.raises(KeyboardInterrupt):
        capture(spinning, BOTH, 600)
    assert len(seen) == 2
    all_end(seen)
    assert list(temporary.iterdir()) == []


def test_a_process_that_has_ended_is_told_as_such(tmp_path: Path, temporary: Path) -> None:
    with running(tmp_path, SPINS) as pid:
        pass
    with pytest.raises(
        CaptureError, match="py-spy could not capture stacks: the process has ended"
    ) as caught:
        capture(pid, BOTH, 1)
    assert caught.value.remedy
    assert list(temporary.iterdir()) == []
    assert observers() == []


def test_a_process_that_is_not_python_is_told_as_such(temporary: Path) -> None:
    with Child(["cat"], failure=ServiceError) as child:
        with pytest.raises(CaptureError) as caught:
            capture(child.pid, [FlameKind.WALL], 1)
        assert child.alive()
    assert "py-spy does not know this Python" in caught.value.message
    assert list(temporary.iterdir()) == []


def test_an_idle_process_holds_nothing(spinning: int, tmp_path: Path) -> None:
    with running(tmp_path, "print('{}', flush=True)\ninput()\n") as pid:
        holding, wall = capture(pid, BOTH, 1)
    assert (holding.folded, holding.graph.samples) == ({}, 0)
    assert wall.graph.samples > 0


def test_a_pools_workers_are_merged(spinning: int, tmp_path: Path) -> None:
    with running(tmp_path, POOL) as pid:
        holding, wall = capture(pid, BOTH, 2)
    for found in (holding, wall):
        spinning_stacks = [
            stack for stack in found.folded if any(frame.startswith("spin_in_a_worker (") for frame in stack)
        ]
        assert len(spinning_stacks) == 1, "both workers do the same, so they share a stack"
        assert not any(is_root(frame) for stack in found.folded for frame in stack)
    # Each worker has a GIL of its own: together they hold more than one thread could.
    assert share_of(holding, "spin_in_a_worker") > 0.9
    assert "wait_for_the_end" in names_of(wall)


def test_helpers_of_the_pool_are_left_out(spinning: int, tmp_path: Path) -> None:
    with running(tmp_path, POOL) as pid:
        tree = psutil.Process(pid).children(recursive=True)
        assert len(tree) >= 4, "fork server, resource tracker, two workers"
        (wall,) = capture(pid, [FlameKind.WALL], 1)
    files = {split_frame(stack[-1]).file or "" for stack in wall.folded}
    assert not any(file.endswith(("resource_tracker.py", "forkserver.py")) for file in files)
    assert wall.graph.samples > 0
    all_end(tree)
