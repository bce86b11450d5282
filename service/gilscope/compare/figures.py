"""From raw observations to a trial's figures. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import NamedTuple

from gilscope.compare.metering import Usage
from gilscope.compare.plan import Slot
from gilscope.histogram import Histogram
from gilscope.lens.readings import Window
from gilscope.load.judging import Seen, Senders, judge_flight, judge_gap, judge_generator, judge_machine
from gilscope.load.orders import Measured
from gilscope.model import (
    SPOILING,
    Anatomy,
    BackendName,
    Caution,
    GilWaitShare,
    Load,
    Plan,
    Samples,
    StateSeconds,
    ThreadRole,
    Trial,
    WorkSamples,
)
from gilscope.objective import parse_slo
from gilscope.quantiles import quantile, summarize_latency, summarize_probe

MAX_ERROR_SHARE = 0.01
"""More failed requests than this, and the slowest hundredth is theirs: there is no p99 of the work."""

MAX_FAILED_PINGS = 0.01
"""A failed ping has no latency: more of them than this, and they might be those that the p99 is about."""

SILENT = "no-requests"
FEW_REQUESTS = 30


def anatomy_of(work: WorkSamples, inside: StateSeconds | None, failures: int = 0) -> Anatomy | None:
    """Split the mean request; None where there was none.

    ``inside`` is how the service's threads spent their time inside the function, over all calls, those that failed
    included; None where no lens watched.
    """
    if not work.latency_ms:
        return None
    queue, run, back = fmean(work.queue_ms), fmean(work.run_ms), fmean(work.return_ms)
    stamped = Anatomy(
        outside=fmean(work.from_send_ms) - queue - run - back,
        queue=queue,
        run=run,
        cpu=fmean(work.cpu_ms),
        return_=back,
    )
    if inside is None:
        return stamped
    return _split(stamped, fmean(work.suspended_ms), inside, len(work.latency_ms) + failures)


def _split(stamped: Anatomy, suspended_ms: float, inside: StateSeconds, calls: int) -> Anatomy:
    """Add to the stamps what the lens saw of the threads inside the function, per call.

    The lens and the stamps are two clocks: where they disagree, and where the window cut calls off at its ends, a rest
    stays unexplained. How much of the time that a thread was ready it was on a core is known best from the stamps.
    """
    ready_ms = (inside.on_cpu_s + inside.runqueue_s) * 1e3 / calls
    return replace(
        stamped,
        gil_wait=inside.gil_wait_s * 1e3 / calls,
        runqueue=max(0.0, ready_ms - stamped.cpu),
        blocked=suspended_ms + inside.blocked_s * 1e3 / calls,
    )


def gil_wait_share(window: Window) -> GilWaitShare | None:
    """Return the shares of wall time spent waiting for the GIL; None where the loop was not seen."""
    loop, worker = window.roles.get(ThreadRole.LOOP), window.roles.get(ThreadRole.WORKER)
    if loop is None:
        return None
    return GilWaitShare(loop.all.gil_wait_share, worker.all.gil_wait_share if worker else None)


class RanOn(NamedTuple):
    """The Python of a trial's service, and whether it had a GIL; None where it was not asked."""

    python: str = ""
    gil_enabled: bool | None = None


