"""Watching processes: a look at every thread, again and again, and the accounts that come of it."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gilscope.errors import LensError
from gilscope.family import children, thread_ids
from gilscope.lens.gils import Gils
from gilscope.lens.ledger import INSIDE, NO_SPAN, Clock, Look, Span, Tally, add_spans, settle
from gilscope.lens.marks import UNMARKED, FoundMark, find_marks
from gilscope.lens.memory import ProcessMemory
from gilscope.lens.runtime import Runtime, find_runtime
from gilscope.lens.tasks import Task, Waits
from gilscope.model import ThreadRole
from gilscope.steal import StolenTime

GONE = (ProcessLookupError, FileNotFoundError)
"""What reading raises once a thread or a process has ended."""

MARKS_SHARE = 0.02
"""Share of the time that may go into the search for marks: each file that a process has open takes microseconds."""


@dataclass(slots=True)
class Account:
    """What is known of one thread: its seconds so far, and the looks that are not settled yet."""

    task: Task
    mark: FoundMark
    tally: Tally
    settled_s: float
    clock: Clock
    total: Span = NO_SPAN
    overdrawn_s: float = 0.0
    seen_s: float = 0.0

    def settle(self, now_s: float, stolen_s: float) -> None:
        """Turn the looks since the last time into seconds; a thread that has ended keeps those it had."""
        try:
            clock = self.task.clock()
        except GONE:
            return
        gained = Clock(clock.on_cpu_ns - self.clock.on_cpu_ns, clock.runqueue_ns - self.clock.runqueue_ns)
        # What a late clock gained above the wall time belongs to the time before, which counted as sleep.
        wall_s = now_s - self.settled_s - self.overdrawn_s
        span = settle(self.tally, wall_s, gained, stolen_s)
        self.overdrawn_s = max(0.0, span.all.wall_s - wall_s)
        self.total = add_spans((self.total, span))
        self.tally = Tally.empty(tells_holders=self.tally.held is not None)
        self.settled_s, self.clock = now_s, clock

    def end(self) -> None:
        """Settle a thread that has ended. Its clocks are gone with it: what it was not asleep counts as on a CPU."""
        ready = self.tally.looks[Look.READY] + self.tally.looks[Look.READY + INSIDE]
        if self.seen_s > self.settled_s:
            wall_s = max(0.0, self.seen_s - self.settled_s - self.overdrawn_s)
            on_cpu = Clock(int(1e9 * wall_s * ready / sum(self.tally.looks)), 0)
            self.total = add_spans((self.total, settle(self.tally, wall_s, on_cpu, 0.0)))


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
        self.strays = 0
        """Looks at which a GIL was held by a thread that is not watched: it has just begun."""
        self._clock = clock
        self._ended: list[ThreadSpan] = []
        self._accounts: dict[int, Account] = {}
        self._by_number: dict[int, Account] = {}
        self._links = 0
        self._marks_due_s = 0.0
        with _explaining(pid), contextlib.ExitStack() as stack:
            memory = stack.enter_context(ProcessMemory(pid))
            self._tasks = os.open(f"/proc/{pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, self._tasks)
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

    @property
    def has_gil(self) -> bool:
        """Whether there is a GIL: a free-threaded Python has it off, as a rule."""
        return not self._gils.are_off

    def rescan(self) -> None:
        """Look for threads and interpreters that have come or gone.

        Raises:
            OSError: the process has ended, or its threads may not be watched.
        """
        self._rescan_threads()
        for account in self._accounts.values():
            with contextlib.suppress(*GONE):
                account.task.rename()
        self._find_marks()
        self._gils.refresh()
        self._waits.forget()

    def _rescan_threads(self) -> None:
        self._links = self._count_links()
        present = set(thread_ids(self.pid))
        for tid in self._accounts.keys() - present:
            self._end(tid)
        for tid in sorted(present - self._accounts.keys()):
            with contextlib.suppress(*GONE):
                self._begin(tid)
        self._gils.forget_threads()

    def _count_links(self) -> int:
        """Return a number that changes when threads come or go: the kernel counts them as links of their folder."""
        return os.fstat(self._tasks).st_nlink

    def _find_marks(self) -> None:
        """Look for marks of threads that have none yet, not too often where the process has very many files open."""
        unmarked = {n: account for n, account in self._by_number.items() if account.mark is UNMARKED}
        begun = self._clock()
        if unmarked and begun >= self._marks_due_s:
            for number, mark in find_marks(self.pid, unmarked).items():
                unmarked[number].mark = mark
            now = self._clock()
            self._marks_due_s = now + (now - begun) / MARKS_SHARE

    def _begin(self, tid: int) -> None:
        task = Task(self.pid, tid)
        tally = Tally.empty(tells_holders=self.tells_holders)
        account = Account(task, UNMARKED, tally, self._clock(), task.clock())
        self._accounts[tid] = self._by_number[task.number] = account

    def _end(self, tid: int) -> None:
        account = self._accounts.pop(tid)
        del self._by_number[account.task.number]
        account.end()
        self._ended.append(_thread_span(account))
        account.task.close()

    def look(self) -> None:
        """Take one look at every thread, and at who holds the GILs.

        Raises:
            OSError: there is no right to look any longer: the process runs another program, as another user.
        """
        if self._count_links() != self._links:
            self._rescan_threads()
        now = self._clock()
        for account in self._accounts.values():
            try:
                look = self._waits.look(account.task.syscall())
            except GONE:
                self._links = 0  # Another may have come at the same time.
                continue
            account.tally.looks[look + INSIDE if account.mark.byte[0] else look] += 1
            account.seen_s = now
        for number in self._holders():
            holder = self._by_number.get(number)
            if holder:
                holder.tally.held = (holder.tally.held or 0) + 1
            else:
                self.strays += 1

    def _holders(self) -> Iterable[int]:
        try:
            return self._gils.holders()
        except OSError:  # An interpreter has ended, or the process: the next scan will tell.
            return ()

    def restart(self) -> None:
        """Forget what was seen so far."""
        self.strays = 0
        self._ended.clear()
        for account in self._accounts.values():
            account.settle(self._clock(), 0.0)
            account.total, account.overdrawn_s = NO_SPAN, 0.0

    def settle(self, stolen_s: float) -> None:
        """Settle the accounts of all threads."""
        for account in self._accounts.values():
            account.settle(self._clock(), stolen_s)

    def threads(self) -> Iterator[ThreadSpan]:
        """Yield every thread there is or was, as last settled."""
        yield from self._ended
        yield from (_thread_span(account) for account in self._accounts.values())

    def take_ended(self) -> list[ThreadSpan]:
        """Return the threads that have ended since the last time, and forget them."""
        taken, self._ended = self._ended, []
        return taken

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


def _give_up(process: WatchedProcess, problem: OSError) -> None:
    """End the watch of a process, as a rule because it has ended itself.

    Raises:
        LensError: it has not; we cannot watch it any longer.
    """
    process.end()
    if problem.errno == errno.EMFILE:
        raise LensError(
            f"process {process.pid} has so many threads that the lens has no files left to open",
            remedy="a higher limit for open files (ulimit -n): three for each thread",
        ) from problem


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
        self.looks = 0
        """How many looks there were since the last restart."""
        self._clock = clock
        self._family = family
        self._stolen = StolenTime()
        self._root = WatchedProcess(pid, clock)
        self._processes = {pid: self._root}
        self._former: list[WatchedProcess] = []
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
    def has_gil(self) -> bool:
        """Whether the first process's Python has a GIL: a free-threaded one has it off, as a rule."""
        return self._root.has_gil

    @property
    def strays(self) -> int:
        """Looks at which a GIL was held by a thread that is not watched, because it lives too briefly."""
        return sum(process.strays for process in self._all())

    @property
    def alive(self) -> bool:
        """Whether the first process still ran at the last scan."""
        return self._root.alive

    def look(self) -> None:
        """Take one look at every thread of every process."""
        self.looks += 1
        for process in self._processes.values():
            if process.alive:
                self._look_at(process)

    def _look_at(self, process: WatchedProcess) -> None:
        try:
            process.look()
        except OSError as problem:
            _give_up(process, problem)

    def rescan(self) -> None:
        """Look for processes, threads and interpreters that have come or gone."""
        for process in list(self._processes.values()):
            if process.alive:
                self._rescan_one(process)
            elif process is not self._root:
                # Its number may be that of a Python still, or again: it may run another program.
                self._former.append(self._processes.pop(process.pid))
        if self._family and self.alive:
            for pid in children(self._root.pid):
                if pid not in self._processes and pid != os.getpid():  # A reader would see all others wait.
                    # Not every child is a Python: the others have no GIL to wait for.
                    with contextlib.suppress(LensError):
                        self._processes[pid] = WatchedProcess(pid, self._clock)

    def _rescan_one(self, process: WatchedProcess) -> None:
        try:
            process.rescan()
        except OSError as problem:
            _give_up(process, problem)

    def _all(self) -> Iterable[WatchedProcess]:
        """Return the processes that are watched and those that were."""
        return (*self._former, *self._processes.values())

    def restart(self) -> None:
        """Forget what was seen so far."""
        self.looks = 0
        self._former.clear()
        self._stolen.seconds()
        for process in self._processes.values():
            process.restart()

    def settle(self) -> None:
        """Settle the accounts of all threads."""
        stolen_s = self._stolen.seconds()
        for process in self._processes.values():
            process.settle(stolen_s)

    def threads(self) -> list[ThreadSpan]:
        """Return every thread there is or was, as last settled."""
        return [thread for process in self._all() for thread in process.threads()]

    def take_ended(self) -> list[ThreadSpan]:
        """Return the threads that have ended since the last time, and forget them and the processes that have.

        Who watches for days calls this, or what is kept grows with every thread that comes and goes.
        """
        taken = [thread for process in self._all() for thread in process.take_ended()]
        self._former.clear()
        return taken

    def close(self) -> None:
        """Give up watching; what was seen is kept."""
        for process in self._processes.values():
            process.end()
