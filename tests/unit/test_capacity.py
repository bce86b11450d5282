from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import ask

from gilscope.compare.capacity import (
    CONFIRM_SHARE,
    FLOOR_RATE,
    MAX_RATE,
    PRECISION,
    Outcome,
    Purpose,
    Search,
    Step,
)
from gilscope.errors import UsageError
from gilscope.objective import Slo, parse_slo

RAMP, BISECT, CONFIRM = Purpose.RAMP, Purpose.BISECT, Purpose.CONFIRM

capacities = st.floats(math.log10(FLOOR_RATE), math.log10(MAX_RATE)).map(lambda exponent: 10**exponent)
begins = st.floats(0, 3).map(lambda exponent: 10**exponent)


def kept_up_to(capacity: float) -> Callable[[float], bool]:
    return lambda rate: rate <= capacity


def scripted(search: Search, answers: Iterable[bool | None]) -> list[tuple[float, Purpose]]:
    """Give ``answers`` and return what they were given to."""
    asked = []
    for answer in answers:
        following = search.next_rate()
        assert following is not None
        asked.append(following)
        search.record(answer)
    return asked


def rounded(steps: Iterable[Step]) -> list[tuple[float, bool | None, Purpose]]:
    return [(round(step.rate, 2), step.kept, step.purpose) for step in steps]


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("p99=200ms", Slo(0.99, 200)),
        ("p99.9=80ms", Slo(0.999, 80)),
        ("p50=1.5s", Slo(0.5, 1_500)),
        ("p5=0.25ms", Slo(0.05, 0.25)),
        ("max=1s", Slo(1.0, 1_000)),
        ("max=60s", Slo(1.0, 60_000)),
    ],
)
def test_an_objective_reads_and_writes_the_same_text(text: str, slo: Slo) -> None:
    assert parse_slo(text) == slo
    assert str(slo) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("p99=1500ms", "p99=1.5s"), ("p099=1s", None), ("p99.0=0.2s", "p99=200ms"), (" p90=07ms ", "p90=7ms")],
)
def test_an_objective_is_written_one_way(text: str, canonical: str | None) -> None:
    if canonical is None:
        with pytest.raises(UsageError):
            parse_slo(text)
    else:
        assert str(parse_slo(text)) == canonical


@given(
    st.integers(1, 99_999).map(lambda value: value / 1_000),
    st.integers(1, 60_000_000).map(lambda value: value / 1_000),
)
def test_any_objective_survives_its_text(percentile: float, limit_ms: float) -> None:
    slo = parse_slo(f"p{percentile:.3f}={limit_ms:.3f}ms")
    assert slo.limit_ms == limit_ms
    assert slo.quantile == pytest.approx(percentile / 100)
    assert parse_slo(str(slo)) == slo


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p99",
        "p99=",
        "p99=200",
        "99=200ms",
        "p99<=200ms",
        "p100=200ms",
        "p0=200ms",
        "p0.0=1s",
        "p-1=200ms",
        "p99=-1ms",
        "p99=0ms",
        "p99=0.0s",
        "p99=60.001s",
        "p99=61s",
        "p99=60001ms",
        "p99=nanms",
        "p99=1e3ms",
        "p99=1m",
        "mean=1s",
        "max=\u0663s",
    ],
)
def test_any_other_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"(?s)^''|is not a latency|must be above 0.*--slo p99=200ms"
    ) as caught:
        parse_slo(text)
    assert repr(text) in caught.value.message
    assert caught.value.remedy is not None
    assert "--slo p99=200ms" in caught.value.remedy


def test_the_whole_search_step_by_step() -> None:
    outcome = ask(Search(10), kept_up_to(100))
    assert rounded(outcome.steps) == [
        (10, True, RAMP),
        (20, True, RAMP),
        (40, True, RAMP),
        (80, True, RAMP),
        (160, False, RAMP),
        (113.14, False, BISECT),
        (95.14, True, BISECT),
        (103.75, False, BISECT),
        (99.35, True, BISECT),
        (103.75, False, BISECT),
        (99.35, True, BISECT),
        (89.41, True, CONFIRM),
        (89.41, True, CONFIRM),
    ]
    assert outcome.capacity == pytest.approx(99.35, abs=0.01)
    assert outcome.broken == pytest.approx(103.75, abs=0.01)
    assert outcome.confirmed_rate == pytest.approx(89.41, abs=0.01)
    assert outcome.note == ""


def test_a_first_rate_that_is_too_much_is_halved() -> None:
    outcome = ask(Search(10), kept_up_to(3))
    assert rounded(outcome.steps)[:5] == [
        (10, False, RAMP),
        (5, False, RAMP),
        (2.5, True, RAMP),
        (3.54, False, BISECT),
        (2.97, True, BISECT),
    ]
    assert outcome.capacity == pytest.approx(2.97, abs=0.01)


