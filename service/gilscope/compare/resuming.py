"""What is left of a run that was interrupted, and whether it can be gone on with here. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gilscope.compare.figures import spoilt
from gilscope.compare.plan import Slot, schedule
from gilscope.model import Caution, Machine, Plan, Run, Target, Trial

SAME_MEMORY = 0.05
"""Kernels count their memory a little differently; a machine that lost or got this share is another one."""

_REMEDY = "look whether the later trials differ from the earlier ones; if so, compare anew"


def left(plan: Plan, trials: Iterable[Trial]) -> Iterator[Slot]:
    """Yield, in the order of the plan, the slots that ``trials`` leave: what was not interrupted would have them all.

    A trial that failed counts as done, as it does in a run that is not interrupted: to try such trials until they succeed
    would choose among outcomes, and a function that kills its process would be tried for ever. What the generator or the
    machine spoilt has its second attempt left, unless that is there too.
    """
    known = {trial.place_in_plan: trial for trial in sorted(trials, key=lambda trial: trial.attempt)}
    for slot in schedule(plan):
        trial = known.get((slot.target.workload, slot.backend, slot.block, slot.twin))
        if trial is None:
            yield slot
        elif wants_another(trial):
            yield replace(slot, attempt=2)


def wants_another(trial: Trial) -> bool:
    """Whether a trial is to be tried once more."""
    return trial.attempt == 1 and spoilt(trial)


def obstacles(run: Run, machine: Machine, sources: dict[str, str]) -> Iterator[str]:
    """Say why further trials could not be compared with those of ``run``: what was measured is not here any more.

    ``sources`` has, by workload, the SHA-256 of the file that the function is in now.
    """
    before = run.machine
    pairs = {
        "the processor": (before.cpu, machine.cpu),
        "the number of cores": (str(before.cores), str(machine.cores)),
        "Python": (_minor(before.python), _minor(machine.python)),
        "how processes are started": (before.start_method, machine.start_method),
    }
    for what, (one, other) in pairs.items():
        if one != other:
            yield f"{what} was {one} and is {other} here"
    for target in run.plan.targets:
        if target.source and sources[target.workload] != target.source:
            yield _changed(target, found=bool(sources[target.workload]))


def _minor(python: str) -> str:
    """Return ``CPython 3.14`` of ``CPython 3.14.2``; what follows the version stays."""
    name, _, rest = python.partition(" ")
    version, *build = rest.split(" ")
    return " ".join((name, ".".join(version.split(".")[:2]), *build))


def _changed(target: Target, *, found: bool) -> str:
    where = target.reference.rpartition(":")[0]
    if found:
        return f"{where} has changed since the run began"
    return f"{where} is not found from this folder (resume in the one where the comparison was begun)"


def differences(run: Run, machine: Machine, version: str) -> Iterator[Caution]:
    """Say what else is not as it was, and may show in the figures. ``version`` is that of gilscope."""
    before = run.machine
    pairs = {
        "system-changed": ("the system", before.system, machine.system),
        "python-changed": ("Python", before.python, machine.python),
        "gilscope-changed": ("gilscope", run.gilscope, version),
    }
    for code, (what, one, other) in pairs.items():
        if one != other:
            yield Caution(code, f"resumed after {what} had changed from {one} to {other}", _REMEDY)
    if abs(machine.memory_mb - before.memory_mb) > SAME_MEMORY * before.memory_mb:
        told = f"resumed after memory had changed from {before.memory_mb} to {machine.memory_mb} MB"
        yield Caution("memory-changed", told, _REMEDY)
    for target in run.plan.targets:
        if ":" in target.reference and not target.source and run.plan.url is None:
            told = f"nobody knows whether {target.reference} is as it was when the run began: it left no fingerprint"
            yield Caution("source-unknown", told, _REMEDY)


def resumed(run: Run, at: str, cautions: Iterable[Caution]) -> Run:
    """Return the run as it is gone on with ``at`` that time; a caution is kept once."""
    told = dict.fromkeys((*run.cautions, *cautions))
    return replace(run, resumed_at=(*run.resumed_at, at), cautions=tuple(told))
