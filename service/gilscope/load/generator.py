"""The load generator: real Locust in a process of its own, told what to do by JSON lines.

``python -m gilscope.load.generator`` reads a trial's order from standard input, starts the users, warms up,
measures, writes the raw samples to the file that the order names, and keeps the load up until it is told to
stop, so that profiles can be taken under the very same load. It ends when its input does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from argparse import Namespace
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

import gevent
from gevent.fileobject import FileObjectPosix
from locust.env import Environment

from gilscope.load.orders import Order, Tally
from gilscope.load.recorder import Recorder
from gilscope.load.samples import write_samples
from gilscope.load.users import PROBE, WORK, ProbeUser, WorkUser
from gilscope.model import GeneratorLoad

_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Usage:
    """What this process has used: CPU seconds, and seconds in which it waited for a core."""

    at: float
    cpu_s: float
    runqueue_s: float

    @classmethod
    def now(cls) -> Usage:
        """Read the clocks. Without Linux's ``schedstat`` the wait for a core reads 0."""
        waited_ns = 0
        with contextlib.suppress(OSError):
            waited_ns = int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1])
        return cls(time.monotonic(), time.process_time(), waited_ns / 1e9)


def listen(environment: Environment, recorder: Recorder) -> None:
    """Record every answer of every user."""

    def on_request(name: str, response_time: float, exception: Exception | None, **details: Any) -> None:  # noqa: ANN401
        now = time.monotonic()
        response = details["response"]
        if name == PROBE:
            if exception is None:
                recorder.answered(details["context"]["due"], now)
        elif name == WORK and exception is None:
            recorder.work(now, response_time, response.headers["server-timing"])
        elif name == WORK:
            recorder.error(now, f"{exception}\n{response.text or ''}".strip())

    environment.events.request.add_listener(on_request)


def run(order: Order, commands: IO[bytes]) -> None:
    """Run one trial's load until the next line on ``commands``."""
    recorder = Recorder()
    work = type("Work", (WorkUser,), {"fixed_count": order.users})
    probe = type(
        "Probe",
        (ProbeUser,),
        {"rate": order.probe_rate, "seed": order.seed, "on_dispatch": staticmethod(recorder.dispatched)},
    )
    environment = Environment(user_classes=[work, probe], host=order.url)
    environment.parsed_options = Namespace(
        own_workload=order.workload, workload="", backend=order.backend, query=""
    )
    listen(environment, recorder)
    runner = environment.create_local_runner()
    count = order.users + 1
    try:
        runner.start(count, spawn_rate=count)
        gevent.sleep(order.warmup_s)
        tell({"event": "measuring"})
        tell(measure(order, recorder))
        commands.readline()
    finally:
        runner.quit()
    tell({"event": "stopped"})


def measure(order: Order, recorder: Recorder) -> dict[str, object]:
    """Measure one window under the running load; write its samples and return the rest."""
    before = Usage.now()
    gevent.sleep(order.seconds)
    after = Usage.now()
    window = before.at, after.at
    _await_pings(recorder, window, after.at + order.drain_s)
    recorder.closed = True
    length_s = after.at - before.at
    write_samples(Path(order.samples), recorder.samples(*window))
    tally = Tally(
        errors=recorder.errors(*window),
        first_error=recorder.first_error,
        probes_due=recorder.probes_due(*window),
        probes_answered=recorder.probes_answered(*window),
        generator=GeneratorLoad(
            cpu_share=(after.cpu_s - before.cpu_s) / length_s,
            runqueue_share=(after.runqueue_s - before.runqueue_s) / length_s,
            dispatch_lag_p99_ms=recorder.dispatch_lag_p99_ms(*window),
        ),
    )
    return {"event": "measured", **asdict(tally)}


def _await_pings(recorder: Recorder, window: tuple[float, float], deadline: float) -> None:
    while not recorder.settled(*window) and time.monotonic() < deadline:
        gevent.sleep(_POLL_S)


def tell(message: dict[str, object]) -> None:
    """Send one JSON line to whoever started us."""
    os.write(1, json.dumps(message).encode() + b"\n")


def main() -> int:
    """Carry out orders until the input ends."""
    commands = cast("IO[bytes]", FileObjectPosix(sys.stdin.fileno(), "rb"))
    tell({"event": "ready"})
    for line in commands:
        run(Order(**json.loads(line)), commands)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
