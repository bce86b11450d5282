from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, cast

import pytest

from gilscope.claims import Standing, Topic
from gilscope.errors import LensError, ServiceError
from gilscope.lens.control import Lens
from gilscope.model import BackendName, Interpreter
from gilscope.textbook import looping_stages, measuring
from gilscope.textbook.cells import calling, sharing
from gilscope.textbook.claims_table import CELLS
from gilscope.textbook.judging import Taken, calls, judge_all
from gilscope.textbook.looping_stages import (
    BESIDE,
    COMPUTING,
    IDLE,
    LINES,
    MANY,
    ON_LOOP,
    PRINTING,
    Stage,
    stages,
)
from gilscope.textbook.measuring import (
    ChildRunner,
    in_a_line,
    plain_environment,
    take_all,
    taken_of,
    unavailable,
)
from gilscope.textbook.pinging import Pings
from gilscope.textbook.showing import code_of, shown

NEW = Interpreter(
    "3.14.2", "python3.14", "3.14.2", free_threaded=False, gil_enabled=True, start_method="forkserver"
)
OLD = replace(NEW, name="3.11.7", version="3.11.7")


@dataclass
class FakeRunner:
    """Gives the same figures for everything, except where something goes wrong."""

    problems: Mapping[str, Exception] = field(default_factory=dict)
    ran: list[tuple[str, BackendName]] = field(default_factory=list)

    def run(self, cells: str, backend: BackendName) -> Taken:
        self.ran.append((cells, backend))
        if cells in self.problems:
            raise self.problems[cells]
        return Taken({"seen": True, "ran": True, "many_ran": True}, code_of(calling, f"in_{backend}"))


def test_every_experiment_runs_once_and_is_announced() -> None:
    runner, told = FakeRunner(), list[tuple[Topic, BackendName]]()
    take_all(runner, NEW, lambda topic, backend: told.append((topic, backend)))
    assert len(runner.ran) == len(set(runner.ran)) == 8 * 4
    assert len(told) == 8 * 4
    assert Topic.COMPUTING_WORK not in {
        topic for topic, _ in told
    }  # it is measured together with the row before


def test_what_fails_is_not_measured_and_the_rest_is_kept() -> None:
    hung = ServiceError("python -m x did not answer within 20 s\n  | Traceback\n  | OSError: full")
    cells = judge_all(take_all(FakeRunner({"crashing": hung}), NEW))
    crashed = [cell for cell in cells if cell.topic is Topic.CRASH]
    assert {cell.standing for cell in crashed} == {Standing.UNKNOWN}
    assert {cell.footnote for cell in crashed} == {"python -m x did not answer within 20 s: OSError: full"}
    kept = [cell for cell in cells if cell.topic is Topic.CALL]
    assert {cell.standing for cell in kept} == {Standing.HOLDS}


def test_what_this_python_does_not_have_is_not_tried() -> None:
    runner = FakeRunner()
    cells = judge_all(take_all(runner, OLD))
    assert all(backend is not BackendName.INTERPRETERS for _, backend in runner.ran)
    missing = [cell for cell in cells if cell.backend is BackendName.INTERPRETERS]
    assert {cell.footnote for cell in missing} == {
        "needs Python 3.14 or newer (--python python3.14); this is 3.11.7"
    }
    assert unavailable(BackendName.INTERPRETERS, NEW) is None
    assert unavailable(BackendName.THREADS, OLD) is None


def test_ctrl_c_is_not_a_result() -> None:
    class Interrupted:
        def run(self, cells: str, backend: BackendName) -> Taken:  # noqa: ARG002  the protocol's
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_all(Interrupted(), NEW)


@pytest.mark.parametrize(
    "answer", [{}, {"figures": [1], "code": ""}, {"figures": {}}, {"figures": {"a": []}, "code": ""}]
)
def test_an_answer_that_is_none_is_refused(answer: dict[str, object]) -> None:
    with pytest.raises(ServiceError):
        taken_of(answer)


def test_a_reason_fits_on_a_line() -> None:
    assert in_a_line("it ended") == "it ended"
    assert in_a_line("it ended\n  | one\n  | two") == "it ended: two"


