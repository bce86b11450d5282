"""Comparisons that take seconds, for tests of what ends or stops them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

WORK = """
def spin(n: int) -> int:
    return sum(number * number for number in range(n))
"""
SHORT = (
    "work.py:spin", "--arg", "n=2000", "--duration", "0.5", "--warm-up", "0.1", "--lenient", "--seed", "3",
    "--out", "run",
)  # fmt: skip
"""What to compare, and how: ``WORK``, which has to lie in ``work.py``."""


def after(trials: int) -> Callable[[subprocess.Popen[str]], None]:
    """Wait until so many trials have been told."""

    def wait(process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        told = 0
        while told < trials:
            line = process.stderr.readline()
            assert line, "it has ended"
            told += line.startswith("[")

    return wait
