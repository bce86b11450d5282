"""What the figures mean, in sentences: for the choice of a backend first, then what else was noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gilscope.classify.deciding import HARMFUL_MS, HOLDS_ABOVE, RELEASES_BELOW, Figures, enables_gil
from gilscope.classify.observation import Observation
from gilscope.model import GilClass

MOSTLY = 0.75
SELDOM = 0.25
NEAR = 0.05
FEW_TICKS = 20
BRIEF_MS = 1.0
TRIVIAL_MS = 0.05
BUSY_BACKGROUND = 0.2


@dataclass(frozen=True, slots=True)
class Findings:
    """All that is known about a function when the sentences are made.

    ``no_subinterpreters`` says why there are none here, ``subinterpreter_problem`` why this function cannot run in one.
    """

    observation: Observation
    figures: Figures
    gil_class: GilClass
    can_release: bool | None
    no_subinterpreters: str | None
    subinterpreter_problem: str | None

    @property
    def subinterpreter_safe(self) -> bool | None:
        """Whether it imports in a subinterpreter; None where there are none."""
        return None if self.no_subinterpreters else self.subinterpreter_problem is None

    @property
    def has_gil(self) -> bool:
        """Whether there was a GIL to hold while the function ran."""
        return self.observation.gil_enabled[1]


def reasons(findings: Findings) -> Iterator[str]:
    """Give the reasons, the most important first; the first two explain the class and advise."""
    if findings.has_gil:
        yield _MEANING[findings.gil_class](findings)
        yield _advise(findings)
    else:
        yield "this Python has no GIL to hold: threads run side by side, whatever the function does"
    yield from _obstacles(findings)
    yield from _about_the_modules(findings)
    yield from _doubts(findings)


def _releases(findings: Findings) -> str:
    share = 1 - findings.figures.held_share
    return f"it releases the GIL for {share:.0%} of a call: other threads run meanwhile"


def _preemptible(findings: Findings) -> str:
    return (
        f"it holds the GIL for {findings.figures.held_share:.0%} of a call, and gives it up when another thread has "
        f"asked for {HARMFUL_MS:g} ms: in a thread it slows the event loop down, and does not freeze it"
    )


def _blocking(findings: Findings) -> str:
    longest = findings.figures.longest_hold_ms
    if longest < HARMFUL_MS:
        return (
            f"C calls hold the GIL throughout, the longest for {_ms(longest)}: with these arguments that is no worse "
            "than Python code, with larger ones it may be"
        )
    return f"{_one_c_call(findings)}: a thread would freeze the event loop as well"


def _mixed(findings: Findings) -> str:
    figures = findings.figures
    if figures.held_share >= HOLDS_ABOVE:
        text = (
            f"it holds the GIL for {figures.held_share:.0%} of a call, {figures.blocking_share:.0%} in C calls and the "
            "rest in Python code"
        )
    else:
        text = f"it releases the GIL for {1 - figures.held_share:.0%} of a call, and holds it for the rest"
    if figures.longest_hold_ms < HARMFUL_MS:
        return text
    return f"{text}; {_one_c_call(findings)}: a thread would freeze the event loop for that long"


def _one_c_call(findings: Findings) -> str:
    asleep = ", asleep," if findings.figures.off_core else ""
    return f"one C call{asleep} holds the GIL for up to {_ms(findings.figures.longest_hold_ms)}"


_MEANING: dict[GilClass, Callable[[Findings], str]] = {
    GilClass.RELEASES: _releases,
    GilClass.PREEMPTIBLE: _preemptible,
    GilClass.BLOCKING: _blocking,
    GilClass.MIXED: _mixed,
}


def _advise(findings: Findings) -> str:
    call_ms = findings.figures.call_ms
    if call_ms < TRIVIAL_MS:
        return f"a call takes {_ms(call_ms)}: less than any backend takes to hand it over"
    return _ADVICE[findings.gil_class](findings)


def _advise_releasing(findings: Findings) -> str:
    figures = findings.figures
    if findings.observation.is_async:
        return _advise_coroutine(figures)
    if figures.cpu_share < SELDOM:
        return "it mostly waits, which threads are good for; an async version would wait on the event loop itself"
    return "it computes without the GIL: threads use all cores, and leave the event loop free"


def _advise_coroutine(figures: Figures) -> str:
    if figures.suspended_share >= MOSTLY:
        return "it gives the event loop back while it waits: asyncio is the place for it"
    return (
        f"it gives the event loop back for {figures.suspended_share:.0%} of a call only: a coroutine that waits or "
        "computes without await stops the loop, GIL or not; threads do not have that problem"
    )


def _advise_preemptible(findings: Findings) -> str:
    if findings.figures.call_ms < BRIEF_MS:
        return f"a call takes {_ms(findings.figures.call_ms)}: soon over, even on the event loop"
    return f"threads make it no faster; {_elsewhere(findings)}"


def _advise_mixed(findings: Findings) -> str:
    return f"threads overlap where it releases the GIL; {_elsewhere(findings)}"


def _elsewhere(findings: Findings) -> str:
    """Say where the function has a GIL of its own."""
    if findings.observation.pickling_problem is not None:
        return (
            "it cannot be handed to another process or subinterpreter, where it would have a GIL of its own"
        )
    if findings.subinterpreter_safe:
        return "processes and subinterpreters have a GIL of their own, and leave the event loop free"
    return "processes have a GIL of their own, and leave the event loop free"


_ADVICE: dict[GilClass, Callable[[Findings], str]] = {
    GilClass.RELEASES: _advise_releasing,
    GilClass.PREEMPTIBLE: _advise_preemptible,
    GilClass.BLOCKING: _elsewhere,
    GilClass.MIXED: _advise_mixed,
}


def _obstacles(findings: Findings) -> Iterator[str]:
    if findings.observation.pickling_problem is not None:
        yield findings.observation.pickling_problem
    if findings.subinterpreter_problem is not None:
        yield findings.subinterpreter_problem


def _about_the_modules(findings: Findings) -> Iterator[str]:
    if findings.can_release is False and findings.figures.held_share >= HOLDS_ABOVE:
        names = ", ".join(Path(file).name.partition(".")[0] for file in findings.observation.extensions)
        yield f"no extension module behind it can release the GIL ({names})"
    if enables_gil(findings.observation):
        yield "importing it switches the GIL back on in this free-threaded Python"
    if findings.figures.background_share > BUSY_BACKGROUND:
        yield (
            "threads that its module started hold the GIL as well: "
            f"{findings.figures.background_share:.0%} of the time before it was called"
        )


def _doubts(findings: Findings) -> Iterator[str]:
    observation, figures = findings.observation, findings.figures
    if observation.stumble is not None:
        last = observation.stumble.strip().rpartition("\n")[2]
        yield f"it raised when it was called again ({last}): the figures are of its first call"
    elif not observation.repeated:
        yield "a call takes so long that there was time for one only"
    if observation.forked:
        yield "it forks, and returns in the copy as well: in a service, every call would leave another process"
    if figures.ticks < FEW_TICKS and figures.longest_hold_ms < HARMFUL_MS:
        yield f"there were only {figures.ticks} moments to judge by: the class is a guess"
    for line in (RELEASES_BELOW, HOLDS_ABOVE):
        if abs(figures.held_share - line) < NEAR and figures.longest_hold_ms < HARMFUL_MS:
            yield f"it is close to the line between classes, which is at {line:.0%} held"


def _ms(value: float) -> str:
    if value < 0.001:
        return "less than 1 us"
    return f"{value:.2g} ms" if value < 10 else f"{value:.0f} ms"
