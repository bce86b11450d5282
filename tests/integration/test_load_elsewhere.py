"""Load from Locust workers that are started by hand, as they are on other machines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commanded import MARK, require_the_end_of_all, started
from polling import PATIENCE_S
from served import free_port
from short_runs import SHORT, WORK, after

from gilscope.compare.store import RunFolder

pytestmark = pytest.mark.integration

FEW = ("--backends", "asyncio", "--blocks", "1", "--users", "2", "--no-profiles", "--no-lens")
TRIALS = 2
"""An A/A pair."""


@contextmanager
def workers(master: str, mark: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start two workers by hand, under the mark of the comparison that they work for."""
    command = [sys.executable, "-P", "-m", "gilscope.load.worker", master]
    crew = [
        subprocess.Popen(
            command, env={**os.environ, MARK: mark}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    try:
        yield crew
    finally:
        for worker in crew:
            worker.kill()
            worker.communicate()


@pytest.fixture
def master(tmp_path: Path) -> str:
    """An address at which a comparison can wait for workers; what is compared lies in the test's folder."""
    (tmp_path / "work.py").write_text(WORK)
    return f"127.0.0.1:{free_port()}"


def comparing(master: str) -> tuple[str, ...]:
    return ("compare", *SHORT, *FEW, "--load-master", master, "--expect-workers", "2")


def test_workers_that_join_by_hand_send_the_load_and_are_told_when_it_is_over(
    tmp_path: Path, master: str
) -> None:
    with started(tmp_path, *comparing(master)) as (process, mark), workers(master, mark) as crew:
        _out, err = process.communicate()
        assert process.returncode == 0, err
        assert [worker.wait(PATIENCE_S) for worker in crew] == [0, 0]
    require_the_end_of_all(mark)
    run = RunFolder(tmp_path / "run").read().run
    assert run.complete
    assert (run.plan.load.workers, run.plan.load_master) == (2, master)
    assert len(run.trials) == TRIALS
    for trial in run.trials:
        assert trial.requests > 0
        assert (trial.errors, trial.first_error) == (0, None)
        assert trial.probes_answered > 0


def test_a_worker_that_is_lost_ends_the_comparison_which_can_be_gone_on_with(
    tmp_path: Path, master: str
) -> None:
    with started(tmp_path, *comparing(master)) as (process, mark), workers(master, mark) as crew:
        after(1)(process)
        crew[0].kill()
        _out, err = process.communicate()
        assert process.returncode == 1
        assert crew[1].wait(PATIENCE_S) == 0, "who is left is told to end"
    require_the_end_of_all(mark)
    assert "gilscope compare: 1 of 2 Locust workers are left\n  -> start 2 on the other machines: " in err
    assert f"python -m gilscope.load.worker {master}, and gilscope compare --resume run" in err
    assert "Traceback" not in err
    run = RunFolder(tmp_path / "run").read().run
    kept = run.trials
    assert 1 <= len(kept) < TRIALS
    assert all(trial.requests for trial in kept)
    assert not run.complete

    with started(tmp_path, "compare", "--resume", "run") as (process, mark), workers(master, mark):
        _out, err = process.communicate()
        assert process.returncode == 0, err
    run = RunFolder(tmp_path / "run").read().run
    assert run.complete
    assert (run.trials[: len(kept)], len(run.trials)) == (kept, TRIALS)
