from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gilscope.histogram import HIGHEST, HIGHEST_MS, Histogram, _bounds, _index

latencies = st.lists(st.floats(0, HIGHEST_MS), max_size=200)
quantiles = (0.5, 0.9, 0.99, 0.999, 1.0)

BEYOND_MS = 75_000.0
HALF_A_NANOSECOND_MS = 0.000_000_5
BUCKET_ERROR = 1 / 2_047
"""Half a bucket, 1/1024 of the doubling in which it lies, less the half nanosecond that rounding may take."""


def recorded(*latencies_ms: float) -> Histogram:
    histogram = Histogram()
    for latency in latencies_ms:
        histogram.record(latency)
    return histogram


@settings(deadline=None)
@given(st.floats(0.000_001, HIGHEST_MS))
def test_what_comes_back_is_off_by_half_a_bucket_at_most(latency: float) -> None:
    back = recorded(0.0, latency, HIGHEST_MS).quantile(0.5)
    assert abs(back - latency) <= max(HALF_A_NANOSECOND_MS, latency * BUCKET_ERROR) * (1 + 1e-9)


@settings(deadline=None)
@given(st.floats(0.01, HIGHEST_MS))
def test_from_10_microseconds_on_that_is_no_more_than_one_percent(latency: float) -> None:
    assert recorded(0.0, latency, HIGHEST_MS).quantile(0.5) == pytest.approx(latency, rel=0.01)


@given(st.integers(1, 2_047))
def test_up_to_2047_each_nanosecond_comes_back_as_it_was(nanoseconds: int) -> None:
    assert recorded(0.0, nanoseconds / 1e6, HIGHEST_MS).quantile(0.5) == nanoseconds / 1e6


@settings(deadline=None)
@given(st.floats(0, HIGHEST_MS))
def test_the_bucket_is_where_the_latency_lies(latency: float) -> None:
    ((low, high, count),) = recorded(latency).buckets()
    assert count == 1
    assert low * (1 - 1e-12) <= latency <= high * (1 + 1e-12)


def test_buckets_lie_side_by_side_and_none_is_wider_than_a_thousandth() -> None:
    begin = 0
    while begin <= HIGHEST:
        index = _index(begin)
        low, high = _bounds(index)
        assert (low, _index(high)) == (begin, index)
        assert high - low <= low / 1_024
        begin = high + 1
    assert index == 27_388


def test_buckets_come_in_order_and_their_edges_meet() -> None:
    histogram = recorded(*(step / 1e6 for step in range(3_000)))
    buckets = list(histogram.buckets())
    assert buckets[0] == (0.0, 0.000_000_5, 1)
    assert all(one[1] == pytest.approx(other[0]) for one, other in pairwise(buckets))
    assert [count for *_, count in buckets] == [1] * 2_048 + [2] * 476


@settings(deadline=None)
@given(latencies)
def test_quantiles_rise_and_stay_within_what_was_recorded(values: list[float]) -> None:
    histogram = recorded(5.0, *values)
    seen = [histogram.quantile(step / 20) for step in range(21)]
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (min([5.0, *values]), max([5.0, *values]))
    assert seen[0] <= histogram.mean <= seen[-1]


@settings(deadline=None)
@given(st.lists(st.floats(0, 2 * HIGHEST_MS), max_size=200))
def test_many_at_once_are_the_same_as_one_by_one(values: list[float]) -> None:
    at_once = Histogram()
    at_once.record_many(iter(values))
    assert facts(at_once) == facts(recorded(*values))


@settings(deadline=None)
@given(st.lists(st.floats(0, 2 * HIGHEST_MS), max_size=60), st.data())
def test_merging_any_split_is_recording_everything_in_one(values: list[float], data: st.DataObject) -> None:
    parts = [Histogram() for _ in range(3)]
    for value in values:
        data.draw(st.sampled_from(parts)).record(value)
    merged, *others = parts
    for other in others:
        before = facts(other)
        merged.merge(other)
        assert facts(other) == before
    whole = recorded(*values)
    assert merged == whole
    assert facts(merged) == facts(whole)


def facts(histogram: Histogram) -> tuple[object, ...]:
    if histogram.count == 0:
        return ()
    extremes = histogram.min_ms, histogram.max_ms
    return list(histogram.buckets()), extremes, histogram.mean, histogram.beyond


def test_merging_with_itself_doubles_it() -> None:
    histogram = recorded(1.0, 2.0, BEYOND_MS)
    histogram.merge(histogram)
    assert histogram == recorded(1.0, 2.0, BEYOND_MS, 1.0, 2.0, BEYOND_MS)
    assert histogram.beyond == 2


