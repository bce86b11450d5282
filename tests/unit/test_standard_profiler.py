from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from gilscope.errors import CaptureError
from gilscope.flame import sampling
from gilscope.flame.capture import Capture
from gilscope.flame.profilers import profiler_for
from gilscope.flame.pyspy import PySpy
from gilscope.flame.sampling import StandardProfiler, find_standard_profiler
from gilscope.model import FlameKind

STACKS = {
    "holding": [[["main (app.py)", "spin (app.py)"], 30]],
    "waiting": [],
    "wall": [
        [["main (app.py)", "spin (app.py)"], 40],
        [["main (app.py)"], 10],
        [["run (threading.py)", "serve_forever (socketserver.py)", "select (selectors.py)"], 50],
    ],
}
ANSWER = {"looks": 80, "lost": 3, "stacks": STACKS}

Pretend = Callable[[str], Path]


@pytest.fixture
def pretend(tmp_path: Path) -> Pretend:
    """Put a Python script in the place of the target's interpreter."""

    def put(script: str) -> Path:
        fake = tmp_path / "python3.15"
        fake.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{script}\n")
        fake.chmod(0o755)
        return fake

    return put


def capture(python: Path, kinds: Sequence[FlameKind] = tuple(FlameKind), seconds: int = 2) -> list[Capture]:
    return StandardProfiler(python).capture(4711, kinds, seconds, 50)


def printing(answer: object) -> str:
    return f"print({json.dumps(answer)!r})"


@pytest.mark.integration
def test_its_answer_is_the_capture_each_stack_weighing_the_time_between_two_looks(pretend: Pretend) -> None:
    holding, waiting, wall = capture(pretend(printing(ANSWER)))
    assert holding.folded == {("main (app.py)", "spin (app.py)"): 30 * 2 / 80}
    assert waiting.folded == {}
    assert wall.folded == {("main (app.py)", "spin (app.py)"): 1.0, ("main (app.py)",): 0.25}
    for found, kind, samples in zip((holding, waiting, wall), FlameKind, (30, 0, 50), strict=True):
        graph = found.graph
        assert (graph.kind, graph.samples, graph.lost) == (kind, samples, 3)
        assert (graph.rate_hz, graph.seconds, graph.pause_share) == (50, 2.0, 0.0)
        assert (graph.source, graph.notes) == ("profiling.sampling of python3.15", ())


@pytest.mark.integration
def test_it_gives_the_kinds_that_are_wanted_in_the_order_of_the_kinds(pretend: Pretend) -> None:
    python = pretend(printing(ANSWER))
    for kinds in ([FlameKind.WALL, FlameKind.HOLDING], [FlameKind.WAITING]):
        assert [found.graph.kind for found in capture(python, kinds)] == [
            kind for kind in FlameKind if kind in kinds
        ]


@pytest.mark.integration
def test_the_sampler_is_run_alone_with_its_order_on_one_line(pretend: Pretend, tmp_path: Path) -> None:
    told = tmp_path / "told"
    capture(
        pretend(
            f"told = [sys.argv[1:], sys.stdin.read(), os.environ.get('LC_ALL'), os.getsid(0) == os.getpid()]\n"
            f"open({str(told)!r}, 'w').write(json.dumps(told))\n{printing(ANSWER)}"
        )
    )
    arguments, order, locale, own_session = json.loads(told.read_text())
    assert json.loads(order) == {"pid": 4711, "seconds": 2, "rate_hz": 50}
    assert "\n" not in order
    assert arguments[0] == "-I"
    assert Path(arguments[1]).name == "remote_sampler.py"
    assert (locale, own_session) == ("C", True)


@pytest.mark.integration
@pytest.mark.parametrize("remedy", ["see why it ended", None])
def test_its_error_is_told_with_its_remedy(pretend: Pretend, remedy: str | None) -> None:
    with pytest.raises(
        CaptureError, match=r"^Python's own profiler could not capture stacks: the process has ended"
    ) as caught:
        capture(pretend(printing({"error": "the process has ended", "remedy": remedy})))
    assert caught.value.remedy == remedy


