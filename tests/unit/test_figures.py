from __future__ import annotations

from dataclasses import replace

import pytest
from factories import LOAD
from hypothesis import given, settings
from hypothesis import strategies as st

from gilscope.compare.figures import FEW_REQUESTS, RanOn, anatomy_of, failed_trial, spoilt, trial_of
from gilscope.compare.metering import Usage
from gilscope.compare.plan import Slot
from gilscope.lens.ledger import NOTHING, Span
from gilscope.lens.readings import Window
from gilscope.load.orders import Measured, Tally
from gilscope.model import (
    Anatomy,
    BackendName,
    GeneratorLoad,
    GilWaitShare,
    Latency,
    LoadKind,
    Plan,
    ProbeLatency,
    ProbeSamples,
    Samples,
    StateSeconds,
    Target,
    ThreadRole,
    Trial,
    WorkSamples,
)

SLOT = Slot(Target("primes", "primes"), BackendName.THREADS, 1, 3, last=False)
AT_EASE = GeneratorLoad(0.2, 0.01, 0.5)
OPEN = replace(LOAD, kind=LoadKind.OPEN, users=None, rate=50.0)
PLAN = Plan(
    (SLOT.target,),
    (BackendName.THREADS,),
    OPEN,
    blocks=2,
    seed=1,
    pool_size=None,
    profile_seconds=0,
    python="",
)
stage = st.floats(0, 1e4)


def work_of(requests: int, latency_ms: float = 10.0) -> WorkSamples:
    def each(value: float) -> list[float]:
        return [value] * requests

    return WorkSamples(
        each(1.0), each(latency_ms), each(2.0), each(5.0), each(3.0), each(0.0), each(1.0), each(8.5)
    )


def measured(requests: int = 100, errors: int = 0, due: int = 50, answered: int = 50) -> Measured:
    probe = ProbeSamples([0.5] * answered, [4.0] * answered)
    samples = Samples(2.0, work_of(requests), probe)
    samples = replace(samples, failed_s=(1.0,) * errors)
    return Measured(samples, Tally(errors, "boom" if errors else None, due, answered, AT_EASE))


def trial_from(
    given: Measured,
    steal_share: float = 0.0,
    window: Window | None = None,
    plan: Plan = PLAN,
    *,
    gil: bool | None = True,
    slot: Slot = SLOT,
) -> Trial:
    usage = Usage(1.5, 64.0, steal_share)
    return trial_of(
        slot, plan, given, usage, window, ran_on=RanOn("3.14.0", gil), samples="latency/primes.csv.gz"
    )


def codes(trial: Trial) -> list[str]:
    return [caution.code for caution in trial.warnings]


@settings(deadline=None)
@given(st.lists(st.tuples(stage, stage, stage, stage), min_size=1, max_size=50))
def test_the_anatomy_adds_up_to_the_mean_latency(rows: list[tuple[float, float, float, float]]) -> None:
    outside, queue, run, back = ([row[index] for row in rows] for index in range(4))
    latency = [sum(row) for row in rows]
    work = WorkSamples(latency, latency, queue, run, run, [0.0] * len(rows), back, latency)
    anatomy = anatomy_of(work, None)
    assert anatomy is not None
    total = anatomy.outside + anatomy.queue + anatomy.run + anatomy.return_
    assert total == pytest.approx(sum(latency) / len(rows))
    assert anatomy.outside == pytest.approx(sum(outside) / len(rows), abs=1e-6)


inside_state = st.floats(0, 1e3)


@settings(deadline=None)
@given(st.tuples(inside_state, inside_state, inside_state, inside_state), stage, stage)
def test_the_parts_of_run_and_the_unexplained_rest_add_up(
    states: tuple[float, ...], run: float, cpu: float
) -> None:
    anatomy = anatomy_of(replace(work_of(3), run_ms=[run] * 3, cpu_ms=[cpu] * 3), StateSeconds(*states))
    assert anatomy is not None
    assert anatomy.unexplained is not None
    parts = (anatomy.gil_wait or 0.0) + (anatomy.runqueue or 0.0) + (anatomy.blocked or 0.0)
    assert anatomy.cpu + parts + anatomy.unexplained == pytest.approx(anatomy.run, abs=1e-6)
    assert anatomy.mean == pytest.approx(10.0)


