"""Fixtures that several test files share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from gilscope.workloads.upstream_process import running_upstream

FUNCTIONS = Path(__file__).parent / "targets" / "functions.py"


@pytest.fixture(scope="session")
def functions() -> Path:
    """A file of a user's functions, which lies on nobody's import path."""
    return FUNCTIONS


@pytest.fixture(scope="session")
def upstream_url() -> Iterator[str]:
    """A real upstream, in a process of its own."""
    with running_upstream() as url:
        yield url


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect garbage after the test: connections of SQLite are in cycles, and complain when they are found."""
    yield
    gc.collect()
