"""Which extension modules are behind a function: followed from its code along the names in it."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import deque
from collections.abc import Callable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from inspect import unwrap
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)

MAX_VISITED = 1_000
_FUNCTIONS_IN_C = (
    BuiltinFunctionType,
    MethodDescriptorType,
    ClassMethodDescriptorType,
    WrapperDescriptorType,
)
_MADE_AT_RUN_TIME = 1 << 9
"""``Py_TPFLAGS_HEAPTYPE``: every class written in Python has it, few of those written in C."""

_IMPORTING = {"importlib", "importlib._bootstrap", "importlib._bootstrap_external"}
"""Importing leads everywhere, and is not the function's work."""

_CACHED = type(functools.cache(id))
_DATA = (str, bytes, int, float, complex, tuple, list, dict, set, frozenset, type(None))


def extensions_behind(function: Callable[..., object]) -> tuple[str, ...]:
    """Return the files of the extension modules that ``function`` leads to, as far as they are loaded by now.

    Followed are the names in its code: modules and what of them is named, functions and their code, classes and
    their methods. What comes as an argument, or out of a call, cannot be seen so. Nothing of the user's is run.
    """
    found: set[str] = set()
    waiting, seen = deque[object]([function]), set[int]()
    while waiting and len(seen) < MAX_VISITED:
        thing = waiting.popleft()
        if id(thing) not in seen:
            seen.add(id(thing))
            found.update(_files_of(thing))
            waiting.extend(_behind(thing))
    return tuple(sorted(found))


def _behind(thing: object) -> Iterator[object]:
    """Give what a function's, a method's or a class's code names."""
    if isinstance(thing, functools.partial):
        yield thing.func
    elif isinstance(thing, (MethodType, staticmethod, classmethod)):
        yield thing.__func__
    elif isinstance(thing, _CACHED):
        yield thing.__wrapped__
    elif isinstance(thing, FunctionType):
        if thing.__module__ not in _IMPORTING:
            yield from _named(thing)
    elif isinstance(thing, type):
        yield from (value for value in vars(thing).values() if not isinstance(value, type))
        yield from thing.__bases__
    elif not isinstance(thing, (ModuleType, *_DATA)):
        yield type(thing)


def _named(function: FunctionType) -> Iterator[object]:
    if (inner := unwrap(function)) is not function:
        yield inner
    names = set(_names(function.__code__))
    for name in names:
        # An import within the function has only the name; once it has run, the module is known by it.
        value = function.__globals__.get(name, sys.modules.get(name))
        if value is not None:
            yield from _with_members(value, names)
    for cell in function.__closure__ or ():
        yield from _contents(cell)


def _with_members(value: object, names: set[str]) -> Iterator[object]:
    """Give ``value``, and if it is a module, what of it is named: ``a``, ``a.b`` and ``a.b.c`` for ``a.b.c()``."""
    waiting, seen = [value], set[int]()
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, ModuleType) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(vars(value)[name] for name in names if name in vars(value))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        elif isinstance(constant, str) and constant in sys.modules:
            yield constant  # importlib.import_module("…"), or a plain import of a submodule


def _contents(cell: CellType) -> Iterator[object]:
    with contextlib.suppress(ValueError):  # still empty
        yield cell.cell_contents


def _files_of(thing: object) -> Iterator[str]:
    """Give the extension module that something written in C is, or comes from.

    It may name the package that shows it, not the extension that holds it: then all of the package's extensions
    that are loaded count.
    """
    if isinstance(thing, ModuleType):
        yield from _own_file(thing)
        return
    if not isinstance(thing, (type, *_FUNCTIONS_IN_C)):
        return
    name = getattr(thing, "__module__", None)
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None:
        return
    if own := list(_own_file(module)):
        yield from own
    elif not isinstance(thing, type) or not thing.__flags__ & _MADE_AT_RUN_TIME:
        yield from _files_of_package(module.__name__.partition(".")[0])


def _own_file(module: ModuleType) -> Iterator[str]:
    file = vars(module).get("__file__")
    if isinstance(file, str) and file.endswith(tuple(EXTENSION_SUFFIXES)):
        yield file


def _files_of_package(package: str) -> Iterator[str]:
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{package}.") and isinstance(module, ModuleType):
            yield from _own_file(module)
