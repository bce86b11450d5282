"""The code of an experiment, as it is shown: the function that ran and what it uses of its module."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from textwrap import dedent
from types import ModuleType

_REMARKS = re.compile(r"  # (?:noqa|type: ignore).*$", re.MULTILINE)


def code_of(module: ModuleType, *functions: str, with_all: bool = True) -> str:
    """Return the source of functions and of everything of its module that they use, in the module's order.

    Remarks to the linters are left out. ``with_all`` is False for the named ones alone.
    """
    source = inspect.getsource(module)
    parts = {name: node for node in ast.parse(source).body for name in _names(node)}
    wanted, new = set[str](), set(functions)
    while new:
        wanted |= new
        used = {name for one in new for name in _used(parts[one])}
        new = (used & parts.keys()) - wanted if with_all else set()
    chosen = {id(parts[name]): parts[name] for name in wanted}
    lines = source.splitlines()
    nodes = sorted(chosen.values(), key=lambda node: node.lineno)
    return _REMARKS.sub("", "\n\n".join("\n".join(_lines(lines, node)) for node in nodes))


def shown(module: ModuleType, backend: str) -> str:
    """Return the code of an experiment on a backend: what its module names in ``SHOWN``, or all that its function uses.

    The functions of other modules that it names in ``WORK_SHOWN`` come first: what the workers do.
    """
    work = [
        code_of(import_module(where), name, with_all=False)
        for where, name in getattr(module, "WORK_SHOWN", {}).get(backend, ())
    ]
    chosen = getattr(module, "SHOWN", {}).get(backend)
    own = code_of(module, *(chosen or (f"in_{backend}",)), with_all=chosen is None)
    return "\n\n".join([*work, own])


def first_lines(code: str, function: str) -> str:
    """Return the first two statements of a function after its docstring: the module and the call."""
    body = next(
        node.body
        for node in ast.parse(code).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
    )
    lines = code.splitlines()
    return "\n".join(dedent("\n".join(_lines(lines, node))) for node in body[1:3])


def _names(node: ast.stmt) -> Iterator[str]:
    """Give the names that a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def _used(node: ast.stmt) -> Iterator[str]:
    return (name.id for name in ast.walk(node) if isinstance(name, ast.Name))


def _lines(lines: list[str], node: ast.stmt) -> list[str]:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return lines[first - 1 : node.end_lineno]
