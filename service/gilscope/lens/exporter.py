"""The lens as a Prometheus exporter: in a process of its own, so that the one it watches pays nothing for it.

``python -m gilscope.lens.exporter --host HOST --port N`` prints ``{"pid", "metrics_url"}``, reads one order from
standard input, ``{"watch": PID}``, and answers with ``{"python": "3.13.0"}``. Where it cannot, the answer is
``{"error", "remedy", "exit_code"}``, the last as of :mod:`gilscope.errors`. It ends when its input does, and when the
process that it watches does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gilscope.errors import GilscopeError, LensError, UsageError
from gilscope.lens.sampler import SETTLE_S, Sampler, Timer
from gilscope.lens.totals import Totals, nothing_yet
from gilscope.lens.watch import ThreadSpan, Watch
from gilscope.limits import allow_many_files
from gilscope.model import StateSeconds, ThreadRole


@dataclass(frozen=True, slots=True)
class Reading:
    """What the lens has seen so far. ``seconds`` are of all threads that ever were, ``living`` counts those that are.

    ``inside`` are those inside the measured function. ``processes`` are watched at present; ``tells_holders`` says whether it
    is known for how long GILs were held.
    """

    seconds: Mapping[ThreadRole, StateSeconds] = field(default_factory=nothing_yet)
    living: Mapping[ThreadRole, int] = field(default_factory=dict)
    processes: int = 0
    looks: int = 0
    tells_holders: bool = False
    inside: Mapping[ThreadRole, StateSeconds] = field(default_factory=nothing_yet)

    @classmethod
    def of(cls, totals: Totals, living: Sequence[ThreadSpan], watch: Watch) -> Reading:
        """Take the totals as they are now."""
        roles, pids = Counter(thread.role for thread in living), {thread.pid for thread in living}
        return cls(
            dict(totals.seconds), roles, len(pids), watch.looks, watch.tells_holders, dict(totals.inside)
        )


class LensCollector(Collector):
    """Exposes the latest reading, which one thread replaces as a whole and the threads of the scrapes read."""

    def __init__(self) -> None:
        self.reading = Reading()

    def collect(self) -> Iterator[Metric]:
        """Expose seconds, and what tells whether to trust them."""
        reading = self.reading
        yield _states(
            "gilscope_thread_state_seconds",
            "Time that all threads of a role spent on a CPU, waiting for the GIL, ready but without a CPU, and blocked: "
            "together their wall time, settled once a second.",
            reading.seconds,
        )
        yield _states(
            "gilscope_call_state_seconds",
            "Of gilscope_thread_state_seconds, what was spent inside the function of a workload.",
            reading.inside,
        )
        if reading.tells_holders:
            yield _held(reading.seconds)
        yield from _trust(reading)


def _states(name: str, meaning: str, seconds: Mapping[ThreadRole, StateSeconds]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=["role", "state"])
    for role, spent in seconds.items():
        family.add_metric([role, "on_cpu"], spent.on_cpu_s)
        family.add_metric([role, "gil_wait"], spent.gil_wait_s)
        family.add_metric([role, "runqueue"], spent.runqueue_s)
        family.add_metric([role, "blocked"], spent.blocked_s)
    return family


def _held(seconds: Mapping[ThreadRole, StateSeconds]) -> Metric:
    family = CounterMetricFamily(
        "gilscope_gil_held_seconds",
        "Time that threads of a role held a GIL, on a CPU or not (Python 3.13 and newer).",
        labels=["role"],
    )
    for role, spent in seconds.items():
        family.add_metric([role], spent.gil_held_s or 0.0)
    return family


def _trust(reading: Reading) -> Iterable[Metric]:
    threads = GaugeMetricFamily("gilscope_lens_watched_threads", "Threads being watched.", labels=["role"])
    for role in ThreadRole:
        threads.add_metric([role], reading.living.get(role, 0))
    return (
        threads,
        GaugeMetricFamily(
            "gilscope_lens_watched_processes",
            "Processes being watched: the service and its children, 0 before it is ready.",
            reading.processes,
        ),
        CounterMetricFamily("gilscope_lens_looks", "Looks taken at all threads.", reading.looks),
        CounterMetricFamily(
            "gilscope_lens_cpu_seconds", "CPU time of the lens's own process.", time.process_time()
        ),
    )


def observe(watch: Watch, collector: LensCollector, timer: Timer) -> None:
    """Watch, and have the collector expose what was seen, a second at a time.

    Raises:
        LensError: the watched process has ended.
    """
    sampler, totals = Sampler(watch, timer=timer), Totals()
    while True:
        ended, living = watch.take_ended(), watch.threads()
        totals.add(ended, living)
        collector.reading = Reading.of(totals, living, watch)
        sampler.run(SETTLE_S)


def pause(seconds: float) -> None:
    """Sleep, on standard input: it is what this process hangs on.

    Raises:
        EOFError: it has ended.
    """
    ready, _, _ = select.select([0], [], [], seconds)
    if ready and not os.read(0, 4_096):
        raise EOFError("standard input has ended")


def serve(collector: LensCollector, host: str, port: int) -> str:
    """Serve from a thread that ends with the process; return the URL (port 0 takes a free one).

    Raises:
        UsageError: the port cannot be listened on.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        server, _thread = start_http_server(port, host, registry)
    except OSError as problem:
        raise UsageError(
            f"the lens cannot listen on port {port} of {host}: {problem.strerror or problem}",
            remedy="another --lens-port; 0 takes a free one",
        ) from None
    address = str(server.server_address[0])
    return f"http://{f'[{address}]' if ':' in address else address}:{server.server_port}/metrics"


def _begin(answers: int, collector: LensCollector, arguments: Sequence[str] | None) -> Watch | None:
    """Say where the metrics are, and begin to watch as soon as told what; None where the input ends before."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args(arguments)
    _answer(answers, {"metrics_url": serve(collector, options.host, options.port), "pid": os.getpid()})
    order = sys.stdin.readline()
    if not order:
        return None
    watch = Watch(json.loads(order)["watch"], family=True)
    _answer(answers, {"python": watch.python})
    return watch


def _answer(descriptor: int, message: Mapping[str, object]) -> None:
    os.write(descriptor, json.dumps(message).encode() + b"\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Export until the input or the watched process ends; return the exit code."""
    answers = os.dup(1)
    os.dup2(2, 1)
    allow_many_files()
    collector = LensCollector()
    try:
        watch = _begin(answers, collector, arguments)
    except GilscopeError as problem:
        told = {"error": problem.message, "remedy": problem.remedy, "exit_code": problem.exit_code}
        _answer(answers, told)
        return problem.exit_code
    if watch is not None:
        # Both are how this is meant to end.
        with contextlib.closing(watch), contextlib.suppress(EOFError, LensError):
            observe(watch, collector, Timer(sleep=pause))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
