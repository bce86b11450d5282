"""What the evidence says about one workload on one backend: samples pooled, blocks put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import NamedTuple

from gilscope.model import (
    Anatomy,
    BackendName,
    Evidence,
    GilWaitShare,
    Interval,
    Latency,
    LensReading,
    ProbeLatency,
    Run,
    StateSeconds,
    Target,
    ThreadRole,
    Trial,
    Verdict,
)
from gilscope.quantiles import SOUND_P99, summarize_latency, summarize_probe
from gilscope.report.charts import Rate
from gilscope.report.formats import many


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a workload on one backend.

    Figures come from the valid trials; ``work_ms`` and ``ping_ms`` are their raw samples, pooled and
    ascending. ``excluded`` is the reason why the backend was not tried. ``twins`` are its second trials of each block,
    which count for the noise floor alone.
    """

    backend: BackendName
    trials: tuple[Trial, ...]
    excluded: str | None
    work_ms: tuple[float, ...]
    ping_ms: tuple[float, ...]
    interval: Interval | None
    twins: tuple[Trial, ...] = ()

    @property
    def valid(self) -> tuple[Trial, ...]:
        """The trials whose figures may decide something."""
        return tuple(trial for trial in self.trials if trial.valid)

    @property
    def counted(self) -> tuple[Trial, ...]:
        """The trials whose requests are counted: the valid ones, or all where none is valid."""
        return self.valid or self.trials

    @property
    def requests(self) -> int:
        """Answers that succeeded."""
        return sum(trial.requests for trial in self.counted)

    @property
    def errors(self) -> int:
        """Answers that failed."""
        return sum(trial.errors for trial in self.counted)

    @property
    def rough(self) -> bool:
        """Whether fewer than :data:`SOUND_P99` samples lie behind the p99 of the work."""
        return (len(self.work_ms) or self.requests) < SOUND_P99

    @property
    def rough_ping(self) -> bool:
        """Whether fewer than :data:`SOUND_P99` samples lie behind the p99 of the probe."""
        return (len(self.ping_ms) or sum(trial.probes_answered for trial in self.counted)) < SOUND_P99


def collect(evidence: Evidence, workload: str) -> tuple[Facts, ...]:
    """Put together what is known of a workload, backend by backend, in the order of their enumeration."""
    run = evidence.run
    target = find_target(evidence, workload)
    verdict = find_verdict(evidence, workload)
    tried = {trial.backend for trial in run.trials if trial.workload == workload}
    known = tried | set(run.plan.backends) | set(target.excluded if target else ())
    return tuple(_facts(evidence, workload, name, target, verdict) for name in BackendName if name in known)


def find_target(evidence: Evidence, workload: str) -> Target | None:
    """Return what the plan says of a workload, if it is in the plan."""
    return next((target for target in evidence.run.plan.targets if target.workload == workload), None)


def find_verdict(evidence: Evidence, workload: str) -> Verdict | None:
    """Return the verdict on a workload, if there is one yet."""
    return next((verdict for verdict in evidence.run.verdicts if verdict.workload == workload), None)


def _facts(
    evidence: Evidence, workload: str, backend: BackendName, target: Target | None, verdict: Verdict | None
) -> Facts:
    own = [trial for trial in evidence.run.trials if (trial.workload, trial.backend) == (workload, backend)]
    trials = tuple(trial for trial in own if not trial.twin)
    kept = [
        evidence.samples[trial.samples]
        for trial in trials
        if trial.valid and trial.samples and trial.samples in evidence.samples
    ]
    return Facts(
        backend=backend,
        trials=trials,
        twins=tuple(trial for trial in own if trial.twin),
        excluded=target.excluded.get(backend) if target else None,
        work_ms=tuple(sorted(value for samples in kept for value in samples.latencies_ms)),
        ping_ms=tuple(sorted(value for samples in kept for value in samples.probe.latency_ms)),
        interval=verdict.throughput_rps.get(backend) if verdict else None,
    )


def latency(facts: Facts) -> Latency | None:
    """Summarize the pooled latencies; the medians of the blocks where no samples were kept."""
    blocks = [trial.latency_ms for trial in facts.valid if trial.latency_ms]
    if facts.work_ms or not blocks:
        return summarize_latency(facts.work_ms)
    p50, p90, p95, p99 = (
        median(getattr(block, name) for block in blocks) for name in ("p50", "p90", "p95", "p99")
    )
    return Latency(p50, p90, p95, p99, max(block.max for block in blocks))


def ping(facts: Facts) -> ProbeLatency | None:
    """Summarize the pooled probe; the medians of the blocks where no samples were kept."""
    blocks = [trial.probe_latency_ms for trial in facts.valid if trial.probe_latency_ms]
    if facts.ping_ms or not blocks:
        return summarize_probe(facts.ping_ms)
    p50, p99 = median(block.p50 for block in blocks), median(block.p99 for block in blocks)
    return ProbeLatency(p50, p99, max(block.max for block in blocks))


def rate(facts: Facts) -> Rate | None:
    """Return the throughput: the verdict's interval, or the mean of the blocks; None without a valid trial."""
    blocks = tuple(trial.throughput_rps for trial in facts.valid)
    if not blocks:
        return None
    return Rate(facts.interval.mid if facts.interval else fmean(blocks), facts.interval, blocks)


def anatomy(facts: Facts) -> Anatomy | None:
    """Average the anatomy over the valid trials, weighted by requests; None where none was measured.

    Where a lens watched some of the trials, the others are left out of it: the parts of the one would not add up
    to the mean of all.
    """
    rows = [
        (trial.anatomy_ms, trial.requests) for trial in facts.valid if trial.anatomy_ms and trial.requests
    ]
    watched = [(row, weight) for row, weight in rows if row.unexplained is not None]
    return average(watched or rows)


