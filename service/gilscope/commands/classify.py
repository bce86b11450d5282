"""Say what a function does to the GIL, in seconds and without load.

TARGET is a built-in workload, package.module:function or path/to/file.py:function. It is called in a process of
its own, beside a thread that notes when it had to wait for the GIL. The answer is one of four:

  releases     other threads run meanwhile: threads help
  preemptible  holds the GIL, but gives it up every 5 ms: threads slow the event loop down
  blocking     a C call holds it throughout: even a thread freezes the event loop
  mixed        some of each

For example:

  gilscope classify json_roundtrip
  gilscope classify my.py:work --arg n=20000 --json
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator

from gilscope.classify.observation import DEFAULT_SECONDS
from gilscope.commands.arguments import number, pairs
from gilscope.model import Classification

WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("target", metavar="TARGET", help="what to classify")
    parser.add_argument(
        "--arg", action="append", default=[], metavar="NAME=JSON", help="argument of the target; repeatable"
    )
    parser.add_argument("--app-dir", metavar="DIR", help="put this folder on the import path")
    parser.add_argument(
        "--seconds",
        type=number(0.1, 60),
        default=DEFAULT_SECONDS,
        metavar="S",
        help="budget for measuring; a function that takes longer is called all the same (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Classify the target and print the answer."""
    from gilscope.classify.classifying import classify  # noqa: PLC0415

    found = classify(options.target, pairs(options.arg), options.app_dir, options.seconds)
    print(json.dumps(as_document(found), indent=1) if options.json else describe(found))  # noqa: T201
    return 0


def as_document(found: Classification) -> dict[str, object]:
    """Return the answer as ``--json`` and ``run.json`` have it."""
    from gilscope.compare.store import CONVERTER  # noqa: PLC0415

    document: dict[str, object] = CONVERTER.unstructure(found)
    return document


def describe(found: Classification) -> str:
    """Return the answer for a terminal."""
    first, *others = found.reasons
    lines = [f"{found.target}: {found.gil_class}", *_wrapped(f"{first}.", "  ", "  ")]
    for reason in others:
        lines.extend(_wrapped(reason, "  - ", "    "))
    return "\n".join([*lines, "", *(f"  {name:<16}{value}" for name, value in _facts(found))])


def _facts(found: Classification) -> Iterator[tuple[str, str]]:
    yield "one call", f"{_ms(found.call_ms)}, {found.cpu_share:.0%} of it on a core"
    yield "GIL held", f"{found.held_share:.0%} of it, {_ms(found.longest_hold_ms)} at the longest"
    yield "extensions", _ABLE[found.can_release]
    yield "pickles", "yes" if found.pickles else "no"
    yield "subinterpreters", _SAFE[found.subinterpreter_safe]
    if found.enables_gil is not None:
        yield "free-threading", "switches the GIL back on" if found.enables_gil else "leaves the GIL off"


_ABLE = {
    True: "can release the GIL",
    False: "cannot release the GIL",
    None: "none of its own",
}
_SAFE = {True: "imports there", False: "does not import there", None: "this Python has none"}


def _ms(value: float) -> str:
    return f"{value:.3g} ms" if value < 100 else f"{value:,.0f} ms"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False)