def runner(monkeypatch: pytest.MonkeyPatch, code: str, limit_s: float = 20.0) -> ChildRunner:
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(measuring, "module_command", lambda *_arguments, **_options: command)
    return ChildRunner(sys.executable, None, "http://nowhere", limit_s=limit_s)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("import sys; sys.stdin.read()", r"did not answer within 0\.2 s"),
        ("print('hello', flush=True); input()", "not a message"),
        ("print('{}', flush=True); input()", "no figures"),
    ],
)
def test_a_child_that_fails_hangs_or_babbles(monkeypatch: pytest.MonkeyPatch, code: str, reason: str) -> None:
    with pytest.raises(ServiceError, match=reason):
        runner(monkeypatch, code, 0.2 if "stdin" in code else 20.0).run("sharing", BackendName.THREADS)


def test_a_child_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """print('{"figures": {"seen": true}, "code": "x"}', flush=True)"""
    assert runner(monkeypatch, code).run("sharing", BackendName.THREADS) == Taken({"seen": True}, "x")


def test_the_infinite_loops_show_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "measure_looping", lambda *_arguments: {"pings_per_s": 200.0})
    taken = ChildRunner("python", None, "http://nowhere").run("looping", BackendName.THREADS)
    assert "while True:\n        print(" in taken.code
    assert "Thread(target=wait_and_work, daemon=True).start()" in taken.code
    assert "pings = ping(port, STAGE_S, PINGS_PER_S)" in taken.code
    assert "async def ping_steadily(" in taken.code
    assert "# noqa" not in taken.code


def test_the_environment_is_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = plain_environment(str(tmp_path))
    assert environment["PYTHONPYCACHEPREFIX"] == str(tmp_path)
    assert environment["PYTHONUNBUFFERED"] == ""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
    assert "PYTHONPYCACHEPREFIX" not in plain_environment(str(tmp_path))


@dataclass
class FakeChild:
    """A service that repeats every order; so many of its loops tell that they begin."""

    begin: int = 4
    orders: list[Mapping[str, object]] = field(default_factory=list)
    stopped: bool = False
    pid = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_problem: object) -> None:
        self.stop(0.0)

    def receive(self, _timeout_s: float) -> Mapping[str, object]:
        return self.orders[-1] if self.orders else {"port": 1, "start_method": "fork", "gil_enabled": True}

    def send(self, order: Mapping[str, object]) -> None:
        running = self.orders[-1]["times"] if self.orders else 0
        new = min(cast("int", order["times"]) - cast("int", running), self.begin)
        self.begin -= new
        self.orders.append(order)
        Path(str(order["begun"])).write_bytes(b"!" * new)

    def stop(self, grace_s: float) -> None:  # noqa: ARG002  as a child's
        self.stopped = True


