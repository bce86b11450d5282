"""Measure the table that every tutorial prints: what threads and processes share, suffer and suit.

Threads share memory, may interfere with each other and suit I/O-bound work; processes do not share, cannot interfere
and suit CPU-bound work. Each cell is measured here, for asyncio and subinterpreters as well: whether it holds, needs a
footnote or is wrong, with its figures and the code that was run. It takes 30 to 40 s on each Python. For example:

  gilscope textbook
  gilscope textbook --python python3.11 python3.14
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gilscope import __version__
from gilscope.errors import INTERRUPTED
from gilscope.model import Caution

if TYPE_CHECKING:
    from gilscope.claims import Measured, Textbook
    from gilscope.environments import Environment
    from gilscope.textbook.measuring import Tell

LOOK_S = 0.3
BUSY_CORES = 0.3
"""Other processes on so many cores are told: for so long it is looked whether there are any, before each Python."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--python",
        nargs="+",
        action="extend",
        metavar="PATH",
        help="measure on these Pythons (default: the one that gilscope runs on)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the table goes (default: profiles/<time>-textbook)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write it as JSON and as a page."""
    from gilscope.compare.holding import holding  # noqa: PLC0415
    from gilscope.compare.store import OWN_FOLDER, RunFolder, default_folder  # noqa: PLC0415
    from gilscope.compare.textbook_file import read_textbook  # noqa: PLC0415

    if options.out is not None:
        RunFolder.require_new(options.out)
    folder = options.out or default_folder("textbook", datetime.now(UTC))
    with holding(folder, remedy=OWN_FOLDER):
        pythons = environments(options.python or ())
        try:
            found = keep(folder, pythons)
        finally:
            if (textbook := read_textbook(folder)) is not None:
                show(textbook, folder, as_json=options.json)
    if found == len(pythons):
        return 0
    kept = f"{found} of {len(pythons)} Pythons were measured whole, and are kept"
    say(f"interrupted: {kept if found else 'nothing was measured whole, so nothing is kept'}")
    return INTERRUPTED


def keep(folder: Path, pythons: Sequence[Environment]) -> int:
    """Measure the table and write it into a folder, a Python at a time: what was measured is kept, whatever becomes of the rest.

    Returns on how many Pythons it was measured whole: all of them, unless Ctrl-C ended it.
    """
    from gilscope.compare.textbook_file import write_textbook  # noqa: PLC0415

    found = 0
    for textbook in measured(pythons):
        write_textbook(folder, textbook)
        found = len(textbook.measured)
    return found


def say(message: str) -> None:
    """Tell the user beside the output."""
    print(message, file=sys.stderr)  # noqa: T201


def show(textbook: Textbook, folder: Path, *, as_json: bool) -> None:
    """Print the table, and write it as a page.

    Raises:
        RunFileError: the page cannot be written.
    """
    from gilscope.compare.store import write_text  # noqa: PLC0415
    from gilscope.compare.textbook_file import TEXTBOOK_PAGE, to_document  # noqa: PLC0415
    from gilscope.report.textbook import describe_textbook, render_textbook  # noqa: PLC0415
    from gilscope.textbook.claims_table import CLAIMS  # noqa: PLC0415

    claims, page = tuple(CLAIMS.values()), folder / TEXTBOOK_PAGE
    write_text(page, render_textbook(textbook, claims))
    if as_json:
        print(json.dumps(to_document(textbook), indent=1))  # noqa: T201
    else:
        print(describe_textbook(textbook, claims))  # noqa: T201
    told = f"page: {page}\nyour own function: gilscope compare my.py:work"
    print(f"\n{told}", file=sys.stderr if as_json else sys.stdout)


def environments(wanted: Sequence[str]) -> tuple[Environment, ...]:
    """Return the Pythons to measure on: those that are wanted, or this one.

    Raises:
        UsageError: one of them is none that can be measured on.
    """
    from gilscope.environments import own, prepare  # noqa: PLC0415

    if not wanted:
        return (own(),)
    return prepare(wanted, say)


def measured(pythons: Sequence[Environment]) -> Iterator[Textbook]:
    """Yield the table as it grows, a Python at a time; Ctrl-C ends it with what was measured until then."""
    from gilscope.claims import Textbook  # noqa: PLC0415
    from gilscope.compare.machine import describe_machine  # noqa: PLC0415
    from gilscope.compare.metering import Meter, busy_cores  # noqa: PLC0415
    from gilscope.environments import GIL_ENABLED_AGAIN  # noqa: PLC0415
    from gilscope.textbook.measuring import measure  # noqa: PLC0415

    made_at, machine, meter = datetime.now(UTC).isoformat(timespec="seconds"), describe_machine(), Meter(None)
    # Whether there was a GIL is asked of each experiment: most import less than a service does.
    cautions = [caution for one in pythons for caution in one.cautions if caution.code != GIL_ENABLED_AGAIN]
    found: list[Measured] = []
    with contextlib.suppress(KeyboardInterrupt):
        for one in pythons:
            cautions += neighbours(one.interpreter.name, busy_cores(LOOK_S))
            with _telling(one.interpreter.name) as tell:
                found.append(measure(one.interpreter, one.executable, tells=tell))
            steal = meter.usage().steal_share
            yield Textbook(__version__, made_at, machine, tuple(found), steal, tuple(cautions))


def neighbours(python: str, busy: float) -> Iterator[Caution]:
    """Warn of other processes that were on so many cores before anything was measured."""
    if busy >= BUSY_CORES:
        yield Caution(
            "machine-busy",
            f"Other processes kept {busy:.1f} of the cores busy just before Python {python} was measured: rates are lower for it "
            "and times longer, most of all of what computes",
            "measure again while the machine is quiet",
        )


@contextlib.contextmanager
def _telling(python: str) -> Iterator[Tell]:
    """Say what is measured: on a terminal in a line that changes, elsewhere in a line for each row."""
    from rich.console import Console  # noqa: PLC0415

    from gilscope.claims import Topic  # noqa: PLC0415
    from gilscope.model import BackendName  # noqa: PLC0415
    from gilscope.textbook.claims_table import CELLS, CLAIMS  # noqa: PLC0415

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    told: set[str] = set()

    def what(topic: Topic) -> str:
        """Name the rows that come of an experiment, and how many experiments there are."""
        experiments = list(dict.fromkeys(CELLS.values()))
        rows = [CLAIMS[one].title for one in Topic if CELLS[one] == CELLS[topic]]
        return f"{experiments.index(CELLS[topic]) + 1}/{len(experiments)} {' and '.join(rows)}"

    if not console.is_terminal:

        def tell(topic: Topic, backend: BackendName) -> None:  # noqa: ARG001  a line a row will do
            if CELLS[topic] not in told:
                told.add(CELLS[topic])
                console.print(f"[{python}] {what(topic)}", markup=False)

        yield tell
        return
    with console.status("") as status:
        yield lambda topic, backend: status.update(f"Python {python}: {what(topic)}, {backend}")
