"""From what the user typed to a function: ``name``, ``package.module:function`` or ``path/to/file.py:function``."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from gilscope.errors import TargetError
from gilscope.workloads.base import FunctionRef, Workload
from gilscope.workloads.catalogue import BUILT_IN
from gilscope.workloads.importing import is_async, load


def resolve(target: str, given: Mapping[str, str], *, app_dir: str | None = None) -> Workload:
    """Return the workload that ``target`` names, with the ``--arg`` texts ``given`` as its arguments.

    Imports the user's module into this process.

    Raises:
        TargetError: no such workload, module, file or function, or not one that can be called so.
        ParameterError: an argument is unknown, missing, malformed or out of bounds.
    """
    if ":" not in target:
        workload = _built_in(target)
    else:
        reference = parse_reference(target, app_dir=app_dir)
        workload = _from_function(reference, load(reference))
    return replace(workload, arguments=workload.parse(given))


def is_built_in(target: str) -> bool:
    """Whether ``target`` names a built-in workload (and so runs no code of the user's)."""
    return target in BUILT_IN


def _built_in(name: str) -> Workload:
    try:
        return BUILT_IN[name]
    except KeyError:
        own = (
            f"{name}:FUNCTION"
            if name.endswith(".py")
            else "package.module:function or path/to/file.py:function"
        )
        raise TargetError(
            f"there is no workload '{name}'", remedy=f"built in: {', '.join(BUILT_IN)}; your own: {own}"
        ) from None


def parse_reference(target: str, *, app_dir: str | None = None) -> FunctionRef:
    """Split ``package.module:function`` or ``path/to/file.py:function``; import nothing.

    Raises:
        TargetError: malformed, or the file does not exist.
    """
    where, _, name = target.rpartition(":")
    if not where or not name.replace(".", "_").isidentifier():
        raise TargetError(
            f"'{target}' does not name a function",
            remedy="write package.module:function or path/to/file.py:function",
        )
    folder = None if app_dir is None else str(Path(app_dir).resolve())
    if not where.endswith(".py"):
        return FunctionRef(where, name, app_dir=folder)
    path = Path(where).resolve()
    if not path.is_file():
        raise TargetError(f"there is no file {where}", remedy=f"looked for {path}")
    private = f"_gilscope_target_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    return FunctionRef(private, name, path=str(path), app_dir=folder)


def _from_function(reference: FunctionRef, function: Callable[..., object]) -> Workload:
    place = Path(reference.path).stem if reference.path else reference.module
    name = f"{place}.{reference.name}"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TargetError(
            f"{name} is a generator: calling it does no work yet",
            remedy="name a function that consumes it, such as: def work(): return list(generate())",
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise TargetError(
            f"{name} does not tell its arguments (it is written in C)",
            remedy="wrap it in a function of your own",
        ) from None
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    return Workload(name, summary, reference, is_async=is_async(function), signature=signature)
