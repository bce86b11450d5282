"""Checks every target before anything is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import cattrs

from gilscope.backends.table import BACKENDS
from gilscope.child import Child, module_command
from gilscope.environments import Environment
from gilscope.errors import GilscopeError, TargetError, UsageError
from gilscope.model import BackendName, Caution, Target
from gilscope.workloads.loader import is_built_in, parse_reference, resolve

INSPECTION_LIMIT_S = 60.0
RAISES = "raises"
"""Code of the warning that a function raised when it was tried."""


@dataclass(frozen=True, slots=True)
class Found:
    """What trying a function once has shown. ``failure`` is the traceback of the exception that it raised."""

    workload: str
    arguments: Mapping[str, Any]
    call_ms: float
    failure: str | None
    excluded: Mapping[BackendName, str]


@dataclass(frozen=True, slots=True)
class Checked:
    """A target that can be compared, and what the user should know beforehand."""

    target: Target
    cautions: tuple[Caution, ...] = ()

    @property
    def raises(self) -> bool:
        """Whether the function raised when it was tried once."""
        return any(caution.code == RAISES for caution in self.cautions)


def check_targets(
    targets: Sequence[str],
    given: Mapping[str, str],
    backends: Sequence[BackendName],
    app_dir: str | None,
    environment: Environment | None = None,
) -> list[Checked]:
    """Resolve all targets; the user's own are tried once, each in a process of its own, on the Python of ``environment``.

    Raises:
        TargetError: one of them cannot be found, imported or called.
        UsageError: an argument does not fit, two have the same name, or no backend is left for one.
    """
    checked = [_check(target, given, backends, app_dir, environment) for target in targets]
    names = [item.target.workload for item in checked]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two targets are called '{name}'", remedy="name each workload once")
    return checked


def unavailable_here() -> dict[BackendName, str]:
    """Return the backends that this Python does not have, each with the reason."""
    return {name: reason for name, spec in BACKENDS.items() if (reason := spec.unavailable())}


def _check(
    target: str,
    given: Mapping[str, str],
    backends: Sequence[BackendName],
    app_dir: str | None,
    environment: Environment | None,
) -> Checked:
    unavailable = unavailable_here() if environment is None else environment.unavailable
    if is_built_in(target) or ":" not in target:
        workload = resolve(target, given)
        return Checked(Target(workload.name, target, workload.arguments, unavailable))
    parse_reference(target, app_dir=app_dir)
    found = _inspect(target, given, app_dir, environment.executable if environment else None)
    excluded = {**found.excluded, **unavailable}
    if all(name in excluded for name in backends):
        reasons = "; ".join(f"{name}: {excluded[name]}" for name in backends)
        raise UsageError(f"no backend can run {target} ({reasons})")
    return Checked(
        Target(found.workload, target, found.arguments, excluded), tuple(_cautions(found, unavailable))
    )


def _inspect(target: str, given: Mapping[str, str], app_dir: str | None, python: str | None) -> Found:
    command = module_command("gilscope.compare.inspection", python=python)
    with Child(command, failure=GilscopeError, guarded=True) as child:
        child.send({"target": target, "given": given, "app_dir": app_dir})
        try:
            found = child.receive(INSPECTION_LIMIT_S)
        except GilscopeError as problem:
            raise TargetError(
                f"trying {target} once, in a process of its own, failed: {problem.message}",
                remedy="it must return, within a minute, and leave its process alive",
            ) from None
    if "error" in found:
        raise TargetError(str(found["error"]), remedy=cast("str | None", found["remedy"]))
    return cattrs.structure(found, Found)


def _cautions(found: Found, unavailable: Mapping[BackendName, str]) -> Iterator[Caution]:
    for backend, reason in found.excluded.items():
        if backend not in unavailable:
            yield Caution(
                "backend-excluded",
                f"{found.workload} is not tried on {backend}: {reason}",
                "compare without it, or mend the function",
            )
    if found.failure is not None:
        yield Caution(
            RAISES,
            f"{found.workload} raised when it was tried once:\n{found.failure}",
            "check the arguments (--arg); failed requests count as errors",
        )
