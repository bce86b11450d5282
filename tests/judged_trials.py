"""Trials to judge, with made-up samples."""

from __future__ import annotations

import random

from factories import LOAD

from gilscope.model import BackendName, ProbeSamples, Samples, Target, Trial, WorkSamples

TARGET = Target("primes", "primes")
WINDOW_S = 3.0


def samples_of(rps: float, ping_ms: float, spread: float = 0.0, seed: int = 0) -> Samples:
    """Make ``rps`` answers a second and 50 pings a second; a hundredth of ``spread`` is their random share."""
    chance = random.Random(seed)
    count = round(rps * WINDOW_S)

    def around(value: float) -> float:
        return value * chance.lognormvariate(0, spread)

    done_s = [index * WINDOW_S / count for index in range(count)]
    latency_ms = [around(8e3 / rps) for _ in done_s]
    due_s = [index / 50 for index in range(int(WINDOW_S * 50))]
    work = WorkSamples(done_s, latency_ms, *[[0.0] * count] * 6)
    return Samples(WINDOW_S, work, ProbeSamples(due_s, [around(ping_ms) for _ in due_s]))


def trial_of(backend: BackendName, block: int, samples: Samples) -> Trial:
    """Make a valid trial of these samples."""
    return Trial(
        workload="primes",
        backend=backend,
        block=block,
        python="3.14.0",
        load=LOAD,
        requests=len(samples.work.at_s),
        errors=0,
        throughput_rps=len(samples.work.at_s) / WINDOW_S,
        latency_ms=None,
        probe_latency_ms=None,
        anatomy_ms=None,
        gil_wait_share=None,
        cpu_cores=None,
        memory_mb=None,
        probes_due=0,
        probes_answered=0,
        generator=None,
        samples=f"latency/{backend}-{block}.csv.gz",
    )
