"""Folded stacks as text: read and written. Pure.

The text is what ``py-spy record --format raw`` writes (flamegraph.pl's format, one stack a line)::

    process 41:"python -m app";thread (43): worker;run (threading.py:982);primes (primes.py:9) 17

py-spy escapes nothing. Inside the quotes of a process root a command may therefore contain ``;``, quotes and
even newlines (``python -c``); :func:`parse` tells all of these apart. A ``;`` in the name of a thread or a
file cannot be told from a separator: such a name comes out as two frames, and no weight is lost.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from gilscope.model import Folded, Stack

_RECORD = re.compile(r"(?P<stack>.*) (?P<weight>[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)", re.DOTALL)
_PROCESS = re.compile(r'process [0-9]+:"')
# Greedy on purpose: the last quote that can end a command ends it, since the command may contain others.
_IN_PROCESS = re.compile(
    r'(?P<roots>process [0-9]+:".*")(?:;(?!process [0-9]+:")(?P<frames>[^\n]*))?', re.DOTALL
)
_NEXT_PROCESS = re.compile(r'(?<=");(?=process [0-9]+:")')
_ROOT = re.compile(r'process [0-9]+:".*"|thread \((?:[0-9]+|0[xX][0-9A-Fa-f]+)\)(?:: .*)?', re.DOTALL)
_FRAME = re.compile(r"(?P<name>.*) \((?P<file>.+?)(?::(?P<line>0|[1-9][0-9]{0,8}))?\)", re.DOTALL)


class FrameParts(NamedTuple):
    """A frame taken apart; ``file`` and ``line`` (from 1) are None where the profiler knew none."""

    name: str
    file: str | None = None
    line: int | None = None


def split_frame(frame: str) -> FrameParts:
    """Take apart ``name (file:line)`` or ``name (file)``; anything else is all name."""
    match = _FRAME.fullmatch(frame)
    if match is None:
        return FrameParts(frame)
    line = match["line"]
    return FrameParts(match["name"], match["file"], None if line is None else int(line))


def join_frame(parts: FrameParts) -> str:
    """Put a frame together again: the inverse of :func:`split_frame`."""
    if parts.file is None:
        return parts.name
    return (
        f"{parts.name} ({parts.file})" if parts.line is None else f"{parts.name} ({parts.file}:{parts.line})"
    )


def parse(text: str) -> dict[Stack, float]:
    """Read folded stacks; weights of equal stacks add up, empty lines are skipped.

    Raises:
        ValueError: a line is not ``frame;frame WEIGHT``; the message names it.
    """
    folded: dict[Stack, float] = {}
    for number, record in _records(text):
        match = _RECORD.fullmatch(record)
        stack = None if match is None else _split(match["stack"])
        if match is None or stack is None:
            raise ValueError(f"line {number} is not 'frame;frame WEIGHT': {record[:200]!r}")
        weight = float(match["weight"])
        if not math.isfinite(weight):
            raise ValueError(f"line {number} has a weight beyond all numbers: {record[-40:]!r}")
        folded[stack] = folded.get(stack, 0.0) + weight
    return folded


def format_folded(folded: Folded) -> str:
    """Write stacks in alphabetical order, one per line; :func:`parse` reads the same back.

    Raises:
        ValueError: the format cannot carry a stack (it is empty, or a frame has a ``;`` or a newline in it)
            or a weight (it is negative, infinite or not a number).
    """
    return "".join(_format_line(stack, folded[stack]) for stack in sorted(folded))


def is_root(frame: str) -> bool:
    """Tell whether py-spy put this frame on top to say which process or thread the stack is of."""
    return _ROOT.fullmatch(frame) is not None


def _records(text: str) -> Iterator[tuple[int, str]]:
    """Yield each record with the number of its first line; a command with newlines in it spans several."""
    pending: list[str] = []
    first = 1
    for number, line in enumerate(text.split("\n"), start=1):
        if pending and _PROCESS.match(line):
            break  # The record before never ended: what there is of it goes to the caller, who complains.
        first = first if pending else number
        pending.append(line)
        record = "\n".join(pending)
        if not _is_unfinished(record):
            pending.clear()
            if record:
                yield first, record
    if pending:
        yield first, "\n".join(pending)


def _is_unfinished(record: str) -> bool:
    """Tell whether the record is within the quotes of a command, so that its next line belongs to it."""
    if not _PROCESS.match(record):
        return False
    match = _RECORD.fullmatch(record)
    return match is None or _split(match["stack"]) is None


def _split(text: str) -> Stack | None:
    """Split a record without its weight into frames; None where they cannot be told apart."""
    if not _PROCESS.match(text):
        return _frames(text) if "\n" not in text else None
    match = _IN_PROCESS.fullmatch(text)
    if match is None:
        return None
    roots = _NEXT_PROCESS.split(match["roots"])
    frames = () if match["frames"] is None else _frames(match["frames"])
    return (*roots, *frames) if all(map(is_root, roots)) and _ends_well(frames) else None


def _ends_well(frames: Stack) -> bool:
    """Tell frames from the rest of a line of a command: py-spy's innermost frame always has a file."""
    return not frames or is_root(frames[-1]) or split_frame(frames[-1]).file is not None


def _frames(text: str) -> Stack:
    """Split at every ``;``. The same frame comes a thousand times: keep one copy of its text."""
    return tuple(map(sys.intern, text.split(";")))


def _format_line(stack: Stack, weight: float) -> str:
    joined = ";".join(stack)
    if _split(joined) != stack:
        raise ValueError(f"folded stacks cannot carry {stack!r}")
    if not 0 <= weight < math.inf:
        raise ValueError(f"folded stacks cannot carry a weight of {weight}")
    number = float(weight)
    return f"{joined} {int(number) if number.is_integer() else repr(number)}\n"
