from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist, fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gilscope.model import BackendName, Interval, ProbeSamples, Samples, WorkSamples
from gilscope.quantiles import quantile
from gilscope.verdict import statistics
from gilscope.verdict.statistics import Block, Figures, Replicates, Window, cut, estimate, outer_share

ASYNCIO, THREADS = BackendName.ASYNCIO, BackendName.THREADS

latencies = st.lists(st.integers(1, 50).map(float), max_size=40).map(tuple)


def window(work_ms: Sequence[float], probe_ms: Sequence[float] = (1.0, 2.0)) -> Window:
    return Window(1.0, tuple(work_ms), tuple(probe_ms), len(work_ms))


windows = st.lists(st.builds(window, latencies, latencies), min_size=1, max_size=6)


def steady(latency_ms: float, windows: int = 5) -> Block:
    """Make windows of a closed loop with one user and no spread: so many requests fit into a second."""
    return (window([latency_ms] * round(1000 / latency_ms), [latency_ms / 2] * 50),) * windows


def compare(trials: Mapping[BackendName, Sequence[Block]], seed: int = 1) -> tuple[Figures, Figures]:
    figures = estimate(trials, seed=seed, resamples=200)
    return figures[ASYNCIO], figures[THREADS]


def samples_of(window_s: float, done_s: list[float], due_s: list[float]) -> Samples:
    counted = [float(index) for index in range(len(done_s))]
    return Samples(
        window_s,
        WorkSamples(done_s, *[counted] * 7),
        ProbeSamples(due_s, [float(index) for index in range(len(due_s))]),
    )


def test_samples_are_cut_into_seconds() -> None:
    samples = samples_of(3.0, [0.0, 0.999, 1.0, 2.5, 2.999], [0.5, 2.0])
    assert cut(samples) == (
        Window(1.0, (0.0, 1.0), (0.0,), 2),
        Window(1.0, (2.0,), (), 1),
        Window(1.0, (3.0, 4.0), (1.0,), 2),
    )


def test_what_failed_is_as_slow_as_the_slowest_and_no_answer() -> None:
    samples = replace(samples_of(2.0, [0.0, 1.0, 1.5], []), failed_s=(0.5, 1.9))
    assert cut(samples) == (Window(1.0, (0.0, 2.0), (), 1), Window(1.0, (1.0, 2.0, 2.0), (), 2))
    assert cut(samples_of(1.0, [], [])) == cut(replace(samples_of(1.0, [], []), failed_s=(0.5,)))


@pytest.mark.parametrize(("window_s", "count"), [(0.2, 1), (0.5, 1), (1.4, 1), (1.6, 2), (2.0, 2), (4.96, 5)])
def test_windows_are_equal_and_about_a_second(window_s: float, count: int) -> None:
    block = cut(samples_of(window_s, [], []))
    assert len(block) == count
    assert {window.length_s for window in block} == {window_s / count}


@settings(deadline=None)
@given(st.floats(0.5, 9.0), st.lists(st.floats(0, 1), max_size=50), st.lists(st.floats(0, 1), max_size=50))
def test_cutting_loses_nothing(window_s: float, done: list[float], due: list[float]) -> None:
    block = cut(samples_of(window_s, [at * window_s for at in done], [at * window_s for at in due]))
    work = sorted(value for window in block for value in window.work_ms)
    probe = sorted(value for window in block for value in window.probe_ms)
    assert work == [float(index) for index in range(len(done))]
    assert probe == [float(index) for index in range(len(due))]


def test_throughput_is_that_of_all_data_and_a_tail_the_median_of_the_blocks() -> None:
    blocks = [
        (window([1.0, 2.0], [5.0]), window([3.0], [7.0])),
        (window([9.0], []),),
        (window([4.0], [900.0]),),
    ]
    figures = estimate({ASYNCIO: blocks}, seed=1, resamples=10)[ASYNCIO]
    assert figures.throughput_rps.point == 5 / 4
    assert figures.p99_ms.point == 4.0
    assert figures.probe_p99_ms.point == (7.0 + 900.0) / 2


def test_one_disturbed_block_does_not_make_the_tail() -> None:
    calm, disturbed = steady(10), (window([10.0] * 90 + [400.0] * 10, [5.0] * 40 + [300.0] * 10),)
    figures = estimate({ASYNCIO: [calm, disturbed, calm]}, seed=1)[ASYNCIO]
    assert (figures.p99_ms.point, figures.probe_p99_ms.point) == (10.0, 5.0)
    assert figures.p99_ms.interval().high == 400.0
    assert figures.probe_p99_ms.interval().high == 300.0


def test_constant_windows_have_intervals_without_width() -> None:
    figures = estimate({ASYNCIO: [steady(10)] * 3}, seed=1, resamples=200)[ASYNCIO]
    assert figures.throughput_rps.interval() == Interval(100, 100, 100)
    assert figures.p99_ms.interval() == Interval(10, 10, 10)
    assert figures.probe_p99_ms.interval() == Interval(5, 5, 5)


