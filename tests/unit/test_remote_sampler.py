from __future__ import annotations

import importlib
import io
import json
import os
import runpy
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import gilscope.flame

NAME = "gilscope.flame.remote_sampler"
HAS_GIL, ON_CPU, REQUESTED = 1, 2, 8
ALL_MODES = 4

Answer = Iterable[object] | BaseException
Stacks = dict[str, dict[tuple[str, ...], int]]


@dataclass
class Python315:
    """What the sampler finds in the interpreter that runs it: who answers what, and what it was asked."""

    members: dict[int, Iterator[Answer]] = field(default_factory=dict)
    refusals: dict[int, BaseException] = field(default_factory=dict)
    made: list[tuple[tuple[object, ...], dict[str, object]]] = field(default_factory=list)
    child_pids: list[int] = field(default_factory=list)
    searches: list[tuple[int, bool]] = field(default_factory=list)

    def profiler(self, pid: int, *args: object, **kwargs: object) -> SimpleNamespace:
        self.made.append(((pid, *args), kwargs))
        if pid in self.refusals:
            raise self.refusals[pid]
        return SimpleNamespace(dump_stack=lambda: self._answer(pid))

    def _answer(self, pid: int) -> Iterable[object]:
        answer = next(self.members[pid])
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def get_child_pids(self, pid: int, *, recursive: bool) -> list[int]:
        self.searches.append((pid, recursive))
        return list(self.child_pids)


@pytest.fixture
def python315(monkeypatch: pytest.MonkeyPatch) -> Python315:
    found = Python315()
    constants = {
        "THREAD_STATUS_HAS_GIL": HAS_GIL,
        "THREAD_STATUS_GIL_REQUESTED": REQUESTED,
        "PROFILING_MODE_ALL": ALL_MODES,
    }
    content: Mapping[str, Mapping[str, object]] = {
        "_remote_debugging": {"get_child_pids": found.get_child_pids},
        "profiling": {},
        "profiling.sampling": {},
        "profiling.sampling.constants": constants,
        "profiling.sampling.sample": {"SampleProfiler": found.profiler},
    }
    for name, values in content.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            monkeypatch.setattr(sys.modules[parent], child, module, raising=False)
    return found