def test_nothing_is_left_unexplained_where_both_clocks_agree() -> None:
    # Four calls of 5 ms, of which 3 ms on a CPU.
    anatomy = anatomy_of(work_of(4), StateSeconds(0.010, 0.004, 0.004, 0.002))
    assert anatomy is not None
    assert (anatomy.gil_wait, anatomy.runqueue, anatomy.blocked) == pytest.approx((1.0, 0.5, 0.5))
    assert anatomy.unexplained == pytest.approx(0.0)


def test_the_lens_sees_failed_calls_as_well() -> None:
    alone = anatomy_of(work_of(4), StateSeconds(0.0, 0.0, 0.008, 0.0))
    among = anatomy_of(work_of(4), StateSeconds(0.0, 0.0, 0.008, 0.0), failures=4)
    assert alone is not None
    assert among is not None
    assert (alone.gil_wait, among.gil_wait) == pytest.approx((2.0, 1.0))


def test_ready_for_less_than_the_time_on_a_cpu_is_no_negative_run_queue() -> None:
    anatomy = anatomy_of(work_of(4), StateSeconds(0.008, 0.0, 0.008, 0.0))
    assert anatomy is not None
    assert (anatomy.gil_wait, anatomy.runqueue, anatomy.unexplained) == pytest.approx((2.0, 0.0, 0.0))


def test_a_suspended_coroutine_counts_as_blocked() -> None:
    work = replace(work_of(2), suspended_ms=[1.0] * 2)
    anatomy = anatomy_of(work, StateSeconds(0.006, 0.0, 0.002, 0.0))
    assert anatomy is not None
    assert (anatomy.gil_wait, anatomy.blocked, anatomy.unexplained) == pytest.approx((1.0, 1.0, 0.0))


def test_what_the_lens_did_not_see_inside_stays_unexplained() -> None:
    anatomy = anatomy_of(work_of(2), NOTHING)
    assert anatomy is not None
    assert (anatomy.gil_wait, anatomy.runqueue, anatomy.blocked, anatomy.unexplained) == (0.0, 0.0, 0.0, 2.0)


ROLES = {
    ThreadRole.LOOP: Span(StateSeconds(0.5, 0.0, 1.5, 0.0), NOTHING),
    ThreadRole.WORKER: Span(StateSeconds(1.0, 0.0, 1.0, 6.0), NOTHING),
}


def test_the_shares_of_gil_wait_are_of_each_roles_wall_time() -> None:
    trial = trial_from(measured(), window=Window(2.0, 400, 0.02, ROLES))
    assert trial.gil_wait_share == GilWaitShare(loop=0.75, worker=0.125)
    alone = trial_from(measured(), window=Window(2.0, 400, 0.02, {ThreadRole.LOOP: ROLES[ThreadRole.LOOP]}))
    assert alone.gil_wait_share == GilWaitShare(loop=0.75, worker=None)
    assert trial_from(measured(), window=Window(2.0, 400, 0.02, {})).gil_wait_share is None


def test_without_requests_there_is_no_anatomy() -> None:
    assert anatomy_of(work_of(0), None) is None


def test_a_trials_figures_follow_from_its_samples() -> None:
    trial = trial_from(measured())
    assert (trial.workload, trial.backend, trial.block, trial.python) == ("primes", "threads", 1, "3.14.0")
    assert (trial.requests, trial.errors, trial.throughput_rps) == (100, 0, 50.0)
    assert trial.latency_ms == Latency(10, 10, 10, 10, 10)
    assert trial.probe_latency_ms == ProbeLatency(4, 4, 4)
    assert trial.anatomy_ms == Anatomy(outside=2, queue=2, run=5, cpu=3, return_=1)
    assert (trial.cpu_cores, trial.memory_mb) == (1.5, 64.0)
    assert (trial.probes_due, trial.probes_answered) == (50, 50)
    assert trial.generator == AT_EASE
    assert trial.samples == "latency/primes.csv.gz"
    assert (trial.valid, trial.warnings, trial.first_error) == (True, (), None)


