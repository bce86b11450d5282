"""Classifying a function: asks a measuring process, and makes up its mind."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from gilscope.child import Child, module_command
from gilscope.classify.deciding import decide, derive, enables_gil
from gilscope.classify.observation import DEFAULT_SECONDS, Observation, Question, from_message
from gilscope.classify.wording import Findings, reasons
from gilscope.errors import GilscopeError, TargetError
from gilscope.model import Classification
from gilscope.scratch import folder
from gilscope.workloads.catalogue import BUILT_IN
from gilscope.workloads.loader import parse_reference, resolve
from gilscope.workloads.upstream_process import running_upstream

CALLS_LIMIT_S = 60.0
IMPORT_LIMIT_S = 30.0
MAX_STOLEN, MOST_TRIES = 0.1, 3
"""Share of the time that may be stolen before a function is watched once more, and how often it is at most."""

AGAIN_WITHIN_S = 5.0
"""A function that took longer in all is not watched once more."""


class Subinterpreter(NamedTuple):
    """Whether there are subinterpreters here (``unavailable`` says why not), and what is wrong with the function there."""

    unavailable: str | None
    problem: str | None


def classify(
    target: str,
    given: Mapping[str, str],
    app_dir: str | None = None,
    seconds: float = DEFAULT_SECONDS,
    python: str | None = None,
) -> Classification:
    """Find out what a function does to the GIL, in a process of its own.

    ``given`` holds the arguments as typed (``--arg``), ``python`` the interpreter to ask (default: this one).
    Measuring takes about 0.7 of ``seconds``, and two calls at the least, or one where that takes long. Where a
    hypervisor took a tenth of that, it is done again, up to three times and for a few seconds: the least disturbed counts.

    Raises:
        TargetError: no such function, or it does not import, raises, hangs or ends its process.
        ParameterError: an argument does not fit.
        GilscopeError: this system cannot be measured on.
    """
    _check(target, given, app_dir)
    begun_s = time.monotonic()
    tries = [_try(target, given, app_dir, seconds, python)]
    while _disturbed(tries[-1]) and len(tries) < MOST_TRIES and time.monotonic() - begun_s < AGAIN_WITHIN_S:
        try:
            tries.append(_try(target, given, app_dir, seconds, python))
        except GilscopeError:  # It may not work twice, and has been measured already.
            break
    return _conclude(target, *min(tries, key=_stolen_share))


def _disturbed(tried: tuple[Observation, Subinterpreter]) -> bool:
    """Whether the hypervisor gave so much of the time to others that it is worth another try."""
    return _stolen_share(tried) > MAX_STOLEN


def _stolen_share(tried: tuple[Observation, Subinterpreter]) -> float:
    watch = tried[0].watch
    span_ms = sum(stretch.ended_ms - stretch.begun_ms for stretch in watch.stretches)
    return watch.stolen_ms / span_ms if span_ms else 0.0


def _try(
    target: str, given: Mapping[str, str], app_dir: str | None, seconds: float, python: str | None
) -> tuple[Observation, Subinterpreter]:
    with (
        folder() as scratch,
        Child(
            module_command("gilscope.classify.measuring", python=python), failure=GilscopeError, guarded=True
        ) as child,
        _upstream(target) as upstream_url,
    ):
        question = Question(target, dict(given), app_dir, seconds, upstream_url, str(scratch))
        return _observation(child, question), _subinterpreter(child)


def _check(target: str, given: Mapping[str, str], app_dir: str | None) -> None:
    """Refuse what can be seen to be wrong without running code of the user's."""
    if ":" in target:
        parse_reference(target, app_dir=app_dir)
    else:
        resolve(target, given)


@contextmanager
def _upstream(target: str) -> Iterator[str | None]:
    if target in BUILT_IN and BUILT_IN[target].needs_upstream:
        with running_upstream() as url:
            yield url
    else:
        yield None


def _observation(child: Child, question: Question) -> Observation:
    limit_s = CALLS_LIMIT_S + 2 * question.seconds
    try:
        child.send(question.to_message())
        importlib.import_module(
            "gilscope.classify.releasing"
        )  # takes a while: that of the child's own imports
        found = cast("dict[str, Any]", child.receive(limit_s))
    except GilscopeError as problem:
        raise TargetError(
            f"calling {question.target} in a process of its own failed: {problem.message}",
            remedy=f"it must return within {CALLS_LIMIT_S:g} s and leave its process alive",
        ) from None
    if "error" in found:
        failure = TargetError if found["usage"] else GilscopeError
        raise failure(found["error"], remedy=found["remedy"])
    return from_message(found)


def _subinterpreter(child: Child) -> Subinterpreter:
    try:
        found = cast("dict[str, Any]", child.receive(IMPORT_LIMIT_S))
    except GilscopeError as problem:
        return Subinterpreter(None, f"importing it in a subinterpreter failed: {problem.message}")
    return Subinterpreter(found["unavailable"], found["problem"])


def _conclude(target: str, observation: Observation, subinterpreter: Subinterpreter) -> Classification:
    from gilscope.classify.releasing import can_release  # noqa: PLC0415  see above

    figures = derive(observation)
    gil_class = decide(figures)
    findings = Findings(observation, figures, gil_class, can_release(observation.extensions), *subinterpreter)
    return Classification(
        target=target,
        gil_class=gil_class,
        held_share=round(figures.held_share, 3),
        longest_hold_ms=round(figures.longest_hold_ms, 3),
        cpu_share=round(figures.cpu_share, 3),
        call_ms=round(figures.call_ms, 4),
        can_release=findings.can_release,
        pickles=observation.pickling_problem is None,
        subinterpreter_safe=findings.subinterpreter_safe,
        enables_gil=enables_gil(observation),
        reasons=tuple(reasons(findings)),
    )
