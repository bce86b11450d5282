"""How a service fails: a worker killed under load, five times the load that it can take, and its end under load.

    python benchmarks/survival.py [--kills 10] [--seconds 10] [--ends 5]

Each on a fresh ``gilscope serve`` with two workers per pool, on threads, processes and, where there are any, subinterpreters. Prints,
in this order: of workers killed (processes), how many requests were lost beyond those in flight, and for how long no request of
the backend was answered; of overload, what became of the requests, the p99 of those accepted against the bound that the backlog
sets, the slowest ``/healthz`` and by how much the memory of all its processes grew; of work that takes too long and of clients that
leave, what became of it and whether the service is as it was; of ends, how many requests were neither answered nor refused. While
workers are killed and services ended, somebody leaves at random before being answered. No request is sent twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from prometheus import scraped
from served import Served, client, leave, memory_kb, serving

from gilscope.backends.table import available
from gilscope.child import Child
from gilscope.errors import LoadError
from gilscope.model import BackendName
from gilscope.quantiles import quantile

if TYPE_CHECKING:
    import psutil

LIGHT = "primes?n=3000"
POOLS = tuple(name.value for name in available() if name is not BackendName.ASYNCIO)
HEAVY = (("threads", "sha256?megabytes=8"), *((backend, "primes?n=20000") for backend in POOLS))
"""Overloaded: five times the capacity has to be less than what the event loop can refuse, some 2,000 a second. In threads
``sha256`` releases the GIL, and ``primes`` keeps the loop waiting for it at each of its system calls."""

WORKERS, BACKLOG, SENDERS = 2, 50, 4
OVERLOAD = 5.0
CAPACITY_S = 3.0
LIMIT_S = 0.5
LONG = f"deadly.rest?seconds={2 * LIMIT_S}"
LEFT, LEFT_WITHIN_S = "sha256?megabytes=1", 0.05
DEADLY = Path(__file__).parents[1] / "tests" / "targets" / "deadly.py"
OPTIONS = (
    *("--workload=primes", "--workload=sha256", f"--workload={DEADLY}:rest"),
    *(f"--pool-size={WORKERS}", f"--backlog={BACKLOG}"),
)


@dataclass
class Seen:
    """Statuses, 0 for a connection that broke; latencies (s) and moments (s) of those that succeeded."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    answered_at_s: list[float] = field(default_factory=list)


def path(backend: str, work: str) -> str:
    """Return where the work is, of a workload and its query."""
    workload, _, query = work.partition("?")
    return f"/work/{workload}/{backend}?{query}"


async def ask(session: aiohttp.ClientSession, place: str, seen: Seen) -> None:
    """Request the work once."""
    begun = time.monotonic()
    try:
        async with session.get(place) as answer:
            await answer.read()
            status = answer.status
    except aiohttp.ClientConnectorError:
        raise
    except (TimeoutError, aiohttp.ClientError):
        status = 0
    seen.statuses[status] += 1
    if status == 200:
        now = time.monotonic()
        seen.latencies_s.append(now - begun)
        seen.answered_at_s.append(now)


async def send(session: aiohttp.ClientSession, place: str, seen: Seen, over: asyncio.Event) -> None:
    """Request the work again and again, until it is over or the service takes nobody any more."""
    with suppress(aiohttp.ClientConnectorError):
        while not over.is_set():
            await ask(session, place, seen)


