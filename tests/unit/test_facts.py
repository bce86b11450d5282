"""Facts about putting blocks together: what the lens saw in some of them, in all, or in none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import PROCESSES, THREADS, make_evidence, without_lens

from gilscope.model import Anatomy, Evidence, GilWaitShare, LensReading, StateSeconds, ThreadRole, Trial
from gilscope.report import facts as known
from gilscope.report.facts import Facts

WATCHED = Anatomy(2.0, 4.0, 10.0, 6.0, 1.0, gil_wait=2.0, runqueue=1.0, blocked=0.5)
LONGER = replace(WATCHED, run=20.0, gil_wait=8.0)
UNWATCHED = Anatomy(200.0, 4.0, 10.0, 6.0, 1.0)
LOOP = StateSeconds(1.0, 1.0, 6.0, 2.0, 0.5)
WORKERS = StateSeconds(4.0, 2.0, 12.0, 2.0, 4.0)
READING = LensReading(10.0, 2000, {ThreadRole.LOOP: LOOP, ThreadRole.WORKER: WORKERS})


def facts_of(*trials: Trial) -> Facts:
    return Facts(THREADS, trials, None, (), (), None)


def trial(anatomy: Anatomy | None, requests: int = 100, lens: LensReading | None = None) -> Trial:
    first = make_evidence().run.trials[0]
    return replace(first, anatomy_ms=anatomy, requests=requests, lens=lens, gil_wait_share=None)


def test_anatomies_are_weighted_by_requests() -> None:
    found = known.anatomy(facts_of(trial(WATCHED, 300), trial(LONGER, 100)))
    assert found is not None
    assert (found.run, found.gil_wait) == (12.5, 3.5)
    assert found.unexplained == pytest.approx(0.75 * 0.5 + 0.25 * 4.5)


def test_trials_without_a_split_are_left_out_where_others_have_one() -> None:
    assert known.anatomy(facts_of(trial(UNWATCHED, 900), trial(WATCHED, 100))) == WATCHED
    partly = replace(UNWATCHED, runqueue=1.0)
    assert known.anatomy(facts_of(trial(partly, 900), trial(WATCHED, 100))) == WATCHED


def test_without_any_split_all_trials_count_and_no_part_is_made_up() -> None:
    partly = replace(UNWATCHED, outside=100.0, runqueue=1.0)
    found = known.anatomy(facts_of(trial(UNWATCHED, 100), trial(partly, 300)))
    assert found == replace(UNWATCHED, outside=125.0)


def test_trials_without_requests_or_anatomy_or_that_are_invalid_do_not_count() -> None:
    spoilt = replace(trial(LONGER), valid=False)
    assert known.anatomy(facts_of(trial(WATCHED), trial(LONGER, 0), trial(None), spoilt)) == WATCHED
    assert known.anatomy(facts_of(trial(None), trial(WATCHED, 0))) is None


def test_readings_are_added_up() -> None:
    busier = replace(READING, seconds=30.0, cpu_share=0.04)
    found = known.lens(facts_of(trial(WATCHED, lens=READING), trial(UNWATCHED), trial(WATCHED, lens=busier)))
    assert found is not None
    assert (found.seconds, found.samples) == (40.0, 4000)
    assert found.cpu_share == pytest.approx(0.03)
    assert found.roles[ThreadRole.LOOP] == StateSeconds(2.0, 2.0, 12.0, 4.0, 1.0)
    assert known.lens(facts_of(trial(UNWATCHED))) is None


def test_what_was_held_is_unknown_where_any_reading_does_not_know() -> None:
    older = replace(READING, roles={ThreadRole.LOOP: replace(LOOP, gil_held_s=None)})
    found = known.lens(facts_of(trial(WATCHED, lens=READING), trial(WATCHED, lens=older)))
    assert found is not None
    assert found.roles[ThreadRole.LOOP].gil_held_s is None
    assert found.roles[ThreadRole.WORKER] == WORKERS


def test_the_table_and_the_picture_have_the_same_shares() -> None:
    assert known.gil_wait(facts_of(trial(WATCHED, lens=READING))) == GilWaitShare(0.6, 0.6)
    alone = replace(READING, roles={ThreadRole.LOOP: LOOP})
    assert known.gil_wait(facts_of(trial(WATCHED, lens=alone))) == GilWaitShare(0.6, None)
    headless = replace(READING, roles={ThreadRole.WORKER: WORKERS})
    assert known.gil_wait(facts_of(trial(WATCHED, lens=headless))) is None


def without_gil(trial: Trial) -> Trial:
    return replace(trial, gil_enabled=False)


def test_without_a_gil_nobody_waits_for_it() -> None:
    watched = without_gil(trial(WATCHED, lens=READING))
    shares = without_gil(replace(trial(WATCHED), gil_wait_share=GilWaitShare(0.2, 0.1)))
    for facts in (facts_of(watched), facts_of(shares)):
        assert known.gil_wait(facts) is None
    # What looked like a wait was sleep of another kind, and nobody held anything.
    found = known.lens(facts_of(watched))
    assert found is not None
    assert found.roles == {
        ThreadRole.LOOP: StateSeconds(1.0, 1.0, 0.0, 8.0),
        ThreadRole.WORKER: StateSeconds(4.0, 2.0, 0.0, 14.0),
    }


def test_threads_are_off_the_cpu_whenever_they_have_no_core() -> None:
    for facts in (
        facts_of(trial(WATCHED, lens=READING)),
        facts_of(without_gil(trial(WATCHED, lens=READING))),
    ):
        assert known.off_cpu(facts) == pytest.approx((0.9, 0.8))
    alone = replace(READING, roles={ThreadRole.LOOP: LOOP})
    assert known.off_cpu(facts_of(trial(WATCHED, lens=alone))) == pytest.approx((0.9, None))
    assert known.off_cpu(facts_of(trial(UNWATCHED))) is None


@pytest.mark.parametrize(
    ("said", "gil"),
    [((), True), ((None,), True), ((False, None), False), ((False, True), True), ((True,), True)],
)
def test_there_is_a_gil_unless_all_trials_that_were_asked_say_no(
    said: tuple[bool | None, ...], *, gil: bool
) -> None:
    trials = (replace(trial(WATCHED), gil_enabled=one) for one in said)
    assert known.with_gil([facts_of(), facts_of(*trials)]) is gil


def test_shares_without_readings_are_averaged() -> None:
    shares = [GilWaitShare(0.2, None), GilWaitShare(0.4, 0.8)]
    trials = [replace(trial(WATCHED), gil_wait_share=share) for share in shares]
    found = known.gil_wait(facts_of(*trials))
    assert found is not None
    assert found.loop == pytest.approx(0.3)
    assert found.worker == 0.8
    assert known.gil_wait(facts_of(trial(UNWATCHED))) is None


def test_the_made_up_run_has_readings_on_all_backends_but_where_they_are_taken_away() -> None:
    def watched(evidence: Evidence) -> list[bool]:
        return [known.lens(facts) is not None for facts in known.collect(evidence, "primes")]

    assert watched(make_evidence()) == [True, True, True]
    assert watched(without_lens(make_evidence(), PROCESSES)) == [True, True, False]
    assert watched(without_lens(make_evidence())) == [False, False, False]
