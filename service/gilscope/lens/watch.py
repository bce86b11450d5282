"""Watching processes: a look at every thread, again and again, and the accounts that come of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gilscope.errors import LensError
from gilscope.lens.family import children, thread_ids
from gilscope.lens.gils import Gils
from gilscope.lens.ledger import INSIDE, NO_SPAN, Clock, Span, Tally, add_spans, settle
from gilscope.lens.marks import UNMARKED, FoundMark, find_marks
from gilscope.lens.memory import ProcessMemory
from gilscope.lens.runtime import Runtime, find_runtime
from gilscope.lens.steal import StolenTime
from gilscope.lens.tasks import Task, Waits
from gilscope.model import ThreadRole

GONE = (ProcessLookupError, FileNotFoundError)
"""What reading raises once a thread or a process has ended."""


@dataclass(slots=True)
class Account:
    """What is known of one thread: its seconds so far, and the looks that are not settled yet."""

    task: Task
    mark: FoundMark
    tally: Tally
    settled_s: float
    clock: Clock
    total: Span = NO_SPAN

    def settle(self, now_s: float, stolen: float) -> None:
        """Turn the looks since the last time into seconds; a thread that has ended keeps those it had."""
        try:
            clock = self.task.clock()
        except GONE:
            return
        gained = Clock(clock.on_cpu_ns - self.clock.on_cpu_ns, clock.runqueue_ns - self.clock.runqueue_ns)
        self.total = add_spans((self.total, settle(self.tally, now_s - self.settled_s, gained, stolen)))
        self.tally = Tally.empty(tells_holders=self.tally.held is not None)
        self.settled_s, self.clock = now_s, clock


@dataclass(frozen=True, slots=True)
class ThreadSpan:
    """A thread, what it is there for, and its seconds so far."""

    pid: int
    tid: int
    name: str
    role: ThreadRole
    span: Span


class WatchedProcess:
    """One CPython process and its threads."""

    def __init__(self, pid: int, clock: Callable[[], float]) -> None:
        """Find its GILs and threads.

        Raises:
            LensError: it cannot be watched, with the reason and the remedy.
        """
        self.pid = pid
        self._clock = clock
        self._ended: list[ThreadSpan] = []
        self._accounts: dict[int, Account] = {}
        with _explaining(pid), contextlib.ExitStack() as stack:
            memory = stack.enter_context(ProcessMemory(pid))
            self.runtime: Runtime = find_runtime(pid, memory)
            self._gils = Gils(memory, self.runtime)
            self._waits = Waits(self._gils.is_waited_at)
            stack.callback(self._close_tasks)
            self.rescan()
            self._closing = stack.pop_all()
        self.alive = True

    @property
    def tells_holders(self) -> bool:
        """Whether this Python says who holds the GIL."""
        return self._gils.tells_holders

    def rescan(self) -> None:
        """Look for threads and interpreters that have come or gone.

        Raises:
            OSError: the process has ended, or its threads may not be watched.
        """
        present = set(thread_ids(self.pid))
        for tid in self._accounts.keys() - present:
            self._end(tid)
        for tid in sorted(present - self._accounts.keys()):
            with contextlib.suppress(*GONE):
                self._begin(tid)
        for tid, mark in find_marks(self.pid).items():
            if tid in self._accounts:
                self._accounts[tid].mark = mark
        self._gils.refresh()
        self._waits.forget()

    def _begin(self, tid: int) -> None:
        task = Task(self.pid, tid)
        tally = Tally.empty(tells_holders=self.tells_holders)
        self._accounts[tid] = Account(task, UNMARKED, tally, self._clock(), task.clock())

    def _end(self, tid: int) -> None:
        account = self._accounts.pop(tid)
        self._ended.append(_thread_span(account))
        account.task.close()

    def look(self) -> None:
        """Take one look at every thread, and at who holds the GILs."""
        for account in self._accounts.values():
            try:
                look = self._waits.look(account.task.syscall())
            except GONE:
                continue
            account.tally.looks[look + INSIDE if account.mark.byte[0] else look] += 1
        for tid in self._holders():
            if tid in self._accounts:
                held = self._accounts[tid].tally.held
                self._accounts[tid].tally.held = (held or 0) + 1

    def _holders(self) -> Iterable[int]:
        try:
            return self._gils.holders()
        except OSError:  # An interpreter has ended, or the process: the next scan will tell.
            return ()

    def restart(self) -> None:
        """Forget what was seen so far."""
        self._ended.clear()
        for account in self._accounts.values():
            account.settle(self._clock(), 0.0)
            account.total = NO_SPAN

    def settle(self, stolen: float) -> None:
        """Settle the accounts of all threads."""
        for account in self._accounts.values():
            account.settle(self._clock(), stolen)

    def threads(self) -> Iterator[ThreadSpan]:
        """Yield every thread there is or was, as last settled."""
        yield from self._ended
        yield from (_thread_span(account) for account in self._accounts.values())

    def end(self) -> None:
        """Give up watching; what was seen is kept."""
        if self.alive:
            self.alive = False
            self._closing.close()

    def _close_tasks(self) -> None:
        for tid in list(self._accounts):
            self._end(tid)


def _thread_span(account: Account) -> ThreadSpan:
    task = account.task
    return ThreadSpan(task.pid, task.tid, task.name, account.mark.role, account.total)


@contextlib.contextmanager
def _explaining(pid: int) -> Iterator[None]:
    """Turn what the system says of a process that cannot be watched into an error with a remedy."""
    try:
        yield
    except GONE:
        raise LensError(f"there is no process {pid}, or it has ended", remedy="see why it ended") from None
    except PermissionError:
        raise LensError(
            f"no right to watch process {pid}",
            remedy="run as the same user with the right to ptrace (sudo; in a container: cap_add SYS_PTRACE), "
            "or as the process's parent",
        ) from None
    except OSError as problem:
        raise LensError(f"cannot watch process {pid}: {problem}") from problem


class Watch:
    """A process, and with ``family`` its children and theirs, watched from now on.

    What its threads do is seen by calling :meth:`look` at random moments; :meth:`settle` turns looks into seconds.
    """

    def __init__(self, pid: int, *, family: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to watch.

        Raises:
            LensError: it cannot be watched, with the reason and the remedy.
        """
        if sys.platform != "linux":
            raise LensError(
                f"the lens reads Linux's /proc; this is {sys.platform}",
                remedy="run it on Linux, or in a container",
            )
        self._clock = clock
        self._family = family
        self._stolen = StolenTime()
        self._root = WatchedProcess(pid, clock)
        self._processes = {pid: self._root}
        self.rescan()

    @property
    def python(self) -> str:
        """The version of the first process's Python."""
        return self._root.runtime.python

    @property
    def tells_holders(self) -> bool:
        """Whether the first process's Python says who holds the GIL."""
        return self._root.tells_holders

    @property
    def alive(self) -> bool:
        """Whether the first process still ran at the last scan."""
        return self._root.alive

    def look(self) -> None:
        """Take one look at every thread of every process."""
        for process in self._processes.values():
            if process.alive:
                process.look()

    def rescan(self) -> None:
        """Look for processes, threads and interpreters that have come or gone."""
        for process in list(self._processes.values()):
            if process.alive:
                self._rescan_one(process)
        if self._family and self.alive:
            for pid in children(self._root.pid):
                if pid not in self._processes:
                    # Not every child is a Python: the others have no GIL to wait for.
                    with contextlib.suppress(LensError):
                        self._processes[pid] = WatchedProcess(pid, self._clock)

    def _rescan_one(self, process: WatchedProcess) -> None:
        try:
            process.rescan()
        except OSError:
            process.end()

    def restart(self) -> None:
        """Forget what was seen so far."""
        self._stolen.ratio()
        for process in self._processes.values():
            process.restart()

    def settle(self) -> None:
        """Settle the accounts of all threads."""
        stolen = self._stolen.ratio()
        for process in self._processes.values():
            process.settle(stolen)

    def threads(self) -> list[ThreadSpan]:
        """Return every thread there is or was, as last settled."""
        return [thread for process in self._processes.values() for thread in process.threads()]

    def close(self) -> None:
        """Give up watching; what was seen is kept."""
        for process in self._processes.values():
            process.end()