def test_blocks_that_differ_have_width() -> None:
    low, mid, high = estimate({ASYNCIO: [steady(10), steady(20), steady(40)]}, seed=1)[
        ASYNCIO
    ].throughput_rps.interval()
    assert low < mid < high
    assert low >= 25
    assert high <= 100


def test_windows_that_differ_have_width_in_a_single_block() -> None:
    block = (*steady(10, 3), *steady(20, 3))
    low, mid, high = estimate({ASYNCIO: [block]}, seed=1)[ASYNCIO].throughput_rps.interval()
    assert low < mid < high


def test_the_ratio_of_a_figure_to_itself_is_exactly_1() -> None:
    own = estimate({ASYNCIO: [steady(10), (*steady(20), *steady(40))]}, seed=1)[ASYNCIO]
    assert own.throughput_rps.interval().low < own.throughput_rps.interval().high
    assert own.throughput_rps.over(own.throughput_rps) == Interval(1, 1, 1)


def test_backends_draw_the_same_blocks() -> None:
    blocks = [steady(10), steady(20), steady(40)]
    asyncio, threads = compare({ASYNCIO: blocks, THREADS: blocks})
    assert asyncio.throughput_rps.interval().low < asyncio.throughput_rps.interval().high
    assert threads.throughput_rps.over(asyncio.throughput_rps) == Interval(1, 1, 1)
    assert threads.p99_ms.over(asyncio.p99_ms) == Interval(1, 1, 1)
    assert threads.probe_p99_ms.over(asyncio.probe_p99_ms) == Interval(1, 1, 1)


def test_a_slowdown_of_a_whole_block_cancels_out_of_ratios() -> None:
    slowdowns = (1, 2, 4)
    asyncio, threads = compare(
        {
            ASYNCIO: [steady(10 * slowdown) for slowdown in slowdowns],
            THREADS: [steady(5 * slowdown) for slowdown in slowdowns],
        }
    )
    assert asyncio.throughput_rps.interval().high / asyncio.throughput_rps.interval().low > 1.5
    assert threads.throughput_rps.over(asyncio.throughput_rps) == pytest.approx((2, 2, 2))
    assert threads.p99_ms.over(asyncio.p99_ms) == pytest.approx((0.5, 0.5, 0.5))


def test_unpaired_slowdowns_do_not_cancel() -> None:
    asyncio, threads = compare({ASYNCIO: [steady(10), steady(40)], THREADS: [steady(40), steady(10)]})
    low, mid, high = threads.throughput_rps.over(asyncio.throughput_rps)
    assert mid == 1
    assert low < 0.5
    assert high > 2


def test_a_backend_may_have_fewer_blocks() -> None:
    asyncio, threads = compare({ASYNCIO: [steady(10)] * 4, THREADS: [steady(5)]})
    assert len(asyncio.throughput_rps.draws) == len(threads.throughput_rps.draws)
    assert threads.throughput_rps.over(asyncio.throughput_rps) == Interval(2, 2, 2)


def test_the_seed_fixes_every_draw() -> None:
    trials = {ASYNCIO: [steady(10), steady(30)], THREADS: [(*steady(20), *steady(40)), steady(25)]}
    first, again, other = (estimate(trials, seed=seed, resamples=50) for seed in (1, 1, 2))
    assert first == again
    assert first[THREADS].throughput_rps.draws != other[THREADS].throughput_rps.draws
    assert first[THREADS].throughput_rps.point == other[THREADS].throughput_rps.point


def test_without_pings_the_probe_is_unknown_and_the_rest_is_not() -> None:
    silent = (window([10.0] * 100, []),) * 3
    asyncio, threads = compare({ASYNCIO: [silent] * 2, THREADS: [steady(10)] * 2})
    assert all(map(math.isnan, asyncio.probe_p99_ms.interval()))
    assert all(map(math.isnan, threads.probe_p99_ms.over(asyncio.probe_p99_ms)))
    assert asyncio.throughput_rps.interval() == Interval(100, 100, 100)


def test_resamples_without_data_are_left_out_of_an_interval() -> None:
    half = [(window([10.0], [4.0]),), (window([10.0], []),)]
    figures = estimate({ASYNCIO: half}, seed=1, resamples=200)[ASYNCIO]
    assert any(map(math.isnan, figures.probe_p99_ms.draws))
    assert figures.probe_p99_ms.interval() == Interval(4, 4, 4)


def test_a_ratio_to_nothing_is_unknown() -> None:
    some, nothing = Replicates(1.0, (1.0, 2.0), 2), Replicates(0.0, (0.0, 0.0), 2)
    assert all(map(math.isnan, some.over(nothing)))
    assert nothing.over(some) == Interval(0, 0, 0)


def test_an_interval_always_holds_its_middle() -> None:
    assert Replicates(5.0, (1.0, 2.0, 3.0), 3).interval() == Interval(1, 5, 5)
    assert Replicates(0.5, (1.0, 2.0, 3.0), 3).interval() == Interval(0.5, 0.5, 3)


def test_an_interval_of_many_blocks_leaves_out_a_fortieth_on_each_side() -> None:
    draws = tuple(float(value) for value in range(1, 1001))
    assert Replicates(500.0, draws, 10_000).interval() == Interval(25, 500, 976)


