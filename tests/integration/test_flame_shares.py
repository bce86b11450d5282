"""What the three kinds of graphs show of the same work on threads and on processes, as each profiler sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from disturbance import least_disturbed
from pythons import find_python
from requirements import require

from gilscope.child import Child
from gilscope.errors import ServiceError
from gilscope.flame.algebra import keep, total
from gilscope.flame.capture import Capture, Profiler, with_second_chance
from gilscope.flame.folded import split_frame
from gilscope.flame.harness import is_workload
from gilscope.flame.profilers import profiler_for
from gilscope.flame.pyspy import PySpy
from gilscope.model import FlameKind, Folded, Stack

pytestmark = pytest.mark.integration

POOL = Path(__file__).parents[1] / "targets" / "pool.py"
WORKERS = 4
N = 60_000
"""A call of about 0.1 s: of short ones, workers wait for a good part to be let back in after each hand-over."""

SECONDS = 3
POINTS = 0.01

Graphs = dict[FlameKind, Capture]


@contextmanager
def at_work(version: str, kind: str) -> Iterator[int]:
    python = find_python(version)
    require(python, f"there is no Python {version}")
    command = [str(python), str(POOL), kind, str(WORKERS), str(N)]
    with Child(command, failure=ServiceError, env={"LC_ALL": "C"}) as child:
        child.receive(60)
        yield child.pid


def graphs_of(profiler: Profiler, pid: int) -> Graphs:
    found = with_second_chance(lambda: profiler.capture(pid, tuple(FlameKind), SECONDS))
    return {taken.graph.kind: taken for taken in found}


@pytest.fixture(scope="module")
def on_threads() -> Graphs:
    with at_work("3.11", "threads") as pid:
        return least_disturbed(lambda: graphs_of(PySpy(), pid))


@pytest.fixture(scope="module")
def on_processes() -> Graphs:
    with at_work("3.11", "processes") as pid:
        return least_disturbed(lambda: graphs_of(PySpy(), pid))


@pytest.fixture(scope="module")
def by_both() -> tuple[Graphs, Graphs]:
    """What py-spy and Python's own profiler see of one process, one after the other: py-spy holds it now and then."""
    with at_work("3.15", "threads") as pid:
        own = profiler_for(pid)
        assert not isinstance(own, PySpy)
        return least_disturbed(
            lambda: (
                graphs_of(PySpy(), pid),
                graphs_of(own, pid),
            )
        )


def ends_in_the_work(stack: Stack) -> bool:
    return is_workload(stack[-1])


def is_of_the_loop(stack: Stack) -> bool:
    return any(split_frame(frame).name.endswith("_run_once") for frame in stack)


def share(folded: Folded, of: Folded) -> float:
    return total(folded) / total(of)


def worker_seconds(graphs: Graphs) -> float:
    return WORKERS * graphs[FlameKind.WALL].graph.seconds


def test_on_threads_the_work_and_the_loop_wait(on_threads: Graphs) -> None:
    waiting = on_threads[FlameKind.WAITING].folded
    known = keep(waiting, lambda stack: ends_in_the_work(stack) or is_of_the_loop(stack))
    assert share(known, waiting) >= 0.6
    assert keep(waiting, ends_in_the_work)
    assert keep(waiting, is_of_the_loop)


def test_on_threads_the_work_holds(on_threads: Graphs) -> None:
    holding = on_threads[FlameKind.HOLDING].folded
    assert share(keep(holding, ends_in_the_work), holding) >= 0.9


def test_on_processes_hardly_anybody_waits(on_processes: Graphs) -> None:
    assert total(on_processes[FlameKind.WAITING].folded) < 0.05 * worker_seconds(on_processes)
    assert total(on_processes[FlameKind.HOLDING].folded) > 0


def test_both_profilers_see_the_same(by_both: tuple[Graphs, Graphs]) -> None:
    by_py_spy, by_python = by_both
    for kind in (FlameKind.WAITING, FlameKind.HOLDING):
        shares = [total(graphs[kind].folded) / total(graphs[FlameKind.WALL].folded) for graphs in by_both]
        assert abs(shares[0] - shares[1]) < 15 * POINTS, kind
        works = [
            share(keep(graphs[kind].folded, ends_in_the_work), graphs[kind].folded) for graphs in by_both
        ]
        assert abs(works[0] - works[1]) < 15 * POINTS, kind
    assert by_python[FlameKind.WALL].graph.pause_share == 0
    assert by_py_spy[FlameKind.WALL].graph.pause_share


def test_pythons_own_profiler_holds_to_the_same_bounds(by_both: tuple[Graphs, Graphs]) -> None:
    _, by_python = by_both
    test_on_threads_the_work_and_the_loop_wait(by_python)
    test_on_threads_the_work_holds(by_python)
