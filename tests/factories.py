"""Synthetic evidence: a run as one would look, made up from a seed, without starting anything.

Three backends, three blocks, four workloads. ``primes``: asyncio and threads alike, processes ahead, and
neighbours that feel 90, 80 and 4 ms. ``http_fetch``: asyncio and threads tie, and one trial is invalid.
``sha256``: threads ahead, and one trial failed in part. ``json_roundtrip``: processes excluded. A lens watched all
of it: on threads, ``primes`` and ``json_roundtrip`` mostly wait for the GIL, and so does the event loop.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice, product

from gilscope.model import (
    Anatomy,
    BackendName,
    Caution,
    Classification,
    Evidence,
    Flame,
    FlameKind,
    Folded,
    GeneratorLoad,
    GilClass,
    GilWaitShare,
    Interval,
    LensReading,
    Load,
    LoadKind,
    Machine,
    Plan,
    ProbeSamples,
    Run,
    Samples,
    Stack,
    StateSeconds,
    Target,
    ThreadRole,
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
LOOKS_PER_SECOND = 196

LOAD = Load(LoadKind.CLOSED, USERS, None, WINDOW_S, 1.0, PROBE_RATE)

TRACEBACK = """Traceback (most recent call last):
  File "service/handlers.py", line 41, in work
    result = await backend.run(function, arguments)
