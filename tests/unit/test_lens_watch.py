from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polling import eventually
from watched import Obedient, obedient

from gilscope.errors import LensError
from gilscope.lens import watch as watching
from gilscope.lens.ledger import INSIDE, NO_SPAN, Clock, Look, Tally
from gilscope.lens.marks import UNMARKED, FoundMark
from gilscope.lens.runtime import Runtime
from gilscope.lens.tasks import Task
from gilscope.lens.watch import Account, ThreadSpan, Watch, WatchedProcess
from gilscope.model import ThreadRole

SECOND = 1_000_000_000
WAITS = "import sys; print(flush=True); sys.stdin.read()"
MARKED = """
import builtins, threading
from gilscope.model import ThreadRole
from gilscope.observed import mark_thread
builtins.kept = mark_thread(ThreadRole.LOOP)
result = threading.get_native_id()
"""


@dataclass
class FakeTask:
    """Its clock says what it is told, one figure per time that it is asked; at the end the thread is gone."""

    clocks: list[Clock]
    pid: int = 7
    tid: int = 8
    name: str = "fake"

    def clock(self) -> Clock:
        if not self.clocks:
            raise ProcessLookupError
        return self.clocks.pop(0)


def account(*clocks: tuple[float, float], held: int | None = 0) -> Account:
    """An account of a thread whose clocks go on like this, in seconds; they began at nothing."""
    task = FakeTask([Clock(round(on_cpu * SECOND), round(queue * SECOND)) for on_cpu, queue in clocks])
    return Account(cast("Task", task), UNMARKED, Tally([0] * 6, held), 100.0, Clock(0, 0))


def test_an_account_adds_up_what_its_clocks_gain() -> None:
    thread = account((0.25, 0.25), (1.0, 0.25))
    thread.tally.looks[Look.GIL] = 3
    thread.tally.looks[Look.BLOCKED] = 1
    thread.settle(101.0, 0.0)
    assert (thread.total.all.on_cpu_s, thread.total.all.gil_wait_s) == (0.25, 0.375)
    assert thread.tally == Tally([0] * 6, 0)
    thread.settle(103.0, 0.0)
    states = thread.total.all
    assert (states.on_cpu_s, states.runqueue_s, states.gil_wait_s) == (1.0, 0.25, 0.375)
    assert states.wall_s == 3.0


def test_a_clock_that_comes_late_does_not_make_time() -> None:
    # It says nothing for a second in which the thread ran, and then all at once.
    thread = account((0.0, 0.0), (2.0, 0.0), (2.5, 0.0))
    thread.settle(101.0, 0.0)
    assert thread.total.all.blocked_s == 1.0
    thread.settle(102.0, 0.0)
    assert thread.overdrawn_s == 1.0
    thread.settle(104.0, 0.0)
    assert thread.total.all.wall_s == 4.0
    assert thread.overdrawn_s == 0.0
    assert thread.total.all.on_cpu_s == 2.5


@given(
    st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 1), st.floats(0, 1)), min_size=1),
    st.floats(0, 2),
)
def test_an_account_is_never_overdrawn_for_good(
    steps: list[tuple[float, float, float, float]], stolen: float
) -> None:
    now, ran, queued, clocks, times = 100.0, 0.0, 0.0, [], []
    for wall_s, late_s, on_cpu, queue in steps:
        now += wall_s
        ran, queued = ran + on_cpu * late_s, queued + queue * late_s
        clocks.append((ran, queued))
        times.append(now)
    thread = account(*clocks)
    for now in times:
        thread.tally.looks[Look.READY] = thread.tally.held = 1
        thread.settle(now, stolen)
    # What is above the wall time is known, and will be taken off what comes.
    assert thread.total.all.wall_s == pytest.approx(now - 100 + thread.overdrawn_s, abs=1e-6)
    assert thread.overdrawn_s >= 0
    assert thread.overdrawn_s <= max(0.0, ran + queued) + 1e-6
    assert thread.total.all.gil_held_s is not None
    assert thread.total.all.gil_held_s >= 0


def test_a_thread_that_has_ended_keeps_what_it_had() -> None:
    thread = account((0.5, 0.0), held=None)
    thread.settle(101.0, 0.0)
    before = thread.total
    assert before.all.gil_held_s is None
    thread.settle(102.0, 0.0)
    assert thread.total is before


