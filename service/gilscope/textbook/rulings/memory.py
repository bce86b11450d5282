"""Whether memory is shared, what handing something over takes, and what two workers do to the same data."""

from __future__ import annotations

from collections.abc import Iterator

from gilscope.claims import Standing
from gilscope.model import BackendName
from gilscope.textbook.rulings.base import Column, Figures, Ruling, milliseconds, number, short, truth

LARGEST = "100MB"
COPIED_RATIO = 3.0
"""Whoever takes so many times longer for the largest argument than for 1 kB has copied it."""
FASTER_RATIO = 1.5
"""So many times faster is worth a footnote."""

_ON_PURPOSE = {
    BackendName.PROCESSES: "multiprocessing.shared_memory",
    BackendName.INTERPRETERS: "a memoryview of a buffer",
}
_LOCKS = {
    BackendName.PROCESSES: "a multiprocessing.Lock",
    BackendName.INTERPRETERS: "the only item of a queue for a lock (there is no other; who finds it taken asks again after 10 ms)",
}


def sharing(column: Column) -> Ruling:
    """Shared, if a change is seen; not shared, if only one in memory that was shared on purpose is."""
    seen = truth(column.figures, "seen")
    headline = "a worker's change is seen" if seen else "a worker's change is not seen"
    if column.backend not in _ON_PURPOSE:
        return Ruling(Standing.HOLDS if seen else Standing.FAILS, headline)
    if seen:
        return Ruling(Standing.FAILS, headline)
    if not truth(column.figures, "shared_byte_seen"):
        return Ruling(Standing.HOLDS, headline)
    way = _ON_PURPOSE[column.backend]
    return Ruling(
        Standing.FOOTNOTE, headline, f"Unless asked for: a byte written through {way} was seen by the parent."
    )


def handing_over(column: Column) -> Ruling:
    """By reference, if it is the same object; copied, if more takes longer."""
    if column.backend in (BackendName.ASYNCIO, BackendName.THREADS):
        return _by_reference(column)
    kind, other = (
        ("pickle", "shared_memory") if column.backend is BackendName.PROCESSES else ("copy", "buffer")
    )
    size, common = _largest(column.figures, kind), _largest(column.figures, kind, other)
    there, back = _both_ways(column.figures, kind, size)
    headline = f"{_spaced(size)}: {milliseconds(there)} there, {milliseconds(back)} back"
    if size == LARGEST and there < COPIED_RATIO * number(column.figures, f"{kind}_1kB_there_ms"):
        return Ruling(
            Standing.FAILS, headline, f"{_spaced(size)} took no longer than 1 kB: nothing was copied."
        )
    there_shared, back_shared = _both_ways(column.figures, other, common)
    faster = number(column.figures, f"{kind}_{common}_there_ms") >= FASTER_RATIO * there_shared
    took = f"{_spaced(common)} took {milliseconds(there_shared)} there, {milliseconds(back_shared)} back."
    if column.backend is BackendName.PROCESSES:
        notes = [f"Through multiprocessing.shared_memory {took}"] if faster else []
        standing = Standing.FOOTNOTE if faster else Standing.HOLDS
    else:
        notes = [f"Through a shared buffer {took}"]
        standing = Standing.HOLDS if faster else Standing.FOOTNOTE
    return Ruling(standing, headline, " ".join([*notes, *_left_out(column.figures)]))


def _by_reference(column: Column) -> Ruling:
    same = truth(column.figures, "same_object")
    size = _largest(column.figures, "reference")
    if column.backend is BackendName.ASYNCIO:
        took = milliseconds(number(column.figures, f"reference_{size}_there_and_back_ms")) + " there and back"
    else:
        there, back = _both_ways(column.figures, "reference", size)
        took = f"{milliseconds(there)} there, {milliseconds(back)} back"
    headline = f"{_spaced(size)}: {took}, {'the same object' if same else 'another object'}"
    return Ruling(Standing.HOLDS if same else Standing.FAILS, headline, " ".join(_left_out(column.figures)))


def _both_ways(figures: Figures, kind: str, size: str) -> tuple[float, float]:
    return number(figures, f"{kind}_{size}_there_ms"), number(figures, f"{kind}_{size}_back_ms")


def _largest(figures: Figures, *kinds: str) -> str:
    """Return the largest size that was handed over each way; 1 kB where there is none."""
    sizes = (LARGEST, "1MB", "1kB")
    return next(
        (size for size in sizes if all(_was_handed(figures, kind, size) for kind in kinds)), sizes[-1]
    )


def _was_handed(figures: Figures, kind: str, size: str) -> bool:
    return any(name.startswith(f"{kind}_{size}_there") for name in figures)


