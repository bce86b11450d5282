"""Whether memory is shared, what handing something over takes, and what two workers do to the same data."""

from __future__ import annotations

from gilscope.claims import Standing
from gilscope.model import BackendName
from gilscope.textbook.rulings.base import Column, Figures, Ruling, milliseconds, number, short, truth

COPIED_RATIO = 3.0
"""Whoever takes so many times longer for the largest argument than for 1 kB has copied it."""
FASTER_RATIO = 1.5
"""So many times faster is worth a footnote."""

_ON_PURPOSE = {
    BackendName.PROCESSES: "multiprocessing.shared_memory",
    BackendName.INTERPRETERS: "a memoryview of a buffer",
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
    size = _largest(column.figures, kind)
    there, back = _both_ways(column.figures, kind, size)
    there_shared, back_shared = _both_ways(column.figures, other, size)
    large = size.replace("MB", " MB")
    headline = f"{large}: {milliseconds(there)} there, {milliseconds(back)} back"
    if there < COPIED_RATIO * number(column.figures, f"{kind}_1kB_there_ms"):
        return Ruling(Standing.FAILS, headline, f"{large} took no longer than 1 kB: nothing was copied.")
    faster = there >= FASTER_RATIO * there_shared
    took = f"{milliseconds(there_shared)} there, {milliseconds(back_shared)} back"
    if column.backend is BackendName.PROCESSES:
        footnote = f"Through multiprocessing.shared_memory {large} took {took}."
        return Ruling(Standing.FOOTNOTE, headline, footnote) if faster else Ruling(Standing.HOLDS, headline)
    footnote = f"Through a shared buffer {large} took {took}."
    return Ruling(Standing.HOLDS if faster else Standing.FOOTNOTE, headline, footnote)


def _by_reference(column: Column) -> Ruling:
    same = truth(column.figures, "same_object")
    size = _largest(column.figures, "reference")
    if column.backend is BackendName.ASYNCIO:
        took = milliseconds(number(column.figures, f"reference_{size}_there_and_back_ms")) + " there and back"
    else:
        there, back = _both_ways(column.figures, "reference", size)
        took = f"{milliseconds(there)} there, {milliseconds(back)} back"
    headline = f"{size.replace('MB', ' MB')}: {took}, {'the same object' if same else 'another object'}"
    return Ruling(Standing.HOLDS if same else Standing.FAILS, headline)


def _both_ways(figures: Figures, kind: str, size: str) -> tuple[float, float]:
    return number(figures, f"{kind}_{size}_there_ms"), number(figures, f"{kind}_{size}_back_ms")


def _largest(figures: Figures, kind: str) -> str:
    return "100MB" if any(name.startswith(f"{kind}_100MB") for name in figures) else "1MB"


def data(column: Column) -> Ruling:
    """Judge by the updates that were lost."""
    rule = {
        BackendName.ASYNCIO: _data_of_tasks,
        BackendName.THREADS: _data_of_threads,
        BackendName.PROCESSES: _data_of_copies,
        BackendName.INTERPRETERS: _data_of_copies,
    }
    return rule[column.backend](column.figures)


def _data_of_tasks(figures: Figures) -> Ruling:
    plain, awaiting = _lost(figures, "add_with_call"), _lost(figures, "add_with_await")
    headline = f"{short(plain)} lost of 1 million; {short(awaiting)} with an await in between"
    if plain:
        return Ruling(Standing.FAILS, headline)
    if not awaiting:
        return Ruling(Standing.HOLDS, headline)
    twice = number(figures, "seats_sold_twice_per_million")
    footnote = (
        "One at a time, up to the next await: with one between reading and writing, "
        f"{short(awaiting)} of 1 million updates were lost, and {short(twice)} of 1 million seats were sold twice. "
        + _with_lock(figures, "add_with_await", "an asyncio.Lock")
    )
    return Ruling(Standing.FOOTNOTE, headline, footnote)


def _data_of_threads(figures: Figures) -> Ruling:
    plain, calling = _lost(figures, "add"), _lost(figures, "add_with_call")
    twice = number(figures, "seats_sold_twice_per_million")
    headline = f"{short(plain)} lost of 1 million; {short(calling)} with a call in between"
    lock = _with_lock(figures, "add_with_call", "a lock")
    if plain:
        return Ruling(Standing.HOLDS, headline, lock)
    if not calling and not twice:
        return Ruling(Standing.FAILS, headline, "Here nothing was lost; nothing promises that.")
    footnote = (
        "A plain += lost nothing: this Python hands the GIL over only between certain instructions, and there is none "
        f"between its read and its write. With a call in between {short(calling)} of 1 million were lost, and of 1 "
        f"million seats {short(twice)} were sold twice by check, then act. {lock}"
    )
    return Ruling(Standing.FOOTNOTE, headline, footnote)


def _data_of_copies(figures: Figures) -> Ruling:
    seen, shared = number(figures, "global_seen_by_parent"), _lost(figures, "add")
    headline = (
        f"a global: the parent sees {short(seen)} changes; shared memory: {short(shared)} lost of 1 million"
    )
    if seen:
        return Ruling(Standing.FAILS, headline)
    if not shared:
        return Ruling(Standing.HOLDS, headline)
    twice = number(figures, "seats_sold_twice_per_million")
    footnote = (
        f"Each has its own copy. What is shared on purpose is not protected: {short(shared)} of 1 million += were "
        f"lost, and of 1 million seats {short(twice)} were sold twice. "
    )
    processes = "add_with_call_locked_lost_per_million" in figures
    lock = (
        "a multiprocessing.Lock" if processes else "the only token of a queue for a lock (there is no other)"
    )
    return Ruling(Standing.FOOTNOTE, headline, footnote + _with_lock(figures, "add", lock))


def _lost(figures: Figures, name: str) -> float:
    return number(figures, f"{name}_lost_per_million")


def _with_lock(figures: Figures, name: str, lock: str) -> str:
    lost, cost_ns = _lost(figures, f"{name}_locked"), max(0.0, number(figures, f"{name}_lock_ns"))
    what = "nothing was lost" if not lost else f"{short(lost)} of 1 million were lost"
    cost = f"{short(cost_ns)} ns" if cost_ns < 1000 else milliseconds(cost_ns / 1e6)
    return f"With {lock} {what}; it cost {cost} per update."
