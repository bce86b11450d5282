from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.flame.speedscope import SCHEMA_URL, from_speedscope, to_speedscope
from gilscope.model import Folded

frames = st.one_of(
    st.text(max_size=8),
    st.builds("{} ({}:{})".format, st.text(max_size=5), st.text(max_size=5), st.integers(0, 9999)),
    st.builds("{} ({})".format, st.text(max_size=5), st.text(max_size=5)),
)
folded_stacks = st.dictionaries(
    st.lists(frames, max_size=5).map(tuple), st.integers(1, 10**12).map(float), max_size=8
)
rates = st.integers(1, 10_000)


def test_the_document_follows_the_schema() -> None:
    folded = {("main (app.py:3)", "0x7f (libc.so.6)"): 30, ("main (app.py:3)",): 20, ("all of it",): 50}
    assert json.loads(to_speedscope(folded, name="primes on threads", rate_hz=100)) == {
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


@given(folded_stacks, rates)
def test_a_round_trip_loses_nothing(folded: Folded, rate_hz: int) -> None:
    text = to_speedscope(folded, name="any", rate_hz=rate_hz)
    assert from_speedscope(text, rate_hz) == folded


@given(st.floats(1e-6, 1e6), rates)
def test_fractions_of_a_sample_survive_to_the_last_bits(weight: float, rate_hz: int) -> None:
    text = to_speedscope({("f",): weight}, name="any", rate_hz=rate_hz)
    assert from_speedscope(text, rate_hz) == {("f",): pytest.approx(weight, rel=1e-14)}


@given(folded_stacks, rates)
def test_the_end_is_the_sum_of_the_weights(folded: Folded, rate_hz: int) -> None:
    profile = json.loads(to_speedscope(folded, name="any", rate_hz=rate_hz))["profiles"][0]
    assert profile["endValue"] == pytest.approx(sum(profile["weights"]))
    assert len(profile["samples"]) == len(profile["weights"]) == len(folded)


@pytest.mark.parametrize("rate_hz", [0, -1])
def test_a_rate_that_is_no_rate_is_refused(rate_hz: int) -> None:
    with pytest.raises(ValueError, match="rate"):
        to_speedscope({}, name="any", rate_hz=rate_hz)
    with pytest.raises(ValueError, match="rate"):
        from_speedscope("{}", rate_hz)


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
        from_speedscope(text, 100)
