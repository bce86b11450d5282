from __future__ import annotations

import concurrent.futures
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from gilscope.backends import interpreters
from gilscope.child import Child
from gilscope.classify import classifying
from gilscope.classify.handing_over import pickling_problem, subinterpreter_problem
from gilscope.errors import GilscopeError
from gilscope.workloads.base import FunctionRef


@pytest.fixture
def fake_subinterpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads in their place: what matters is what comes of a failing import."""
    monkeypatch.setattr(interpreters, "unavailable", lambda: None)
    monkeypatch.setattr(concurrent.futures, "InterpreterPoolExecutor", ThreadPoolExecutor, raising=False)


def test_what_pickles_has_no_problem() -> None:
    assert pickling_problem({"a": [1, 2.5, "x"]}, "its result") is None


def test_what_does_not_pickle_is_named() -> None:
    problem = pickling_problem(lambda: None, "its arguments")
    assert problem is not None
    assert problem.startswith("its arguments (function) cannot be pickled: ")


@pytest.mark.usefixtures("fake_subinterpreters")
def test_an_import_that_succeeds_is_no_problem() -> None:
    assert subinterpreter_problem(FunctionRef("json", "dumps")) is None


@pytest.mark.usefixtures("fake_subinterpreters")
def test_an_import_that_fails_is_one() -> None:
    problem = subinterpreter_problem(FunctionRef("json", "nothing"))
    assert problem is not None
    assert problem.startswith("it does not import in a subinterpreter: json has no function 'nothing'")


def test_without_subinterpreters_there_is_nothing_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "unavailable", lambda: "too old")
    assert subinterpreter_problem(FunctionRef("nowhere", "nothing")) is None


def test_a_process_that_does_not_survive_the_import_says_no() -> None:
    class Dying:
        def receive(self, _timeout_s: float) -> dict[str, object]:
            raise GilscopeError("ended with exit code 3")

    unavailable, problem = classifying._subinterpreter(cast("Child", Dying()))
    assert unavailable is None
    assert problem == "importing it in a subinterpreter failed: ended with exit code 3"
