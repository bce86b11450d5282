from __future__ import annotations

from dataclasses import replace

import pytest

from gilscope.model import StateSeconds, ThreadRole
from gilscope.top.order import Order
from gilscope.top.table import (
    Picture,
    State,
    ThreadRow,
    Totals,
    Unseen,
    better_name,
    describe,
    document,
    ordered,
    parts,
    percent,
    plain,
    readable,
)

PID = 4711
WAITS = ThreadRow(PID, 4713, "waits", None, StateSeconds(0.2, 0.1, 1.6, 0.1, 0.4))
RUNS = ThreadRow(PID, 4712, "runs", None, StateSeconds(1.0, 0.7, 0.2, 0.1, 1.2))
SLEEPS = ThreadRow(PID, PID, "MainThread", None, StateSeconds(0.0, 0.0, 0.0, 2.0, 0.0))
ROWS = (SLEEPS, RUNS, WAITS)
PICTURE = Picture(PID, "3.13.0", has_gil=True, seconds=2.0, looks=400, own_cpu_s=0.04, threads=ROWS)


def unknown_holder(row: ThreadRow) -> ThreadRow:
    return replace(row, seconds=replace(row.seconds, gil_held_s=None))


OLD = replace(PICTURE, python="3.12.1", threads=tuple(map(unknown_holder, ROWS)))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.GIL_WAIT, [WAITS, RUNS, SLEEPS]),
        (Order.ON_CPU, [RUNS, WAITS, SLEEPS]),
        (Order.RUNQUEUE, [RUNS, WAITS, SLEEPS]),
        (Order.BLOCKED, [SLEEPS, WAITS, RUNS]),
        (Order.HELD, [RUNS, WAITS, SLEEPS]),
        (Order.TID, [SLEEPS, RUNS, WAITS]),
    ],
)
def test_threads_are_sorted_by_what_was_asked_for(order: Order, expected: list[ThreadRow]) -> None:
    assert ordered(ROWS, order) == expected
    assert ordered(reversed(ROWS), order) == expected


def test_where_the_holder_is_unknown_the_wait_decides() -> None:
    assert [row.name for row in ordered(OLD.threads, Order.HELD)] == ["waits", "runs", "MainThread"]


def test_threads_that_did_the_same_come_by_process_and_number() -> None:
    rows = [replace(SLEEPS, pid=pid, tid=tid) for pid, tid in ((2, 9), (1, 8), (2, 7))]
    assert [(row.pid, row.tid) for row in ordered(rows, Order.GIL_WAIT)] == [(1, 8), (2, 7), (2, 9)]


def test_the_document_has_the_keys_that_the_design_promises_and_whose_thread_it_is() -> None:
    role = replace(WAITS, role=ThreadRole.WORKER)
    made = document(replace(PICTURE, threads=(SLEEPS, role), unseen=Unseen(0.25, 0.5)), Order.GIL_WAIT)
    assert made == {
        "pid": PID,
        "python": "3.13.0",
        "seconds": 2.0,
        "looks": 400,
        "unseen": {"on_cpu_s": 0.25, "gil_held_s": 0.5},
        "threads": [
            {
                "pid": PID,
                "tid": 4713,
                "name": "waits",
                "role": "worker",
                "on_cpu_s": 0.2,
                "runqueue_s": 0.1,
                "gil_wait_s": 1.6,
                "blocked_s": 0.1,
                "gil_held_s": 0.4,
            },
            {
                "pid": PID,
                "tid": PID,
                "name": "MainThread",
                "role": None,
                "on_cpu_s": 0.0,
                "runqueue_s": 0.0,
                "gil_wait_s": 0.0,
                "blocked_s": 2.0,
                "gil_held_s": 0.0,
            },
        ],
    }


def test_the_document_says_null_where_the_holder_is_unknown() -> None:
    threads = document(OLD, Order.TID)["threads"]
    assert isinstance(threads, list)
    assert [thread["gil_held_s"] for thread in threads] == [None] * 3


def test_nothing_adds_up_to_nothing() -> None:
    assert Totals(fold=True).picture() is None


