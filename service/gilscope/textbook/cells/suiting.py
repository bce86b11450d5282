"""Suits I/O-bound and CPU-bound work: calls per second, and for how long the event loop does not get to run."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from time import perf_counter

from gilscope.backends.base import Backend
from gilscope.backends.table import BACKENDS
from gilscope.model import BackendName
from gilscope.workloads.base import Surroundings, Workload
from gilscope.workloads.catalogue import BUILT_IN
from gilscope.workloads.http_fetch import close_session

SHOWN = dict.fromkeys(
    ("asyncio", "threads", "processes", "interpreters"),
    ("WORKLOADS", "IN_FLIGHT", "call_again_and_again", "longest_stall_ms", "load"),
)
"""What a reader wants to see: how the load is made, and how it is measured."""

WORKLOADS = ("http_fetch", "primes", "sha256", "json_roundtrip", "noop", "sort_payload")
IN_FLIGHT = 8
WARM_UP_S, WINDOW_S, STOP_S = 0.05, 0.2, 1.0
WINDOWS = 2
"""How often each is measured: the faster one counts, as what disturbs a machine only slows it down."""


async def call_again_and_again(
    backend: Backend, workload: Workload, arguments: dict[str, object], until: float
) -> int:
    """Call one after the other; return how many calls ended in time."""
    calls = 0
    while True:
        await asyncio.sleep(0)  # as a request that is read from a socket would
        outcome = await backend.run(workload, arguments)
        if outcome.failure is not None:
            raise RuntimeError(outcome.failure.message)
        if perf_counter() > until:
            return calls
        calls += 1


async def longest_stall_ms(until: float) -> float:
    """Ask for 1 ms again and again; return by how much the loop was late at worst."""
    longest = 0.0
    while (begun := perf_counter()) < until:
        await asyncio.sleep(0.001)
        longest = max(longest, perf_counter() - begun - 0.001)
    return longest * 1e3


async def load(
    backend: Backend, workload: Workload, arguments: dict[str, object], seconds: float
) -> tuple[float, float]:
    """Keep eight calls in flight; return calls per second and the longest stall in ms."""
    until = perf_counter() + seconds
    stall_ms, *calls = await asyncio.gather(
        longest_stall_ms(until),
        *(call_again_and_again(backend, workload, arguments, until) for _ in range(IN_FLIGHT)),
    )
    return sum(calls) / seconds, stall_ms


async def measure(name: BackendName, upstream_url: str, workers: int) -> dict[str, object]:
    """Run every workload on one backend."""
    figures: dict[str, object] = {"workers": workers, "cores": len(os.sched_getaffinity(0))}
    backend = BACKENDS[name].create(workers, None)
    await backend.start([BUILT_IN[workload] for workload in WORKLOADS])
    with tempfile.TemporaryDirectory() as folder:
        for workload in map(BUILT_IN.__getitem__, WORKLOADS):
            arguments = workload.prepare(workload.parse({}), Surroundings(upstream_url, Path(folder)))
            await load(backend, workload, arguments, WARM_UP_S)
            windows = [await load(backend, workload, arguments, WINDOW_S) for _ in range(WINDOWS)]
            calls_per_s, stall_ms = max(windows)
            figures[f"{workload.name}_calls_per_s"] = calls_per_s
            figures[f"{workload.name}_longest_stall_ms"] = stall_ms
    await close_session()
    await backend.stop(STOP_S)
    return figures


def in_asyncio(upstream_url: str) -> dict[str, object]:
    """On the event loop itself."""
    return asyncio.run(measure(BackendName.ASYNCIO, upstream_url, 1))


def in_threads(upstream_url: str) -> dict[str, object]:
    """In a pool of a thread for every call in flight."""
    return asyncio.run(measure(BackendName.THREADS, upstream_url, IN_FLIGHT))


def in_processes(upstream_url: str) -> dict[str, object]:
    """In a pool of a process per core."""
    return asyncio.run(measure(BackendName.PROCESSES, upstream_url, os.cpu_count() or 1))


def in_interpreters(upstream_url: str) -> dict[str, object]:
    """In a pool of a subinterpreter per core."""
    return asyncio.run(measure(BackendName.INTERPRETERS, upstream_url, os.cpu_count() or 1))
