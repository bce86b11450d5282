from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.load.judging import Seen, Senders, judge_flight, judge_gap, judge_generator, judge_machine
from gilscope.model import GeneratorLoad

AT_EASE = GeneratorLoad(
    cpu_share=0.70, runqueue_share=0.05, dispatch_lag_p99_ms=2.0, due=1000, sent=981, throttled_share=0.01
)


SEEN = Seen(p50_ms=1.0, p99_ms=1.0, answers_per_s=100.0, is_open=True)


def codes(generator: GeneratorLoad, **seen: object) -> list[str]:
    return [caution.code for caution in judge_generator(generator, replace(SEEN, **seen))]  # type: ignore[arg-type]


def test_a_generator_within_its_bounds_is_not_blamed() -> None:
    assert codes(AT_EASE) == []


@pytest.mark.parametrize(
    ("changes", "code", "figure"),
    [
        ({"cpu_share": 0.71}, "generator-busy", "71%"),
        ({"runqueue_share": 0.06}, "generator-starved", "6%"),
        ({"dispatch_lag_p99_ms": 2.1}, "dispatch-lag", "2.1 ms"),
        ({"sent": 970}, "shortfall", "3% of the 1,000"),
        ({"throttled_share": 0.02}, "throttled", "2%"),
    ],
)
def test_each_sign_is_named_with_its_figure_and_a_remedy(
    changes: dict[str, float], code: str, figure: str
) -> None:
    (caution,) = judge_generator(replace(AT_EASE, **changes), SEEN)  # type: ignore[arg-type]
    assert caution.code == code
    assert figure in caution.message
    assert caution.remedy


def test_lag_is_forgiven_up_to_a_tenth_of_a_slow_median() -> None:
    late = replace(AT_EASE, dispatch_lag_p99_ms=9.0)
    assert codes(late, p50_ms=100.0) == []
    assert codes(late, p50_ms=80.0) == ["dispatch-lag"]


def test_lag_is_forgiven_up_to_a_fiftieth_of_a_latency_that_has_to_be_kept() -> None:
    late = replace(AT_EASE, dispatch_lag_p99_ms=3.9)
    assert codes(late, p50_ms=10.0) == ["dispatch-lag"]
    assert codes(late, p50_ms=10.0, objective_ms=200.0) == []
    assert codes(late, p50_ms=10.0, objective_ms=190.0) == ["dispatch-lag"]


def test_in_a_closed_loop_lag_is_held_against_the_tail() -> None:
    late = replace(AT_EASE, dispatch_lag_p99_ms=9.0)
    assert codes(late, p50_ms=20.0, p99_ms=100.0, is_open=False) == []
    assert codes(late, p50_ms=20.0, p99_ms=80.0, is_open=False) == ["dispatch-lag"]
    assert codes(late, p50_ms=20.0, p99_ms=100.0) == ["dispatch-lag"]


def test_a_wait_for_a_core_is_harmless_where_requests_take_much_longer() -> None:
    waiting = replace(AT_EASE, runqueue_share=0.10)  # 1 ms of each of 100 requests
    assert codes(waiting, p50_ms=49.0) == ["generator-starved"]
    assert codes(waiting, p50_ms=51.0) == []
    assert codes(replace(AT_EASE, runqueue_share=0.21), p50_ms=1000.0) == ["generator-starved"]


@pytest.mark.parametrize("count", [2, 8])
def test_the_wait_of_one_of_several_is_held_against_what_that_one_got(count: int) -> None:
    waiting = replace(AT_EASE, runqueue_share=0.10)
    together = {"answers_per_s": 100.0 * count, "senders": Senders(count)}
    assert codes(waiting, p50_ms=49.0, **together) == ["generator-starved"]
    assert codes(waiting, p50_ms=51.0, **together) == []