@asynccontextmanager
async def loaded(
    session: aiohttp.ClientSession, backend: str, work: str = LIGHT, *, leaving: bool = False
) -> AsyncIterator[Seen]:
    """Have some senders at work for the block, and perhaps somebody who leaves at random."""
    seen, over = Seen(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(send(session, path(backend, work), seen, over))
        if leaving:
            group.create_task(leave(session, path(backend, LEFT), over, LEFT_WITHIN_S))
        try:
            yield seen
        finally:
            over.set()


def workers(served: Served) -> list[psutil.Process]:
    """Return the pool's worker processes: those that a fork server has started."""
    every = [child for child in served.tree() if "forkserver" in " ".join(child.cmdline())]
    servers = {child.pid for child in every}
    return [child for child in every if child.ppid() in servers]


async def kills(count: int) -> None:
    """Kill workers under load."""
    with serving(*OPTIONS, "--backends=processes") as served:
        gaps, lost, before = [], [], 0
        async with client(served) as session, loaded(session, "processes", leaving=True) as seen:
            await asyncio.sleep(2)
            for _ in range(count):
                victim = random.choice(workers(served))
                killed_at = time.monotonic()
                os.kill(victim.pid, signal.SIGKILL)
                await asyncio.sleep(3)
                after = [moment for moment in seen.answered_at_s if moment > killed_at]
                around = [killed_at, *after]
                gaps.append(max(later - sooner for sooner, later in zip(around, after, strict=False)))
                lost.append(seen.statuses[503] + seen.statuses[0] - before)
                before += lost[-1]
    beyond = sum(max(0, one - SENDERS) for one in lost)
    print(
        f"workers killed: {count} under {SENDERS} requests in flight; answered {seen.statuses[200]:,}, 503: "
        f"{seen.statuses[503]}, broken off: {seen.statuses[0]}; lost beyond those in flight: {beyond}; "
        f"no answer for {quantile(gaps, 0.5):.2f} s (median), {max(gaps):.2f} s (longest)"
    )


async def capacity_of(served: Served, backend: str, work: str) -> float:
    """Return how many requests per second the service answers while some senders wait for each answer."""
    async with client(served) as session, loaded(session, backend, work) as seen:
        await asyncio.sleep(CAPACITY_S)
    return len(seen.answered_at_s) / CAPACITY_S


async def flood(url: str, rate: float, seconds: float) -> None:
    """Send at a rate, whatever becomes of it; print what did, as JSON. Run in a process of its own."""
    statuses, in_service_ms = Counter[int](), []

    async def one(session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(url) as answer:
                body = await answer.json(content_type=None)
                statuses[answer.status] += 1
                if answer.status == 200:
                    in_service_ms.append(body["timing_ms"]["total"])
        except (TimeoutError, aiohttp.ClientError):
            statuses[0] += 1

    async with client(str(URL(url).origin())) as session, asyncio.TaskGroup() as group:
        begun, sent = time.monotonic(), 0
        while (elapsed := time.monotonic() - begun) < seconds:
            for _ in range(int(elapsed * rate) - sent):
                group.create_task(one(session))
                sent += 1
            await asyncio.sleep(0.005)
    print(json.dumps({"sent": sent, "statuses": statuses, "in_service_ms": in_service_ms}))


def overload(backend: str, work: str, seconds: float) -> None:
    """Send five times as many requests as the service can answer, and ask for its health meanwhile."""
    with serving(*OPTIONS, f"--backends={backend}") as served:
        tree, url = served.tree(), str(served.ready["url"])
        capacity = asyncio.run(capacity_of(served, backend, work))
        before_mb, health_s, memory_mb = memory_kb(tree) / 1e3, list[float](), list[float]()
        order = ["--flood", f"{url}{path(backend, work)}", str(capacity * OVERLOAD), str(seconds)]
        with Child([sys.executable, __file__, *order], failure=LoadError) as sender:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                begun = time.monotonic()
                served.get("/healthz")
                health_s.append(time.monotonic() - begun)
                memory_mb.append(memory_kb(tree) / 1e3)
                time.sleep(0.1)
            found = sender.receive(60)
    statuses, times_ms = Counter(found["statuses"]), found["in_service_ms"]  # type: ignore[call-overload]
    bound_s = (BACKLOG + WORKERS) * seconds / statuses["200"]
    print(
        f"{work}, {OVERLOAD:g} x capacity ({capacity:.0f}/s) on {backend}: {float(str(found['sent'])) / seconds:.0f}/s sent, "
        f"{statuses['200']:,} answered, {statuses['503']:,} refused, {statuses['0']} broken off; in the service, p99 of those "
        f"accepted {quantile(times_ms, 0.99) / 1e3:.2f} s (the backlog at the rate of answers: {bound_s:.2f} s); "  # type: ignore[arg-type]
        f"/healthz at most {max(health_s):.2f} s of {len(health_s)}; memory {before_mb:.0f} MB before, {max(memory_mb):.0f} MB"
    )


async def limits(backend: str, seconds: float) -> None:
    """Send work that takes longer than a request may, and leave while other work waits or runs."""
    with serving(*OPTIONS, f"--backends={backend}", f"--time-limit={LIMIT_S}") as served:
        tree, over = served.tree(), asyncio.Event()
        before_mb = memory_kb(tree) / 1e3
        async with client(served) as session:
            async with loaded(session, backend, LONG) as seen:
                leaver = asyncio.create_task(leave(session, path(backend, LEFT), over, LEFT_WITHIN_S))
                await asyncio.sleep(seconds)
                over.set()
                left = await leaver
            begun = time.monotonic()
            while await abandoned(served):  # noqa: ASYNC110  it does not tell
                await asyncio.sleep(0.05)
            ended_s, after_mb = time.monotonic() - begun, memory_kb(tree) / 1e3
            after = Seen()
            await ask(session, path(backend, LIGHT), after)
    print(
        f"work of {2 * LIMIT_S:g} s with a limit of {LIMIT_S:g} s on {backend}: {seen.statuses[504]:,} of "
        f"{seen.statuses.total():,} answered 504, {seen.statuses[0]} broken off; {left:,} more left at random; what was abandoned had "
        f"ended {ended_s:.1f} s after; then {'200' if after.statuses[200] else 'NO ANSWER'}; memory {before_mb:.0f} MB before, "
        f"{after_mb:.0f} MB"
    )


async def abandoned(served: Served) -> float:
    """Return how many calls run, or wait to, that nobody waits for."""
    text = await asyncio.to_thread(scraped, str(served.ready["metrics_url"]))
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("gilscope_backend_abandoned_tasks{")
    )


async def ends(backend: str, count: int) -> None:
    """End services under load."""
    seen, codes = Counter[int](), []
    for _ in range(count):
        with serving(*OPTIONS, f"--backends={backend}") as served:
            async with client(served) as session, loaded(session, backend, leaving=True) as one:
                await asyncio.sleep(1)
                served.process.send_signal(signal.SIGTERM)
                codes.append((await asyncio.to_thread(served.end))[0])
            seen += one.statuses
    print(
        f"ended under load on {backend}: {count} times, exit codes {sorted(set(codes))}; {seen[200]:,} answered, "
        f"{seen[0] + seen[503]} lost"
    )


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0, help="of overload")
    parser.add_argument("--ends", type=int, default=5)
    parser.add_argument("--flood", nargs=3, metavar=("URL", "RATE", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        asyncio.run(flood(options.flood[0], float(options.flood[1]), float(options.flood[2])))
        return
    asyncio.run(kills(options.kills))
    for backend, work in HEAVY:
        overload(backend, work, options.seconds)
    for backend in POOLS:
        asyncio.run(limits(backend, options.seconds))
    for backend in POOLS:
        asyncio.run(ends(backend, options.ends))


if __name__ == "__main__":
    main()
