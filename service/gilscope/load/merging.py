"""What several workers measured of one window, put together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from gilscope.load.orders import Measured, Tally
from gilscope.model import GeneratorLoad, ProbeSamples, Samples, Unanswered, WorkSamples


def merge(parts: Sequence[Measured]) -> Measured:
    """Put the parts of one window together, at least one: every raw sample is kept, so percentiles stay exact.

    Work comes in the order of its times. Of the generators the worst counts.
    """
    if len(parts) == 1:
        return parts[0]
    samples, tallies = [part.samples for part in parts], [part.tally for part in parts]
    flights = [tally.in_flight for tally in tallies if tally.in_flight is not None]
    offers = [tally.offered for tally in tallies if tally.offered is not None]
    return Measured(
        Samples(
            window_s=max(one.window_s for one in samples),
            work=_work([one.work for one in samples]),
            probe=ProbeSamples(
                _joined(one.probe.due_s for one in samples), _joined(one.probe.latency_ms for one in samples)
            ),
            unanswered=Unanswered(
                tuple(_joined(one.unanswered.due_s for one in samples)),
                tuple(_joined(one.unanswered.waited_ms for one in samples)),
            ),
            carried_s=tuple(sorted(_joined(one.carried_s for one in samples))),
            failed_s=tuple(sorted(_joined(one.failed_s for one in samples))),
        ),
        Tally(
            errors=sum(tally.errors for tally in tallies),
            first_error=next((tally.first_error for tally in tallies if tally.first_error), None),
            probes_due=sum(tally.probes_due for tally in tallies),
            probes_answered=sum(tally.probes_answered for tally in tallies),
            probes_failed=sum(tally.probes_failed for tally in tallies),
            generator=_worst([tally.generator for tally in tallies]),
            offered=sum(offers) if offers else None,
            dropped=sum(tally.dropped for tally in tallies),
            in_flight=sum(flights) if flights else None,
            accounted=sum(tally.accounted for tally in tallies),
        ),
    )


def _work(parts: Sequence[WorkSamples]) -> WorkSamples:
    is_open = any(part.service_ms for part in parts)
    names = [field.name for field in fields(WorkSamples) if is_open or field.name != "service_ms"]
    columns = [_joined(getattr(part, name) for part in parts) for name in names]
    order = sorted(range(len(columns[0])), key=columns[0].__getitem__)
    return WorkSamples(*([column[at] for at in order] for column in columns))


def _joined(columns: Iterable[Sequence[float]]) -> list[float]:
    return [value for column in columns for value in column]


def _worst(loads: Sequence[GeneratorLoad]) -> GeneratorLoad:
    return GeneratorLoad(
        cpu_share=max(load.cpu_share for load in loads),
        runqueue_share=max(load.runqueue_share for load in loads),
        dispatch_lag_p99_ms=max(load.dispatch_lag_p99_ms for load in loads),
        dispatch_lag_p50_ms=max(load.dispatch_lag_p50_ms for load in loads),
        due=sum(load.due for load in loads),
        sent=sum(load.sent for load in loads),
        throttled_share=max(load.throttled_share for load in loads),
        stolen_share=max(load.stolen_share for load in loads),
    )