def test_its_last_looks_are_settled_without_clocks() -> None:
    thread = account()
    thread.tally.looks[:] = [2, 1, 2, 0, 1, 0]
    thread.seen_s = 103.0
    thread.end()
    assert thread.total.all.on_cpu_s == 1.5
    assert thread.total.all.gil_wait_s == 1.0
    assert thread.total.all.blocked_s == 0.5
    assert thread.total.inside.on_cpu_s == 0.5


def test_what_was_overdrawn_is_taken_off_the_end_too() -> None:
    thread = account()
    thread.tally.looks[Look.READY] = 1
    thread.seen_s, thread.overdrawn_s = 103.0, 2.0
    thread.end()
    assert thread.total.all.wall_s == 1.0
    thread = account()
    thread.tally.looks[Look.READY] = 1
    thread.seen_s, thread.overdrawn_s = 101.0, 2.0
    thread.end()
    assert thread.total.all.wall_s == 0.0


def test_a_thread_that_ends_unseen_adds_nothing() -> None:
    thread = account()
    thread.end()
    assert thread.total is NO_SPAN


class FakeGils:
    """Where each second look finds the thread with this number holding the GIL."""

    tells_holders = True
    are_off = False

    def __init__(self, holders: list[int]) -> None:
        self.now: list[int] | None = holders

    def holders(self) -> list[int]:
        if self.now is None:
            raise OSError(errno.EIO, "an interpreter has ended")
        return self.now

    def refresh(self) -> None:
        pass

    def forget_threads(self) -> None:
        pass

    def is_waited_at(self, _address: int) -> bool:
        return False


@dataclass
class Ticks:
    """A clock that a test moves."""

    now_s: float = 1000.0
    step_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@dataclass
class Watched:
    """An obedient process and how it is watched."""

    process: Obedient
    clock: Ticks = field(default_factory=Ticks)

    @property
    def pid(self) -> int:
        return self.process.pid

    def watch(self, *, family: bool = False) -> Watch:
        return Watch(self.pid, family=family, clock=self.clock)


@pytest.fixture
def target() -> Iterator[Watched]:
    with obedient() as started:
        yield Watched(started)


def tids(watch: Watch) -> list[int]:
    return sorted(thread.tid for thread in watch.threads())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def span_of(watch: Watch, tid: int) -> ThreadSpan:
    (found,) = (thread for thread in watch.threads() if thread.tid == tid)
    return found


pytestmark = pytest.mark.integration


def test_threads_are_watched_from_their_first_look_to_their_last(target: Watched) -> None:
    watch = target.watch()
    assert tids(watch) == [target.pid]
    tid = target.process.number("begin")
    watch.look()
    assert tids(watch) == sorted([target.pid, tid])
    target.clock.now_s += 1
    watch.look()
    target.process.ask("end")
    watch.look()
    assert tids(watch) == sorted([target.pid, tid])
    (ended,) = watch.take_ended()
    assert (ended.pid, ended.tid, ended.role) == (target.pid, tid, ThreadRole.OTHER)
    assert ended.span.all.wall_s == 1.0
    assert tids(watch) == [target.pid]
    watch.close()


def test_one_that_ends_as_another_begins_is_noticed_too(target: Watched) -> None:
    first = target.process.number("begin")
    watch = target.watch()
    target.process.ask("end")
    second = target.process.number("begin")
    watch.look()
    watch.look()
    assert [thread.tid for thread in watch.take_ended()] == [first]
    assert tids(watch) == sorted([target.pid, second])
    watch.close()


def test_states_add_up_to_the_time_that_went_by(target: Watched) -> None:
    watch = target.watch()
    watch.restart()
    for _ in range(4):
        target.clock.now_s += 0.25
        watch.look()
    watch.settle()
    (thread,) = watch.threads()
    assert thread.span.all.wall_s == pytest.approx(1.0, abs=0.01)
    assert watch.looks == 4
    watch.restart()
    assert (watch.looks, span_of(watch, target.pid).span) == (0, NO_SPAN)
    watch.close()


def test_what_is_watched_is_described(target: Watched) -> None:
    watch = target.watch()
    assert watch.python == ".".join(map(str, sys.version_info[:3]))
    assert watch.tells_holders is (sys.version_info >= (3, 13))
    assert watch.has_gil is getattr(sys, "_is_gil_enabled", lambda: True)()
    assert watch.alive
    assert watch.threads()[0].name
    watch.close()
    assert not watch.alive


