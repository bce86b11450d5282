"""How throughput grows with the requests in flight: Gunther's Universal Scalability Law, fitted. Pure.

    X(N) = gamma N / (1 + alpha (N - 1) + beta N (N - 1))

X is the throughput (requests per second) with N requests in flight on average, gamma that of a single one, alpha
the share that queues for something serial (contention: a GIL, a lock), and beta the cost of keeping parties
consistent (coherency: caches, crosstalk), which makes throughput fall again (Gunther, "Guerrilla Capacity
Planning", 2007, chapters 4 to 6). With beta 0 it is Amdahl's law; with alpha 0 as well, a straight line.

N need not be counted: it is the throughput times the mean response time (Little 1961, "A Proof for the Queuing
Formula L = lambda W"), and so any positive number. An open M/M/1 queue, for one, follows the law exactly, with
alpha 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

MIN_LOADS: Final = 5
"""How many different N a fit of three parameters takes at least."""
MIN_RANGE: Final = 4.0
"""How many times the smallest N the largest must be."""
MAX_RESIDUAL: Final = 0.2
MIN_R_SQUARED: Final = 0.9
FLAT_RESIDUAL: Final = 0.05
"""Where every point is this near to the curve, R^2 is not asked: a flat throughput has no variance to explain."""
NEGLIGIBLE: Final = 1e-6
"""A beta that changes no throughput within the points by more than this share is taken for 0."""

ITERATIONS: Final = 200
MAX_DAMPING: Final = 1e12
SINGULAR: Final = 1e-14

Points = Sequence[tuple[float, float]]
"""Pairs of N, the mean number of requests in flight, and X, the throughput per second."""
Parameters = tuple[float, float, float]
"""gamma (requests per second), alpha and beta (both without unit)."""
Row = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """The law fitted to points.

    Attributes:
        gamma: The throughput of one request in flight, per second.
        alpha: The share of contention, 0 to 1.
        beta: The cost of coherency, 0 or more.
        peak_in_flight: The N, at least 1, beyond which throughput falls: sqrt((1 - alpha) / beta); None where beta
            is 0. It is extrapolated where it lies beyond the largest N of the points.
        peak_rps: The throughput there, per second; None where ``peak_in_flight`` is.
        residuals: Of each point, in their order, (observed - fitted) / fitted.
        r_squared: The share of the throughput's variance that the curve explains, at most 1.
        worst: The largest residual, without its sign.
    """

    gamma: float
    alpha: float
    beta: float
    peak_in_flight: float | None
    peak_rps: float | None
    residuals: tuple[float, ...]
    r_squared: float
    worst: float

    def throughput(self, in_flight: float) -> float:
        """Return the throughput (per second) at ``in_flight`` requests in flight (positive)."""
        return _throughput((self.gamma, self.alpha, self.beta), in_flight)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no fit, in a sentence with its figures."""

    reason: str


def fit_usl(points: Points) -> Fit | Refusal:
    """Fit the law by least squares in X, with 0 <= alpha <= 1, beta >= 0 and gamma > 0.

    The start is the linearised fit (N / X is linear in 1, N - 1 and N (N - 1)), the rest Levenberg-Marquardt
    (Marquardt 1963) with the bounds kept by leaving out parameters that press against them.
    """
    if (reason := _unfit(points)) is not None:
        return Refusal(reason)
    largest = max(x for _, x in points)
    shares = [(n, x / largest) for n, x in points]
    share, alpha, beta = _without_negligible_beta(points, _refine(shares, _linearised(shares)))
    gamma = share * largest
    peak_in_flight = max(1.0, math.sqrt((1 - alpha) / beta)) if beta else None
    fitted = [_throughput((gamma, alpha, beta), n) for n, _ in points]
    residuals = tuple(x / fit - 1 for (_, x), fit in zip(points, fitted, strict=True))
    fit = Fit(
        gamma,
        alpha,
        beta,
        peak_in_flight,
        None if peak_in_flight is None else _throughput((gamma, alpha, beta), peak_in_flight),
        residuals,
        _r_squared([x for _, x in shares], [x / largest for x in fitted]),
        max(map(abs, residuals)),
    )
    reason = _misfit(points, fit)
    return fit if reason is None else Refusal(reason)


