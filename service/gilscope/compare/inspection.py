"""Tries the user's function once, in a process of its own, before anything else starts.

``python -m gilscope.compare.inspection`` reads ``{"target", "given", "app_dir"}`` as one JSON line and prints
what it found as another. Whatever the function does to its process, nothing else is harmed.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Mapping
from time import perf_counter

from gilscope.backends.execution import execute
from gilscope.classify.handing_over import pickling_problem, subinterpreter_problem
from gilscope.errors import TargetError, UsageError
from gilscope.model import BackendName
from gilscope.workloads.loader import resolve


def inspect_target(target: str, given: Mapping[str, str], app_dir: str | None) -> dict[str, object]:
    """Import the function, call it once and say which backends it rules out, each with the reason.

    Raises:
        UsageError: it cannot be imported or called with these arguments.
    """
    workload = resolve(target, given, app_dir=app_dir)
    given_as = copy.deepcopy(workload.arguments)
    begun = perf_counter()
    outcome = execute(workload.function, workload.arguments, workload.is_async)
    call_ms = (perf_counter() - begun) * 1e3
    for name, value in workload.arguments.items():
        if value != given_as[name]:
            raise TargetError(
                f"{workload.name} changes its argument '{name}': on asyncio and in threads each call would get what the "
                "last one left, in processes a copy, and so they would not do the same work",
                remedy=f"copy it first, such as {name} = copy.deepcopy({name})",
            )
    excluded: dict[str, str] = {}
    if outcome.failure is None and (reason := pickling_problem(outcome.result, "its result")):
        excluded = {BackendName.PROCESSES: reason, BackendName.INTERPRETERS: reason}
    elif reason := subinterpreter_problem(workload.function):
        excluded = {BackendName.INTERPRETERS: reason}
    return {
        "workload": workload.name,
        "arguments": workload.arguments,
        "call_ms": call_ms,
        "failure": outcome.failure and outcome.failure.traceback,
        "excluded": excluded,
    }


def main() -> int:
    """Answer one question from standard input; what the user's code prints goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    question = json.loads(sys.stdin.readline())
    try:
        answer = inspect_target(**question)
    except UsageError as error:
        answer = {"error": error.message, "remedy": error.remedy}
    # The process may hold threads of the user's module that never end: say it and leave.
    os.write(answers, json.dumps(answer, default=repr).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
