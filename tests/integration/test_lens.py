from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from disturbance import least_disturbed
from pythons import VERSIONS, find_python
from requirements import require

from gilscope.errors import LensError
from gilscope.lens.control import Lens
from gilscope.lens.sampler import Sampler, Timer
from gilscope.lens.tasks import parse_schedstat
from gilscope.lens.watch import ThreadSpan, Watch
from gilscope.model import StateSeconds, ThreadRole
from gilscope.steal import stolen_seconds

pytestmark = pytest.mark.integration
TARGETS = Path(__file__).parents[1] / "targets"
SECONDS = 1.0
STARTS, START_S = 3, 30.0
POINT = 0.01
WAITING = ("sleep", "read_socket", "wait_lock", "wait_queue", "wait_condition")
TELLS_HOLDERS = (3, 13)


@dataclass(frozen=True)
class Interpreter:
    """A Python to run targets with; they need no package, not even gilscope."""

    version: tuple[int, int]
    path: str


OWN = Interpreter(sys.version_info[:2], sys.executable)


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> Interpreter:
    path = find_python(request.param)
    if path is None:
        pytest.skip(f"there is no Python {request.param} on this machine")
    major, minor = request.param.split(".")
    return Interpreter((int(major), int(minor)), str(path))


@dataclass(frozen=True)
class Program:
    pid: int
    threads: dict[str, list[int]]


@dataclass(frozen=True)
class Seen:
    """A second or two of a program: its threads, and what the clocks that the test read itself say of sleep."""

    seconds: float
    stolen_share: float
    tells_holders: bool
    spans: dict[int, ThreadSpan]
    asleep: dict[int, float]

    def share(self, tid: int, of: Callable[[StateSeconds], float | None]) -> float:
        value = of(self.spans[tid].span.all)
        assert value is not None
        return value / self.seconds

    def gil_wait(self, tid: int) -> float:
        return self.share(tid, lambda states: states.gil_wait_s)

    def held(self) -> float:
        return sum(self.share(tid, lambda states: states.gil_held_s) for tid in self.spans)


Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def run(python: Interpreter, target: str, *arguments: object) -> Program:
            command = [python.path, str(TARGETS / target), *map(str, arguments)]
            # Python 3.14 hangs now and then where two subinterpreters begin at once, watched or not.
            for _ in range(STARTS):
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"}
                )
                stack.callback(process.communicate)
                stack.callback(process.kill)
                assert process.stdout is not None
                if select.select([process.stdout], [], [], START_S)[0]:
                    return Program(process.pid, json.loads(process.stdout.readline()))
            pytest.fail(f"{target} did not start")

        yield run


def clocks(program: Program, tids: list[int]) -> dict[int, float]:
    """Seconds that each thread that lives was on a CPU or ready for one."""
    found = {}
    for tid in tids:
        with contextlib.suppress(FileNotFoundError):
            text = Path(f"/proc/{program.pid}/task/{tid}/schedstat").read_bytes()
            found[tid] = sum(parse_schedstat(text)) / 1e9
    return found


class NotedClock:
    """The watch's clock, and what it said last: when accounts were settled, whatever this process was kept from since."""

    last_s = 0.0

    def __call__(self) -> float:
        self.last_s = time.monotonic()
        return self.last_s


def watch(program: Program, seconds: float = SECONDS) -> Seen:
    timer, clock = Timer(), NotedClock()
    watching = Watch(program.pid, family=False, clock=clock)
    try:
        watching.restart()
        restarted_s = clock.last_s
        tids = [thread.tid for thread in watching.threads()]
        begun, stolen, before = timer.now(), stolen_seconds(), clocks(program, tids)
        looks = Sampler(watching).run(seconds)
        watched_s = clock.last_s - restarted_s
        after, elapsed = clocks(program, tids), timer.now() - begun
        assert looks > 10  # a host that takes most of the time leaves few
        return Seen(
            watched_s,
            (stolen_seconds() - stolen) / elapsed,
            watching.tells_holders,
            {thread.tid: thread for thread in watching.threads()},
            {tid: 1 - (after[tid] - before[tid]) / elapsed for tid in after},
        )
    finally:
        watching.close()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
def test_spinning_threads_sleep_for_the_gil_and_nothing_else(
    python: Interpreter, count: int, start: Start
) -> None:
    program = start(python, "sleepers.py", "spin", count)
    seen = least_disturbed(lambda: watch(program))
    spinners = program.threads["spin"]
    for tid in spinners:
        assert seen.share(tid, lambda states: states.wall_s) == pytest.approx(1.0, abs=2 * POINT)
        assert seen.gil_wait(tid) == pytest.approx(seen.asleep[tid], abs=3 * POINT + seen.stolen_share)
        assert seen.share(tid, lambda states: states.blocked_s) < 2 * POINT + seen.stolen_share
    total = sum(seen.gil_wait(tid) for tid in spinners)
    assert (total > 0.1 * (count - 1)) if count > 1 else (total < 2 * POINT)
    assert seen.tells_holders is (python.version >= TELLS_HOLDERS)
    if seen.tells_holders:
        assert 0.85 < seen.held() < 1.05


def test_threads_that_wait_for_anything_else_do_not_wait_for_the_gil(
    python: Interpreter, start: Start
) -> None:
    kinds = [*WAITING, "compress"]
    program = start(python, "sleepers.py", *(word for kind in kinds for word in (kind, 2)))
    seen = least_disturbed(lambda: watch(program))
    waits = {kind: max(seen.gil_wait(tid) for tid in tids) for kind, tids in program.threads.items()}
    # One that wakes waits for the GIL, if whoever holds it has its core stolen.
    assert all(share < 2 * POINT + seen.stolen_share for share in waits.values()), waits
    blocked = [seen.share(tid, lambda states: states.blocked_s) for tid in program.threads["wait_lock"]]
    assert min(blocked) > 0.9 - seen.stolen_share


