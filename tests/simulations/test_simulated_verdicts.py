"""The verdict on backends whose difference is known, through drift and noise."""

from __future__ import annotations

import random

from judged_trials import TARGET, samples_of, trial_of

from gilscope.model import BackendName, Verdict
from gilscope.verdict.decision import judge

ASYNCIO, THREADS = BackendName.ASYNCIO, BackendName.THREADS


def drifting(seed: int, faster: float = 1.0) -> Verdict:
    """Try two backends, one ``faster`` times as fast: blocks drift by a fifth, trials and requests vary, too."""
    chance = random.Random(seed)
    trials, samples = [], {}
    for block in range(4):
        drift = chance.lognormvariate(0, 0.2)
        for backend in (ASYNCIO, THREADS):
            speed = drift * chance.lognormvariate(0, 0.02)
            rps = 200 / speed * (faster if backend is THREADS else 1.0)
            drawn = samples_of(rps, 20 * speed, spread=0.4, seed=chance.randrange(2**32))
            trial = trial_of(backend, block, drawn)
            trials.append(trial)
            samples[trial.samples or ""] = drawn
    return judge(TARGET, trials, samples, seed=seed)


def test_against_itself_a_backend_wins_at_most_once_in_twenty() -> None:
    verdicts = [drifting(seed) for seed in range(20)]
    assert sum(verdict.conclusive for verdict in verdicts) <= 1
    # The intervals were put to the test: they have width, and most of them hold the truth.
    intervals = [verdict.throughput_ratio[THREADS] for verdict in verdicts]
    assert all(interval.low < interval.high for interval in intervals)
    assert sum(interval.low <= 1 <= interval.high for interval in intervals) >= 17


def test_a_real_difference_is_found_through_the_same_drift() -> None:
    verdicts = [drifting(seed, faster=1.3) for seed in range(20)]
    assert sum(verdict.winner is THREADS for verdict in verdicts) >= 18
    intervals = [verdict.throughput_ratio[THREADS] for verdict in verdicts]
    assert sum(interval.low <= 1.3 <= interval.high for interval in intervals) >= 17
