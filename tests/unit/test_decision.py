from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from factories import LOAD
from judged_trials import TARGET, samples_of, trial_of

from gilscope.model import (
    SIMPLEST_FIRST,
    BackendName,
    Caution,
    GeneratorLoad,
    Interval,
    Load,
    LoadKind,
    ProbeSamples,
    Samples,
    Trial,
    Verdict,
)
from gilscope.verdict.decision import beats, judge, suffers
from gilscope.verdict.wording import CALMER, TOO_WIDE, UNSURE

ASYNCIO, THREADS, PROCESSES, INTERPRETERS = BackendName
BLOCKS = 3
ENOUGH = 250


Measured = dict[str, Samples]


def measure(each: Mapping[BackendName, Samples], blocks: int = BLOCKS) -> tuple[list[Trial], Measured]:
    trials = [
        trial_of(backend, block, samples) for block in range(blocks) for backend, samples in each.items()
    ]
    return trials, {trial.samples or "": each[trial.backend] for trial in trials}


def verdict_of(figures: Mapping[BackendName, tuple[float, float]]) -> Verdict:
    """Judge backends by requests per second and ping latency, with a little spread."""
    trials, samples = measure(
        {name: samples_of(rps, ping_ms, 0.02) for name, (rps, ping_ms) in figures.items()}
    )
    return judge(TARGET, trials, samples, seed=1)


def spoil(trials: Sequence[Trial], backend: BackendName) -> list[Trial]:
    caution = Caution("errors", "97 of 100 requests failed", "see the first error")
    return [
        replace(trial, valid=False, warnings=(caution,)) if trial.backend is backend else trial
        for trial in trials
    ]


def test_a_clear_winner_by_throughput() -> None:
    verdict = verdict_of({ASYNCIO: (300, 20), THREADS: (310, 20), PROCESSES: (600, 5)})
    assert verdict.winner is verdict.recommended is PROCESSES
    assert verdict.conclusive
    assert verdict.ties == ()
    assert verdict.throughput_ratio[PROCESSES].mid == pytest.approx(2.0)
    assert "2.00x" in verdict.reason
    assert "asyncio" in verdict.reason


def test_a_tie_has_no_winner_and_recommends_the_simplest() -> None:
    verdict = verdict_of({PROCESSES: (302, 5), THREADS: (301, 5), ASYNCIO: (300, 5)})
    assert verdict.winner is None
    assert not verdict.conclusive
    assert verdict.recommended is ASYNCIO
    assert verdict.ties == (ASYNCIO, THREADS, PROCESSES)
    assert "no difference shown between asyncio, threads, processes" in verdict.reason
    assert "asyncio is the simplest" in verdict.reason


def test_an_interval_that_leaves_1_out_and_does_not_decide_says_why() -> None:
    figures = {ASYNCIO: (300.0, 5.0), THREADS: (309.0, 5.0)}
    reason = verdict_of(figures).reason
    assert "threads has 1.03x" in reason
    assert "(a difference counts if it is surely above 5.0 %, and above the noise floor)" in reason
    assert "counts if" not in verdict_of({ASYNCIO: (300.0, 5.0), THREADS: (300.0, 5.0)}).reason


def test_what_loses_is_not_among_the_ties() -> None:
    verdict = verdict_of({ASYNCIO: (300, 5), THREADS: (601, 5), PROCESSES: (600, 5)})
    assert (verdict.winner, verdict.recommended) == (None, THREADS)
    assert verdict.ties == (THREADS, PROCESSES)


def test_simplicity_follows_the_table_whatever_the_order_of_trials() -> None:
    verdict = verdict_of(dict.fromkeys(reversed(SIMPLEST_FIRST), (300.0, 5.0)))
    assert verdict.ties == SIMPLEST_FIRST == (ASYNCIO, THREADS, INTERPRETERS, PROCESSES)


def test_of_equal_throughputs_the_one_with_happier_neighbours_wins() -> None:
    verdict = verdict_of({ASYNCIO: (300, 90), THREADS: (301, 80), PROCESSES: (300, 4)})
    assert verdict.winner is PROCESSES
    assert "throughput ties with asyncio, threads, but the neighbours feel less" in verdict.reason


def test_happy_neighbours_do_not_outweigh_throughput() -> None:
    verdict = verdict_of({ASYNCIO: (600, 90), PROCESSES: (300, 4)})
    assert verdict.winner is ASYNCIO


def test_neighbours_that_suffer_a_little_do_not_decide() -> None:
    verdict = verdict_of({ASYNCIO: (300, 15.0), THREADS: (300, 1.0)})
    assert verdict.winner is None, "fifteen times as long, and yet not felt"
    verdict = verdict_of({ASYNCIO: (300, 180.0), THREADS: (300, 100.0)})
    assert verdict.winner is None, "80 ms more, and yet of the same kind"