def test_without_a_single_answer_a_trial_is_invalid() -> None:
    trial = trial_from(measured(requests=0))
    assert not trial.valid
    assert (trial.latency_ms, trial.anatomy_ms, trial.throughput_rps) == (None, None, 0.0)
    assert codes(trial) == ["no-requests"]
    assert "no request was answered" in trial.warnings[0].message


@pytest.mark.parametrize(
    ("errors", "generator", "steal_share", "again"),
    [
        (0, AT_EASE, 0.0, False),  # the service is too slow: it will be again
        (0, AT_EASE, 0.6, True),
        (0, replace(AT_EASE, runqueue_share=0.6), 0.0, True),
        (7, AT_EASE, 0.6, False),  # the function fails: it will again
    ],
)
def test_silence_is_tried_again_where_machine_or_generator_may_be_its_cause(
    errors: int, generator: GeneratorLoad, steal_share: float, *, again: bool
) -> None:
    given = measured(requests=0, errors=errors)
    given = replace(given, tally=replace(given.tally, generator=generator))
    assert spoilt(trial_from(given, steal_share)) is again


def test_if_all_requests_failed_the_warning_says_so() -> None:
    trial = trial_from(measured(requests=0, errors=7))
    assert codes(trial) == ["no-requests"]
    assert trial.warnings[0].message == "all 7 requests failed"
    assert trial.first_error == "boom"


@pytest.mark.parametrize(("errors", "valid"), [(0, True), (1, True), (2, False), (100, False)])
def test_more_than_one_error_in_a_hundred_invalidates(errors: int, valid: bool) -> None:  # noqa: FBT001  a column
    trial = trial_from(measured(requests=100 - errors if errors < 100 else 1, errors=errors))
    assert trial.valid is valid
    assert ("errors" in codes(trial)) is not valid
    assert ("failures" in codes(trial)) is (errors == 1), "each counts as the slowest, which is told"


def test_what_disqualifies_comes_first() -> None:
    busy = replace(
        measured(requests=10, errors=10),
        tally=replace(measured(10, 10).tally, generator=GeneratorLoad(1, 1, 99)),
    )
    trial = trial_from(busy)
    assert codes(trial) == ["errors", "generator-busy", "generator-starved", "dispatch-lag", "few-requests"]
    assert "10 of 20" in trial.warnings[0].message


@pytest.mark.parametrize(("requests", "expected"), [(FEW_REQUESTS - 1, ["few-requests"]), (FEW_REQUESTS, [])])
def test_few_requests_are_a_caution_and_no_more(requests: int, expected: list[str]) -> None:
    trial = trial_from(measured(requests=requests))
    assert codes(trial) == expected
    assert trial.valid


def in_flight(accounted: float, latencies_ms: list[float], plan: Plan) -> list[str]:
    """Judge ten requests in flight, by users or by an open loop's books, of which so many are accounted for."""
    zero = [0.0] * len(latencies_ms)
    work = WorkSamples(zero, latencies_ms, zero, zero, zero, zero, zero, latencies_ms)
    tally = replace(
        measured().tally, in_flight=10.0 if plan.load.users is None else None, accounted=accounted
    )
    return codes(trial_from(Measured(Samples(2.0, work, measured().samples.probe), tally), plan=plan))


def test_in_an_open_loop_all_that_is_in_flight_has_to_be_accounted_for() -> None:
    assert in_flight(9.6, [10.0] * 50, PLAN) == []
    assert in_flight(9.4, [10.0] * 50, PLAN) == ["littles-law"]
    assert in_flight(9.4, [10.0] * 49 + [2_000.0], PLAN) == ["littles-law"], "its ends are exact"


