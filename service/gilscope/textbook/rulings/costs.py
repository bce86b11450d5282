"""What a worker costs, and how it is called."""

from __future__ import annotations

from gilscope.claims import Standing
from gilscope.model import BackendName
from gilscope.textbook.rulings.base import Column, Figures, Ruling, milliseconds, number, short, truth

TASK_MB = 100.0
"""Almost nothing: ten thousand sleeping tasks take less memory than this."""
LOOP_START_MS, LOOP_CALL_US = 20.0, 200.0
"""Almost nothing: an event loop starts, and a task is run, in less."""
THREAD_START_MS, THREAD_CALL_US, THREAD_MB = 20.0, 1_000.0, 1.0
"""Cheap: each cost is less than this."""
EXPENSIVE_RATIO = 3.0
"""Expensive: starting one and its memory are each so many times those of a thread."""

COSTS = ("start_ms", "call_us", "worker_mb")
_NAMES = ("to start", "to call", "in memory")

TOLERANCE = 1.15
"""In between: a cost that is within so many times of a process's is as much as that."""

_BETWEEN, _AS_PROCESS, _ABOVE, _BELOW = _PLACES = (
    "in between only",
    "as much as a process",
    "more than a process",
    "no more than a thread",
)


def costs(column: Column) -> Ruling:
    """Judge by start-up, a call's way there and back, and the memory of a worker more."""
    rule = {
        BackendName.ASYNCIO: _of_tasks,
        BackendName.THREADS: _of_threads,
        BackendName.PROCESSES: _of_processes,
        BackendName.INTERPRETERS: _of_interpreters,
    }
    return rule[column.backend](column)


def _of_tasks(column: Column) -> Ruling:
    start_ms, call_us, tasks_mb = (
        number(column.figures, name) for name in ("start_ms", "call_us", "ten_thousand_tasks_mb")
    )
    headline = (
        f"{milliseconds(start_ms)} to start its event loop, {milliseconds(call_us / 1e3)} a call, "
        f"{_memory(tasks_mb / 1e4)} per task"
    )
    little = start_ms < LOOP_START_MS and call_us < LOOP_CALL_US and tasks_mb < TASK_MB
    return Ruling(Standing.HOLDS if little else Standing.FAILS, headline)


def _of_threads(column: Column) -> Ruling:
    costs = _costs(column.figures)
    cheap = all(
        cost < limit for cost, limit in zip(costs, (THREAD_START_MS, THREAD_CALL_US, THREAD_MB), strict=True)
    )
    return Ruling(Standing.HOLDS if cheap else Standing.FAILS, _headline(costs))


def _of_processes(column: Column) -> Ruling:
    own, threads = _costs(column.figures), _costs_of(column, BackendName.THREADS)
    first_ms = number(column.figures, "first_start_ms")
    dear = [cost >= EXPENSIVE_RATIO * other for cost, other in zip(own, threads, strict=True)]
    headline = f"{_headline(own)}; the very first took {milliseconds(first_ms)} to start ({column.figures.get('start_method')})"
    if dear[0] and dear[2]:
        return Ruling(Standing.HOLDS, headline)
    if any(dear):
        return Ruling(Standing.FOOTNOTE, headline, f"Only {_list(dear)}: a thread took {_headline(threads)}.")
    return Ruling(Standing.FAILS, headline, f"A thread took {_headline(threads)}.")


def _of_interpreters(column: Column) -> Ruling:
    own = _costs(column.figures)
    threads, processes = (_costs_of(column, name) for name in (BackendName.THREADS, BackendName.PROCESSES))
    places = [_place(*costs) for costs in zip(own, threads, processes, strict=True)]
    if set(places) == {_BETWEEN}:
        return Ruling(Standing.HOLDS, _headline(own))
    told = "; ".join(
        f"{place} {_list([one == place for one in places])}" for place in _PLACES if place in places
    )
    footnote = (
        f"{told[0].upper()}{told[1:]}. A thread took {_headline(threads)}; a process {_headline(processes)}."
    )
    return Ruling(Standing.FOOTNOTE if _BETWEEN in places else Standing.FAILS, _headline(own), footnote)


def _place(cost: float, thread: float, process: float) -> str:
    """Say where a cost lies between that of a thread and that of a process."""
    if cost > process * TOLERANCE:
        return _ABOVE
    if cost >= process / TOLERANCE:
        return _AS_PROCESS
    return _BETWEEN if cost > thread else _BELOW


def _list(chosen: list[bool]) -> str:
    return " and ".join(name for name, is_so in zip(_NAMES, chosen, strict=True) if is_so)


def _costs(figures: Figures) -> list[float]:
    return [number(figures, name) for name in COSTS]


def _costs_of(column: Column, backend: BackendName) -> list[float]:
    if backend not in column.all:
        raise ValueError(f"there is nothing to compare with: it was not measured on {backend}")
    return _costs(column.all[backend])


def _headline(costs: list[float]) -> str:
    start_ms, call_us, worker_mb = costs
    return (
        f"{milliseconds(start_ms)} to start, {milliseconds(call_us / 1e3)} a call, "
        f"{_memory(max(0.0, worker_mb))} per worker"
    )


def _memory(megabytes: float) -> str:
    return f"{short(megabytes)} MB" if megabytes >= 1 else f"{short(megabytes * 1e3)} kB"


def call(column: Column) -> Ruling:
    """Judge by whether the two lines ran, and those for many calls."""
    if not truth(column.figures, "ran"):
        return Ruling(Standing.FAILS, "the two lines did not run")
    if not truth(column.figures, "many_ran"):
        return Ruling(Standing.FAILS, "the lines for many calls did not run")
    return Ruling(
        Standing.HOLDS, "ran", "Both ran. The second is for many calls; work is a function of one's own."
    )
