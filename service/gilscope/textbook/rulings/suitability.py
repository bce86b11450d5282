"""What suits waiting and what suits computing, relative to the event loop itself on the same Python."""

from __future__ import annotations

from gilscope.claims import Standing
from gilscope.model import BackendName
from gilscope.textbook.rulings.base import Column, Figures, Ruling, milliseconds, number, short, truth

WAITS_RATIO = 0.8
"""Suits I/O: at least so many calls per second as the best backend (0.9, less what 0.2 s cannot tell)."""
STALL_MS = 100.0
"""Suits I/O: the event loop was never kept from running for so long."""
SPEED_UP = 1.3
"""Suits CPU work: so many times the calls per second of one at a time, on two cores or more."""
FREE_SHARE = 0.5
"""Suits CPU work as well: the longest stall of the event loop is less than so much of that beside calls on it."""
WORSE_RATIO = 2.0
"""A footnote: a call that holds the GIL keeps the event loop from running for so many times as long as pure Python does."""
SLOWER = 0.9
"""A footnote: another kind of work gets fewer than so many times the calls per second of the event loop itself."""
NO_FASTER = 0.05
"""What ran so little faster, or slower, ran no faster: windows of 0.1 s cannot tell."""

_SAID_TO_WAIT = (BackendName.ASYNCIO, BackendName.THREADS)
_SAID_TO_COMPUTE = (BackendName.PROCESSES, BackendName.INTERPRETERS)


def waiting(column: Column) -> Ruling:
    """Judge by calls that wait for an upstream for 20 ms, several of them in flight for each worker of a pool."""
    rate, stall_ms = _rate(column.figures, "http_fetch"), _stall(column.figures, "http_fetch")
    best = max(_rates(column, "http_fetch").values())
    share, said = rate / max(best, 1e-9), column.backend in _SAID_TO_WAIT
    suits = share >= WAITS_RATIO and stall_ms < STALL_MS
    workers = (
        ""
        if column.backend is BackendName.ASYNCIO
        else f" by {number(column.figures, 'workers'):.0f} workers"
    )
    headline = f"{short(rate)} fetches/s{workers} (the best: {short(best)}), stall {milliseconds(stall_ms)}"
    notes = _why_not_waiting(column, share, stall_ms)
    if suits and not said:
        notes = ["Here it is as good as the best."]
    return Ruling(Standing.HOLDS if suits is said else Standing.FAILS, headline, " ".join(notes))


def _why_not_waiting(column: Column, share: float, stall_ms: float) -> list[str]:
    """Say what keeps a backend from suiting, each for itself: its rate, and the event loop's longest stall."""
    notes = []
    if share < WAITS_RATIO and column.backend in _SAID_TO_WAIT:
        notes.append(f"It made {short(share)} times the calls of the best.")
    elif share < WAITS_RATIO:
        workers, in_flight = number(column.figures, "workers"), number(column.figures, "in_flight")
        notes.append(
            f"Its {workers:.0f} workers wait for {workers:.0f} of the {in_flight:.0f} calls in flight at a time. More of them "
            "would wait for more, each at the memory of one."
        )
    if stall_ms >= STALL_MS:
        though = "" if notes else ", though it made as many calls as the best"
        notes.append(f"The event loop was kept from running for {milliseconds(stall_ms)}{though}.")
    return notes


def computing(column: Column) -> Ruling:
    """Judge by pure-Python computing; other kinds of work are the footnotes.

    Raises:
        ValueError: threads ran faster than a GIL allows, so that something else was measured.
    """
    speed, stall_ms = _speed(column, "primes"), _stall(column.figures, "primes")
    headline = f"{short(_rate(column.figures, 'primes'))} calls/s"
    if column.backend is not BackendName.ASYNCIO:
        on_loop = short(_rate(column.figures, "primes_on_loop"))
        headline += f", {short(speed)} times the {on_loop} that the event loop itself made in between"
    headline += f"; stall {milliseconds(stall_ms)}"
    suits = _gains(column, "primes") or _leaves_loop_free(column)
    said = column.backend in _SAID_TO_COMPUTE
    if suits is not said:
        _require_possible(column)
        return Ruling(Standing.FAILS, headline, _why(column))
    remarks = {
        BackendName.ASYNCIO: _remarks_on_loop,
        BackendName.THREADS: _remarks_on_threads,
        BackendName.PROCESSES: _remarks_on_copies,
        BackendName.INTERPRETERS: _remarks_on_copies,
    }[column.backend](column)
    standing = Standing.FOOTNOTE if remarks else Standing.HOLDS
    return Ruling(standing, headline, " ".join([*_gained_nothing(column), *remarks]))


def _gains(column: Column, workload: str) -> bool:
    return number(column.figures, "cores") >= 2 and _speed(column, workload) > SPEED_UP


