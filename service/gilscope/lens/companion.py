"""The service's side of the exporter: a lens that watches the service which started it, and never stands in its way.

It is imported by a process that may have nothing but the service's own packages.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from gilscope.child import START_S, Child, module_command
from gilscope.errors import LensError, UsageError

STOP_GRACE_S = 1.0
_AT_ONCE_S = 0.5
"""Limit for an answer whose beginning, or the child's end, has been seen."""

PACKAGES = {"psutil": "psutil", "elftools": "pyelftools"}
"""What the lens imports and the service does not, and by which name it is installed."""


class Companion:
    """An exporter's process. It is started without being waited for, and needs to be stopped."""

    def __init__(self, host: str, port: int) -> None:
        """Start it.

        Raises:
            LensError: it cannot be started.
        """
        missing = [package for name, package in PACKAGES.items() if importlib.util.find_spec(name) is None]
        if missing:
            packages = " and ".join(missing)
            raise LensError(f"it needs {packages}", remedy=f"pip install {' '.join(missing)}")
        command = module_command("gilscope.lens.exporter", f"--host={host}", f"--port={port}")
        self._child = Child(command, failure=LensError)
        self._stopped = False

    @property
    def pid(self) -> int:
        """Its process id: what it watches has to let it in."""
        return self._child.pid

    async def watch(self, pid: int) -> str:
        """Have it watch a process and its children from now on; return the URL of its metrics.

        Raises:
            UsageError: its port cannot be listened on.
            LensError: the process cannot be watched, with the reason and the remedy; or the lens died.
        """
        url = (await self._answer())["metrics_url"]
        self._child.send({"watch": pid})
        await self._answer()
        return str(url)

    async def _answer(self) -> Mapping[str, object]:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._child.fileno(), readable.set)
        try:
            async with asyncio.timeout(START_S):
                await readable.wait()
        except TimeoutError:
            raise LensError(f"the lens did not answer within {START_S:g} s") from None
        finally:
            loop.remove_reader(self._child.fileno())
        return self._read()

    def _read(self) -> Mapping[str, object]:
        answer = self._child.receive(_AT_ONCE_S)
        if "error" in answer:
            kind = UsageError if answer["exit_code"] == UsageError.exit_code else LensError
            raise kind(str(answer["error"]), remedy=cast("str | None", answer["remedy"]))
        return answer

    @contextlib.contextmanager
    def reporting_its_end(self, report: Callable[[LensError], None]) -> Iterator[None]:
        """Call ``report`` if it ends within the block: it has nothing more to say until then."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self._child.fileno())
            try:
                self._read()
            except LensError as problem:
                report(problem)
            self.stop(0.0)

        loop.add_reader(self._child.fileno(), ended)
        try:
            yield
        finally:
            if not self._stopped:
                loop.remove_reader(self._child.fileno())

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End it by closing its input; kill it where that does not help. A second call does nothing.

        Not even kill what is left of it: days later, somebody else may have its number.
        """
        if not self._stopped:
            self._stopped = True
            self._child.stop(grace_s)
