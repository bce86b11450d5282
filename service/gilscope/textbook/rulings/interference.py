"""Whether a neighbour's infinite loop or crash is felt."""

from __future__ import annotations

from gilscope.claims import Standing
from gilscope.model import BackendName
from gilscope.textbook.looping_stages import COMPUTING, IDLE, MANY, MANY_COMPUTING, PRINTING, Stage
from gilscope.textbook.rulings.base import Column, Figures, Ruling, milliseconds, number, percent, truth

SLOWER_RATIO, SLOWER_MS = 3.0, 5.0
"""A p99 counts as raised when it is so many times that of the idle service, and so many ms more."""
WAIT_SHARE = 0.1
"""A raised p99 counts as the loops' doing when the event loop waited so long for the GIL: a busy machine raises it as well."""
MEDIAN_RATIO = 1.5
"""Where nobody saw what it waited for: when the median has risen so much."""

_SHARES_A_LOOP = (BackendName.ASYNCIO, BackendName.THREADS)


def time(column: Column) -> Ruling:
    """Judge by the pings beside the tutorial's own loop and one that computes."""
    if column.backend is BackendName.ASYNCIO:
        return _time_on_loop(column.figures)
    if column.backend is BackendName.THREADS:
        return _time_of_threads(column.figures)
    return _time_of_others(column.figures)


def _time_on_loop(figures: Figures) -> Ruling:
    idle = milliseconds(_p99(figures, IDLE))
    headline = f"/ping p99 {idle}; with the infinite loop {_felt(figures, PRINTING)}"
    blocked = _raised(figures, PRINTING) and _hit_all(
        figures, PRINTING
    )  # it waits for itself, not for the GIL
    return Ruling(Standing.HOLDS if blocked else Standing.FAILS, headline)


def _time_of_threads(figures: Figures) -> Ruling:
    headline = _headline(figures)
    printing, computing = interferes(figures, PRINTING), interferes(figures, COMPUTING)
    if not printing and not computing:
        return Ruling(Standing.FAILS, headline, _many(figures))
    footnote = (
        f"A loop that only computes: {_explained(figures, COMPUTING)}; four of them: "
        f"{_felt(figures, MANY_COMPUTING)}. {_sooner(figures)}"
    )
    if printing:
        again = "It gives up the GIL whenever its output is written, and has it back before the event loop has woken. "
        return Ruling(Standing.HOLDS, headline, again + footnote)
    felt = "The tutorial's own loop is not the worst: it gives up the GIL whenever its output is written. "
    return Ruling(Standing.FOOTNOTE, headline, felt + footnote)


def _time_of_others(figures: Figures) -> Ruling:
    headline = _headline(figures)
    if interferes(figures, PRINTING) or interferes(figures, COMPUTING):
        footnote = f"A loop that only computes: {_explained(figures, COMPUTING)}."
        return Ruling(Standing.FAILS, headline, footnote)
    if any(_raised(figures, stage) for stage in (PRINTING, COMPUTING, MANY, MANY_COMPUTING)):
        return Ruling(Standing.FOOTNOTE, headline, f"They share the cores. {_many(figures)}")
    return Ruling(Standing.HOLDS, headline)


def interferes(figures: Figures, stage: Stage) -> bool:
    """Whether pings are later than on the idle service, and it is the loops that make them so."""
    wait = _wait(figures, stage)
    return _raised(figures, stage) and (_hit_all(figures, stage) if wait is None else wait >= WAIT_SHARE)


def _hit_all(figures: Figures, stage: Stage) -> bool:
    """Whether not just the slowest pings are later."""
    before, now = (number(figures, f"{one.name}_ping_p50_ms") for one in (IDLE, stage))
    return now >= MEDIAN_RATIO * before


def _raised(figures: Figures, stage: Stage) -> bool:
    before, now = _p99(figures, IDLE), _p99(figures, stage)
    return now >= SLOWER_RATIO * before and now >= before + SLOWER_MS


def _headline(figures: Figures) -> str:
    return f"/ping p99 {milliseconds(_p99(figures, IDLE))}; with the infinite loop {_explained(figures, PRINTING)}"


def _explained(figures: Figures, stage: Stage) -> str:
    wait = _wait(figures, stage)
    why = "" if wait is None else f", the event loop waiting for the GIL {percent(wait)} of the time"
    return _felt(figures, stage) + why


def _felt(figures: Figures, stage: Stage) -> str:
    """Say how late pings were; the slowest 1 % without an answer have no p99."""
    unanswered = number(figures, f"{stage.name}_unanswered")
    pings = number(figures, "pings_per_stage")
    if unanswered >= pings:
        return "no answer"
    if unanswered:
        return f"no answer within 1 s to {percent(unanswered / pings)} of pings"
    return milliseconds(_p99(figures, stage))


def _sooner(figures: Figures) -> str:
    return (
        f"One of them at a switch interval of 0.5 ms in place of 5 ms: {_felt(figures, COMPUTING.sooner())}."
    )


def _many(figures: Figures) -> str:
    worst = max(MANY, MANY_COMPUTING, key=lambda stage: _p99(figures, stage))
    return f"With four loops, /ping p99 was {_felt(figures, worst)} against {milliseconds(_p99(figures, IDLE))} without."


def _p99(figures: Figures, stage: Stage) -> float:
    return number(figures, f"{stage.name}_ping_p99_ms")


def _wait(figures: Figures, stage: Stage) -> float | None:
    name = f"{stage.name}_gil_wait_share"
    return None if figures.get(name) is None else number(figures, name)


def crash(column: Column) -> Ruling:
    """Judge by what died with the worker."""
    again = milliseconds(number(column.figures, "answers_again_ms"))
    died = truth(column.figures, "service_died")
    if died:
        headline = f"the whole process dies; started again, it answers after {again}"
    elif truth(column.figures, "neighbour_failed"):
        headline = f"every call in that pool fails; a new pool answers after {again}"
    else:
        headline = f"only that call fails; a new pool answers after {again}"
    if column.backend in _SHARES_A_LOOP:
        return Ruling(Standing.HOLDS if died else Standing.FAILS, headline)
    if died:
        return Ruling(
            Standing.FAILS, headline, "A segmentation fault ends the process, and every worker in it."
        )
    if not truth(column.figures, "neighbour_failed"):
        return Ruling(Standing.HOLDS, headline)
    footnote = (
        "The service lives on, but the pool does not: every other call in it failed with BrokenProcessPool, and it "
        f"takes no more. A new pool answered after {again}."
    )
    return Ruling(Standing.FOOTNOTE, headline, footnote)
