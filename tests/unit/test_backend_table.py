from __future__ import annotations

import importlib
import multiprocessing
import os
import platform
import sys

import pytest

from gilscope.backends import interpreters, processes, threads
from gilscope.backends.table import BACKENDS, available
from gilscope.errors import BackendUnavailableError
from gilscope.model import SIMPLEST_FIRST, BackendName
from gilscope.web.config import ServiceConfig


def test_every_backend_has_its_row() -> None:
    assert list(BACKENDS) == list(BackendName) == ["asyncio", "threads", "processes", "interpreters"]
    assert all(spec.name is name and spec.summary for name, spec in BACKENDS.items())
    assert sorted(SIMPLEST_FIRST) == sorted(BackendName)


def test_only_interpreters_may_be_missing() -> None:
    missing = [] if sys.version_info >= (3, 14) else [BackendName.INTERPRETERS]
    assert available() == tuple(name for name in BackendName if name not in missing)


def test_a_python_that_is_too_old_for_interpreters_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 1, "final", 0))
    monkeypatch.setitem(sys.modules, "concurrent.futures.interpreter", None)
    reason = f"needs Python 3.14 or newer; this is {platform.python_version()}"
    assert interpreters.unavailable() == reason
    with pytest.raises(
        BackendUnavailableError, match=r"the interpreters backend needs Python 3\.14 or newer"
    ):
        interpreters.create(1, None)


def test_a_newer_python_without_interpreters_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
    monkeypatch.setitem(sys.modules, "concurrent.futures.interpreter", None)
    reason = interpreters.unavailable()
    assert reason is not None
    assert reason.startswith("this Python has no InterpreterPoolExecutor: ")


def test_processes_are_never_forked_from_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for offered, chosen in (
        (["fork", "spawn", "forkserver"], "forkserver"),
        (["spawn"], "spawn"),
    ):
        monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda offered=offered: offered)
        assert processes.start_method() == chosen


def test_what_the_fork_server_preloads_can_be_imported() -> None:
    # A name that it cannot import, it ignores without a word.
    for name in processes.PRELOADED:
        importlib.import_module(name)


@pytest.mark.parametrize(("cores", "expected"), [(1, 5), (2, 6), (28, 32), (64, 32), (None, 5)])
def test_threads_get_the_standard_librarys_default(
    cores: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert threads.default_workers() == expected


def test_pools_get_the_size_that_was_asked_for_and_the_loop_stays_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = tuple(BackendName)
    assert set(ServiceConfig((), names, pool_size=7).workers().items()) == {
        ("asyncio", 1),
        ("threads", 7),
        ("processes", 7),
        ("interpreters", 7),
    }
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert set(ServiceConfig((), names).workers().items()) == {
        ("asyncio", 1),
        ("threads", 7),
        ("processes", 3),
        ("interpreters", 3),
    }
