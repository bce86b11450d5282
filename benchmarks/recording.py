"""What recording every request costs Locust: nanoseconds per record, and requests per second with and without it.

First, how long one ``Histogram.record`` and one ``Recorder.work`` take in a tight loop. Then real Locust, with
``FastHttpUser`` in a closed loop, against an aiohttp service in another process that does nothing but answer with
a ``Server-Timing`` header like ours. The users run all the time; in turns, in pairs of shuffled order, a listener
is there that does all that recording takes (``Recorder.work``, which reads the header, and two
``Histogram.record``) or is not. The ratio of a pair is of requests per second, with by without: 1 is for free.
So is that of the CPU time that a request took Locust, without by with, which a busy machine disturbs less.
The interval is the sign test's for the median, which assumes nothing but that pairs are independent.

    python benchmarks/recording.py [--pairs 200] [--seconds 0.6] [--users 16]

Many short pairs, since a machine's speed changes by the second.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from statistics import median
from typing import Any

from gilscope.child import Child
from gilscope.errors import ServiceError
from gilscope.histogram import Histogram
from gilscope.load.recorder import Recorder

START_S = 60.0
WARM_UP_S = 3.0
SETTLE_S = 0.2
"""Requests that began under the other listener are over by then."""

AIM = 0.90
CONFIDENCE = 0.95
LOOPS = 100_000
REPEATS = 15
BODY = {"workload": "noop", "backend": "asyncio", "result": None, "pid": 4242, "timing_ms": {"total": 0.0567}}
TIMING = "queue;dur=0.0123, run;dur=0.0031, cpu;dur=0.0029, suspended;dur=0.0000, return;dur=0.0104, total;dur=0.0567"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: requests per second, and CPU time per request of Locust's process."""

    rps: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two turns in a row."""

    recorded: Turn
    bare: Turn


@dataclass(slots=True)
class Listener:
    """Does with each request what recording it takes."""

    recorder: Recorder = field(default_factory=Recorder)
    response: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)

    def on_request(self, response_time: float, exception: Exception | None, **details: Any) -> None:  # noqa: ANN401
        """Record an answer; Locust calls this for each."""
        now = time.monotonic()
        if exception is None:
            self.recorder.work(now, response_time, details["response"].headers["server-timing"])
            self.response.record(response_time)
            self.service.record(response_time)


def serve() -> None:
    """Answer every request at once, on a free port, until standard input ends."""
    import asyncio  # noqa: PLC0415  with ssl, which gevent patches in Locust's process

    from aiohttp import web  # noqa: PLC0415

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(BODY, headers={"Server-Timing": TIMING})

    async def until_the_end() -> None:
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
        await runner.cleanup()

    asyncio.run(until_the_end())


def nanoseconds(record: Callable[[float], object]) -> float:
    """Return the CPU time of one call, loop and call included: the least of several passes, the least disturbed."""
    latencies = [random.lognormvariate(1, 1) for _ in range(LOOPS)]
    passes = []
    for _ in range(REPEATS):
        before = time.process_time_ns()
        for latency in latencies:
            record(latency)
        passes.append(time.process_time_ns() - before)
    return min(passes) / LOOPS


def compare(url: str, options: argparse.Namespace) -> list[Pair]:
    """Load the service with Locust, in turns with and without the listener."""
    from locust import FastHttpUser, constant, task  # noqa: PLC0415  gevent patches, and not the service's process

    # isort: split
    import gevent  # noqa: PLC0415
    from locust.env import Environment  # noqa: PLC0415

    class User(FastHttpUser):
        host = url
        wait_time = constant(0)

        @task
        def ask(self) -> None:
            self.client.get("/")

    environment = Environment(user_classes=[User])
    runner = environment.create_local_runner()

    def turn() -> Turn:
        gevent.sleep(SETTLE_S)
        begun, cpu_s, requests = time.monotonic(), time.process_time(), environment.stats.total.num_requests
        gevent.sleep(options.seconds)
        answered = environment.stats.total.num_requests - requests
        return Turn(
            answered / (time.monotonic() - begun), (time.process_time() - cpu_s) / max(1, answered) * 1e6
        )

    def recorded_turn() -> Turn:
        listener = Listener()
        environment.events.request.add_listener(listener.on_request)
        result = turn()
        environment.events.request.remove_listener(listener.on_request)
        if min(listener.response.count, listener.service.count) < result.rps * options.seconds:
            raise SystemExit("the listener has missed requests: see Locust's log above")
        return result

    runner.start(options.users, spawn_rate=options.users)
    try:
        gevent.sleep(WARM_UP_S)
        pairs = []
        for _ in range(options.pairs):
            order = [("recorded", recorded_turn), ("bare", turn)]
            random.shuffle(order)
            pairs.append(Pair(**{name: take() for name, take in order}))
    finally:
        runner.quit()
    if environment.stats.total.num_failures:
        raise SystemExit(
            f"{environment.stats.total.num_failures} requests failed: {environment.stats.errors}"
        )
    return pairs


def sign_interval(values: list[float]) -> tuple[float, float, float]:
    """Return the narrowest interval of order statistics that holds the median with :data:`CONFIDENCE`.

    The third figure is its confidence: more than asked for, or less, where there are too few values for that.
    """
    ordered, count = sorted(values), len(values)
    tail, cut = 0.0, 0
    while cut < (count - 1) // 2 and 2 * (tail + math.comb(count, cut) / 2**count) <= 1 - CONFIDENCE:
        tail += math.comb(count, cut) / 2**count
        cut += 1
    cut = max(cut, 1)
    confidence = 1 - 2 * sum(math.comb(count, index) for index in range(cut)) / 2**count
    return ordered[cut - 1], ordered[-cut], confidence


def row(label: str, pairs: list[Pair], figure: Callable[[Turn], float], ratios: list[float]) -> str:
    """Write a figure's medians, and the median of the pairs' ratios with its interval."""
    recorded = median(figure(pair.recorded) for pair in pairs)
    bare = median(figure(pair.bare) for pair in pairs)
    low, high, _ = sign_interval(ratios)
    return f"{label:<24}{recorded:>10,.0f}{bare:>10,.0f}{median(ratios):>9.3f} ({low:.3f} to {high:.3f})"


def report(pairs: list[Pair], options: argparse.Namespace) -> None:
    """Print the table and what it says."""
    rates = [pair.recorded.rps / pair.bare.rps for pair in pairs]
    costs = [pair.bare.cpu_us / pair.recorded.cpu_us for pair in pairs]
    _, _, confidence = sign_interval(rates)
    print(
        f"Locust, {options.users} users, {options.pairs} pairs of {options.seconds:g} s; medians, and in brackets"
    )
    print(f"the {confidence:.1%} interval of the ratio's")
    print(f"{'':<24}{'recorded':>10}{'bare':>10}{'ratio':>9}")
    print(row("requests per second", pairs, attrgetter("rps"), rates))
    print(row("CPU us per request", pairs, attrgetter("cpu_us"), costs))
    print(
        f"With everything recorded Locust keeps {median(rates):.1%} of its requests per second: {verdict(rates)}."
    )


def verdict(rates: list[float]) -> str:
    """Say whether the aim is reached, as far as the interval allows."""
    low, high, _ = sign_interval(rates)
    if low > AIM:
        return f"above {AIM:.0%}"
    if high < AIM:
        return f"below {AIM:.0%}"
    return f"above or below {AIM:.0%}, the interval leaves that open (try more --pairs, or a quieter machine)"


def main() -> None:
    """Print what a record takes, then what Locust loses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.6)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--serve", action="store_true", help="be the service that is asked")
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    recorder = Recorder()
    print(f"Histogram.record {nanoseconds(Histogram().record):>6,.0f} ns")
    print(f"Recorder.work    {nanoseconds(lambda latency: recorder.work(1.0, latency, TIMING)):>6,.0f} ns")
    with Child([sys.executable, __file__, "--serve"], failure=ServiceError) as service:
        pairs = compare(str(service.receive(START_S)["url"]), options)
    report(pairs, options)


if __name__ == "__main__":
    main()
