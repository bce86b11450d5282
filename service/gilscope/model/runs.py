"""A run, whole: its plan, machine, trials and conclusions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gilscope.model.plans import Plan
from gilscope.model.samples import Samples
from gilscope.model.trials import Caution, Flame, Folded, Trial
from gilscope.model.verdicts import BreakEven, Capacity, PythonChange, Verdict

SCHEMA = 1
"""Version of ``run.json``. A file with a higher number is refused, never guessed at."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that a run was made on. ``memory_mb`` is the machine's total."""

    system: str
    cpu: str
    cores: int
    memory_mb: int
    python: str
    start_method: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the run's own wall time went: under load, under the profiler, and everything else."""

    total_s: float = 0.0
    load_s: float = 0.0
    profiling_s: float = 0.0

    @property
    def useful_share(self) -> float:
        """Share of the wall time that was load or profiling, 0 to 1 (0 for an empty run)."""
        return (self.load_s + self.profiling_s) / self.total_s if self.total_s else 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """All trials of one comparison, with the machine they ran on. ``complete`` is False until the last one.

    ``searched`` are the trials of a search for capacities, each at a rate of its own. ``resumed_at`` says when it was gone
    on with after an interruption, as ``started_at`` does; ``cautions`` what was not the same then. ``timing`` adds up all
    of these times, and not those between.
    """

    gilscope: str
    name: str
    started_at: str
    machine: Machine
    plan: Plan
    trials: tuple[Trial, ...] = ()
    flames: tuple[Flame, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    break_evens: tuple[BreakEven, ...] = ()
    capacities: tuple[Capacity, ...] = ()
    searched: tuple[Trial, ...] = ()
    python_changes: tuple[PythonChange, ...] = ()
    timing: Timing = Timing()
    complete: bool = False
    schema: int = SCHEMA
    resumed_at: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run with all that was kept of it: what verdicts and reports are made from.

    ``samples`` is keyed by :attr:`Trial.samples`, ``stacks`` by :attr:`Flame.path`.
    """

    run: Run
    samples: Mapping[str, Samples] = field(default_factory=dict)
    stacks: Mapping[str, Folded] = field(default_factory=dict)
