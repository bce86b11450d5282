from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.load.stream import Stream


def test_the_window_is_settled_when_all_that_was_due_is_sent_and_has_ended() -> None:
    stream = Stream()
    assert not stream.settled(0.0, 5.0)
    stream.sent(4.0, 4.0)
    stream.ended(4.0, 4.5)
    assert not stream.settled(0.0, 5.0), "one due at 4.9 may not have been sent yet"
    stream.sent(4.9, 5.2)
    stream.dropped(5.0)
    assert not stream.settled(0.0, 5.0), "the one due at 4.9 is under way"
    assert stream.waiting(0.0, 5.0) == [4.9]
    stream.ended(4.9, 5.3)
    assert stream.settled(0.0, 5.0)


def test_what_is_due_what_is_sent_and_what_is_dropped_are_counted_apart() -> None:
    stream = Stream()
    stream.sent(1.0, 1.0)
    stream.sent(4.5, 5.5)  # due within, sent after
    stream.dropped(4.75)
    stream.sent(5.25, 5.75)
    assert stream.due_within(0.0, 5.0) == 3
    assert stream.sent_within(0.0, 5.0) == 2, "a dropped one was got to in time"
    assert stream.dropped_within(0.0, 5.0) == 1
    assert stream.lags(0.0, 5.0) == [0.0, 1.0]


def test_an_answer_that_comes_twice_or_to_nothing_is_no_error() -> None:
    stream = Stream()
    stream.sent(1.0, 1.5)
    assert stream.ended(1.0, 2.0) == 1.5
    assert stream.ended(1.0, 3.0) == 1.0
    assert stream.flight_s(9.0) == pytest.approx(0.5)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 500)), max_size=40, unique_by=lambda row: row[0])
)
def test_the_seconds_in_flight_are_the_sum_of_all_latencies(rows: list[tuple[int, int]]) -> None:
    stream, end_s = Stream(), 2000.0
    events = sorted([(at, 1, at) for at, _ in rows] + [(at + took, 0, at) for at, took in rows])
    for now, is_sent, due in events:
        if is_sent:
            stream.sent(float(due), float(now))
        else:
            stream.ended(float(due), float(now))
    assert stream.flight_s(end_s) == pytest.approx(sum(took for _, took in rows))
