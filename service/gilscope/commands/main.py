"""The command line: parses, runs one command, turns errors into messages and exit codes.

Exit codes: 0 done, 1 the run itself failed, 2 bad usage or input, 130 interrupted (143 by SIGTERM, 129 by SIGHUP).
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    with _interrupted_by_signals() as told:
        code = _run(options)
    return 128 + told[0] if told and code == INTERRUPTED else code


def _run(options: argparse.Namespace) -> int:
    try:
        return COMMANDS[options.command].run(options)
    except GilscopeError as error:
        if options.debug:
            traceback.print_exc()
        print(f"gilscope {options.command}: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


@contextmanager
def _interrupted_by_signals() -> Iterator[list[signal.Signals]]:
    """Have SIGTERM and SIGHUP interrupt the block as Ctrl-C does; give those that came.

    One that is ignored stays so (``nohup``), and so does what a program has set that calls this one.
    """
    told: list[signal.Signals] = []

    def interrupt(number: int, _frame: object) -> None:
        told.append(signal.Signals(number))
        raise KeyboardInterrupt

    ours = (
        [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
        if threading.current_thread() is threading.main_thread()
        else []
    )
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield told
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