def test_what_is_above_60_seconds_is_counted_as_60_and_not_lost() -> None:
    histogram = recorded(1.0, 2.0, 3.0, BEYOND_MS, 2 * BEYOND_MS, 1e300)
    assert (histogram.count, histogram.beyond, histogram.max_ms) == (6, 3, 1e300)
    assert histogram.quantile(0.8) == pytest.approx(HIGHEST_MS, rel=0.001)
    assert recorded(HIGHEST_MS).beyond == 0
    assert recorded(math.nextafter(HIGHEST_MS, math.inf)).beyond == 1


def test_only_beyond_there_is_still_a_least_and_a_greatest() -> None:
    histogram = recorded(2 * BEYOND_MS, BEYOND_MS)
    assert (histogram.min_ms, histogram.max_ms, histogram.count) == (BEYOND_MS, 2 * BEYOND_MS, 2)


@pytest.mark.parametrize("wrong", [-0.001, -1e300, math.nan, math.inf, -math.inf])
def test_what_is_no_latency_is_refused_and_leaves_no_trace(wrong: float) -> None:
    histogram = recorded(1.0, 3.0)
    with pytest.raises(ValueError, match="a finite number of milliseconds from 0 up, not"):
        histogram.record(wrong)
    with pytest.raises(ValueError, match="a finite number of milliseconds from 0 up, not"):
        histogram.record_many([0.5, wrong, BEYOND_MS])
    assert facts(histogram) == facts(recorded(1.0, 3.0))


def test_nothing_has_a_count_and_no_figures() -> None:
    histogram = Histogram()
    histogram.record_many([])
    histogram.merge(Histogram())
    assert (histogram.count, histogram.beyond, list(histogram.buckets())) == (0, 0, [])
    figures: tuple[Callable[[], float], ...] = (
        lambda: histogram.quantile(0.5),
        lambda: histogram.mean,
        lambda: histogram.min_ms,
        lambda: histogram.max_ms,
    )
    for figure in figures:
        with pytest.raises(ValueError, match="no values"):
            figure()
    assert Histogram.decode(histogram.encode()) == histogram


@pytest.mark.parametrize("q", [-0.001, 1.001, 99.0, math.nan])
def test_a_quantile_lies_within_0_to_1(q: float) -> None:
    with pytest.raises(ValueError, match="within 0 to 1"):
        recorded(1.0).quantile(q)


def test_equality_is_of_counts() -> None:
    assert recorded(5.0) == recorded(5.001), "one bucket"
    assert recorded(5.0) != recorded(5.0, 5.0)
    assert recorded(5.0) != [5.0]
    assert repr(recorded(5.0)) == "<Histogram [(4.9971195, 5.0012155, 1)]>"
    with pytest.raises(TypeError, match="unhashable"):
        hash(recorded(5.0))


@settings(deadline=None)
@given(latencies, st.integers(0, 10_000))
def test_what_was_encoded_is_decoded_to_the_same(values: list[float], copies: int) -> None:
    histogram = recorded(*values)
    histogram.record_many([7.0] * copies)
    back = Histogram.decode(histogram.encode())
    assert back == histogram
    if histogram.count:
        for q in quantiles:
            near = pytest.approx(histogram.quantile(q), rel=2 * BUCKET_ERROR, abs=HALF_A_NANOSECOND_MS)
            assert back.quantile(q) == near
        assert back.min_ms <= back.mean <= back.max_ms


def test_huge_counts_survive() -> None:
    histogram = recorded(1.0, 2.0)
    for _ in range(62):
        histogram.merge(histogram)
    assert Histogram.decode(histogram.encode()).count == 2**63
    histogram.merge(histogram)
    with pytest.raises(ValueError, match="no counts above"):
        histogram.encode()


# Made by the package hdrhistogram 0.10.8 of PyPI: ``HdrHistogram(1, highest, 3)``, ``record_value(us, count)`` for
# each pair, ``encode()``. What it reads from our texts was compared with it by hand: the same counts and percentiles.
THEIRS = {
    "empty": ("HISTFAAAABt4nJNpmSzMgADMUJoRzJnczmD/ASIAAEXUA5c=", {}),
    "edges": (
        "HISTFAAAACx4nJNpmSzMwMDAywABzFCaEcyZ3M5g/wEiwMTyU56N46AwU/tNRiYAjewHCQ==",
        {0: 1, 1: 2, 2_047: 3, 2_048: 4, 5_000: 1, 60_000_000: 1},
    ),
    "squares": (
        "HISTFAAAAHV4nJNpmSzMwMAQzgABzFCaEcyZ3M5g/wEqwMTMws7GzcHPJcwjzictIC+kLKIupi2hL2UsYy5nrWCv5Kziruat4a8VrBOuF20Qb5Rskm6WbZFvVWxTblftUO/UzOjSzujWzejRz+g1mdFnOqPfbMYAAAhpFmc=",
        {root * root: root for root in range(1, 41)},
    ),
}