def trial_of(
    slot: Slot,
    plan: Plan,
    measured: Measured,
    usage: Usage,
    window: Window | None,
    *,
    ran_on: RanOn,
    samples: str,
) -> Trial:
    """Put a trial together from what was measured; ``window`` is what the lens saw of it.

    A lenient plan counts it even if the generator or the machine spoilt it. Without a GIL nobody waits for one: what is
    left of a call beside its time on a core is not split then.
    """
    splits = window if ran_on.gil_enabled is not False else None
    samples_, tally = measured.samples, measured.tally
    inside = _within(splits, samples_.window_s) if splits else None
    work = samples_.work
    latency = summarize_latency(samples_.latencies_ms)
    invalid = list(_disqualifications(len(work.at_s), tally.errors))
    idle_share = _idle_share(window, slot.backend)
    guilt = list(_guilt(plan, measured, usage.steal_share, idle_share))
    return Trial(
        workload=slot.target.workload,
        backend=slot.backend,
        block=slot.block,
        python=ran_on.python,
        load=plan.load,
        requests=len(work.at_s),
        errors=tally.errors,
        throughput_rps=len(samples_.done_s) / samples_.window_s,
        latency_ms=latency,
        probe_latency_ms=summarize_probe(samples_.probe.latency_ms),
        anatomy_ms=anatomy_of(work, inside, tally.errors),
        gil_wait_share=gil_wait_share(splits) if splits else None,
        cpu_cores=usage.cpu_cores,
        memory_mb=usage.memory_mb,
        probes_due=tally.probes_due,
        probes_answered=tally.probes_answered,
        generator=tally.generator,
        samples=samples,
        first_error=tally.first_error,
        warnings=(*invalid, *guilt, *_cautions(measured)),
        valid=not invalid and (plan.lenient or not guilt),
        steal_share=usage.steal_share,
        lens=window.reading() if window else None,
        service_latency_ms=summarize_latency(work.service_ms),
        offered=tally.offered,
        dropped=tally.dropped,
        unanswered=len(samples_.unanswered.due_s),
        in_flight=tally.in_flight,
        attempt=slot.attempt,
        twin=slot.twin,
        histograms=_histograms(samples_),
        gil_enabled=ran_on.gil_enabled,
    )


def _within(window: Window, seconds: float) -> StateSeconds:
    """Return the seconds inside the function in so long: a service's own lens has looked for somewhat longer."""
    spent, part = window.inside(), seconds / window.seconds
    return StateSeconds(
        spent.on_cpu_s * part, spent.runqueue_s * part, spent.gil_wait_s * part, spent.blocked_s * part
    )


def _histograms(samples: Samples) -> dict[str, str]:
    """Write the latencies as HdrHistogram does, those that there are."""
    columns = {
        "latency": samples.latencies_ms,
        "service": samples.work.service_ms,
        "probe": samples.probe.latency_ms,
    }
    written = {}
    for name, latencies_ms in columns.items():
        if latencies_ms:
            histogram = Histogram()
            histogram.record_many(latencies_ms)
            written[name] = histogram.encode()
    return written


def spoilt(trial: Trial) -> bool:
    """Whether the generator or the machine spoilt a trial, and nothing else did: another attempt may be better.

    That nothing was answered in time may be their doing, too.
    """
    if trial.valid or not trial.warnings:
        return False
    first, *others = (caution.code for caution in trial.warnings)
    return first in SPOILING or (first == SILENT and not trial.errors and not SPOILING.isdisjoint(others))


def failed_trial(slot: Slot, load: Load, python: str, problem: str) -> Trial:
    """Return the trial that could not be measured: it counts nothing and says why."""
    caution = Caution("trial-failed", "the trial could not be measured", "see its first error")
    return Trial(
        workload=slot.target.workload,
        backend=slot.backend,
        block=slot.block,
        python=python,
        load=load,
        requests=0,
        errors=0,
        throughput_rps=0.0,
        latency_ms=None,
        probe_latency_ms=None,
        anatomy_ms=None,
        gil_wait_share=None,
        cpu_cores=None,
        memory_mb=None,
        probes_due=0,
        probes_answered=0,
        generator=None,
        samples=None,
        first_error=problem,
        warnings=(caution,),
        valid=False,
        attempt=slot.attempt,
        twin=slot.twin,
    )


def _disqualifications(requests: int, errors: int) -> Iterator[Caution]:
    if not requests:
        what = f"all {errors} requests failed" if errors else "no request was answered within the window"
        remedy = "see the first error" if errors else "a longer --duration, or less work per call (--arg)"
        yield Caution(SILENT, what, remedy)
    elif errors > MAX_ERROR_SHARE * (requests + errors):
        yield Caution(
            "errors",
            f"{errors} of {requests + errors} requests failed",
            "see the first error: what fails is not the work that was to be measured",
        )


