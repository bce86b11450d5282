"""A Locust worker that takes orders from a comparison.

``python -m gilscope.load.worker HOST:PORT`` connects to the master of ``gilscope compare --load-master HOST:PORT``, from
this machine or another one, serves trial after trial and ends when the master does.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import cattrs
import gevent
from gevent.fileobject import FileObjectPosix
from locust.env import Environment

from gilscope import __version__
from gilscope.address import split_address
from gilscope.load.crew import ANSWER, BEGIN, END, MEASURE
from gilscope.load.orders import Order
from gilscope.load.pieces import pieces_of
from gilscope.load.session import Part, Session, give_way

if TYPE_CHECKING:
    from locust.rpc import Message
    from locust.runners import WorkerRunner


class Attendant:
    """Carries out the master's orders with the users of one Locust environment."""

    def __init__(self, environment: Environment, runner: WorkerRunner) -> None:
        self._environment = environment
        self._runner = runner
        self._session: Session | None = None
        for message, act in ((BEGIN, self._begin), (MEASURE, self._measure), (END, self._end)):
            runner.register_message(message, self._answering(act), concurrent=True)

    def _answering(self, act: Callable[[dict[str, Any]], Iterator[dict[str, Any]]]) -> Callable[..., None]:
        def carry_out(environment: Environment, msg: Message) -> None:  # noqa: ARG001  Locust's names
            try:
                for answer in act(msg.data):
                    self._runner.send_message(ANSWER, answer)
                    give_way()
            except Exception as problem:  # noqa: BLE001  whatever it is, the master must hear of it
                traceback.print_exc()
                self._runner.send_message(ANSWER, {"error": f"{type(problem).__name__}: {problem}"})

        return carry_out

    def _begin(self, data: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if data["version"] != __version__:
            raise ValueError(f"it runs gilscope {__version__}, its master {data['version']}")
        self._stop()
        order, part = cattrs.structure(data["order"], Order), Part(**data["part"])
        self._session = Session(self._environment, order, part)
        self._session.begin()
        yield {"done": True}

    def _measure(self, _data: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if self._session is None:
            raise RuntimeError("no load was begun here")
        measured = self._session.measure()
        for piece in pieces_of(measured.samples):
            yield {"piece": piece}
        yield {"window_s": measured.samples.window_s, "tally": asdict(measured.tally)}

    def _end(self, _data: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self._stop()
        yield {"done": True}

    def _stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end()


def main() -> int:
    """Serve until the master ends."""
    parser = argparse.ArgumentParser(prog="python -m gilscope.load.worker", description=__doc__)
    parser.add_argument(
        "master", type=split_address, metavar="HOST:PORT", help="the comparison's --load-master"
    )
    parser.add_argument("--lifeline", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    host, port = options.master
    if options.lifeline:
        # First of all: to connect to a master that is gone is tried for minutes.
        gevent.spawn(_end_with_input)
    environment = Environment(user_classes=[])
    runner = environment.create_worker_runner(host, port)
    Attendant(environment, runner)
    runner.greenlet.join()
    return 0


def _end_with_input() -> None:
    FileObjectPosix(sys.stdin.fileno(), "rb").read()
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main())