def average(rows: Sequence[tuple[Anatomy, int]]) -> Anatomy | None:
    """Average anatomies by weight; a part that not all of them have is unknown. None for no anatomy at all."""
    if not rows:
        return None

    def mean(part: str) -> float | None:
        values = [getattr(row, part) for row, _ in rows]
        return None if None in values else fmean(values, [weight for _, weight in rows])

    return Anatomy(
        outside=mean("outside") or 0.0,
        queue=mean("queue") or 0.0,
        run=mean("run") or 0.0,
        cpu=mean("cpu") or 0.0,
        return_=mean("return_") or 0.0,
        gil_wait=mean("gil_wait"),
        runqueue=mean("runqueue"),
        blocked=mean("blocked"),
    )


def with_gil(rows: Sequence[Facts]) -> bool:
    """Tell whether there was a GIL to wait for: yes, but where all trials that were asked say that there was none."""
    said = [trial.gil_enabled for facts in rows for trial in facts.trials if trial.gil_enabled is not None]
    return not said or any(said)


def seen(trial: Trial) -> LensReading | None:
    """Return what the lens saw of a trial. Without a GIL nobody waits for one: what looked like it was another sleep."""
    if trial.lens is None or trial.gil_enabled is not False:
        return trial.lens
    return replace(trial.lens, roles={role: _without_gil(spent) for role, spent in trial.lens.roles.items()})


def _without_gil(spent: StateSeconds) -> StateSeconds:
    return replace(spent, gil_wait_s=0.0, blocked_s=spent.blocked_s + spent.gil_wait_s, gil_held_s=None)


def lens(facts: Facts) -> LensReading | None:
    """Put together what the lens saw in the valid trials; None where none watched."""
    known = [reading for trial in facts.valid if (reading := seen(trial))]
    if not known:
        return None
    roles = [role for role in ThreadRole if any(role in reading.roles for reading in known)]
    seconds = [reading.seconds for reading in known]
    return LensReading(
        seconds=sum(seconds),
        cpu_share=fmean((reading.cpu_share for reading in known), seconds) if sum(seconds) else 0.0,
        samples=sum(reading.samples for reading in known),
        roles={
            role: _together([reading.roles[role] for reading in known if role in reading.roles])
            for role in roles
        },
    )


def _together(spans: Sequence[StateSeconds]) -> StateSeconds:
    held = [span.gil_held_s for span in spans if span.gil_held_s is not None]
    return StateSeconds(
        on_cpu_s=sum(span.on_cpu_s for span in spans),
        runqueue_s=sum(span.runqueue_s for span in spans),
        gil_wait_s=sum(span.gil_wait_s for span in spans),
        blocked_s=sum(span.blocked_s for span in spans),
        gil_held_s=sum(held) if len(held) == len(spans) else None,
    )


def gil_wait(facts: Facts) -> GilWaitShare | None:
    """Return the shares of time spent waiting for the GIL, over all that the lens watched.

    Where only the shares were kept, they are averaged. None where nothing measured them, or there was no GIL.
    """
    if not with_gil([facts]):
        return None
    if reading := lens(facts):
        return share_of(reading)
    known = [trial.gil_wait_share for trial in facts.valid if trial.gil_wait_share]
    if not known:
        return None
    workers = [share.worker for share in known if share.worker is not None]
    return GilWaitShare(fmean(share.loop for share in known), fmean(workers) if workers else None)


def share_of(reading: LensReading) -> GilWaitShare | None:
    """Return the shares of a reading; None where the lens did not see the event loop."""
    loop, worker = reading.roles.get(ThreadRole.LOOP), reading.roles.get(ThreadRole.WORKER)
    if loop is None:
        return None
    return GilWaitShare(loop.gil_wait_share, worker.gil_wait_share if worker and worker.wall_s else None)


class OffCpu(NamedTuple):
    """Shares of their time that threads were without a core, waiting or idle, 0 to 1; None where there was no such thread."""

    loop: float | None
    worker: float | None


def off_cpu(facts: Facts) -> OffCpu | None:
    """Return for how much of their time threads were off the CPU, over all that the lens watched; None where it did not."""
    reading = lens(facts)
    if reading is None:
        return None
    spent = (reading.roles.get(role) for role in (ThreadRole.LOOP, ThreadRole.WORKER))
    return OffCpu(*(one.off_cpu_share if one and one.wall_s else None for one in spent))


def mean_of(facts: Facts, figure: Callable[[Trial], float | None]) -> float | None:
    """Average a figure over the valid trials that have it."""
    known = [value for trial in facts.valid if (value := figure(trial)) is not None]
    return fmean(known) if known else None


def workloads(evidence: Evidence) -> tuple[str, ...]:
    """Return the run's workloads in the order of the plan."""
    run = evidence.run
    planned = [target.workload for target in run.plan.targets]
    return tuple(dict.fromkeys([*planned, *(trial.workload for trial in run.trials)]))


def how_far(run: Run) -> str:
    """Say how much of a partial run is there: ``5 of 33 trials are in``."""
    if run.plan.slo is not None:
        return f"{many(len(run.searched), 'trial')} of the search are in"
    done = sum(trial.attempt == 1 for trial in run.trials)
    return f"{done} of {many(planned_trials(Evidence(run)), 'trial')} are in"


def planned_trials(evidence: Evidence) -> int:
    """Return how many trials the plan asks for."""
    plan = evidence.run.plan
    tried = [
        (target, sum(backend not in target.excluded for backend in plan.backends)) for target in plan.targets
    ]
    return sum(count + (plan.pairs(target.workload) and count > 0) for target, count in tried) * plan.blocks
