"""Calling the function again and again, whatever it does."""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import Mapping

from gilscope.backends.base import Outcome
from gilscope.backends.execution import execute, execute_on_loop
from gilscope.workloads.base import FunctionRef


class CallFailedError(Exception):
    """The function raised; the message is the traceback."""


class Caller:
    """Calls one function in this thread; a coroutine function in an event loop that is kept."""

    def __init__(self, function: FunctionRef, arguments: Mapping[str, object], *, is_async: bool) -> None:
        self._function = function
        self._arguments = arguments
        self._loop = asyncio.new_event_loop() if is_async else None
        self._process = os.getpid()
        self._copies = mmap.mmap(-1, 1)  # shared with processes that the function forks

    @property
    def came_back_twice(self) -> bool:
        """Whether a call returned in a forked copy of this process as well."""
        return self._copies[0] != 0

    def __call__(self) -> Outcome:
        """Call it once. A forked copy of this process ends here: it has no business with the rest.

        Raises:
            CallFailedError: the function raised.
        """
        outcome = self._call()
        if os.getpid() != self._process:
            self._copies[0] = 1
            os._exit(0)
        if outcome.failure is not None:
            raise CallFailedError(outcome.failure.traceback)
        return outcome

    def close(self) -> None:
        """Close the event loop."""
        if self._loop is not None:
            self._loop.close()

    def _call(self) -> Outcome:
        if self._loop is None:
            return execute(self._function, self._arguments)
        return self._loop.run_until_complete(execute_on_loop(self._function, self._arguments, is_async=True))
