"""Raw samples on disk: gzipped CSV, a row per request, which any tool reads."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TextIO

from gilscope.errors import RunFileError
from gilscope.model import ProbeSamples, Samples, Unanswered, WorkSamples

_DAMAGE = (OSError, EOFError, ValueError, LookupError, StopIteration, TypeError, zlib.error, csv.Error)
"""What reading a missing, truncated or altered file may raise."""

COLUMNS = (
    "kind",
    "at_s",
    "latency_ms",
    "queue_ms",
    "run_ms",
    "cpu_ms",
    "suspended_ms",
    "return_ms",
    "total_ms",
    "service_ms",
)
AT_ONCE = 1_000
"""How many rows are written before others get a turn: some milliseconds' worth."""

_WINDOW = "window"
_KINDS = (_WINDOW, "work", "probe", "unanswered", "carried", "failed")


def write_samples(path: Path, samples: Samples, pause: Callable[[], object] = lambda: None) -> None:
    """Write ``samples``: first the window's length, then a row per work request and per ping.

    Work of a closed loop has no ``service_ms``. Of an open loop there is also a row per request that was never answered
    (``unanswered``: when it was due, how long it was waited for), and per answer to one that was due before the window
    (``carried``: when the answer came). A request that failed has a row (``failed``) with its time alone: when it was due,
    in a closed loop when it failed. The file appears whole or not at all. ``pause`` is called after each :data:`AT_ONCE`
    work requests.
    """
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with gzip.open(unfinished, "wt", newline="", compresslevel=4) as file:
            _write_rows(file, samples, pause)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_rows(file: TextIO, samples: Samples, pause: Callable[[], object]) -> None:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerow((_WINDOW, f"{samples.window_s:.6f}"))
    work = samples.work
    columns = (
        work.at_s,
        work.latency_ms,
        work.queue_ms,
        work.run_ms,
        work.cpu_ms,
        work.suspended_ms,
        work.return_ms,
        work.total_ms,
        *((work.service_ms,) if work.service_ms else ()),
    )
    rows = zip(*columns, strict=True)
    while some := list(islice(rows, AT_ONCE)):
        writer.writerows(("work", *(f"{value:.6f}" for value in row)) for row in some)
        pause()
    pings = zip(samples.probe.due_s, samples.probe.latency_ms, strict=True)
    writer.writerows(("probe", f"{due:.6f}", f"{latency:.6f}") for due, latency in pings)
    lost = zip(samples.unanswered.due_s, samples.unanswered.waited_ms, strict=True)
    writer.writerows(("unanswered", f"{due:.6f}", f"{waited:.6f}") for due, waited in lost)
    writer.writerows(("carried", f"{done:.6f}") for done in samples.carried_s)
    writer.writerows(("failed", f"{at:.6f}") for at in samples.failed_s)


def read_samples(path: Path) -> Samples:
    """Read what :func:`write_samples` wrote.

    Raises:
        RunFileError: the file is missing or damaged.
    """
    try:
        with gzip.open(path, "rt", newline="") as file:
            rows = csv.reader(file)
            next(rows)
            found: dict[str, list[list[float]]] = {kind: [] for kind in _KINDS}
            for kind, *values in rows:
                found[kind].append([float(value) for value in values])
        return Samples(
            found[_WINDOW][0][0],
            WorkSamples(*_transpose(found["work"], len(COLUMNS) - 2)),
            ProbeSamples(*_transpose(found["probe"], 2)),
            Unanswered(*map(tuple, _transpose(found["unanswered"], 2))),
            *(tuple(at for (at,) in found[kind]) for kind in ("carried", "failed")),
        )
    except _DAMAGE as problem:
        raise RunFileError(f"cannot read the samples in {path}: {problem}") from problem


def _transpose(rows: list[list[float]], width: int) -> list[list[float]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