def test_a_winner_that_freezes_the_loop_is_told_so() -> None:
    verdict = verdict_of({ASYNCIO: (600, 90), PROCESSES: (300, 4)})
    (caveat,) = [caveat for caveat in verdict.caveats if "holds up" in caveat]
    assert caveat.startswith("asyncio holds up everything else")
    assert "on processes" in caveat


def test_a_winner_that_freezes_nothing_has_no_such_caveat() -> None:
    verdict = verdict_of({ASYNCIO: (300, 90), PROCESSES: (600, 4)})
    assert verdict.winner is PROCESSES
    assert verdict.caveats == ()


def test_a_single_block_decides_nothing_and_recommends_nobody() -> None:
    slow, fast = samples_of(100, 5), samples_of(300, 5)
    trials = [trial_of(ASYNCIO, 0, slow), trial_of(THREADS, 0, fast)]
    verdict = judge(
        TARGET, trials, {"latency/asyncio-0.csv.gz": slow, "latency/threads-0.csv.gz": fast}, seed=1
    )
    assert (verdict.winner, verdict.conclusive) == (None, False)
    assert (verdict.recommended, verdict.ties) == (None, ())
    assert verdict.reason.startswith(
        "of asyncio, threads a single block counts, which shows no spread: --blocks 3 or more. "
        "Measured so far: threads has 3.00x"
    )
    assert set(verdict.throughput_rps) == {ASYNCIO, THREADS}


def test_blocks_that_were_spoilt_leave_it_undecided() -> None:
    trials, samples = measure({ASYNCIO: samples_of(300, 5), THREADS: samples_of(900, 5)})
    trials = [
        replace(trial, valid=False) if trial.backend is THREADS and trial.block else trial for trial in trials
    ]
    verdict = judge(TARGET, trials, samples, seed=1)
    assert (verdict.winner, verdict.recommended) == (None, None)
    assert verdict.reason.startswith(f"of threads a single block counts, which shows no spread: {CALMER}.")
    assert "2 of 6 trials do not count" in verdict.caveats[0]


def test_without_a_noise_floor_it_is_undecided() -> None:
    trials, samples = measure({ASYNCIO: samples_of(300, 5), THREADS: samples_of(900, 5)})
    twins = [
        replace(trial, twin=True, valid=trial.block == 0) for trial in trials if trial.backend is ASYNCIO
    ]
    assert judge(TARGET, trials, samples, seed=1).winner is THREADS
    verdict = judge(TARGET, [*trials, *twins], samples, seed=1)
    assert (verdict.winner, verdict.recommended, verdict.ties) == (None, None, ())
    assert verdict.reason.startswith(f"too few A/A pairs count to tell what is noise: {CALMER}. Measured")


def test_neighbours_that_suffer_no_more_than_equal_things_differ_do_not_decide() -> None:
    trials, samples = measure({ASYNCIO: samples_of(300, 30), THREADS: samples_of(300, 90)})
    assert judge(TARGET, trials, samples, seed=1).winner is ASYNCIO
    samples["twin"] = samples_of(300, 95)
    twins = [replace(trial, twin=True, samples="twin") for trial in trials if trial.backend is ASYNCIO]
    verdict = judge(TARGET, [*trials, *twins], samples, seed=1)
    assert (verdict.winner, verdict.ties) == (None, (ASYNCIO, THREADS))
    assert not any("holds up" in caveat for caveat in verdict.caveats)


def test_a_p99_is_rough_with_fewer_than_2000_requests_or_pings_in_all_blocks() -> None:
    trials, samples = measure({ASYNCIO: samples_of(300, 5), THREADS: samples_of(100, 5)}, blocks=3)
    verdict = judge(TARGET, trials, samples, seed=1)
    assert (verdict.rough_p99, verdict.rough_probe_p99) == ((THREADS,), (ASYNCIO, THREADS))


def test_invalid_trials_decide_nothing() -> None:
    good, better = samples_of(300, 5, 0.02), samples_of(900, 5, 0.02)
    trials, samples = measure({ASYNCIO: good, THREADS: good})
    spoilt = replace(trial_of(ASYNCIO, BLOCKS, better), valid=False)
    samples[spoilt.samples or ""] = better
    verdict = judge(TARGET, [*trials, spoilt], samples, seed=1)
    assert replace(verdict, caveats=()) == replace(judge(TARGET, trials, samples, seed=1), caveats=())
    assert "1 of 7 trials do not count" in verdict.caveats[0]
    counted = judge(TARGET, [*trials, replace(spoilt, valid=True)], samples, seed=1)
    assert counted != verdict, "the trial would have mattered"


