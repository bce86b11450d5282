"""Suits I/O-bound and CPU-bound work: calls per second, and for how long the event loop does not get to run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

from gilscope.backends import processes
from gilscope.backends.base import Backend
from gilscope.backends.execution import gil_enabled
from gilscope.backends.table import BACKENDS
from gilscope.model import BackendName
from gilscope.workloads.base import FunctionRef, Surroundings, Workload
from gilscope.workloads.catalogue import BUILT_IN
from gilscope.workloads.http_fetch import close_session

SHOWN = dict.fromkeys(
    ("asyncio", "threads", "processes", "interpreters"),
    ("call_again_and_again", "longest_stall_ms", "load"),
)
"""What a reader wants to see: how the load is made, and how it is measured."""

WORKS = "gilscope.textbook.cells.works"
C_CALL = Workload("c_call", "a single C call", FunctionRef(WORKS, "add_up"), arguments={"numbers": 5_500_000})
LARGEST = Workload(
    "largest",
    "little work with a large argument",
    FunctionRef(WORKS, "largest"),
    arguments={"values": list(range(100_000))},
)
WAITING, COMPUTING = BUILT_IN["http_fetch"], BUILT_IN["primes"]
ON_LOOP = (WAITING, COMPUTING, BUILT_IN["noop"])
"""What is measured on the event loop itself: the rest is what others are compared with, in turn with them."""
IN_TURN = (COMPUTING, BUILT_IN["sha256"], C_CALL, BUILT_IN["noop"], LARGEST)
"""Measured on the event loop itself in turn with the backend: a machine's speed changes from one second to the next."""
WORK_SHOWN = {
    backend: tuple(
        (work.native_async or work.function if backend == "asyncio" else work.function)[:2]
        for work in (ON_LOOP if backend == "asyncio" else (WAITING, *IN_TURN))
    )
    for backend in SHOWN
}

MOST_WORKERS, CALLS_PER_WORKER = 4, 4
"""Of each pool but that of threads, which has one for every call in flight. With more, the load would be what is measured."""
WARM_UP_S, WINDOW_S, TURN_S, STOP_S = 0.03, 0.16, 0.08, 1.0
TURNS = 2
"""How often each is measured, alone and in turn: the best counts, as what disturbs a machine only slows it down."""


async def call_again_and_again(
    backend: Backend, workload: Workload, arguments: Mapping[str, object], until: float
) -> int:
    """Call one after the other until then, and wait for the last; return how many calls that were."""
    calls = 0
    while perf_counter() < until or not calls:
        await asyncio.sleep(0)  # as a request that is read from a socket would
        outcome = await backend.run(workload, arguments)
        if outcome.failure is not None:
            raise RuntimeError(outcome.failure.message)
        calls += 1
    return calls


async def longest_stall_ms(until: float) -> float:
    """Ask for 1 ms again and again; return by how much the loop was late at worst."""
    longest = 0.0
    while (begun := perf_counter()) < until:
        await asyncio.sleep(0.001)
        longest = max(longest, perf_counter() - begun - 0.001)
    return longest * 1e3


async def load(
    backend: Backend, workload: Workload, arguments: Mapping[str, object], in_flight: int, seconds: float
) -> tuple[float, float]:
    """Keep calls in flight; return how many end per second, up to the last one, and the longest stall in ms."""
    begun = perf_counter()
    stall = asyncio.create_task(longest_stall_ms(begun + seconds))
    await asyncio.sleep(0)
    lanes = [call_again_and_again(backend, workload, arguments, begun + seconds) for _ in range(in_flight)]
    calls = sum(await asyncio.gather(*lanes))
    return calls / (perf_counter() - begun), await stall


async def take_turns(
    compared: Mapping[str, Backend],
    workload: Workload,
    arguments: Mapping[str, object],
    in_flight: int,
    seconds: float,
) -> dict[str, float]:
    """Measure backends in windows that alternate; return the best rate and the best stall of each, under its name."""
    windows: dict[str, list[tuple[float, float]]] = {name: [] for name in compared}
    for backend in compared.values():
        await load(backend, workload, arguments, in_flight, WARM_UP_S)
    for _ in range(TURNS):
        for name, backend in compared.items():
            windows[name].append(await load(backend, workload, arguments, in_flight, seconds))
    figures: dict[str, float] = {}
    for name, own in windows.items():
        rates, stalls = zip(*own, strict=True)
        figures |= {f"{name}_calls_per_s": max(rates), f"{name}_longest_stall_ms": min(stalls)}
    return figures


async def measure(name: BackendName, upstream_url: str) -> dict[str, object]:
    """Run every workload on one backend."""
    cores = len(os.sched_getaffinity(0))
    workers = min(cores, MOST_WORKERS)
    in_flight = CALLS_PER_WORKER * workers
    backend = BACKENDS[name].create(in_flight if name is BackendName.THREADS else workers, None)
    on_loop = BACKENDS[BackendName.ASYNCIO].create(1, None)
    figures: dict[str, object] = {
        "workers": backend.workers,
        "cores": cores,
        "in_flight": in_flight,
        "gil_enabled": gil_enabled(),
    }
    if name is BackendName.PROCESSES:
        figures["start_method"] = processes.start_method()
    for one in (backend, on_loop):
        await one.start([WAITING, *IN_TURN])
    for workload in ON_LOOP if name is BackendName.ASYNCIO else (WAITING, *IN_TURN):
        arguments = workload.prepare(workload.parse({}), Surroundings(upstream_url, Path()))
        compared = {workload.name: backend}
        if name is not BackendName.ASYNCIO and workload in IN_TURN:
            compared[f"{workload.name}_on_loop"] = on_loop
        lanes = workers if workload is C_CALL else in_flight  # each keeps all others waiting
        seconds = WINDOW_S if workload is WAITING else TURN_S
        figures |= await take_turns(compared, workload, arguments, lanes, seconds)
    await close_session()
    for one in (backend, on_loop):
        await one.stop(STOP_S)
    return figures


def in_asyncio(upstream_url: str) -> dict[str, object]:
    """On the event loop itself."""
    return asyncio.run(measure(BackendName.ASYNCIO, upstream_url))


def in_threads(upstream_url: str) -> dict[str, object]:
    """In a pool of a thread for every call in flight."""
    return asyncio.run(measure(BackendName.THREADS, upstream_url))


def in_processes(upstream_url: str) -> dict[str, object]:
    """In a pool of a process per core, up to four."""
    return asyncio.run(measure(BackendName.PROCESSES, upstream_url))


def in_interpreters(upstream_url: str) -> dict[str, object]:
    """In a pool of a subinterpreter per core, up to four."""
    return asyncio.run(measure(BackendName.INTERPRETERS, upstream_url))
