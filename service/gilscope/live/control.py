"""The comparison's side of its live page: starts the process that serves it, and tells it what happens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gilscope.child import START_S, Child, module_command
from gilscope.errors import GilscopeError, UsageError

STOP_S = 5.0
"""More than the process takes to say good-bye to those who look."""


class LivePage:
    """A page that can be looked at until :meth:`stop`. If its process dies, the comparison goes on without it."""

    def __init__(self, folder: Path, port: int) -> None:
        """Serve the page of the comparison in ``folder`` on a port of this machine; 0 takes a free one.

        Raises:
            UsageError: the port cannot be listened on, or the process does not come up.
        """
        command = module_command("gilscope.live.process", f"--port={port}", str(folder))
        self._child: Child | None = Child(command, failure=UsageError)
        try:
            answer = self._child.receive(START_S)
        except BaseException:
            self._child.stop(0.0)
            raise
        if "error" in answer:
            self._child.stop(0.0)
            raise UsageError(
                f"the live page cannot listen on port {port}: {answer['error']}",
                remedy="another --live PORT; without PORT, a free one",
            )
        self.url = str(answer["url"])

    def tell(self, event: str, data: Mapping[str, object] | None) -> None:
        """Tell what happened; nothing is said of a page that is not there any more."""
        if self._child is None:
            return
        try:
            self._child.send({event: data})
        except GilscopeError:
            self.stop()

    def ends(self, report: Path) -> None:
        """Say that it is over; those who look are taken to the report, if there is one."""
        self.tell("end", {"report": f"/{report.name}" if report.exists() else None})

    def stop(self) -> None:
        """End the process, once those who look have the report."""
        child, self._child = self._child, None
        if child is not None:
            child.stop(STOP_S)
