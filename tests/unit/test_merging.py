from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gilscope.histogram import Histogram
from gilscope.load.merging import merge
from gilscope.load.orders import Measured, Tally
from gilscope.model import GeneratorLoad, ProbeSamples, Samples, Unanswered, WorkSamples
from gilscope.quantiles import summarize_latency

figure = st.floats(0, 1e4)
rows_of = st.lists(st.tuples(*[figure] * 9), max_size=30)
pairs_of = st.lists(st.tuples(figure, figure), max_size=10)


def columns(rows: Sequence[tuple[float, ...]], width: int) -> list[list[float]]:
    return [[row[at] for row in rows] for at in range(width)]


def part(
    rows: Sequence[tuple[float, ...]],
    pings: Sequence[tuple[float, float]],
    lost: Sequence[tuple[float, float]],
) -> Measured:
    samples = Samples(
        2.0,
        WorkSamples(*columns(rows, 9)),
        ProbeSamples(*columns(pings, 2)),
        Unanswered(*map(tuple, columns(lost, 2))),
        tuple(due for due, _ in lost),
    )
    generator = GeneratorLoad(len(rows) / 100, 0.01, float(len(pings)), 0.5, len(rows) + 1, len(rows), 0.0)
    tally = Tally(
        len(lost),
        "boom" if lost else None,
        len(pings) + 1,
        len(pings),
        generator,
        len(rows),
        2,
        len(rows) / 10,
        len(rows) / 11,
        len(lost) // 2,
    )
    return Measured(samples, tally)


parts_of = st.lists(st.builds(part, rows_of, pairs_of, pairs_of), min_size=1, max_size=4)


@settings(deadline=None)
@given(parts_of)
def test_totals_and_percentiles_are_those_of_all_raw_samples(parts: list[Measured]) -> None:
    merged = merge(parts)
    everything = [value for one in parts for value in one.samples.latencies_ms]
    assert sorted(merged.samples.latencies_ms) == sorted(everything)
    assert summarize_latency(merged.samples.latencies_ms) == summarize_latency(everything)
    assert len(merged.samples.done_s) == sum(len(one.samples.done_s) for one in parts)
    assert merged.tally.offered == sum(one.tally.offered or 0 for one in parts)
    assert merged.tally.accounted == pytest.approx(sum(one.tally.accounted for one in parts))
    for name in ("errors", "probes_due", "probes_answered", "probes_failed", "dropped"):
        assert getattr(merged.tally, name) == sum(getattr(one.tally, name) for one in parts)
    together, whole = Histogram(), Histogram()
    whole.record_many(merged.samples.latencies_ms)
    for one in parts:
        own = Histogram()
        own.record_many(one.samples.latencies_ms)
        together.merge(own)
    assert together == whole


@settings(deadline=None)
@given(parts_of)
def test_each_request_keeps_its_own_stages(parts: list[Measured]) -> None:
    def rows(samples: Samples) -> list[tuple[float, ...]]:
        work = samples.work
        stages = (work.queue_ms, work.run_ms, work.cpu_ms, work.suspended_ms, work.return_ms, work.total_ms)
        return list(zip(work.at_s, work.latency_ms, *stages, work.service_ms, strict=True))

    merged = rows(merge(parts).samples)
    assert sorted(merged) == sorted(row for one in parts for row in rows(one.samples))
    if len(parts) > 1:
        assert [row[0] for row in merged] == sorted(row[0] for row in merged)


def test_of_the_generators_the_worst_counts_and_what_they_sent_is_added() -> None:
    busy = part([(1.0,) * 9] * 50, [], [])
    late = part([(1.0,) * 9], [(1.0, 1.0)] * 7, [])
    generator = merge([busy, late]).tally.generator
    assert (generator.cpu_share, generator.dispatch_lag_p99_ms) == (0.5, 7.0)
    assert (generator.due, generator.sent) == (53, 51)


def test_failures_come_in_the_order_of_their_times_and_count_as_the_slowest_of_all() -> None:
    slow, quick = part([(1.0, 500.0) + (1.0,) * 7], [], []), part([(1.0, 5.0) + (1.0,) * 7], [], [])
    failing = replace(quick, samples=replace(quick.samples, failed_s=(1.5, 0.5)))
    merged = merge([failing, slow]).samples
    assert merged.failed_s == (0.5, 1.5)
    assert sorted(merged.latencies_ms) == [5.0, 500.0, 500.0, 500.0]


def test_of_the_load_machines_the_one_that_was_robbed_most_counts() -> None:
    shares = (0.01, 0.3, 0.02)
    tallies = [Tally(0, None, 1, 1, GeneratorLoad(0.1, 0.0, 0.5, stolen_share=share)) for share in shares]
    nothing = Samples(1.0, WorkSamples(*[[]] * 8), ProbeSamples([], []))
    assert merge([Measured(nothing, tally) for tally in tallies]).tally.generator.stolen_share == 0.3


def test_a_closed_loop_stays_one() -> None:
    rows = columns([(0.5, 10.0, 1.0, 2.0, 3.0, 0.0, 1.0, 8.0)], 8)
    tally = Tally(0, None, 1, 1, GeneratorLoad(0.1, 0.0, 0.5))
    one = Measured(Samples(1.0, WorkSamples(*rows), ProbeSamples([], [])), tally)
    merged = merge([one, one])
    assert not merged.samples.open
    assert len(merged.samples.work.at_s) == 2
    assert (merged.tally.offered, merged.tally.in_flight) == (None, None)
