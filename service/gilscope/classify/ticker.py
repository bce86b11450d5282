"""The ticker: a thread that sleeps for moments and notes what it had to wait for.

Waking up it needs the GIL. If that is free, its thread has left its core once, to sleep. If not, CPython puts it
to sleep again until the GIL is released, or until the switch interval is over, when it asks the holder to let go
(``take_gil`` in ``Python/ceval_gil.c``). So the number of voluntary context switches says whether the GIL was
held, whatever the clock says: a ticker that is merely late, for want of a core, has switched just once.

The switch interval is made very short meanwhile. Then Python code gives the GIL up within microseconds of being
asked, and whatever takes longer is a C call that cannot be interrupted: what is left of it is the lateness.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import random
import resource
import sys
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns, process_time_ns, sleep, thread_time_ns

from gilscope.classify.observation import SWITCH_INTERVAL_MS, Tick
from gilscope.errors import GilscopeError

IDLE_TICKS = 40
READY_LIMIT_S = 30.0

_PAUSES_S = tuple(map(random.Random(1).uniform, [100e-6] * 997, [500e-6] * 997))
"""Irregular, or ticks could fall in step with a function that is called again and again."""

_FIELDS = 5
_PR_SET_TIMERSLACK = 29
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""The number of the system call, which the C library has no function for (``arch/*/``, ``unistd``)."""
_SLICE_NS = 100_000
"""The least that the kernel takes."""
_CORE_FIELD = 36
"""``processor`` in ``/proc/PID/stat``, counted from the state, which comes after the command in brackets."""


class Ticker(threading.Thread):
    """Ticks from :meth:`start` to :meth:`stop`.

    ``confine_after_s`` after its start it confines itself and the thread that made it to one core. A tick then stops the
    function wherever it is, and finds the GIL as the function had it. On two cores the two race for it, and a function
    that releases and takes the GIL every microsecond seems to release it for longer than it does. Threads that the
    function starts are confined as well, so the first call is better left alone for a while.
    """

    def __init__(self, confine_after_s: float) -> None:
        super().__init__(name="gilscope-ticker", daemon=True)
        self._confine_after_ns = int(confine_after_s * 1e9)
        self._function_thread = threading.get_native_id()
        self._cores = os.sched_getaffinity(0)
        self._ready = threading.Event()
        self._going = True
        # Plain numbers: objects would be the garbage collector's work, in a process that is being watched.
        self._rows = array("q")
        self.cpu_ns = 0

    def run(self) -> None:
        """Tick, and keep what was seen."""
        _wake_promptly()
        _run_promptly()
        confine_at, confined = monotonic_ns() + self._confine_after_ns, False
        while self._going:
            self._tick(_PAUSES_S[len(self._rows) // _FIELDS % len(_PAUSES_S)])
            if len(self._rows) == IDLE_TICKS * _FIELDS:
                self._ready.set()
            if not confined and monotonic_ns() >= confine_at:
                confined = True
                self._confine()
        self.cpu_ns = thread_time_ns()

    def _tick(self, pause_s: float) -> None:
        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        cpu_ns, begun_ns = process_time_ns() - thread_time_ns(), monotonic_ns()
        sleep(pause_s)
        late_ns = monotonic_ns() - begun_ns - int(pause_s * 1e9)
        cpu_ns = process_time_ns() - thread_time_ns() - cpu_ns
        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - switches
        self._rows.extend((begun_ns, int(pause_s * 1e9), late_ns, switches, cpu_ns))

    def _confine(self) -> None:
        core = {_core_of(self._function_thread)}
        for thread in (self._function_thread, 0):
            with contextlib.suppress(OSError):  # not allowed here: less exact, not wrong
                os.sched_setaffinity(thread, core)

    def wait_until_ready(self) -> None:
        """Wait for the ticks of the idle baseline.

        Raises:
            GilscopeError: they do not come, or this system does not count context switches.
        """
        if not self._ready.wait(READY_LIMIT_S):
            raise GilscopeError(f"the ticker made no {IDLE_TICKS} ticks in {READY_LIMIT_S:g} s")
        if not any(tick.switches for tick in self.ticks()):
            raise GilscopeError("this system does not count context switches, by which classify sees the GIL")

    def stop(self) -> None:
        """Take the last tick, end, and let the function's thread run where it may."""
        self._going = False
        self.join()
        os.sched_setaffinity(0, self._cores)

    def ticks(self) -> tuple[Tick, ...]:
        """Return all ticks so far."""
        rows = self._rows[:]
        return tuple(_tick_of(*rows[at : at + _FIELDS]) for at in range(0, len(rows), _FIELDS))


def _tick_of(begun_ns: int, pause_ns: int, late_ns: int, switches: int, cpu_ns: int) -> Tick:
    return Tick((begun_ns + pause_ns) / 1e6, pause_ns / 1e6, late_ns / 1e6, switches, cpu_ns / 1e6)


def _wake_promptly() -> None:
    """Have the kernel end this thread's sleeps on time, not up to 50 us late as is its habit."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


class _SchedAttr(ctypes.Structure):
    """``struct sched_attr`` in its first version (``man 2 sched_setattr``)."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def _run_promptly() -> None:
    """Ask the kernel for the shortest slice of its core: with it, this thread runs as soon as it wakes.

    Otherwise a function that has just woken itself is left on the core for a slice, of milliseconds, and whatever it does
    in less than that would be over before the ticker looks. Linux 6.12 and newer; where it cannot be had, short bursts of
    work between waits are not seen whole.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        short = _SchedAttr(ctypes.sizeof(_SchedAttr), os.SCHED_OTHER, nice=nice, runtime_ns=_SLICE_NS)
        ctypes.CDLL(None).syscall(number, 0, ctypes.byref(short), 0)


def _core_of(thread: int) -> int:
    """Return the core that a thread of this process ran on last; that is where the kernel thought it best placed."""
    stat = Path(f"/proc/self/task/{thread}/stat").read_text(encoding="ascii", errors="replace")
    return int(stat.rpartition(")")[2].split()[_CORE_FIELD])


@contextlib.contextmanager
def ticking(confine_after_s: float) -> Iterator[Ticker]:
    """Tick for the block, with a baseline taken and the switch interval short; everything is as before afterwards.

    Raises:
        GilscopeError: the ticker does not work here.
    """
    interval_s, ticker = sys.getswitchinterval(), Ticker(confine_after_s)
    ticker.start()
    try:
        ticker.wait_until_ready()
        sys.setswitchinterval(SWITCH_INTERVAL_MS / 1e3)
        yield ticker
    finally:
        sys.setswitchinterval(interval_s)
        ticker.stop()
