from __future__ import annotations

import pytest

from gilscope.flame.harness import HARNESS, is_harness, is_workload, own_frames, without_helpers

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
    ("<module> (<string>)", "main (gilscope/lens/process.py)", "look (gilscope/lens/watch.py)"),
    ("run (threading.py)", "serve (/opt/venv/gilscope/lens/exporter.py:9)"),
    ("<module> (<string>)", "main (gilscope/profiling/process.py)"),
    ("run (threading.py)", "_run (gilscope/flame/pausing.py:50)", "wait (threading.py)"),
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
    ("main (gilscope/commands/serve.py)", WORK),
    ("run (mygilscope/lens/process.py)",),
    ("process (gilscope/workloads/lens.py)",),
    ("(no Python frames)",),
]


@pytest.mark.parametrize("stack", HELPERS)
def test_a_helpers_stack_is_left_out(stack: tuple[str, ...]) -> None:
    assert without_helpers({stack: 9.0}) == {}


@pytest.mark.parametrize("stack", KEPT)
def test_any_other_stack_stays_with_its_weight(stack: tuple[str, ...]) -> None:
    assert without_helpers({stack: 0.25}) == {stack: 0.25}


def test_one_does_not_take_the_other_along() -> None:
    everything = dict.fromkeys(map(tuple, HELPERS + KEPT), 2.0)
    assert without_helpers(everything) == dict.fromkeys(KEPT, 2.0)


@pytest.mark.parametrize(
    "frame",
    [
        HARNESS,
        "run (asyncio/runners.py:190)",
        "run (asyncio/runners.py)",
        "Runner.run (/usr/lib/python3.11/asyncio/runners.py:190)",
        "_worker (concurrent/futures/thread.py:81)",
        "Thread._bootstrap (threading.py:1002)",
        "worker (multiprocessing/pool.py:125)",
        "EpollSelector.select (selectors.py:468)",
        "_run_code (<frozen runpy>:88)",
        "_run_code (runpy.py:88)",
        "RequestHandler.start (aiohttp/web_protocol.py:5)",
        "run (uvloop/loop.pyx:1517)",
        "serve (gilscope/commands/serve.py:9)",
        "<module> (gilscope:8)",
        "<module> (gilscope)",
        "<module> (<string>)",
        "<module> (<string>:1)",
        "thread (41): MainThread",
        'process 41:"python -m gilscope serve"',
    ],
)
def test_what_carries_work_is_harness(frame: str) -> None:
    assert is_harness(frame)
    assert not is_workload(frame)


@pytest.mark.parametrize(
    "frame",
    [
        "primes (gilscope/workloads/primes.py:12)",
        "primes (/opt/venv/gilscope/workloads/primes.py)",
        "dumps (json/__init__.py:231)",
        "f (mythreading.py:1)",
        "f (myasyncio/x.py:1)",
        "f (gilscoped/x.py:1)",
        "<module> (/usr/bin/mygilscope:8)",
        "<module> (<string>:2)",
        "f (<string>:1)",
        "<module> (app.py:1)",
        "f (threading.pyx:3)",
        "asyncio",
        "pthread_cond_timedwait (libc.so.6)",
        "(no Python frames)",
        "(service) (app.py)",
    ],
)
def test_what_does_work_is_not(frame: str) -> None:
    assert not is_harness(frame)


def test_built_in_work_is_told_from_the_rest_of_gilscope() -> None:
    assert is_workload(WORK)
    assert is_workload("primes (/opt/venv/gilscope/workloads/primes.py:3)")
    for other in ("f (workloads/primes.py)", "f (mygilscope/workloads/x.py)", "f (gilscope/web/app.py)"):
        assert not is_workload(other)


USERS = "regex (fns.py:20)"
PACKAGED = "load (/srv/app/shop/orders.py:7)"


@pytest.mark.parametrize(
    ("references", "own"),
    [
        ([], {WORK}),
        (["primes"], {WORK}),
        (["some/where/fns.py:regex"], {USERS}),
        (["shop.orders:load"], {PACKAGED}),
        (["shop:load", "fns.py:other"], {USERS, PACKAGED}),
        (["primes", "fns.py:regex"], {WORK, USERS}),
    ],
)
def test_the_work_is_told_by_what_was_typed(references: list[str], own: set[str]) -> None:
    frames = {WORK, USERS, PACKAGED, "loads (json/__init__.py:346)", "(no Python frames)", "fns (other.py)"}
    assert set(filter(own_frames(references), frames)) == own