@settings(deadline=None, max_examples=300)
@given(capacities, begins)
def test_a_sharp_capacity_is_found_to_5_percent_in_few_steps(capacity: float, begin: float) -> None:
    outcome = ask(Search(begin), kept_up_to(capacity))
    assert outcome.capacity is not None
    assert capacity / (1 + PRECISION) <= outcome.capacity <= capacity
    assert outcome.confirmed_rate == max(FLOOR_RATE, CONFIRM_SHARE * outcome.capacity)
    assert len(outcome.steps) <= abs(math.log2(capacity / begin)) + 2 + 4 + 2 + 2
    if outcome.broken is None:
        assert outcome.capacity == MAX_RATE
    else:
        assert capacity < outcome.broken <= outcome.capacity * (1 + PRECISION)
        assert outcome.note == ""


@settings(deadline=None, max_examples=50)
@given(capacities, st.sampled_from([0.01, 0.02, 0.1, 0.5]))
def test_a_search_is_as_precise_as_asked(capacity: float, precision: float) -> None:
    outcome = ask(Search(10, precision=precision), kept_up_to(capacity))
    assert outcome.capacity is not None
    assert capacity / (1 + precision) <= outcome.capacity <= capacity


@settings(deadline=None, max_examples=200)
@given(begins, st.lists(st.sampled_from([True, False, None]), min_size=60, max_size=60), st.integers(7, 60))
def test_whatever_the_answers_a_search_ends_in_good_order(
    begin: float, answers: list[bool | None], max_steps: int
) -> None:
    search, given_answers = Search(begin, max_steps=max_steps), iter(answers)
    outcome = ask(search, lambda _: next(given_answers))
    assert len(outcome.steps) <= max_steps
    assert [step.kept for step in outcome.steps] == answers[: len(outcome.steps)]
    assert all(FLOOR_RATE <= step.rate <= MAX_RATE for step in outcome.steps)
    if outcome.capacity is not None and outcome.broken is not None:
        assert outcome.capacity < outcome.broken
    if outcome.confirmed_rate is not None:
        assert outcome.capacity is not None
        assert outcome.confirmed_rate <= max(FLOOR_RATE, CONFIRM_SHARE * outcome.capacity)
        assert [step.kept for step in outcome.steps if step.kept is not None][-2:] == [True, True]


def test_a_service_that_keeps_nothing_has_no_capacity() -> None:
    outcome = ask(Search(3), kept_up_to(0))
    assert [step.rate for step in outcome.steps] == [3, 1.5, 0.75, 0.5, 0.5]
    assert (outcome.capacity, outcome.broken, outcome.confirmed_rate) == (None, FLOOR_RATE, None)
    assert outcome.note == "Even 0.5 requests/s break it."


def test_a_service_that_keeps_everything_ends_at_the_limit_of_the_search() -> None:
    outcome = ask(Search(30_000), kept_up_to(math.inf))
    assert [step.rate for step in outcome.steps] == [30_000, 60_000, 100_000, 100_000, 90_000, 90_000]
    assert (outcome.capacity, outcome.broken, outcome.confirmed_rate) == (100_000, None, 90_000)
    assert outcome.note == "100,000 requests/s kept it: the limit of the search."
    assert ask(Search(5, max_rate=5), kept_up_to(9)).capacity == 5


def test_at_the_floor_the_confirmation_is_not_below_it() -> None:
    outcome = ask(Search(1), kept_up_to(FLOOR_RATE))
    assert (outcome.capacity, outcome.confirmed_rate) == (FLOOR_RATE, FLOOR_RATE)


def test_a_rate_is_asked_until_it_is_answered() -> None:
    search = Search(10)
    assert search.next_rate() == search.next_rate() == (10, RAMP)
    assert search.outcome() == Outcome(None, None, None, (), "")
    search.record(kept=True)
    assert search.next_rate() == (20, RAMP)
    assert search.outcome() == Outcome(10, None, None, (Step(10, kept=True, purpose=RAMP),), "")


def test_a_search_that_is_over_takes_no_more() -> None:
    search = Search(1)
    ask(search, kept_up_to(0))
    with pytest.raises(RuntimeError, match="over"):
        search.record(kept=True)


