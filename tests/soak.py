"""Keep a service under load and kill its workers, for minutes; then look for what was lost and what was left. By hand:

    .venv/bin/python tests/soak.py --seconds 600

All backends of this Python work at once, and every few seconds a random worker process is killed. At the end, of each
backend: requests sent are answers and counted failures, as the client and as the service count them. Of the service: the
slopes of its threads, processes, open files and memory, by least squares over the second half. Exit code 1 where something
was lost, left or grew.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families
from served import Served, serving

WORK = {"primes": "n=500", "json_roundtrip": "kilobytes=20"}
SENDERS = 3
LOOK_S = 2.0
MOST_KB_PER_MINUTE = 1_024.0
"""A service that grows by more is said to leak: what fragmentation adds in ten minutes is below that."""


class Look(NamedTuple):
    """The service at a moment: seconds since the start, threads and open files of its own process, processes, KB."""

    at_s: float
    threads: float
    files: float
    processes: float
    kilobytes: float


@dataclass
class Tally:
    """What became of one backend's requests; ``broken`` connections have no status."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0


def slope_per_minute(looks: Sequence[Look], of: Callable[[Look], float]) -> float:
    """Return by how much a figure grows in a minute: least squares."""
    times, values = [look.at_s for look in looks], [of(look) for look in looks]
    mid_s, mid = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at_s - mid_s) ** 2 for at_s in times)
    return (
        60 * sum((at_s - mid_s) * (value - mid) for at_s, value in zip(times, values, strict=True)) / spread
    )


async def send(session: aiohttp.ClientSession, backend: str, tally: Tally, over: asyncio.Event) -> None:
    """Request one piece of work after the other."""
    while not over.is_set():
        workload, query = random.choice(list(WORK.items()))
        tally.sent += 1
        try:
            async with session.get(f"/work/{workload}/{backend}?{query}") as answer:
                await answer.read()
                tally.statuses[answer.status] += 1
        except aiohttp.ClientError:
            tally.broken += 1


async def kill(root: psutil.Process, every_s: float, over: asyncio.Event) -> int:
    """Kill a random worker now and then; return how many."""
    killed = 0
    while not over.is_set():
        await asyncio.sleep(every_s)
        workers = [child for child in root.children(recursive=True) if _is_worker(child)]
        if workers:
            os.kill(random.choice(workers).pid, signal.SIGKILL)
            killed += 1
    return killed


def _is_worker(process: psutil.Process) -> bool:
    """Tell the pool's workers from their fork server, and both from everything else."""
    try:
        parent = process.parent()
        return "forkserver" in " ".join(process.cmdline()) and parent is not None and _is_server(parent)
    except psutil.Error:
        return False


def _is_server(process: psutil.Process) -> bool:
    return "forkserver" in " ".join(process.cmdline())


async def watch(root: psutil.Process, over: asyncio.Event) -> list[Look]:
    """Look at the service until it is over."""
    begun, looks = time.monotonic(), []
    while not over.is_set():
        await asyncio.sleep(LOOK_S)
        looks.append(
            Look(
                time.monotonic() - begun,
                root.num_threads(),
                root.num_fds(),
                len(root.children(recursive=True)),
                root.memory_info().rss / 1_024,
            )
        )
    return looks


async def counted(served: Served) -> dict[tuple[str, int], int]:
    """Return what the service has counted, by backend and status."""
    found: Counter[tuple[str, int]] = Counter()
    async with aiohttp.ClientSession() as session, session.get(str(served.ready["metrics_url"])) as answer:
        text = await answer.text()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "gilscope_request_duration_seconds_count" and sample.value:
                found[sample.labels["backend"], int(sample.labels["status"])] += int(sample.value)
    return found


async def soak(served: Served, seconds: float, every_s: float) -> bool:
    """Do it all; print what was found, and return whether it is as it should be."""
    backends = list(served.ready["backends"])  # type: ignore[call-overload]
    tallies = {backend: Tally() for backend in backends}
    root, over = psutil.Process(served.process.pid), asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(str(served.ready["url"]), timeout=timeout) as session:
        senders = [
            asyncio.create_task(send(session, backend, tally, over))
            for backend, tally in tallies.items()
            for _ in range(SENDERS)
        ]
        killer, watcher = (
            asyncio.create_task(kill(root, every_s, over)),
            asyncio.create_task(watch(root, over)),
        )
        await asyncio.sleep(seconds)
        over.set()
        await asyncio.gather(*senders)
        killed, looks = await asyncio.gather(killer, watcher)
    told = [_tell(backend, tally, await counted(served)) for backend, tally in tallies.items()]
    print(f"{killed} workers killed in {seconds:g} s")
    return all([*told, _tell_slopes(looks)])


def _tell(backend: str, tally: Tally, service: dict[tuple[str, int], int]) -> bool:
    answered = sum(tally.statuses.values())
    same = all(service.get((backend, status), 0) == count for status, count in tally.statuses.items())
    statuses = ", ".join(f"{count:,} x {status}" for status, count in sorted(tally.statuses.items()))
    fine = tally.sent == answered and not tally.broken and same
    print(
        f"{backend:<13}{tally.sent:>9,} sent, {answered:,} answered ({statuses}), {tally.broken} broken off; "
        f"the service counts {'the same' if same else 'otherwise'}{'' if fine else '  <- LOST'}"
    )
    return fine


def _tell_slopes(looks: Sequence[Look]) -> bool:
    settled = looks[len(looks) // 2 :]
    slopes = {name: slope_per_minute(settled, attrgetter(name)) for name in Look._fields[1:]}
    for name, slope in slopes.items():
        values = [getattr(look, name) for look in settled]
        print(f"{name:<13}{slope:>+9.2f} per minute ({min(values):,.0f} to {max(values):,.0f})")
    grown = [name for name in ("threads", "files", "processes") if slopes[name] > 1]
    if slopes["kilobytes"] > MOST_KB_PER_MINUTE:
        grown.append("kilobytes")
    print(f"grown: {', '.join(grown) or 'nothing'}")
    return not grown


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--kill-every", type=float, default=3.0, metavar="S")
    options = parser.parse_args()
    workloads = [f"--workload={name}" for name in WORK]
    with serving(*workloads, "--pool-size=2") as served:
        tree = served.tree()
        fine = asyncio.run(soak(served, options.seconds, options.kill_every))
        tree += [process for process in served.tree() if process not in tree]
        served.process.send_signal(signal.SIGTERM)
        code, _, err = served.end()
        _, left = psutil.wait_procs(tree, timeout=20)
    print(f"ended with exit code {code}, {len(left)} processes left")
    if err:
        print(err, file=sys.stderr)
    return 0 if fine and code == 0 and not left and "Traceback" not in err else 1


if __name__ == "__main__":
    sys.exit(main())
