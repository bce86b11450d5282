"""The load generator: real Locust in a process of its own, told what to do by JSON lines.

``python -m gilscope.load.generator`` reads a trial's order from standard input, starts the users, warms up,
measures, writes the raw samples to the file that the order names, and keeps the load up until it is told to
stop, so that profiles can be taken under the very same load. It ends when its input does, within a window too. With ``--workers`` it is a
Locust master, and its workers send the load.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

import cattrs
import gevent
from gevent.fileobject import FileObjectPosix
from gevent.queue import Queue
from locust.env import Environment

from gilscope.address import split_address
from gilscope.load.crew import Crew, CrewError
from gilscope.load.orders import Measured, Order
from gilscope.load.samples import write_samples
from gilscope.load.session import Part, Session, give_way

if TYPE_CHECKING:
    from greenlet import greenlet


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


def run(order: Order, load: Load, commands: Queue[bytes]) -> None:
    """Run one trial's load until the next line of ``commands``. Where it fails, this process ends, and the load with it."""
    load.begin()
    gevent.sleep(order.warmup_s)
    tell({"event": "measuring"})
    measured = load.measure()
    tell(_written(order, measured))
    commands.get()
    load.end()
    tell({"event": "stopped"})


def _written(order: Order, measured: Measured) -> dict[str, Any]:
    """Write the raw samples, and return what is to be told: what was measured, or why they could not be written."""
    try:
        write_samples(Path(order.samples), measured.samples, give_way)
    except OSError as problem:
        return {"event": "unwritten", "errno": problem.errno, "problem": problem.strerror or str(problem)}
    return {"event": "measured", **asdict(measured.tally)}


def listen(source: IO[bytes], commands: Queue[bytes], listener: greenlet) -> None:
    """Pass lines on until there are no more, and then end ``listener`` in whatever it does: nobody waits for it."""
    for line in source:
        commands.put(line)
    gevent.kill(listener)


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
    commands: Queue[bytes] = Queue()
    source = cast("IO[bytes]", FileObjectPosix(sys.stdin.fileno(), "rb"))
    gevent.spawn(listen, source, commands, gevent.getcurrent())
    try:
        with suppress(gevent.GreenletExit):
            carry_out_all(options, commands)
    except CrewError as problem:  # Who is left of the crew has been told to end.
        tell({"event": "crewless", "problem": str(problem)})
        return 1
    return 0


def carry_out_all(options: argparse.Namespace, commands: Queue[bytes]) -> None:
    """Carry out one order after the other, in this process alone or with a crew."""
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
        while True:
            order = cattrs.structure(json.loads(commands.get()), Order)
            run(order, make(order), commands)


if __name__ == "__main__":
    raise SystemExit(main())
