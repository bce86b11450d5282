"""The parent's side of the load generator: starts it, orders a trial's load, collects what it measured."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import cattrs

from gilscope.child import START_S, STOP_GRACE_S, Child, module_command
from gilscope.errors import LoadError, unwritten
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
        self._options = ([f"--workers={workers}"] if workers > 1 or master else []) + (
            [f"--master={master}", f"--assemble-s={ASSEMBLE_S:g}"] if master else []
        )
        self._start_s = ASSEMBLE_S + START_S if master else START_S

    @contextlib.contextmanager
    def load(self, order: Order, on_window: Callable[[], None]) -> Iterator[Measured]:
        """Put ``order`` on the service, measure its window, and keep the load up inside the block.

        ``on_window`` is called when warm-up ends and measuring begins.

        Raises:
            LoadError: the generator died or got stuck; the next call starts a new one.
            RunFileError: it could not write the samples.
        """
        try:
            child = self._ready_child()
            child.send(asdict(order))
            child.receive(order.warmup_s + SLACK_S)
            on_window()
            answer = child.receive(order.seconds + order.drain_s + SLACK_S)
            yield _measured(order, answer)
            child.send({})
            child.receive(SLACK_S)
        except BaseException:
            # Whatever state it is in, the next trial must not inherit it; in a window it would not listen.
            self.stop(grace_s=0.0)
            raise

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
            self._child.receive(self._start_s)
            self._greeted = True
        return self._child

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
