from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

import pytest

from gilscope.errors import LensError, UsageError
from gilscope.lens.ledger import NOTHING, Span
from gilscope.lens.watch import ThreadSpan, Watch
from gilscope.model import StateSeconds, ThreadRole
from gilscope.top import session as top_session
from gilscope.top.processes import LIST_PYTHONS
from gilscope.top.session import CpuTimes, Session, Stop, next_length, open_watch, unseen_cpu_s
from gilscope.top.table import ThreadRow

PID = 3_999_999
"""Nobody has it, as a rule; what asks the system about it is replaced here."""


def thread(
    tid: int,
    *,
    pid: int = PID,
    role: ThreadRole = ThreadRole.OTHER,
    on_cpu_s: float = 0.5,
    wall_s: float = 1.0,
) -> ThreadSpan:
    seconds = StateSeconds(on_cpu_s, 0.0, 0.0, wall_s - on_cpu_s, 0.25)
    return ThreadSpan(pid, tid, f"thread-{tid}", role, Span(seconds, NOTHING))


@dataclass
class FakeWatch:
    """Shows the same threads over and over, or ends; counts how often it was restarted and closed."""

    spans: Sequence[ThreadSpan] = (thread(PID), thread(1))
    ends_at_look: int = 10**9
    python: str = "3.13.0"
    tells_holders: bool = True
    has_gil: bool = True
    alive: bool = True
    looks: int = 0
    strays: int = 0
    calls: list[str] = field(default_factory=list)

    def look(self) -> None:
        self.looks += 1
        self.alive = self.looks < self.ends_at_look

    def rescan(self) -> None:
        self.calls.append("rescan")

    def settle(self) -> None:
        self.calls.append("settle")

    def threads(self) -> list[ThreadSpan]:
        return list(self.spans)

    def take_ended(self) -> list[ThreadSpan]:
        return []

    def restart(self) -> None:
        self.calls.append("restart")
        self.looks = 0

    def close(self) -> None:
        self.calls.append("close")


class FakeStop:
    """A clock that goes only while somebody sleeps."""

    def __init__(self) -> None:
        self.asked = False
        self.time_s = time.monotonic()

    def now(self) -> float:
        return math.inf if self.asked else self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> FakeStop:
    """Replace time, and what the system says of the process: it runs, and has used 2 seconds more each time."""
    clock = FakeStop()
    monkeypatch.setattr(
        top_session, "time", SimpleNamespace(monotonic=lambda: clock.time_s, process_time=lambda: 0.0)
    )
    monkeypatch.setattr(top_session, "is_running", lambda _pid: True)
    monkeypatch.setattr(top_session, "command_line", lambda _pid: ["/usr/bin/python3.13"])
    monkeypatch.setattr(top_session, "cpu_seconds", lambda _pid: 0.0)
    return clock


def session_of(stop: FakeStop, *watches: FakeWatch | UsageError) -> Session:
    coming: Iterator[FakeWatch | UsageError] = iter(watches)

    def opening(pid: int, *, family: bool) -> FakeWatch:
        assert (pid, family) == (PID, True)
        watch = next(coming)
        if isinstance(watch, UsageError):
            raise watch
        return watch

    made = cast("Callable[..., Watch]", opening)
    return Session(PID, cast("Stop", stop), family=True, rate_hz=200, opening=made)


def test_there_is_a_picture_per_interval_until_time_is_up(stop: FakeStop) -> None:
    watch = FakeWatch()
    pictures = list(session_of(stop, watch).pictures(seconds=3.0, interval_s=1.0))
    assert len(pictures) == 3
    assert all(150 < picture.looks < 250 for picture in pictures)
    assert {(picture.pid, picture.python, picture.seconds) for picture in pictures} == {(PID, "3.13.0", 1.0)}
    assert [row.tid for row in pictures[0].threads] == [PID, 1]
    assert watch.calls.count("restart") == 4, "before the first picture, and after each"
    assert watch.calls.count("rescan") >= 3


def test_told_to_stop_it_ends_with_what_it_has(stop: FakeStop) -> None:
    pictures = session_of(stop, FakeWatch()).pictures(seconds=math.inf, interval_s=1.0)
    next(pictures)
    stop.asked = True
    assert list(pictures) == []


def test_a_process_that_ends_is_noted_and_what_was_seen_is_kept(
    stop: FakeStop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_session, "is_running", lambda _pid: False)
    watch = FakeWatch(ends_at_look=50, spans=(thread(PID, wall_s=0.25, on_cpu_s=0.1),))
    session = session_of(stop, watch)
    (picture,) = session.pictures(seconds=math.inf, interval_s=1.0)
    assert picture.seconds == 0.25
    assert 50 <= picture.looks <= 150, "the process is looked for twice a second"
    assert session.notes == [f"process {PID} has ended"]
    assert watch.calls[-1] == "close"


def test_one_that_ended_between_two_pictures_gives_no_picture(
    stop: FakeStop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_session, "is_running", lambda _pid: False)
    session = session_of(stop, FakeWatch(alive=False, spans=()))
    assert list(session.pictures(seconds=5.0, interval_s=1.0)) == []
    assert session.notes == [f"process {PID} has ended"]


def test_a_process_that_runs_another_program_is_watched_on(stop: FakeStop) -> None:
    first, loading, second = FakeWatch(ends_at_look=1), UsageError("not yet"), FakeWatch(python="3.15.2")
    session = session_of(stop, first, loading, second)
    pictures = list(session.pictures(seconds=3.0, interval_s=1.0))
    assert pictures[0].python == "3.13.0"
    assert {picture.python for picture in pictures[1:]} == {"3.15.2"}
    assert session.notes == [f"process {PID} ran another program in its place"]
    assert first.calls[-1] == "close"


