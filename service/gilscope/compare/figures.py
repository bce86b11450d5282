"""From raw observations to a trial's figures. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from gilscope.compare.metering import Usage
from gilscope.compare.plan import Slot
from gilscope.lens.readings import Window
from gilscope.load.judging import judge_generator
from gilscope.load.orders import Measured
from gilscope.model import (
    Anatomy,
    Caution,
    GilWaitShare,
    Load,
    StateSeconds,
    ThreadRole,
    Trial,
    WorkSamples,
)
from gilscope.quantiles import summarize_latency, summarize_probe

MAX_ERROR_SHARE = 0.05
"""More failed requests than this, and the figures are of something else than the workload."""

FEW_REQUESTS = 30

MAX_STEAL_SHARE = 0.05
"""Other machines' work on the same host: more than this, and trials differ for reasons of their own."""


def anatomy_of(work: WorkSamples, inside: StateSeconds | None, failures: int = 0) -> Anatomy | None:
    """Split the mean request; None where there was none.

    ``inside`` is how the service's threads spent their time inside the function, over all calls, those that failed
    included; None where no lens watched.
    """
    if not work.latency_ms:
        return None
    queue, run, back = fmean(work.queue_ms), fmean(work.run_ms), fmean(work.return_ms)
    stamped = Anatomy(
        outside=fmean(work.latency_ms) - queue - run - back,
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


def trial_of(
    slot: Slot,
    load: Load,
    measured: Measured,
    usage: Usage,
    window: Window | None,
    *,
    python: str,
    samples: str,
) -> Trial:
    """Put a trial together from what was measured; ``window`` is what the lens saw of it."""
    work = measured.samples.work
    latency = summarize_latency(work.latency_ms)
    invalid = list(_disqualifications(len(work.done_s), measured.tally.errors))
    cautions = [*_cautions(measured, latency.p50 if latency else 0.0), *_stolen(usage.steal_share)]
    return Trial(
        workload=slot.target.workload,
        backend=slot.backend,
        block=slot.block,
        python=python,
        load=load,
        requests=len(work.done_s),
        errors=measured.tally.errors,
        throughput_rps=len(work.done_s) / measured.samples.window_s,
        latency_ms=latency,
        probe_latency_ms=summarize_probe(measured.samples.probe.latency_ms),
        anatomy_ms=anatomy_of(work, window.inside() if window else None, measured.tally.errors),
        gil_wait_share=gil_wait_share(window) if window else None,
        cpu_cores=usage.cpu_cores,
        memory_mb=usage.memory_mb,
        probes_due=measured.tally.probes_due,
        probes_answered=measured.tally.probes_answered,
        generator=measured.tally.generator,
        samples=samples,
        first_error=measured.tally.first_error,
        warnings=(*invalid, *cautions),
        valid=not invalid,
        steal_share=usage.steal_share,
        lens=window.reading() if window else None,
    )


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
    )


def _disqualifications(requests: int, errors: int) -> Iterator[Caution]:
    if not requests:
        what = f"all {errors} requests failed" if errors else "no request was answered within the window"
        remedy = "see the first error" if errors else "a longer --duration, or less work per call (--arg)"
        yield Caution("no-requests", what, remedy)
    elif errors > MAX_ERROR_SHARE * (requests + errors):
        yield Caution(
            "errors",
            f"{errors} of {requests + errors} requests failed",
            "see the first error: what fails is not the work that was to be measured",
        )


def _cautions(measured: Measured, p50_ms: float) -> Sequence[Caution]:
    cautions = list(judge_generator(measured.tally.generator, p50_ms))
    requests = len(measured.samples.work.done_s)
    if 0 < requests < FEW_REQUESTS:
        cautions.append(
            Caution("few-requests", f"only {requests} requests fit into the window", "a longer --duration")
        )
    lost = measured.tally.probes_due - measured.tally.probes_answered
    if lost:
        cautions.append(
            Caution(
                "pings-unanswered",
                f"{lost} of {measured.tally.probes_due} pings were never answered: /ping was worse than its figures say",
                "a longer --duration",
            )
        )
    return cautions


def _stolen(share: float) -> Iterator[Caution]:
    if share > MAX_STEAL_SHARE:
        yield Caution(
            "steal",
            f"the hypervisor gave {share:.0%} of this machine's CPU time to others",
            "a quieter machine, or more --blocks",
        )
