from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from commanded import gilscope, require_the_end_of_all, strictly
from pythons import find_python

from gilscope.claims import Standing, Topic
from gilscope.environments import prepare
from gilscope.model import BackendName
from gilscope.textbook.judging import Taken
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


def has_interpreters(python: str) -> bool:
    new = [str(find_python(version)) for version in ("3.14", "3.15")]
    return python in new or sys.version_info >= (3, 14)


def require_backend(python: str, backend: BackendName) -> None:
    if backend is INTERPRETERS and not has_interpreters(python):
        pytest.skip("needs Python 3.14 or newer")


def run(python: str, env: dict[str, str], cells: str, backend: BackendName) -> Taken:
    require_backend(python, backend)
    return ChildRunner(python, None, "http://nowhere", env, limit_s=60.0).run(cells, backend)


@pytest.mark.parametrize(
    ("backend", "seen"), [(ASYNCIO, True), (THREADS, True), (PROCESSES, False), (INTERPRETERS, False)]
)
def test_who_sees_a_change(python: str, env: dict[str, str], backend: BackendName, seen: bool) -> None:  # noqa: FBT001
    figures = run(python, env, "sharing", backend).figures
    assert figures["seen"] is seen
    assert figures.get("shared_byte_seen", True) is True


@pytest.fixture(scope="module")
def serving(python: str) -> str:
    """Return the executable of a Python that has what a web service needs."""
    return python if python == sys.executable else prepare([python], lambda _: None)[0].executable


@pytest.mark.parametrize("backend", list(BackendName))
def test_who_dies_of_a_segmentation_fault(
    python: str, serving: str, env: dict[str, str], backend: BackendName
) -> None:
    require_backend(python, backend)
    figures = ChildRunner(serving, None, "http://nowhere", env, limit_s=60.0).run("crashing", backend).figures
    assert figures["service_died"] is (backend is not PROCESSES)
    assert cast("float", figures["answers_again_ms"]) > 0
    if backend is PROCESSES:
        assert figures["neighbour_failed"] is True
    else:
        assert figures["signal"] == 11


@pytest.mark.parametrize("python", ["this", "3.14"], indirect=True)
@pytest.mark.parametrize("backend", list(BackendName))
def test_what_goes_wrong_does_not_with_a_lock(python: str, env: dict[str, str], backend: BackendName) -> None:
    figures = run(python, env, "interfering", backend).figures
    wrong = {name: value for name, value in figures.items() if name.endswith("_wrong_per_million")}
    locked = {name for name in wrong if "_locked_" in name}
    assert {wrong[name] for name in locked} == {0}
    assert {name.replace("_locked_", "_") for name in locked} == wrong.keys() - locked
    assert (
        cast(
            "float",
            wrong["sell_with_await_wrong_per_million" if backend is ASYNCIO else "sell_wrong_per_million"],
        )
        > 0
    )
    assert figures.get("global_seen_by_parent", 0) == 0
    if backend is ASYNCIO:
        assert cast("float", wrong["add_with_await_wrong_per_million"]) > 0
        assert wrong["add_without_await_wrong_per_million"] == 0
    if backend is INTERPRETERS:
        assert cast("float", wrong["add_wrong_per_million"]) > 0
        assert cast("int", figures["updates_locked"]) >= 2_000


@pytest.mark.parametrize("python", ["this", "3.14"], indirect=True)
@pytest.mark.parametrize("backend", list(BackendName))
def test_the_calls_run_and_are_shown(python: str, env: dict[str, str], backend: BackendName) -> None:
    taken = run(python, env, "calling", backend)
    assert (taken.figures["ran"], taken.figures["many_ran"]) == (True, True)
    assert f"def in_{backend}()" in taken.code
    assert f"def many_in_{backend}()" in taken.code
    assert "noqa" not in taken.code


@pytest.mark.parametrize("python", ["this", "3.14"], indirect=True)
def test_how_processes_were_started_is_kept(python: str, env: dict[str, str]) -> None:
    asked = [python, "-c", "import multiprocessing; print(multiprocessing.get_start_method())"]
    default = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    assert run(python, env, "calling", PROCESSES).figures["start_method"] == default


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
    # Threads that compute faster than their GIL allows were disturbed, and are not judged: that one may be missing.
    unknown = {
        place: cell["footnote"] for place, cell in cells.items() if cell["standing"] == Standing.UNKNOWN
    }
    disturbed = unknown.pop((Topic.COMPUTING_WORK, THREADS), "which the GIL does not allow")
    assert (unknown, "which the GIL does not allow" in disturbed) == ({}, True)
    for (topic, backend), cell in cells.items():
        assert cell["figures"], (topic, backend)
        assert cell["code"], (topic, backend)
        assert (SERVICE / cell["module"]).is_file()
    assert cells[Topic.HANDING_OVER, THREADS]["figures"]["same_object"] is True
    copied = cells[Topic.HANDING_OVER, PROCESSES]["figures"]
    assert copied["pickle_1kB_there_ms"] < copied["pickle_1MB_there_ms"]
    assert cells[Topic.CRASH, INTERPRETERS]["figures"]["service_died"] is True
    assert (tmp_path / "table" / "textbook.html").exists()
