from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import cast

import pytest
from commanded import gilscope, require_the_end_of_all, strictly
from pythons import find_python

from gilscope.child import module_command
from gilscope.claims import Standing, Topic
from gilscope.lens.control import Lens
from gilscope.model import BackendName
from gilscope.textbook.judging import Taken
from gilscope.textbook.looping_stages import (
    COMPUTING,
    MANY_COMPUTING,
    PRINTING,
    Stage,
    measure_looping,
    measure_service,
)
from gilscope.textbook.measuring import ChildRunner, plain_environment

pytestmark = pytest.mark.integration

ASYNCIO, THREADS, PROCESSES, INTERPRETERS = BackendName
SERVICE = Path(__file__).parents[2] / "service"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Let a Python without packages find gilscope; 3.15 stumbles over a locale that is not installed."""
    compiled = str(tmp_path_factory.mktemp("compiled"))
    paths = os.pathsep.join(filter(None, (str(SERVICE), os.environ.get("PYTHONPATH"))))
    return {**plain_environment(compiled), "PYTHONPATH": paths, "LC_ALL": "C"}


@pytest.fixture(scope="module", params=["this", "3.14", "3.15"])
def python(request: pytest.FixtureRequest) -> str:
    found = Path(sys.executable) if request.param == "this" else find_python(request.param)
    if found is None:
        pytest.skip(f"there is no Python {request.param} here")
    return str(found)


def looping(backend: BackendName) -> list[str]:
    return module_command("gilscope.textbook.cells.looping", backend)


def has_interpreters(python: str) -> bool:
    new = [str(find_python(version)) for version in ("3.14", "3.15")]
    return python in new or sys.version_info >= (3, 14)


def run(python: str, env: dict[str, str], cells: str, backend: BackendName) -> Taken:
    if backend is INTERPRETERS and not has_interpreters(python):
        pytest.skip("needs Python 3.14 or newer")
    return ChildRunner(python, None, "http://nowhere", env, limit_s=60.0).run(cells, backend)


@pytest.mark.parametrize(
    ("backend", "seen"), [(ASYNCIO, True), (THREADS, True), (PROCESSES, False), (INTERPRETERS, False)]
)
def test_who_sees_a_change(python: str, env: dict[str, str], backend: BackendName, seen: bool) -> None:  # noqa: FBT001
    figures = run(python, env, "sharing", backend).figures
    assert figures["seen"] is seen
    assert figures.get("shared_byte_seen", True) is True


@pytest.mark.parametrize("backend", list(BackendName))
def test_who_dies_of_a_segmentation_fault(python: str, env: dict[str, str], backend: BackendName) -> None:
    figures = run(python, env, "crashing", backend).figures
    assert figures["service_died"] is (backend is not PROCESSES)
    assert cast("float", figures["answers_again_ms"]) > 0
    if backend is PROCESSES:
        assert figures["neighbour_failed"] is True
    else:
        assert figures["signal"] == 11


@pytest.mark.parametrize("python", ["this"], indirect=True)
@pytest.mark.parametrize("backend", list(BackendName))
def test_nothing_is_lost_with_a_lock(python: str, env: dict[str, str], backend: BackendName) -> None:
    figures = run(python, env, "interfering", backend).figures
    locked = {
        name: value for name, value in figures.items() if name.endswith("per_million") and "_locked_" in name
    }
    assert set(locked.values()) == {0}
    assert figures.get("global_seen_by_parent", 0) == 0
    if backend is ASYNCIO:
        assert cast("float", figures["add_with_await_lost_per_million"]) > 0
        assert figures["add_with_call_lost_per_million"] == 0


@pytest.mark.parametrize("python", ["this"], indirect=True)
@pytest.mark.parametrize("backend", list(BackendName))
def test_the_call_runs_and_is_shown(python: str, env: dict[str, str], backend: BackendName) -> None:
    taken = run(python, env, "calling", backend)
    assert taken.figures == {"ran": True}
    assert f"def in_{backend}()" in taken.code
    assert "noqa" not in taken.code


@pytest.fixture
def lens() -> Iterator[Lens]:
    lens = Lens()
    yield lens
    lens.stop(grace_s=0.0)


ROUNDS = 3


def beside(
    backend: BackendName, stage: Stage, env: dict[str, str], lens: Lens | None
) -> Callable[[str], float]:
    """Measure a stage in several services, each new; return what reads the median of a figure."""
    rounds = [dict(measure_service(looping(backend), lens, [stage], env)) for _ in range(ROUNDS)]
    return lambda figure: median(cast("float", one[f"{stage.name}_{figure}"]) for one in rounds)


def test_an_infinite_loop_in_a_thread_keeps_the_event_loop_waiting_for_the_gil(
    env: dict[str, str], lens: Lens
) -> None:
    thread, process = (beside(backend, COMPUTING, env, lens) for backend in (THREADS, PROCESSES))
    assert thread("gil_wait_share") > 0.2
    assert process("gil_wait_share") < 0.05


def test_infinite_loops_in_threads_raise_the_p99_at_least_fivefold_over_processes(
    env: dict[str, str],
) -> None:
    thread, process = (beside(backend, MANY_COMPUTING, env, None) for backend in (THREADS, PROCESSES))
    assert thread("ping_p99_ms") >= 5 * process("ping_p99_ms")


def test_an_infinite_loop_on_the_event_loop_leaves_no_answer(env: dict[str, str]) -> None:
    figures = measure_looping(sys.executable, ASYNCIO, None, env)
    assert figures[f"{PRINTING.name}_unanswered"] == figures["pings_per_stage"]


@pytest.mark.timeout(240)
def test_every_cell_is_measured_where_every_backend_is_there(tmp_path: Path) -> None:
    found = find_python("3.14") or find_python("3.15")
    if found is None:
        pytest.skip(
            "there is no Python with subinterpreters here: GILSCOPE_PYTHONS names more folders to look in"
        )
    ended = gilscope(tmp_path, "textbook", "--json", "--python", str(found), "--out", "table")
    assert ended.code == 0, ended.err
    require_the_end_of_all(ended.mark)
    (measured,) = strictly(ended.out)["measured"]
    cells = {(cell["topic"], cell["backend"]): cell for cell in measured["cells"]}
    assert len(cells) == len(Topic) * len(BackendName)
    assert [cell for cell in cells.values() if cell["standing"] == Standing.UNKNOWN] == []
    for (topic, backend), cell in cells.items():
        assert cell["figures"], (topic, backend)
        assert cell["code"], (topic, backend)
        assert (SERVICE / cell["module"]).is_file()
    assert cells[Topic.HANDING_OVER, THREADS]["figures"]["same_object"] is True
    copied = cells[Topic.HANDING_OVER, PROCESSES]["figures"]
    assert copied["pickle_1kB_there_ms"] < copied["pickle_1MB_there_ms"]
    assert cells[Topic.CRASH, INTERPRETERS]["figures"]["service_died"] is True
    assert (tmp_path / "table" / "textbook.html").exists()
