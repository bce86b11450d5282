"""The parent's side of the load generator: starts it, orders a trial's load, collects what it measured."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import cattrs

from gilscope.child import START_S, STOP_GRACE_S, Child, module_command
from gilscope.errors import LoadError, ServiceError, WorkersError, unwritten
from gilscope.load.orders import Measured, Order, Tally
from gilscope.load.samples import read_samples

ASSEMBLE_S = 300.0
"""How long workers on other machines may take to come."""

SLACK_S = 30.0
"""How much later than planned the generator may answer before it counts as stuck."""


class Generator:
    """A load generator process, reused from trial to trial; users and connections are new each time.

    With several ``workers`` that many Locust workers share the load: processes of this machine or, where ``master``
    (``HOST:PORT``) says where they find us, of any.
    """

    def __init__(self, workers: int = 1, master: str | None = None) -> None:
        self._child: Child | None = None
        self._workers, self._master = workers, master
        self._options = ([f"--workers={workers}"] if workers > 1 or master else []) + (
            [f"--master={master}", f"--assemble-s={ASSEMBLE_S:g}"] if master else []
        )
        self._start_s = ASSEMBLE_S + START_S if master else START_S

    @contextlib.contextmanager
    def load(self, order: Order, on_window: Callable[[], None]) -> Iterator[Measured]:
        """Put ``order`` on the service, measure its window, and keep the load up inside the block.

        ``on_window`` is called when warm-up ends and measuring begins. An error of the service inside the block ends the load
        alone, any other one the generator as well.

        Raises:
            LoadError: the generator died or got stuck; the next call starts a new one.
            WorkersError: those of other machines are not there, or not any more.
            RunFileError: it could not write the samples.
        """
        failure: ServiceError | None = None
        try:
            child = self._ready_child()
            child.send(asdict(order))
            self._receive(child, order.warmup_s + SLACK_S)
            on_window()
            answer = self._receive(child, order.seconds + order.answer_s + SLACK_S)
            try:
                yield _measured(order, answer)
            except ServiceError as problem:
                failure = problem  # The generator is all right, and workers elsewhere would not come again to another.
            child.send({})
            self._receive(child, SLACK_S)
        except BaseException:
            # Whatever state it is in, the next trial must not inherit it; in a window it would not listen.
            self.stop(grace_s=0.0)
            raise
        if failure is not None:
            raise failure

    def prepare(self) -> None:
        """Start the process without waiting for it."""
        if self._child is None or not self._child.alive():
            self.stop()
            self._child = Child(module_command("gilscope.load.generator", *self._options), failure=LoadError)
            self._greeted = False

    def _ready_child(self) -> Child:
        self.prepare()
        assert self._child is not None
        if not self._greeted:
            self._receive(self._child, self._start_s)
            self._greeted = True
        return self._child

    def _receive(self, child: Child, timeout_s: float) -> dict[str, object]:
        """Return what the generator says next, unless that is that it lacks workers."""
        answer = child.receive(timeout_s)
        if answer.get("event") != "crewless":
            return answer
        problem = str(answer["problem"])
        if self._master is None:
            raise LoadError(problem)
        remedy = f"start {self._workers} on the other machines: python -m gilscope.load.worker {self._master}"
        raise WorkersError(problem, remedy=remedy)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End the process, if there is one; kill it after ``grace_s`` seconds."""
        child, self._child = self._child, None
        if child is not None:
            child.stop(grace_s)


def _measured(order: Order, answer: dict[str, object]) -> Measured:
    path = Path(order.samples)
    if answer.get("event") == "unwritten":
        raise unwritten(path, OSError(answer["errno"], answer["problem"]))
    return Measured(read_samples(path), cattrs.structure(answer, Tally))
