"""The command line: parses, runs one command, turns errors into messages and exit codes.

Exit codes: 0 done, 1 the run itself failed, 2 bad usage or input, 130 interrupted (143 by SIGTERM, 129 by SIGHUP).
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import NoReturn, Protocol

from gilscope import __version__
from gilscope.commands import classify, compare, diff, profile, report, serve, textbook, top
from gilscope.errors import INTERRUPTED, GilscopeError, UsageError
from gilscope.model import BackendName


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


class _Parser(argparse.ArgumentParser):
    """Complains as all of gilscope does, in a message and a remedy: a usage of thirty lines would bury them."""

    def error(self, message: str) -> NoReturn:
        self.refuse(message, f"{self.prog} --help")

    def refuse(self, message: str, remedy: str) -> NoReturn:
        self.exit(UsageError.exit_code, f"{self.prog}: {UsageError(message, remedy=remedy)}\n")

    def refuse_unknown(self, words: Sequence[str]) -> NoReturn:
        """Refuse words that nothing takes, and name what may have been meant."""
        usage = self.format_usage()
        options = re.findall(r"--[a-z-]+", usage)
        typed = [word.partition("=")[0] for word in words if word.startswith("-")]
        near = [close for word in typed for close in get_close_matches(word, options, n=1)]
        remedy = f"{self.prog} --help"
        if near:
            remedy = f"did you mean {' and '.join(near)}? All options: {remedy}"
        elif "--backends" in options and set(words) <= set(BackendName):
            remedy = "list backends with commas: --backends asyncio,threads"
        elif "[TARGET ...]" in usage and not typed:
            remedy = f"name them all together, right after {self.prog}"
        self.refuse(f"unrecognized arguments: {' '.join(words)}", remedy)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
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
        sub.set_defaults(refuse_unknown=sub.refuse_unknown)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``argv`` (default: the process's own arguments) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options, unknown = build_parser().parse_known_args(arguments, argparse.Namespace(arguments=arguments))
    if unknown:
        options.refuse_unknown(unknown)
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
