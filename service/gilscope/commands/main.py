"""The command line: parses, runs one command, turns errors into messages and exit codes.

Exit codes: 0 done, 1 the run itself failed, 2 bad usage or input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from typing import Protocol

from gilscope import __version__
from gilscope.commands import classify, compare, diff, profile, report, serve, textbook, top
from gilscope.errors import INTERRUPTED, GilscopeError


class Command(Protocol):
    """A module of this package: one subcommand. Its docstring is its help."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Do it and return the exit code. Heavy imports belong in here."""
        ...


COMMANDS: dict[str, Command] = {
    "compare": compare,
    "classify": classify,
    "top": top,
    "serve": serve,
    "profile": profile,
    "report": report,
    "diff": diff,
    "textbook": textbook,
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="gilscope",
        description="Should this function run on the event loop, in threads, in processes or in "
        "subinterpreters? Measured under load on your own machine, with the evidence.",
    )
    parser.add_argument("--version", action="version", version=f"gilscope {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        summary, _, description = (command.__doc__ or "").partition("\n")
        sub = subparsers.add_parser(
            name,
            help=summary.rstrip("."),
            description=f"{summary}\n{description}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.add_argument("--debug", action="store_true", help="show a traceback with an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``argv`` (default: the process's own arguments) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = build_parser().parse_args(arguments, argparse.Namespace(arguments=arguments))
    try:
        return COMMANDS[options.command].run(options)
    except GilscopeError as error:
        if options.debug:
            traceback.print_exc()
        print(f"gilscope {options.command}: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
