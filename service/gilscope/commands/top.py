"""Show what the threads of any Python process do: run, wait for the GIL, wait for a core, or sleep.

PID is any CPython 3.11 to 3.15 on this Linux machine. It is neither stopped nor changed, and needs nothing of
gilscope. Ctrl-C ends; the last table sums up all the time.

  on CPU     on a core
  GIL wait   asleep until it gets the GIL
  run queue  ready to run, waiting for a core
  blocked    asleep for anything else: I/O, a lock, nothing to do
  GIL held   had the GIL, on a core or not (from Python 3.13 on)
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from gilscope.commands.arguments import number, whole
from gilscope.errors import LensError
from gilscope.top.order import Order
from gilscope.top.processes import MOST_PROCESSES, require_program

if TYPE_CHECKING:
    from gilscope.top.session import Session
    from gilscope.top.table import Totals
    from gilscope.top.views import View

LONGEST_S = 86_400.0
QUIET_S = 2.0
"""How long a wait may be before something says that it is one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pid", type=whole(1, MOST_PROCESSES), metavar="PID", help="the process's id")
    parser.add_argument(
        "--seconds", type=number(0.1, LONGEST_S), metavar="S", help="end after so long (default: at Ctrl-C)"
    )
    parser.add_argument(
        "--interval",
        type=number(0.1, LONGEST_S),
        default=1.0,
        metavar="S",
        help="a new table every S seconds (default: 1)",
    )
    parser.add_argument(
        "--sort", choices=[order.value for order in Order], default="gil-wait", help="default: %(default)s"
    )
    parser.add_argument("-s", "--subprocesses", action="store_true", help="the process's children too")
    parser.add_argument(
        "--rate",
        type=number(1, 1_000),
        default=200.0,
        metavar="HZ",
        help="looks per second, 1 to 1000 (default: 200)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object at the end, of all the time"
    )


def run(options: argparse.Namespace) -> int:
    """Watch until told to stop."""
    require_program(options.pid)
    from gilscope.limits import allow_many_files  # noqa: PLC0415
    from gilscope.top.session import Session, Stop  # noqa: PLC0415

    allow_many_files()
    with _ending_with_the_reader(), Stop() as stop:
        session = Session(options.pid, stop, family=options.subprocesses, rate_hz=options.rate)
        try:
            totals = _watch(session, options)
        finally:
            session.close()
        _report(totals, session, options)
    return 0


def _watch(session: Session, options: argparse.Namespace) -> Totals:
    from gilscope.top.table import Totals  # noqa: PLC0415

    totals = Totals(fold=not options.json)
    with _view(options) as view:
        for picture in session.pictures(options.seconds or math.inf, options.interval):
            totals.add(picture)
            view.show(picture)
    return totals


@contextmanager
def _view(options: argparse.Namespace) -> Iterator[View]:
    """Choose how to show pictures: where standard output is for JSON, on standard error, if that is a terminal."""
    from gilscope.top.views import PlainView, QuietView, is_screen, live_view  # noqa: PLC0415

    if is_screen(stderr=options.json):
        with live_view(options.pid, Order(options.sort), stderr=options.json) as view:
            yield view
    elif options.json:
        if (options.seconds or math.inf) > QUIET_S:
            print(f"watching process {options.pid} {_how_long(options.seconds)}", file=sys.stderr)  # noqa: T201
        yield QuietView()
    else:
        yield PlainView(Order(options.sort))


def _how_long(seconds: float | None) -> str:
    return "until Ctrl-C" if seconds is None else f"for {seconds:g} s"


def _report(totals: Totals, session: Session, options: argparse.Namespace) -> None:
    """Print the sum of all pictures, and what happened to the process.

    Raises:
        LensError: there is no picture.
    """
    from gilscope.top.table import document  # noqa: PLC0415
    from gilscope.top.views import print_whole  # noqa: PLC0415

    picture = totals.picture()
    if picture is None:
        reason = "; ".join(session.notes) or "it was ended before the first picture"
        raise LensError(f"nothing was seen of process {options.pid}: {reason}")
    if options.json:
        print(json.dumps(document(picture, Order(options.sort)), indent=1), flush=True)  # noqa: T201
    else:
        print_whole(picture, Order(options.sort))
    for note in session.notes:
        print(note, file=sys.stderr)  # noqa: T201


@contextmanager
def _ending_with_the_reader() -> Iterator[None]:
    """End quietly when nobody reads standard output any longer (``gilscope top PID | head``)."""
    with suppress(AttributeError):  # What stands in for it in a test may not know how.
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        yield
    except BrokenPipeError:
        # Python flushes standard output once more at its end.
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
