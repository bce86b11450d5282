from __future__ import annotations

import json
import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import Enum, IntEnum
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.web.presenting import MAX_INTEGER, MAX_ITEMS, MAX_TEXT, presentable


class Point(NamedTuple):
    x: int
    y: int


class Unlistable(list[int]):
    """A list that does not give its items."""

    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("no items")


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Unsized:
    """Has a length on paper alone, as NumPy's 0-dimensional arrays do."""

    def __len__(self) -> int:
        raise TypeError("len() of unsized object")


class Mute:
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")


def shown(result: object) -> object:
    """Present as the service does: what comes out must be JSON that any reader takes."""
    return json.loads(json.dumps(presentable(result), allow_nan=False))


@pytest.mark.parametrize(
    "plain",
    [None, True, False, 0, -1, MAX_INTEGER, -MAX_INTEGER, 0.1, -0.0, 1e308, "", "text", "ü\ud800\x00", []],
)
def test_small_plain_values_stay_as_they_are(plain: object) -> None:
    found = shown(plain)
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), ([math.nan], ["nan"])]
)
def test_what_json_has_no_number_for_becomes_text(value: object, text: object) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("value", "outline"),
    [
        (2**53 + 1, {"type": "int", "bits": 54}),
        (-(2**64), {"type": "int", "bits": 65}),
        (10**10_000, {"type": "int", "bits": 33_220}),
        ("x" * (MAX_TEXT + 1), {"type": "str", "length": MAX_TEXT + 1}),
        (b"", {"type": "bytes", "length": 0}),
        (bytearray(3), {"type": "bytearray", "length": 3}),
        ({1, 2}, {"type": "set", "length": 2}),
        (frozenset(), {"type": "frozenset", "length": 0}),
        (range(10**9), {"type": "range", "length": 10**9}),
        (deque([1]), {"type": "deque", "length": 1}),
        (list(range(MAX_ITEMS + 1)), {"type": "list", "length": MAX_ITEMS + 1}),
        (dict.fromkeys(range(MAX_ITEMS + 1)), {"type": "dict", "length": MAX_ITEMS + 1}),
        (1 + 2j, {"type": "complex"}),
        (object(), {"type": "object"}),
        (len, {"type": "builtin_function_or_method"}),
        (Colour.RED, {"type": "Colour"}),
        (Unsized(), {"type": "Unsized"}),
        (Mute(), {"type": "Mute"}),
        (Unlistable([1]), {"type": "Unlistable"}),
        ([1, Unlistable()], [1, {"type": "Unlistable"}]),
        (ValueError("x"), {"type": "ValueError"}),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_everything_else_becomes_its_type_and_size(value: object, outline: object) -> None:
    assert shown(value) == outline


def test_containers_are_shown_item_by_item() -> None:
    value = {"list": [1, (2, b"three")], "point": Point(4, 5), "ordered": OrderedDict(a=Level.HIGH)}
    assert shown(value) == {
        "list": [1, [2, {"type": "bytes", "length": 5}]],
        "point": [4, 5],
        "ordered": {"a": 3},
    }


def test_a_container_of_the_largest_size_is_shown_whole() -> None:
    assert shown(list(range(MAX_ITEMS))) == list(range(MAX_ITEMS))
    assert shown(dict.fromkeys(map(str, range(MAX_ITEMS)), 1)) == dict.fromkeys(map(str, range(MAX_ITEMS)), 1)
    assert shown("x" * MAX_TEXT) == "x" * MAX_TEXT


def test_nesting_ends_at_the_third_level() -> None:
    assert shown([[[["deep"]]]]) == [[[{"type": "list", "length": 1}]]]
    assert shown({"a": {"b": {"c": {"d": 1}}}}) == {"a": {"b": {"c": {"type": "dict", "length": 1}}}}


def test_what_contains_itself_has_an_end() -> None:
    ring: list[object] = []
    ring.append(ring)
    assert shown(ring) == [[[{"type": "list", "length": 1}]]]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (1, "1"),
        (True, "True"),
        (None, "None"),
        (1.5, "1.5"),
        (math.nan, "nan"),
        ("k" * 5_000, "k" * MAX_TEXT),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_plain_keys_become_short_text(key: object, text: str) -> None:
    assert shown({key: 1}) == {text: 1}


@pytest.mark.parametrize(
    "key", [(1, 2), b"key", 10**5_000, Mute()], ids=lambda value: str(type(value).__name__)
)
def test_other_keys_are_not_written_out_at_all(key: object) -> None:
    assert shown({key: 1}) == {"type": "dict", "length": 1}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.none() | st.integers() | st.text() | st.binary() | st.tuples(st.text(), st.floats()), inner
        )
    ),
    max_leaves=60,
)


@given(anything)
def test_any_result_is_presented_as_json(result: object) -> None:
    json.dumps(presentable(result), allow_nan=False)


def test_the_size_is_bounded_whatever_comes() -> None:
    value: object = "x" * MAX_TEXT
    for _ in range(5):
        value = [value] * MAX_ITEMS
    assert len(json.dumps(presentable(value))) < 1.1 * 30 * MAX_ITEMS**3
    wide = [["y" * MAX_TEXT] * MAX_ITEMS] * MAX_ITEMS
    assert len(json.dumps(presentable(wide))) < 1.1 * (MAX_TEXT + 10) * MAX_ITEMS**2