ValueError: unexpected <script>alert("1 & 2")</script> in <b>payload</b>"""

EXCLUSION = "its result does not pickle: cannot pickle '<io.BytesIO>' object"


@dataclass(frozen=True)
class Shape:
    """How a workload behaves on a backend: throughput, spread of latency, and the mean request (ms).

    ``loop`` is the share of time that the loop's thread spent on a core, in the run queue and waiting for the GIL,
    ``held`` that in which the loop and all workers together held it; ``workers`` counts the pool's threads.
    """

    rps: float
    sigma: float
    ping_p50: float
    ping_p99: float
    stages: Anatomy
    cores: float
    loop: tuple[float, float, float]
    held: tuple[float, float]
    workers: int = 0


def _stages(outside: float, queue: float, cpu: float, back: float, off: tuple[float, ...]) -> Anatomy:
    """Make an anatomy; ``off`` has GIL wait, run queue, blocked, and what nothing explains."""
    gil_wait, runqueue, blocked, unexplained = off
    run = cpu + gil_wait + runqueue + blocked + unexplained
    return Anatomy(outside, queue, run, cpu, back, gil_wait, runqueue, blocked)


SHAPES: Mapping[str, Mapping[BackendName, Shape]] = {
    "http_fetch": {
        ASYNCIO: Shape(
            612, 0.16, 1.1, 5.2, _stages(8.2, 0.02, 0.7, 0.05, (0.0, 0.9, 22.7, 0.1)), 0.71, (0.69, 0.07, 0.0), (0.68, 0.0)
        ),
        THREADS: Shape(
            604, 0.19, 1.4, 7.4, _stages(8.6, 3.9, 0.6, 0.8, (1.2, 0.5, 16.7, 0.8)), 0.74, (0.55, 0.06, 0.05), (0.53, 0.28), 12
        ),
        PROCESSES: Shape(
            97, 0.12, 1.3, 6.1, _stages(2.6, 182.0, 0.5, 0.7, (0.0, 0.2, 19.6, 0.2)), 0.22, (0.14, 0.02, 0.01), (0.13, 0.09), 2
        ),
    },
    "primes": {
        ASYNCIO: Shape(
            151, 0.05, 61.0, 90.0, _stages(125.6, 0.02, 6.5, 0.03, (0.0, 0.1, 0.0, 0.0)), 0.99, (0.98, 0.01, 0.0), (0.99, 0.0)
        ),
        THREADS: Shape(
            149, 0.42, 31.0, 80.0, _stages(38.2, 12.1, 6.5, 5.3, (66.3, 1.9, 0.5, 2.4)), 1.0, (0.06, 0.03, 0.62), (0.05, 0.94), 12
        ),
        PROCESSES: Shape(
            287, 0.18, 0.9, 4.0, _stages(2.3, 59.8, 6.4, 0.5, (0.0, 0.4, 0.2, 0.1)), 1.91, (0.11, 0.06, 0.01), (0.11, 1.86), 2
        ),
    },
    "sha256": {
        ASYNCIO: Shape(
            118, 0.05, 88.0, 141.0, _stages(160.4, 0.02, 8.3, 0.03, (0.0, 0.1, 0.0, 0.0)), 0.99, (0.98, 0.01, 0.0), (0.03, 0.0)
        ),
        THREADS: Shape(
            226, 0.21, 1.2, 6.1, _stages(4.6, 29.4, 8.5, 0.7, (0.6, 43.1, 0.4, 0.2)), 1.92, (0.09, 0.21, 0.01), (0.08, 0.04), 12
        ),
        PROCESSES: Shape(
            219, 0.22, 1.1, 5.6, _stages(3.9, 77.5, 8.5, 0.6, (0.0, 0.5, 0.2, 0.1)), 1.93, (0.09, 0.12, 0.01), (0.09, 0.06), 2
        ),
    },
    "json_roundtrip": {
        ASYNCIO: Shape(
            96, 0.06, 96.0, 152.0, _stages(197.6, 0.02, 10.3, 0.03, (0.0, 0.1, 0.0, 0.0)), 0.99, (0.98, 0.01, 0.0), (0.99, 0.0)
        ),
        THREADS: Shape(
            88, 0.5, 74.0, 264.0, _stages(81.0, 19.2, 10.3, 13.1, (104.1, 2.1, 1.4, -3.7)), 1.0, (0.05, 0.02, 0.71), (0.04, 0.95), 12
        ),
    },
}  # fmt: skip
"""On threads the parts of ``json_roundtrip`` were measured 3.7 ms longer than the function."""

REASONS = {
    "http_fetch": "no difference shown between asyncio, threads: threads has 0.99x (95 % interval 0.96 to 1.01) the throughput of asyncio. asyncio is the simplest",
    "primes": "287 requests/s, 1.90x (95 % interval 1.86 to 1.95) asyncio; /ping p99 4.00 ms against 90.0 ms on asyncio. On threads, of 133 ms a request waited 66.3 ms for the GIL inside the function, and the event loop waited for it 62 % of the time",
    "sha256": "226 requests/s, 1.92x (95 % interval 1.87 to 1.96) asyncio; /ping p99 6.10 ms against 141 ms on asyncio. On threads, the function hardly waited for the GIL: 1.1 % of its time",
    "json_roundtrip": "96.0 requests/s, 1.09x (95 % interval 1.06 to 1.12) threads; /ping p99 152 ms against 264 ms on threads. On threads, of 227 ms a request waited 104 ms for the GIL inside the function, and the event loop waited for it 71 % of the time",
}

CLASSIFICATIONS: Mapping[str, Classification] = {
    found.target: found
    for found in (
        Classification(
            target="http_fetch",
            gil_class=GilClass.RELEASES,
            held_share=0.03,
            longest_hold_ms=0.21,
            cpu_share=0.03,
            call_ms=20.6,
            can_release=None,
            pickles=True,
            subinterpreter_safe=None,
            enables_gil=None,
            reasons=("another thread could run through 97 % of the call",),
        ),
        Classification(
            target="primes",
            gil_class=GilClass.PREEMPTIBLE,
            held_share=0.98,
            longest_hold_ms=5.1,
            cpu_share=0.99,
            call_ms=6.48,
            can_release=False,
            pickles=True,
            subinterpreter_safe=True,
            enables_gil=None,
            reasons=(
                "another thread had to ask for the GIL each time, and got it after 5 ms",
                "all of it is Python code",
            ),
        ),
        Classification(
            target="sha256",
            gil_class=GilClass.RELEASES,
            held_share=0.02,
            longest_hold_ms=0.14,
            cpu_share=0.99,
            call_ms=8.41,
            can_release=True,
            pickles=True,
            subinterpreter_safe=True,
            enables_gil=None,
            reasons=("another thread could run through 98 % of the call, which was on a core throughout",),
        ),
        Classification(
            target="json_roundtrip",
            gil_class=GilClass.BLOCKING,
            held_share=1.0,
            longest_hold_ms=10.2,
            cpu_share=0.99,
            call_ms=10.3,
            can_release=False,
            pickles=False,
            subinterpreter_safe=True,
            enables_gil=None,
            reasons=("no other thread ran for 10.2 ms, twice the switch interval",),
        ),
    )
}

NO_LENS = Caution(
    "no-lens",
    "waiting for the GIL could not be measured: reading /proc/4711/task/4711/syscall is not permitted",
    "run as the user who owns the service, or set kernel.yama.ptrace_scope to 1 or lower",
)
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
        at_s=[at * WINDOW_S / len(latencies) for at in range(len(latencies))],
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
    reading = make_reading(shape)
    return Trial(
        workload=workload,
        backend=backend,
        block=block,
        python="3.14.0",
        load=LOAD,
        requests=len(samples.work.latency_ms),
        errors=0,
        throughput_rps=shape.rps * (0.985, 1.004, 1.011)[block % 3],
        latency_ms=summarize_latency(samples.work.latency_ms),
        probe_latency_ms=summarize_probe(samples.probe.latency_ms),
        anatomy_ms=shape.stages,
        gil_wait_share=share_of(reading),
        cpu_cores=shape.cores,
        memory_mb=148.4 if backend is PROCESSES else 51.2,
        probes_due=len(samples.probe.due_s),
        probes_answered=len(samples.probe.latency_ms),
        generator=GeneratorLoad(0.21, 0.01, 0.8),
        samples=f"latency/{workload}-{backend}-{block}.json",
        warnings=(SHARED_CORES,) if backend is PROCESSES else (),
        lens=reading,
    )


def make_reading(shape: Shape) -> LensReading:
    """Make what the lens would see: the loop as its shape says, the workers as their requests do."""
    loop, workers = WINDOW_S, shape.workers * WINDOW_S
    on_cpu, runqueue, gil_wait = (share * loop for share in shape.loop)
    roles = {
        ThreadRole.LOOP: StateSeconds(
            on_cpu, runqueue, gil_wait, loop - on_cpu - runqueue - gil_wait, shape.held[0] * WINDOW_S
        )
    }
    if workers:
        parts = shape.stages
        on_cpu, runqueue, gil_wait = (
            (part or 0.0) * _requests(shape) / 1000 for part in (parts.cpu, parts.runqueue, parts.gil_wait)
        )
        idle = workers - on_cpu - runqueue - gil_wait
        roles[ThreadRole.WORKER] = StateSeconds(on_cpu, runqueue, gil_wait, idle, shape.held[1] * WINDOW_S)
    return LensReading(WINDOW_S, round(LOOKS_PER_SECOND * WINDOW_S), roles, cpu_share=0.024)


def share_of(reading: LensReading) -> GilWaitShare:
    """Take the shares of time spent waiting for the GIL out of a reading."""
    worker = reading.roles.get(ThreadRole.WORKER)
    return GilWaitShare(
        reading.roles[ThreadRole.LOOP].gil_wait_share, worker.gil_wait_share if worker else None
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


NATIVE_NOTE = "stacks are taken with C frames, and the process is paused for each"
SEEN: Mapping[FlameKind, Mapping[BackendName, int]] = {
    FlameKind.HOLDING: {ASYNCIO: 196, THREADS: 187, PROCESSES: 372},
    FlameKind.WAITING: {ASYNCIO: 0, THREADS: 96, PROCESSES: 2},
    FlameKind.WALL: {ASYNCIO: 50, THREADS: 640, PROCESSES: 150},
}
"""How many stacks a capture of two seconds has: on asyncio there is nobody to wait for."""


def make_flames() -> tuple[Flame, ...]:
    """Make what a capture per backend leaves: who held the GIL, who waited for it, and all threads."""
    return tuple(
        make_flame(workload, backend, kind)
        for workload, shapes in SHAPES.items()
        for backend in shapes
        for kind in FlameKind
    )


def make_flame(workload: str, backend: BackendName, kind: FlameKind) -> Flame:
    """Make one graph of a trial, with every field filled that its kind has."""
    rate_hz, samples = 100 if kind is FlameKind.HOLDING else 25, SEEN[kind][backend]
    threads = 1 + SHAPES[workload][backend].workers
    share = None if kind is FlameKind.WALL else samples / rate_hz / 2.0 / threads
    return Flame(
        workload=workload,
        backend=backend,
        kind=kind,
        path=f"flames/{workload}-{backend}.{kind}",
        source="py-spy 0.4.3",
        rate_hz=rate_hz,
        seconds=2.0,
        samples=samples,
        lost=3,
        notes=(NATIVE_NOTE,) if kind is FlameKind.WAITING else (),
        pause_share=0.14,
        requests=round(2.0 * SHAPES[workload][backend].rps),
        share=share,
        lens_share=share if kind is FlameKind.WAITING else None,
    )


LOOP_FRAMES = ("run_forever (asyncio/base_events.py:593)", "_run_once (asyncio/base_events.py:1845)")
WORKER_FRAMES = ("_bootstrap (threading.py:1014)", "_worker (concurrent/futures/thread.py:90)")


def make_stacks(flame: Flame) -> Folded:
    """Make the stacks of a graph, as heavy as it says: work in a worker, or on the loop where there is none."""
    carrier = LOOP_FRAMES if flame.backend is ASYNCIO else WORKER_FRAMES
    work = f"{flame.workload} (gilscope/workloads/{flame.workload}.py:4)"
    parts = {
        (*carrier, "execute (gilscope/backends/execution.py:21)", work): 0.6,
        (*carrier, "execute (gilscope/backends/execution.py:21)", work, "sorted (statistics.py:31)"): 0.1,
        (*LOOP_FRAMES, "write (asyncio/selector_events.py:1037)"): 0.2,
        (*LOOP_FRAMES, "loads (json/__init__.py:299)"): 0.1,
    }
    seconds = flame.samples / flame.rate_hz
    return {stack: share * seconds for stack, share in parts.items() if seconds}


def with_stacks(evidence: Evidence) -> Evidence:
    """Make the same run with the stacks of all its graphs."""
    return replace(evidence, stacks={flame.path: make_stacks(flame) for flame in evidence.run.flames})


def make_many_stacks(count: int) -> dict[Stack, float]:
    """Make distinct stacks of twelve frames that branch at nearly every frame."""
    paths = islice(product(range(3), repeat=11), count)
    return {
        tuple(f"f{depth}_{at} (app/part_{at}.py:{depth + 1})" for depth, at in enumerate((*path, 0))): 0.01
        for path in paths
    }


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
                CLASSIFICATIONS[workload],
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
    for block in range(BLOCKS):
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
    if (trial.workload, trial.backend, trial.block) == ("http_fetch", THREADS, 2):
        return replace(trial, valid=False, warnings=(GENERATOR_GUILTY,))
    if (trial.workload, trial.backend, trial.block) == ("sha256", THREADS, 1):
        return replace(trial, errors=37, first_error=TRACEBACK)
    return trial


def make_graphs(evidence: Evidence) -> dict[str, str]:
    """Make a stand-in flame graph for every capture that saw anybody."""
    return {
        flame.path: f'<svg class="flame" viewBox="0 0 100 20"><title>{flame.path}</title><rect width="100" height="20"/></svg>'
        for flame in evidence.run.flames
        if flame.samples
    }


def without_flames(evidence: Evidence) -> Evidence:
    """Make the same run as if no profiles had been asked for."""
    plan = replace(evidence.run.plan, profile_seconds=0.0)
    return replace(evidence, run=replace(evidence.run, plan=plan, flames=()))


def interrupted(evidence: Evidence, trials: int = 5) -> Evidence:
    """Make the same run as if it had ended after a few trials, without verdicts."""
    run = replace(evidence.run, trials=evidence.run.trials[:trials], flames=(), verdicts=(), complete=False)
    return replace(evidence, run=run)


def without_lens(evidence: Evidence, *which: BackendName) -> Evidence:
    """Make the same run as if no lens had watched, on ``which`` backends or on any."""
    trials = tuple(
        _unwatched(trial) if trial.backend in (which or BACKENDS) else trial for trial in evidence.run.trials
    )
    return replace(evidence, run=replace(evidence.run, trials=trials))


def _unwatched(trial: Trial) -> Trial:
    assert trial.anatomy_ms is not None
    return replace(
        trial,
        anatomy_ms=replace(trial.anatomy_ms, gil_wait=None, runqueue=None, blocked=None),
        gil_wait_share=None,
        lens=None,
        warnings=(*trial.warnings, NO_LENS),
    )


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
        lens=None,
        probes_answered=0,
        first_error=TRACEBACK,
    )


def without_samples(evidence: Evidence) -> Evidence:
    """Make the same run as if its raw samples had not been kept."""
    return replace(evidence, samples={})