def _unfit(points: Points) -> str | None:
    """Tell why ``points`` cannot be fitted; None if they can."""
    for n, x in points:
        if not (math.isfinite(n) and n > 0 and math.isfinite(x) and x > 0):
            return f"a point of {n:.4g} in flight and {x:.4g} requests/s is not finite and positive"
    loads = {n for n, _ in points}
    if len(loads) < MIN_LOADS:
        return f"{len(loads)} different loads are too few: the fit takes {MIN_LOADS} or more"
    low, high = min(loads), max(loads)
    if high < MIN_RANGE * low:
        return f"{low:.4g} to {high:.4g} in flight is too narrow: the fit takes a factor of {MIN_RANGE:g} or more"
    return None


def _misfit(points: Points, fit: Fit) -> str | None:
    """Tell why ``fit`` does not describe ``points``; None if it does."""
    if fit.worst > MAX_RESIDUAL:
        (n, x), _ = max(zip(points, fit.residuals, strict=True), key=lambda pair: abs(pair[1]))
        return (
            f"the law does not describe the points: at {n:.4g} in flight it gives {fit.throughput(n):.4g} requests/s, "
            f"measured were {x:.4g} ({fit.worst:.0%} apart, over {MAX_RESIDUAL:.0%})"
        )
    if fit.r_squared < MIN_R_SQUARED and fit.worst > FLAT_RESIDUAL:
        return (
            f"the law does not describe the points: R^2 is {fit.r_squared:.2f} (under {MIN_R_SQUARED:g}), "
            f"and points lie up to {fit.worst:.0%} off the curve"
        )
    return None


def _throughput(parameters: Parameters, n: float) -> float:
    gamma, alpha, beta = parameters
    return gamma * n / (1 + alpha * (n - 1) + beta * n * (n - 1))


def _r_squared(observed: Sequence[float], fitted: Sequence[float]) -> float:
    mean = fmean(observed)
    total = math.fsum((x - mean) ** 2 for x in observed)
    unexplained = math.fsum((x - fit) ** 2 for x, fit in zip(observed, fitted, strict=True))
    if total == 0:
        return 1.0 if unexplained == 0 else -math.inf
    return 1 - unexplained / total


def _without_negligible_beta(points: Points, parameters: Parameters) -> Parameters:
    gamma, alpha, beta = parameters
    largest = max(n for n, _ in points)
    share = beta * largest * (largest - 1) / (1 + alpha * (largest - 1))
    return parameters if share > NEGLIGIBLE else (gamma, alpha, 0.0)


def _linearised(points: Points) -> Parameters:
    """Fit N / X = (1 + alpha (N - 1) + beta N (N - 1)) / gamma, every point weighted by its X / N.

    Of the fits with any of the last two terms left out, the best without a negative coefficient is exactly that
    of least squares under the bounds.
    """
    rows = [(x / n, x * (n - 1) / n, x * (n - 1)) for n, x in points]
    targets = [1.0] * len(rows)
    candidates: list[tuple[float, Parameters]] = []
    for free in ((0, 1, 2), (0, 1), (0, 2), (0,)):
        scale, contention, coherency = _least_squares(rows, targets, free) or (0.0, 0.0, 0.0)
        if scale > 0 and contention >= 0 and coherency >= 0:
            off = (1 - _dot(row, (scale, contention, coherency)) for row in rows)
            parameters = 1 / scale, min(1.0, contention / scale), coherency / scale
            if math.isfinite(_error(points, parameters)):
                candidates.append((math.fsum(value**2 for value in off), parameters))
    return min(candidates)[1]