def test_a_process_that_becomes_something_else_is_let_go(stop: FakeStop) -> None:
    session = session_of(stop, FakeWatch(ends_at_look=1), *[UsageError("not a CPython process")] * 10)
    assert len(list(session.pictures(seconds=10.0, interval_s=1.0))) == 1
    assert session.notes == [f"process {PID} can no longer be watched: not a CPython process"]
    session.close()


def test_roles_are_known_only_where_threads_have_marks(stop: FakeStop) -> None:
    loop = thread(PID, role=ThreadRole.LOOP)
    spans = (loop, thread(1), thread(2, pid=2), thread(3, pid=2))
    (picture,) = session_of(stop, FakeWatch(spans)).pictures(seconds=1.0, interval_s=1.0)
    assert [row.role for row in picture.threads] == [ThreadRole.LOOP, ThreadRole.OTHER, None, None]


def test_a_thread_that_was_never_settled_is_left_out(stop: FakeStop) -> None:
    spans = (thread(PID), thread(5, wall_s=0.0, on_cpu_s=0.0))
    (picture,) = session_of(stop, FakeWatch(spans)).pictures(seconds=1.0, interval_s=1.0)
    assert [row.tid for row in picture.threads] == [PID]


def test_names_are_better_than_the_programs_and_harmless(stop: FakeStop) -> None:
    spans = (replace(thread(PID), name="python3.13"), replace(thread(1), name="\x1bworker"))
    (picture,) = session_of(stop, FakeWatch(spans)).pictures(seconds=1.0, interval_s=1.0)
    assert [row.name for row in picture.threads] == ["MainThread", "?worker"]


def test_what_threads_did_that_were_not_seen(stop: FakeStop, monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([10.0, 11.8])
    monkeypatch.setattr(top_session, "cpu_seconds", lambda _pid: next(used))
    watch = FakeWatch()
    session = session_of(stop, watch)
    pictures = session.pictures(seconds=1.0, interval_s=1.0)
    watch.strays = 60
    (picture,) = pictures
    assert picture.unseen.on_cpu_s == pytest.approx(0.8), "1.8 s used, 0.5 s of them by each of two threads"
    assert picture.unseen.gil_held_s == pytest.approx(60 / picture.looks)


def test_who_does_not_tell_holders_tells_no_strangers_either(stop: FakeStop) -> None:
    (picture,) = session_of(stop, FakeWatch(tells_holders=False)).pictures(seconds=1.0, interval_s=1.0)
    assert picture.unseen.gil_held_s is None


def row(pid: int, on_cpu_s: float) -> ThreadRow:
    return ThreadRow(pid, pid, "", None, StateSeconds(on_cpu_s, 0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("used_s", "seen_s", "unseen_s"),
    [(1.0, 0.5, 0.5), (0.5, 0.48, 0.0), (10.0, 9.6, 0.0), (10.0, 9.0, 1.0), (0.4, 0.5, 0.0)],
)
def test_ticks_are_no_unseen_threads(used_s: float, seen_s: float, unseen_s: float) -> None:
    assert unseen_cpu_s({1: used_s}, [row(1, seen_s), row(2, 7.0)]) == pytest.approx(unseen_s)


def test_cpu_times_count_from_the_last_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[int, float | None] = {1: 1.0, 2: 5.0}
    monkeypatch.setattr(top_session, "cpu_seconds", answers.get)
    times = CpuTimes()
    assert times.gained({1, 2}) == {}
    answers |= {1: 1.5, 2: None, 3: 9.0}
    assert times.gained({1, 2, 3}) == {1: 0.5}
    assert times.gained({1, 3}) == {1: 0.0, 3: 0.0}


@pytest.mark.parametrize(
    ("left_s", "length_s"),
    [(math.inf, 1.0), (2.0, 1.0), (1.5, 1.0), (1.4, 1.4), (1.0, 1.0), (0.3, 0.3)],
)
def test_the_last_picture_takes_what_is_left(left_s: float, length_s: float) -> None:
    assert next_length(left_s, 1.0) == length_s


def test_a_signal_ends_time_and_sleep_but_raises_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Stop() as stop:
        assert stop.now() <= time.monotonic()
        stop.sleep(0.0)
        os.kill(os.getpid(), signal.SIGTERM)
        stop.sleep(3_600)
        assert stop.asked
        assert stop.now() == math.inf
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_cannot_be_watched_is_bad_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_session, "Watch", failing(LensError("no right", remedy="sudo")))
    with pytest.raises(UsageError, match="no right") as refused:
        open_watch(PID, family=False)
    assert (refused.value.remedy, refused.value.exit_code) == ("sudo", 2)


@pytest.mark.parametrize(
    ("pythons", "remedy"),
    [("", LIST_PYTHONS), ("7, 8", "among its children, these run Python: 7, 8")],
)
def test_a_launcher_is_told_apart_from_what_it_launched(
    pythons: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_session, "Watch", failing(LensError("not a CPython process")))
    monkeypatch.setattr(top_session, "children", lambda _pid: [7, 8])
    monkeypatch.setattr(top_session, "name_pythons", lambda _pids: pythons)
    with pytest.raises(UsageError, match="not a CPython process") as refused:
        open_watch(PID, family=False)
    assert refused.value.remedy == remedy


def failing(problem: LensError) -> Callable[..., Watch]:
    def fail(_pid: int, *, family: bool) -> Watch:
        raise problem

    return fail
