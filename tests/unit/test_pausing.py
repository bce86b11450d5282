from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest
from polling import eventually

from gilscope.flame import pausing
from gilscope.flame.pausing import PauseMeter

HELD, RUNNING = b"7 (python3) t 1 7 7 0", b"7 (python3) S 1 7 7 0"

# Traced by its parent, which never lets it go on: it is held from its first signal.
TRACED = (
    "import ctypes, os, signal; ctypes.CDLL(None).ptrace(0, 0, 0, 0); os.kill(os.getpid(), signal.SIGSTOP)"
)

Say = Callable[..., None]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]


@contextmanager
def started(code: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        yield process.pid
    finally:
        os.kill(process.pid, signal.SIGKILL)  # Popen's own kill() would first ask whether it has ended.
        process.communicate()


def running() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Let the system say the same again and again of each process, in the order of the looks."""

    def prepare(*answers: bytes | OSError) -> None:
        again = cycle(answers)

        def read(_path: Path) -> bytes:
            answer = next(again)
            if isinstance(answer, OSError):
                raise answer
            return answer

        monkeypatch.setattr(Path, "read_bytes", read)
        monkeypatch.setattr(pausing, "PAUSE_S", 0.0005)

    return prepare


def metered(pids: Sequence[int], seconds: float = 0.2) -> float | None:
    with PauseMeter(pids) as meter:
        time.sleep(seconds)
    return meter.share


@pytest.mark.parametrize(
    "stat",
    [
        RUNNING,
        b"7 (python3) R 1",
        b"7 (python3) T 1",
        b"7 (t) S 1 t",
        b"7 (evil) t (x) S 1",
        b"7 (\xff\xfe) Z 1",
        b"",
        b"nonsense",
    ],
)
def test_who_is_not_held_by_a_tracer_is_not_held(say: Say, stat: bytes) -> None:
    say(stat)
    assert metered([7]) == 0


@pytest.mark.parametrize("stat", [HELD, b"7 (S) S) t 1", b"7 (a b) (c)) t 1", b"7 (\xff) t 1"])
def test_who_is_always_held_is_held_for_all_of_the_block(say: Say, stat: bytes) -> None:
    say(stat)
    assert metered([7]) == 1


@pytest.mark.parametrize(
    ("answers", "share"), [((HELD, RUNNING), 0.5), ((HELD, RUNNING, RUNNING, RUNNING), 0.25)]
)
def test_who_is_held_at_some_looks_is_held_for_that_share(
    say: Say, answers: tuple[bytes, ...], share: float
) -> None:
    say(*answers)
    assert metered([7]) == pytest.approx(share, rel=0.15)


def test_of_several_processes_it_is_the_average(say: Say) -> None:
    say(HELD, RUNNING, RUNNING, RUNNING)
    assert metered([7, 8, 9, 10]) == pytest.approx(1 / 4, rel=0.1)


def test_a_process_that_has_ended_is_left_out(say: Say) -> None:
    say(HELD, FileNotFoundError(), RUNNING, ProcessLookupError())
    assert metered([7, 8]) == pytest.approx(1 / 2, rel=0.15)


@pytest.mark.parametrize("pids", [[], [2**22 + 1]])
def test_where_nobody_could_be_looked_at_nothing_is_known(pids: list[int]) -> None:
    assert metered(pids, 0.05) is None


def test_a_block_too_short_for_a_look_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pausing, "PAUSE_S", 60.0)
    begun = time.monotonic()
    with PauseMeter([os.getpid()]) as meter:
        pass
    assert meter.share is None
    assert time.monotonic() - begun < 30, "it waits for its next look"


def test_it_looks_at_random_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def draw(low: float, high: float) -> float:
        pauses.append(high)
        assert low == 0
        return high / 10

    monkeypatch.setattr(random, "uniform", draw)
    metered([os.getpid()], 0.05)
    assert set(pauses) == {2 * pausing.PAUSE_S}


def test_its_thread_ends_with_the_block() -> None:
    with PauseMeter([os.getpid()]):
        assert "pause meter" in running()
    assert "pause meter" not in running()


def test_its_thread_ends_with_a_block_that_fails() -> None:
    with pytest.raises(ZeroDivisionError), PauseMeter([os.getpid()]):
        _ = 1 / 0
    assert "pause meter" not in running()


@pytest.mark.integration
def test_a_real_process_that_is_held_is_seen() -> None:
    with started(TRACED) as pid:
        eventually(lambda: state_of(pid) == "t", "its being held")
        assert metered([pid]) == 1


@pytest.mark.integration
def test_a_real_process_that_is_free_or_stopped_by_hand_is_not() -> None:
    with started("input()") as pid:
        assert metered([pid]) == 0
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: state_of(pid) == "T", "its being stopped")
        assert metered([pid]) == 0