def _spaced(size: str) -> str:
    """Write 100MB as 100 MB."""
    return f"{size[:-2]} {size[-2:]}"


def _left_out(figures: Figures) -> Iterator[str]:
    """Say what there was no room for."""
    for name, reason in figures.items():
        what, is_one, _ = name.partition("_left_out")
        if is_one:
            kind, _, size = what.rpartition("_")
            yield f"{_spaced(size)} by {kind.replace('_', ' ')} was left out: {reason}."


def data(column: Column) -> Ruling:
    """Judge by the updates that were lost."""
    if column.backend is BackendName.ASYNCIO:
        return _data_of_tasks(column.figures)
    if column.backend is BackendName.THREADS:
        return _data_of_threads(column.figures)
    return _data_of_copies(column)


def _data_of_tasks(figures: Figures) -> Ruling:
    plain, awaiting = _lost(figures, "add_without_await"), _lost(figures, "add_with_await")
    headline = f"{short(plain)} updates lost per million; {short(awaiting)} with an await in between"
    if plain:
        return Ruling(Standing.FAILS, headline)
    twice = _sold_twice(figures, "sell_with_await")
    if not awaiting and not twice:
        return Ruling(Standing.HOLDS, headline)
    footnote = (
        "One at a time, up to the next await: with one between reading and writing, "
        f"{short(awaiting)} updates per million were lost, and with one between check and act {_seats(figures, twice)} were "
        f"sold twice. {_with_lock(figures, 'add_with_await', 'sell_with_await', 'an asyncio.Lock')}"
    )
    return Ruling(Standing.FOOTNOTE, headline, footnote)


def _data_of_threads(figures: Figures) -> Ruling:
    plain, calling = _lost(figures, "add"), _lost(figures, "add_with_call")
    twice = _sold_twice(figures)
    headline = f"{short(plain)} updates lost per million; {short(calling)} with a call in between"
    lock = _with_lock(figures, "add_with_call", "sell", "a lock")
    if plain:
        return Ruling(Standing.HOLDS, headline, lock)
    if not calling and not twice:
        return Ruling(Standing.FAILS, headline, "Here nothing was lost; nothing promises that.")
    footnote = (
        "A plain += lost nothing: this Python hands the GIL over only between certain instructions, and there is none "
        f"between its read and its write. With a call in between {short(calling)} per million were lost, and with "
        f"check, then act, {_seats(figures, twice)} were sold twice. {lock}"
    )
    return Ruling(Standing.FOOTNOTE, headline, footnote)


def _data_of_copies(column: Column) -> Ruling:
    figures = column.figures
    seen, shared, twice = (
        number(figures, "global_seen_by_parent"),
        _lost(figures, "add"),
        _sold_twice(figures),
    )
    headline = f"a global: the parent sees {short(seen)} changes; shared memory: {short(shared)} updates lost per million"
    if seen:
        return Ruling(Standing.FAILS, headline)
    if not shared and not twice:
        return Ruling(Standing.HOLDS, headline)
    footnote = (
        f"Each has its own copy. What is shared on purpose is not protected: {short(shared)} += per million "
        f"were lost, and {_seats(figures, twice)} were sold twice. "
    )
    return Ruling(
        Standing.FOOTNOTE, headline, footnote + _with_lock(figures, "add", "sell", _LOCKS[column.backend])
    )


def _lost(figures: Figures, name: str) -> float:
    return number(figures, f"{name}_wrong_per_million")


def _sold_twice(figures: Figures, name: str = "sell") -> float:
    return number(figures, f"{name}_wrong_per_million")


def _seats(figures: Figures, per_million: float) -> str:
    """Write so many of the seats that there were."""
    seats = number(figures, "seats")
    return f"{per_million * seats / 1e6:,.0f} of {seats:,.0f} seats"


def _with_lock(figures: Figures, adds: str, sells: str, lock: str) -> str:
    """Say whether the lock helps, both ways, and how much longer an update took with it."""
    lost, twice = _lost(figures, f"{adds}_locked"), _sold_twice(figures, f"{sells}_locked")
    updates = short(number(figures, "updates_locked" if "updates_locked" in figures else "updates"))
    kept = f"none of {updates} was lost" if not lost else f"{short(lost)} per million were lost"
    sold = "no seat was sold twice" if not twice else f"{_seats(figures, twice)} were sold twice even so"
    cost_ns = number(figures, f"{adds}_locked_ns") - number(figures, f"{adds}_ns")
    cost = (
        f"it cost {milliseconds(cost_ns / 1e6)} per update" if cost_ns > 0 else "its cost is not measurable"
    )
    return f"With {lock} {kept}, and {sold}; {cost}."
