"""A window's samples as several messages, each of a size that takes no Locust process long. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from gilscope.model import ProbeSamples, Samples, Unanswered, WorkSamples

AT_ONCE = 2_000
"""How many rows go into one piece: some hundred kilobytes."""

Piece = Sequence[Sequence[float]]
"""A part of each column of the samples, such as JSON or MessagePack can carry it."""

_BESIDE_WORK = 6


def pieces_of(samples: Samples, at_once: int = AT_ONCE) -> Iterator[Piece]:
    """Cut all columns of ``samples``, so many rows at a time."""
    columns = (
        *(getattr(samples.work, field.name) for field in fields(WorkSamples)),
        *(samples.probe.due_s, samples.probe.latency_ms),
        *(samples.unanswered.due_s, samples.unanswered.waited_ms),
        samples.carried_s,
        samples.failed_s,
    )
    for begin in range(0, max(map(len, columns)), at_once):
        yield [list(column[begin : begin + at_once]) for column in columns]


def joined(window_s: float, pieces: Sequence[Piece]) -> Samples:
    """Put together what :func:`pieces_of` cut, of a window of ``window_s`` seconds."""
    width = len(fields(WorkSamples)) + _BESIDE_WORK
    columns = [[value for piece in pieces for value in piece[at]] for at in range(width)]
    work = columns[:-_BESIDE_WORK]
    ping_due_s, ping_ms, lost_due_s, waited_ms, carried_s, failed_s = columns[-_BESIDE_WORK:]
    return Samples(
        window_s,
        WorkSamples(*(work if work[-1] else work[:-1])),  # in a closed loop there is one latency
        ProbeSamples(ping_due_s, ping_ms),
        Unanswered(tuple(lost_due_s), tuple(waited_ms)),
        tuple(carried_s),
        tuple(failed_s),
    )