def test_a_mark_gives_a_thread_its_role_and_says_when_it_is_inside(target: Watched) -> None:
    watch = target.watch()
    assert span_of(watch, target.pid).role is ThreadRole.OTHER
    assert target.process.number("evaluate", MARKED) == target.pid
    watch.rescan()
    assert span_of(watch, target.pid).role is ThreadRole.LOOP
    watch.restart()
    for inside in (1, 0, 1, 1):
        target.process.ask("evaluate", f"import builtins\nbuiltins.kept[0] = {inside}\nresult = 0")
        watch.look()
        target.clock.now_s += 1
    watch.settle()
    (thread,) = watch.threads()
    seen = thread.span
    assert 0 < seen.inside.wall_s < seen.all.wall_s
    watch.close()


def test_a_thread_that_is_named_later_has_its_new_name_at_the_next_scan(target: Watched) -> None:
    watch = target.watch()
    rename = "import ctypes\nresult = ctypes.CDLL(None).prctl(15, b'l\\na)\\xff', 0, 0, 0)"
    assert target.process.ask("evaluate", rename) == 0
    assert watch.threads()[0].name.startswith("python")
    watch.rescan()
    assert watch.threads()[0].name == "l\na)\N{REPLACEMENT CHARACTER}"
    watch.close()