def test_in_a_closed_loop_a_windows_end_may_hide_a_request_of_each_user() -> None:
    users = replace(PLAN, load=replace(LOAD, users=10, rate=None))
    assert in_flight(9.4, [10.0] * 50, users) == ["littles-law"]
    # The mean request that the end falls into takes 1.6 s of the window's 2.
    assert in_flight(9.4, [10.0] * 49 + [2_000.0], users) == []


def test_lost_pings_are_a_caution() -> None:
    trial = trial_from(measured(due=50, answered=47))
    assert codes(trial) == ["pings-unanswered"]
    assert "3 of 50" in trial.warnings[0].message
    assert trial.valid


@pytest.mark.parametrize(("failed", "told"), [(1, []), (2, ["pings-failed"])])
def test_pings_that_fail_are_told_where_a_p99_could_hide_them(failed: int, told: list[str]) -> None:
    given = measured(due=100, answered=100 - failed)
    found = trial_from(replace(given, tally=replace(given.tally, probes_failed=failed)))
    assert codes(found) == told, "and none of them counts as waited for"
    assert all(f"{failed} of 100 pings failed" in caution.message for caution in found.warnings)


def test_pings_that_fail_and_pings_that_are_given_up_are_told_apart() -> None:
    given = measured(due=100, answered=80)
    found = trial_from(replace(given, tally=replace(given.tally, probes_failed=15)))
    assert codes(found) == ["pings-failed", "pings-unanswered"]
    assert [caution.message.split(" pings")[0] for caution in found.warnings] == ["15 of 100", "5 of 100"]


def test_a_generators_lag_is_judged_by_the_median_of_its_trial() -> None:
    tally = replace(measured().tally, generator=replace(AT_EASE, dispatch_lag_p99_ms=9.0))
    slow = Samples(2.0, work_of(100, latency_ms=200.0), ProbeSamples([], []))
    assert "dispatch-lag" not in codes(trial_from(Measured(slow, tally)))
    assert "dispatch-lag" in codes(trial_from(Measured(measured().samples, tally)))


@pytest.mark.parametrize(("slo", "told"), [("p99=500ms", False), ("p99=400ms", True)])
def test_where_a_latency_has_to_be_kept_lag_is_judged_by_that(slo: str, told: bool) -> None:  # noqa: FBT001
    tally = replace(measured().tally, generator=replace(AT_EASE, dispatch_lag_p99_ms=9.0))
    trial = trial_from(Measured(measured().samples, tally), plan=replace(PLAN, slo=slo))
    assert ("dispatch-lag" in codes(trial)) is told


def test_every_warning_has_a_remedy() -> None:
    worst = replace(
        measured(1, 1, 9, 1), tally=replace(measured(1, 1, 9, 1).tally, generator=GeneratorLoad(1, 1, 99))
    )
    warnings = trial_from(worst).warnings
    assert len(warnings) == 6
    assert all(caution.message and caution.remedy for caution in warnings)


def test_a_trial_that_could_not_be_measured_counts_nothing_and_says_why() -> None:
    trial = failed_trial(SLOT, LOAD, "3.14.0", "the service ended with exit code -9")
    assert not trial.valid
    assert trial.first_error == "the service ended with exit code -9"
    assert (trial.requests, trial.errors, trial.probes_due, trial.samples) == (0, 0, 0, None)
    assert codes(trial) == ["trial-failed"]


def test_cpu_time_that_the_hypervisor_took_spoils_a_trial() -> None:
    assert "steal" not in [caution.code for caution in trial_from(measured(), 0.05).warnings]
    found = trial_from(measured(), 0.12)
    assert [caution.message for caution in found.warnings if caution.code == "steal"] == [
        "the hypervisor gave 12% of this machine's CPU time to others"
    ]
    assert (found.steal_share, found.valid) == (0.12, False)
    assert trial_from(measured(), 0.12, plan=replace(PLAN, lenient=True)).valid


ELSEWHERE = replace(PLAN, load_master="10.0.0.5:5557", load=replace(OPEN, workers=3))