def test_a_sleeper_beside_a_spinner_waits_for_the_gil_whenever_it_wakes(
    python: Interpreter, start: Start
) -> None:
    program = start(python, "sleepers.py", "spin", 1, "wake", 1, "sleep", 1)
    seen = least_disturbed(lambda: watch(program))
    (waker,), (sleeper,) = program.threads["wake"], program.threads["sleep"]
    # It sleeps for 10 ms and then waits for up to a switch interval of 5 ms.
    assert seen.gil_wait(waker) > 0.05
    assert seen.gil_wait(sleeper) < seen.gil_wait(waker)


def test_pythons_own_profiler_agrees(python: Interpreter, start: Start) -> None:
    if python.version < (3, 15):
        pytest.skip("the profiler with a flag for waiters is new in Python 3.15")
    program = start(python, "sleepers.py", "spin", 3)

    def both() -> tuple[Seen, dict[str, float]]:
        profiler = subprocess.Popen(
            [python.path, str(TARGETS / "requested.py"), str(program.pid), str(2 * SECONDS)],
            stdout=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
        assert profiler.stdout is not None
        profiler.stdout.readline()
        seen = watch(program, 2 * SECONDS)
        return seen, json.loads(profiler.communicate()[0])

    seen, asked = least_disturbed(both)
    # A thread that was woken for the GIL and has no core yet has asked as well: that is run queue to the lens.
    spinners = program.threads["spin"]
    requested = sum(asked[str(tid)] for tid in spinners) / 3
    waited = sum(map(seen.gil_wait, spinners)) / 3
    ready = sum(seen.share(tid, lambda states: states.runqueue_s) for tid in spinners) / 3
    assert waited - 4 * POINT < requested < waited + ready + 4 * POINT


def test_each_subinterpreter_has_a_gil_of_its_own_to_wait_for(python: Interpreter, start: Start) -> None:
    if python.version < (3, 14):
        pytest.skip("concurrent.interpreters is new in Python 3.14")
    program = start(python, "interpreters.py", 2)
    seen = least_disturbed(lambda: watch(program))
    # The others sleep or have ended: the main thread, and those that began the interpreters.
    spinners = [
        tid for tid in seen.spans if seen.share(tid, lambda states: states.wall_s - states.blocked_s) > 0.5
    ]
    assert len(spinners) == 4
    # Two GILs, each held all the time by one of two threads.
    assert 1.5 < seen.held() < 2.1
    for tid in spinners:
        # Where other programs keep the cores busy, one that was woken for its GIL is ready for long.
        assert seen.gil_wait(tid) > 0.02
        assert seen.gil_wait(tid) + seen.share(tid, lambda states: states.runqueue_s) > 0.2
        assert seen.share(tid, lambda states: states.blocked_s) < 2 * POINT + seen.stolen_share


def test_a_process_that_is_no_python_cannot_be_watched() -> None:
    with subprocess.Popen(["sleep", "30"]) as process:
        try:
            with pytest.raises(LensError, match="not a CPython process"):
                Watch(process.pid, family=False)
        finally:
            process.kill()


def test_a_process_that_has_ended_cannot_be_watched() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(LensError, match="has ended"):
        Watch(process.pid, family=False)


def test_a_process_of_somebody_else_cannot_be_watched(start: Start) -> None:
    require(os.geteuid() == 0, "only root can become somebody else")
    program = start(OWN, "sleepers.py", "sleep", 1)
    nobody = 65_534
    code = (
        "import os\nfrom gilscope.errors import LensError\nfrom gilscope.lens.watch import Watch\n"
        f"os.setgid({nobody}); os.setuid({nobody})\n"
        f"try: Watch({program.pid}, family=False)\nexcept LensError as problem: print(problem)"
    )
    said = subprocess.run([OWN.path, "-c", code], capture_output=True, text=True, check=False)
    assert "no right to watch" in said.stdout, said.stderr
    assert "SYS_PTRACE" in said.stdout


def test_the_lens_runs_in_a_process_of_its_own_and_reports_by_role(start: Start) -> None:
    program = start(OWN, "sleepers.py", "spin", 2)
    lens = Lens()
    try:
        lens.watch(program.pid)
        lens.open_window(0.5)
        window = lens.window()
    finally:
        lens.stop()
    assert set(window.roles) == {ThreadRole.OTHER}
    assert window.roles[ThreadRole.OTHER].all.wall_s == pytest.approx(3 * window.seconds, rel=0.02)
    assert window.inside().wall_s == 0.0
    assert 0 < window.cpu_share < 0.5


def test_a_target_that_ends_meanwhile_is_an_error_and_the_next_can_be_watched(start: Start) -> None:
    lens = Lens()
    try:
        doomed = start(OWN, "sleepers.py", "sleep", 1)
        lens.watch(doomed.pid)
        lens.open_window(5.0)
        os.kill(doomed.pid, 9)
        with pytest.raises(LensError, match="has ended"):
            lens.window()
        program = start(OWN, "sleepers.py", "sleep", 1)
        lens.watch(program.pid)
        lens.open_window(0.2)
        assert lens.window().looks > 5
    finally:
        lens.stop()
