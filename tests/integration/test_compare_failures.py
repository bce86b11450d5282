"""``gilscope compare`` that fails, is interrupted or is asked for what cannot be, as a user runs it: nothing is measured."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from commanded import Ended, gilscope, interrupt_when, require_the_end_of_all
from polling import eventually

from gilscope.compare.store import RunFolder

pytestmark = pytest.mark.integration

WORK = """
import os
from pathlib import Path

def spin(n: int) -> int:
    return sum(number**2 for number in range(n))

def leave_a_trace(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()

def fail(text: str) -> None:
    raise LookupError(text)
"""


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "work.py"
    path.write_text(WORK)
    return path


@pytest.fixture(scope="session")
def failed(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A function that raises, and a run that nobody named a folder for."""
    return gilscope(
        tmp_path_factory.mktemp("failed"),
        "compare", f"{work}:fail", "--arg", 'text="as asked"', "--backends", "threads", "--quick",
        "--lenient", "--duration", "0.5", "--blocks", "1",
    )  # fmt: skip


@pytest.fixture(scope="session")
def interrupted(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Ctrl-C once the first trial has ended, and long before the last."""

    def first_trial_ended(process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("[1/150] work.spin ")

    arguments = (
        "compare", f"{work}:spin", "--arg", "n=2000", "--backends", "asyncio,threads", "--quick",
        "--lenient", "--duration", "0.5", "--blocks", "50", "--no-profiles", "--out", "run",
    )  # fmt: skip
    return interrupt_when(arguments, tmp_path_factory.mktemp("interrupted"), first_trial_ended)


# A function that raises.


def test_a_function_that_raises_fails_the_run(failed: Ended) -> None:
    assert failed.code == 1
    assert "work.fail raised when it was tried once" in failed.err
    assert "LookupError: as asked" in failed.err
    assert failed.err.count("Traceback") == 1, "the user's own, of the first try"
    assert "no verdict" in failed.out
    require_the_end_of_all(failed.mark)


def test_its_errors_are_counted_and_the_first_is_kept(failed: Ended) -> None:
    (folder,) = (failed.cwd / "profiles").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-work\.fail", folder.name)
    document = failed.document(str(folder.relative_to(failed.cwd)))
    trial, twin = document["trials"]
    assert (trial["twin"], twin["twin"]) in ((False, True), (True, False))
    assert trial["requests"] == 0
    assert trial["errors"] > 10
    assert trial["valid"] is False
    assert trial["latency_ms"] is None
    assert "Traceback (most recent call last)" in trial["first_error"]
    assert "LookupError: as asked" in trial["first_error"]
    assert trial["warnings"][0]["code"] == "no-requests"
    (verdict,) = document["verdicts"]
    assert (verdict["winner"], verdict["conclusive"]) == (None, False)
    assert document["complete"] is True
    assert document["flames"] == []
    assert (folder / "report.html").exists()


# Ctrl-C.


def test_an_interrupted_run_keeps_its_finished_trials(interrupted: Ended) -> None:
    assert interrupted.code == 130
    assert "Traceback" not in interrupted.err
    document = interrupted.document("run")
    assert document["complete"] is False
    trials = len(document["trials"])
    assert 1 <= trials < 10
    assert f"interrupted after {trials} trials; they are kept" in interrupted.err
    assert all(trial["requests"] > 0 for trial in document["trials"])
    assert document["verdicts"] == []
    assert len(document["plan"]["targets"]) == 1


def test_an_interrupted_run_has_its_report(interrupted: Ended) -> None:
    assert (interrupted.cwd / "run" / "report.html").read_text().startswith("<!doctype html>")
    assert "report: run/report.html" in interrupted.out
    evidence = RunFolder(interrupted.cwd / "run").read()
    assert len(evidence.samples) == len(evidence.run.trials)


def test_an_interrupted_run_leaves_no_process(interrupted: Ended) -> None:
    require_the_end_of_all(interrupted.mark)


def test_interrupted_in_its_first_trial_a_run_leaves_nothing(work: Path, tmp_path: Path) -> None:
    traces, cwd = tmp_path / "traces", tmp_path / "cwd"
    traces.mkdir()
    cwd.mkdir()

    def under_load(process: subprocess.Popen[str]) -> None:
        # The first trace is that of the try beforehand, the second one the service's.
        eventually(
            lambda: len(list(traces.iterdir())) > 1 or process.poll() is not None, "load on the service"
        )

    arguments = (
        "compare", f"{work}:leave_a_trace", "--arg", f"folder={json.dumps(str(traces))}", "--backends", "asyncio",
        "--duration", "600", "--out", "run",
    )  # fmt: skip
    ended = interrupt_when(arguments, cwd, under_load)
    assert ended.code == 130
    assert ended.err == "interrupted before the first trial ended: nothing was kept\n"
    assert ended.out == ""
    assert list(cwd.iterdir()) == []
    require_the_end_of_all(ended.mark)


# Bad input.

BAD = [
    (("nosuch",), "nosuch"),
    (("nosuch.py:work",), "nosuch.py"),
    (("{work}:nosuch",), "nosuch"),
    (("{work}:spin",), "missing a required argument"),
    (("{work}:spin", "--arg", "n=1", "--arg", "m=2"), "'m'"),
    (("{work}:spin", "--arg", "n=[1"), "not valid JSON"),
    (("{work}:spin", "--arg", "n=NaN"), "not valid JSON"),
    (("{work}:spin", "--arg", "n=1", "--arg", "n=2"), "given twice"),
    (("primes", "--arg", "m=2"), "has no parameter 'm'"),
    (("primes", "primes"), "two targets are called 'primes'"),
    (("primes", "--backends", "asyncio,fibres"), "there is no backend 'fibres'"),
    (("primes", "--duration", "-1"), "--duration"),
    (("primes", "--out", "{work}/run"), "cannot write to"),
    (("primes", "--out", "{folder}"), "is not empty"),
]


@pytest.mark.parametrize(("arguments", "cause"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_told_in_one_message_and_leaves_nothing(
    work: Path, tmp_path: Path, arguments: Sequence[str], cause: str
) -> None:
    before = sorted(work.parent.iterdir())
    filled = [argument.format(work=work, folder=work.parent) for argument in arguments]
    ended = gilscope(tmp_path, "compare", *filled)
    assert ended.code == 2, ended.err
    assert ended.out == ""
    assert cause in ended.err
    assert ended.err.count("gilscope compare: ") == 1
    assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []
    assert sorted(work.parent.iterdir()) == before
    require_the_end_of_all(ended.mark)


@pytest.mark.parametrize("folder", [".", "nowhere"])
def test_report_on_no_run_is_bad_input(tmp_path: Path, folder: str) -> None:
    ended = gilscope(tmp_path, "report", folder)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("gilscope report: there is no run in ")
    assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []
