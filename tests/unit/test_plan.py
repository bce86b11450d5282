from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from factories import CLASSIFICATIONS, LOAD

from gilscope.compare.plan import (
    LONGEST_WARMUP_S,
    TRIAL_OVERHEAD_S,
    Slot,
    backends_of,
    load_of,
    planned_seconds,
    schedule,
    together,
)
from gilscope.model import BackendName, LoadKind, Plan, Target

ALL = tuple(BackendName)
PLAN = Plan(
    targets=(
        Target("one", "one"),
        Target("two", "two", excluded={BackendName.PROCESSES: "its result cannot be pickled"}),
    ),
    backends=ALL,
    load=LOAD,
    blocks=6,
    seed=11,
    pool_size=None,
    profile_seconds=3.0,
    python="python3",
)


def blocks_of(plan: Plan) -> list[tuple[str, int, list[Slot]]]:
    grouped = groupby(schedule(plan), key=lambda slot: (slot.target.workload, slot.block))
    return [(workload, block, list(slots)) for (workload, block), slots in grouped]


def test_a_seed_fixes_the_order() -> None:
    assert list(schedule(PLAN)) == list(schedule(PLAN))


def test_another_seed_gives_another_order() -> None:
    orders = {tuple(slot.backend for slot in schedule(replace(PLAN, seed=seed))) for seed in range(20)}
    assert len(orders) == 20


def test_workloads_come_one_after_the_other_in_blocks() -> None:
    assert [(workload, block) for workload, block, _ in blocks_of(PLAN)] == [
        (workload, block) for workload in ("one", "two") for block in range(6)
    ]


def test_each_block_tries_every_backend_once() -> None:
    for workload, _, slots in blocks_of(PLAN):
        tried = [slot.backend for slot in slots]
        expected = ALL if workload == "one" else tuple(set(ALL) - {BackendName.PROCESSES})
        assert sorted(tried) == sorted(expected)


def test_blocks_have_orders_of_their_own() -> None:
    orders = {tuple(slot.backend for slot in slots) for workload, _, slots in blocks_of(PLAN)}
    assert len(orders) > 6


def test_every_backend_comes_first_about_as_often() -> None:
    firsts = [
        slots[0].backend for _, _, slots in blocks_of(replace(PLAN, targets=PLAN.targets[:1], blocks=100))
    ]
    assert len(firsts) == 100
    assert all(10 <= firsts.count(backend) <= 45 for backend in ALL)


def test_an_excluded_backend_is_skipped() -> None:
    assert backends_of(PLAN, PLAN.targets[1]) == tuple(name for name in ALL if name != BackendName.PROCESSES)
    tried = {slot.backend for slot in schedule(PLAN) if slot.target.workload == "two"}
    assert BackendName.PROCESSES not in tried


def test_positions_count_every_trial_from_0() -> None:
    slots = list(schedule(PLAN))
    assert len(slots) == 6 * 4 + 6 * 3
    assert [slot.position for slot in slots] == list(range(len(slots)))


def test_only_the_last_block_is_the_last() -> None:
    assert all(slot.last == (slot.block == 5) for slot in schedule(PLAN))
    assert all(slot.last for slot in schedule(replace(PLAN, blocks=1)))


def test_profiles_take_time_in_the_last_block_alone() -> None:
    measured = LOAD.warmup_seconds + LOAD.seconds + TRIAL_OVERHEAD_S
    for slot in schedule(PLAN):
        assert planned_seconds(PLAN, slot) == measured + (3.0 if slot.last else 0.0)


ON_TWO = replace(
    PLAN,
    targets=tuple(
        Target(f"{name}, Python {python}", name, served_as=name, python=python)
        for name in ("one", "two")
        for python in ("3.11.7", "3.14.2")
    ),
    twins=True,
)


def test_one_function_on_all_its_pythons_is_tried_in_the_same_blocks() -> None:
    functions = [[target.name_in_service for target in targets] for targets in together(ON_TWO)]
    assert functions == [["one", "one"], ["two", "two"]]
    mixed = groupby(schedule(ON_TWO), key=lambda slot: (slot.target.name_in_service, slot.block))
    blocks = [(key, list(slots)) for key, slots in mixed]
    assert [key for key, _ in blocks] == [(name, block) for name in ("one", "two") for block in range(6)]
    for _, slots in blocks:
        tried = [(slot.target.python, slot.backend, slot.twin) for slot in slots]
        assert len(set(tried)) == len(tried) == 2 * (len(ALL) + 1)
    orders = {tuple(slot.target.python for slot in slots) for _, slots in blocks}
    assert len(orders) > 8


def test_other_targets_stay_apart() -> None:
    assert [len(targets) for targets in together(PLAN)] == [1, 1]


def test_an_open_loop_is_warmed_up_for_as_long_as_answers_take_to_come() -> None:
    slot = next(schedule(PLAN))
    open_load = replace(PLAN.load, kind=LoadKind.OPEN, users=None, rate=20.0, warmup_seconds=1.0)
    plan = replace(PLAN, load=open_load)
    assert load_of(plan, slot) == open_load
    for call_ms, warmup_s in ((20.0, 1.0), (2_200.0, 4.4), (1e6, LONGEST_WARMUP_S)):
        found = replace(CLASSIFICATIONS["primes"], call_ms=call_ms)
        known = replace(slot, target=replace(slot.target, classification=found))
        assert load_of(plan, known).warmup_seconds == warmup_s
        assert load_of(PLAN, known) == PLAN.load, "in a closed loop, whoever waits sends nothing"
        searching = replace(known, rate=30.0)
        assert load_of(PLAN, searching).warmup_seconds == max(PLAN.load.warmup_seconds, warmup_s)
