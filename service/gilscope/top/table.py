"""What `gilscope top` shows, as data: threads in order, their shares, sentences and the JSON document. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from gilscope.lens.ledger import add_up
from gilscope.model import StateSeconds, ThreadRole
from gilscope.top.order import Order

FIRST_TO_TELL_HOLDERS = (3, 13)
UNSEEN = 0.02
"""Share of the time from which on threads that were not seen are worth a line."""

COSTLY = 0.2
"""Share of a core from which on what watching costs is pointed out."""


class State(StrEnum):
    """What a thread does; the value is the field of :class:`StateSeconds` that counts it."""

    ON_CPU = "on_cpu_s"
    GIL_WAIT = "gil_wait_s"
    RUNQUEUE = "runqueue_s"
    BLOCKED = "blocked_s"


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """A thread and its seconds in each state. ``role`` is None where no thread of its process has a mark."""

    pid: int
    tid: int
    name: str
    role: ThreadRole | None
    seconds: StateSeconds


@dataclass(frozen=True, slots=True)
class Unseen:
    """What threads did that lived too briefly to be seen: their CPU time, and how long they held the GIL."""

    on_cpu_s: float = 0.0
    gil_held_s: float | None = None

    def __add__(self, other: Unseen) -> Unseen:
        known = [held_s for held_s in (self.gil_held_s, other.gil_held_s) if held_s is not None]
        return Unseen(self.on_cpu_s + other.on_cpu_s, sum(known) if known else None)


@dataclass(frozen=True, slots=True)
class Picture:
    """What was seen of a process's threads in ``seconds``, by so many ``looks`` that cost ``own_cpu_s``.

    ``has_gil`` is False for a free-threaded Python whose GIL is off.
    """

    pid: int
    python: str
    has_gil: bool
    seconds: float
    looks: int
    own_cpu_s: float
    threads: tuple[ThreadRow, ...]
    unseen: Unseen = Unseen()

    @property
    def sum(self) -> StateSeconds:
        """The seconds of all threads together, also of those that were not seen."""
        seen = add_up(row.seconds for row in self.threads)
        held_s = None if seen.gil_held_s is None else seen.gil_held_s + (self.unseen.gil_held_s or 0.0)
        return replace(seen, on_cpu_s=seen.on_cpu_s + self.unseen.on_cpu_s, gil_held_s=held_s)

    @property
    def processes(self) -> int:
        """How many processes the threads belong to."""
        return len({row.pid for row in self.threads if row.tid})


KEYS: Mapping[Order, Callable[[StateSeconds], float]] = {
    Order.GIL_WAIT: lambda seconds: seconds.gil_wait_s,
    Order.ON_CPU: lambda seconds: seconds.on_cpu_s,
    Order.RUNQUEUE: lambda seconds: seconds.runqueue_s,
    Order.BLOCKED: lambda seconds: seconds.blocked_s,
    Order.HELD: lambda seconds: seconds.gil_held_s or 0.0,
    Order.TID: lambda _seconds: 0.0,
}


def ordered(rows: Iterable[ThreadRow], order: Order) -> list[ThreadRow]:
    """Sort threads; equal ones by how long they waited for the GIL, then were on a CPU (by id: by nothing else)."""

    def key(row: ThreadRow) -> tuple[float, ...]:
        if order is Order.TID:
            return row.pid, row.tid
        seconds = row.seconds
        return -KEYS[order](seconds), -seconds.gil_wait_s, -seconds.on_cpu_s, row.pid, row.tid

    return sorted(rows, key=key)


def document(picture: Picture, order: Order) -> dict[str, object]:
    """Return what ``--json`` prints; seconds are rounded to the microsecond."""
    return {
        "pid": picture.pid,
        "python": picture.python,
        "seconds": round(picture.seconds, 6),
        "looks": picture.looks,
        "unseen": _rounded(picture.unseen),
        "threads": [_thread_document(row) for row in ordered(picture.threads, order)],
    }


def _thread_document(row: ThreadRow) -> dict[str, object]:
    return {"pid": row.pid, "tid": row.tid, "name": row.name, "role": row.role, **_rounded(row.seconds)}


def _rounded(seconds: StateSeconds | Unseen) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 6) for name, value in asdict(seconds).items()}


class Totals:
    """Adds up pictures. With ``fold``, threads that have ended become one row, so that it does not grow for ever."""

    def __init__(self, *, fold: bool) -> None:
        self._fold = fold
        self._rows: dict[tuple[int, int], ThreadRow] = {}
        self._ended = 0
        self._ended_s: StateSeconds | None = None
        self._sum: Picture | None = None

    def add(self, picture: Picture) -> None:
        """Add a picture; what it says of the process holds for the sum."""
        before = self._sum
        self._sum = picture if before is None else _add(before, picture)
        for row in picture.threads:
            self._add_row(row)
        if self._fold:
            self._fold_all_but({(row.pid, row.tid) for row in picture.threads})

    def _add_row(self, row: ThreadRow) -> None:
        known = self._rows.get((row.pid, row.tid))
        seconds = row.seconds if known is None else add_up((known.seconds, row.seconds))
        self._rows[row.pid, row.tid] = replace(row, seconds=seconds)

    def _fold_all_but(self, present: set[tuple[int, int]]) -> None:
        for key in self._rows.keys() - present:
            ended = self._rows.pop(key).seconds
            self._ended += 1
            self._ended_s = ended if self._ended_s is None else add_up((self._ended_s, ended))

    def picture(self) -> Picture | None:
        """Return the sum, or None of nothing."""
        rows = list(self._rows.values())
        if self._ended_s is not None:
            rows.append(ThreadRow(0, 0, f"({self._ended:,} ended)", None, self._ended_s))
        return None if self._sum is None else replace(self._sum, threads=tuple(rows))


def _add(one: Picture, other: Picture) -> Picture:
    return replace(
        other,
        seconds=one.seconds + other.seconds,
        looks=one.looks + other.looks,
        own_cpu_s=one.own_cpu_s + other.own_cpu_s,
        unseen=one.unseen + other.unseen,
    )


def percent(share: float) -> str:
    """Return a share, 0 to 1, as whole per cent: looks do not tell more."""
    return f"{100 * share:.0f}%"


def describe(picture: Picture, *, whole: bool = False) -> list[str]:
    """Sum up a picture in a few lines of less than 80 characters; ``whole``: it is of all the time."""
    wall = f"{picture.seconds:.1f} s{' in all' if whole else ''}"
    several = f" in {picture.processes} processes" if picture.processes > 1 else ""
    threads = f"{_count(len(picture.threads), 'thread')}{several}"
    total = picture.sum
    cores, waiting = total.on_cpu_s / picture.seconds, total.runqueue_s / picture.seconds
    lines = [
        f"process {picture.pid}: Python {picture.python}, {threads}, {wall}, {_count(picture.looks, 'look')}",
        f"GIL: {_describe_gil(picture, total)}",
        f"cores: {cores:.2f} in use, {waiting:.2f} threads waiting on average",
    ]
    lines += _describe_unseen(picture)
    own = picture.own_cpu_s / picture.seconds
    if own >= COSTLY:
        lines.append(f"gilscope itself: {percent(own)} of a core; a lower --rate costs less")
    return lines


def _describe_unseen(picture: Picture) -> list[str]:
    """Say what is missing in the table, where it is worth a line."""
    on_cpu, held = (
        picture.unseen.on_cpu_s / picture.seconds,
        (picture.unseen.gil_held_s or 0.0) / picture.seconds,
    )
    if max(on_cpu, held) < UNSEEN:
        return []
    had_gil = "" if picture.unseen.gil_held_s is None else f", GIL held {percent(held)}"
    return [f"not in the table: threads too brief to be seen, {on_cpu:.2f} cores{had_gil}"]


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _describe_gil(picture: Picture, total: StateSeconds) -> str:
    if not picture.has_gil:
        return "switched off (this is a free-threaded Python)"
    waiting = f"{total.gil_wait_s / picture.seconds:.2f} threads waiting on average"
    if total.gil_held_s is None:
        return f"{waiting}; its holder is unknown {_why_unknown(picture.python)}"
    held = total.gil_held_s / picture.seconds
    if picture.processes > 1 or held > 1.005:
        return f"{held:.2f} held at a time, {waiting}"
    return f"held {percent(held)} of the time, {waiting}"


def _why_unknown(python: str) -> str:
    major, minor, *_ = map(int, python.split("."))
    if (major, minor) < FIRST_TO_TELL_HOLDERS:
        return "before Python 3.13"
    return f"in Python {major}.{minor}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: ``text`` returns a thread's cell; ``state`` is what it is the share of, if of one."""

    heading: str
    text: Callable[[ThreadRow], str]
    state: State | None = None
    to_the_right: bool = True


