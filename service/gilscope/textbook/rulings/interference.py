"""Whether a neighbour's infinite loop or crash is felt."""

from __future__ import annotations

from gilscope.claims import Standing
from gilscope.model import BackendName
from gilscope.textbook.looping_stages import (
    BESIDE,
    COMPUTING,
    IDLE,
    LINES,
    MANY,
    MANY_COMPUTING,
    ON_LOOP,
    PRINTING,
    Stage,
)
from gilscope.textbook.rulings.base import Column, Figures, Ruling, milliseconds, number, percent, truth

SLOWER_RATIO, SLOWER_MS = 3.0, 5.0
"""A p99 counts as raised when it is so many times that of the idle service, and so many ms more."""
WAIT_SHARE = 0.1
"""Later pings count as the loops' doing when the event loop waited so long for the GIL: a busy machine makes them late as well.

Where there is no GIL, they count as the cores' doing when it waited so long for a core.
"""
MEDIAN_RATIO = 1.5
"""Pings count as later also when their median has risen so much: a busy machine may raise the p99 of an idle service."""

UNSEEN = "They share the cores. Whether the event loop also waited for the GIL was not seen here: the lens could not look."
UNFELT = "The event loop waited for the GIL, but pings were as late without any loop: the machine was busy."

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
    headline = f"/ping p99 without a loop {idle}; with the infinite loop: {_felt(figures, ON_LOOP)}"
    blocked = _raised(figures, ON_LOOP) and _hit_all(figures, ON_LOOP)  # it waits for itself, not for the GIL
    return Ruling(Standing.HOLDS if blocked else Standing.FAILS, headline)


def _time_of_threads(figures: Figures) -> Ruling:
    headline = _headline(figures)
    stages = (PRINTING, BESIDE, LINES, MANY, COMPUTING, MANY_COMPUTING)
    if not any(interferes(figures, stage) for stage in stages):
        if any(_waits(figures, stage) for stage in stages):
            return Ruling(Standing.FOOTNOTE, headline, f"{UNFELT} {_many(figures)}")
        why = "" if _has_gil(figures) else "There is no GIL to wait for: they share the cores only. "
        return Ruling(Standing.FAILS, headline, why + _many(figures))
    footnote = (
        f"On the same core: {_felt(figures, BESIDE)}; where each line is written at once, as to a terminal: "
        f"{_felt(figures, LINES)}; four such loops: {_felt(figures, MANY)}. A loop that only computes: "
        f"{_explained(figures, COMPUTING)}; four of those: {_felt(figures, MANY_COMPUTING)}. {_sooner(figures)}"
    )
    standing = Standing.HOLDS if interferes(figures, PRINTING) else Standing.FOOTNOTE
    return Ruling(standing, headline, _gives_up(figures, standing) + footnote)


def _gives_up(figures: Figures, standing: Standing) -> str:
    """Say how the tutorial's own loop stands to the GIL."""
    if not _has_gil(figures):
        return ""
    if standing is Standing.HOLDS:
        return (
            "The loop gives up the GIL whenever a block of its output is written, and has it back before the event loop has "
            "woken on another core. "
        )
    return "The tutorial's own loop is not the worst: it gives up the GIL whenever its output is written. "


def _time_of_others(figures: Figures) -> Ruling:
    headline, every = _headline(figures), (PRINTING, COMPUTING, MANY, MANY_COMPUTING)
    if any(_waits(figures, stage) and interferes(figures, stage) for stage in (PRINTING, COMPUTING)):
        footnote = f"A loop that only computes: {_explained(figures, COMPUTING)}."
        return Ruling(Standing.FAILS, headline, footnote)
    felt = [stage for stage in every if _raised(figures, stage) and _hit_all(figures, stage)]
    if not felt:
        return Ruling(Standing.HOLDS, headline, f"They share the cores. {_many(figures)}")
    unseen = _has_gil(figures) and any(_wait(figures, stage) is None for stage in felt)
    why = UNSEEN if unseen else "They share the cores."
    return Ruling(Standing.FOOTNOTE, headline, f"{why} {_many(figures)}")


def interferes(figures: Figures, stage: Stage) -> bool:
    """Whether pings are later than on the idle service, and it is the loops that make them so."""
    if _wait(figures, stage) is None:
        lacked_a_core = not _has_gil(figures) and (_core_wait(figures, stage) or 0.0) >= WAIT_SHARE
        return _raised(figures, stage) and _hit_all(figures, stage) and not lacked_a_core
    return _waits(figures, stage) and (_raised(figures, stage) or _hit_all(figures, stage))


