"""Running the function beside the ticker, and without it, within a budget of time."""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Callable, Collection, Iterable
from itertools import pairwise
from pathlib import Path
from time import monotonic_ns, process_time_ns
from typing import NamedTuple

from gilscope.backends.base import Outcome
from gilscope.classify.calling import CallFailedError
from gilscope.classify.observation import Stretch, Tick, Timing, Watch
from gilscope.classify.ticker import ticking
from gilscope.lens.tasks import parse_schedstat

Call = Callable[[], Outcome]

QUIET_SHARE, WATCHED_SHARE = 0.2, 0.7
"""By which share of the budget calls without the ticker end, and those beside it."""

AGAIN_UP_TO = 3.0
"""A first call that took longer, in budgets, stays the only one."""

STRETCH_NS = 5_000_000
"""Calls that are shorter are taken together up to this: the ticker cannot tell them apart."""

FIRST_CALL_ALONE_S = 0.3
"""For so long the first call keeps all cores: threads that it starts and keeps are not confined to one."""

_STEAL_FIELD = 8
_JIFFY_MS = 10.0


class Finding(NamedTuple):
    """What is used of all calls.

    ``repeated`` is False where the first had to do; ``stumble`` is the exception of a later one.
    """

    watch: Watch
    timing: Timing
    repeated: bool = False
    stumble: str | None = None


def watch_first(call: Call) -> tuple[Finding, object]:
    """Watch the first call, in case it stays the only one; return its result, too.

    Raises:
        CallFailedError: the function raised.
        GilscopeError: the ticker does not work here.
    """
    watch, outcomes, timing = _watch(call, 0.0, confine_after_s=FIRST_CALL_ALONE_S)
    return Finding(watch, timing), outcomes.last.result


def watch_more(call: Call, first: Finding, seconds: float) -> Finding:
    """Spend what the first call left of ``seconds``: calls by themselves, then beside the ticker.

    The first call often imports and fills caches, and so counts only if it took far too long for another or is
    the only one that succeeded.
    """
    spent_s = first.timing.wall_ms / 1e3
    if spent_s >= AGAIN_UP_TO * seconds:
        return first
    try:
        quiet = None
        if 2 * spent_s < seconds:
            quiet = _time_quietly(call, QUIET_SHARE * seconds)
            spent_s += quiet.wall_ms / 1e3
        watch, _, timing = _watch(call, WATCHED_SHARE * seconds - spent_s, confine_after_s=0.0)
    except CallFailedError as problem:
        return first._replace(stumble=str(problem))
    return Finding(watch, quiet or timing, repeated=True)


def _watch(call: Call, seconds: float, *, confine_after_s: float) -> tuple[Watch, _Outcomes, Timing]:
    with ticking(confine_after_s) as ticker:
        idle = ticker.ticks()
        cores = os.sched_getaffinity(0)  # one, where the ticker has confined us
        before = _Counters.now(cores)
        outcomes, moments = _repeat(call, seconds)
        after = _Counters.now(cores)
    begun_ms, ended_ms = moments[0] / 1e6, moments[-1] / 1e6
    watch = Watch(
        idle,
        _while_it_ran(ticker.ticks(), begun_ms, ended_ms),
        tuple(Stretch(one / 1e6, other / 1e6) for one, other in pairwise(moments)),
        after.runqueue_ms - before.runqueue_ms,
        after.stolen_ms - before.stolen_ms,
    )
    return watch, outcomes, _timing(outcomes, moments, before, after, own_cpu_ns=ticker.cpu_ns)


def _while_it_ran(ticks: Iterable[Tick], begun_ms: float, ended_ms: float) -> tuple[Tick, ...]:
    """Return the ticks that concern the function. The first may have been due before, and has waited through a call."""
    return tuple(tick for tick in ticks if tick.due_ms <= ended_ms and tick.due_ms + tick.late_ms >= begun_ms)


def _time_quietly(call: Call, seconds: float) -> Timing:
    cores = os.sched_getaffinity(0)
    before = _Counters.now(cores)
    outcomes, moments = _repeat(call, seconds)
    return _timing(outcomes, moments, before, _Counters.now(cores), own_cpu_ns=0)


class _Outcomes:
    """The times of calls in nanoseconds, and the last outcome."""

    def __init__(self, first: Outcome) -> None:
        self.wall_ns: list[int] = []
        self.suspended_ns = 0
        self.add(first)

    def add(self, outcome: Outcome) -> None:
        self.wall_ns.append(outcome.finished_ns - outcome.started_ns)
        self.suspended_ns += outcome.suspended_ns
        self.last = outcome


def _repeat(call: Call, seconds: float) -> tuple[_Outcomes, list[int]]:
    """Call until ``seconds`` are over, at least once; return also the moments that part the stretches."""
    moments = [monotonic_ns()]
    deadline = moments[0] + int(seconds * 1e9)
    outcomes = _Outcomes(call())
    while (now := monotonic_ns()) < deadline:
        if now - moments[-1] >= STRETCH_NS:
            moments.append(now)
        outcomes.add(call())
    moments.append(now)
    return outcomes, moments


class _Counters(NamedTuple):
    """CPU time of this process, and what its main thread and some cores lost, since some time in the past."""

    cpu_ns: int
    runqueue_ms: float
    stolen_ms: float

    @classmethod
    def now(cls, cores: Collection[int]) -> _Counters:
        return cls(process_time_ns(), _runqueue_ms(), _stolen_ms(cores))


def _timing(
    outcomes: _Outcomes, moments: list[int], before: _Counters, after: _Counters, *, own_cpu_ns: int
) -> Timing:
    return Timing(
        calls=len(outcomes.wall_ns),
        call_ms=statistics.median(outcomes.wall_ns) / 1e6,
        wall_ms=(moments[-1] - moments[0]) / 1e6,
        cpu_ms=max(0, after.cpu_ns - before.cpu_ns - own_cpu_ns) / 1e6,
        runqueue_ms=after.runqueue_ms - before.runqueue_ms,
        suspended_ms=outcomes.suspended_ns / 1e6,
    )


def _runqueue_ms() -> float:
    """Return for how long this thread has been ready without a core; 0 where the kernel does not tell."""
    try:
        stat = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_bytes()
    except OSError:
        return 0.0
    return parse_schedstat(stat).runqueue_ns / 1e6


def _stolen_ms(cores: Collection[int]) -> float:
    """Return what the hypervisor has taken from these cores; 0 where the kernel does not tell."""
    wanted = {f"cpu{core}" for core in cores}
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()]
    except OSError:
        return 0.0
    return sum(int(line[_STEAL_FIELD]) for line in lines if line[0] in wanted) * _JIFFY_MS