def _refine(points: Points, start: Parameters) -> Parameters:
    """Return the parameters of the least sum of squares in X near ``start``."""
    parameters, error, damping = start, _error(points, start), 1e-3
    for _ in range(ITERATIONS):
        tried = _step(points, parameters, damping)
        tried_error = _error(points, tried)
        if tried == parameters or damping > MAX_DAMPING:
            break
        if tried_error < error:
            parameters, error, damping = tried, tried_error, max(damping / 10, 1 / MAX_DAMPING)
        else:
            damping *= 10
    return parameters


def _step(points: Points, parameters: Parameters, damping: float) -> Parameters:
    """Return the parameters after one step of Levenberg and Marquardt, within their bounds."""
    gamma, alpha, beta = parameters
    rows, off = [], []
    for n, x in points:
        fitted = _throughput(parameters, n)
        slope = -(fitted**2) / (gamma * n)
        rows.append((fitted / gamma, slope * (n - 1), slope * n * (n - 1)))
        off.append(x - fitted)
    # What a parameter at a bound would gain by going beyond it, it must not try to.
    uphill = [_dot([row[index] for row in rows], off) for index in range(3)]
    pressed = {
        1: (alpha <= 0 and uphill[1] < 0) or (alpha >= 1 and uphill[1] > 0),
        2: beta <= 0 and uphill[2] < 0,
    }
    free = [index for index in range(3) if not pressed.get(index)]
    step = _least_squares(rows, off, free, damping) or (0.0, 0.0, 0.0)
    return max(gamma + step[0], gamma / 10), min(1.0, max(0.0, alpha + step[1])), max(0.0, beta + step[2])


def _error(points: Points, parameters: Parameters) -> float:
    """Return the sum of squares in X; infinite where the law has a pole, which it can only below N = 1."""
    _, alpha, beta = parameters
    if any(1 + alpha * (n - 1) + beta * n * (n - 1) <= 0 for n, _ in points):
        return math.inf
    return math.fsum((x - _throughput(parameters, n)) ** 2 for n, x in points)


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def _least_squares(
    rows: Sequence[Row], targets: Sequence[float], free: Sequence[int], damping: float = 0.0
) -> Row | None:
    """Return the x with ``rows`` x nearest to ``targets``, 0 but for the columns ``free``; None if they depend.

    Columns are scaled to length 1, so that ``damping`` (Marquardt's lambda) means the same for each.
    """
    columns = [[row[index] for row in rows] for index in free]
    lengths = [math.sqrt(_dot(column, column)) or 1.0 for column in columns]
    unit = [[value / length for value in column] for column, length in zip(columns, lengths, strict=True)]
    normal = [[_dot(one, other) for other in unit] for one in unit]
    for index in range(len(free)):
        normal[index][index] += damping
    solved = _solve(normal, [_dot(column, targets) for column in unit])
    if solved is None:
        return None
    found = dict(
        zip(free, (value / length for value, length in zip(solved, lengths, strict=True)), strict=True)
    )
    return tuple(found.get(index, 0.0) for index in range(len(rows[0])))


def _solve(matrix: Sequence[Sequence[float]], vector: Sequence[float]) -> list[float] | None:
    """Solve a small symmetric positive definite system by elimination; None if it is not that."""
    rows = [[*row, value] for row, value in zip(matrix, vector, strict=True)]
    size = len(rows)
    for pivot in range(size):
        if rows[pivot][pivot] <= SINGULAR:
            return None
        for below in range(pivot + 1, size):
            factor = rows[below][pivot] / rows[pivot][pivot]
            rows[below] = [a - factor * b for a, b in zip(rows[below], rows[pivot], strict=True)]
    solved = [0.0] * size
    for index in reversed(range(size)):
        known = _dot(rows[index][index + 1 : size], solved[index + 1 :])
        solved[index] = (rows[index][size] - known) / rows[index][index]
    return solved
