from __future__ import annotations

import io
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Self

import pytest
from factories import make_evidence
from rich.console import Console
from rich.progress import Progress, Task, TextColumn

from gilscope.commands import progress
from gilscope.commands.progress import BarWatcher, PlainWatcher, TimeLeft, watching
from gilscope.compare.plan import planned_seconds, schedule
from gilscope.compare.watching import Phase
from gilscope.model import Caution
from gilscope.report.console import describe_classification, describe_trial, describe_verdict

RUN = make_evidence().run
SLOTS = list(schedule(RUN.plan))
TRIAL, VERDICT = RUN.trials[0], RUN.verdicts[0]
CAUTION = Caution("backend-excluded", "it is not [tried] on processes", "mend [it]")


def into(file: io.StringIO, *, terminal: bool = False) -> Console:
    return Console(file=file, force_terminal=terminal, highlight=False, soft_wrap=True, width=120)


class Clock:
    """A clock that only goes when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.now))

    def passes(self, seconds: float) -> Self:
        self.now += seconds
        return self


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_plain_lines_come_when_a_trial_ends(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = io.StringIO()
    watcher = PlainWatcher(SLOTS, verdicts_to=into(verdicts))
    watcher.begins(SLOTS[0])
    watcher.enters(SLOTS[0], Phase.MEASURING)
    assert capsys.readouterr() == ("", "")
    watcher.ends(SLOTS[0], TRIAL)
    watcher.ends(SLOTS[1], TRIAL)
    line = describe_trial(TRIAL)
    assert capsys.readouterr() == ("", f"[1/{len(SLOTS)}] {line}\n[2/{len(SLOTS)}] {line}\n")
    assert verdicts.getvalue() == ""


def test_a_verdict_goes_where_it_was_told(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = io.StringIO()
    PlainWatcher(SLOTS, verdicts_to=into(verdicts)).concludes(VERDICT, None)
    assert verdicts.getvalue() == f"\n{describe_verdict(VERDICT)}\n\n"
    assert capsys.readouterr() == ("", "")


def test_a_warning_comes_with_its_remedy_and_its_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    PlainWatcher(SLOTS, verdicts_to=into(io.StringIO())).warns(CAUTION)
    assert capsys.readouterr() == ("", f"! {CAUTION.message}\n  -> {CAUTION.remedy}\n")


def test_what_a_function_does_to_the_gil_stands_above_the_verdict() -> None:
    verdicts = io.StringIO()
    found = next(target.classification for target in RUN.plan.targets if target.classification)
    PlainWatcher(SLOTS, verdicts_to=into(verdicts)).concludes(VERDICT, found)
    told = f"\n{describe_classification(found)}\n{describe_verdict(VERDICT)}\n\n"
    assert verdicts.getvalue() == told


def test_what_the_evidence_will_lack_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = PlainWatcher(SLOTS, verdicts_to=into(io.StringIO()))
    blind = Caution("no-lens", "GIL wait was not measured", "sudo")
    for slot in SLOTS[:2]:
        watcher.ends(slot, replace(TRIAL, warnings=(CAUTION, blind)))
    told = capsys.readouterr().err
    assert told.count("! GIL wait was not measured\n  -> sudo\n") == 1
    assert CAUTION.message not in told


def test_long_lines_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    long = replace(TRIAL, workload="x" * 300)
    PlainWatcher(SLOTS, verdicts_to=into(io.StringIO())).ends(SLOTS[0], long)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_bar_shows_what_runs_now_and_ends_full() -> None:
    screen = io.StringIO()
    with Progress(
        TextColumn("{task.description}"), console=into(screen, terminal=True), auto_refresh=False
    ) as bar:
        watcher = BarWatcher(RUN.plan, SLOTS, bar, verdicts_to=bar.console)
        (task,) = bar.tasks
        assert task.total == pytest.approx(sum(planned_seconds(RUN.plan, slot) for slot in SLOTS))
        for slot in SLOTS:
            done = task.completed
            watcher.begins(slot)
            watcher.enters(slot, Phase.WARM_UP)
            now = (
                f"{slot.target.workload} on {slot.backend}, block {slot.block + 1}/{RUN.plan.blocks}: warm-up"
            )
            assert task.description == now
            bar.refresh()
            assert now in screen.getvalue()
            assert task.completed == done
            watcher.ends(slot, TRIAL)
            assert task.completed == pytest.approx(done + planned_seconds(RUN.plan, slot))
        assert task.completed == pytest.approx(task.total)
    assert screen.getvalue().count(describe_trial(TRIAL)) == len(SLOTS)


def test_verdicts_and_warnings_scroll_by_above_the_bar() -> None:
    screen = io.StringIO()
    with Progress(console=into(screen, terminal=True), auto_refresh=False) as bar:
        watcher = BarWatcher(RUN.plan, SLOTS, bar, verdicts_to=bar.console)
        watcher.warns(CAUTION)
        watcher.concludes(VERDICT, None)
    shown = screen.getvalue()
    assert f"! {CAUTION.message}" in shown
    assert all(line in shown for line in describe_verdict(VERDICT).splitlines())


def task_of(completed: int, total: float | None = 100.0) -> Task:
    bar = Progress(auto_refresh=False)
    bar.add_task("", total=total, completed=completed)
    return bar.tasks[0]


def test_time_left_counts_down_between_trials(clock: Clock) -> None:
    column = TimeLeft()
    assert column.render(task_of(0)).plain == "1:40 left"
    clock.passes(35)
    assert column.render(task_of(0)).plain == "1:05 left"
    clock.passes(0.5)
    assert column.render(task_of(0)).plain == "1:04 left"


def test_time_left_follows_the_plan_when_a_trial_ends(clock: Clock) -> None:
    column = TimeLeft()
    column.render(task_of(0))
    clock.passes(35)
    assert column.render(task_of(30)).plain == "1:10 left", "the plan knows better than the clock"
    clock.passes(10)
    assert column.render(task_of(30)).plain == "1:00 left"


def test_time_left_does_not_fall_below_nothing(clock: Clock) -> None:
    column = TimeLeft()
    clock.passes(1_000)
    assert column.render(task_of(0)).plain == "0:00 left"
    assert column.render(task_of(100)).plain == "0:00 left"


def test_without_a_total_the_time_until_now_is_told(clock: Clock) -> None:
    assert TimeLeft().render(task_of(0, total=None)).plain == "0:00"


class Screen(io.StringIO):
    """A file that passes for a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, out = Screen(), Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    with watching(RUN.plan, SLOTS, verdicts_to_stderr=False) as watcher:
        assert isinstance(watcher, BarWatcher)
        watcher.enters(SLOTS[0], Phase.MEASURING)
        watcher.concludes(VERDICT, None)
    assert describe_verdict(VERDICT).splitlines()[0] in screen.getvalue()
    assert out.getvalue() == "", "where both are the same terminal, only one may write to it"


