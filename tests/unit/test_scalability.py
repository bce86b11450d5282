from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gilscope.verdict import scalability
from gilscope.verdict.scalability import Fit, Refusal, fit_usl

LOADS = (1, 2, 4, 8, 16, 32, 64)

gammas = st.floats(0.5, 50_000)
alphas = st.floats(0, 0.9)
betas = st.floats(1e-5, 0.02)


def usl(gamma: float, alpha: float, beta: float) -> Callable[[float], float]:
    return lambda n: gamma * n / (1 + alpha * (n - 1) + beta * n * (n - 1))


def points_of(law: Callable[[float], float], loads: Sequence[float] = LOADS) -> list[tuple[float, float]]:
    return [(n, law(n)) for n in loads]


def fitted(points: Sequence[tuple[float, float]]) -> Fit:
    fit = fit_usl(points)
    assert isinstance(fit, Fit), fit
    return fit


def refused(points: Sequence[tuple[float, float]]) -> str:
    refusal = fit_usl(points)
    assert isinstance(refusal, Refusal), refusal
    return refusal.reason


@settings(deadline=None, max_examples=150)
@given(gammas, alphas, betas)
def test_the_law_is_recovered_from_its_own_points(gamma: float, alpha: float, beta: float) -> None:
    fit = fitted(points_of(usl(gamma, alpha, beta)))
    assert fit.gamma == pytest.approx(gamma, rel=1e-6)
    assert fit.alpha == pytest.approx(alpha, rel=1e-5, abs=1e-7)
    assert fit.beta == pytest.approx(beta, rel=1e-4)
    assert fit.worst < 1e-6
    assert fit.worst == max(map(abs, fit.residuals))
    assert fit.throughput(20) == pytest.approx(usl(gamma, alpha, beta)(20))


@settings(deadline=None, max_examples=60)
@given(gammas, alphas, betas, st.permutations([0.2, 0.9, 3.3, 7.0, 12.5, 31.0, 90.0]))
def test_means_in_flight_need_be_neither_whole_nor_sorted(
    gamma: float, alpha: float, beta: float, loads: list[float]
) -> None:
    fit = fitted(points_of(usl(gamma, alpha, beta), loads))
    assert fit.throughput(50) == pytest.approx(usl(gamma, alpha, beta)(50), rel=1e-5)


@settings(deadline=None, max_examples=60)
@given(alphas, betas)
def test_the_peak_is_where_throughput_stops_to_grow(alpha: float, beta: float) -> None:
    fit = fitted(points_of(usl(100, alpha, beta)))
    assert fit.peak_in_flight is not None
    assert fit.peak_in_flight == pytest.approx(math.sqrt((1 - alpha) / beta), rel=1e-3)
    assert fit.peak_rps == fit.throughput(fit.peak_in_flight)
    for factor in (0.9, 1.1):
        assert fit.throughput(fit.peak_in_flight * factor) < fit.peak_rps


def test_a_peak_lies_at_one_in_flight_or_more() -> None:
    fit = fitted(points_of(usl(100, 0.9, 0.4)))
    assert fit.peak_in_flight == 1.0
    assert fit.peak_rps == pytest.approx(100)


def test_without_contention_and_coherency_it_is_a_straight_line() -> None:
    fit = fitted(points_of(lambda n: 120.0 * n))
    assert (fit.gamma, fit.alpha) == pytest.approx((120, 0), abs=1e-9)
    assert fit.beta == 0
    assert (fit.peak_in_flight, fit.peak_rps) == (None, None)
    assert fit.r_squared == pytest.approx(1)


@pytest.mark.parametrize("serial", [0.01, 0.05, 0.25, 0.5])
def test_without_coherency_it_is_the_law_of_amdahl(serial: float) -> None:
    fit = fitted(points_of(lambda n: 100 / (serial + (1 - serial) / n)))
    assert (fit.gamma, fit.alpha) == pytest.approx((100, serial), abs=1e-9)
    assert fit.beta == 0
    assert fit.throughput(1e9) == pytest.approx(100 / serial, rel=1e-3)
    assert fit.peak_in_flight is None


def test_a_wholly_serial_service_is_flat() -> None:
    fit = fitted([(n, 80.0) for n in LOADS])
    assert (fit.gamma, fit.alpha) == pytest.approx((80, 1), abs=1e-9)
    assert fit.beta == 0


def test_a_flat_throughput_is_described_in_spite_of_its_r_squared() -> None:
    noise = random.Random(5)
    fit = fitted([(n, 80 * noise.uniform(0.98, 1.02)) for n in LOADS])
    assert fit.r_squared < 0.9
    assert fit.alpha == pytest.approx(1, abs=0.05)


def test_an_open_queue_with_one_exponential_worker_has_contention_of_one_half() -> None:
    # M/M/1: N = rho / (1 - rho), so X = mu N / (1 + N).
    loads = [rho / (1 - rho) for rho in (0.1, 0.3, 0.5, 0.7, 0.9, 0.95)]
    fit = fitted(points_of(lambda n: 500 * n / (1 + n), loads))
    assert (fit.gamma, fit.alpha) == pytest.approx((250, 0.5), abs=1e-9)
    assert fit.beta == 0


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("alpha", "beta"), [(0.02, 0.0), (0.05, 0.001), (0.2, 0.002), (0.5, 0.0005)])
def test_noise_of_3_percent_moves_the_curve_by_a_few_percent(alpha: float, beta: float, seed: int) -> None:
    noise, law = random.Random(seed), usl(100, alpha, beta)
    loads = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    fit = fitted([(n, law(n) * noise.gauss(1, 0.03)) for n in loads])
    assert fit.gamma == pytest.approx(100, rel=0.25)
    for n in loads[2:]:
        assert fit.throughput(n) == pytest.approx(law(n), rel=0.08)


