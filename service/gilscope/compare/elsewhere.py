"""A service that runs already, perhaps on another machine: measured as it is, through its URL alone."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError

from gilscope.compare.plan import backends_of
from gilscope.compare.preflight import Checked
from gilscope.direct import ask
from gilscope.errors import ServiceError, ServiceGoneError, TargetError, UsageError
from gilscope.model import BackendName, Plan, Target

ANSWER_S = 10.0
THERE_S = 2.0
_REMEDY = "start it there with: gilscope serve --host ADDRESS --port 8080"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What a running service has: its workloads with their parameters' names, and the backends that run in it."""

    workloads: Mapping[str, Sequence[str]]
    backends: tuple[BackendName, ...]


def ask_service(url: str) -> Elsewhere:
    """Ask a service what it has.

    Raises:
        ServiceError: it cannot be reached, or is none of ours.
    """
    workloads, backends = _get(url, "/workloads"), _get(url, "/backends")
    try:
        return Elsewhere(
            {one["name"]: [parameter["name"] for parameter in one["parameters"]] for one in workloads},
            tuple(BackendName(one["name"]) for one in backends if one["running"]),
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise ServiceError(f"{url} does not answer as a gilscope service does", remedy=_REMEDY) from problem


def _get(url: str, path: str) -> Any:  # noqa: ANN401  whatever it answers
    try:
        with ask(url + path, ANSWER_S) as answer:
            return json.load(answer)
    except HTTPError as refusal:
        with refusal:
            raise ServiceError(
                f"{url}{path} is no answer of a gilscope service: {refusal.code} {refusal.reason}",
                remedy=_REMEDY,
            ) from refusal
    except URLError as problem:
        raise ServiceError(f"cannot reach {url}{path}: {problem.reason}", remedy=_REMEDY) from problem
    except (OSError, ValueError, HTTPException) as problem:
        raise ServiceError(
            f"{url}{path} is no answer of a gilscope service: {problem}", remedy=_REMEDY
        ) from problem


def require_there(url: str) -> None:
    """Check that somebody is there; one who is too busy to answer is.

    Raises:
        ServiceGoneError: nobody is.
    """
    try:
        ask(f"{url}/ping", THERE_S).close()
    except HTTPError as refusal:
        refusal.close()
    except (OSError, HTTPException) as problem:
        reason = getattr(problem, "reason", problem)
        if not isinstance(reason, TimeoutError):
            raise ServiceGoneError(
                f"the service at {url} does not answer any more: {reason}", remedy="start it again"
            ) from problem


def check_elsewhere(
    found: Elsewhere, targets: Sequence[str], given: Mapping[str, str], backends: Sequence[BackendName] | None
) -> list[Checked]:
    """Check that a service has what is to be compared; without targets, everything that it has.

    Raises:
        TargetError: it has no such workload.
        UsageError: it does not run a backend that was asked for, or a workload takes no such argument.
    """
    for name in backends or ():
        if name not in found.backends:
            raise UsageError(
                f"that service does not run {name}; it runs: {', '.join(found.backends)}",
                remedy="--backends with those",
            )
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"two targets are called '{target}'", remedy="name each workload once")
        if target not in found.workloads:
            raise TargetError(
                f"that service has no workload {target!r}; it has: {', '.join(found.workloads)}",
                remedy="name one of those; its --workload says what it runs",
            )
    for target in targets or found.workloads:
        unknown = sorted(set(given) - set(found.workloads[target]))
        if unknown:
            raise UsageError(
                f"{target} takes no argument {unknown[0]!r}", remedy=f"see /workloads of {target}"
            )
    excluded = {name: "does not run in that service" for name in BackendName if name not in found.backends}
    return [
        Checked(Target(target, target, dict(given), excluded))
        for target in (targets or list(found.workloads))
    ]


def missing(found: Elsewhere, plan: Plan) -> Iterator[str]:
    """Say what a service has no more of what a plan tries on it."""
    for target in plan.targets:
        if target.reference not in found.workloads:
            yield f"the service at {plan.url} has no workload {target.reference!r}"
        for backend in backends_of(plan, target):
            if backend not in found.backends:
                yield f"the service at {plan.url} does not run {backend}"


def query_of(given: Mapping[str, str]) -> str:
    """Write arguments as the query of a URL."""
    return urllib.parse.urlencode(given)
