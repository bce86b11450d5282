"""Facts about break-evens: from which size on one backend is ahead of another, and how sure that is."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from judged_trials import TARGET, samples_of, trial_of

from gilscope.model import BELOW, BEYOND, BackendName, BreakEven, Interval, Standing, Sweep
from gilscope.verdict.break_even import begin, break_evens, of_sweep
from gilscope.verdict.decision import TIE_MARGIN
from gilscope.verdict.statistics import Figures, Replicates, Window, estimate

ASYNCIO, THREADS = BackendName.ASYNCIO, BackendName.THREADS
PROCESSES, INTERPRETERS = BackendName.PROCESSES, BackendName.INTERPRETERS

NOTHING = Replicates(math.nan, (), 3)
EVEN = (100.0,) * 3


def figures(point: float, draws: Sequence[float], blocks: int = 3) -> Figures:
    return Figures(Replicates(point, tuple(draws), blocks), NOTHING, NOTHING)


def one_size(
    ratio: float, draws: Sequence[float] | None = None, blocks: int = 3
) -> dict[BackendName, Figures]:
    """Give processes so many times the throughput of asyncio, in all and resample by resample."""
    drawn = [ratio] * 3 if draws is None else draws
    return {
        ASYNCIO: figures(100, (100.0,) * len(drawn), blocks),
        PROCESSES: figures(100 * ratio, [100 * draw for draw in drawn], blocks),
    }


def only(sizes: Sequence[float], at_each: Sequence[Mapping[BackendName, Figures]]) -> BreakEven:
    (found,) = break_evens(sizes, at_each)
    return found


def size_of(found: BreakEven) -> Interval:
    assert found.size is not None
    return found.size


# Where.


def test_a_known_crossing_is_found_between_the_logarithms_of_the_sizes() -> None:
    found = only([100, 10_000], [one_size(0.5), one_size(2.0)])
    assert (found.backend, found.over, found.kind) == (PROCESSES, ASYNCIO, Standing.CROSSES)
    assert found.size == pytest.approx((1_000, 1_000, 1_000))


def test_the_nearer_to_a_tie_the_nearer_the_crossing() -> None:
    found = only([10, 10_000], [one_size(0.25), one_size(2.0)])
    assert size_of(found).mid == pytest.approx(1_000)


def test_every_resample_has_a_break_even_of_its_own() -> None:
    small = one_size(0.5, [0.5, 0.25, 0.5])
    large = one_size(2.0, [2.0, 2.0, 4.0])
    expected = (100 * 100 ** (1 / 3), 1_000, 100 * 100 ** (2 / 3))
    assert size_of(only([100, 10_000], [small, large])) == pytest.approx(expected)


def test_few_blocks_have_a_wide_interval_and_many_leave_out_a_fortieth() -> None:
    ratios = [2 ** (1 + at / 1000) for at in range(1000)]

    def width(blocks: int) -> Interval:
        small, large = one_size(0.5, [0.5] * 1000, blocks), one_size(2**1.5, ratios, blocks)
        return size_of(only([1, 1024], [small, large]))

    few, many = width(3), width(10_000)
    assert few.mid == many.mid == pytest.approx(1024**0.4)
    assert few.low == pytest.approx(1024 ** (1 / 2.999))
    assert few.high == pytest.approx(1024**0.5)
    assert few.low < many.low < many.mid < many.high < few.high


def test_the_side_with_the_fewest_blocks_of_all_sizes_makes_the_width() -> None:
    draws = [1.5 + at / 1000 for at in range(1000)]
    small = one_size(0.5, [0.5] * 1000, 100)
    large = one_size(2.0, draws, 100)
    fewer = {**large, ASYNCIO: figures(100, (100.0,) * 1000, 3)}
    all_few = [one_size(0.5, [0.5] * 1000, 3), one_size(2.0, draws, 3)]
    assert only([1, 10], [small, fewer]) == only([1, 10], all_few) != only([1, 10], [small, large])


@pytest.mark.parametrize(
    ("logs", "size"),
    [
        ([-1, 1, 1], 10**0.5),
        ([-1, -1, 1], 10**1.5),
        ([1, 1, 1], BELOW),
        ([-1, -1, -1], BEYOND),
        ([0, 0, 0], BEYOND),
        ([0, 1, 1], 1.0),
        ([-1, 0, 1], 10.0),
        ([-1, 1, -1], BEYOND),
        ([1, -1, 1], 10**1.5),
        ([1, 1, -1], BEYOND),
    ],
)
def test_a_line_begins_where_it_stays_above(logs: list[float], size: float) -> None:
    assert begin([1, 10, 100], logs) == pytest.approx(size)


# Whether.


def of_signs(signs: str) -> list[dict[BackendName, Figures]]:
    """Make sizes at which processes are surely ahead (+), surely behind (-), or neither (o)."""
    made = {
        "+": one_size(2.0, [1.8, 2.0, 2.2]),
        "-": one_size(0.5, [0.4, 0.5, 0.6]),
        "o": one_size(1.02, [0.9, 1.02, 1.2]),
    }
    return [made[sign] for sign in signs]


@pytest.mark.parametrize(
    ("signs", "kind", "overtakes"),
    [
        ("-+", Standing.CROSSES, PROCESSES),
        ("-o+", Standing.CROSSES, PROCESSES),
        ("--++", Standing.CROSSES, PROCESSES),
        ("-+o", Standing.CROSSES, PROCESSES),
        ("+-+", Standing.CROSSES, PROCESSES),
        ("+-", Standing.CROSSES, ASYNCIO),
        ("-+-", Standing.CROSSES, ASYNCIO),
        ("++", Standing.ALWAYS, PROCESSES),
        ("--", Standing.NEVER, PROCESSES),
        ("oo", Standing.TIED, PROCESSES),
        ("-o", Standing.UNCLEAR, PROCESSES),
        ("o+", Standing.UNCLEAR, PROCESSES),
        ("o-", Standing.UNCLEAR, ASYNCIO),
        ("+o", Standing.UNCLEAR, ASYNCIO),
        ("o+o", Standing.UNCLEAR, ASYNCIO),
        ("+-o", Standing.UNCLEAR, ASYNCIO),  # by the points alone processes are ahead again at the end
    ],
)
def test_only_what_is_sure_at_two_sizes_crosses(signs: str, kind: Standing, overtakes: BackendName) -> None:
    found = only([10**at for at in range(1, len(signs) + 1)], of_signs(signs))
    assert (found.kind, found.backend) == (kind, overtakes)
    assert {found.backend, found.over} == {ASYNCIO, PROCESSES}
    assert (found.size is None) is (kind in {Standing.ALWAYS, Standing.NEVER, Standing.TIED})


def test_what_may_be_ahead_from_below_has_an_interval_from_0() -> None:
    found = only([10, 100], of_signs("o+"))
    assert size_of(found).low == BELOW
    assert 10 < size_of(found).high < 100


def test_what_may_be_ahead_only_beyond_has_an_interval_without_end() -> None:
    found = only([10, 100], of_signs("-o"))
    assert size_of(found).high == BEYOND
    assert 10 < size_of(found).low < 100


def test_a_crossing_that_may_not_last_has_no_end() -> None:
    found = only([10, 100, 1000], of_signs("-+o"))
    assert found.kind is Standing.CROSSES
    assert 10 < size_of(found).low <= size_of(found).mid < 100
    assert size_of(found).high == BEYOND


def test_noise_within_a_tie_does_not_cross() -> None:
    assert only([10, 100], [one_size(0.96), one_size(1.04)]).kind is Standing.TIED
    assert only([10, 100], [one_size(0.94), one_size(1.06)]).kind is Standing.CROSSES


def test_single_blocks_are_never_sure() -> None:
    single = [one_size(0.5, blocks=1), one_size(2.0, blocks=1)]
    assert only([10, 100], single).kind is Standing.TIED
    assert only([10, 100, 1000], [single[0], *of_signs("-+")]).kind is Standing.CROSSES


# Who.


def test_each_pair_is_compared_once_the_less_simple_one_first() -> None:
    at_each = [
        dict(zip(BackendName, (figures(value, [value] * 3) for value in values), strict=True))
        for values in ((100.0, 200.0, 20.0, 50.0), (100.0, 200.0, 800.0, 400.0))
    ]
    found = break_evens([1, 100], at_each)
    assert [(one.backend, one.over) for one in found] == [
        (THREADS, ASYNCIO),
        (INTERPRETERS, ASYNCIO),
        (PROCESSES, ASYNCIO),
        (INTERPRETERS, THREADS),
        (PROCESSES, THREADS),
        (PROCESSES, INTERPRETERS),
    ]
    assert [one.kind for one in found] == [Standing.ALWAYS, *[Standing.CROSSES] * 5]


def test_a_size_is_skipped_for_who_was_not_measured_there() -> None:
    small, large = one_size(0.5), one_size(2.0)
    without = {ASYNCIO: small[ASYNCIO]}
    assert only([1, 10, 100], [small, without, large]) == only([1, 100], [small, large])
    assert break_evens([1, 10], [small, without]) == ()


def test_a_size_without_throughput_is_skipped() -> None:
    small, large, none = one_size(0.5), one_size(2.0), one_size(0.0)
    assert only([1, 100, 1000], [small, large, none]) == only([1, 100], [small, large])


def test_resamples_without_throughput_are_left_out() -> None:
    small, large = one_size(0.5, [0.5, 0.5, 0.5]), one_size(2.0, [2.0, math.nan, 2.0])
    assert size_of(only([1, 100], [small, large])) == pytest.approx((10, 10, 10))
    nothing = {ASYNCIO: figures(100, (math.nan,) * 3), PROCESSES: figures(100, (math.nan,) * 3)}
    assert size_of(only([1, 10, 100], [small, nothing, one_size(2.0)]))[::2] == (BELOW, BEYOND)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ([], "two sizes or more, not 0"),
        ([1], "two sizes or more, not 1"),
        ([1, 2, 3], "3 sizes, but figures for 2"),
        ([2, 1], "ascend, not 2, 1"),
        ([1, 1], "ascend"),
        ([0, 1], "positive"),
        ([1, math.inf], "finite"),
        ([1, math.nan], "finite"),
    ],
)
def test_other_sizes_are_refused(sizes: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        break_evens(sizes, [one_size(0.5), one_size(2.0)])


def test_a_different_number_of_resamples_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        break_evens([1, 2], [one_size(0.5, EVEN), one_size(2.0, (2.0,) * 4)])


def test_it_takes_what_the_statistics_estimate() -> None:
    def block(requests: int) -> tuple[Window, ...]:
        return (Window(1.0, (1.0,) * requests, (1.0,), requests),) * 3

    at_each = [
        estimate(
            {ASYNCIO: [block(100)] * 3, PROCESSES: [block(share + noise) for noise in (-2, 0, 2)]},
            seed=seed,
            resamples=100,
        )
        for seed, share in enumerate((50, 200))
    ]
    low, mid, high = size_of(only([100, 10_000], at_each))
    assert mid == pytest.approx(1_000)
    assert 900 < low < mid < high < 1_100


def test_what_equal_things_show_is_no_crossing() -> None:
    at_each = [one_size(0.75), one_size(1.3)]
    assert only([1, 10], at_each).kind is Standing.CROSSES
    (found,) = break_evens([1, 10], at_each, [1.5, 1.5])
    assert found.kind is Standing.TIED
    (found,) = break_evens([1, 10], at_each, [1.5, 1.1])
    assert found.kind is Standing.UNCLEAR


def swept(twin_rps: Sequence[float], valid: int = 3) -> tuple[BreakEven, ...]:
    """Sweep two sizes, asyncio 100/s at both; its twins have other figures, and so many of them count."""
    trials, samples, targets = [], {}, []
    for size, processes_rps in ((1, 75), (10, 130)):
        workload = f"primes, n={size}"
        targets.append(replace(TARGET, workload=workload))
        for block, twin in enumerate(twin_rps):
            for backend, rps, is_twin in (
                (ASYNCIO, 100.0, False), (PROCESSES, processes_rps, False), (ASYNCIO, twin, True),
            ):  # fmt: skip
                name = f"{size}-{backend}-{block}-{is_twin}"
                samples[name] = samples_of(rps, 5)
                trial = trial_of(backend, block, samples[name])
                counts = not is_twin or block < valid
                trials.append(replace(trial, workload=workload, samples=name, twin=is_twin, valid=counts))
    return of_sweep(Sweep("n", (1.0, 10.0)), targets, trials, samples, seed=1)


def test_a_sweep_has_the_noise_floor_of_each_size() -> None:
    assert [found.kind for found in swept([100, 100, 100])] == [Standing.CROSSES]
    assert [found.kind for found in swept([150, 100, 70])] == [Standing.TIED]
    assert [found.kind for found in swept([100, 100, 100], valid=1)] == [Standing.TIED], (
        "nobody knows what is noise"
    )


# Laws.

steps = st.lists(st.floats(1.5, 20), min_size=1, max_size=5)
slopes = st.floats(0.3, 3)


def on_a_line(sizes: Sequence[float], crossing: float, slope: float) -> list[dict[BackendName, Figures]]:
    return [one_size((size / crossing) ** slope) for size in sizes]


def ladder(first: float, factors: Sequence[float]) -> list[float]:
    sizes = [first]
    for factor in factors:
        sizes.append(sizes[-1] * factor)
    return sizes


@example(first=1.0, factors=[1.5], slope=0.30078125, share=0.59375)
@given(st.floats(1, 1000), steps, slopes, st.floats(0.3, 0.7))
def test_a_straight_line_crosses_where_it_should(
    first: float, factors: list[float], slope: float, share: float
) -> None:
    sizes = ladder(first, factors)
    crossing = sizes[0] * (sizes[-1] / sizes[0]) ** share
    found = only(sizes, on_a_line(sizes, crossing, slope))
    at_ends = [(size / crossing) ** slope for size in (sizes[0], sizes[-1])]
    assume(all(abs(max(ratio, 1 / ratio) - (1 + TIE_MARGIN)) > 1e-6 for ratio in at_ends))
    if at_ends[0] < 1 / (1 + TIE_MARGIN) and at_ends[1] > 1 + TIE_MARGIN:
        assert found.kind is Standing.CROSSES
        assert found.size == pytest.approx((crossing,) * 3)
    else:
        assert found.kind is not Standing.CROSSES


noisy = st.lists(st.lists(st.floats(0.2, 5), min_size=5, max_size=5), min_size=2, max_size=5)


def measured(ratios: Sequence[Sequence[float]]) -> list[dict[BackendName, Figures]]:
    return [one_size(sorted(draws)[2], draws) for draws in ratios]


@given(noisy, st.randoms(use_true_random=False))
def test_the_order_of_the_resamples_does_not_matter(
    ratios: list[list[float]], generator: random.Random
) -> None:
    sizes = ladder(10, [3] * (len(ratios) - 1))
    order = generator.sample(range(5), 5)
    shuffled = [[draws[at] for at in order] for draws in ratios]
    assert break_evens(sizes, measured(ratios)) == break_evens(sizes, measured(shuffled))


@given(noisy, st.floats(0.001, 1000))
def test_larger_sizes_have_a_larger_break_even(ratios: list[list[float]], factor: float) -> None:
    sizes = ladder(10, [3] * (len(ratios) - 1))
    found = only(sizes, measured(ratios))
    scaled = only([size * factor for size in sizes], measured(ratios))
    assert (scaled.backend, scaled.kind) == (found.backend, found.kind)
    if found.size is not None:
        assert scaled.size == pytest.approx([size * factor for size in found.size])


@given(noisy)
def test_an_interval_holds_its_middle_and_tells_something(ratios: list[list[float]]) -> None:
    sizes = ladder(10, [3] * (len(ratios) - 1))
    found = only(sizes, measured(ratios))
    if found.size is not None:
        low, mid, high = found.size
        assert low <= mid <= high
        assert low > BELOW or high < BEYOND
        assert all(end in {BELOW, BEYOND} or sizes[0] <= end <= sizes[-1] for end in found.size)
    if found.kind is Standing.CROSSES:
        assert sizes[0] < size_of(found).mid < sizes[-1]


@given(noisy)
def test_the_other_way_round_says_the_same(ratios: list[list[float]]) -> None:
    sizes = ladder(10, [3] * (len(ratios) - 1))
    swapped = [{ASYNCIO: own[PROCESSES], PROCESSES: own[ASYNCIO]} for own in measured(ratios)]
    one, other = only(sizes, measured(ratios)), only(sizes, swapped)
    if one.size is None:
        opposite = {
            Standing.ALWAYS: Standing.NEVER,
            Standing.NEVER: Standing.ALWAYS,
            Standing.TIED: Standing.TIED,
        }
        assert other.kind is opposite[one.kind]
    else:
        assert (other.backend, other.over, other.kind) == (one.over, one.backend, one.kind)
        assert other.size == pytest.approx(one.size)
