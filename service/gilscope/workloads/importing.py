"""Importing a function where it runs: in the service, a worker process or a subinterpreter.

Kept apart from the catalogue, so that a worker imports the function that it runs and little else.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import operator
import sys
import threading
from collections.abc import Callable
from types import ModuleType

from gilscope.errors import TargetError
from gilscope.workloads.base import FunctionRef

_load_lock = threading.RLock()


@functools.cache
def load(reference: FunctionRef) -> Callable[..., object]:
    """Import the function that ``reference`` names, once per process or subinterpreter.

    Raises:
        TargetError: the module cannot be imported, has no such function, or what it has cannot be called.
    """
    with _load_lock:
        if reference.app_dir is not None and reference.app_dir not in sys.path:
            sys.path.insert(0, reference.app_dir)
        module = _import_file(reference) if reference.path else _import_module(reference)
    try:
        function = operator.attrgetter(reference.name)(module)
    except AttributeError:
        raise TargetError(
            f"{_where(reference)} has no function '{reference.name}'", remedy=_functions_of(module)
        ) from None
    if not callable(function):
        raise TargetError(
            f"{_where(reference)}:{reference.name} is {type(function).__name__}, not a function"
        )
    return function  # type: ignore[no-any-return]


def _import_module(reference: FunctionRef) -> ModuleType:
    try:
        return importlib.import_module(reference.module)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{reference.module}.".startswith(f"{problem.name}."):
            raise _import_failed(reference, problem) from problem
        raise TargetError(
            f"there is no module '{problem.name}'",
            remedy="if it lies in a folder of yours, name that folder: --app-dir DIR; "
            "or name the file: path/to/file.py:function",
        ) from None
    except (Exception, SystemExit) as problem:
        raise _import_failed(reference, problem) from problem


def _import_file(reference: FunctionRef) -> ModuleType:
    if reference.module in sys.modules:
        return sys.modules[reference.module]
    spec = importlib.util.spec_from_file_location(reference.module, reference.path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[reference.module] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as problem:
        del sys.modules[reference.module]
        raise _import_failed(reference, problem) from problem
    return module


def _import_failed(reference: FunctionRef, problem: BaseException) -> TargetError:
    remedy = None
    if isinstance(problem, ModuleNotFoundError):
        remedy = "install it into gilscope's environment, or name the folder it lies in: --app-dir DIR"
    return TargetError(
        f"importing {_where(reference)} failed: {type(problem).__name__}: {problem}", remedy=remedy
    )


def _where(reference: FunctionRef) -> str:
    return reference.path or reference.module


def _functions_of(module: ModuleType) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    return f"it has: {', '.join(own)}" if own else "it defines no public function"


def is_async(function: Callable[..., object]) -> bool:
    """Whether calling ``function`` gives a coroutine to be awaited."""
    # The type is asked for objects with an async __call__: a class has that as well, but is not called by it.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004
    )
