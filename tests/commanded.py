"""Runs gilscope's commands as users do, and looks for what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from polling import eventually

MARK = "GILSCOPE_TEST_RUN"


@dataclass
class Ended:
    """A command that has ended, and where it ran."""

    code: int
    out: str
    err: str
    cwd: Path
    mark: str

    def document(self, folder: str) -> Any:  # noqa: ANN401  JSON may hold anything
        return strictly((self.cwd / folder / "run.json").read_text(encoding="utf-8"))


def strictly(text: str) -> Any:  # noqa: ANN401  JSON may hold anything
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@contextmanager
def started(cwd: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start gilscope under a mark that all of its children inherit."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", "gilscope", *arguments],
        cwd=cwd,
        env={**os.environ, MARK: mark, "PYTHONSAFEPATH": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, mark
    finally:
        process.kill()
        process.communicate()


def gilscope(cwd: Path, *arguments: str) -> Ended:
    with started(cwd, *arguments) as (process, mark):
        out, err = process.communicate()
        return Ended(process.returncode, out, err, cwd, mark)


def survivors(mark: str) -> list[psutil.Process]:
    """Find the processes that a command has left behind, wherever they hang."""

    def marked(process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == mark
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if marked(process)]


def require_the_end_of_all(mark: str) -> None:
    """Check that no process of a command is left; one caught while it was starting ends when it reads its input."""
    eventually(lambda: not survivors(mark), "the end of every process")


def interrupt_when(
    arguments: Sequence[str],
    cwd: Path,
    moment: Callable[[subprocess.Popen[str]], None],
    number: signal.Signals = signal.SIGINT,
) -> Ended:
    with started(cwd, *arguments) as (process, mark):
        moment(process)
        eventually(lambda: len(survivors(mark)) > 1, "it to be at work, with children of its own")
        process.send_signal(number)
        out, err = process.communicate()
        return Ended(process.returncode, out, err, cwd, mark)
