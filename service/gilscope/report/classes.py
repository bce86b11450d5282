"""What a function does to the GIL, in words: for a card, a section and a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gilscope.model import Classification, GilClass
from gilscope.report import formats

MEANING: Mapping[GilClass, str] = MappingProxyType(
    {
        GilClass.RELEASES: "gives up the GIL for its long parts",
        GilClass.PREEMPTIBLE: "holds the GIL, gives it up every 5 ms",
        GilClass.BLOCKING: "one C call holds the GIL throughout",
        GilClass.MIXED: "holds the GIL in some parts, gives it up in others",
    }
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A classification in words: its name, what that means, the figures, the facts, the reasons (what follows from it)."""

    name: str
    meaning: str
    figures: str
    facts: str
    reasons: tuple[str, ...]


def put_in_words(found: Classification) -> Kind:
    """Say what was found of a function."""
    return Kind(
        name=found.gil_class.value,
        meaning=MEANING[found.gil_class],
        figures=_figures(found),
        facts=_facts(found),
        reasons=found.reasons,
    )


def _figures(found: Classification) -> str:
    hold = formats.milliseconds(found.longest_hold_ms, digits=2)
    return f"held {formats.percent(found.held_share)}, longest hold {hold}, CPU {formats.percent(found.cpu_share)}"


def _facts(found: Classification) -> str:
    """Say how long a call takes, and answer yes or no to what could be asked here."""
    asked = {
        "pickles": found.pickles,
        "runs in subinterpreters": found.subinterpreter_safe,
        "has an extension that can release the GIL": found.can_release,
        "switches the GIL on in a free-threaded build": found.enables_gil,
    }
    known = {question: answer for question, answer in asked.items() if answer is not None}
    answers = (f"{question}: {'yes' if answer else 'no'}" for question, answer in known.items())
    return "; ".join((f"a call: {formats.milliseconds(found.call_ms)}", *answers))
