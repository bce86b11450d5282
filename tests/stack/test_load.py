"""The comparison of docs/distributed.md whose load comes from other containers, on a real Docker Engine. By hand, as all here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from composed import BUILD_S, compose, documented, require_nothing_left

from gilscope.compare.store import RunFolder

UP, COPY, DOWN = documented("distributed.md")

pytestmark = [
    pytest.mark.timeout(BUILD_S),
    pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker"),
]


def test_workers_of_other_containers_send_the_load_of_a_comparison(tmp_path: Path) -> None:
    try:
        compose(*UP)
        compose(*COPY[:-1], str(tmp_path / "run"))
    finally:
        compose(*DOWN)
    run = RunFolder(tmp_path / "run").read_run()
    assert run.complete
    assert run.plan.load_master is not None
    assert {trial.load.workers for trial in run.trials} == {2}
    assert all(trial.requests for trial in run.trials)
    assert [verdict.workload for verdict in run.verdicts] == ["primes"]
    require_nothing_left()
