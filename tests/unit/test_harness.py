from __future__ import annotations

import pytest

from gilscope.flame.harness import without_helpers

WORK = "primes (gilscope/workloads/primes.py)"
FORK_SERVER = ("<module> (<string>)", "main (multiprocessing/forkserver.py)")
WORKER = (*FORK_SERVER, "_serve_one (multiprocessing/forkserver.py)", "_main (multiprocessing/spawn.py)")

HELPERS = [
    ("_bootstrap (threading.py)", "run (threading.py)", "serve_forever (socketserver.py)", "select (selectors.py)"),
    ("serve_forever (/usr/lib/python3.14/socketserver.py:240)",),
    ("run (threading.py)", "_end_with_service (gilscope/backends/processes.py)"),
    ("<module> (<string>)", "main (multiprocessing/resource_tracker.py)"),
    FORK_SERVER,
    (*FORK_SERVER, "select (selectors.py)"),
]  # fmt: skip
KEPT = [
    (WORK,),
    (*WORKER, WORK),
    (*WORKER, "get (multiprocessing/queues.py)"),
    ("main (app/main.py)", WORK),
    ("serve_forever (asyncio/base_events.py)",),
    ("main (resource_tracker.py)", WORK),
    ("_run_once (asyncio/base_events.py)", "select (selectors.py)"),
    ("my_end_with_service (app.py)",),
    ("(no Python frames)",),
]


@pytest.mark.parametrize("stack", HELPERS)
def test_a_helpers_stack_is_left_out(stack: tuple[str, ...]) -> None:
    assert without_helpers({stack: 9.0}) == {}


@pytest.mark.parametrize("stack", KEPT)
def test_any_other_stack_stays_with_its_weight(stack: tuple[str, ...]) -> None:
    assert without_helpers({stack: 9.0}) == {stack: 9.0}


def test_one_does_not_take_the_other_along() -> None:
    everything = dict.fromkeys(map(tuple, HELPERS + KEPT), 2.0)
    assert without_helpers(everything) == dict.fromkeys(KEPT, 2.0)