def test_marks_are_not_looked_for_all_the_time_where_that_takes_long(
    target: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[float] = []

    def search(_pid: int, threads: dict[int, Account]) -> dict[int, FoundMark]:
        assert list(threads) == [target.pid]
        searches.append(target.clock.now_s)
        target.clock.now_s += 0.5
        return {}

    monkeypatch.setattr(watching, "find_marks", search)
    watch = target.watch()
    for _ in range(30):
        target.clock.now_s += 1
        watch.rescan()
    assert searches == [1000.0, 1025.5]
    watch.close()


def test_looks_at_a_held_gil_are_counted_for_its_holder(
    target: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    gils = FakeGils([target.pid])
    monkeypatch.setattr(watching, "Gils", lambda _memory, _runtime: gils)
    watch = target.watch()
    watch.restart()
    held = watch._root._accounts[target.pid].tally
    for holders in ([target.pid], [], [target.pid, 2**22 + 1], [2**22 + 1], None):
        gils.now = holders
        watch.look()
    assert held.held == 2
    assert sum(held.looks) == 5
    assert watch.strays == 2
    watch.restart()
    assert watch.strays == 0
    watch.close()


def test_children_are_watched_that_are_pythons(target: Watched) -> None:
    watch = target.watch(family=True)
    child = target.process.number("python", WAITS)
    target.process.ask(
        "evaluate",
        "import subprocess, builtins\nbuiltins.kept = subprocess.Popen(['sleep', '60'])\nresult = 0",
    )
    watch.rescan()
    assert {thread.pid for thread in watch.threads()} == {target.pid, child}
    watch.look()
    watch.settle()
    target.process.ask("kill")
    watch.look()
    watch.rescan()
    assert {thread.pid for thread in watch.threads()} == {target.pid, child}
    assert {thread.pid for thread in watch.take_ended()} == {child}
    assert {thread.pid for thread in watch.threads()} == {target.pid}
    watch.close()


def test_without_its_family_children_are_not_watched(target: Watched) -> None:
    target.process.number("python", WAITS)
    watch = target.watch()
    watch.rescan()
    assert tids(watch) == [target.pid]
    watch.close()


def test_a_child_that_runs_another_program_is_watched_again(target: Watched) -> None:
    watch = target.watch(family=True)
    child = target.process.number("fork")
    watch.rescan()
    assert {thread.pid for thread in watch.threads()} == {target.pid, child}
    before = watch._processes[child]
    target.process.ask("become")

    def again() -> bool:
        watch.rescan()
        return watch._processes.get(child) not in (None, before)

    eventually(again, "the new program")
    assert [thread.pid for thread in watch.threads()].count(child) == 2
    watch.restart()
    assert [thread.pid for thread in watch.threads()].count(child) == 1
    watch.close()


def test_a_process_that_runs_another_program_has_ended(target: Watched) -> None:
    watch = target.watch()
    begun = psutil.Process(target.pid).cmdline()
    target.process.tell("replace", "import sys; sys.stdin.read()")
    eventually(lambda: psutil.Process(target.pid).cmdline() != begun, "the new program")
    watch.rescan()
    assert not watch.alive
    watch.close()


@pytest.mark.parametrize("noticing", ["look", "rescan"])
def test_a_process_that_ends_is_noticed_and_what_was_seen_is_kept(target: Watched, noticing: str) -> None:
    before = open_files()
    watch = target.watch(family=True)
    watch.look()
    assert open_files() > before
    target.process.end()
    getattr(watch, noticing)()
    assert not watch.alive
    assert tids(watch) == [target.pid]
    for act in (watch.look, watch.rescan, watch.settle, watch.restart, watch.close):
        act()
    assert tids(watch) == []
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


def test_a_watch_gives_all_its_files_back(target: Watched) -> None:
    target.process.ask("evaluate", MARKED)
    for _ in range(3):
        target.process.ask("begin")
    before = open_files()
    for _ in range(10):
        watch = target.watch(family=True)
        watch.look()
        watch.rescan()
        watch.close()
        del watch
    assert open_files() == before


def refused(monkeypatch: pytest.MonkeyPatch, problem: OSError) -> LensError:
    """Have the system refuse to open memory, and return what is made of it."""

    def refuse(_pid: int) -> None:
        raise problem

    monkeypatch.setattr(watching, "ProcessMemory", refuse)
    with pytest.raises(LensError) as caught:
        Watch(os.getpid(), family=False)
    return caught.value


def test_refusals_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = refused(monkeypatch, ProcessLookupError())
    assert ended.message == f"there is no process {os.getpid()}, or it has ended"
    forbidden = refused(monkeypatch, PermissionError())
    assert forbidden.message == f"no right to watch process {os.getpid()}"
    assert "SYS_PTRACE" in str(forbidden.remedy)
    other = refused(monkeypatch, OSError(errno.EIO, "strange"))
    assert other.message == f"cannot watch process {os.getpid()}: [Errno {errno.EIO}] strange"


def test_elsewhere_than_on_linux_there_is_no_lens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LensError, match="this is darwin"):
        Watch(os.getpid(), family=False)


@pytest.mark.parametrize(
    ("number", "raises"), [(errno.EMFILE, True), (errno.EACCES, False), (errno.EPERM, False)]
)
@pytest.mark.parametrize("act", ["look", "rescan"])
def test_being_out_of_files_is_not_the_end_of_the_process(
    target: Watched,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    act: str,
    raises: bool,  # noqa: FBT001
) -> None:
    def refuse(_pid: int, _tid: int) -> None:
        raise OSError(number, os.strerror(number))

    watch = target.watch()
    target.process.ask("begin")
    monkeypatch.setattr(watching, "Task", refuse)
    if raises:
        with pytest.raises(LensError, match="so many threads") as caught:
            getattr(watch, act)()
        assert "ulimit -n" in str(caught.value.remedy)
    else:
        getattr(watch, act)()
    assert not watch.alive


def test_it_does_not_watch_itself_among_the_children(
    target: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = target.process.number("python", WAITS)
    monkeypatch.setattr(watching, "children", lambda _pid: [os.getpid(), child])
    watch = target.watch(family=True)
    assert {thread.pid for thread in watch.threads()} == {target.pid, child}
    watch.close()


def test_a_process_in_a_namespace_of_its_own_has_two_numbers(target: Watched) -> None:
    """Its threads' marks have the inner number, as the process knows no other."""
    asked = subprocess.run(["unshare", "-pf", "true"], capture_output=True, check=False)
    if asked.returncode:
        pytest.skip("no right to make a PID namespace")
    with obedient(("unshare", "-pf", "--kill-child", sys.executable)) as outer:
        (pid,) = (child.pid for child in psutil.Process(outer.pid).children())
        assert outer.ask("evaluate", MARKED) == 1
        watch = Watch(pid, family=False)
        (thread,) = watch.threads()
        assert (thread.pid, thread.tid, thread.role) == (pid, pid, ThreadRole.LOOP)
        watch.close()


def test_a_look_goes_where_its_mark_says(target: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = bytearray(1)
    found = {target.pid: FoundMark(ThreadRole.WORKER, mark)}
    monkeypatch.setattr(watching, "find_marks", lambda _pid, _threads: found)
    process = WatchedProcess(target.pid, target.clock)
    assert isinstance(process.runtime, Runtime)
    looks = process._accounts[target.pid].tally.looks
    for mark[0] in (0, 1, 1):
        process.look()
    assert sum(looks[INSIDE::2]) == 2
    assert sum(looks[::2]) == 1
    process.end()
    process.end()
