"""Several Locust workers as one: the master's side. They run here or on other machines, and speak Locust's own protocol.

The master does not dispatch users: each worker is told which part of the order is its own, and answers with every raw
sample of its window. Messages: ``gilscope-begin`` (an order and a part), ``gilscope-measure``, ``gilscope-end``; each is
answered by ``gilscope-answer``: with ``done``, with the ``tally`` of a window after each ``piece`` of its samples, or with an
``error``. No message is so large that whoever writes or reads it would miss a sign of life: Locust takes a worker from which
it hears nothing for some seconds for lost.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import cattrs
import gevent
from locust.env import Environment

from gilscope import __version__
from gilscope.child import module_command
from gilscope.load.merging import merge
from gilscope.load.orders import Measured, Order, Tally
from gilscope.load.pieces import Piece, joined
from gilscope.load.session import Part

if TYPE_CHECKING:
    from locust.rpc import Message
    from locust.runners import MasterRunner

BEGIN, MEASURE, END, ANSWER = "gilscope-begin", "gilscope-measure", "gilscope-end", "gilscope-answer"
ANSWER_S = 20.0
_POLL_S = 0.01


class CrewError(Exception):
    """The workers did not come, or one of them failed."""


class Crew:
    """A Locust master with its workers. ``spawn`` starts them here; else they come from elsewhere."""

    def __init__(self, host: str, port: int, workers: int, *, spawn: bool) -> None:
        self._environment = Environment(user_classes=[])
        self._runner: MasterRunner = self._environment.create_master_runner(host, port)
        self._runner.register_message(ANSWER, self._on_answer)
        self._workers = workers
        self._answers: dict[str, dict[str, Any]] = {}
        self._pieces: dict[str, list[Piece]] = {}
        self.port = int(self._runner.server.port)
        command = module_command("gilscope.load.worker", "--lifeline", f"{host}:{self.port}")
        self._children = [
            subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(workers if spawn else 0)
        ]

    def assemble(self, limit_s: float) -> None:
        """Wait until all workers are there.

        Raises:
            CrewError: they did not come in time, or one of them has ended.
        """
        deadline = time.monotonic() + limit_s
        while len(there := self._there()) < self._workers:
            self._require_children()
            if time.monotonic() > deadline:
                raise CrewError(f"{len(there)} of {self._workers} Locust workers came within {limit_s:g} s")
            gevent.sleep(_POLL_S)

    def _there(self) -> list[str]:
        """Return the workers from which we hear."""
        return sorted(client.id for client in self._runner.clients.ready)

    def begin(self, order: Order) -> None:
        """Have every worker start its part of the load.

        Raises:
            CrewError: some of them are gone, here or in what follows, or did not answer.
        """
        self._members = self._there()[: self._workers]
        if len(self._members) < self._workers:
            self._require_children()
            raise self._too_few()
        self._tell(
            BEGIN,
            [
                {"version": __version__, "order": asdict(order), "part": asdict(Part(number, self._workers))}
                for number in range(self._workers)
            ],
        )
        self._collect(ANSWER_S)

    def measure(self, order: Order) -> Measured:
        """Have every worker measure one window, and put together what they found."""
        self._tell(MEASURE, [{}] * self._workers)
        answers = self._collect(order.seconds + order.answer_s + ANSWER_S)
        return merge(
            [
                Measured(
                    joined(answer["window_s"], self._pieces.get(member, [])),
                    cattrs.structure(answer["tally"], Tally),
                )
                for member, answer in zip(self._members, answers, strict=True)
            ]
        )

    def end(self) -> None:
        """Have every worker stop its users."""
        self._tell(END, [{}] * self._workers)
        self._collect(ANSWER_S)

    def dismiss(self) -> None:
        """Tell all workers to end; those that were started here end with their input as well."""
        self._runner.quit()
        for child in self._children:
            assert child.stdin is not None
            child.stdin.close()

    def _tell(self, what: str, messages: list[dict[str, Any]]) -> None:
        self._answers, self._pieces = {}, {}
        for member, data in zip(self._members, messages, strict=True):
            self._runner.send_message(what, data, client_id=member)

    def _on_answer(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's names
        if "piece" in msg.data:
            self._pieces.setdefault(msg.node_id, []).append(msg.data["piece"])
        else:
            self._answers[msg.node_id] = msg.data

    def _collect(self, limit_s: float) -> list[dict[str, Any]]:
        deadline = time.monotonic() + limit_s
        while not all(member in self._answers for member in self._members):
            self._require_children()
            silent = {member for member in self._members if member not in self._answers}
            if silent - {*self._there()}:
                raise self._too_few()
            if time.monotonic() > deadline:
                raise CrewError(f"no answer from {', '.join(sorted(silent))} within {limit_s:g} s")
            gevent.sleep(_POLL_S)
        answers = [self._answers[member] for member in self._members]
        for member, answer in zip(self._members, answers, strict=True):
            if "error" in answer:
                raise CrewError(f"the Locust worker {member} failed: {answer['error']}")
        return answers

    def _too_few(self) -> CrewError:
        return CrewError(f"{len(self._there())} of {self._workers} Locust workers are left")

    def _require_children(self) -> None:
        for child in self._children:
            if child.poll() is not None:
                raise CrewError(f"a Locust worker ended with exit code {child.returncode}")