@pytest.mark.integration
@pytest.mark.parametrize(
    ("script", "last"),
    [
        ("print('garbage'); print('first', file=sys.stderr); print('the last word\\n', file=sys.stderr)", "the last word"),
        ("print('[1, 2')", "it said nothing"),
        ("pass", "it said nothing"),
        ("raise ModuleNotFoundError('no profiling')", "ModuleNotFoundError: no profiling"),
        ("os.write(1, b'\\xff'); os.write(2, b'odd \\xff')", "odd \N{REPLACEMENT CHARACTER}"),
        ("os.kill(os.getpid(), 9)", "it said nothing"),
    ],
)  # fmt: skip
def test_of_one_that_fails_the_last_word_is_told(pretend: Pretend, script: str, last: str) -> None:
    with pytest.raises(CaptureError) as caught:
        capture(pretend(script))
    assert caught.value.message == f"Python's own profiler could not capture stacks: {last}"


@pytest.mark.parametrize("what", ["missing", "not executable", "of another machine"])
def test_an_interpreter_that_cannot_be_run_is_a_capture_that_failed(tmp_path: Path, what: str) -> None:
    python = tmp_path / "python3.15"
    if what != "missing":
        python.write_bytes(b"\x7fELF but not really")
        python.chmod(0o755 if what == "of another machine" else 0o644)
    with pytest.raises(CaptureError, match="Python's own profiler could not capture stacks"):
        capture(python)


@pytest.mark.integration
def test_one_that_never_ends_is_given_up_and_killed(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sampling, "SLACK_S", 0.7)
    number = tmp_path / "pid"
    script = f"open({str(number)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    with pytest.raises(CaptureError, match="did not finish within 1 s"):
        capture(pretend(script), seconds=0)
    assert not Path(f"/proc/{number.read_text()}").exists()


# Which profiler is for which process.


@contextmanager
def running_as(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path, code: int = 0) -> Iterator[Path]:
    """Pretend that every process runs this executable, which ends with ``code`` when it is asked to import."""
    python = folder / name
    python.write_text(f"#!/bin/sh\nexit {code}\n")
    python.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "readlink", lambda _path: python)
        yield python


@pytest.mark.integration
@pytest.mark.parametrize("name", ["python3.15", "python3.16", "python3.20"])
def test_a_process_of_a_new_python_has_a_profiler_of_its_own(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with running_as(name, monkeypatch, tmp_path) as python:
        found = find_standard_profiler(1)
        assert isinstance(found, StandardProfiler)
        assert found._python == python
        assert isinstance(profiler_for(1), StandardProfiler)


@pytest.mark.parametrize(
    "name",
    ["python3.14", "python3.9", "python3", "python", "python3.15d", "mypython3.15", "python3.15 (deleted)", "gunicorn"],
)  # fmt: skip
def test_a_process_of_anything_else_has_none_and_is_not_run(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(*_: object, **__: object) -> None:
        raise AssertionError("run")

    monkeypatch.setattr(subprocess, "run", run)
    with running_as(name, monkeypatch, tmp_path):
        assert find_standard_profiler(1) is None
        assert isinstance(profiler_for(1), PySpy)


@pytest.mark.parametrize("name", ["python3.13t", "python3.14t", "python3.15t", "python3.15td"])
def test_a_free_threaded_process_has_no_gil_to_look_at(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (
        running_as(name, monkeypatch, tmp_path),
        pytest.raises(CaptureError, match=r"^process 4711 runs a free-threaded Python") as caught,
    ):
        profiler_for(4711)
    assert caught.value.remedy == "a build with a GIL, to see what threads would wait for there"


def test_a_process_that_is_gone_is_left_to_py_spy_to_explain() -> None:
    assert isinstance(profiler_for(2**22 + 1), PySpy)


@pytest.mark.integration
def test_a_python_whose_distribution_left_the_profiler_out_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with running_as("python3.15", monkeypatch, tmp_path, code=1):
        assert find_standard_profiler(1) is None


@pytest.mark.parametrize("mode", [0o644, None])
def test_an_executable_that_may_not_be_run_or_is_gone_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int | None
) -> None:
    with running_as("python3.15", monkeypatch, tmp_path) as python:
        if mode is None:
            python.unlink()
        else:
            python.chmod(mode)
        assert find_standard_profiler(1) is None


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="this Python has the profiler")
def test_this_process_has_none() -> None:
    assert find_standard_profiler(os.getpid()) is None
    assert isinstance(profiler_for(os.getpid()), PySpy)


def test_a_process_that_is_gone_has_none() -> None:
    assert find_standard_profiler(2**22 + 1) is None
