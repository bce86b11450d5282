"""Comparisons that are interrupted or run out of room, and what may have changed until they are gone on with.

One run is interrupted for all tests of this file, which go on with copies of it.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from commanded import Ended, gilscope, interrupt_when, require_the_end_of_all, started, survivors
from polling import eventually
from requirements import require
from short_runs import SHORT, WORK, after

from gilscope.compare.holding import LOCK_FILE
from gilscope.compare.store import RunFolder

pytestmark = pytest.mark.integration

THREE_TRIALS = (*SHORT, "--backends", "asyncio,threads", "--blocks", "1", "--no-profiles")


@pytest.fixture(scope="module")
def ctrl_c(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A comparison of three trials, ended by Ctrl-C after the first. Nobody goes on with this one."""
    folder = tmp_path_factory.mktemp("ctrl-c")
    (folder / "work.py").write_text(WORK)
    return interrupt_when(("compare", *THREE_TRIALS), folder, after(1))


@pytest.fixture
def interrupted(ctrl_c: Ended, tmp_path: Path) -> Path:
    """A copy of that run, and of what it compared, to go on with."""
    shutil.copytree(ctrl_c.cwd, tmp_path, dirs_exist_ok=True)
    return tmp_path


# Ctrl-C.


def test_an_interrupt_says_what_to_type_and_that_finishes_it(ctrl_c: Ended, interrupted: Path) -> None:
    assert ctrl_c.code == 130
    assert "they are kept\n  -> gilscope compare --resume run\n" in ctrl_c.err
    require_the_end_of_all(ctrl_c.mark)
    again = gilscope(interrupted, "compare", "--resume", "run")
    assert again.code == 0, again.err
    assert len(RunFolder(interrupted / "run").read().run.trials) == 3


def test_a_resumed_run_that_is_interrupted_at_once_stays(interrupted: Path) -> None:
    before = RunFolder(interrupted / "run").read_run()

    def told(process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("resuming run: ")

    ended = interrupt_when(("compare", "--resume", "run"), interrupted, told)
    assert ended.code == 130
    assert RunFolder(interrupted / "run").read_run().trials[: len(before.trials)] == before.trials


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_interrupt_as_well(number: signal.Signals, code: int, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    ended = interrupt_when(("compare", *THREE_TRIALS), tmp_path, after(1), number)
    assert ended.code == code
    assert "they are kept\n  -> gilscope compare --resume run\n" in ended.err
    require_the_end_of_all(ended.mark)
    assert RunFolder(tmp_path / "run").read().run.trials
    assert not (tmp_path / "run" / LOCK_FILE).exists()


@pytest.mark.parametrize(
    "arguments", [("classify", "work.py:spin", "--arg=n=1"), ("textbook",)], ids=["classify", "textbook"]
)
def test_other_commands_are_interrupted_by_them_too(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text("def spin(n: int) -> None:\n    while True: ...\n")
    ended = interrupt_when(arguments, tmp_path, lambda _: None, signal.SIGTERM)  # when it has children
    assert (ended.code, ended.out) == (143, "")
    assert "Traceback" not in ended.err
    require_the_end_of_all(ended.mark)


def test_a_signal_that_is_ignored_does_not_interrupt(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with started(tmp_path, "classify", "work.py:spin", "--arg=n=2000") as (process, mark):
            eventually(lambda: len(survivors(mark)) > 1, "it to be at work")
            process.send_signal(signal.SIGHUP)
            out, err = process.communicate()
    finally:
        signal.signal(signal.SIGHUP, kept)
    assert process.returncode == 0, err
    assert out.startswith("work.py:spin: ")


# What has changed since.


def test_a_changed_function_is_not_gone_on_with(interrupted: Path) -> None:
    before = (interrupted / "run" / "run.json").read_bytes()
    (interrupted / "work.py").write_text(WORK + "\n# better\n")
    ended = gilscope(interrupted, "compare", "--resume", "run")
    assert ended.code == 2
    assert "work.py has changed since the run began" in ended.err
    assert (
        "-> gilscope report run shows what was measured; to compare anew: gilscope compare work.py:spin"
        in ended.err
    )
    assert (interrupted / "run" / "run.json").read_bytes() == before


def test_another_version_is_gone_on_with_and_says_so(interrupted: Path) -> None:
    path = interrupted / "run" / "run.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "gilscope": "0.0.1"}), encoding="utf-8")
    ended = gilscope(interrupted, "compare", "--resume", "run")
    assert ended.code == 0, ended.err
    assert "! resumed after gilscope had changed from 0.0.1 to " in ended.err
    assert [caution.code for caution in RunFolder(interrupted / "run").read_run().cautions] == [
        "gilscope-changed"
    ]
    assert "Resumed after gilscope had changed" in (interrupted / "run" / "report.html").read_text(
        encoding="utf-8"
    )


# A full disk.


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    command = ("mount", "-t", "tmpfs", "-o", "size=1m", "gilscope-test", str(place))
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    require(mounted, "a file system cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(("umount", str(place)), check=True)


def fill(place: Path) -> None:
    """Take all room that there is."""
    with (place / "ballast").open("ab", buffering=0) as ballast:
        for size in (4_096, 1):
            with suppress(OSError):
                while True:
                    ballast.write(bytes(size))


def test_without_room_a_run_stops_whole_and_is_finished_when_there_is_some(
    interrupted: Path, small: Path
) -> None:
    run = Path(shutil.copytree(interrupted / "run", small / "run"))
    with started(interrupted, "compare", "--resume", str(run)) as (process, mark):
        after(1)(process)
        fill(small)
        out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    (message,) = [line for line in err.splitlines() if line.startswith("gilscope compare: ")]
    assert message.startswith(f"gilscope compare: cannot write {run}/")
    assert message.endswith(": No space left on device")
    assert err.endswith(f"\n  -> make room there, then: gilscope compare --resume {run}\n")
    assert "Traceback" not in err
    require_the_end_of_all(mark)
    kept = RunFolder(run).read().run
    assert 2 <= len(kept.trials) < 3
    assert not list(run.rglob("*.tmp"))
    full = gilscope(interrupted, "compare", "--resume", str(run))
    assert full.code == 1
    assert ": No space left on device\n  -> make room there" in full.err
    assert RunFolder(run).read().run == kept
    (small / "ballast").unlink()
    ended = gilscope(interrupted, "compare", "--resume", str(run))
    assert ended.code == 0, ended.err
    assert RunFolder(run).read().run.trials[: len(kept.trials)] == kept.trials
    assert len(RunFolder(run).read().run.trials) == 3


def test_a_report_without_room_leaves_the_old_one(interrupted: Path, small: Path) -> None:
    run = small / "run"
    shutil.copytree(interrupted / "run", run)
    before = (run / "report.html").read_bytes()
    fill(small)
    ended = gilscope(interrupted, "report", str(run))
    assert ended.code == 1
    told = f"gilscope report: cannot write {run}/report.html: No space left on device\n  -> make room there"
    assert told in ended.err
    assert (run / "report.html").read_bytes() == before
    assert not list(run.rglob("*.tmp"))