HEADINGS = {
    State.ON_CPU: "on CPU",
    State.GIL_WAIT: "GIL wait",
    State.RUNQUEUE: "run queue",
    State.BLOCKED: "blocked",
}


def columns(picture: Picture) -> list[Column]:
    """Return the columns: no process where there is but one, no role where nobody has one."""
    chosen = [
        Column("TID", lambda row: _id(row.tid)),
        Column("name", lambda row: row.name, to_the_right=False),
    ]
    if picture.processes > 1:
        chosen.insert(0, Column("PID", lambda row: _id(row.pid)))
    if any(row.role for row in picture.threads):
        chosen.append(Column("role", lambda row: row.role or "", to_the_right=False))
    chosen.extend(_state_column(state, picture.seconds) for state in State)
    return [*chosen, Column("GIL held", lambda row: _held(row, picture.seconds))]


def _state_column(state: State, of_s: float) -> Column:
    return Column(HEADINGS[state], lambda row: percent(getattr(row.seconds, state) / of_s), state)


def _held(row: ThreadRow, of_s: float) -> str:
    held_s = row.seconds.gil_held_s
    return "?" if held_s is None else percent(held_s / of_s)


def _id(number: int) -> str:
    return str(number) if number else ""


def plain(picture: Picture, order: Order, *, whole: bool = False) -> str:
    """Return summary and table as lines of text alone."""
    chosen = columns(picture)
    rows = [[column.text(row) for column in chosen] for row in ordered(picture.threads, order)]
    cells = [[column.heading for column in chosen], *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(_aligned, chosen, row, widths)).rstrip() for row in cells]
    return "\n".join((*describe(picture, whole=whole), *lines, ""))


def _aligned(column: Column, text: str, width: int) -> str:
    return text.rjust(width) if column.to_the_right else text.ljust(width)


def parts(seconds: StateSeconds, of_s: float, width: int) -> list[tuple[State, int]]:
    """Divide a bar of ``width`` cells, which stands for ``of_s`` seconds; the largest remainders are rounded up."""
    exact = {state: width * getattr(seconds, state) / of_s for state in State}
    cells = {state: int(share) for state, share in exact.items()}
    missing = min(width, round(sum(exact.values()))) - sum(cells.values())
    by_remainder = sorted(State, key=lambda state: cells[state] - exact[state])
    for state in by_remainder[: max(0, missing)]:
        cells[state] += 1
    return list(cells.items())


def readable(name: str) -> str:
    """Return a thread's name without what a terminal would obey: a process may call its threads anything."""
    return "".join(character if character.isprintable() else "?" for character in name)


def better_name(name: str, *, is_main: bool, program: Sequence[str]) -> str:
    """Return ``MainThread`` for a main thread whose name is only its program's; the kernel keeps 15 characters."""
    if is_main and name in {part.rpartition("/")[2][:15] for part in program}:
        return "MainThread"
    return name
