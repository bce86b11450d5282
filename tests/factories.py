"""Synthetic evidence: a run as one would look, made up from a seed, without starting anything.

Three backends, three blocks, four workloads. ``primes``: asyncio and threads alike, processes ahead, and
neighbours that feel 90, 80 and 4 ms. ``http_fetch``: asyncio and threads tie, and one trial is invalid.
``sha256``: threads ahead, and one trial failed in part. ``json_roundtrip``: processes excluded.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gilscope.model import (
    Anatomy,
    BackendName,
    Caution,
    Evidence,
    Flame,
    FlameKind,
    GeneratorLoad,
    GilWaitShare,
    Interval,
    Load,
    LoadKind,
    Machine,
    Plan,
    ProbeSamples,
    Run,
    Samples,
    Target,
    Timing,
    Trial,
    Verdict,
    WorkSamples,
)
from gilscope.quantiles import quantile, summarize_latency, summarize_probe

ASYNCIO, THREADS, PROCESSES = BackendName.ASYNCIO, BackendName.THREADS, BackendName.PROCESSES
BACKENDS = (ASYNCIO, THREADS, PROCESSES)
BLOCKS = 3
WINDOW_S = 4.0
USERS = 20
PROBE_RATE = 50.0

LOAD = Load(LoadKind.CLOSED, USERS, None, WINDOW_S, 1.0, PROBE_RATE)

TRACEBACK = """Traceback (most recent call last):
  File "service/handlers.py", line 41, in work
    result = await backend.run(function, arguments)
