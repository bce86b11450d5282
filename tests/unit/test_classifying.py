from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace

import pytest

from gilscope.classify import classifying
from gilscope.classify.classifying import MOST_TRIES
from gilscope.errors import TargetError

Tries = Callable[..., list[float]]


@pytest.fixture
def conclude_from(monkeypatch: pytest.MonkeyPatch) -> Tries:
    """Have tries lose these shares of their time to the hypervisor, or fail; return which one counted, of how many."""

    def classify(*shares: float | Exception, seconds_each: float = 1.0) -> list[float]:
        given, made = iter(shares), count()

        def attempt(*_question: object) -> tuple[object, None]:
            next(made)
            share = next(given)
            if isinstance(share, Exception):
                raise share
            stretch = SimpleNamespace(begun_ms=0.0, ended_ms=100.0)
            return SimpleNamespace(watch=SimpleNamespace(stolen_ms=100 * share, stretches=[stretch])), None

        concluded: list[float] = []
        clock = count(0.0, seconds_each)
        monkeypatch.setattr(classifying, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        monkeypatch.setattr(classifying, "_try", attempt)
        monkeypatch.setattr(
            classifying, "_conclude", lambda _target, seen, _sub: concluded.append(seen.watch.stolen_ms / 100)
        )
        classifying.classify("noop", {})
        return [*concluded, next(made)]

    return classify


def test_an_undisturbed_try_is_enough(conclude_from: Tries) -> None:
    assert conclude_from(0.05, 0.0) == [0.05, 1]


def test_a_disturbed_function_is_watched_again_and_the_least_disturbed_try_counts(
    conclude_from: Tries,
) -> None:
    assert conclude_from(0.5, 0.0) == [0.0, 2]
    assert conclude_from(0.5, 0.25, 0.75) == [0.25, MOST_TRIES]


def test_a_slow_function_is_not_watched_again(conclude_from: Tries) -> None:
    assert conclude_from(0.5, 0.0, seconds_each=6.0) == [0.5, 1]


def test_what_was_measured_is_not_lost_when_it_does_not_work_twice(conclude_from: Tries) -> None:
    assert conclude_from(0.5, TargetError("it raised")) == [0.5, 2]


def test_what_does_not_work_at_all_is_an_error(conclude_from: Tries) -> None:
    with pytest.raises(TargetError, match="it raised"):
        conclude_from(TargetError("it raised"))
