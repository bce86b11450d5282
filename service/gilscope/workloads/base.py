"""What a workload is: a plain function, its bounded parameters, and how a worker finds it again."""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gilscope.errors import ParameterError

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One bounded parameter of a built-in workload; the type is that of the default.

    ``minimum`` and ``maximum`` are inclusive and apply to numbers.
    """

    name: str
    default: int | float
    minimum: int | float
    maximum: int | float
    unit: str
    help: str

    def parse(self, text: str) -> int | float:
        """Read a value from a query string or the command line.

        Raises:
            ParameterError: not a number of this parameter's type, or out of bounds.
        """
        kind = type(self.default)
        try:
            # int() and float() also take 1_000, +5, spaces and the digits of other scripts.
            value = kind(text if _NUMBER.fullmatch(text) else "no number")
        except ValueError:
            raise ParameterError(f"parameter '{self.name}' takes {self.describe()}, not {text!r}") from None
        if not self.minimum <= value <= self.maximum:
            raise ParameterError(f"parameter '{self.name}' takes {self.describe()}, not {value}")
        return value

    def describe(self) -> str:
        """Say in words what the parameter takes."""
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        return f"{kind} from {self.minimum} to {self.maximum} ({self.unit})"


class FunctionRef(NamedTuple):
    """Where a worker finds a function: it imports it itself, nothing is pickled by value.

    A named tuple, because one goes to a worker process with every call: it pickles in half the time.

    ``module`` is a dotted module name, or, with ``path`` set, the private name under which the file at
    ``path`` is loaded. ``app_dir`` is put on ``sys.path`` first, where the user asked for it.
    """

    module: str
    name: str
    path: str | None = None
    app_dir: str | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a service gives its workloads: the upstream to fetch from, a folder for files."""

    upstream_url: str | None
    scratch: Path


Prepare = Callable[[Mapping[str, object], Surroundings], dict[str, object]]
"""Turns validated parameters into the function's keyword arguments, once per distinct request."""


def pass_on(arguments: Mapping[str, object], _surroundings: Surroundings) -> dict[str, object]:
    """Hand the parameters to the function as they are."""
    return dict(arguments)


@dataclass(frozen=True, slots=True)
class Workload:
    """A function that every backend can run, with all that is needed to call it.

    ``native_async`` names an async function that does the same work the way one would write it for an event
    loop; the ``asyncio`` backend awaits it. ``is_async`` says that ``function`` itself is a coroutine
    function: other backends then give each worker an event loop of its own. The user's own function has a
    ``signature`` in place of ``parameters``: its arguments come as JSON and are checked against that.
    """

    name: str
    summary: str
    function: FunctionRef
    native_async: FunctionRef | None = None
    is_async: bool = False
    parameters: tuple[Parameter, ...] = ()
    signature: inspect.Signature | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    prepare: Prepare = pass_on
    needs_upstream: bool = False

    @property
    def reference(self) -> str:
        """What could be typed for it: a built-in workload's name, or where the user's function is."""
        where = self.function.path or self.function.module
        return self.name if self.signature is None else f"{where}:{self.function.name}"

    def parse(self, given: Mapping[str, str]) -> dict[str, object]:
        """Turn text values (query string, command line) into arguments, defaults filled in.

        Raises:
            ParameterError: an unknown name, malformed JSON, a wrong type or a value out of bounds.
        """
        twice = [name for name, count in Counter(given.keys()).items() if count > 1]
        if twice:
            raise ParameterError(f"{twice[0]} is given twice", remedy="each parameter once")
        if self.signature is not None:
            own = {**self.arguments, **{name: _parse_json(name, text) for name, text in given.items()}}
            check_call(self.name, self.signature, own)
            return own
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise ParameterError(
                    f"workload '{self.name}' has no parameter '{name}'",
                    remedy=f"it takes: {', '.join(known) or 'none'}",
                )
        parsed = {name: known[name].parse(text) for name, text in given.items()}
        defaults = {parameter.name: parameter.default for parameter in self.parameters}
        return {**defaults, **self.arguments, **parsed}


def check_call(name: str, signature: inspect.Signature, arguments: Mapping[str, object]) -> None:
    """Check that a function with this signature can be called with these keyword arguments.

    Raises:
        ParameterError: an argument is missing or unknown.
    """
    try:
        signature.bind(**arguments)
    except TypeError as problem:
        given = ", ".join(arguments) or "none"
        raise ParameterError(
            f"{name}{signature} cannot be called with these arguments (given: {given}): {problem}",
            remedy="give each argument by name: --arg NAME=JSON",
        ) from None


def _parse_json(name: str, text: str) -> object:
    try:
        value: object = json.loads(text)
        json.dumps(value, allow_nan=False)  # NaN and Infinity are no JSON, and run.json could not hold them.
    except (ValueError, RecursionError) as problem:
        raise ParameterError(
            f"argument '{name}' is not valid JSON: {problem}",
            remedy=f"numbers as they are, strings in double quotes: --arg '{name}=\"text\"'",
        ) from None
    return value