@pytest.mark.parametrize("name", THEIRS)
def test_reads_what_another_hdrhistogram_has_written(name: str) -> None:
    text, values = THEIRS[name]
    expected = Histogram()
    for nanoseconds, count in values.items():
        expected.record_many([nanoseconds / 1e6] * count)
    assert Histogram.decode(text) == expected


def test_another_highest_value_is_read_and_what_is_above_ours_is_beyond() -> None:
    # As above, with 3,600,000,000,000 for the highest: 300 times 1 ms, 70 s twice and an hour once.
    histogram = Histogram.decode("HISTFAAAAC54nJNpmSzMwMDAwwABzFCaEch0M9ixgMH+A0Tg4DrGGywPG5lY3kcyAQCo6QlV")
    assert (histogram.count, histogram.beyond) == (303, 3)
    assert histogram.min_ms == pytest.approx(1.0, rel=0.001)
    assert histogram.max_ms == pytest.approx(3_600_000, rel=0.001)


def test_what_it_writes_is_the_header_and_numbers_of_v2() -> None:
    whole = base64.b64decode(recorded(3e-6, 3e-6, 4e-6, 6e-6, 70e-6).encode())
    cookie, length = struct.unpack_from(">II", whole)
    payload = zlib.decompress(whole[8:])
    assert (hex(cookie), length) == ("0x1c849314", len(whole) - 8)
    header = 0x1C849313, 7, 0, 3, 1, 60_000_000_000, 1.0
    assert struct.unpack_from(">IIIIQQd", payload) == header
    zigzag = [2 * 3 - 1, 2 * 2, 2 * 1, 0, 2 * 1, 2 * 63 - 1, 2 * 1]
    assert list(payload[40:]) == zigzag, "three zeros, 2, 1, one zero, 1, 63 zeros, 1"


def packed(payload: bytes, *, cookie: int = 0x1C849314, surplus: bytes = b"") -> str:
    content = zlib.compress(payload) + surplus
    return base64.b64encode(struct.pack(">II", cookie, len(content)) + content).decode()


def payload_of(counts: bytes = b"\x02", **changed: float) -> bytes:
    usual = {"cookie": 0x1C849313, "length": len(counts), "offset": 0, "digits": 3}
    values = {**usual, "lowest": 1, "highest": HIGHEST, "ratio": 1.0, **changed}.values()
    return struct.pack(">IIIIQQd", *values) + counts


GOOD = packed(payload_of())
DAMAGED = {
    "": "0 bytes are too few",
    "no base64!": "not base64",
    "Zürich": "not base64",
    GOOD[:-1]: "not base64",
    GOOD[:8]: "6 bytes are too few",
    GOOD[:-4]: "bytes are announced",
    packed(payload_of(), cookie=0x1C849303): "it begins with 0x1c849303",
    base64.b64encode(struct.pack(">II4s", 0x1C849314, 4, b"abcd")).decode(): "not compressed by zlib",
    packed(payload_of(), surplus=b"more"): "does not end where the text does",
    packed(payload_of()[:30]): "30 bytes are too few for its header",
    packed(payload_of(cookie=0x1C849312)): "its inside begins with 0x1c849312",
    packed(payload_of(length=2)): "2 bytes of counts are announced, and 1 there",
    packed(payload_of(digits=2)): "another layout: lowest value 1, 2 digits",
    packed(payload_of(lowest=1_000)): "another layout: lowest value 1000",
    packed(payload_of(offset=5)): "index offset 5",
    packed(payload_of(ratio=0.5)): "ratio 0.5",
    packed(payload_of(b"\x02\x80")): "the last count breaks off",
    packed(payload_of(b"\xff" * 9)): "it counts beyond its highest value, 60000000000",
    packed(payload_of(b"\x00" * 28_673)): "it counts beyond its highest value, 60000000000",
    packed(b"\x00" * 100_000_000): "it inflates to more than",
}


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_text_is_refused_with_what_is_wrong(text: str) -> None:
    assert Histogram.decode(GOOD).count == 1
    with pytest.raises(ValueError, match=f"not a histogram in HdrHistogram's V2 encoding: .*{DAMAGED[text]}"):
        Histogram.decode(text)


@settings(deadline=None)
@given(st.data())
def test_whatever_is_damaged_only_a_value_error_comes_of_it(data: st.DataObject) -> None:
    payload = bytearray(payload_of(data.draw(st.binary(max_size=40))))
    for _ in range(data.draw(st.integers(0, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    text = bytearray(packed(bytes(payload)).encode())
    if data.draw(st.booleans()):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 127))
    try:
        histogram = Histogram.decode(text.decode())
    except ValueError as refusal:
        assert "not a histogram in HdrHistogram's V2 encoding" in str(refusal)  # noqa: PT017  both are right
    else:
        assert Histogram.decode(histogram.encode()) == histogram
