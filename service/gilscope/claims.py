"""What is said of threads, processes and the others, and what was measured of it: the textbook's table as data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gilscope.model import BackendName, Caution, Interpreter, Machine

TEXTBOOK_SCHEMA = 1
"""Version of ``textbook.json``. A file with a higher number is refused."""

Figure = float | int | str | bool | None
"""What a cell has measured; the unit is in the figure's name."""


class Topic(StrEnum):
    """The rows of the table, in their order."""

    SHARING = "sharing"
    HANDING_OVER = "handing_over"
    DATA = "data"
    TIME = "time"
    CRASH = "crash"
    WAITING_WORK = "waiting_work"
    COMPUTING_WORK = "computing_work"
    COSTS = "costs"
    CALL = "call"


class Standing(StrEnum):
    """Whether what is said holds: it does, it does with a footnote, it does not, or it could not be measured here."""

    HOLDS = "holds"
    FOOTNOTE = "holds with a footnote"
    FAILS = "does not hold"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Claim:
    """A row: what the tutorials say of each backend, and in a few words what was run to find out.

    ``of_textbook`` names the backends of which the classic table speaks; of the others it is what is commonly said.
    """

    topic: Topic
    title: str
    run: str
    says: Mapping[BackendName, str]
    of_textbook: tuple[BackendName, ...] = (BackendName.THREADS, BackendName.PROCESSES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What was measured of one claim about one backend.

    ``headline`` is the measured number in a few words, ``footnote`` what the claim leaves out, with its number, or why
    nothing was measured. ``figures`` holds all of it, ``code`` the lines that were run, which are in ``module``.
    """

    topic: Topic
    backend: BackendName
    says: str
    standing: Standing
    headline: str
    footnote: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    code: str = ""
    module: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """The cells of one Python, and how many seconds they took."""

    python: Interpreter
    cells: tuple[Cell, ...]
    seconds: float

    def cell(self, topic: Topic, backend: BackendName) -> Cell:
        """Return a cell. Raises KeyError where there is none."""
        for cell in self.cells:
            if (cell.topic, cell.backend) == (topic, backend):
                return cell
        raise KeyError(topic, backend)


@dataclass(frozen=True, slots=True)
class Textbook:
    """The whole table, once per Python. ``made_at`` is UTC; ``steal_share`` is what a hypervisor took meanwhile, 0 to 1."""

    gilscope: str
    made_at: str
    machine: Machine
    measured: tuple[Measured, ...]
    steal_share: float | None = None
    cautions: tuple[Caution, ...] = ()
    schema: int = TEXTBOOK_SCHEMA
