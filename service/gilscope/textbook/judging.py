"""From figures to the cells of the table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gilscope.claims import Cell, Figure, Standing, Topic
from gilscope.model import BackendName
from gilscope.textbook.claims_table import CELLS, CLAIMS
from gilscope.textbook.rulings import costs, interference, memory, suitability
from gilscope.textbook.rulings.base import Column, Ruling
from gilscope.textbook.showing import first_lines

_RULINGS: dict[Topic, Callable[[Column], Ruling]] = {
    Topic.SHARING: memory.sharing,
    Topic.HANDING_OVER: memory.handing_over,
    Topic.DATA: memory.data,
    Topic.TIME: interference.time,
    Topic.CRASH: interference.crash,
    Topic.WAITING_WORK: suitability.waiting,
    Topic.COMPUTING_WORK: suitability.computing,
    Topic.COSTS: costs.costs,
    Topic.CALL: costs.call,
}
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Taken:
    """What an experiment gave: its figures and its code, or the reason why it gave none."""

    figures: Mapping[str, Figure]
    code: str = ""
    reason: str | None = None


Results = Mapping[tuple[str, BackendName], Taken]
"""What every experiment gave, by its module's name and the backend."""


def module_of(topic: Topic) -> str:
    """Return where a topic's experiment is, below ``service/``."""
    return f"gilscope/textbook/cells/{CELLS[topic]}.py"


def judge(topic: Topic, backend: BackendName, results: Results) -> Cell:
    """Judge one cell; figures that are missing, its own or those to compare with, make it one that was not measured."""
    taken = results.get((CELLS[topic], backend), Taken({}, reason="It was not run."))
    code, reason, ruling = taken.code, taken.reason, None
    if reason is None:
        try:
            ruling = _RULINGS[topic](_column(topic, backend, results))
            code = calls(code, backend) if topic is Topic.CALL else code
        except (ValueError, ZeroDivisionError) as problem:
            reason = f"The figures cannot be judged: {problem}."
    ruling = ruling or Ruling(Standing.UNKNOWN, NOT_MEASURED, reason or "")
    says, module = CLAIMS[topic].says[backend], module_of(topic)
    return Cell(
        topic=topic,
        backend=backend,
        says=says,
        figures=taken.figures,
        code=code,
        module=module,
        **ruling._asdict(),
    )


def calls(code: str, backend: BackendName) -> str:
    """Return the two lines of a single call, and those for many."""
    return "\n\n".join(first_lines(code, f"{name}_{backend}") for name in ("in", "many_in"))


def _column(topic: Topic, backend: BackendName, results: Results) -> Column:
    cells = CELLS[topic]
    measured = {
        name: taken.figures
        for (module, name), taken in results.items()
        if module == cells and taken.reason is None
    }
    return Column(backend, measured[backend], measured)


def judge_all(results: Results) -> tuple[Cell, ...]:
    """Judge every cell, row by row."""
    return tuple(judge(topic, backend, results) for topic in Topic for backend in BackendName)