def test_the_bounds_hold_where_noise_presses_against_them() -> None:
    for seed in range(50):
        noise = random.Random(seed)
        for law in (usl(100, 0, 0), usl(100, 0.3, 0), usl(100, 1, 0)):
            fit = fitted([(n, law(n) * noise.gauss(1, 0.015)) for n in LOADS])
            assert fit.gamma > 0
            assert 0 <= fit.alpha <= 1
            assert fit.beta >= 0


@settings(deadline=None, max_examples=100)
@given(gammas, alphas, st.floats(0, 0.02), st.integers(0, 1_000))
def test_no_neighbour_fits_better(gamma: float, alpha: float, beta: float, seed: int) -> None:
    noise, law = random.Random(seed), usl(gamma, alpha, beta)
    points = [(float(n), law(n) * noise.uniform(0.95, 1.05)) for n in LOADS]
    fit = fit_usl(points)
    assume(isinstance(fit, Fit))
    assert isinstance(fit, Fit)

    def error(gamma: float, alpha: float, beta: float) -> float:
        return math.fsum((x - usl(gamma, alpha, beta)(n)) ** 2 for n, x in points)

    least = error(fit.gamma, fit.alpha, fit.beta)
    for change in (-1e-3, 1e-3):
        assert error(fit.gamma * (1 + change), fit.alpha, fit.beta) >= least
        assert error(fit.gamma, min(1.0, max(0.0, fit.alpha + change)), fit.beta) >= least * (1 - 1e-9)
        assert error(fit.gamma, fit.alpha, max(0.0, fit.beta + change / 10)) >= least * (1 - 1e-9)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_the_unit_of_throughput_does_not_matter(unit: float) -> None:
    fit = fitted(points_of(usl(unit, 0.05, 0.001)))
    assert fit.gamma == pytest.approx(unit)
    assert (fit.alpha, fit.beta) == pytest.approx((0.05, 0.001))
    assert fit.r_squared == pytest.approx(1)


def test_the_refinement_gets_nearer_than_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    noise, law = random.Random(2), usl(100, 0.1, 0.002)
    points = [(float(n), law(n) * noise.uniform(0.9, 1.1)) for n in LOADS]
    start = scalability._linearised(points)
    refined = scalability._refine(points, start)
    assert scalability._error(points, refined) < 0.99 * scalability._error(points, start)
    monkeypatch.setattr(scalability, "ITERATIONS", 0)
    assert scalability._refine(points, start) == start


def test_a_start_with_a_pole_below_one_in_flight_is_not_taken() -> None:
    points = [(0.1, 771.0), (0.2, 2.0), (2.0, 130.0), (3.0, 2.0), (8.0, 6.0)]
    gamma, alpha, beta = scalability._linearised(points)
    assert math.isfinite(scalability._error(points, (gamma, alpha, beta)))
    assert "does not describe the points" in refused(points)


def test_columns_that_depend_on_each_other_have_no_least_squares() -> None:
    rows = [(1.0, 2.0, 0.0), (2.0, 4.0, 0.0), (3.0, 6.0, 0.0)]
    assert scalability._least_squares(rows, [1.0, 2.0, 3.0], (0, 1)) is None
    assert scalability._least_squares(rows, [1.0, 2.0, 3.0], (0, 2)) is None
    assert scalability._least_squares(rows, [1.0, 2.0, 3.0], (1,)) == pytest.approx((0, 0.5, 0))


def test_a_residual_is_what_was_observed_over_what_is_fitted() -> None:
    points = points_of(usl(100, 0.05, 0.001))
    points[3] = (8, points[3][1] * 1.1)
    fit = fitted(points)
    assert fit.worst == max(map(abs, fit.residuals))
    assert fit.residuals[3] == pytest.approx(points[3][1] / fit.throughput(8) - 1)


def test_too_few_different_loads_are_refused() -> None:
    four = points_of(usl(100, 0.05, 0.001), (1, 2, 4, 8))
    assert refused(four * 3) == "4 different loads are too few: the fit takes 5 or more"
    assert "0 different loads" in refused([])


def test_a_narrow_range_of_loads_is_refused() -> None:
    assert (
        refused(points_of(usl(100, 0.05, 0.001), (10, 15, 20, 30, 39)))
        == "10 to 39 in flight is too narrow: the fit takes a factor of 4 or more"
    )


@pytest.mark.parametrize(
    "bad",
    [(4.0, 0.0), (4.0, -1.0), (4.0, math.nan), (4.0, math.inf), (0.0, 5.0), (math.nan, 5.0), (-1.0, 5.0)],
)
def test_a_point_that_is_not_finite_and_positive_is_refused(bad: tuple[float, float]) -> None:
    reason = refused([*points_of(usl(100, 0.05, 0.001)), bad])
    assert (
        reason == f"a point of {bad[0]:.4g} in flight and {bad[1]:.4g} requests/s is not finite and positive"
    )


def test_a_point_far_off_the_curve_is_refused_by_name() -> None:
    points = points_of(usl(100, 0.05, 0.001))
    points[4] = (16, points[4][1] * 0.5)
    reason = refused(points)
    assert "at 16 in flight it gives" in reason
    assert f"measured were {points[4][1]:.4g}" in reason
    assert "over 20%" in reason


def test_a_curve_that_explains_too_little_is_refused() -> None:
    points = [(n, 100.0 * (1.15 if index % 2 else 0.87)) for index, n in enumerate(LOADS)]
    assert "R^2 is" in refused(points)
    assert "(under 0.9)" in refused(points)