def _leaves_loop_free(column: Column) -> bool:
    """Whether the event loop gets to run beside the work; on the event loop itself it cannot."""
    if column.backend not in _SAID_TO_COMPUTE:
        return False
    return _stall(column.figures, "primes") < FREE_SHARE * _stall(column.figures, "primes_on_loop")


def _require_possible(column: Column) -> None:
    """Raise ValueError where one GIL would have let several threads compute at once."""
    if column.backend not in _SAID_TO_COMPUTE and truth(column.figures, "gil_enabled"):
        raise ValueError(
            f"pure Python ran {short(_speed(column, 'primes'))} times as fast as one at a time, which the GIL does not "
            "allow: something else disturbed the machine meanwhile"
        )


def _why(column: Column) -> str:
    if column.backend in _SAID_TO_COMPUTE:
        return "It was no faster than one at a time, and did not leave the event loop free."
    return f"Here pure Python ran {short(_speed(column, 'primes'))} times as fast as one at a time."


def _remarks_on_loop(column: Column) -> list[str]:
    own = _rate(column.figures, "noop")
    others = {name: rate for name, rate in _rates(column, "noop").items() if name is not column.backend}
    if not others or own <= max(others.values()):
        return []
    name = max(others, key=lambda other: others[other])
    remark = (
        f"Work that is too small to pay for the way there and back is best done here: {short(own)} no-op calls/s against "
        f"{short(others[name])} on {name}."
    )
    return [remark]


def _remarks_on_threads(column: Column) -> list[str]:
    remarks = []
    if _gains(column, "sha256"):
        remarks.append(f"C code that releases the GIL suits threads: {_sha256(column)}.")
    held_ms, computed_ms = _stall(column.figures, "c_call"), _stall(column.figures, "primes")
    if not _gains(column, "c_call") and held_ms >= WORSE_RATIO * computed_ms:
        remarks.append(
            "C calls that hold the GIL throughout are worse for all others than pure Python: such calls of about "
            f"{milliseconds(1e3 / _rate(column.figures, 'c_call_on_loop'))} kept the event loop from running for "
            f"{milliseconds(held_ms)}, pure Python for {milliseconds(computed_ms)}."
        )
    return remarks


def _gained_nothing(column: Column) -> list[str]:
    """Say what C code that releases the GIL did where it could have gained in threads: else it seems forgotten."""
    if column.backend is not BackendName.THREADS or _gains(column, "sha256"):
        return []
    return [f"C code that releases the GIL may run at once, and gained nothing here: {_sha256(column)}."]


def _sha256(column: Column) -> str:
    return f"SHA-256 ran {_as_fast(_speed(column, 'sha256'))} one at a time"


def _remarks_on_copies(column: Column) -> list[str]:
    remarks = []
    if not _gains(column, "primes"):
        remarks.append(
            f"No gain in speed here ({short(_speed(column, 'primes'))} times), but the event loop stays free: its "
            f"stall was {milliseconds(_stall(column.figures, 'primes'))}, and "
            f"{milliseconds(_stall(column.figures, 'primes_on_loop'))} where it made the calls itself."
        )
    if _speed(column, "noop") < SLOWER:
        remarks.append(
            f"Work that is too small does not pay for the way there and back: {short(_rate(column.figures, 'noop'))} no-op calls/s against "
            f"{short(_rate(column.figures, 'noop_on_loop'))} on the event loop itself."
        )
    if _speed(column, "largest") < SLOWER:
        remarks.append(
            "Nor does little work with a large argument: finding the largest of 100,000 numbers, which have to travel, ran "
            f"{_as_fast(_speed(column, 'largest'))} on the event loop itself."
        )
    return remarks


def _as_fast(speed: float) -> str:
    """Write how many times as fast as something else a thing ran; what cannot be told from 1 is no faster."""
    return "no faster than" if abs(speed - 1) < NO_FASTER else f"{short(speed)} times as fast as"


def _speed(column: Column, workload: str) -> float:
    """Return how many times the calls per second of one at a time, which is on the event loop itself, in turn with it."""
    if column.backend is BackendName.ASYNCIO:
        return 1.0
    return _rate(column.figures, workload) / max(_rate(column.figures, f"{workload}_on_loop"), 1e-9)


def _rates(column: Column, workload: str) -> dict[BackendName, float]:
    """Return the calls per second on every backend that has told them."""
    name = f"{workload}_calls_per_s"
    return {backend: number(figures, name) for backend, figures in column.all.items() if name in figures}


def _rate(figures: Figures, workload: str) -> float:
    return number(figures, f"{workload}_calls_per_s")


def _stall(figures: Figures, workload: str) -> float:
    return number(figures, f"{workload}_longest_stall_ms")
