"""The service's side of profiling: starts the process that captures, one at a time, and keeps what it made.

It is imported by a process that may have nothing but the service's own packages.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gilscope.child import STOP_GRACE_S, Child, module_command
from gilscope.errors import CaptureError
from gilscope.model import BackendName, FlameKind
from gilscope.profiling.shelf import Profile, Shelf, State, kinds_with, new_profile

SLACK_S = 60.0
"""How much longer than asked a capture may take: py-spy reads the symbols of every process first."""

DRAW_S = 30.0
_AT_ONCE_S = 0.5

PACKAGES = {"cattrs": "cattrs", "psutil": "psutil", "elftools": "pyelftools"}
"""What capturing imports and the service does not, and by which name it is installed. py-spy is a program: it is missed
when it is needed."""


class BusyError(CaptureError):
    """Another profile is being captured."""

    def __init__(self, running: Profile) -> None:
        super().__init__(
            f"profile {running.id} is being captured",
            remedy=f"wait for its {running.seconds} s: two profilers would measure each other",
        )
        self.running = running


class NoRoomError(CaptureError):
    """There is nowhere to keep a profile now."""


class Profiles:
    """Captures profiles of one process and keeps them on a shelf."""

    def __init__(
        self,
        shelf: Shelf,
        pid: int,
        title: str,
        backends: Sequence[BackendName] = (),
        metrics_url: str | None = None,
        targets: Sequence[str] = (),
    ) -> None:
        """``targets`` are the workloads that run in it, as they are typed: their frames have a colour of their own."""
        self.shelf, self._targets = shelf, targets
        self._pid, self._title, self._backends, self._metrics_url = pid, title, backends, metrics_url
        self._running: Profile | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._drawing = asyncio.Lock()
        for left in shelf.profiles():
            if left.state is State.RUNNING:
                failed = replace(
                    left, state=State.FAILED, error="the service ended meanwhile", remedy="again"
                )
                shelf.close(failed)

    @property
    def running(self) -> Profile | None:
        """The profile that is being captured."""
        return self._running

    def begin(self, kind: FlameKind, seconds: int, rate_hz: int) -> Profile:
        """Start to capture; the profile is on the shelf from now on, and done or failed in the end.

        Raises:
            BusyError: another one is being captured.
            NoRoomError: its folder cannot be written.
            CaptureError: the profiler cannot be started.
        """
        if self._running is not None:
            raise BusyError(self._running)
        _require_packages()
        profile = new_profile(kind, seconds, rate_hz)
        try:
            folder = self.shelf.add(profile)
        except OSError as problem:
            raise NoRoomError(
                f"profiles cannot be kept in {self.shelf.folder}: {problem.strerror}",
                remedy="room on the disk",
            ) from problem
        self._running = profile
        order = {
            "pid": self._pid,
            "kinds": list(kinds_with(kind)),
            "seconds": seconds,
            "rate_hz": rate_hz,
            "folder": str(folder),
            "title": self._title,
            "backends": list(self._backends),
            "metrics_url": self._metrics_url,
            "targets": list(self._targets),
        }
        task = asyncio.get_running_loop().create_task(self._capture(profile, order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return profile

    async def _capture(self, profile: Profile, order: Mapping[str, object]) -> None:
        ended = replace(profile, state=State.FAILED, error="it failed: the service's log says why")
        try:
            answer = await _ask({"capture": order}, profile.seconds + SLACK_S)
            ended = replace(profile, state=State.DONE, graphs=answer["graphs"])
        except CaptureError as problem:
            ended = replace(profile, state=State.FAILED, error=problem.message, remedy=problem.remedy)
        except asyncio.CancelledError:
            ended = replace(ended, error="it was cut short: the service ended", remedy="again")
            raise
        finally:
            self._running = None
            self.shelf.close(ended)

    async def draw_difference(self, now: Profile, before: Profile, kind: FlameKind) -> Path:
        """Draw how two profiles differ, unless that has been done before; return the picture's path.

        Raises:
            CaptureError: they cannot be compared, with the reason.
        """
        path = self.shelf.file(now, kind, f"against-{before.id}.svg")
        async with self._drawing:  # Two that ask for the same get one picture.
            if not path.exists():
                folders = {"now": self.shelf.folder / now.id, "before": self.shelf.folder / before.id}
                order = {name: str(folder) for name, folder in folders.items()}
                about = {"kind": kind, "file": str(path), "targets": list(self._targets)}
                await _ask({"difference": {**about, **order}}, DRAW_S)
        return path

    async def stop(self) -> None:
        """Give up what is being captured; its process ends."""
        await asyncio.sleep(0)  # One that has not begun could not say that it was cut short.
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _require_packages() -> None:
    missing = [package for name, package in PACKAGES.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise CaptureError(
            f"profiling needs {' and '.join(missing)} beside the service",
            remedy=f"pip install {' '.join(missing)}",
        )


async def _end(child: Child) -> None:
    """End a process that has answered, or is to be cut short with all that it has started."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        if not os.read(child.fileno(), 65_536):
            ended.set()

    child.hang_up()
    loop.add_reader(child.fileno(), read)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_GRACE_S):
            await ended.wait()
    loop.remove_reader(child.fileno())
    child.stop(grace_s=0.0)


async def _ask(order: Mapping[str, object], timeout_s: float) -> dict[str, Any]:
    """Have a process carry out one order.

    Raises:
        CaptureError: it cannot, with the reason; or it died or took too long.
    """
    child = Child(module_command("gilscope.profiling.process"), failure=CaptureError)
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(child.fileno(), readable.set)
    try:
        child.send(order)
        async with asyncio.timeout(timeout_s):
            await readable.wait()
        answer = child.receive(_AT_ONCE_S)
    except TimeoutError:
        raise CaptureError(f"the profiler did not answer within {timeout_s:g} s") from None
    finally:
        loop.remove_reader(child.fileno())
        await _end(child)
    if "error" in answer:
        remedy = answer["remedy"]
        raise CaptureError(str(answer["error"]), remedy=None if remedy is None else str(remedy))
    return answer