def test_a_backend_with_invalid_trials_alone_is_left_out_with_the_reason() -> None:
    trials, samples = measure({ASYNCIO: samples_of(300, 5), THREADS: samples_of(900, 5)})
    verdict = judge(TARGET, spoil(trials, THREADS), samples, seed=1)
    assert set(verdict.throughput_rps) == {ASYNCIO}
    assert "threads is left out: 97 of 100 requests failed" in verdict.caveats
    assert verdict.recommended is ASYNCIO
    assert verdict.winner is None, "nobody was there to win against"


def test_a_trial_without_samples_decides_nothing() -> None:
    trials, samples = measure({ASYNCIO: samples_of(300, 5), THREADS: samples_of(600, 5)})
    failed = [
        replace(trial, samples=None, valid=False) if trial.backend is THREADS else trial for trial in trials
    ]
    verdict = judge(TARGET, failed, samples, seed=1)
    assert "threads is left out: its trials failed" in verdict.caveats


def test_a_single_backend_is_recommended_without_a_win() -> None:
    verdict = verdict_of({THREADS: (300, 5)})
    assert (verdict.winner, verdict.recommended, verdict.ties) == (None, THREADS, (THREADS,))
    assert not verdict.conclusive
    assert verdict.reason == "only threads was measured: 300 requests/s"


def test_without_a_valid_trial_there_is_no_verdict() -> None:
    trials, samples = measure({ASYNCIO: samples_of(300, 5), THREADS: samples_of(300, 5)})
    verdict = judge(TARGET, spoil(spoil(trials, ASYNCIO), THREADS), samples, seed=1)
    assert (verdict.winner, verdict.recommended, verdict.ties) == (None, None, ())
    assert not verdict.conclusive
    assert verdict.reason == "no backend could be measured"
    assert [caveat.partition(" ")[0] for caveat in verdict.caveats] == ["asyncio", "threads"]
    assert verdict.throughput_rps == verdict.p99_ratio == {}


def test_without_trials_there_is_no_verdict() -> None:
    assert judge(TARGET, [], {}, seed=1).reason == "no backend could be measured"


def test_ratios_are_against_asyncio() -> None:
    verdict = verdict_of({THREADS: (600, 5), ASYNCIO: (300, 5)})
    assert verdict.baseline is ASYNCIO
    assert verdict.throughput_ratio[ASYNCIO] == Interval(1, 1, 1)
    assert verdict.throughput_ratio[THREADS].mid == pytest.approx(2)
    assert verdict.p99_ratio[THREADS].mid == pytest.approx(0.5, rel=0.2)


def test_without_asyncio_the_simplest_is_the_baseline_and_is_named() -> None:
    verdict = verdict_of({PROCESSES: (600, 5), THREADS: (300, 5)})
    assert verdict.baseline is THREADS
    assert verdict.throughput_ratio[THREADS] == Interval(1, 1, 1)
    assert verdict.throughput_ratio[PROCESSES].mid == pytest.approx(2)
    assert verdict.winner is PROCESSES


def test_a_backend_without_pings_is_judged_by_the_rest() -> None:
    deaf = replace(samples_of(600, 5, 0.02), probe=ProbeSamples([], []))
    trials, samples = measure({ASYNCIO: samples_of(300, 5, 0.02), THREADS: deaf})
    verdict = judge(TARGET, trials, samples, seed=1)
    assert verdict.winner is THREADS
    assert set(verdict.throughput_ratio) == {ASYNCIO, THREADS}
    assert set(verdict.probe_p99_ms) == set(verdict.probe_p99_ratio) == {ASYNCIO}
    assert "/ping p99 ? ms" in verdict.reason


def test_unknown_pings_never_beat_known_ones() -> None:
    deaf = replace(samples_of(300, 5, 0.02), probe=ProbeSamples([], []))
    trials, samples = measure({ASYNCIO: samples_of(300, 90, 0.02), THREADS: deaf})
    verdict = judge(TARGET, trials, samples, seed=1)
    assert (verdict.winner, verdict.ties) == (None, (ASYNCIO, THREADS))


@pytest.mark.parametrize(("low", "wins"), [(1.06, True), (1.05, False), (0.9, False), (float("nan"), False)])
def test_beating_takes_more_than_a_twentieth(low: float, wins: bool) -> None:  # noqa: FBT001  a column
    assert beats(Interval(low, 3.0, 4.0)) is wins


@pytest.mark.parametrize(
    ("low", "difference_ms", "felt"),
    [(2.1, 21.0, True), (2.0, 21.0, False), (2.1, 20.0, False), (float("nan"), 21.0, False)],
)
def test_suffering_is_sure_and_felt(low: float, difference_ms: float, felt: bool) -> None:  # noqa: FBT001
    assert suffers(Interval(low, 3.0, 4.0), difference_ms) is felt