class BlindLens(Lens):
    """A lens that is not allowed to look, from the n-th time on."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def watch(self, pid: int) -> None:  # noqa: ARG002  as a lens's
        self._look()

    def open_window(self, seconds: float, rate_hz: float = 0.0) -> None:  # noqa: ARG002  as a lens's
        self._look()

    def _look(self) -> None:
        self.times -= 1
        if self.times < 0:
            raise LensError("not permitted")


def fake_services(monkeypatch: pytest.MonkeyPatch, begin: int) -> list[FakeChild]:
    """Have services started in which so many loops begin; return those that were."""
    children: list[FakeChild] = []

    def start(*_command: object, **_options: object) -> FakeChild:
        children.append(FakeChild(begin))
        return children[-1]

    monkeypatch.setattr(looping_stages, "Child", start)
    monkeypatch.setattr(looping_stages, "ping", lambda *_arguments: Pings((1.0, 2.0, 1000.0), 1))
    return children


@pytest.mark.parametrize("lens", [None, BlindLens(0), BlindLens(1)])
def test_without_a_lens_there_are_figures_without_gil_wait(
    monkeypatch: pytest.MonkeyPatch, lens: Lens | None
) -> None:
    children = fake_services(monkeypatch, begin=4)
    figures = looping_stages.measure_looping("python", BackendName.THREADS, lens, {})
    assert figures[f"{PRINTING.name}_ping_p50_ms"] == 2.0
    assert figures[f"{PRINTING.name}_unanswered"] == 1
    assert {value for name, value in figures.items() if name.endswith("_wait_share")} == {None}
    assert all(child.stopped for child in children)
    assert [(order["work"], order["times"]) for order in children[0].orders] == [
        ("forever", 0),
        ("forever_in_lines", 1),
    ]


@pytest.mark.parametrize("backend", [BackendName.PROCESSES, BackendName.INTERPRETERS])
def test_a_loop_with_a_gil_of_its_own_that_never_begins_is_a_reason_not_to_measure(
    monkeypatch: pytest.MonkeyPatch, backend: BackendName
) -> None:
    monkeypatch.setattr(looping_stages, "BEGIN_S", 0.01)
    children = fake_services(monkeypatch, begin=3)
    with pytest.raises(ServiceError, match="3 of 4 loops began"):
        dict(looping_stages.measure_services("python", backend, None, [[PRINTING, MANY]], {}))
    (child,) = children
    assert [order["times"] for order in child.orders] == [1, 4]
    assert child.stopped


@pytest.mark.parametrize("begun", [1, 4])
def test_how_many_threads_loop_is_told(monkeypatch: pytest.MonkeyPatch, begun: int) -> None:
    monkeypatch.setattr(looping_stages, "STARVE_S", 0.01)
    fake_services(monkeypatch, begin=begun)
    figures = dict(looping_stages.measure_services("python", BackendName.THREADS, None, [[MANY]], {}))
    assert figures[f"{MANY.name}_loops_begun"] == begun


def test_without_any_loop_there_is_nothing_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looping_stages, "STARVE_S", 0.01)
    fake_services(monkeypatch, begin=0)
    with pytest.raises(ServiceError, match="no loop began"):
        dict(looping_stages.measure_services("python", BackendName.THREADS, None, [[PRINTING]], {}))


def test_the_stages_name_what_they_are() -> None:
    assert IDLE.name == "0_printing_interval_5ms"
    assert PRINTING.name == "1_printing_on_another_core_interval_5ms"
    assert BESIDE.name == "1_printing_on_the_same_core_interval_5ms"
    assert LINES.name == "1_lines_on_another_core_interval_5ms"
    assert COMPUTING.sooner().name == "1_computing_interval_0.5ms"
    assert stages(BackendName.ASYNCIO) == ((IDLE, ON_LOOP),)
    both = {(stage, stage.sooner()) for stage in (PRINTING, MANY)}
    for backend in (BackendName.THREADS, BackendName.PROCESSES, BackendName.INTERPRETERS):
        every = {stage for service in stages(backend) for stage in service}
        assert all(every >= {one, sooner} for one, sooner in both)


@pytest.mark.parametrize(
    ("stage", "cores", "loop_on", "work_on"),
    [
        (ON_LOOP, {2, 5, 7}, [2, 5, 7], [2, 5, 7]),
        (PRINTING, {2, 5, 7}, [2], [5, 7]),
        (BESIDE, {2, 5, 7}, [2], [2]),
        (PRINTING, {3}, [3], [3]),
    ],
)
def test_the_place_of_a_loop_is_a_choice_of_cores(
    monkeypatch: pytest.MonkeyPatch, stage: Stage, cores: set[int], loop_on: list[int], work_on: list[int]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: cores)
    order = stage.order()
    assert (order["loop_on"], order["work_on"]) == (loop_on, work_on)


def test_the_code_shown_has_what_the_function_uses_and_no_more() -> None:
    code = code_of(sharing, "in_processes")
    assert "changes: dict[str, str] = {}" in code
    assert "def change()" in code
    assert "def write_byte" in code
    assert "in_threads" not in code
    assert code_of(sharing, "in_threads").index("def change()") < code_of(sharing, "in_threads").index(
        "def in_threads"
    )


@pytest.mark.parametrize("backend", list(BackendName))
def test_the_two_lines_of_a_call_are_lines_of_the_experiment(backend: BackendName) -> None:
    code = code_of(calling, f"in_{backend}")
    single, many = calls(code, backend).split("\n\n")
    source = [line.partition("  #")[0].strip() for line in Path(calling.__file__).read_text().splitlines()]
    for lines in (single.splitlines(), many.splitlines()):
        assert len(lines) == 2 or "async with" in lines[1]
        assert lines[0].startswith(("import ", "from "))
        assert all(line.strip() in source for line in lines)
    assert ("Executor().submit(work)" in many) is (backend is not BackendName.ASYNCIO)


@pytest.mark.parametrize("cells", sorted(set(CELLS.values()) - {"looping"}))
@pytest.mark.parametrize("backend", list(BackendName))
def test_what_is_shown_of_an_experiment_is_short_and_is_what_runs(cells: str, backend: BackendName) -> None:
    module = importlib.import_module(f"gilscope.textbook.cells.{cells}")
    code = shown(module, backend)
    assert 0 < len(code.splitlines()) <= 70
    works = [
        importlib.import_module(where) for where, _ in getattr(module, "WORK_SHOWN", {}).get(backend, ())
    ]
    source = "\n".join(inspect.getsource(one) for one in (module, *works))
    for line in code.splitlines():
        assert line in source
