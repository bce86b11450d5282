"""Facts about who wins a search for capacities, and about the law of a curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gilscope.model import SIMPLEST_FIRST, BackendName, Capacity, CapacityStep, Interval, Target
from gilscope.verdict.capacity import UNBOUNDED, UNSURE, fit_curve, interval, judge_capacities
from gilscope.verdict.decision import TIE_MARGIN

ASYNCIO, THREADS, PROCESSES, INTERPRETERS = BackendName
TARGET = Target("primes", "primes")


def found(
    backend: BackendName,
    rate: float | None,
    broken: float | None = None,
    confirmed: float | None = None,
    *,
    note: str = "",
    workload: str = "primes",
) -> Capacity:
    return Capacity(workload, backend, "p99=200ms", rate, broken, confirmed, note, ())


def sharp(backend: BackendName, rate: float) -> Capacity:
    """Make what a search finds of a sharp capacity."""
    return found(backend, rate, rate * 1.04, rate * 0.9)


# Who wins.


def test_the_highest_capacity_wins_and_the_others_are_told_with_their_factor() -> None:
    verdict = judge_capacities(
        TARGET, [sharp(ASYNCIO, 100.0), sharp(PROCESSES, 250.0), sharp(THREADS, 125.0)]
    )
    assert (verdict.workload, verdict.winner, verdict.recommended) == ("primes", PROCESSES, PROCESSES)
    assert (verdict.ties, verdict.conclusive, verdict.baseline) == ((), True, ASYNCIO)
    assert verdict.reason == (
        "p99=200ms is kept on processes up to 250 requests/s; on threads up to 125 (2.00x), "
        "on asyncio up to 100 (2.50x)"
    )
    assert verdict.caveats == ()
    assert (verdict.p99_ms, verdict.noise) == ({}, None)


def test_figures_and_ratios_have_the_search_as_their_interval() -> None:
    verdict = judge_capacities(TARGET, [found(ASYNCIO, 100, 105, 90), found(THREADS, 200, 208, 180)])
    assert verdict.throughput_rps == {ASYNCIO: Interval(90, 100, 105), THREADS: Interval(180, 200, 208)}
    assert verdict.throughput_ratio == {
        ASYNCIO: Interval(1.0, 1.0, 1.0),
        THREADS: Interval(180 / 105, 2.0, 208 / 90),
    }
    assert list(verdict.throughput_rps) == [ASYNCIO, THREADS]


def test_capacities_of_other_workloads_do_not_count() -> None:
    others = [found(THREADS, 900, 930, workload="other"), found(ASYNCIO, 1, workload="other")]
    verdict = judge_capacities(TARGET, [sharp(ASYNCIO, 100), *others, sharp(THREADS, 50)])
    assert verdict.winner is ASYNCIO
    assert set(verdict.throughput_rps) == {ASYNCIO, THREADS}


# Ties.


def test_a_capacity_within_a_tie_of_the_rate_that_broke_another_does_not_beat_it() -> None:
    broken = 104.0
    reach = broken * (1 + TIE_MARGIN)
    tied = judge_capacities(TARGET, [found(ASYNCIO, 100, broken, 90), found(THREADS, 120, 124, reach)])
    assert (tied.winner, tied.recommended, tied.conclusive) == (None, ASYNCIO, False)
    assert tied.ties == (ASYNCIO, THREADS)
    beaten = judge_capacities(
        TARGET, [found(ASYNCIO, 100, broken, 90), found(THREADS, 120, 124, reach + 0.1)]
    )
    assert (beaten.winner, beaten.ties) == (THREADS, ())


def test_the_simplest_of_the_tied_is_recommended_whatever_their_order() -> None:
    capacities = [sharp(PROCESSES, 102), sharp(INTERPRETERS, 101), sharp(THREADS, 100), sharp(ASYNCIO, 40)]
    for order in (capacities, capacities[::-1]):
        verdict = judge_capacities(TARGET, order)
        assert verdict.ties == (THREADS, INTERPRETERS, PROCESSES)
        assert verdict.recommended is THREADS
        assert verdict.winner is None
        assert list(verdict.throughput_rps) == list(SIMPLEST_FIRST)


def test_a_capacity_that_nothing_broke_may_be_a_little_higher() -> None:
    unbroken = found(ASYNCIO, 100, None, 90)
    assert interval(unbroken) == Interval(90, 100, 100 * UNBOUNDED)
    reach = 100 * UNBOUNDED * (1 + TIE_MARGIN) / 0.9
    for rate, winner in ((reach - 0.1, None), (reach + 0.1, THREADS)):
        assert judge_capacities(TARGET, [unbroken, sharp(THREADS, rate)]).winner is winner


def test_a_single_backend_has_nothing_to_win_against() -> None:
    verdict = judge_capacities(TARGET, [sharp(THREADS, 80)])
    assert (verdict.winner, verdict.recommended, verdict.ties) == (None, THREADS, (THREADS,))
    assert (verdict.conclusive, verdict.baseline) == (False, THREADS)
    assert verdict.reason == "p99=200ms is kept on threads up to 80.0 requests/s"


def test_two_backends_with_the_same_bracket_are_not_known_to_be_equal() -> None:
    verdict = judge_capacities(TARGET, [found(ASYNCIO, 100, 105, 90), found(THREADS, 100, 105, 90)])
    assert verdict.throughput_ratio[ASYNCIO] == Interval(1.0, 1.0, 1.0)
    assert verdict.throughput_ratio[THREADS] == Interval(90 / 105, 1.0, 105 / 90)


# Where capacities are missing.


@pytest.mark.parametrize("capacities", [[], [found(ASYNCIO, None, 0.5), found(THREADS, None, 0.5)]])
def test_without_a_capacity_there_is_no_verdict(capacities: Sequence[Capacity]) -> None:
    verdict = judge_capacities(TARGET, capacities)
    assert (verdict.winner, verdict.recommended, verdict.ties) == (None, None, ())
    assert verdict.reason == "no backend keeps the objective at any rate that was tried"
    assert (verdict.conclusive, verdict.throughput_rps) == (False, {})


def test_notes_are_caveats_whether_or_not_anything_was_found() -> None:
    nobody = found(THREADS, None, 0.5, note="Even 0.5 requests/s break it.")
    assert judge_capacities(TARGET, [nobody]).caveats == ("threads: Even 0.5 requests/s break it.",)
    unsure = found(ASYNCIO, 10, 10.4, note="Measured again, no rate kept it.")
    assert judge_capacities(TARGET, [nobody, sharp(PROCESSES, 9), unsure]).caveats == (
        "asyncio: Measured again, no rate kept it.",
        "threads: Even 0.5 requests/s break it.",
    )


def test_a_backend_that_keeps_it_at_no_rate_is_told_last() -> None:
    verdict = judge_capacities(TARGET, [found(ASYNCIO, None, 0.5), sharp(THREADS, 40), sharp(PROCESSES, 80)])
    assert verdict.reason == (
        "p99=200ms is kept on processes up to 80.0 requests/s; on threads up to 40.0 (2.00x), on asyncio at no rate"
    )
    assert verdict.winner is PROCESSES


def test_who_alone_keeps_the_objective_wins() -> None:
    verdict = judge_capacities(TARGET, [found(ASYNCIO, None, 0.5), sharp(PROCESSES, 80)])
    assert (verdict.winner, verdict.conclusive, verdict.ties) == (PROCESSES, True, ())


def test_without_the_baseline_ratios_are_against_the_simplest_that_has_a_capacity() -> None:
    verdict = judge_capacities(
        TARGET, [found(ASYNCIO, None, 0.5), found(PROCESSES, 80, 84, 72), found(INTERPRETERS, 40, 42, 36)]
    )
    assert verdict.baseline is INTERPRETERS
    assert verdict.throughput_ratio == {
        INTERPRETERS: Interval(1.0, 1.0, 1.0),
        PROCESSES: Interval(72 / 42, 2.0, 84 / 36),
    }


def test_a_capacity_that_was_not_confirmed_may_be_anything_below_and_wins_nothing() -> None:
    unsure = found(ASYNCIO, 100, 105, None)
    assert interval(unsure) == Interval(0, 100, 105)
    verdict = judge_capacities(TARGET, [unsure, sharp(THREADS, 20)])
    assert (verdict.winner, verdict.ties) == (None, (ASYNCIO, THREADS))
    assert verdict.throughput_ratio[THREADS].high == math.inf


def test_what_was_confirmed_wins_and_not_the_luckiest_measurement() -> None:
    verdict = judge_capacities(TARGET, [found(ASYNCIO, 85, 89, 76.5), found(PROCESSES, 100, 105, 60)])
    assert (verdict.winner, verdict.recommended) == (None, ASYNCIO)


@pytest.mark.parametrize(
    "better",
    [
        found(PROCESSES, 200, 208),
        replace(sharp(PROCESSES, 23), unsettled=True),
        found(PROCESSES, 100, 105, 20),
    ],
)
def test_nobody_is_recommended_beside_whom_another_may_well_be_much_better(better: Capacity) -> None:
    verdict = judge_capacities(TARGET, [sharp(ASYNCIO, 20), better])
    assert (verdict.winner, verdict.recommended, verdict.ties) == (None, None, (ASYNCIO, PROCESSES))
    assert verdict.reason.endswith(f". {UNSURE}")
    alike = judge_capacities(TARGET, [sharp(ASYNCIO, 20), sharp(PROCESSES, 24)])
    assert (alike.winner, alike.recommended) == (None, ASYNCIO)
    assert UNSURE not in alike.reason


def test_what_spoilt_measurements_hide_is_not_beaten() -> None:
    hidden = replace(sharp(ASYNCIO, 100), unsettled=True)
    assert interval(hidden) == Interval(90, 100, math.inf)
    assert judge_capacities(TARGET, [hidden, sharp(THREADS, 900)]).winner is None
    nothing = replace(found(ASYNCIO, None, 0.5), unsettled=True)
    verdict = judge_capacities(TARGET, [nothing, sharp(THREADS, 900)])
    assert (verdict.winner, verdict.recommended, verdict.ties) == (None, THREADS, (THREADS,))
    assert verdict.caveats == ("asyncio is left out: no measurement of it counts",)
    assert judge_capacities(TARGET, [nothing, sharp(THREADS, 900), sharp(PROCESSES, 90)]).winner is THREADS


@pytest.mark.parametrize(
    ("twin", "winner"), [(115.0, THREADS), (87.0, THREADS), (135.0, None), (74.0, None), (None, None)]
)
def test_nobody_wins_by_less_than_two_searches_on_one_backend_differ(
    twin: float | None, winner: BackendName | None
) -> None:
    again = found(ASYNCIO, 1.0) if twin is None else sharp(ASYNCIO, twin)
    capacities = [sharp(ASYNCIO, 100), sharp(THREADS, 130), replace(again, rate=twin, twin=True)]
    verdict = judge_capacities(TARGET, capacities)
    assert verdict.winner is winner
    assert verdict.throughput_rps[ASYNCIO].mid == 100
    assert verdict.noise is not None
    assert (verdict.noise.backend, verdict.noise.pairs) == (ASYNCIO, 1)
    # At the lowest rate that is tried at all, it is confirmed at that rate itself.
    assert interval(found(ASYNCIO, 0.5, 0.52, 0.5)) == Interval(0.5, 0.5, 0.52)


# The law of a curve.


def step(in_flight: float | None, rps: float, *, kept: bool | None = True) -> CapacityStep:
    return CapacityStep(rps, "curve", kept, rps, 20.0, in_flight)


def law(in_flight: float, gamma: float = 100.0, alpha: float = 0.1, beta: float = 0.001) -> float:
    return gamma * in_flight / (1 + alpha * (in_flight - 1) + beta * in_flight * (in_flight - 1))


IN_FLIGHT = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
CURVE = tuple(step(at, law(at)) for at in IN_FLIGHT)


def test_a_curve_that_follows_the_law_is_fitted() -> None:
    fitted = fit_curve(CURVE)
    assert (fitted.gamma, fitted.alpha, fitted.beta) == pytest.approx((100.0, 0.1, 0.001), rel=1e-4)
    assert fitted.peak_in_flight == pytest.approx(math.sqrt(0.9 / 0.001), rel=1e-3)
    assert fitted.peak_rps == pytest.approx(law(30.0), rel=1e-3)
    assert fitted.residuals == pytest.approx([0.0] * len(CURVE), abs=1e-6)
    assert fitted.refusal == ""


def test_throughput_that_never_falls_has_no_peak() -> None:
    fitted = fit_curve([step(at, law(at, beta=0.0)) for at in IN_FLIGHT])
    assert (fitted.peak_in_flight, fitted.peak_rps) == (None, None)


def test_steps_without_anything_in_flight_are_no_points() -> None:
    fitted = fit_curve([*CURVE, step(None, 50.0), step(0.0, 0.0)])
    assert fitted == fit_curve(CURVE)


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        ((), "0 different loads are too few"),
        (CURVE[:4], "4 different loads are too few"),
        ([step(4 + at, 100.0 + at) for at in range(6)], "4 to 9 in flight is too narrow"),
        ([*CURVE, step(64.0, 0.0)], "a point of 64 in flight and 0 requests/s is not finite and positive"),
        ([replace(one, throughput_rps=one.throughput_rps * 9**at) for at, one in enumerate(CURVE)], "the law does not"),
    ],
)  # fmt: skip
def test_what_is_not_fitted_says_why(curve: Sequence[CapacityStep], reason: str) -> None:
    fitted = fit_curve(curve)
    assert fitted.refusal.startswith(reason)
    assert (fitted.gamma, fitted.residuals, fitted.peak_rps) == (0.0, (), None)


def test_spoilt_steps_are_no_points() -> None:
    spoilt = step(20.0, law(20.0) / 3, kept=None)
    assert fit_curve([*CURVE, spoilt]) == fit_curve(CURVE)
