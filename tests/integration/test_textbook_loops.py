"""The infinite loop beside a web service. How late pings are is measured, so nothing else may run meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from statistics import median
from typing import cast

import psutil
import pytest
from commanded import MARK, require_the_end_of_all, survivors
from disturbance import least_disturbed
from polling import eventually

from gilscope.claims import Figure
from gilscope.lens.control import Lens
from gilscope.model import BackendName
from gilscope.textbook.looping_stages import (
    COMPUTING,
    MANY,
    MANY_COMPUTING,
    ON_LOOP,
    PRINTING,
    Stage,
    measure_looping,
    measure_services,
)
from gilscope.textbook.measuring import plain_environment

pytestmark = pytest.mark.integration

ASYNCIO, THREADS, PROCESSES = BackendName.ASYNCIO, BackendName.THREADS, BackendName.PROCESSES


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return plain_environment(str(tmp_path_factory.mktemp("compiled")))


@pytest.fixture
def lens() -> Iterator[Lens]:
    lens = Lens()
    yield lens
    lens.stop(grace_s=0.0)


ROUNDS = 3


def rounds(
    figure: str, backend: BackendName, stage: Stage, env: dict[str, str], lens: Lens | None = None
) -> list[float]:
    """Measure a figure of a stage in several services, each new."""

    def measure() -> float:
        figures = dict(measure_services(sys.executable, backend, lens, [[stage]], env))
        return cast("float", figures[f"{stage.name}_{figure}"])

    return [least_disturbed(measure) for _ in range(ROUNDS)]


def test_an_infinite_loop_in_a_thread_keeps_the_event_loop_waiting_for_the_gil(
    env: dict[str, str], lens: Lens
) -> None:
    thread, process = (
        rounds("gil_wait_share", backend, COMPUTING, env, lens) for backend in (THREADS, PROCESSES)
    )
    assert median(thread) > 0.1, "0.8 on a quiet machine, 0.2 where two hogs share its cores"
    assert median(process) < 0.05


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a loop on another core needs one")
def test_the_infinite_loop_in_a_thread_raises_the_p99_at_least_fivefold_over_one_in_a_process(
    env: dict[str, str],
) -> None:
    thread, process = (rounds("ping_p99_ms", backend, PRINTING, env) for backend in (THREADS, PROCESSES))
    # What else goes on in a machine only adds to it.
    assert min(thread) >= 5 * min(process)


def test_infinite_loops_in_threads_raise_the_p99_at_least_fivefold_over_processes(
    env: dict[str, str],
) -> None:
    thread, process = (
        rounds("ping_p99_ms", backend, MANY_COMPUTING, env) for backend in (THREADS, PROCESSES)
    )
    # What else goes on in a machine only adds to it.
    assert min(thread) >= 5 * min(process)


@pytest.mark.parametrize("backend", [THREADS, PROCESSES])
@pytest.mark.parametrize("stage", [MANY, MANY_COMPUTING])
def test_four_loops_are_four(env: dict[str, str], backend: BackendName, stage: Stage) -> None:
    def begun() -> Figure:
        figures = dict(measure_services(sys.executable, backend, None, [[stage]], env))
        return figures[f"{stage.name}_loops_begun"]

    # Two threads that print can hand the GIL to and fro past a third one for more than a second, about once in a hundred
    # times: each of their releases starts the interval of who waits anew (CPython's take_gil). Then the table tells so.
    assert any(begun() == 4 for _ in range(ROUNDS if backend is THREADS else 1))


def test_an_infinite_loop_on_the_event_loop_leaves_no_answer(env: dict[str, str]) -> None:
    figures = measure_looping(sys.executable, ASYNCIO, None, env)
    assert figures[f"{ON_LOOP.name}_unanswered"] == figures["pings_per_stage"]


WITHOUT_END = """
import sys
from gilscope.model import BackendName
from gilscope.textbook import looping_stages
looping_stages.STAGE_S = 600.0
dict(looping_stages.measure_services(sys.executable, BackendName(sys.argv[1]), None, [[looping_stages.ON_LOOP]], {}))
"""


@pytest.mark.parametrize("backend", [ASYNCIO, THREADS, PROCESSES])
def test_an_infinite_loop_does_not_outlive_a_kill_of_who_measures_it(
    env: dict[str, str], backend: BackendName
) -> None:
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT_END, backend], env={**os.environ, **env, MARK: mark}
    ) as process:
        eventually(lambda: any(map(listens, survivors(mark))), "the service")
        time.sleep(1.0)  # it is told to start the loop at once
        process.kill()
    require_the_end_of_all(mark)


def listens(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any(at.status == psutil.CONN_LISTEN for at in process.net_connections())
    return False