@pytest.mark.parametrize("requests", [100, 0])
@pytest.mark.parametrize(("plan", "codes_of_it"), [(ELSEWHERE, ["steal"]), (PLAN, [])])
def test_cpu_time_that_was_taken_from_a_machine_of_the_load_spoils_a_trial_as_well(
    requests: int, plan: Plan, codes_of_it: list[str]
) -> None:
    given = measured(requests)
    robbed = replace(given.tally, generator=replace(AT_EASE, stolen_share=0.2))
    found = trial_from(replace(given, tally=robbed), plan=plan)
    assert [code for code in codes(found) if code == "steal"] == codes_of_it, (
        "on one machine it is the same figure, and judged already"
    )


def test_a_wait_for_a_core_is_held_against_one_workers_part_of_the_answers() -> None:
    given = measured(
        requests=1000
    )  # 525 answers a second, a wait of 0.19 ms each; of three workers' parts, 0.57 ms
    starved = replace(given, tally=replace(given.tally, generator=replace(AT_EASE, runqueue_share=0.1)))
    assert "generator-starved" not in codes(trial_from(starved, plan=replace(PLAN, load=OPEN)))
    (caution,) = trial_from(starved, plan=ELSEWHERE).warnings
    assert caution.code == "generator-starved"
    assert "--expect-workers 4" in caution.remedy


@pytest.mark.parametrize(
    ("backend", "computed_s", "told"),
    [
        (BackendName.THREADS, 0.7, True),
        (BackendName.THREADS, 0.8, False),
        (BackendName.THREADS, 7.0, False),
        (BackendName.PROCESSES, 0.8, True),
    ],
)
def test_whoever_waits_for_threads_that_compute_does_not_wait_for_the_client(
    backend: BackendName,
    computed_s: float,
    told: bool,  # noqa: FBT001  a column
) -> None:
    """Its event loop was asleep for 90 % of the time, and where it woke it had to wait for their GIL."""
    window = Window(
        2.0,
        400,
        0.02,
        {
            ThreadRole.LOOP: Span(StateSeconds(0.2, 0.0, 0.0, 1.8), NOTHING),
            ThreadRole.WORKER: Span(StateSeconds(computed_s, 0.05, 0.0, 7.95 - computed_s), NOTHING),
        },
    )
    given = Measured(Samples(2.0, work_of(100, latency_ms=20.0), ProbeSamples([], [])), measured().tally)
    trial = trial_from(given, window=window, slot=replace(SLOT, backend=backend))
    assert ("client-slow" in codes(trial)) is told


@pytest.mark.parametrize(("slept_inside_s", "told"), [(0.0, True), (1.7, False)])
def test_a_function_that_sleeps_on_the_event_loop_is_not_the_clients_doing(
    slept_inside_s: float,
    told: bool,  # noqa: FBT001  a column
) -> None:
    loop = Span(StateSeconds(0.2, 0.0, 0.0, 1.8), StateSeconds(0.1, 0.0, 0.0, slept_inside_s))
    window = Window(2.0, 400, 0.02, {ThreadRole.LOOP: loop})
    given = Measured(Samples(2.0, work_of(100, latency_ms=20.0), ProbeSamples([], [])), measured().tally)
    trial = trial_from(given, window=window, slot=replace(SLOT, backend=BackendName.ASYNCIO))
    assert ("client-slow" in codes(trial)) is told


@pytest.mark.parametrize("gil", [True, None])
def test_with_a_gil_what_the_lens_saw_splits_the_request(*, gil: bool | None) -> None:
    trial = trial_from(measured(), window=Window(2.0, 400, 0.02, ROLES), gil=gil)
    assert trial.gil_wait_share is not None
    assert trial.anatomy_ms is not None
    assert trial.anatomy_ms.gil_wait is not None


def test_without_a_gil_nobody_waits_for_it_and_the_rest_is_off_cpu() -> None:
    trial = trial_from(measured(), window=Window(2.0, 400, 0.02, ROLES), gil=False)
    assert trial.gil_enabled is False
    assert trial.gil_wait_share is None
    assert trial.anatomy_ms is not None
    assert trial.anatomy_ms.gil_wait is None
    assert trial.lens is not None  # What its threads did is still known.