@pytest.mark.parametrize("fold", [True, False])
def test_pictures_add_up_thread_by_thread(fold: bool) -> None:  # noqa: FBT001  a column
    totals = Totals(fold=fold)
    totals.add(replace(PICTURE, unseen=Unseen(0.25, 0.5)))
    totals.add(replace(PICTURE, python="3.13.1", looks=100, unseen=Unseen(0.5, 0.25)))
    whole = totals.picture()
    assert whole is not None
    assert (whole.python, whole.seconds, whole.looks, whole.own_cpu_s) == ("3.13.1", 4.0, 500, 0.08)
    assert whole.unseen == Unseen(0.75, 0.75)
    assert [row.tid for row in whole.threads] == [row.tid for row in ROWS]
    for before, after in zip(ROWS, whole.threads, strict=True):
        assert after.seconds == replace(
            before.seconds,
            **{state: 2 * getattr(before.seconds, state) for state in State},
            gil_held_s=2 * (before.seconds.gil_held_s or 0.0),
        )


def test_the_latest_name_holds() -> None:
    totals = Totals(fold=False)
    totals.add(PICTURE)
    totals.add(replace(PICTURE, threads=(replace(SLEEPS, name="renamed"),)))
    whole = totals.picture()
    assert whole is not None
    assert [row.name for row in whole.threads] == ["renamed", "runs", "waits"]


def test_threads_that_have_ended_become_one_row_if_asked() -> None:
    totals = Totals(fold=True)
    totals.add(PICTURE)
    totals.add(replace(PICTURE, threads=(SLEEPS, RUNS)))
    totals.add(replace(PICTURE, threads=(SLEEPS,)))
    whole = totals.picture()
    assert whole is not None
    main, ended = whole.threads
    assert (main.tid, main.seconds.blocked_s) == (PID, 6.0)
    assert (ended.pid, ended.tid, ended.name) == (0, 0, "(2 ended)")
    assert ended.seconds.wall_s == pytest.approx(WAITS.seconds.wall_s + 2 * RUNS.seconds.wall_s)
    assert whole.processes == 1


def test_without_folding_each_stays() -> None:
    totals = Totals(fold=False)
    totals.add(PICTURE)
    totals.add(replace(PICTURE, threads=(SLEEPS,)))
    whole = totals.picture()
    assert whole is not None
    assert set(whole.threads) == {
        replace(SLEEPS, seconds=replace(SLEEPS.seconds, blocked_s=4.0)),
        RUNS,
        WAITS,
    }


def test_the_summary_counts_threads_and_says_who_waits() -> None:
    assert describe(PICTURE) == [
        "process 4711: Python 3.13.0, 3 threads, 2.0 s, 400 looks",
        "GIL: held 80% of the time, 0.90 threads waiting on average",
        "cores: 0.60 in use, 0.40 threads waiting on average",
    ]


def test_the_summary_of_the_whole_says_so() -> None:
    one = replace(PICTURE, threads=(SLEEPS,), looks=1)
    assert describe(one, whole=True)[0] == "process 4711: Python 3.13.0, 1 thread, 2.0 s in all, 1 look"


@pytest.mark.parametrize(
    ("python", "why"),
    [
        ("3.12.1", "before Python 3.13"),
        ("3.11.7", "before Python 3.13"),
        ("3.16.0", "in Python 3.16"),
    ],
)
def test_an_unknown_holder_is_said_plainly(python: str, why: str) -> None:
    line = describe(replace(OLD, python=python))[1]
    assert line == f"GIL: 0.90 threads waiting on average; its holder is unknown {why}"
    assert len(line) < 80


def test_several_processes_have_several_gils() -> None:
    lines = describe(replace(PICTURE, threads=(*ROWS, replace(RUNS, pid=5000))))
    assert lines[0].startswith("process 4711: Python 3.13.0, 4 threads in 2 processes, ")
    assert lines[1] == "GIL: 1.40 held at a time, 1.00 threads waiting on average"


def test_several_interpreters_have_several_gils_too() -> None:
    lines = describe(replace(PICTURE, threads=(RUNS, replace(RUNS, tid=5))))
    assert lines[1].startswith("GIL: 1.20 held at a time, ")


def test_a_python_without_a_gil() -> None:
    assert (
        describe(replace(PICTURE, has_gil=False))[1] == "GIL: switched off (this is a free-threaded Python)"
    )


def test_what_is_missing_in_the_table_is_said_and_counted() -> None:
    lines = describe(replace(PICTURE, unseen=Unseen(0.5, 0.4)))
    assert lines[1:] == [
        "GIL: held 100% of the time, 0.90 threads waiting on average",
        "cores: 0.85 in use, 0.40 threads waiting on average",
        "not in the table: threads too brief to be seen, 0.25 cores, GIL held 20%",
    ]
    assert describe(replace(OLD, unseen=Unseen(0.5)))[-1] == (
        "not in the table: threads too brief to be seen, 0.25 cores"
    )
    assert len(describe(replace(PICTURE, unseen=Unseen(0.01, 0.01)))) == 3


def test_what_watching_costs_is_said_where_it_is_much() -> None:
    assert describe(replace(PICTURE, own_cpu_s=0.5))[-1] == (
        "gilscope itself: 25% of a core; a lower --rate costs less"
    )


def test_what_is_unknown_does_not_spoil_what_is_known() -> None:
    assert Unseen(1.0, None) + Unseen(1.0, 0.5) == Unseen(2.0, 0.5)
    assert Unseen() + Unseen() == Unseen(0.0, None)


def test_the_plain_table() -> None:
    assert plain(PICTURE, Order.GIL_WAIT).splitlines()[3:] == [
        " TID  name        on CPU  GIL wait  run queue  blocked  GIL held",
        "4713  waits          10%       80%         5%       5%       20%",
        "4712  runs           50%       10%        35%       5%       60%",
        "4711  MainThread      0%        0%         0%     100%        0%",
    ]


def test_roles_and_processes_have_columns_where_there_are_any() -> None:
    loop, worker = (
        replace(row, role=role) for row, role in ((SLEEPS, ThreadRole.LOOP), (RUNS, ThreadRole.WORKER))
    )
    ended = ThreadRow(0, 0, "(2 ended)", None, WAITS.seconds)
    table = plain(
        replace(OLD, threads=(loop, unknown_holder(worker), ended)), Order.TID, whole=True
    ).splitlines()
    assert table[3:] == [
        " TID  name        role    on CPU  GIL wait  run queue  blocked  GIL held",
        "      (2 ended)              10%       80%         5%       5%       20%",
        "4711  MainThread  loop        0%        0%         0%     100%        0%",
        "4712  runs        worker     50%       10%        35%       5%         ?",
    ]
    family = plain(replace(PICTURE, threads=(SLEEPS, replace(RUNS, pid=5000))), Order.TID).splitlines()
    assert family[3:] == [
        " PID   TID  name        on CPU  GIL wait  run queue  blocked  GIL held",
        "4711  4711  MainThread      0%        0%         0%     100%        0%",
        "5000  4712  runs           50%       10%        35%       5%       60%",
    ]


@pytest.mark.parametrize(
    ("seconds", "cells"),
    [
        (StateSeconds(1.0, 0.0, 0.0, 0.0), [10, 0, 0, 0]),
        (StateSeconds(0.25, 0.25, 0.25, 0.25), [3, 3, 2, 2]),
        (StateSeconds(0.34, 0.33, 0.33, 0.0), [4, 3, 3, 0]),
        (StateSeconds(0.5, 0.0, 0.0, 0.0), [5, 0, 0, 0]),  # lived for half of the time
        (StateSeconds(0.0, 0.0, 0.0, 1.04), [0, 0, 0, 10]),  # clocks are not that exact
        (StateSeconds(0.0, 0.0, 0.0, 0.0), [0, 0, 0, 0]),
    ],
)
def test_a_bar_is_divided_without_a_rest(seconds: StateSeconds, cells: list[int]) -> None:
    made = parts(seconds, 1.0, 10)
    assert [state for state, _ in made] == list(State)
    assert [count for _, count in made] == cells


@pytest.mark.parametrize(("share", "text"), [(0.0, "0%"), (0.004, "0%"), (0.296, "30%"), (1.0, "100%")])
def test_shares_are_whole_per_cent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("worker-1", "worker-1"),
        ("\x1b[31mred\x07", "?[31mred?"),
        ("a\nb\tc", "a?b?c"),
        ("Größe [x]", "Größe [x]"),
    ],
)
def test_a_name_cannot_command_the_terminal(name: str, shown: str) -> None:
    assert readable(name) == shown


@pytest.mark.parametrize(
    ("name", "is_main", "expected"),
    [
        ("python3.13", True, "MainThread"),
        ("app.py", True, "MainThread"),
        ("a-program-with-a", True, "a-program-with-a"),
        ("a-program-with-", True, "MainThread"),
        ("gunicorn: master", True, "gunicorn: master"),
        ("python3.13", False, "python3.13"),
    ],
)
def test_a_main_thread_that_has_its_programs_name_has_none(name: str, is_main: bool, expected: str) -> None:  # noqa: FBT001  a column
    program = ("/usr/bin/python3.13", "./a-program-with-a-long-name", "/srv/app.py")
    assert better_name(name, is_main=is_main, program=program) == expected


def test_without_a_known_program_a_name_stays() -> None:
    assert better_name("python", is_main=True, program=()) == "python"
