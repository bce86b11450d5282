from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.flame.folded import format_folded, parse
from gilscope.flame.speedscope import SCHEMA_URL, from_speedscope, to_speedscope
from gilscope.model import Folded

frames = st.one_of(
    st.text(max_size=8),
    st.builds("{} ({}:{})".format, st.text(max_size=5), st.text(max_size=5), st.integers(0, 9999)),
    st.builds("{} ({})".format, st.text(max_size=5), st.text(max_size=5)),
)
seconds = st.one_of(st.integers(1, 10**12).map(float), st.floats(0, 1e6))
folded_stacks = st.dictionaries(st.lists(frames, max_size=5).map(tuple), seconds, max_size=8)


def test_the_document_follows_the_schema() -> None:
    folded = {("main (app.py:3)", "0x7f (libc.so.6)"): 0.3, ("main (app.py:3)",): 0.2, ("all of it",): 0.5}
    assert json.loads(to_speedscope(folded, name="primes on threads")) == {
        "$schema": SCHEMA_URL,
        "exporter": "gilscope",
        "name": "primes on threads",
        "activeProfileIndex": 0,
        "shared": {
            "frames": [
                {"name": "0x7f", "file": "libc.so.6"},
                {"name": "all of it"},
                {"name": "main", "file": "app.py", "line": 3},
            ]
        },
        "profiles": [
            {
                "type": "sampled",
                "name": "primes on threads",
                "unit": "seconds",
                "startValue": 0,
                "endValue": 1.0,
                "samples": [[1], [2], [2, 0]],
                "weights": [0.5, 0.2, 0.3],
            }
        ],
    }


def test_nothing_makes_a_document_of_nothing() -> None:
    text = to_speedscope({}, name="any")
    assert json.loads(text)["profiles"][0]["endValue"] == 0
    assert from_speedscope(text) == {}


@given(folded_stacks)
def test_a_round_trip_loses_nothing(folded: Folded) -> None:
    assert from_speedscope(to_speedscope(folded, name="any")) == folded


@given(st.floats(1e-9, 1e9))
def test_the_last_bit_of_a_weight_survives_both_formats(weight: float) -> None:
    folded: Folded = {("main (app.py:3)", "f (b.py)"): weight}
    assert from_speedscope(to_speedscope(parse(format_folded(folded)), name="any")) == folded


@given(folded_stacks)
def test_the_end_is_the_sum_of_the_weights(folded: Folded) -> None:
    profile = json.loads(to_speedscope(folded, name="any"))["profiles"][0]
    assert profile["endValue"] == pytest.approx(sum(profile["weights"]))
    assert len(profile["samples"]) == len(profile["weights"]) == len(folded)


def test_equal_samples_of_another_exporter_add_up() -> None:
    document = {
        "shared": {"frames": [{"name": "f", "file": "a.py"}]},
        "profiles": [{"samples": [[0], [0]], "weights": [0.25, 0.5]}, {"samples": [[0]], "weights": [1.0]}],
    }
    assert from_speedscope(json.dumps(document)) == {("f (a.py)",): 1.75}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"shared": {"frames": []}, "profiles": [{"samples": [[1]], "weights": [1]}]}',
        '{"shared": {"frames": []}, "profiles": [{"samples": [[]], "weights": []}]}',
    ],
)
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_speedscope(text)
