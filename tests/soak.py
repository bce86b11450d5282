"""Keep a service under load and kill its workers, for minutes; then look for what was lost and what was left. By hand:

    .venv/bin/python tests/soak.py --seconds 600 [--python PATH]

All backends of a Python work at once, subinterpreters where it has them; every few seconds a random worker process is killed. On
each backend some send work and wait for it, one sends work that takes longer than a request may, and one leaves at random before it
is answered. At the end, of each backend: requests sent are answers and counted failures, as the client and as the service
count them, and nothing runs that was abandoned. Of the service: the slopes of its threads, processes, open files and memory, its
own and that of all its processes, by least squares over the second half. Exit code 1 where something was lost, left or grew.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families
from served import Served, client, leave, memory_kb, serving

from gilscope.environments import prepare

WORK = {"primes": "n=500", "json_roundtrip": "kilobytes=20"}
LEFT, LEFT_WITHIN_S = "sha256?megabytes=1", 0.05
LIMIT_S = 1.0
LONG = f"deadly.rest_async?seconds={1.5 * LIMIT_S}"
"""What leavers ask for, and what takes too long: a coroutine on every backend, so that it does not keep the event loop."""

DEADLY = Path(__file__).parent / "targets" / "deadly.py"
SENDERS = 3
LOOK_S = 2.0
MOST_KB_PER_MINUTE, LEAST_KB = 1_024.0, 5_120.0
"""A service that grows by more is said to leak: what fragmentation adds in ten minutes is below that. In a short soak, it has to be
so much altogether."""


class Look(NamedTuple):
    """The service at a moment: seconds since the start, threads and open files of its own process, processes, KB of its own and
    those that all of them have for themselves."""

    at_s: float
    threads: float
    files: float
    processes: float
    kilobytes: float
    kilobytes_of_all: float


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


async def ask(session: aiohttp.ClientSession, place: str, tally: Tally) -> None:
    """Request something once."""
    tally.sent += 1
    try:
        async with session.get(place) as answer:
            await answer.read()
            tally.statuses[answer.status] += 1
    except (TimeoutError, aiohttp.ClientError):
        tally.broken += 1


async def send(session: aiohttp.ClientSession, backend: str, tally: Tally, over: asyncio.Event) -> None:
    """Request one piece of work after the other."""
    while not over.is_set():
        workload, query = random.choice(list(WORK.items()))
        await ask(session, f"/work/{workload}/{backend}?{query}", tally)


async def send_long(session: aiohttp.ClientSession, backend: str, tally: Tally, over: asyncio.Event) -> None:
    """Request what takes too long, again and again."""
    while not over.is_set():
        await ask(session, place_of(LONG, backend), tally)


def place_of(work: str, backend: str) -> str:
    """Return where work is, of its name and its query."""
    workload, _, query = work.partition("?")
    return f"/work/{workload}/{backend}?{query}"


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
                memory_kb([root, *root.children(recursive=True)], "uss"),
            )
        )
    return looks


async def counted(served: Served) -> tuple[Counter[tuple[str, int]], dict[str, float]]:
    """Return what the service has counted of those who waited, by backend and status; and what runs on abandoned."""
    found, abandoned = Counter[tuple[str, int]](), {}
    async with aiohttp.ClientSession() as session, session.get(str(served.ready["metrics_url"])) as answer:
        text = await answer.text()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "gilscope_backend_abandoned_tasks":
                abandoned[labels["backend"]] = sample.value
            is_count = sample.name == "gilscope_request_duration_seconds_count"
            if is_count and labels["workload"] != LEFT.partition("?")[0]:
                found[labels["backend"], int(labels["status"])] += int(sample.value)
    return found, abandoned


async def soak(served: Served, seconds: float, every_s: float) -> bool:
    """Do it all; print what was found, and return whether it is as it should be."""
    backends = list(served.ready["backends"])  # type: ignore[call-overload]
    tallies = {backend: Tally() for backend in backends}
    root, over = psutil.Process(served.process.pid), asyncio.Event()
    async with client(served, timeout_s=60) as session, asyncio.TaskGroup() as group:
        for backend, tally in tallies.items():
            for _ in range(SENDERS):
                group.create_task(send(session, backend, tally, over))
            group.create_task(send_long(session, backend, tally, over))
        leavers = [
            group.create_task(leave(session, place_of(LEFT, backend), over, LEFT_WITHIN_S))
            for backend in backends
        ]
        killer = group.create_task(kill(root, every_s, over))
        watcher = group.create_task(watch(root, over))
        await asyncio.sleep(seconds)
        over.set()
    await asyncio.sleep(2 * LIMIT_S)  # what was abandoned last ends
    service, abandoned = await counted(served)
    told = [_tell(backend, tally, service) for backend, tally in tallies.items()]
    print(f"{sum(leaver.result() for leaver in leavers):,} more left, most of them before they were answered")
    print(f"abandoned and still running: {abandoned}{'  <- LEFT' if any(abandoned.values()) else ''}")
    print(f"{killer.result()} workers killed in {seconds:g} s")
    return all([*told, not any(abandoned.values()), _tell_slopes(watcher.result())])


def _tell(backend: str, tally: Tally, service: Mapping[tuple[str, int], int]) -> bool:
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
        print(f"{name:<17}{slope:>+9.2f} per minute ({min(values):,.0f} to {max(values):,.0f})")
    grown = [name for name in ("threads", "files", "processes") if slopes[name] > 1]
    most = max(MOST_KB_PER_MINUTE, LEAST_KB * 60 / (settled[-1].at_s - settled[0].at_s))
    grown += [name for name in ("kilobytes", "kilobytes_of_all") if slopes[name] > most]
    print(f"grown: {', '.join(grown) or 'nothing'}")
    return not grown


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--kill-every", type=float, default=3.0, metavar="S")
    parser.add_argument(
        "--python",
        metavar="PATH",
        help="that the service runs on, in an environment as compare --python makes it",
    )
    options = parser.parse_args()
    python = prepare([options.python], print)[0].executable if options.python else sys.executable
    workloads = [f"--workload={name}" for name in (*WORK, LEFT.partition("?")[0], f"{DEADLY}:rest_async")]
    with serving(*workloads, "--pool-size=2", f"--time-limit={LIMIT_S}", python=python) as served:
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
