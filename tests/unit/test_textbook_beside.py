"""``compare --textbook``: the table beside a comparison, with measurements that are made up."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from factories import make_evidence
from textbooks import FREE, NEW, OLD, make_it_up

from gilscope.claims import Measured
from gilscope.commands import compare, resuming
from gilscope.commands import textbook as command
from gilscope.commands.main import main
from gilscope.commands.resuming import Start
from gilscope.compare.store import RunFolder
from gilscope.compare.textbook_file import read_textbook
from gilscope.environments import Environment
from gilscope.errors import INTERRUPTED, ServiceError
from gilscope.load.samples import write_samples
from gilscope.model import Evidence, Interpreter
from gilscope.textbook import measuring

TABLE = 'id="textbook"'


def environment_of(python: Interpreter) -> Environment:
    return Environment(python, f"/cache/{python.name}", {})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A complete run on two Pythons, without its report."""
    evidence = make_evidence()
    found = RunFolder.create(tmp_path / "run")
    for name, samples in evidence.samples.items():
        write_samples(found.path / name, samples)
    plan = replace(evidence.run.plan, pythons=(OLD, NEW))
    found.write_run(replace(evidence.run, flames=(), plan=plan))
    return found


def finish(folder: RunFolder, *pythons: Interpreter, interrupted: bool = False) -> int:
    """Do what is left when the last trial has ended."""
    evidence: Evidence = folder.read()
    start = Start(evidence, 0.0, folder, environments=tuple(map(environment_of, pythons)))
    options = argparse.Namespace(textbook=True, json=False)
    return compare._finish(options, evidence, start, interrupted=interrupted)


def test_the_table_is_measured_on_the_pythons_of_the_run(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = make_it_up(monkeypatch, stops=FREE)
    assert finish(folder, OLD, NEW) == 0
    assert measured == ["3.11.7", "3.14.2"]
    found = read_textbook(folder.path)
    assert found is not None
    assert [one.python for one in found.measured] == [OLD, NEW]
    assert TABLE in folder.report.read_text()
    assert capsys.readouterr().out.endswith(
        "the textbook: Python 3.11.7: 36 cells in 34.5 s: 17 hold, 9 hold with a footnote, 1 does not hold, 9 not measured;"
        " Python 3.14.2: 36 cells in 34.5 s: 26 hold, 9 hold with a footnote, 1 does not hold\n"
        f"report: {folder.report}\n"
    )


def test_without_pythons_of_its_own_it_is_measured_on_that_of_gilscope(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "environments", lambda _: (environment_of(NEW),))
    measured = make_it_up(monkeypatch, stops=FREE)
    assert finish(folder) == 0
    assert measured == ["3.14.2"]


def test_the_report_is_there_before_the_table_is_begun(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_it_up(monkeypatch, stops=FREE)
    measure = measuring.measure

    def look(python: Interpreter, executable: str, *, tells: measuring.Tell) -> Measured:
        assert folder.has_report
        return measure(python, executable, tells=tells)

    monkeypatch.setattr(measuring, "measure", look)
    assert finish(folder, OLD) == 0


def test_an_interrupted_table_says_what_is_missing(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_it_up(monkeypatch, stops=FREE)
    assert finish(folder, OLD, FREE) == INTERRUPTED
    assert capsys.readouterr().err.endswith(
        "the textbook's table was interrupted: 1 of 2 Pythons were measured whole\n"
        f"  -> gilscope compare --resume {folder.path} --textbook\n"
    )
    assert TABLE in folder.report.read_text()


def test_a_table_that_cannot_be_measured_leaves_the_report(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_it_up(monkeypatch, stops=OLD, with_=ServiceError("the upstream did not start"))
    with pytest.raises(ServiceError, match="the upstream did not start"):
        finish(folder, OLD)
    assert TABLE not in folder.report.read_text()

    make_it_up(monkeypatch, stops=NEW, with_=ServiceError("the upstream did not start"))
    with pytest.raises(ServiceError):
        finish(folder, OLD, NEW)
    assert TABLE in folder.report.read_text()


def test_an_interrupted_comparison_has_no_table_yet(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = make_it_up(monkeypatch, stops=FREE)
    assert finish(folder, OLD, interrupted=True) == INTERRUPTED
    assert measured == []
    assert f"-> gilscope compare --resume {folder.path} --textbook\n" in capsys.readouterr().err


def test_a_complete_run_gets_the_table_that_it_lacks(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepare(paths: Sequence[str], _tell: object) -> tuple[Environment, ...]:
        known = {one.path: one for one in (OLD, NEW)}
        return tuple(environment_of(known[path]) for path in paths)

    monkeypatch.setattr(resuming, "prepare", prepare)
    measured = make_it_up(monkeypatch, stops=NEW)
    again = ["compare", "--resume", str(folder.path), "--textbook"]
    assert main(again) == INTERRUPTED
    assert measured == ["3.11.7"]
    measured = make_it_up(monkeypatch, stops=FREE)
    assert main(again) == 0
    assert measured == ["3.11.7", "3.14.2"]
    capsys.readouterr()

    measured = make_it_up(monkeypatch, stops=FREE)
    assert main(again) == 0
    assert measured == []
    out = capsys.readouterr().out
    assert out == f"nothing to resume: {folder.path} is complete\nreport: {folder.report}\n"
    assert TABLE in folder.report.read_text()
