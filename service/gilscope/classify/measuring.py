"""Watches the user's function in a process of its own, where it can harm nothing else.

``python -m gilscope.classify.measuring`` reads one question as a JSON line and prints two: what was seen (or the
error), and then whether the function imports in a subinterpreter, since trying that may end the process.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from gilscope.backends import interpreters
from gilscope.backends.execution import gil_enabled
from gilscope.classify.calling import Caller, CallFailedError
from gilscope.classify.extensions import extensions_behind
from gilscope.classify.handing_over import pickling_problem, subinterpreter_problem
from gilscope.classify.observation import Observation, Question, to_message
from gilscope.classify.watching import Finding, watch_first, watch_more
from gilscope.errors import GilscopeError, TargetError, UsageError
from gilscope.workloads.base import Surroundings, Workload
from gilscope.workloads.importing import load
from gilscope.workloads.loader import resolve


def is_free_threaded() -> bool:
    """Whether this Python can do without a GIL."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def observe(question: Question) -> tuple[Workload, Observation]:
    """Import the function and call it, by itself and beside the ticker.

    Raises:
        UsageError: it cannot be imported or called with these arguments, or raised at the first call.
        GilscopeError: the ticker does not work here.
    """
    gil_before = gil_enabled()
    workload = resolve(question.target, question.given, app_dir=question.app_dir)
    surroundings = Surroundings(question.upstream_url, Path(question.scratch))
    arguments = workload.prepare(workload.arguments, surroundings)
    with closing(Caller(workload.function, arguments, is_async=workload.is_async)) as call:
        finding, unpicklable = _call(call, workload, arguments, question.seconds)
    return workload, Observation(
        name=workload.name,
        is_async=workload.is_async,
        repeated=finding.repeated,
        timing=finding.timing,
        watch=finding.watch,
        extensions=extensions_behind(load(workload.function)),
        pickling_problem=unpicklable,
        gil_enabled=(gil_before, gil_enabled()),
        free_threaded=is_free_threaded(),
        forked=call.came_back_twice,
        stumble=finding.stumble,
    )


def _call(
    call: Caller, workload: Workload, arguments: Mapping[str, object], seconds: float
) -> tuple[Finding, str | None]:
    """Return what was seen, and why the arguments or the result cannot be pickled."""
    try:
        first, result = watch_first(call)
    except CallFailedError as problem:
        raise TargetError(
            f"{workload.name} raised:\n{problem}", remedy="check the arguments (--arg)"
        ) from None
    unpicklable = pickling_problem(arguments, "its arguments") or pickling_problem(result, "its result")
    del result  # or the garbage collector had it to go through all the while
    return watch_more(call, first, seconds), unpicklable


def answer(question: Question, send: Callable[[dict[str, object]], None]) -> None:
    """Answer one question, in two messages, or in one that says why not."""
    try:
        workload, observation = observe(question)
    except GilscopeError as error:
        usage = isinstance(error, UsageError)
        send({"error": error.message, "remedy": error.remedy, "usage": usage})
        return
    send(to_message(observation))
    send(
        {
            "unavailable": interpreters.unavailable(),
            "problem": subinterpreter_problem(workload.function),
        }
    )


def main() -> None:
    """Answer one question from standard input; what the user's code prints goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)

    def send(message: dict[str, object]) -> None:
        line = memoryview(json.dumps(message, default=repr).encode() + b"\n")
        while line:
            line = line[os.write(answers, line) :]

    answer(Question(**json.loads(sys.stdin.readline())), send)
    # The process may hold threads of the user's module that never end: leave.
    os._exit(0)


if __name__ == "__main__":
    main()
