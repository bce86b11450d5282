"""How one function does on several Pythons: ratios with 95 % intervals, over blocks that they shared. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gilscope.model import BackendName, Interval, Plan, PythonChange, Samples, Target, Trial
from gilscope.verdict.changes import ratio
from gilscope.verdict.statistics import Figures, cut, estimate


def across_pythons(
    plan: Plan, trials: Sequence[Trial], samples: Mapping[str, Samples], *, seed: int
) -> tuple[PythonChange, ...]:
    """Compare every function on every backend between the first Python of the plan that has it and each later one.

    All Pythons were tried in the same blocks, which are drawn together, as a verdict's backends are: what slowed a block
    down cancels out. Nothing is said of what has no trial that counts on two Pythons.
    """
    names = dict.fromkeys(target.name_in_service for target in plan.targets)
    return tuple(
        change
        for name in names
        for backend in BackendName
        for change in _of_backend(plan, name, backend, trials, samples, seed)
    )


def _of_backend(
    plan: Plan,
    name: str,
    backend: BackendName,
    trials: Sequence[Trial],
    samples: Mapping[str, Samples],
    seed: int,
) -> Iterator[PythonChange]:
    own = {
        target.python: counted
        for target in plan.targets
        if target.name_in_service == name and (counted := _counted(target, backend, trials))
    }
    if len(own) < 2:
        return
    figures = estimate(
        {python: [cut(samples[trial.samples or ""]) for trial in counted] for python, counted in own.items()},
        seed=seed,
        numbers={python: [trial.block for trial in counted] for python, counted in own.items()},
    )
    before, *later = own
    for python in later:
        yield PythonChange(name, backend, python, before, *_ratios(figures[python], figures[before]))


def _counted(target: Target, backend: BackendName, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials of a target on a backend that may decide something."""
    return [
        trial
        for trial in trials
        if (trial.workload, trial.backend) == (target.workload, backend)
        and trial.valid
        and not trial.twin
        and trial.samples is not None
    ]


def _ratios(now: Figures, before: Figures) -> tuple[Interval, Interval, Interval]:
    return (
        ratio(now.throughput_rps, before.throughput_rps),
        ratio(now.p99_ms, before.p99_ms),
        ratio(now.probe_p99_ms, before.probe_p99_ms),
    )
