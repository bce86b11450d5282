"""A watch of `gilscope top` over time: picture after picture, until it is told to end or the process ends."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import Self

from gilscope.errors import LensError, UsageError
from gilscope.family import children
from gilscope.lens.sampler import Sampler, Timer
from gilscope.lens.watch import ThreadSpan, Watch
from gilscope.model import ThreadRole
from gilscope.proc import cpu_seconds
from gilscope.top.processes import LIST_PYTHONS, command_line, is_running, name_pythons
from gilscope.top.table import Picture, ThreadRow, Unseen, better_name, readable

ENDING = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 10
PAUSE_S = 0.1
"""A process that runs another program is looked at so often and so far apart: a Python needs its time to load."""


COARSE_S, COARSE = 0.03, 0.05
"""Up to so many seconds, and to such a part of the whole, CPU times are not exact: they move with the kernel's ticks."""


class Stop:
    """Ends a watch when SIGINT or SIGTERM comes: sleep is cut short, and time is up. Use as a context manager.

    The first signal raises nothing anywhere, so that figures stay whole; a second one is an ordinary Ctrl-C.
    """

    def __init__(self) -> None:
        self.asked = False
        self._read, self._write = os.pipe()

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in ENDING}
        return self

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(self._write, b"!")

    def now(self) -> float:
        """Return the time of a clock that never goes back; the end of all time once told to stop."""
        return math.inf if self.asked else time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait, but not once told to stop."""
        select.select([self._read], [], [], seconds)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)


def open_watch(pid: int, *, family: bool) -> Watch:
    """Begin to watch.

    Raises:
        UsageError: this process cannot be watched, with the reason and the remedy.
    """
    try:
        return Watch(pid, family=family)
    except LensError as problem:
        raise UsageError(problem.message, remedy=problem.remedy or _instead(pid)) from problem


def _instead(pid: int) -> str:
    """Name what may have been meant: the Python that a shell, a launcher or a container's init has started."""
    pythons = name_pythons(children(pid))
    return f"among its children, these run Python: {pythons}" if pythons else LIST_PYTHONS


class Session:
    """Watches one process, and what it becomes if it runs another program."""

    def __init__(
        self,
        pid: int,
        stop: Stop,
        *,
        family: bool,
        rate_hz: float,
        opening: Callable[..., Watch] = open_watch,
    ) -> None:
        """Find its threads.

        Raises:
            UsageError: it cannot be watched, with the reason and the remedy.
        """
        self.notes: list[str] = []
        """What happened to the process, in sentences."""
        self._pid, self._stop, self._family, self._rate_hz = pid, stop, family, rate_hz
        self._opening = opening
        self._timer = Timer(stop.now, stop.sleep)
        self._programs = {pid: command_line(pid)}
        self._cpu_times = CpuTimes()
        self._own_cpu_s = 0.0
        self._watch: Watch | None = opening(pid, family=family)

    def pictures(self, seconds: float, interval_s: float) -> Iterator[Picture]:
        """Yield a picture per interval for so long (infinity: until told to stop, or the process ends)."""
        end = time.monotonic() + seconds
        if self._watch is not None:
            self._restart(self._watch)
            self._cpu_times.gained({self._pid})
        while self._watch is not None and (left := end - self._stop.now()) > 0:
            picture = self._picture(self._watch, next_length(left, interval_s))
            if picture.threads:
                yield picture
            if not self._watch.alive:
                self._begin_again()

    def _restart(self, watch: Watch) -> None:
        watch.take_ended()
        watch.restart()
        self._own_cpu_s = time.process_time()

    def _picture(self, watch: Watch, length_s: float) -> Picture:
        """Look for so long. What the drawing of the last picture took belongs to this one: clocks ran on."""
        self._look(watch, length_s)
        threads, looks, strays = watch.threads(), watch.looks, watch.strays
        own_cpu_s = time.process_time() - self._own_cpu_s
        used_s = self._cpu_times.gained({thread.pid for thread in threads})
        self._restart(watch)
        rows = tuple(self._rows(threads))
        # Not by our clock: a process may have ended, and of hundreds of threads the last is settled after the first.
        seconds = max((row.seconds.wall_s for row in rows), default=0.0)
        held_s = strays / looks * seconds if looks and watch.tells_holders else None
        unseen = Unseen(unseen_cpu_s(used_s, rows), held_s)
        return Picture(self._pid, watch.python, watch.has_gil, seconds, looks, own_cpu_s, rows, unseen)

    def _look(self, watch: Watch, length_s: float) -> None:
        watch.rescan()  # An interval may be too short for the sampler to do so.
        if watch.alive:
            with contextlib.suppress(LensError):  # It ended: what was seen is kept, and the watch knows.
                Sampler(watch, self._rate_hz, self._timer).run(length_s)

    def _rows(self, threads: Iterable[ThreadSpan]) -> Iterator[ThreadRow]:
        seen = [thread for thread in threads if thread.span.all.wall_s > 0]
        marked = {thread.pid for thread in seen if thread.role is not ThreadRole.OTHER}
        for thread in seen:
            role = thread.role if thread.pid in marked else None
            yield ThreadRow(thread.pid, thread.tid, self._name(thread), role, thread.span.all)

    def _name(self, thread: ThreadSpan) -> str:
        program = self._programs.get(thread.pid)
        if program is None:
            # A child that has ended was forked, as a rule, and so ran the same program.
            program = command_line(thread.pid) or self._programs[self._pid]
            self._programs[thread.pid] = program
        return readable(better_name(thread.name, is_main=thread.pid == thread.tid, program=program))

    def _begin_again(self) -> None:
        """Watch what the process has become: it may have run another program in its place (``execve``)."""
        self.close()
        reason = ""
        for _ in range(PATIENCE):
            if not is_running(self._pid):
                self.notes.append(f"process {self._pid} has ended")
                return
            try:
                self._change_to(self._opening(self._pid, family=self._family))
            except UsageError as problem:
                reason = problem.message
                self._stop.sleep(PAUSE_S)
            else:
                return
        self.notes.append(f"process {self._pid} can no longer be watched: {reason}")

    def _change_to(self, watch: Watch) -> None:
        self.notes.append(f"process {self._pid} ran another program in its place")
        self._programs = {self._pid: command_line(self._pid)}
        self._restart(watch)
        self._cpu_times.gained({self._pid})  # Nobody could see what used how much meanwhile.
        self._watch = watch

    def close(self) -> None:
        """Give up watching."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()


class CpuTimes:
    """The CPU time that processes used, their ended threads' included, from one time of asking to the next."""

    def __init__(self) -> None:
        self._last: dict[int, float] = {}

    def gained(self, pids: Iterable[int]) -> dict[int, float]:
        """Return the seconds by process; of one that is new or has ended, nothing."""
        last = self._last
        self._last = {pid: used_s for pid in pids if (used_s := cpu_seconds(pid)) is not None}
        return {pid: used_s - last[pid] for pid, used_s in self._last.items() if pid in last}


def unseen_cpu_s(used_s: Mapping[int, float], rows: Iterable[ThreadRow]) -> float:
    """Return the CPU time that processes used and none of these threads."""
    left_s = dict(used_s)
    for row in rows:
        if row.pid in left_s:
            left_s[row.pid] -= row.seconds.on_cpu_s
    unseen = (left for pid, left in left_s.items() if left > max(COARSE_S, COARSE * used_s[pid]))
    return sum(unseen, start=0.0)


def next_length(left_s: float, interval_s: float) -> float:
    """Return how long the next picture takes: the last one takes what is left, half to one and a half intervals."""
    return interval_s if left_s >= 1.5 * interval_s else left_s
