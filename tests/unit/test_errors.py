from __future__ import annotations

import pickle

import pytest

from gilscope import errors
from gilscope.errors import GilscopeError, UsageError

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, GilscopeError) and kind.__module__ == errors.__name__
]
USAGE = {"UsageError", "TargetError", "ParameterError", "RunFileError"}


def test_bad_input_ends_with_2_and_everything_else_with_1() -> None:
    assert {kind.__name__ for kind in KINDS} > USAGE
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        kind.__name__: 2 if kind.__name__ in USAGE else 1 for kind in KINDS
    }


def test_a_remedy_follows_the_message_on_a_line_of_its_own() -> None:
    assert str(UsageError("no such thing", remedy="another thing")) == "no such thing\n  -> another thing"
    assert str(UsageError("no such thing")) == "no such thing"


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_the_way_back_from_a_worker(kind: type[GilscopeError]) -> None:
    again = pickle.loads(pickle.dumps(kind("what", remedy="how")))
    assert type(again) is kind
    assert (again.message, again.remedy, str(again)) == ("what", "how", "what\n  -> how")
