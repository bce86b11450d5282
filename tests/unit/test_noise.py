"""Facts about the noise floor: which trials are pairs, and what two equal things may differ by."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from factories import LOAD, make_evidence

from gilscope.compare.figures import failed_trial
from gilscope.compare.plan import Slot
from gilscope.compare.store import CONVERTER, to_document
from gilscope.model import (
    BackendName,
    Caution,
    Interval,
    NoiseFloor,
    ProbeSamples,
    Samples,
    Target,
    Trial,
    WorkSamples,
)
from gilscope.verdict.noise import noise_floor, spread

ASYNCIO, THREADS, *_ = BackendName
TARGET = Target("primes", "primes")
WINDOW_S = 2.0
ONE = Interval(1.0, 1.0, 1.0)

Measured = tuple[Trial, Samples]


def trial_of(
    block: int, rps: float = 100.0, *, twin: bool = False, backend: BackendName = ASYNCIO, attempt: int = 1
) -> Measured:
    """Make a steady trial; its latency, and that of its pings, is a second over its rate."""
    answers = round(rps * WINDOW_S)
    at = [index * WINDOW_S / answers for index in range(answers)]
    work = WorkSamples(at, [1e3 / rps] * answers, *[[0.0] * answers] * 6)
    due = [index / 10 for index in range(20)]
    samples = Samples(WINDOW_S, work, ProbeSamples(due, [1e3 / rps] * 20))
    slot = Slot(TARGET, backend, block, 0, last=False, twin=twin, attempt=attempt)
    name = f"latency/{backend}-{block}-{twin}-{attempt}"
    trial = replace(
        failed_trial(slot, LOAD, "3.14.0", ""), requests=answers, samples=name, valid=True, warnings=()
    )
    return trial, samples


def invalid(measured: Measured) -> Measured:
    trial, samples = measured
    return replace(trial, valid=False, warnings=(Caution("steal", "others took it", "wait"),)), samples


def floor_of(measured: Iterable[Measured], seed: int = 1) -> NoiseFloor | None:
    kept = list(measured)
    samples: Mapping[str, Samples] = {trial.samples or "": own for trial, own in kept}
    return noise_floor([trial for trial, _ in kept], samples, seed=seed)


def pairs(first_rps: float, twin_rps: float, blocks: int = 3) -> list[Measured]:
    firsts = [trial_of(block, first_rps) for block in range(blocks)]
    return [*firsts, *(trial_of(block, twin_rps, twin=True) for block in range(blocks))]


# What the twins show.


def test_equal_trials_show_no_noise() -> None:
    assert floor_of(pairs(100, 100)) == NoiseFloor(ASYNCIO, 3, ONE, ONE, ONE)


def test_twins_are_told_over_the_first_trials() -> None:
    found = floor_of(pairs(100, 125))
    assert found is not None
    assert found.throughput == pytest.approx(Interval(1.25, 1.25, 1.25))
    assert found.p99 == pytest.approx(Interval(0.8, 0.8, 0.8))
    assert found.probe_p99 == pytest.approx(Interval(0.8, 0.8, 0.8))


def test_what_slows_a_whole_block_down_cancels_out() -> None:
    measured = [
        trial_of(block, rps, twin=twin) for block, rps in enumerate((50, 100, 200)) for twin in (False, True)
    ]
    found = floor_of(measured)
    assert found is not None
    assert found.throughput == pytest.approx(ONE, abs=0.2)
    assert found.throughput.mid == 1.0


def test_the_seed_fixes_it_and_the_order_of_the_trials_does_not_matter() -> None:
    measured = [
        *(trial_of(block, 90 + block) for block in range(3)),
        *(trial_of(block, 110 - 3 * block, twin=True) for block in range(3)),
    ]
    assert floor_of(measured, seed=4) == floor_of(measured[::-1], seed=4)


# Which trials are pairs.


def test_blocks_without_both_trials_are_left_out() -> None:
    alone = [trial_of(3, 500), trial_of(4, 500, twin=True)]
    assert floor_of([*pairs(100, 125), *alone]) == floor_of(pairs(100, 125))


@pytest.mark.parametrize("spoilt", [0, 5])
def test_an_invalid_trial_takes_its_pair_with_it(spoilt: int) -> None:
    measured = pairs(100, 125)
    measured[spoilt] = invalid(measured[spoilt])
    found = floor_of(measured)
    assert found is not None
    assert found.pairs == 2
    rest = [own for own in measured if own[0].block != spoilt % 3]
    assert found == floor_of(rest)


def test_a_second_attempt_takes_the_place_of_the_first() -> None:
    first, *others = pairs(100, 125)
    measured = [invalid(first), trial_of(0, 100, attempt=2), *others]
    found = floor_of(measured)
    assert found is not None
    assert found.pairs == 3
    assert found.throughput == pytest.approx(Interval(1.25, 1.25, 1.25))


def test_a_trial_without_samples_makes_no_pair() -> None:
    (first, own), *others = pairs(100, 125)
    found = floor_of([(replace(first, samples=None), own), *others])
    assert found is not None
    assert found.pairs == 2


def test_other_backends_do_not_count() -> None:
    others = [trial_of(block, 900, backend=THREADS) for block in range(3)]
    assert floor_of([*others, *pairs(100, 125), *others]) == floor_of(pairs(100, 125))


def test_the_backend_that_was_tried_twice_is_named() -> None:
    measured = [
        *(trial_of(block, 300) for block in range(2)),
        *(trial_of(block, backend=THREADS) for block in range(2)),
        *(trial_of(block, backend=THREADS, twin=True) for block in range(2)),
    ]
    found = floor_of(measured)
    assert found is not None
    assert (found.backend, found.pairs, found.throughput) == (THREADS, 2, ONE)


@pytest.mark.parametrize(
    "measured",
    [
        [],
        [trial_of(0)],
        [trial_of(0, twin=True)],
        [trial_of(0), trial_of(1, twin=True)],
        [trial_of(0, backend=THREADS), trial_of(0, twin=True)],
        [invalid(own) for own in pairs(100, 125)],
    ],
    ids=["nothing", "no twin", "a twin alone", "other blocks", "other backends", "all invalid"],
)
def test_without_a_pair_nothing_is_known(measured: list[Measured]) -> None:
    assert floor_of(measured) is None


def test_without_a_single_answer_in_time_no_floor_is_known() -> None:
    # An open loop whose requests were all answered after their window had ended.
    def late(measured: Measured) -> Measured:
        trial, samples = measured
        column = [5_000.0] * len(samples.work.at_s)
        return trial, replace(samples, work=replace(samples.work, latency_ms=column, service_ms=column))

    assert floor_of(map(late, pairs(10, 10, blocks=2))) is None


def test_a_floor_comes_back_from_a_file() -> None:
    floor = NoiseFloor(THREADS, 2, Interval(0.9, 1.0, 1.1), Interval(0.5, 1.1, math.inf), ONE)
    evidence = make_evidence()
    run = replace(evidence.run, verdicts=(replace(evidence.run.verdicts[0], noise=floor),))
    written = json.loads(json.dumps(to_document(run), allow_nan=False))
    assert written["verdicts"][0]["noise"]["p99"] == [0.5, 1.1, None]
    assert CONVERTER.structure(written, type(run)).verdicts[0].noise == floor


# By what factor two equal things may differ.


@pytest.mark.parametrize(
    ("ratio", "factor"),
    [
        (ONE, 1.0),
        (Interval(0.9, 1.0, 1.05), 1 / 0.9),
        (Interval(0.97, 1.02, 1.2), 1.2),
        (Interval(1.1, 1.2, 1.3), 1.3),
        (Interval(0.5, 0.6, 0.7), 2.0),
        (Interval(0.0, 0.8, 1.1), 1.25),
        (Interval(0.8, 1.0, math.inf), 1.25),
        (Interval(math.nan, 1.5, math.nan), 1.5),
        (Interval(math.nan, math.nan, math.nan), 1.0),
    ],
)
def test_the_end_that_is_further_from_1_counts(ratio: Interval, factor: float) -> None:
    assert spread(ratio) == pytest.approx(factor)