def _guilt(plan: Plan, measured: Measured, steal_share: float, idle_share: float | None) -> Iterator[Caution]:
    """Yield the signs that the generator or the machine, and not the service, made these figures."""
    samples, tally, load = measured.samples, measured.tally, plan.load
    from_send_ms = samples.work.from_send_ms
    senders = Senders(load.workers, are_elsewhere=plan.load_master is not None)
    # Where the load comes from this machine, its share would be the same once more.
    of_load_share = tally.generator.stolen_share if senders.are_elsewhere else 0.0
    if not from_send_ms:
        seen = Seen(0.0, 0.0, tally.probes_answered / samples.window_s, tally.offered is not None, senders)
        yield from judge_generator(tally.generator, seen)
        yield from judge_machine(steal_share, of_load_share)
        return
    client_ms, server_ms = median(from_send_ms), median(samples.work.total_ms)
    answers = len(from_send_ms) + tally.probes_answered
    p99_ms = quantile(sorted(from_send_ms), 0.99)
    objective_ms = parse_slo(plan.slo).limit_ms if plan.slo else 0.0
    seen = Seen(
        client_ms, p99_ms, answers / samples.window_s, tally.offered is not None, senders, objective_ms
    )
    yield from judge_generator(tally.generator, seen)
    yield from judge_machine(steal_share, of_load_share)
    yield from judge_gap(client_ms, server_ms, idle_share, senders)
    per_s = len(from_send_ms) / samples.window_s
    if load.users is not None:
        cut_off = _cut_off(from_send_ms, samples.window_s)
        yield from judge_flight(load.users, tally.accounted, per_s, cut_off, senders)
    elif tally.in_flight is not None:
        yield from judge_flight(tally.in_flight, tally.accounted, per_s, senders=senders)


def _idle_share(window: Window | None, backend: BackendName) -> float | None:
    """Return for what share of the time the event loop was asleep, and would have run at once had a request come.

    It would not where it is the function that sleeps, on the loop itself. Nor would it where threads under its GIL compute,
    or wait with it for a core: it wakes, and waits for the GIL.
    """
    loop = window.roles.get(ThreadRole.LOOP) if window else None
    if window is None or loop is None or not loop.all.wall_s:
        return None
    asleep_s = loop.all.blocked_s - loop.inside.blocked_s
    workers = window.roles.get(ThreadRole.WORKER) if backend is BackendName.THREADS else None
    if workers is not None:
        in_use_s = loop.all.on_cpu_s + workers.all.on_cpu_s + workers.all.runqueue_s
        asleep_s = max(0.0, min(asleep_s, loop.all.wall_s - in_use_s))
    return asleep_s / loop.all.wall_s


def _cut_off(latencies_ms: Sequence[float], window_s: float) -> float:
    """Return what share of a closed loop's flight the window's end may hide: a request per user that has not ended then.

    A moment falls into a request as often as that is long, so that the mean one there takes E[L^2] / E[L] (the inspection
    paradox, Feller 1971, section I.4).
    """
    return sum(latency**2 for latency in latencies_ms) / sum(latencies_ms) / 1e3 / window_s


def _cautions(measured: Measured) -> Iterator[Caution]:
    samples, tally = measured.samples, measured.tally
    requests = len(samples.work.at_s)
    if 0 < requests < FEW_REQUESTS:
        yield Caution("few-requests", f"only {requests} requests fit into the window", "a longer --duration")
    if tally.dropped:
        yield Caution(
            "dropped",
            f"{tally.dropped} of {tally.offered} requests that were due were not sent, because too many were in "
            "flight: its latencies are lower bounds",
            "a lower --rate: this backend does not keep up",
        )
    unanswered = len(samples.unanswered.due_s)
    if unanswered:
        yield Caution(
            "unanswered",
            f"{unanswered} of {tally.offered} requests that were due had no answer when they were given up: each "
            "counts for as long as it was waited for",
            "a lower --rate, if this backend does not keep up; a longer --duration, if calls are slow: as long is waited",
        )
    if 0 < tally.errors <= MAX_ERROR_SHARE * (requests + tally.errors):
        yield Caution(
            "failures",
            f"{tally.errors} of {requests + tally.errors} requests failed: each counts as slow as the slowest answer",
            "see the first error",
        )
    if tally.probes_failed > MAX_FAILED_PINGS * tally.probes_due:
        yield Caution(
            "pings-failed",
            f"{tally.probes_failed} of {tally.probes_due} pings failed: what is known of the neighbours is of the others "
            "alone, and may look better than it is",
            "see what the service answers to GET /ping under this load, or a lower load",
        )
    lost = tally.probes_due - tally.probes_answered - tally.probes_failed
    if lost:
        yield Caution(
            "pings-unanswered",
            f"{lost} of {tally.probes_due} pings were never answered: each counts for as long as it was waited for",
            "a longer --duration",
        )
