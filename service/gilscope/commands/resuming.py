"""Taking up a comparison where it was interrupted: what is needed for that, and whether it is still here."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gilscope import __version__
from gilscope.commands.planning import own_address
from gilscope.compare.elsewhere import ask_service, missing
from gilscope.compare.machine import describe_machine
from gilscope.compare.resuming import differences, obstacles, resumed
from gilscope.compare.sources import fingerprint
from gilscope.compare.store import RunFolder
from gilscope.environments import Environment, prepare
from gilscope.errors import CaptureError, UsageError
from gilscope.model import Caution, Evidence, Machine, Plan, Run
from gilscope.profiling.asking import ProfilesThere
from gilscope.report import formats
from gilscope.report.facts import how_far
from gilscope.report.method import command

RUNNING = "wait until it ends, or stop it with Ctrl-C, and resume then"


@dataclass(frozen=True, slots=True)
class Start:
    """What is known when the first trial begins.

    ``known`` is the run with all that was measured before; ``begun`` is of ``time.monotonic``; ``cautions`` are to be
    told at once; ``raising`` names the workloads whose function raised when it was tried; ``environments`` are those of
    the plan's Pythons.
    """

    known: Evidence
    begun: float
    folder: RunFolder
    cautions: tuple[Caution, ...] = ()
    raising: frozenset[str] = frozenset()
    environments: tuple[Environment, ...] = ()

    @property
    def executables(self) -> dict[str, str]:
        """What services are started with, by the name of the Python."""
        return {one.interpreter.name: one.executable for one in self.environments}


def take_up(folder: RunFolder, known: Evidence, begun: float, token: str | None = None) -> Start:
    """Return what is known when a run is gone on with, and say so. ``token`` is what a service that runs already wants.

    Raises:
        UsageError: what would be measured now could not be compared with what was measured before, or would be less.
    """
    run, machine = known.run, describe_machine()
    environments = environments_again(run)
    _require_the_same(folder, run, machine, [one.interpreter.name for one in environments])
    if run.plan.load_master is not None:
        own_address(run.plan.load_master)
    _require_profiles(run.plan, token)
    folder.sweep()
    cautions = tuple(differences(run, machine, __version__))
    at = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"resuming {folder.path}: {how_far(run)}", file=sys.stderr)  # noqa: T201
    return Start(
        replace(known, run=resumed(run, at, cautions)), begun, folder, cautions, environments=environments
    )


def environments_again(run: Run) -> tuple[Environment, ...]:
    """Return the environments of a run's Pythons, as they are now; none where it has gilscope's own alone.

    Raises:
        UsageError: one of them is no Python any more.
        GilscopeError: an environment cannot be made.
    """
    return prepare([one.path for one in run.plan.pythons], lambda told: print(told, file=sys.stderr))  # noqa: T201


def _require_the_same(folder: RunFolder, run: Run, machine: Machine, pythons: Collection[str]) -> None:
    reasons = "; ".join(_obstacles(run, machine, pythons))
    if reasons:
        path = shlex.quote(str(folder.path))
        raise UsageError(
            f"{folder.path} cannot be resumed, because new trials could not be compared with those that are there: "
            f"{reasons}",
            remedy=f"gilscope report {path} shows what was measured; to compare anew: {command(run.plan)}",
        )


def _obstacles(run: Run, machine: Machine, pythons: Collection[str]) -> Iterator[str]:
    plan = run.plan
    for one in plan.pythons:
        if one.name not in pythons:
            yield f"{one.path} was Python {one.name} and is {formats.listing([*pythons])} here"
    sources = {target.workload: fingerprint(target.reference, plan.app_dir) for target in plan.targets}
    yield from dict.fromkeys(obstacles(run, machine, sources))  # One function may be there at several sizes.
    if plan.url is not None:
        yield from missing(ask_service(plan.url), plan)


def _require_profiles(plan: Plan, token: str | None) -> None:
    """Check that a service that runs already still gives the flame graphs that are to be taken.

    Raises:
        UsageError: it does not.
    """
    if plan.url is None or not plan.profile_seconds:
        return
    try:
        ProfilesThere(plan.url, token).require()
    except CaptureError as problem:
        raise UsageError(
            f"the flame graphs of {plan.url}: {problem.message}", remedy=problem.remedy
        ) from problem