@pytest.mark.parametrize(
    ("begin", "options", "words"),
    [
        (0.4, {}, "begins within 0.5 and 100000 requests/s, not 0.4"),
        (math.nan, {}, "begins within"),
        (200.0, {"max_rate": 100.0}, "begins within 0.5 and 100 requests/s"),
        (1.0, {"max_rate": math.inf}, "begins within"),
        (10.0, {"precision": 0.0}, "precision"),
        (10.0, {"precision": 1.1}, "precision"),
    ],
)
def test_what_makes_no_search_is_refused(begin: float, options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Search(begin, precision=options.get("precision", 0.05), max_rate=options.get("max_rate", MAX_RATE))


def test_a_search_without_steps_to_confirm_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 6 steps, not 6"):
        Search(10, max_steps=6)


def test_an_invalid_measurement_is_repeated_and_counts_for_nothing() -> None:
    search = Search(10)
    asked = scripted(search, [True, None, True, None, False])
    assert asked == [(10, RAMP), (20, RAMP), (20, RAMP), (40, RAMP), (40, RAMP)]
    assert (search.outcome().capacity, search.outcome().broken) == (20, 40)
    assert search.outcome().note == ""


def test_after_a_second_invalid_measurement_the_search_goes_on_below_and_says_so() -> None:
    search = Search(10)
    asked = scripted(search, [True, None, None, True])
    assert [round(rate, 2) for rate, _ in asked] == [10, 20, 20, 14.14]
    assert (search.outcome().broken, [step.kept for step in search.outcome().steps]) == (
        20,
        [True, None, None, True],
    )
    note = "Two measurements in a row were invalid at 20 requests/s: what holds there is not known."
    assert (search.outcome().note, search.outcome().unsettled) == (note, True)
    scripted(search, [True, True, None, False])
    assert not search.outcome().unsettled, "at last, a rate broke it"


def test_where_nothing_can_be_measured_nothing_is_said_to_break() -> None:
    outcome = ask(Search(2), lambda _: None)
    assert (outcome.capacity, outcome.unsettled) == (None, True)
    assert "Even" not in outcome.note


def test_a_search_can_be_given_up() -> None:
    search = Search(10)
    scripted(search, [True])
    search.give_up()
    assert search.next_rate() is None
    assert search.outcome().capacity == 10


def test_where_measurements_are_invalid_the_capacity_lies_below() -> None:
    # A load generator that cannot keep its schedule beyond 70 requests/s.
    outcome = ask(Search(10), lambda rate: None if rate > 70 else True)
    assert outcome.capacity is not None
    assert 70 / (1 + PRECISION) <= outcome.capacity <= 70
    assert outcome.unsettled
    assert outcome.note.startswith("Two measurements in a row were invalid at ")


def test_an_invalid_confirmation_is_repeated_too() -> None:
    search = Search(100, max_rate=100)
    asked = scripted(search, [True, True, None, True, True])
    assert [rate for rate, _ in asked] == [100, 100, 90, 90, 90]
    assert search.next_rate() is None
    assert search.outcome().confirmed_rate == 90


def test_one_lucky_answer_beyond_the_capacity_is_put_right() -> None:
    # 103.75 is over the capacity of 100, and kept the first time it is tried.
    luck = iter([True])
    outcome = ask(Search(10), lambda rate: next(luck, False) if 103 < rate < 104 else rate <= 100)
    assert outcome.capacity == pytest.approx(99.35, abs=0.01)
    assert outcome.broken == pytest.approx(103.75, abs=0.01)
    assert [round(step.rate, 2) for step in outcome.steps].count(103.75) == 4
    assert outcome.note == ""


def test_one_unlucky_answer_far_below_the_capacity_is_put_right() -> None:
    # A pause of the machine breaks the objective at 40 requests/s, a tenth of the capacity.
    luck = iter([False])
    outcome = ask(Search(10), lambda rate: next(luck, True) if rate == 40 else rate <= 400)
    assert outcome.capacity is not None
    assert 400 / (1 + PRECISION) <= outcome.capacity <= 400
    assert (outcome.broken or 0) > 400
    assert len(outcome.steps) <= 24


def test_a_confirmation_that_fails_steps_down() -> None:
    # The service gets slower as it goes: what it kept before, it keeps no longer.
    search = Search(100, max_rate=100)
    asked = scripted(search, [True, True, True, False, False, True, True])
    assert [round(rate, 2) for rate, _ in asked] == [100, 100, 90, 90, 85.71, 81.63, 81.63]
    assert search.next_rate() is None
    outcome = search.outcome()
    assert outcome.capacity == 100
    assert outcome.confirmed_rate == pytest.approx(81.63, abs=0.01)
    assert outcome.note.endswith("Measured again, only 82% of the capacity kept it.")


def test_a_result_that_is_never_kept_again_is_not_confirmed() -> None:
    search = Search(1, max_rate=1)
    scripted(search, [True, True])
    outcome = ask(search, kept_up_to(0))
    assert (outcome.capacity, outcome.confirmed_rate) == (1, None)
    assert outcome.note.endswith("Measured again, no rate down to 0.5012 requests/s kept it for certain.")


def test_a_search_that_runs_out_of_steps_says_so_and_still_confirms() -> None:
    outcome = ask(Search(1, max_steps=12), kept_up_to(10_000))
    assert (outcome.capacity, outcome.broken) == (32, None)
    assert outcome.confirmed_rate == pytest.approx(28.8)
    assert outcome.note == "The 8 steps of the search ran out before its answers agreed."
