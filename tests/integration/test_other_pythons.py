"""``gilscope compare --python``: real services on other Pythons, in environments of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from commanded import gilscope, require_the_end_of_all
from pythons import find_python

from gilscope.compare.store import RunFolder
from gilscope.environments import prepare

pytestmark = pytest.mark.integration

WORK = """
import sys
def spin(n: int) -> list[int]:
    return [*sys.version_info[:2], sum(number**2 for number in range(n))]
"""
SHORT = (
    "--lenient",
    "--duration",
    "0.5",
    "--warm-up",
    "0.1",
    "--blocks",
    "1",
    "--no-profiles",
    "--no-lens",
    "--out",
    "run",
)


def python(version: str) -> str:
    found = find_python(version)
    if found is None:
        pytest.skip(f"there is no Python {version} here: GILSCOPE_PYTHONS names more folders to look in")
    return str(found)


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Environments are made anew, of packages that uv and pip may have kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with pytest.MonkeyPatch.context() as patch:
        for variable, folder in (("UV_CACHE_DIR", "uv"), ("PIP_CACHE_DIR", "pip")):
            patch.setenv(variable, os.environ.get(variable) or str(base / folder))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def test_two_pythons_are_compared_in_one_report(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    paths = (python("3.11"), python("3.14"))
    options = ("--arg", "n=2000", "--backends", "threads,interpreters", "--python", *paths, "--seed", "3")
    ended = gilscope(tmp_path, "compare", "work.py:spin", *SHORT, *options, "--blocks", "2")
    assert ended.code == 0, ended.err
    require_the_end_of_all(ended.mark)

    run = RunFolder(tmp_path / "run").read().run
    names = [one.name for one in run.plan.pythons]
    assert [name[:4] for name in names] == ["3.11", "3.14"]
    tried = {(trial.python[:4], trial.backend.value) for trial in run.trials if trial.requests}
    assert tried == {("3.11", "threads"), ("3.14", "threads"), ("3.14", "interpreters")}
    for trial in run.trials:
        assert trial.workload == f"work.spin, Python {trial.python}"
        assert trial.gil_enabled is True
    assert [(one.backend, one.python, one.before) for one in run.python_changes] == [
        ("threads", *names[::-1])
    ]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "work.spin on 2 Pythons" in page
    assert "needs Python 3.14 or newer" in page


def test_an_environment_can_be_made_without_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Path(python("3.12"))
    monkeypatch.setenv("PATH", f"{found.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told: list[str] = []
    (environment,) = prepare([str(found)], told.append)
    assert len(told) == 1
    assert environment.interpreter.version.startswith("3.12")
    assert "threads" not in environment.unavailable
    assert "interpreters" in environment.unavailable


def test_what_is_no_python_is_said_before_anything_starts(tmp_path: Path) -> None:
    ended = gilscope(tmp_path, "compare", "noop", *SHORT, "--python", "python9.9")
    assert ended.code == 2
    assert "there is no Python at python9.9\n  -> --python takes executables" in ended.err
    ended = gilscope(tmp_path, "compare", "--python", python("3.11"), "noop")
    assert ended.code == 2
    assert "there is no Python at noop" in ended.err
    ended = gilscope(tmp_path, "compare", "noop", "--sweep", "n=1,2", "--python", "a", "b")
    assert "--sweep goes with one Python" in ended.err
    assert json.dumps([path.name for path in tmp_path.iterdir()]) == "[]"