@pytest.mark.parametrize(
    ("senders", "advice"),
    [
        (Senders(), "--load-workers 2"),
        (Senders(2), "--load-workers 3 or --load-master"),
        (Senders(2, are_elsewhere=True), "--expect-workers 3"),
    ],
)
def test_the_advice_is_one_more_process_than_there_are(senders: Senders, advice: str) -> None:
    spoilt = replace(AT_EASE, cpu_share=1.0, sent=0)
    found = [
        *judge_generator(spoilt, replace(SEEN, senders=senders)),
        *judge_flight(10.0, 7.0, 100.0, senders=senders),
        *judge_gap(10.0, 7.0, 0.9, senders),
    ]
    assert [caution.code for caution in found] == [
        "generator-busy",
        "shortfall",
        "littles-law",
        "client-slow",
    ]
    for caution in found:
        assert re.search(rf"{advice}\b", caution.remedy), caution
    others = {"--load-workers", "--load-master", "--expect-workers"} - {*advice.split()}
    assert not [caution for caution in found if any(option in caution.remedy for option in others)]


def test_all_signs_come_together() -> None:
    assert len(codes(GeneratorLoad(1.0, 0.5, 50.0, due=10, sent=1, throttled_share=0.5))) == 5


def test_where_nothing_was_due_nothing_is_missed() -> None:
    assert GeneratorLoad(0.1, 0.0, 0.0).shortfall == 0.0
    assert GeneratorLoad(0.1, 0.0, 0.0, due=10, sent=11).shortfall == 0.0, "what was late before came within"


def test_the_machine_is_blamed_for_what_its_host_took() -> None:
    assert list(judge_machine(0.05)) == []
    (caution,) = judge_machine(0.06)
    assert caution.code == "steal"
    assert "6% of this machine's" in caution.message


def test_a_machine_that_sent_the_load_is_blamed_as_well_but_no_two_at_once() -> None:
    assert list(judge_machine(0.05, 0.05)) == []
    (caution,) = judge_machine(0.05, 0.07)
    assert caution.code == "steal"
    assert "7% of the CPU time of a machine that sent the load" in caution.message
    (caution,) = judge_machine(0.06, 0.07)
    assert "this machine's" in caution.message


@given(st.floats(0.1, 1e4), st.floats(0.951, 1.049))
def test_what_is_in_flight_is_accounted_for_within_a_twentieth(in_flight: float, off: float) -> None:
    assert list(judge_flight(in_flight, in_flight * off, 1.0)) == []


@pytest.mark.parametrize("accounted", [7.0, 13.0])
def test_requests_that_are_held_up_are_told(accounted: float) -> None:
    (caution,) = judge_flight(10.0, accounted, 500.0)
    assert caution.code == "littles-law"
    assert f"10 requests were in flight, but their latencies account for {accounted:.0f}" in caution.message
    assert caution.message.endswith("held each up for 6 ms")


@pytest.mark.parametrize(("accounted", "told"), [(0.067, False), (0.065, True)])
def test_less_than_a_millisecond_of_each_request_is_what_a_generator_needs(
    accounted: float,
    told: bool,  # noqa: FBT001  a column
) -> None:
    found = list(judge_flight(0.1, accounted, 34.0))
    assert bool(found) is told, "of some milliseconds each"


def test_what_a_windows_end_cuts_off_is_forgiven() -> None:
    assert list(judge_flight(10.0, 8.0, 100.0, cut_off=0.16)) == []
    assert list(judge_flight(10.0, 8.0, 100.0, cut_off=0.14)) != []


def test_nothing_in_flight_says_nothing() -> None:
    assert list(judge_flight(0.0, 0.0, 0.0)) == []
    assert list(judge_flight(0.0, 1.0, 10.0)) == []


@pytest.mark.parametrize(
    ("client_ms", "server_ms", "idle", "guilty"),
    [
        (10.0, 7.0, 0.9, True),
        (10.0, 7.0, 0.4, False),  # the loop was busy: they waited for it
        (10.0, 7.0, None, False),  # nobody watched
        (3.0, 1.2, 0.9, False),  # under two milliseconds
        (100.0, 85.0, 0.9, False),  # under a fifth
    ],
)
def test_time_that_the_service_knows_nothing_of_is_the_clients_where_the_loop_had_nothing_to_do(
    client_ms: float,
    server_ms: float,
    idle: float | None,
    guilty: bool,  # noqa: FBT001  a column
) -> None:
    found = [caution.code for caution in judge_gap(client_ms, server_ms, idle)]
    assert found == (["client-slow"] if guilty else [])
