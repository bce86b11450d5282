"""A run on disk: one folder, written trial by trial, so that a crash loses one trial at most."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from gilscope.compare.holding import LOCK_FILE, held, holder
from gilscope.errors import RunFileError, unwritten
from gilscope.flame.folded import format_folded, parse
from gilscope.flame.speedscope import to_speedscope
from gilscope.load.samples import read_samples
from gilscope.model import (
    SCHEMA,
    Anatomy,
    BackendName,
    Classification,
    Evidence,
    Flame,
    Folded,
    Interval,
    PythonChange,
    Run,
)

RUN_FILE, REPORT_FILE = "run.json", "report.html"
LATENCY_FOLDER, FLAMES_FOLDER = "latency", "flames"


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    # These are the words everywhere; only Python needs others.
    _rename(converter, Anatomy, return_="return")
    _rename(converter, Classification, gil_class="class")
    # A named tuple's annotations are text to cattrs.
    converter.register_structure_hook(Interval, _read_interval)
    # JSON has neither infinity nor NaN: an open end, or one that is not known, is null.
    converter.register_unstructure_hook(
        Interval, lambda value: [end if math.isfinite(end) else None for end in value]
    )
    # Of ratios between Pythons, null is what is not known; of sizes, what is beyond the largest.
    converter.register_structure_hook(PythonChange, _read_python_change)
    # For "object" itself alone: a hook registered by type would also serve all of its subclasses.
    converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _type: value)
    return converter


def _rename(converter: cattrs.Converter, kind: type, **names: str) -> None:
    renamed: dict[str, Any] = {field: override(rename=name) for field, name in names.items()}
    converter.register_unstructure_hook(kind, make_dict_unstructure_fn(kind, converter, **renamed))
    converter.register_structure_hook(kind, make_dict_structure_fn(kind, converter, **renamed))


def _read_python_change(found: Mapping[str, Any], _type: type) -> PythonChange:
    def ratio(name: str) -> Interval:
        return Interval(*(math.nan if end is None else float(end) for end in found[name]))

    names = (str(found[name]) for name in ("workload", "backend", "python", "before"))
    workload, backend, python, before = names
    ratios = (ratio(name) for name in ("throughput", "p99", "probe_p99"))
    return PythonChange(workload, BackendName(backend), python, before, *ratios)


def _read_interval(ends: Sequence[float | None], _type: type) -> Interval:
    return Interval(*(math.inf if end is None else float(end) for end in ends))


CONVERTER = _converter()


def to_document(run: Run) -> dict[str, Any]:
    """Return the run as ``run.json`` holds it."""
    document: dict[str, Any] = CONVERTER.unstructure(run)
    return document


def summary(run: Run, folder: Path) -> dict[str, Any]:
    """Return what ``--json`` prints of a run: its folder and what it concludes."""
    document = to_document(run)
    told = {"run": str(folder), "verdicts": document["verdicts"]}
    told |= {} if run.complete else {"complete": False}
    told |= {"break_evens": document["break_evens"]} if run.plan.sweep else {}
    return told | ({"capacities": document["capacities"]} if run.plan.slo else {})


T = TypeVar("T")


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make the folder; it must not hold anything yet, but the lock of whoever makes it.

        Raises:
            RunFileError: it cannot be made or written, or it is not empty.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            _require_empty(path)
            (path / LATENCY_FOLDER).mkdir()
            (path / FLAMES_FOLDER).mkdir()
        except OSError as problem:
            raise unwritten(f"to {path}", problem, "--out DIR names another folder") from problem
        return cls(path)

    @classmethod
    def require_new(cls, path: Path) -> None:
        """Check that a run can have this folder for itself; make nothing.

        Raises:
            RunFileError: it is not empty, or another comparison is writing into it.
        """
        if (pid := holder(path)) is not None:
            raise held(path, pid, OWN_FOLDER)
        with contextlib.suppress(OSError):  # Making it will tell.
            _require_empty(path)

    def take_back_run(self) -> None:
        """Remove ``run.json``: nothing was measured."""
        (self.path / RUN_FILE).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what somebody who was killed had not finished writing."""
        for unfinished in self.path.rglob("*.tmp"):
            unfinished.unlink(missing_ok=True)

    def discard_if_empty(self) -> None:
        """Take the folder away again if nothing was measured."""
        if (self.path / RUN_FILE).exists():
            return
        # A trial that was cut short may have left its samples: without run.json they mean nothing.
        for folder in (self.path / LATENCY_FOLDER, self.path / FLAMES_FOLDER):
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def write_run(self, run: Run) -> None:
        """Write ``run.json``, whole or not at all."""
        text = json.dumps(to_document(run), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(self.path / RUN_FILE, text + "\n")

    def write_flame(self, flame: Flame, folded: Folded, svg: str | None) -> None:
        """Write a graph as folded stacks and, unless it is empty, as picture and for speedscope."""
        stem = self.path / flame.path
        write_text(stem.with_name(stem.name + ".folded"), format_folded(folded))
        if svg is None:
            return
        write_text(stem.with_name(stem.name + ".svg"), svg)
        document = to_speedscope(folded, name=stem.name)
        write_text(stem.with_name(stem.name + ".speedscope.json"), document)

    @property
    def report(self) -> Path:
        """Where the report is, once it is written."""
        return self.path / REPORT_FILE

    @property
    def has_run(self) -> bool:
        """Whether there is a run, complete or not."""
        return (self.path / RUN_FILE).exists()

    @property
    def has_report(self) -> bool:
        """Whether the report is there, and not older than the run."""
        try:
            return self.report.stat().st_mtime_ns >= (self.path / RUN_FILE).stat().st_mtime_ns
        except FileNotFoundError:
            return False

    def write_report(self, html: str) -> Path:
        """Write ``report.html`` and return its path."""
        path = self.path / REPORT_FILE
        write_text(path, html)
        return path

    def read(self) -> Evidence:
        """Read the run with all its samples and stacks.

        Raises:
            RunFileError: there is no run, it is damaged, or it was written by a newer gilscope.
        """
        run = self.read_run()
        samples = {
            trial.samples: read_samples(self.path / trial.samples) for trial in run.trials if trial.samples
        }
        stacks = {flame.path: self._read_folded(flame) for flame in run.flames}
        return Evidence(run, samples, stacks)

    def read_run(self) -> Run:
        """Read ``run.json`` alone.

        Raises:
            RunFileError: there is no run, it is damaged, or it was written by a newer gilscope.
        """
        try:
            return read_document(self.path / RUN_FILE, Run, newest=SCHEMA)
        except FileNotFoundError:
            raise RunFileError(
                f"there is no run in {self.path}", remedy=f"name a folder that holds a {RUN_FILE}"
            ) from None

    def _read_folded(self, flame: Flame) -> Folded:
        path = self.path / f"{flame.path}.folded"
        try:
            return parse(path.read_bytes().decode())  # Only "\n" ends a line; see the capture.
        except (OSError, ValueError) as problem:
            raise RunFileError(f"cannot read the stacks in {path}: {problem}") from problem


REMEASURE = "a copy of it, or measuring again"
OWN_FOLDER = "another --out: a run gets a folder of its own"


def _require_empty(path: Path) -> None:
    if any(entry.name != LOCK_FILE for entry in path.iterdir()):
        raise RunFileError(f"{path} is not empty", remedy=OWN_FOLDER)


def read_document(path: Path, kind: type[T], *, newest: int) -> T:
    """Read a JSON file that names its schema, of which this gilscope knows the ``newest``.

    Raises:
        FileNotFoundError: there is none.
        RunFileError: it is damaged, or was written by a newer gilscope.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        schema = document["schema"]
        if schema > newest:
            raise RunFileError(
                f"{path} has schema {schema}; this gilscope reads up to {newest}",
                remedy="a newer gilscope: pip install --upgrade gilscope",
            )
        return CONVERTER.structure(document, kind)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, cattrs.BaseValidationError) as problem:
        told = _damage(problem, kind.__name__.lower())
        raise RunFileError(f"{path} is damaged: {told}", remedy=REMEASURE) from problem


def _damage(problem: Exception, within: str) -> str:
    """Say what is wrong with a file, in a line."""
    if isinstance(problem, KeyError):
        return f"it has no {problem}"
    if isinstance(problem, cattrs.BaseValidationError):
        first, *others = cattrs.transform_error(problem, path=within)
        return first + (f", and {len(others)} more" if others else "")
    return str(problem)


def default_folder(name: str, now: datetime) -> Path:
    """Return where a run lands if nothing else is said: below ``profiles/`` of the current folder."""
    return Path("profiles") / f"{now:%Y%m%dT%H%M%SZ}-{file_name(name)}"


def file_name(text: str) -> str:
    """Turn a workload's name into one that any file system takes; of a long one the end is kept too, where a size stands."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)
    return (
        name
        if len(name) <= 80
        else f"{name[:48]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}-{name[-22:]}"
    )


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        RunFileError: it cannot be written; a :class:`DiskFullError` where there is no room. What was there is as it was.
    """
    # Several may write the same report at once.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        # A lone surrogate (of an argument, a file name) has no UTF-8; its escape is what JSON would write.
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
        unfinished.replace(path)
    except OSError as problem:
        raise unwritten(path, problem) from problem
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
