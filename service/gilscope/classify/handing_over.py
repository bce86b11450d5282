"""Whether a function can be handed over: its arguments and result to a process, itself to a subinterpreter.

A subinterpreter imports this module, so it stays light.
"""

from __future__ import annotations

import importlib
import pickle

from gilscope.backends import interpreters
from gilscope.workloads.base import FunctionRef


def pickling_problem(value: object, what: str) -> str | None:
    """Say why ``value`` cannot be pickled and unpickled, or return None where it can; ``what`` names it."""
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301  we have just made it ourselves
    except Exception as problem:  # noqa: BLE001  pickling runs code of the user's classes
        kind = type(value).__name__
        return f"{what} ({kind}) cannot be pickled: {type(problem).__name__}: {problem}"
    return None


def subinterpreter_problem(function: FunctionRef) -> str | None:
    """Say why the function does not import in a subinterpreter; None where it does, or there are none here."""
    if interpreters.unavailable() is not None:
        return None
    pool = importlib.import_module("concurrent.futures").InterpreterPoolExecutor(1)
    try:
        pool.submit(_import_quietly, function).result()
    except Exception as problem:  # noqa: BLE001  a module may fail to import in any way
        return f"it does not import in a subinterpreter: {problem}"
    finally:
        # Without waiting: a thread that the module started may never let the interpreter end.
        pool.shutdown(wait=False)
    return None


def _import_quietly(function: FunctionRef) -> None:
    from gilscope.workloads.importing import load  # noqa: PLC0415  runs in the subinterpreter

    load(function)
