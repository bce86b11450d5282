"""The table of `gilscope top`: redrawn in place on a terminal, one after the other elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from gilscope.palette import STATES
from gilscope.top.order import Order
from gilscope.top.table import (
    HEADINGS,
    Column,
    Picture,
    State,
    ThreadRow,
    columns,
    describe,
    ordered,
    parts,
    plain,
)

WIDE = 100
"""Columns from which on headings stay in one line."""

NOTHING = 0.005
NOTICEABLE = 0.1
"""Shares of the time: below the first, a figure is dim; from the second on, waiting for the GIL is set in bold."""

ORDERS = {
    Order.GIL_WAIT: "GIL wait",
    Order.ON_CPU: "on CPU",
    Order.RUNQUEUE: "run queue",
    Order.BLOCKED: "blocked",
    Order.HELD: "GIL held",
    Order.TID: "TID",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """How a state looks in a bar, which can be read without colours; ``ascii``: where nothing else can be shown."""

    mark: str
    ascii: str
    style: Style


CELLS = {
    # The shades for dark paper: on light paper they can be read as well, and the other way round not.
    State.ON_CPU: Cell("█", "#", Style(color=STATES["cpu"].dark)),
    State.GIL_WAIT: Cell("▒", "+", Style(color=STATES["gil_wait"].dark)),
    State.RUNQUEUE: Cell("=", "=", Style(color=STATES["runqueue"].dark)),
    State.BLOCKED: Cell("·", ".", Style(color=STATES["blocked"].dark)),
}


class Bar:
    """A thread's states, side by side, as wide as there is room."""

    def __init__(self, row: ThreadRow, of_s: float) -> None:
        self._row, self._of_s = row, of_s

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for state, cells in parts(self._row.seconds, self._of_s, options.max_width):
            yield Segment(_mark(state, options) * cells, CELLS[state].style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(8, 40)


class Legend:
    """What a bar's cells mean, and the order."""

    def __init__(self, order: Order, *, live: bool) -> None:
        self._order = order
        self._hint = "; Ctrl-C ends" if live else ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for state, cell in CELLS.items():
            yield Segment(_mark(state, options), cell.style)
            yield Segment(f" {HEADINGS[state]}  ")
        yield Segment(f" sorted by {ORDERS[self._order]}{self._hint}\n")


def _mark(state: State, options: ConsoleOptions) -> str:
    return CELLS[state].ascii if options.ascii_only else CELLS[state].mark


def build_table(picture: Picture, rows: Iterable[ThreadRow], *, width: int) -> Table:
    """Return the table of these threads, with bars; headings take two lines where there is little room."""
    roomy = width >= WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2 if roomy else 1, 0, 0), header_style="bold")
    chosen = columns(picture)
    for column in chosen:
        heading = Text(column.heading.replace(" ", " " if roomy else "\n"), style=_colour(column))
        justify: JustifyMethod = "right" if column.to_the_right else "left"
        table.add_column(heading, justify=justify, no_wrap=True, vertical="bottom")
    table.add_column()
    for row in rows:
        cells = (Text(column.text(row), style=_emphasis(column, row, picture)) for column in chosen)
        table.add_row(*cells, Bar(row, picture.seconds))
    return table


def _colour(column: Column) -> Style:
    return Style() if column.state is None else CELLS[column.state].style


def _emphasis(column: Column, row: ThreadRow, picture: Picture) -> str:
    if column.state is None:
        return ""
    share = getattr(row.seconds, column.state) / picture.seconds
    if share < NOTHING:
        return "dim"
    return "bold" if column.state is State.GIL_WAIT and share >= NOTICEABLE else ""


class View(Protocol):
    """Shows pictures as they come."""

    def show(self, picture: Picture) -> None:
        """Show a picture."""
        ...


class QuietView:
    """Shows nothing: the end will tell."""

    def show(self, picture: Picture) -> None:
        """Show nothing."""


class PlainView:
    """Prints a table per picture, for pipes and files."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def show(self, picture: Picture) -> None:
        """Print the table, and an empty line."""
        print(plain(picture, self._order), flush=True)  # noqa: T201  an empty line follows


class LiveView:
    """Redraws one table on a terminal."""

    def __init__(self, live: Live, order: Order) -> None:
        self._live = live
        self._order = order

    def begin(self, pid: int) -> None:
        """Say that the first picture is being taken."""
        self._live.update(Text(f"watching process {pid}"), refresh=True)

    def show(self, picture: Picture) -> None:
        """Draw as many threads as there is room for."""
        size = self._live.console.size
        self._live.update(build_page(picture, self._order, size.width, size.height), refresh=True)


def build_page(
    picture: Picture, order: Order, width: int, height: int | None, *, whole: bool = False
) -> RenderableType:
    """Return summary, table and legend; of so many lines at most, unless ``height`` is None."""
    summary = describe(picture, whole=whole)
    rows = ordered(picture.threads, order)
    # Beside the summary: a blank line, headings, how many more there are, the legend, and the cursor's own line.
    room = len(rows) if height is None else max(1, height - len(summary) - (5 if width >= WIDE else 6))
    more = len(rows) - room
    return Group(
        *(Text(line, no_wrap=True, overflow="ellipsis") for line in summary),
        Text(),
        build_table(picture, rows[:room], width=width),
        Text(f"and {more:,} more" if more > 0 else ""),
        Legend(order, live=not whole),
    )


@contextmanager
def live_view(pid: int, order: Order, *, stderr: bool) -> Iterator[LiveView]:
    """Take the terminal's other screen, and give it back as it was."""
    console = Console(stderr=stderr, highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        view = LiveView(live, order)
        view.begin(pid)
        yield view


def is_screen(*, stderr: bool) -> bool:
    """Whether a table can be redrawn there."""
    stream = sys.stderr if stderr else sys.stdout
    # There is none at all where it was closed before we began.
    return stream is not None and stream.isatty() and not Console(stderr=stderr).is_dumb_terminal


def print_whole(picture: Picture, order: Order) -> None:
    """Print the sum of all pictures: with colours on a terminal, as plain lines elsewhere."""
    if is_screen(stderr=False):
        console = Console(highlight=False)
        console.print(build_page(picture, order, console.width, None, whole=True), end="")
    else:
        print(plain(picture, order, whole=True), end="", flush=True)  # noqa: T201
