"""Facts about what the lens adds to a verdict's reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import make_evidence, without_lens

from gilscope.model import Anatomy, BackendName, LensReading, StateSeconds, Target, ThreadRole, Trial
from gilscope.verdict.decision import judge
from gilscope.verdict.waiting import (
    Wait,
    explain_tie,
    explain_winner,
    material_loop_share,
    pool_waits,
)
from gilscope.verdict.wording import figure, percent

ASYNCIO, THREADS, PROCESSES, INTERPRETERS = BackendName
RUN = make_evidence().run

CONVOY = Wait(mean_ms=96.3, run_ms=80.0, gil_ms=71.2, loop_share=0.62, computes=True)
SLOWED = Wait(mean_ms=100.0, run_ms=50.0, gil_ms=10.0, loop_share=0.05, computes=True)
STUCK = Wait(mean_ms=100.0, run_ms=50.0, gil_ms=2.0, loop_share=0.31, computes=True)
CALM = Wait(mean_ms=80.0, run_ms=40.0, gil_ms=0.8, loop_share=0.01, computes=True)
FETCHING = replace(CALM, computes=False)
ALONE = Wait(mean_ms=50.0, run_ms=8.0, gil_ms=0.0, loop_share=0.0, computes=True)

BOTH = (
    "On threads, of 96.3 ms a request waited 71.2 ms for the GIL inside the function,"
    " and the event loop waited for it 62 % of the time"
)
HARDLY = "On threads, the function hardly waited for the GIL: 2.0 % of its time"


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (CONVOY, BOTH),
        (SLOWED, "On threads, of 100 ms a request waited 10.0 ms for the GIL inside the function"),
        (STUCK, "On threads, the event loop waited for the GIL 31 % of the time"),
        (CALM, ""),
        (replace(SLOWED, gil_ms=9.9), ""),
        (replace(SLOWED, mean_ms=0.0, run_ms=0.0), ""),
    ],
)
def test_a_loser_that_waited_explains_the_win(wait: Wait, said: str) -> None:
    assert explain_winner(PROCESSES, [THREADS, ASYNCIO], {THREADS: wait, ASYNCIO: ALONE}) == said


def test_the_best_loser_that_waited_is_named() -> None:
    waits = {THREADS: CONVOY, INTERPRETERS: SLOWED, ASYNCIO: ALONE}
    assert explain_winner(PROCESSES, [ASYNCIO, INTERPRETERS, THREADS], waits).startswith("On interpreters, ")
    assert explain_winner(PROCESSES, [THREADS, INTERPRETERS], waits) == BOTH


def test_threads_that_win_are_explained_by_hardly_waiting() -> None:
    assert explain_winner(THREADS, [PROCESSES, ASYNCIO], {THREADS: CALM, ASYNCIO: ALONE}) == HARDLY


@pytest.mark.parametrize(
    "wait", [FETCHING, replace(CALM, gil_ms=2.0), replace(CALM, loop_share=0.05), CONVOY]
)
def test_nothing_is_said_of_threads_that_do_not_compute_or_that_did_wait(wait: Wait) -> None:
    assert explain_winner(THREADS, [ASYNCIO], {THREADS: wait, ASYNCIO: ALONE}) == ""


def test_other_backends_have_nothing_to_wait_for() -> None:
    assert explain_winner(PROCESSES, [ASYNCIO], {PROCESSES: CALM, ASYNCIO: ALONE}) == ""


def test_a_tie_is_explained_by_the_longest_wait_among_the_tied() -> None:
    waits = {ASYNCIO: ALONE, THREADS: CONVOY, INTERPRETERS: SLOWED}
    assert explain_tie([ASYNCIO, THREADS, INTERPRETERS], waits) == BOTH
    assert explain_tie([ASYNCIO, PROCESSES], waits) == ""


def test_a_tie_of_threads_is_explained_by_hardly_waiting() -> None:
    assert explain_tie([THREADS, PROCESSES], {THREADS: CALM, PROCESSES: ALONE}) == HARDLY
    assert explain_tie([ASYNCIO, THREADS], {THREADS: FETCHING}) == ""


def test_without_a_lens_nothing_is_said() -> None:
    assert explain_winner(PROCESSES, [THREADS], {}) == explain_tie([ASYNCIO, THREADS], {}) == ""
    assert material_loop_share(THREADS, {}) is None


# Pooling.


def trial(requests: int, run_ms: float, gil_ms: float, *, loop: LensReading | None = None) -> Trial:
    threads = next(trial for trial in RUN.trials if trial.backend is THREADS)
    anatomy = Anatomy(10.0, 0.0, run_ms, 5.0, 0.0, gil_wait=gil_ms, runqueue=1.0, blocked=0.0)
    return replace(threads, requests=requests, anatomy_ms=anatomy, lens=loop, valid=True)


def loop(gil_wait_s: float, others_s: float) -> LensReading:
    return LensReading(1.0, 200, {ThreadRole.LOOP: StateSeconds(others_s, 0.0, gil_wait_s, 0.0)})


def test_trials_are_pooled_by_requests_and_loops_by_time() -> None:
    trials = [trial(300, 10.0, 4.0, loop=loop(1.0, 9.0)), trial(100, 50.0, 40.0, loop=loop(9.0, 1.0))]
    (found,) = pool_waits(trials, [THREADS, PROCESSES]).values()
    assert (found.mean_ms, found.run_ms, found.gil_ms) == (30.0, 20.0, 13.0)
    assert (found.share, found.run_share) == (13 / 30, 0.65)
    assert found.loop_share == 0.5
    assert found.most == 0.5


def test_only_valid_trials_that_were_watched_count() -> None:
    good = trial(100, 10.0, 4.0, loop=loop(1.0, 1.0))
    assert good.anatomy_ms is not None
    others = [
        replace(good, valid=False),
        replace(good, requests=0),
        replace(good, anatomy_ms=None),
        replace(good, anatomy_ms=replace(good.anatomy_ms, outside=900.0, blocked=None)),
        replace(good, backend=ASYNCIO),
    ]
    assert pool_waits([good, *others], [THREADS]) == pool_waits([good], [THREADS])
    assert pool_waits(others, [THREADS]) == {}


def test_a_loop_that_was_not_seen_has_not_waited() -> None:
    workers = LensReading(1.0, 200, {ThreadRole.WORKER: StateSeconds(1.0, 0.0, 1.0, 0.0)})
    assert pool_waits([trial(100, 10.0, 4.0, loop=workers)], [THREADS])[THREADS].loop_share == 0.0
    assert pool_waits([trial(100, 10.0, 4.0)], [THREADS])[THREADS].loop_share == 0.0


@pytest.mark.parametrize(("run_ms", "computes"), [(14.0, True), (16.0, False)])
def test_a_function_computes_if_it_is_mostly_on_a_core_when_nothing_keeps_it_waiting(
    run_ms: float,
    computes: bool,  # noqa: FBT001  a column
) -> None:
    # 5 ms on a core, 4 for the GIL and 1 for a core; the rest it slept by itself.
    assert pool_waits([trial(100, run_ms, 4.0)], [THREADS])[THREADS].computes is computes


# In the verdict.


def reason_of(workload: str, *, lens: bool = True) -> str:
    evidence = make_evidence() if lens else without_lens(make_evidence())
    trials = [trial for trial in evidence.run.trials if trial.workload == workload]
    return judge(Target(workload, workload), trials, evidence.samples, seed=1).reason


@pytest.mark.parametrize(
    ("workload", "ending"),
    [
        ("http_fetch", ". asyncio is the simplest"),
        ("primes", ". On threads, of 133 ms a request waited 66.3 ms for the GIL inside the function, and the event loop waited for it 62 % of the time"),
        ("sha256", ". threads is the simplest. On threads, the function hardly waited for the GIL: 1.1 % of its time"),
        ("json_roundtrip", ". On threads, of 227 ms a request waited 104 ms for the GIL inside the function, and the event loop waited for it 71 % of the time"),
    ],
)  # fmt: skip
def test_the_reason_ends_with_what_explains_it(workload: str, ending: str) -> None:
    assert reason_of(workload).endswith(ending)
    assert "for the GIL" not in reason_of(workload, lens=False)


def test_the_lens_decides_nothing() -> None:
    for workload in ("http_fetch", "primes", "sha256", "json_roundtrip"):
        assert reason_of(workload).startswith(reason_of(workload, lens=False))


def test_a_recommended_backend_that_freezes_its_neighbours_is_told_why() -> None:
    evidence = make_evidence()
    slow = [trial for trial in RUN.trials if (trial.workload, trial.backend) == ("json_roundtrip", ASYNCIO)]
    held = [trial for trial in RUN.trials if (trial.workload, trial.backend) == ("json_roundtrip", THREADS)]
    kind = [trial for trial in RUN.trials if (trial.workload, trial.backend) == ("http_fetch", ASYNCIO)]
    # As if threads had been as fast as a fetch, with the pings and the waits that they really had.
    samples = dict(evidence.samples)
    for fast, trial in zip(kind, held, strict=True):
        samples[trial.samples or ""] = replace(
            samples[trial.samples or ""], work=samples[fast.samples or ""].work
        )
    for calm, trial in zip(kind, slow, strict=True):
        samples[trial.samples or ""] = replace(
            samples[trial.samples or ""], probe=samples[calm.samples or ""].probe
        )
    verdict = judge(Target("json_roundtrip", "json_roundtrip"), [*slow, *held], samples, seed=1)
    assert verdict.winner is THREADS
    (caveat,) = verdict.caveats
    assert caveat.startswith("threads holds up everything else in the process: /ping p99 is 264 ms")
    assert caveat.endswith("; its event loop waited for the GIL 71 % of the time")


@pytest.mark.parametrize(
    ("share", "written"),
    [(0.0, "0 %"), (0.007, "0.7 %"), (0.0994, "9.9 %"), (0.0996, "10 %"), (0.62, "62 %")],
)
def test_shares_are_written_as_in_the_report(share: float, written: str) -> None:
    assert percent(share) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (71.23, "71.2"), (99.96, "100"), (1234.5, "1,234"), (float("nan"), "?")],
)
def test_figures_have_three_digits(value: float, written: str) -> None:
    assert figure(value) == written
