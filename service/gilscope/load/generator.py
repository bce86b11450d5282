"""The load generator: real Locust in a process of its own, told what to do by JSON lines.

``python -m gilscope.load.generator`` reads a trial's order from standard input, starts the users, warms up,
measures, writes the raw samples to the file that the order names, and keeps the load up until it is told to
stop, so that profiles can be taken under the very same load. It ends when its input does. With ``--workers`` it is a
Locust master, and its workers send the load.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Protocol, cast

import cattrs
import gevent
from gevent.fileobject import FileObjectPosix
from locust.env import Environment

from gilscope.address import split_address
from gilscope.load.crew import Crew
from gilscope.load.orders import Measured, Order
from gilscope.load.samples import write_samples
from gilscope.load.session import Part, Session


class Load(Protocol):
    """One trial's load, from one process or from several."""

    def begin(self) -> None:
        """Start the users."""
        ...

    def measure(self) -> Measured:
        """Measure one window."""
        ...

    def end(self) -> None:
        """Stop the users."""
        ...


class Shared:
    """One trial's load from a crew."""

    def __init__(self, crew: Crew, order: Order) -> None:
        self._crew, self._order = crew, order

    def begin(self) -> None:
        """Have all workers start."""
        self._crew.begin(self._order)

    def measure(self) -> Measured:
        """Have all workers measure."""
        return self._crew.measure(self._order)

    def end(self) -> None:
        """Have all workers stop."""
        self._crew.end()


def alone(order: Order) -> Load:
    """Return the load of a single process: this one."""
    environment = Environment(user_classes=[])
    environment.create_local_runner()
    return Session(environment, order, Part())


def run(order: Order, load: Load, commands: IO[bytes]) -> None:
    """Run one trial's load until the next line on ``commands``."""
    try:
        load.begin()
        gevent.sleep(order.warmup_s)
        tell({"event": "measuring"})
        measured = load.measure()
        write_samples(Path(order.samples), measured.samples)
        tell({"event": "measured", **asdict(measured.tally)})
        commands.readline()
    finally:
        load.end()
    tell({"event": "stopped"})


def tell(message: dict[str, Any]) -> None:
    """Send one JSON line to whoever started us."""
    os.write(1, json.dumps(message).encode() + b"\n")


def main() -> int:
    """Carry out orders until the input ends."""
    parser = argparse.ArgumentParser(prog="python -m gilscope.load.generator", description=__doc__)
    parser.add_argument("--workers", type=int, default=0, help="share the load among so many Locust workers")
    parser.add_argument("--master", type=split_address, metavar="HOST:PORT", help="wait for them there")
    parser.add_argument("--assemble-s", type=float, default=60.0, help="for how long to wait for them")
    options = parser.parse_args()
    commands = cast("IO[bytes]", FileObjectPosix(sys.stdin.fileno(), "rb"))
    make: Callable[[Order], Load] = alone
    with ExitStack() as stack:
        if options.workers:
            host, port = options.master or ("127.0.0.1", 0)
            crew = Crew(host, port, options.workers, spawn=options.master is None)
            stack.callback(crew.dismiss)
            crew.assemble(options.assemble_s)

            def make(order: Order) -> Load:
                return Shared(crew, order)

        tell({"event": "ready"})
        for line in commands:
            order = cattrs.structure(json.loads(line), Order)
            run(order, make(order), commands)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
