"""Does the verdict name winners where there are none? Simulated comparisons of a backend with itself under other names.

Every trial has a factor of its own (log-normal, as a machine shows that slows down and recovers between trials), every second
of it another one, and every request its own spread. Nothing is shared within a block, so that pairing cannot help.

To be quick about it, intervals come from a tenth of the usual resamples. With so few blocks they end at the most extreme
ones, so they are narrower than those of a real verdict, and winners are named more easily.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile

import judged_trials
import pytest
from factories import LOAD
from judged_trials import TARGET, WINDOW_S

from gilscope.load.arrivals import poisson
from gilscope.model import (
    BackendName,
    GeneratorLoad,
    Load,
    LoadKind,
    ProbeSamples,
    Samples,
    Trial,
    Verdict,
    WorkSamples,
)
from gilscope.verdict import statistics
from gilscope.verdict.decision import judge

ASYNCIO, THREADS, PROCESSES = BackendName.ASYNCIO, BackendName.THREADS, BackendName.PROCESSES
GENERATOR = GeneratorLoad(0.2, 0.01, dispatch_lag_p99_ms=1.2)
CARRIED_FROM_S = -0.5
LATENCY_MS = 20.0
USERS = 2
PINGS = 25.0
SECOND_NOISE = 0.05
REQUEST_NOISE = 0.3
ATTEMPTS = 20
BLOCKS = (3, 4)
"""By turns."""


@dataclass(frozen=True)
class Setting:
    """How a comparison is made: ``noise`` is the sigma of the factor of each trial, ``rate`` that of an open loop."""

    kind: LoadKind
    noise: float
    rate: float = 100.0

    @property
    def load(self) -> Load:
        if self.kind is LoadKind.CLOSED:
            return replace(LOAD, users=USERS, seconds=WINDOW_S)
        return replace(LOAD, kind=LoadKind.OPEN, users=None, rate=self.rate, seconds=WINDOW_S)


class Weather:
    """What a trial draws its latencies from."""

    def __init__(self, chance: random.Random, noise: float, slowness: float) -> None:
        self._chance = chance
        own = slowness * chance.lognormvariate(0, noise)
        self._seconds = [own * chance.lognormvariate(0, SECOND_NOISE) for _ in range(int(WINDOW_S))]

    def around(self, value: float, at_s: float) -> float:
        second = min(max(int(at_s), 0), len(self._seconds) - 1)
        return value * self._seconds[second] * self._chance.lognormvariate(0, REQUEST_NOISE)


def closed_work(weather: Weather) -> WorkSamples:
    """Let each user send as soon as it has its answer."""
    done: list[tuple[float, float]] = []
    for _ in range(USERS):
        now_s = 0.0
        while True:
            latency_ms = weather.around(LATENCY_MS, now_s)
            now_s += latency_ms / 1e3
            if now_s >= WINDOW_S:
                break
            done.append((now_s, latency_ms))
    done.sort()
    return work_of([at for at, _ in done], [latency for _, latency in done])


def open_work(weather: Weather, rate: float, seed: int) -> tuple[WorkSamples, list[float]]:
    """Answer what is due, whenever that is; the same is due in all trials of a block. Second, what was carried in."""
    due = [
        at + CARRIED_FROM_S
        for at in takewhile(lambda at: at < WINDOW_S - CARRIED_FROM_S, poisson(rate, seed))
    ]
    answers = [(at, weather.around(LATENCY_MS, at)) for at in due]
    carried = [at + latency / 1e3 for at, latency in answers if at < 0 <= at + latency / 1e3]
    inside = [(at, latency) for at, latency in answers if at >= 0]
    latency_ms = [latency for _, latency in inside]
    return work_of([at for at, _ in inside], latency_ms, [latency - 0.3 for latency in latency_ms]), carried


def work_of(at_s: list[float], latency_ms: list[float], service_ms: list[float] | None = None) -> WorkSamples:
    nothing = [0.0] * len(at_s)
    stamps = (nothing, nothing, nothing, nothing, nothing, nothing)
    return WorkSamples(at_s, latency_ms, *stamps, service_ms=service_ms or ())


def samples_of(setting: Setting, chance: random.Random, slowness: float, due_seed: int) -> Samples:
    weather = Weather(chance, setting.noise, slowness)
    pings = [at / PINGS for at in range(int(WINDOW_S * PINGS))]
    probe = ProbeSamples(pings, [weather.around(LATENCY_MS / 2, at) for at in pings])
    if setting.kind is LoadKind.CLOSED:
        return Samples(WINDOW_S, closed_work(weather), probe)
    work, carried = open_work(weather, setting.rate, due_seed)
    return Samples(WINDOW_S, work, probe, carried_s=carried)


def trial_of(setting: Setting, backend: BackendName, block: int, samples: Samples, *, twin: bool) -> Trial:
    return replace(
        judged_trials.trial_of(backend, block, samples),
        load=setting.load,
        throughput_rps=len(samples.done_s) / WINDOW_S,
        generator=GENERATOR,
        samples=f"latency/primes-{backend}-{block}{'-twin' if twin else ''}.csv.gz",
        twin=twin,
    )


def compare(setting: Setting, seed: int, slowness: Mapping[BackendName, float] | None = None) -> Verdict:
    """Judge one comparison: three backends and asyncio's twin in each block; ``slowness`` multiplies a backend's latencies."""
    chance, trials, samples = random.Random(seed), [], {}
    for block in range(BLOCKS[seed % len(BLOCKS)]):
        for backend, twin in ((ASYNCIO, False), (ASYNCIO, True), (THREADS, False), (PROCESSES, False)):
            drawn = samples_of(setting, chance, (slowness or {}).get(backend, 1.0), seed * 100 + block)
            trial = trial_of(setting, backend, block, drawn, twin=twin)
            trials.append(trial)
            samples[trial.samples or ""] = drawn
    return judge(TARGET, trials, samples, seed=seed)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 100)


@pytest.mark.parametrize("kind", list(LoadKind))
@pytest.mark.parametrize("noise", [0.1, 0.2])
def test_of_equal_backends_one_wins_at_most_once_in_twenty(kind: LoadKind, noise: float) -> None:
    verdicts = [compare(Setting(kind, noise), seed) for seed in range(ATTEMPTS)]
    assert {verdict.noise.pairs for verdict in verdicts if verdict.noise} == set(BLOCKS)
    false = [verdict.reason for verdict in verdicts if verdict.winner is not None]
    assert len(false) <= 1, false


@pytest.mark.parametrize("kind", list(LoadKind))
def test_one_that_is_twice_as_fast_is_found(kind: LoadKind) -> None:
    # Enough requests for a p99 that is not rough: over three blocks, some 2,000 per backend.
    setting = Setting(kind, noise=0.1, rate=220.0)
    winners = [compare(setting, seed, {PROCESSES: 0.5}).winner for seed in range(ATTEMPTS)]
    assert winners.count(PROCESSES) >= 18
    assert set(winners) <= {PROCESSES, None}