def _waits(figures: Figures, stage: Stage) -> bool:
    wait = _wait(figures, stage)
    return wait is not None and wait >= WAIT_SHARE


def _hit_all(figures: Figures, stage: Stage) -> bool:
    """Whether not just the slowest pings are later."""
    before, now = (number(figures, f"{one.name}_ping_p50_ms") for one in (IDLE, stage))
    return now >= MEDIAN_RATIO * before


def _raised(figures: Figures, stage: Stage) -> bool:
    before, now = _p99(figures, IDLE), _p99(figures, stage)
    return now >= SLOWER_RATIO * before and now >= before + SLOWER_MS


def _headline(figures: Figures) -> str:
    idle, one_core = milliseconds(_p99(figures, IDLE)), number(figures, "cores") == 1
    where = "" if one_core else " on another core"
    return f"/ping p99 without a loop {idle}; with the infinite loop{where}: {_explained(figures, PRINTING)}"


def _explained(figures: Figures, stage: Stage) -> str:
    what, wait = "the GIL", _wait(figures, stage)
    if not _has_gil(figures):
        what, wait = "a core", _core_wait(figures, stage)
    why = "" if wait is None else f" (the event loop waited for {what} {percent(wait)} of the time)"
    return _felt(figures, stage) + why


def _felt(figures: Figures, stage: Stage) -> str:
    """Say how late pings were; the slowest 1 % without an answer have no p99. Loops that did not get to begin are told."""
    unanswered = number(figures, f"{stage.name}_unanswered")
    pings = number(figures, "pings_per_stage")
    begun = number(figures, f"{stage.name}_loops_begun")
    of = "" if begun >= stage.loops else f" ({begun:.0f} of {stage.loops} loops got to run)"
    if unanswered >= pings:
        return "no answer" + of
    if unanswered:
        return f"{percent(unanswered / pings)} of pings got no answer within 1 s{of}"
    return milliseconds(_p99(figures, stage)) + of


def _sooner(figures: Figures) -> str:
    printing, computing = (_felt(figures, stage.sooner()) for stage in (PRINTING, COMPUTING))
    return f"With sys.setswitchinterval(0.0005): the tutorial's loop {printing}, the one that computes {computing}."


def _many(figures: Figures) -> str:
    worst = max(MANY, MANY_COMPUTING, key=lambda stage: _p99(figures, stage))
    return (
        f"With four loops, /ping p99: {_felt(figures, worst)}; without, {milliseconds(_p99(figures, IDLE))}."
    )


def _p99(figures: Figures, stage: Stage) -> float:
    return number(figures, f"{stage.name}_ping_p99_ms")


def _has_gil(figures: Figures) -> bool:
    return truth(figures, "gil_enabled")


def _wait(figures: Figures, stage: Stage) -> float | None:
    """Return the share of time for which the event loop waited for the GIL; None: not seen, or there is none."""
    return _share(figures, stage, "gil_wait") if _has_gil(figures) else None


def _core_wait(figures: Figures, stage: Stage) -> float | None:
    return _share(figures, stage, "core_wait")


def _share(figures: Figures, stage: Stage, of: str) -> float | None:
    name = f"{stage.name}_{of}_share"
    return None if figures.get(name) is None else number(figures, name)


def crash(column: Column) -> Ruling:
    """Judge by what died with the worker."""
    again = milliseconds(number(column.figures, "answers_again_ms"))
    died = truth(column.figures, "service_died")
    if died:
        headline = f"the whole service dies; started again, it answers /ping after {again}"
    elif truth(column.figures, "neighbour_failed"):
        headline = (
            f"the service answers on; every call in that pool fails, and a new pool answers after {again}"
        )
    else:
        headline = f"the service answers on; only that call fails, and a new pool answers after {again}"
    if column.backend in _SHARES_A_LOOP:
        return Ruling(Standing.HOLDS if died else Standing.FAILS, headline)
    if died:
        return Ruling(
            Standing.FAILS, headline, "A segmentation fault ends the process, and every worker in it."
        )
    if not truth(column.figures, "neighbour_failed"):
        return Ruling(Standing.HOLDS, headline)
    footnote = "A crash breaks the pool that it happens in: its other calls fail with BrokenProcessPool, and it takes no more."
    return Ruling(Standing.FOOTNOTE, headline, footnote)
