"""Facts about comparing two runs: ratios with their intervals, and what else differs between the runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from factories import (
    ASYNCIO,
    BLOCKS,
    PROCESSES,
    SHAPES,
    THREADS,
    Shape,
    make_evidence,
    make_samples,
    make_trial,
)

from gilscope.model import BackendName, Change, Evidence, LoadKind, Run, Samples, Target
from gilscope.report.console import describe_changes
from gilscope.verdict.changes import changes, unlike

Asked = tuple[str, BackendName]
PRIMES = ("primes", THREADS)
RUN = make_evidence().run


def faster(shape: Shape, factor: float) -> Shape:
    return replace(shape, rps=shape.rps * factor)


def measured(shapes: Mapping[Asked, Shape], *, seed: int = 1, blocks: int = BLOCKS) -> Evidence:
    """Make a run of these shapes, with other random numbers for another seed."""
    samples: dict[str, Samples] = {}
    trials = []
    for at, ((workload, backend), shape) in enumerate(shapes.items()):
        for block in range(blocks):
            drawn = make_samples(shape, seed=1000 * seed + 10 * at + block)
            trial = make_trial(workload, backend, block, drawn)
            samples[trial.samples or ""] = drawn
            trials.append(trial)
    return Evidence(replace(RUN, trials=tuple(trials), flames=(), verdicts=()), samples)


def usual(*asked: Asked) -> dict[Asked, Shape]:
    return {(workload, backend): SHAPES[workload][backend] for workload, backend in asked}


def asked_of(found: tuple[Change, ...]) -> list[Asked]:
    return [(change.workload, change.backend) for change in found]


def shown(change: Change) -> tuple[bool, bool, bool]:
    ratios = (change.throughput, change.p99, change.probe_p99)
    throughput, p99, probe = (ratio.leaves_out(1.0) for ratio in ratios)
    return throughput, p99, probe


def with_trials(evidence: Evidence, **altered: object) -> Evidence:
    trials = tuple(replace(trial, **altered) for trial in evidence.run.trials)  # type: ignore[arg-type]
    return replace(evidence, run=replace(evidence.run, trials=trials))


# The ratios.


def test_a_run_does_not_differ_from_itself() -> None:
    evidence = measured(usual(PRIMES, ("primes", PROCESSES)))
    found = changes(evidence, evidence)
    assert asked_of(found) == [PRIMES, ("primes", PROCESSES)]
    for change in found:
        assert shown(change) == (False, False, False)
        for ratio in (change.throughput, change.p99, change.probe_p99):
            assert ratio.mid == pytest.approx(1.0)


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_equal_runs_show_no_difference(seed: int) -> None:
    (change,) = changes(measured(usual(PRIMES)), measured(usual(PRIMES), seed=seed))
    assert shown(change) == (False, False, False)
    for ratio in (change.throughput, change.p99, change.probe_p99):
        assert ratio.low <= ratio.mid <= ratio.high


def test_a_doubled_throughput_is_shown() -> None:
    before = measured(usual(PRIMES), seed=2)
    now = measured({PRIMES: faster(SHAPES["primes"][THREADS], 2.0)})
    (change,) = changes(now, before)
    assert change.throughput.mid == pytest.approx(2.0, abs=0.02)
    assert 1.8 < change.throughput.low <= change.throughput.high < 2.2
    assert shown(change) == (True, False, False)


def test_the_other_way_round_it_is_halved() -> None:
    before = measured(usual(PRIMES), seed=2)
    now = measured({PRIMES: faster(SHAPES["primes"][THREADS], 2.0)})
    (change,) = changes(before, now)
    assert change.throughput.mid == pytest.approx(0.5, abs=0.01)
    assert change.throughput.leaves_out(1.0)


def test_neighbours_that_feel_less_are_shown() -> None:
    shape = SHAPES["primes"][THREADS]
    now = measured({PRIMES: replace(shape, ping_p50=0.9, ping_p99=4.0)})
    (change,) = changes(now, measured(usual(PRIMES)))
    assert change.probe_p99.mid == pytest.approx(4.0 / shape.ping_p99, rel=0.05)
    assert shown(change) == (False, False, True)


def test_what_only_one_run_has_is_left_out() -> None:
    now = measured(usual(PRIMES, ("primes", ASYNCIO), ("sha256", THREADS)))
    before = measured(usual(PRIMES, ("primes", PROCESSES), ("http_fetch", THREADS)))
    assert asked_of(changes(now, before)) == asked_of(changes(before, now)) == [PRIMES]


def test_the_order_is_that_of_the_later_run() -> None:
    asked = [PRIMES, ("primes", ASYNCIO), ("sha256", THREADS)]
    found = changes(measured(usual(*asked)), measured(usual(*reversed(asked))))
    assert asked_of(found) == asked


def test_runs_with_nothing_in_common_have_no_changes() -> None:
    now, before = measured(usual(PRIMES)), measured(usual(("sha256", ASYNCIO)))
    assert changes(now, before) == ()
    assert changes(now, measured({})) == changes(measured({}), now) == ()
    assert "the two runs have no workload and backend in common" in describe_changes((), ())


def test_invalid_trials_do_not_count() -> None:
    before = measured(usual(PRIMES))
    spoilt = measured({PRIMES: faster(SHAPES["primes"][THREADS], 3.0)}, seed=2, blocks=1)
    (bad,) = with_trials(spoilt, valid=False, block=BLOCKS, samples="latency/spoilt").run.trials
    now = replace(
        before,
        run=replace(before.run, trials=(*before.run.trials, bad)),
        samples={**before.samples, "latency/spoilt": next(iter(spoilt.samples.values()))},
    )
    assert changes(now, before) == changes(before, before)


def test_a_backend_without_a_valid_trial_is_left_out() -> None:
    evidence = measured(usual(PRIMES))
    assert changes(with_trials(evidence, valid=False), evidence) == ()
    assert changes(evidence, with_trials(evidence, valid=False)) == ()


def test_a_trial_without_samples_is_left_out() -> None:
    evidence = measured(usual(PRIMES))
    assert changes(with_trials(evidence, samples=None), evidence) == ()


def test_runs_with_different_numbers_of_blocks_are_compared() -> None:
    (change,) = changes(measured(usual(PRIMES), blocks=5), measured(usual(PRIMES), seed=2, blocks=2))
    assert change.throughput.mid == pytest.approx(1.0, abs=0.01)
    assert shown(change) == (False, False, False)


def test_single_blocks_show_no_difference() -> None:
    """A single block has no spread, so no verdict is made of one either."""
    slightly = measured({PRIMES: faster(SHAPES["primes"][THREADS], 1.01)}, blocks=1)
    (change,) = changes(slightly, measured(usual(PRIMES), seed=2, blocks=1))
    assert shown(change) == (False, False, False)


def test_where_no_ping_was_answered_no_difference_is_shown() -> None:
    evidence = measured(usual(PRIMES))
    deaf = replace(
        evidence,
        samples={
            name: replace(samples, probe=replace(samples.probe, due_s=[], latency_ms=[]))
            for name, samples in evidence.samples.items()
        },
    )
    for now, before in ((deaf, evidence), (evidence, deaf), (deaf, deaf)):
        (change,) = changes(now, before)
        assert shown(change) == (False, False, False)
        assert change.throughput.mid == pytest.approx(1.0)
        assert "nan" not in describe_changes([change], ())


def test_the_same_runs_give_the_same_figures_again() -> None:
    now, before = measured(usual(PRIMES)), measured(usual(PRIMES), seed=2)
    assert changes(now, before) == changes(now, before)


# What else differs.


def planned(run: Run, **altered: object) -> Run:
    return replace(run, plan=replace(run.plan, **altered))  # type: ignore[arg-type]


def test_a_run_is_like_itself() -> None:
    assert unlike(RUN, RUN) == ()
    assert unlike(RUN, replace(RUN, name="again", started_at="2026-01-01T00:00:00+00:00")) == ()


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (
            replace(RUN, machine=replace(RUN.machine, cpu="Other CPU")),
            "machine: Example CPU @ 2.40GHz, 2 cores, before Other CPU, 2 cores",
        ),
        (
            replace(RUN, machine=replace(RUN.machine, cores=64)),
            "machine: Example CPU @ 2.40GHz, 2 cores, before Example CPU @ 2.40GHz, 64 cores",
        ),
        (
            replace(RUN, trials=tuple(replace(trial, python="3.12.1") for trial in RUN.trials)),
            "Python: 3.14.0, before 3.12.1",
        ),
        (
            replace(RUN, trials=(replace(RUN.trials[0], python="3.12.1"), *RUN.trials[1:])),
            "Python: 3.14.0, before 3.12.1, 3.14.0",
        ),
        (planned(RUN, load=replace(RUN.plan.load, users=8)), "load: 20 users, 4 s, before 8 users, 4 s"),
        (
            planned(RUN, load=replace(RUN.plan.load, seconds=0.5)),
            "load: 20 users, 4 s, before 20 users, 0.5 s",
        ),
        (
            planned(RUN, load=replace(RUN.plan.load, kind=LoadKind.OPEN, users=None, rate=120.0)),
            "load: 20 users, 4 s, before 120 requests/s, 4 s",
        ),
        (planned(RUN, pool_size=4), "pool size: default, before 4"),
    ],
)
def test_what_else_differs_is_told(before: Run, told: str) -> None:
    assert unlike(RUN, before) == (told,)


def with_arguments(run: Run, arguments: Mapping[str, object], workload: str = "primes") -> Run:
    targets = tuple(
        replace(target, arguments=arguments) if target.workload == workload else target
        for target in run.plan.targets
    )
    return planned(run, targets=targets)


def test_other_arguments_of_the_same_workload_are_told() -> None:
    assert unlike(RUN, with_arguments(RUN, {"n": 20})) == ("arguments of primes: n=8000, before n=20",)
    assert unlike(with_arguments(RUN, {}), RUN) == ("arguments of primes: none, before n=8000",)


def test_arguments_in_another_order_are_the_same() -> None:
    now = with_arguments(RUN, {"n": 1, "exponent": 2})
    assert unlike(now, with_arguments(RUN, {"exponent": 2, "n": 1})) == ()


def test_workloads_that_only_one_run_has_are_no_difference() -> None:
    alone = planned(RUN, targets=(Target("own", "own.py:work", {"n": 1}),))
    assert unlike(RUN, alone) == unlike(alone, RUN) == ()


def test_all_that_differs_is_told_at_once() -> None:
    before = replace(
        planned(with_arguments(RUN, {"n": 2}), pool_size=4, load=replace(RUN.plan.load, users=3)),
        machine=replace(RUN.machine, cores=1),
        trials=tuple(replace(trial, python="3.15.0") for trial in RUN.trials),
    )
    assert [told.partition(":")[0] for told in unlike(RUN, before)] == [
        "machine",
        "Python",
        "load",
        "pool size",
        "arguments of primes",
    ]


def test_an_empty_run_can_be_held_against_any() -> None:
    empty = replace(RUN, trials=())
    assert unlike(empty, empty) == ()
    assert [told.partition(":")[0] for told in unlike(RUN, empty)] == ["Python"]


# In the terminal.


def test_only_differences_that_are_shown_have_a_star() -> None:
    shapes = usual(PRIMES, ("primes", PROCESSES))
    now = measured({**shapes, PRIMES: faster(shapes[PRIMES], 2.0)})
    before = measured(shapes, seed=2)
    first, second = changes(now, before)
    text = describe_changes((first, second), ("pool size: default, before 4",))
    lines = text.splitlines()
    assert lines[0] == "not the same: pool size: default, before 4"
    (head,) = (line for line in lines if "now / before" in line)
    assert head.startswith("primes, now / before")
    (threads,) = (line for line in lines if line.startswith("  threads"))
    (processes,) = (line for line in lines if line.startswith("  processes"))
    assert (threads.count("*"), processes.count("*")) == (1, 0)
    assert "2.00x (" in threads
    assert lines[-1] == "* a difference is shown: the 95 % interval leaves 1 out"


def test_each_workload_has_a_table_of_its_own() -> None:
    evidence = measured(usual(PRIMES, ("sha256", THREADS)))
    text = describe_changes(changes(evidence, evidence), ())
    assert text.count("now / before") == 2
    assert text.index("primes, now / before") < text.index("sha256, now / before")
