from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.load.judging import Seen, judge_flight, judge_gap, judge_generator, judge_machine
from gilscope.model import Caution, GeneratorLoad

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


def test_all_signs_come_together() -> None:
    assert len(codes(GeneratorLoad(1.0, 0.5, 50.0, due=10, sent=1, throttled_share=0.5))) == 5


def test_where_nothing_was_due_nothing_is_missed() -> None:
    assert GeneratorLoad(0.1, 0.0, 0.0).shortfall == 0.0
    assert GeneratorLoad(0.1, 0.0, 0.0, due=10, sent=11).shortfall == 0.0, "what was late before came within"


def test_the_machine_is_blamed_for_what_its_host_took() -> None:
    assert list(judge_machine(0.05)) == []
    (caution,) = judge_machine(0.06)
    assert caution.code == "steal"
    assert "6%" in caution.message


def flight(in_flight: float, throughput_rps: float, mean_ms: float, window_s: float = 100.0) -> list[Caution]:
    return list(judge_flight(in_flight, throughput_rps, mean_ms, window_s))


@given(st.floats(1, 1000), st.floats(0.1, 1000), st.floats(0.951, 1.049))
def test_littles_law_is_kept_within_a_twentieth(throughput: float, mean_ms: float, off: float) -> None:
    assert flight(throughput * mean_ms / 1e3 / off, throughput, mean_ms) == []


@pytest.mark.parametrize("throughput_rps", [70.0, 130.0])
def test_users_that_are_not_where_they_should_be_are_told(throughput_rps: float) -> None:
    (caution,) = flight(10.0, throughput_rps, 100.0)
    assert caution.code == "littles-law"
    assert f"throughput x latency is {throughput_rps / 10:.1f}" in caution.message


def test_a_short_window_may_cut_off_a_latency_at_its_end() -> None:
    assert flight(10.0, 90.0, 100.0, window_s=1.0) == []
    assert flight(10.0, 90.0, 100.0, window_s=10.0) != []


def test_nothing_in_flight_says_nothing() -> None:
    assert flight(0.0, 0.0, 0.0) == []


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
