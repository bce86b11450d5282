"""How a service fails: a worker killed under load, five times the load that it can take, and its end under load.

    python benchmarks/survival.py [--kills 10] [--seconds 10] [--ends 5]

Each on a fresh ``gilscope serve`` with two workers per pool, on threads and on processes. Prints, in this order: of workers killed
(processes), how many requests were lost beyond those in flight, and for how long no request of the backend was answered; of
overload, what became of the requests, the p99 of those accepted against the bound that the backlog sets, the slowest ``/healthz`` and
by how much memory grew; of ends, how many requests were neither answered nor refused.
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

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from served import Served, serving

from gilscope.child import Child
from gilscope.errors import LoadError
from gilscope.quantiles import quantile

LIGHT = "primes?n=3000"
HEAVY = (("threads", "sha256?megabytes=8"), ("threads", "primes?n=20000"), ("processes", "primes?n=20000"))
"""Overloaded: five times the capacity has to be less than what the event loop can refuse, some 2,000 a second. In threads
``sha256`` releases the GIL, and ``primes`` keeps the loop waiting for it at each of its system calls."""

WORKERS, BACKLOG, SENDERS = 2, 50, 4
OVERLOAD = 5.0
CAPACITY_S = 3.0
OPTIONS = ("--workload=primes", "--workload=sha256", f"--pool-size={WORKERS}", f"--backlog={BACKLOG}")


@dataclass
class Seen:
    """Statuses, 0 for a connection that broke; latencies (s) and moments (s) of those that succeeded."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    answered_at_s: list[float] = field(default_factory=list)


@asynccontextmanager
async def client(served: Served) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client with as many connections as it takes."""
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(
        str(served.ready["url"]), connector=connector, timeout=timeout
    ) as session:
        yield session


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
    except aiohttp.ClientError:
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
async def loaded(session: aiohttp.ClientSession, backend: str, work: str = LIGHT) -> AsyncIterator[Seen]:
    """Have some senders at work for the block."""
    seen, over = Seen(), asyncio.Event()
    senders = [asyncio.create_task(send(session, path(backend, work), seen, over)) for _ in range(SENDERS)]
    try:
        yield seen
    finally:
        over.set()
        await asyncio.gather(*senders)


def workers(served: Served) -> list[psutil.Process]:
    """Return the pool's worker processes: those that a fork server has started."""
    every = [child for child in served.tree() if "forkserver" in " ".join(child.cmdline())]
    servers = {child.pid for child in every}
    return [child for child in every if child.ppid() in servers]


async def kills(count: int) -> None:
    """Kill workers under load."""
    with serving(*OPTIONS, "--backends=processes") as served:
        gaps, lost, before = [], [], 0
        async with client(served) as session, loaded(session, "processes") as seen:
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
        except aiohttp.ClientError:
            statuses[0] += 1

    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=60)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        asyncio.TaskGroup() as group,
    ):
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
        process, url = psutil.Process(served.process.pid), str(served.ready["url"])
        capacity = asyncio.run(capacity_of(served, backend, work))
        before_mb, health_s, memory_mb = process.memory_info().rss / 1e6, list[float](), list[float]()
        order = ["--flood", f"{url}{path(backend, work)}", str(capacity * OVERLOAD), str(seconds)]
        with Child([sys.executable, __file__, *order], failure=LoadError) as sender:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                begun = time.monotonic()
                served.get("/healthz")
                health_s.append(time.monotonic() - begun)
                memory_mb.append(process.memory_info().rss / 1e6)
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


async def ends(backend: str, count: int) -> None:
    """End services under load."""
    seen, codes = Counter[int](), []
    for _ in range(count):
        with serving(*OPTIONS, f"--backends={backend}") as served:
            async with client(served) as session, loaded(session, backend) as one:
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
    for backend in ("threads", "processes"):
        asyncio.run(ends(backend, options.ends))


if __name__ == "__main__":
    main()