ValueError: unexpected <script>alert("1 & 2")</script> in <b>payload</b>"""

EXCLUSION = "its result does not pickle: cannot pickle '<io.BytesIO>' object"


@dataclass(frozen=True)
class Shape:
    """How a workload behaves on a backend: throughput, spread of latency, and the mean request (ms)."""

    rps: float
    sigma: float
    ping_p50: float
    ping_p99: float
    stages: Anatomy
    cores: float
    gil: tuple[float, float] | None = None


def _stages(
    outside: float,
    queue: float,
    cpu: float,
    back: float,
    waits: tuple[float, float, float] | None = None,
    off_cpu: float = 0.0,
) -> Anatomy:
    run = cpu + (sum(waits) if waits else off_cpu)
    gil_wait, runqueue, blocked = waits or (None, None, None)
    return Anatomy(outside, queue, run, cpu, back, gil_wait, runqueue, blocked)


SHAPES: Mapping[str, Mapping[BackendName, Shape]] = {
    "http_fetch": {
        ASYNCIO: Shape(612, 0.16, 1.1, 5.2, _stages(8.2, 0.02, 1.4, 0.05, off_cpu=23.0), 0.71),
        THREADS: Shape(
            604, 0.19, 1.4, 7.4, _stages(8.6, 1.7, 1.5, 0.8, (1.2, 0.5, 18.8)), 0.74, (0.05, 0.07)
        ),
        PROCESSES: Shape(431, 0.24, 1.6, 9.1, _stages(14.1, 9.2, 1.7, 1.1, off_cpu=20.3), 1.12),
    },
    "primes": {
        ASYNCIO: Shape(151, 0.05, 61.0, 90.0, _stages(125.6, 0.02, 6.6, 0.03), 0.99, (0.0, 0.0)),
        THREADS: Shape(
            149, 0.42, 31.0, 80.0, _stages(38.2, 12.1, 6.5, 5.3, (68.7, 1.9, 0.5)), 1.0, (0.41, 0.86)
        ),
        PROCESSES: Shape(287, 0.18, 0.9, 4.0, _stages(2.3, 59.8, 6.4, 0.5, off_cpu=0.7), 1.91),
    },
    "sha256": {
        ASYNCIO: Shape(118, 0.05, 88.0, 141.0, _stages(160.4, 0.02, 8.4, 0.03), 0.99, (0.0, 0.0)),
        THREADS: Shape(
            226, 0.21, 1.2, 6.1, _stages(4.6, 66.8, 8.5, 0.7, (0.6, 7.1, 0.2)), 1.92, (0.01, 0.01)
        ),
        PROCESSES: Shape(219, 0.22, 1.1, 5.6, _stages(3.9, 77.5, 8.5, 0.6, off_cpu=0.8), 1.93),
    },
    "json_roundtrip": {
        ASYNCIO: Shape(96, 0.06, 96.0, 152.0, _stages(197.6, 0.02, 10.4, 0.03), 0.99, (0.0, 0.0)),
        THREADS: Shape(
            88, 0.5, 74.0, 264.0, _stages(81.0, 19.2, 10.3, 13.1, (101.4, 2.1, 0.4)), 1.0, (0.63, 0.88)
        ),
    },
}

REASONS = {
    "http_fetch": "asyncio and threads answer 612 and 604 requests per second: their 95 % intervals overlap, and so do their p99.",
    "primes": "processes answer 287 requests per second, 1.90 times (1.86 to 1.95) what asyncio does, and /ping p99 falls from 90.0 to 4.00 ms.",
    "sha256": "threads answer 226 requests per second, 1.92 times (1.87 to 1.96) what asyncio does: sha256 releases the GIL.",
    "json_roundtrip": "asyncio answers 96.0 requests per second, threads 88.0: a thread cannot overlap what holds the GIL throughout.",
}

GENERATOR_GUILTY = Caution(
    "generator-cpu",
    "the load generator used 83 % of a core, so its own queueing poses as latency",
    "use fewer users, or run Locust on another machine",
)
SHARED_CORES = Caution(
    "shared-cores",
    "service and generator shared 2 cores",
    "pin them to different cores, or read only the ratios",
)


def make_samples(shape: Shape, seed: int) -> Samples:
    """Draw raw latencies that have this shape: log-normal around the mean request."""
    chance = random.Random(seed)
    total = _total(shape.stages)
    latencies = [
        total * chance.lognormvariate(-(shape.sigma**2) / 2, shape.sigma) for _ in range(_requests(shape))
    ]
    parts = shape.stages
    work = WorkSamples(
        done_s=[at * WINDOW_S / len(latencies) for at in range(len(latencies))],
        latency_ms=latencies,
        queue_ms=[value * parts.queue / total for value in latencies],
        run_ms=[value * parts.run / total for value in latencies],
        cpu_ms=[value * parts.cpu / total for value in latencies],
        suspended_ms=[0.0] * len(latencies),
        return_ms=[value * parts.return_ / total for value in latencies],
        total_ms=[value * (total - parts.outside) / total for value in latencies],
    )
    return Samples(WINDOW_S, work, _pings(shape, chance))


def _pings(shape: Shape, chance: random.Random) -> ProbeSamples:
    """Spread the pings so that half of them are at ping_p50 or below, and all but one in 200 at ping_p99."""
    count = int(WINDOW_S * PROBE_RATE)
    rise = shape.ping_p99 / shape.ping_p50
    low = [shape.ping_p50 * chance.uniform(0.7, 1.0) for _ in range(count // 2 - 1)]
    high = [shape.ping_p50 * rise ** (chance.random() ** 3) for _ in range(count // 2 - 3)]
    latencies = [
        *low,
        shape.ping_p50,
        *high,
        *(shape.ping_p99,) * 2,
        shape.ping_p99 * chance.uniform(1.1, 1.5),
    ]
    chance.shuffle(latencies)
    return ProbeSamples([at / PROBE_RATE for at in range(count)], latencies)


def _total(stages: Anatomy) -> float:
    return stages.outside + stages.queue + stages.run + stages.return_


def _requests(shape: Shape) -> int:
    return round(shape.rps * WINDOW_S)


def make_trial(workload: str, backend: BackendName, block: int, samples: Samples) -> Trial:
    """Make a trial whose figures follow from its samples."""
    shape = SHAPES[workload][backend]
    return Trial(
        workload=workload,
        backend=backend,
        block=block,
        python="3.14.0",
        load=LOAD,
        requests=len(samples.work.latency_ms),
        errors=0,
        throughput_rps=shape.rps * (0.985, 1.004, 1.011)[(block - 1) % 3],
        latency_ms=summarize_latency(samples.work.latency_ms),
        probe_latency_ms=summarize_probe(samples.probe.latency_ms),
        anatomy_ms=shape.stages,
        gil_wait_share=GilWaitShare(*shape.gil) if shape.gil else None,
        cpu_cores=shape.cores,
        memory_mb=148.4 if backend is PROCESSES else 51.2,
        probes_due=len(samples.probe.due_s),
        probes_answered=len(samples.probe.latency_ms),
        generator=GeneratorLoad(0.21, 0.01, 0.8),
        samples=f"latency/{workload}-{backend}-{block}.json",
        warnings=(SHARED_CORES,) if backend is PROCESSES else (),
    )


def make_verdict(workload: str, p99s: Mapping[BackendName, float]) -> Verdict:
    """Make the verdict that goes with the shapes: three winners and a tie."""
    shapes = SHAPES[workload]
    base = shapes[ASYNCIO]
    tied = workload == "http_fetch"
    winner = {"primes": PROCESSES, "sha256": THREADS, "json_roundtrip": ASYNCIO}.get(workload)
    return Verdict(
        workload=workload,
        winner=winner,
        recommended=winner or ASYNCIO,
        ties=(ASYNCIO, THREADS) if tied else (),
        conclusive=not tied,
        reason=REASONS[workload],
        caveats=("processes cost 148 MB, three times the memory of the others",)
        if workload == "primes"
        else (),
        throughput_rps={backend: around(shape.rps) for backend, shape in shapes.items()},
        p99_ms={backend: around(p99, 0.06) for backend, p99 in p99s.items()},
        probe_p99_ms={backend: around(shape.ping_p99, 0.11) for backend, shape in shapes.items()},
        throughput_ratio={backend: _against(shape.rps, base.rps) for backend, shape in shapes.items()},
        p99_ratio={backend: _against(p99, p99s[ASYNCIO]) for backend, p99 in p99s.items()},
        probe_p99_ratio={
            backend: _against(shape.ping_p99, base.ping_p99) for backend, shape in shapes.items()
        },
    )


def around(mid: float, room: float = 0.022) -> Interval:
    """Make an interval of plus and minus a share of its middle."""
    return Interval(mid * (1 - room), mid, mid * (1 + room))


def _against(value: float, base: float) -> Interval:
    return Interval(1.0, 1.0, 1.0) if value == base else around(value / base, 0.024)


def make_flames() -> tuple[Flame, ...]:
    """Make what two captures per backend leave: who held the GIL, and all threads."""
    return tuple(
        Flame(
            workload=workload,
            backend=backend,
            kind=kind,
            path=f"flames/{workload}-{backend}.{kind}",
            source="py-spy 0.4.3",
            rate_hz=100,
            seconds=2.0,
            samples=1204 if kind is FlameKind.WALL else 187,
            lost=3,
            notes=("native frames are not shown",) if kind is FlameKind.WALL else (),
        )
        for workload, shapes in SHAPES.items()
        for backend in shapes
        for kind in (FlameKind.HOLDING, FlameKind.WALL)
    )


def make_plan() -> Plan:
    """Make the plan of the demo set."""
    arguments: Mapping[str, Mapping[str, object]] = {"primes": {"n": 8000}}
    return Plan(
        targets=tuple(
            Target(
                workload,
                workload,
                arguments.get(workload, {}),
                {} if PROCESSES in shapes else {PROCESSES: EXCLUSION},
            )
            for workload, shapes in SHAPES.items()
        ),
        backends=BACKENDS,
        load=LOAD,
        blocks=BLOCKS,
        seed=7,
        pool_size=None,
        profile_seconds=2.0,
        python="3.14.0",
    )


MACHINE = Machine("Linux 6.1", "Example CPU @ 2.40GHz", 2, 7951, "CPython 3.14.0", "forkserver")


@functools.cache
def make_evidence() -> Evidence:
    """Make a complete run: 33 trials, one of them invalid, one with errors; flames and verdicts for all."""
    samples: dict[str, Samples] = {}
    trials: list[Trial] = []
    for block in range(1, BLOCKS + 1):
        for workload, shapes in SHAPES.items():
            for backend, shape in shapes.items():
                drawn = make_samples(shape, seed=len(trials))
                trial = _spoilt(make_trial(workload, backend, block, drawn))
                samples[trial.samples or ""] = drawn
                trials.append(trial)
    run = Run(
        gilscope="0.1.0",
        name="demo",
        started_at="2025-11-22T16:04:00+00:00",
        machine=MACHINE,
        plan=make_plan(),
        trials=tuple(trials),
        flames=make_flames(),
        verdicts=tuple(make_verdict(workload, _p99s(workload, trials, samples)) for workload in SHAPES),
        timing=Timing(total_s=281.0, load_s=165.0, profiling_s=44.0),
        complete=True,
    )
    return Evidence(run, samples)


def _p99s(workload: str, trials: list[Trial], samples: Mapping[str, Samples]) -> dict[BackendName, float]:
    pooled: dict[BackendName, list[float]] = {}
    for trial in trials:
        if trial.workload == workload and trial.valid:
            pooled.setdefault(trial.backend, []).extend(samples[trial.samples or ""].work.latency_ms)
    return {backend: quantile(sorted(values), 0.99) for backend, values in pooled.items()}


def _spoilt(trial: Trial) -> Trial:
    """Spoil two trials: one lost to its generator, one that failed in part."""
    if (trial.workload, trial.backend, trial.block) == ("http_fetch", THREADS, 3):
        return replace(trial, valid=False, warnings=(GENERATOR_GUILTY,))
    if (trial.workload, trial.backend, trial.block) == ("sha256", THREADS, 2):
        return replace(trial, errors=37, first_error=TRACEBACK)
    return trial


def make_graphs(evidence: Evidence) -> dict[str, str]:
    """Make a stand-in flame graph for every capture."""
    return {
        flame.path: f'<svg class="flame" viewBox="0 0 100 20"><title>{flame.path}</title><rect width="100" height="20"/></svg>'
        for flame in evidence.run.flames
    }


def without_flames(evidence: Evidence) -> Evidence:
    """Make the same run as if no profiles had been asked for."""
    plan = replace(evidence.run.plan, profile_seconds=0.0)
    return replace(evidence, run=replace(evidence.run, plan=plan, flames=()))


def interrupted(evidence: Evidence, trials: int = 5) -> Evidence:
    """Make the same run as if it had ended after a few trials, without verdicts."""
    run = replace(evidence.run, trials=evidence.run.trials[:trials], flames=(), verdicts=(), complete=False)
    return replace(evidence, run=run)


def silenced(evidence: Evidence, workload: str, backend: BackendName) -> Evidence:
    """Make the same run as if a backend had answered every request of a workload with an error."""
    trials = tuple(
        _silent(trial) if (trial.workload, trial.backend) == (workload, backend) else trial
        for trial in evidence.run.trials
    )
    silent = {trial.samples for trial in trials if not trial.requests}
    kept = {name: samples for name, samples in evidence.samples.items() if name not in silent}
    verdicts = tuple(
        _silent_verdict(verdict, backend) if verdict.workload == workload else verdict
        for verdict in evidence.run.verdicts
    )
    return replace(evidence, run=replace(evidence.run, trials=trials, verdicts=verdicts), samples=kept)


def _silent_verdict(verdict: Verdict, silent: BackendName) -> Verdict:
    """Take the figures of a backend that gave no answers out of a verdict; its throughput is zero."""
    nothing = {silent: Interval(0.0, 0.0, 0.0)}

    def others(figures: Mapping[BackendName, Interval]) -> dict[BackendName, Interval]:
        return {backend: interval for backend, interval in figures.items() if backend is not silent}

    return replace(
        verdict,
        throughput_rps={**verdict.throughput_rps, **nothing},
        throughput_ratio={**verdict.throughput_ratio, **nothing},
        p99_ms=others(verdict.p99_ms),
        p99_ratio=others(verdict.p99_ratio),
        probe_p99_ms=others(verdict.probe_p99_ms),
        probe_p99_ratio=others(verdict.probe_p99_ratio),
    )


def _silent(trial: Trial) -> Trial:
    return replace(
        trial,
        requests=0,
        errors=trial.requests,
        throughput_rps=0.0,
        latency_ms=None,
        probe_latency_ms=None,
        anatomy_ms=None,
        gil_wait_share=None,
        probes_answered=0,
        first_error=TRACEBACK,
    )


def without_samples(evidence: Evidence) -> Evidence:
    """Make the same run as if its raw samples had not been kept."""
    return replace(evidence, samples={})