@pytest.mark.parametrize("as_json", [True, False])
def test_with_standard_output_in_a_file_the_verdict_goes_there_unless_it_is_for_json(
    monkeypatch: pytest.MonkeyPatch,
    as_json: bool,  # noqa: FBT001  a column
) -> None:
    screen, out = Screen(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    with watching(RUN.plan, SLOTS, verdicts_to_stderr=as_json) as watcher:
        watcher.concludes(VERDICT, None)
    first = describe_verdict(VERDICT).splitlines()[0]
    assert (first in out.getvalue()) is not as_json
    assert (first in screen.getvalue()) is as_json


@pytest.mark.parametrize("as_json", [True, False])
def test_a_log_gets_lines(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:  # noqa: FBT001  a column
    with watching(RUN.plan, SLOTS, verdicts_to_stderr=as_json) as watcher:
        assert type(watcher) is PlainWatcher
        watcher.ends(SLOTS[0], TRIAL)
        watcher.concludes(VERDICT, None)
    said = capsys.readouterr()
    verdict = f"\n{describe_verdict(VERDICT)}\n\n"
    line = f"[1/{len(SLOTS)}] {describe_trial(TRIAL)}\n"
    assert said == (("", line + verdict) if as_json else (verdict, line))
    assert "\x1b" not in said.out + said.err
