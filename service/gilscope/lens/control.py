"""The parent's side of the lens: starts its process, tells it what to watch and when, collects what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import cattrs

from gilscope.child import START_S, STOP_GRACE_S, Child, module_command
from gilscope.errors import LensError
from gilscope.lens.readings import Window
from gilscope.lens.sampler import RATE_HZ

SLACK_S = 20.0
"""How much later than asked the lens may answer before it counts as stuck."""


class Lens:
    """A lens process, reused from one watched process to the next; started again if it died."""

    def __init__(self, *, exports: bool = False) -> None:
        """``exports``: it also serves to Prometheus, while it sees it, what it sees."""
        self._child: Child | None = None
        self._open_s: float | None = None
        self._exports = exports
        self.metrics_url: str | None = None

    def prepare(self) -> None:
        """Start the process without waiting for it.

        Raises:
            LensError: it cannot be started.
        """
        # One that still measures a window, which nobody asked for in the end, would answer with that.
        if self._child is None or self._open_s is not None or not self._child.alive():
            self.stop(grace_s=0.0)
            options = ("--metrics",) if self._exports else ()
            self._child = Child(module_command("gilscope.lens.process", *options), failure=LensError)

    def watch(self, pid: int) -> None:
        """Watch a process and its children from now on.

        Raises:
            LensError: it cannot be watched, with the reason and the remedy; or the lens died.
        """
        self.prepare()
        if self._exports and self.metrics_url is None:
            self.metrics_url = str(self._answer(START_S)["metrics_url"])
        self._ask({"watch": pid})
        self._answer(START_S)

    def open_window(self, seconds: float, rate_hz: float = RATE_HZ) -> None:
        """Begin to measure, for so long, taking so many looks a second; returns at once.

        Raises:
            LensError: the lens died.
        """
        self._ask({"seconds": seconds, "rate_hz": rate_hz})
        self._open_s = seconds

    def window(self) -> Window:
        """Wait until the window is over, and return what was seen in it.

        Raises:
            LensError: the watched process ended, or the lens died.
        """
        assert self._open_s is not None
        answer = self._answer(self._open_s + SLACK_S)
        self._open_s = None
        return cattrs.structure(answer, Window)

    def _ask(self, order: Mapping[str, object]) -> None:
        assert self._child is not None
        self._child.send(order)

    def _answer(self, timeout_s: float) -> dict[str, object]:
        assert self._child is not None
        try:
            answer = self._child.receive(timeout_s)
        except LensError:
            self.stop(grace_s=0.0)  # dead or stuck: the next process to be watched gets a new one
            raise
        if "error" in answer:
            raise LensError(str(answer["error"]), remedy=cast("str | None", answer["remedy"]))
        return answer

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End the process, if there is one; kill it after ``grace_s`` seconds."""
        child, self._child, self._open_s, self.metrics_url = self._child, None, None, None
        if child is not None:
            child.stop(grace_s)
