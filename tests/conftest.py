"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from pythons import VERSIONS, find_python

from gilscope.workloads.upstream_process import running_upstream

settings.register_profile("traced", max_examples=25, deadline=None)
"""While coverage is measured each example takes several times as long: ``--hypothesis-profile=traced``."""

FUNCTIONS = Path(__file__).parent / "targets" / "functions.py"


def pytest_configure() -> None:
    """Have the processes that tests start take signals, even where tests run in the background (``nohup``, ``&``)."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


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


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """Each Python that can be watched, as version (``3.13``) and executable; a test is skipped on those not here."""
    found = find_python(request.param)
    if found is None:
        pytest.skip(
            f"there is no Python {request.param} here: GILSCOPE_PYTHONS names more folders to look in"
        )
    return request.param, found