@pytest.fixture
def sampler(python315: Python315, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script as a module, which does not outlive the test; its clock goes only while it sleeps."""
    module = importlib.import_module(NAME)
    clock = [100.0]

    def sleep(seconds: float) -> None:
        clock[0] += max(seconds, 1e-6)

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    yield module
    del sys.modules[NAME]
    del gilscope.flame.remote_sampler  # type: ignore[attr-defined]  # set by the import


def frame(name: str, file: str = "app.py") -> SimpleNamespace:
    return SimpleNamespace(funcname=name, filename=file)


def thread(number: int, status: int, *names: str) -> SimpleNamespace:
    """A thread with its innermost frame first, as the interpreter gives them."""
    return SimpleNamespace(thread_id=number, status=status, frame_info=[frame(name) for name in names])


def interpreter(number: int, *threads: object) -> SimpleNamespace:
    return SimpleNamespace(interpreter_id=number, threads=list(threads))


SPIN = [interpreter(0, thread(1, HAS_GIL | ON_CPU, "spin", "main"))]


def forever(answer: Answer) -> Iterator[Answer]:
    while True:
        yield answer


def counted(lists: Mapping[str, Sequence[tuple[Sequence[str], int]]]) -> Stacks:
    return {kind: {tuple(stack): samples for stack, samples in found} for kind, found in lists.items()}


def added(sampler: Any, *looks: Iterable[object]) -> Stacks:  # noqa: ANN401  a module of no type
    stacks = sampler.Stacks()
    for look in looks:
        stacks.add(look)
    return counted(stacks.as_lists())


def test_a_stack_is_outermost_frame_first_and_has_no_lines(sampler: Any) -> None:  # noqa: ANN401
    found = added(sampler, SPIN, SPIN)
    assert found == {
        "holding": {("main (app.py)", "spin (app.py)"): 2},
        "waiting": {},
        "wall": {("main (app.py)", "spin (app.py)"): 2},
    }


def test_threads_hold_the_gil_or_ask_for_it_or_neither(sampler: Any) -> None:  # noqa: ANN401
    look = [
        interpreter(
            0,
            thread(1, HAS_GIL | ON_CPU, "holds"),
            thread(2, REQUESTED, "waits"),
            thread(3, 0, "sleeps"),
            thread(4, ON_CPU, "computes"),
            thread(5, HAS_GIL),
        )
    ]
    assert added(sampler, look) == {
        "holding": {("holds (app.py)",): 1},
        "waiting": {("waits (app.py)",): 1},
        "wall": {(f"{name} (app.py)",): 1 for name in ("holds", "waits", "sleeps", "computes")},
    }


def test_equal_stacks_of_several_threads_add_up(sampler: Any) -> None:  # noqa: ANN401
    look = [interpreter(0, *(thread(number, REQUESTED, "f") for number in range(3)))]
    assert added(sampler, look)["waiting"] == {("f (app.py)",): 3}


def test_a_thread_in_a_subinterpreter_is_one_thread_below_what_led_to_it(sampler: Any) -> None:  # noqa: ANN401
    look = [
        interpreter(2, thread(1, HAS_GIL, "work", "call")),
        interpreter(0, thread(1, ON_CPU, "exec", "run"), thread(9, 0, "loop")),
        interpreter(1, thread(5, REQUESTED, "other")),
    ]
    stack = ("run (app.py)", "exec (app.py)", "call (app.py)", "work (app.py)")
    assert added(sampler, look) == {
        "holding": {stack: 1},
        "waiting": {("other (app.py)",): 1},
        "wall": {stack: 1, ("loop (app.py)",): 1, ("other (app.py)",): 1},
    }


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("{}/pkg/deep/x.py", "pkg/deep/x.py"),
        ("{}/pkg/__init__.py", "pkg/__init__.py"),
        ("{}/script.py", "script.py"),
        ("{}/pkg/data/x.py", "x.py"),
        ("<frozen runpy>", "<frozen runpy>"),
        ("<string>", "<string>"),
        ("script.py", "script.py"),
        ("", ""),
        ("odd\0name.py", "odd\0name.py"),
    ],
)
def test_a_path_is_shortened_to_its_outermost_package(
    sampler: Any,  # noqa: ANN401
    tmp_path: Path,
    path: str,
    short: str,
) -> None:
    (tmp_path / "pkg" / "deep").mkdir(parents=True)
    (tmp_path / "pkg" / "data").mkdir()
    for package in ("pkg", "pkg/deep"):
        (tmp_path / package / "__init__.py").touch()
    assert sampler.shortened(path.format(tmp_path)) == short


def test_a_package_that_is_the_root_folder_ends_the_search(
    sampler: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def exists(path: str) -> bool:
        asked.append(path)
        assert len(asked) < 10, "it would look for ever"
        return True

    monkeypatch.setattr(sampler.os.path, "exists", exists)
    assert sampler.shortened("/app/x.py") in {"app/x.py", "/app/x.py"}


def test_a_profiler_is_for_all_threads_in_all_states(sampler: Any, python315: Python315) -> None:  # noqa: ANN401
    python315.members[7] = forever(SPIN)
    sampler.take(7, 0.1, 200)
    assert python315.made == [
        ((7, 5000), {"all_threads": True, "mode": ALL_MODES, "skip_non_matching_threads": False})
    ]


def test_looks_are_counted_and_as_many_as_the_rate_says(sampler: Any, python315: Python315) -> None:  # noqa: ANN401
    python315.members[7] = forever(SPIN)
    found = sampler.take(7, 20.0, 100)
    assert found["looks"] == pytest.approx(2000, rel=0.05)
    assert found["lost"] == 0
    assert counted(found["stacks"])["wall"] == {("main (app.py)", "spin (app.py)"): found["looks"]}


def test_the_gaps_between_looks_are_random_about_the_rate(
    sampler: Any,  # noqa: ANN401
    python315: Python315,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at: list[float] = []

    def look() -> Iterator[Answer]:
        while True:
            at.append(sampler.time.monotonic())
            yield SPIN

    python315.members[7] = look()
    sampler.take(7, 2.0, 100)
    gaps = [after - before for before, after in pairwise(at)]
    assert min(gaps) >= 0.005 - 1e-6
    assert max(gaps) <= 0.015 + 1e-6
    assert max(gaps) - min(gaps) > 0.005
    assert at[-1] < 102.0


def test_a_look_that_comes_late_is_not_made_up_for(sampler: Any, python315: Python315) -> None:  # noqa: ANN401
    def slow() -> Iterator[Answer]:
        while True:
            sampler.time.sleep(0.1)
            yield SPIN

    python315.members[7] = slow()
    assert 9 <= sampler.take(7, 1.0, 100)["looks"] <= 10


@pytest.mark.parametrize(
    "torn",
    [
        RuntimeError("torn"),
        OSError(5, "io"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        MemoryError(),
    ],
)
def test_what_cannot_be_read_is_lost_and_counted(
    sampler: Any,  # noqa: ANN401
    python315: Python315,
    torn: Exception,
) -> None:
    answers: list[Answer] = [SPIN, torn]
    python315.members[7] = (answers[at % 2] for at in count())
    found = sampler.take(7, 1.0, 100)
    assert found["lost"] == found["looks"] // 2 > 10
    assert counted(found["stacks"])["wall"] == {
        ("main (app.py)", "spin (app.py)"): found["looks"] - found["lost"]
    }


def test_children_are_looked_for_now_and_then_and_looked_at(sampler: Any, python315: Python315) -> None:  # noqa: ANN401
    python315.child_pids = [8, os.getpid()]
    python315.members = {7: forever(SPIN), 8: forever([interpreter(0, thread(1, REQUESTED, "child"))])}
    found = sampler.take(7, 2.0, 100)
    assert 4 <= len(python315.searches) <= 5
    assert set(python315.searches) == {(7, True)}
    assert [arguments[0] for arguments, _ in python315.made] == [7, 8], "each once, and the sampler never"
    assert counted(found["stacks"])["waiting"] == {("child (app.py)",): found["looks"]}


@pytest.mark.parametrize(
    "refusal", [RuntimeError("no Python"), PermissionError(), ProcessLookupError(), SystemExit(1)]
)
def test_a_child_that_cannot_be_read_is_asked_once_and_costs_nothing(
    sampler: Any,  # noqa: ANN401
    python315: Python315,
    refusal: BaseException,
) -> None:
    python315.child_pids, python315.refusals[8] = [8], refusal
    python315.members[7] = forever(SPIN)
    found = sampler.take(7, 2.0, 100)
    assert [arguments[0] for arguments, _ in python315.made] == [7, 8]
    assert found["lost"] == 0


def test_a_child_that_ends_is_forgotten(sampler: Any, python315: Python315) -> None:  # noqa: ANN401
    python315.child_pids = [8]
    python315.members = {7: forever(SPIN), 8: iter([SPIN, ProcessLookupError()])}
    found = sampler.take(7, 1.0, 100)
    assert found["lost"] == 0
    assert counted(found["stacks"])["wall"] == {("main (app.py)", "spin (app.py)"): found["looks"] + 1}


Ask = Callable[[], dict[str, object]]


@pytest.fixture
def ask(sampler: Any, monkeypatch: pytest.MonkeyPatch) -> Ask:  # noqa: ANN401
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: 0)
    return lambda: dict(sampler.answer({"pid": 7, "seconds": 1, "rate_hz": 100}))


def test_an_order_is_answered_with_the_stacks(ask: Ask, python315: Python315) -> None:
    python315.members[7] = forever(SPIN)
    answer = json.loads(json.dumps(ask()))
    assert set(answer) == {"looks", "lost", "stacks"}
    assert set(answer["stacks"]) == {"holding", "waiting", "wall"}
    assert answer["stacks"]["holding"] == [[["main (app.py)", "spin (app.py)"], answer["looks"]]]


@pytest.mark.parametrize(
    ("refusal", "cause", "remedy"),
    [
        (ProcessLookupError(), "the process has ended", "see why it ended"),
        (PermissionError(), "no right to read the process's memory", "cap_add SYS_PTRACE"),
        (RuntimeError("another build"), "another build", None),
        (SystemExit("it gave up"), "it gave up", None),
    ],
)
def test_a_process_that_cannot_be_read_is_answered_with_the_reason(
    ask: Ask, python315: Python315, refusal: BaseException, cause: str, remedy: str | None
) -> None:
    python315.refusals[7] = refusal
    answer = ask()
    assert answer["error"] == cause
    if remedy is None:
        assert answer["remedy"] is None
    else:
        assert remedy in str(answer["remedy"])


def test_a_process_that_ends_meanwhile_is_answered_with_that(ask: Ask, python315: Python315) -> None:
    python315.members[7] = iter([SPIN, ProcessLookupError()])
    assert ask() == {"error": "the process has ended", "remedy": "see why it ended"}


def test_a_free_threaded_python_has_no_gil_to_look_at(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": 1}.get)
    assert "free-threaded" in str(ask()["error"])


def test_as_a_script_it_reads_one_line_and_prints_another(
    python315: Python315, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    python315.members[7] = forever(SPIN)
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"pid": 7, "seconds": 0.05, "rate_hz": 100}\nmore\n'))
    runpy.run_path(str(Path(gilscope.flame.__path__[0], "remote_sampler.py")), run_name="__main__")
    answer = json.loads(capsys.readouterr().out)
    assert answer["looks"] >= 1
    assert answer["stacks"]["waiting"] == []


def test_nothing_stays_behind_of_the_pretended_python() -> None:
    assert NAME not in sys.modules
    assert "profiling.sampling" not in sys.modules or sys.version_info >= (3, 15)