def unlike_in_one_block(better: BackendName, load: Load) -> Verdict:
    """Judge two backends that are equal but in one block of three, where one has two fifths of the throughput of the other."""
    trials, samples = measure(dict.fromkeys((ASYNCIO, THREADS), samples_of(300, 5)))
    assert judge(TARGET, trials, samples, seed=1).recommended is ASYNCIO
    samples[next(trial.samples or "" for trial in trials if trial.backend is not better)] = samples_of(120, 5)
    return judge(TARGET, [replace(trial, load=load) for trial in trials], samples, seed=1)


LOADS = pytest.mark.parametrize(
    ("load", "what"),
    [
        (LOAD, "the throughput of asyncio"),
        (replace(LOAD, kind=LoadKind.OPEN, users=None, rate=100.0), "that on asyncio"),
    ],
    ids=["closed", "open"],
)


@LOADS
def test_where_another_may_well_be_much_better_it_is_undecided_and_nobody_recommended(
    load: Load, what: str
) -> None:
    verdict = unlike_in_one_block(THREADS, load)
    assert (verdict.winner, verdict.recommended, verdict.conclusive) == (None, None, False)
    assert verdict.ties == (ASYNCIO, THREADS)
    assert f"{what}. That is {TOO_WIDE}" in verdict.reason
    assert "simplest" not in verdict.reason


@LOADS
def test_that_another_may_well_be_much_worse_is_no_reason_against_the_simplest(load: Load, what: str) -> None:
    verdict = unlike_in_one_block(ASYNCIO, load)
    assert (verdict.winner, verdict.recommended) == (None, ASYNCIO)
    assert f"{what}. asyncio is the simplest" in verdict.reason


def test_what_the_generator_cannot_resolve_is_no_reason_against_the_simplest() -> None:
    open_load = replace(LOAD, kind=LoadKind.OPEN, users=None, rate=100.0)
    trials, samples = measure({ASYNCIO: samples_of(3300, 1), THREADS: samples_of(6600, 1)})
    alike = {}
    for name, one in samples.items():
        work = samples_of(3300, 1).work
        alike[name] = replace(one, work=replace(work, latency_ms=[one.work.latency_ms[0]] * len(work.at_s)))
    for lag_ms, recommended, winner in ((1.9, ASYNCIO, None), (0.5, THREADS, THREADS)):
        late = [
            replace(trial, load=open_load, generator=GeneratorLoad(0.2, 0.01, lag_ms)) for trial in trials
        ]
        verdict = judge(TARGET, late, alike, seed=1)
        assert (verdict.recommended, verdict.winner) == (recommended, winner)


def test_one_that_is_kinder_and_may_well_be_much_slower_does_not_win() -> None:
    slow = [samples_of(rps, 4) for rps in (300, 600, 1060)]
    trials, samples = measure({THREADS: samples_of(1000, 80), PROCESSES: samples_of(1000, 4)})
    assert judge(TARGET, trials, samples, seed=1).winner is PROCESSES
    for trial in trials:
        if trial.backend is PROCESSES and trial.samples:
            samples[trial.samples] = slow[trial.block]
    verdict = judge(TARGET, trials, samples, seed=1)
    assert (verdict.winner, verdict.recommended) == (None, None)
    assert set(verdict.ties) == {THREADS, PROCESSES}


def test_whoever_surely_beats_another_puts_it_out_and_not_the_leader_alone() -> None:
    trials, samples = measure(
        {name: samples_of(rps, 5) for name, rps in ((ASYNCIO, 1000), (THREADS, 1090))}, blocks=4
    )
    wide, others = measure({PROCESSES: samples_of(1200, 5)}, blocks=4)
    others = {name: samples_of(rps, 5) for name, rps in zip(others, (1200, 1040, 1130, 1180), strict=True)}
    verdict = judge(TARGET, [*trials, *wide], {**samples, **others}, seed=1)
    assert verdict.ties == (THREADS, PROCESSES)


def test_a_sure_ratio_within_the_noise_is_not_called_wide() -> None:
    trials, samples = measure({ASYNCIO: samples_of(1000, 5), THREADS: samples_of(1300, 5)})
    twins = [
        replace(trial, twin=True, samples=f"{trial.samples}-twin")
        for trial in trials
        if trial.backend is ASYNCIO
    ]
    again = {trial.samples or "": samples_of(1450, 5) for trial in twins}
    verdict = judge(TARGET, [*trials, *twins], {**samples, **again}, seed=1)
    assert (verdict.winner, verdict.recommended) == (None, None)
    assert verdict.reason.endswith(UNSURE)
    assert TOO_WIDE not in verdict.reason