def test_an_interval_of_few_blocks_ends_at_the_extremes() -> None:
    draws = tuple(float(value) for value in range(1, 1001))
    assert Replicates(500.0, draws, 3).interval() == Interval(1, 500, 1000)


def test_the_share_left_out_grows_with_the_blocks_to_a_fortieth() -> None:
    shares = [outer_share(blocks) for blocks in (2, 3, 4, 6, 10, 16, 17, 18, 100)]
    assert shares == sorted(shares)
    assert outer_share(6) == pytest.approx(NormalDist().cdf(-math.sqrt(6 / 5) * 2.571))
    assert outer_share(1_000_000) == pytest.approx(0.025, abs=1e-6)


def test_a_ratio_is_as_wide_as_the_side_with_fewer_blocks_makes_it() -> None:
    draws = tuple(float(value) for value in range(1, 10_001))
    many, few = Replicates(5_000.0, draws, 10), Replicates(5_000.0, draws, 3)
    assert many.interval().low > few.interval().low == 1
    for blocks, other in ((10, many), (3, few)):
        unit = Replicates(1.0, (1.0,) * len(draws), blocks)
        assert many.over(unit) == other.interval()
        assert few.over(unit) == few.interval()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_weighted_tail_is_the_quantile_of_the_expanded_values(data: st.DataObject) -> None:
    block = tuple(data.draw(windows))
    times = data.draw(st.lists(st.integers(0, 4), min_size=len(block), max_size=len(block)))
    drawn = [(statistics._Ordered.of(block), times)]
    throughput_rps, p99_ms, probe_p99_ms = statistics._Table.of([block], [0]).figures(drawn)
    taken = [window for window, count in zip(block, times, strict=True) for _ in range(count)]
    work = sorted(value for window in taken for value in window.work_ms)
    probe = sorted(value for window in taken for value in window.probe_ms)
    for found, values in ((p99_ms, work), (probe_p99_ms, probe)):
        assert found == quantile(values, 0.99) if values else math.isnan(found)
    assert throughput_rps == len(work) / len(taken) if taken else math.isnan(throughput_rps)


def test_the_interval_covers_the_truth_where_it_is_known() -> None:
    # Blocks of 50 to 150 requests a second, evenly spread: the true mean is 100.
    blocks = [(window([1.0] * count),) * 3 for count in range(50, 151, 10)]
    interval = estimate({ASYNCIO: blocks}, seed=3, resamples=1_000)[ASYNCIO].throughput_rps.interval()
    spread = math.sqrt(fmean((count - 100) ** 2 for count in range(50, 151, 10)) / len(blocks))
    assert interval.mid == 100
    half_width = 2.228 * math.sqrt(11 / 10) * spread  # Student's, of the sample's standard deviation
    assert interval.low == pytest.approx(100 - half_width, abs=2)
    assert interval.high == pytest.approx(100 + half_width, abs=2)


def test_blocks_of_the_same_number_are_drawn_together_where_some_are_missing() -> None:
    slow, fast = [steady(8.0), steady(40.0), steady(100.0)], [steady(4.0), steady(50.0)]
    places = statistics._places({ASYNCIO: slow, THREADS: fast}, {ASYNCIO: [0, 1, 3], THREADS: [0, 3]})
    assert places == {ASYNCIO: [0, 1, 2], THREADS: [0, None, 1]}
    one, other = (statistics._Table.of(own, places[name]) for name, own in ((ASYNCIO, slow), (THREADS, fast)))
    for position, drawn in ((0.1, (8.0, 4.0)), (0.9, (100.0, 50.0))):
        chosen = (table.draw([position], random.Random(1)) for table in (one, other))
        assert tuple(own[0][0].work[0][0] for own in chosen) == drawn
    # Where a number is missing, another block of its own stands in.
    assert {other._place(position) for position in (0.34, 0.45)} == {0}
    assert other._place(0.6) == 1


def test_numbers_in_full_change_nothing() -> None:
    trials = {ASYNCIO: [steady(8.0), steady(9.0)], THREADS: [steady(4.0), steady(5.0)]}
    numbered = estimate(trials, seed=1, resamples=50, numbers={ASYNCIO: [0, 1], THREADS: [0, 1]})
    assert numbered == estimate(trials, seed=1, resamples=50)


@pytest.mark.parametrize("missing", range(4))
def test_in_the_place_of_a_missing_block_its_own_are_drawn_evenly(missing: int) -> None:
    own = [steady(value) for value in (100.0, 200.0, 300.0)]
    numbers = [number for number in range(4) if number != missing]
    places = statistics._places(
        {ASYNCIO: [steady(1.0)] * 4, THREADS: own}, {ASYNCIO: [0, 1, 2, 3], THREADS: numbers}
    )
    table = statistics._Table.of(own, places[THREADS])
    drawn = [table._place((position + 0.5) / 1200) for position in range(1200)]
    assert [drawn.count(place) for place in range(3)] == [400, 400, 400]
