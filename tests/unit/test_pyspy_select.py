from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.flame.algebra import total
from gilscope.flame.pyspy import is_native, select, waits_for_the_gil, without_native
from gilscope.model import FlameKind, Folded, Stack

PROCESS, THREAD = 'process 7:"python a.py"', "thread (8): T"
SPIN = "spin (a.py:2)"
LIBC = "0x7f (libc.so.6)"
TIMED = "pthread_cond_timedwait (libc.so.6)"

WAITING: list[Stack] = [
    (PROCESS, THREAD, SPIN, LIBC, TIMED, "0x7f3 (libc.so.6)"),
    (PROCESS, THREAD, SPIN, TIMED),
    (PROCESS, THREAD, SPIN, "pthread_cond_wait (libpthread-2.31.so)"),
    (SPIN, "pthread_cond_timedwait@@GLIBC_2.3.2 (libpthread.so.0)".replace("@@GLIBC_2.3.2", "")),
    (PROCESS, THREAD, LIBC, TIMED),
    (TIMED,),
    (SPIN, "sqlite3_step (libsqlite3.so.0.8.6)", "thread_run (libpython3.11.so.1.0)", TIMED, "0x7f"),
]
NOT_WAITING: list[Stack] = [
    (),
    (SPIN,),
    (PROCESS, THREAD),
    (PROCESS, THREAD, SPIN),
    (PROCESS, THREAD, SPIN, LIBC),
    (PROCESS, THREAD, SPIN, "sem_clockwait (libc.so.6)"),
    (PROCESS, THREAD, SPIN, "sem_timedwait (libpthread.so.0)", LIBC),
    (PROCESS, THREAD, SPIN, "epoll_wait (libc.so.6)"),
    (PROCESS, THREAD, TIMED, SPIN),
    (PROCESS, THREAD, "outer (a.py:1)", TIMED, "callback (a.py:9)", LIBC),
    (PROCESS, THREAD, "pthread_cond_timedwait (a.py:3)"),
    (PROCESS, THREAD, "pthread_cond_timedwait (a.py:3)", LIBC),
    (PROCESS, THREAD, SPIN, "my_pthread_cond_wait (libx.so)"),
    (PROCESS, "thread (8): pthread_cond_wait"),
]


@pytest.mark.parametrize("stack", WAITING)
def test_who_is_in_a_condition_wait_of_c_waits_for_the_gil(stack: Stack) -> None:
    assert waits_for_the_gil(stack)


@pytest.mark.parametrize("stack", NOT_WAITING)
def test_nobody_else_does(stack: Stack) -> None:
    assert not waits_for_the_gil(stack)


@pytest.mark.parametrize(
    "frame",
    [
        LIBC,
        TIMED,
        "0x7f",
        "select_epoll_poll (selectmodule.c.h:841)",
        "take_gil (ceval_gil.c:390)",
        "thread_run (libpython3.11.so.1.0)",
        "thread_run (/usr/lib/libpython3.14t.so.1.0)",
        "main (python3.14)",
        "main (python3.14t)",
        "main (python3.15d)",
        "main (/usr/bin/python)",
        "f (_speedups.cpython-311-x86_64-linux-gnu.so)",
        "f (mod.so)",
        "std::thread::run (thread.cc:81)",
        "f (x.cpp:3)",
        "f (deep/x.hpp)",
        "inline_one (x.h)",
        "core::ops::function (function.rs:250)",
        "__memcpy_avx (memmove-vec-unaligned-erms.S:250)",
        "f (libz.1.dylib)",
    ],
)
def test_frames_of_c_are_native(frame: str) -> None:
    assert is_native(frame)


@pytest.mark.parametrize(
    "frame",
    [
        SPIN,
        "<module> (a.py:1)",
        "<module> (a.py)",
        "render (templates/page.html:3)",
        "f (<string>:1)",
        "f (<frozen runpy>:88)",
        "f (mod.pyx:3)",
        "f (a.pyc)",
        "f (python_tools.py:1)",
        "f (mypython3)",
        "f (python3.14/site.py:1)",
        "f (so.py:1)",
        "f (x.com)",
        "f (notes.c.py)",
        "<cell> (ipykernel_7/1234.txt)",
        PROCESS,
        THREAD,
        "thread (0x7f1a)",
        'process 7:"x.so"',
    ],
)
def test_frames_of_python_and_roots_are_not(frame: str) -> None:
    assert not is_native(frame)


def test_a_stack_loses_its_c_frames_wherever_they_are() -> None:
    stack = (PROCESS, THREAD, "main (python3.14)", "outer (a.py:1)", LIBC, SPIN, TIMED)
    assert without_native(stack) == (PROCESS, THREAD, "outer (a.py:1)", SPIN)


@pytest.mark.parametrize("stack", [(LIBC,), (LIBC, TIMED), ("0x7f",), ()])
def test_a_stack_of_c_frames_alone_stays(stack: Stack) -> None:
    assert without_native(stack) == stack


def test_a_thread_of_c_alone_keeps_its_roots() -> None:
    assert without_native((PROCESS, THREAD, LIBC, TIMED)) == (PROCESS, THREAD)


MIXED: Folded = {
    (PROCESS, THREAD, SPIN, LIBC): 5.0,
    (PROCESS, THREAD, SPIN): 2.0,
    (PROCESS, THREAD, SPIN, TIMED): 3.0,
    (PROCESS, THREAD, SPIN, TIMED, LIBC): 4.0,
    (PROCESS, THREAD, "get (queue.py:1)", "sem_clockwait (libc.so.6)"): 7.0,
}


def test_of_those_that_wait_the_rest_is_left_out_and_equal_ones_merge() -> None:
    assert select(FlameKind.WAITING, MIXED) == {(PROCESS, THREAD, SPIN): 7.0}


@pytest.mark.parametrize("kind", [FlameKind.HOLDING, FlameKind.WALL])
def test_of_all_the_others_only_the_c_frames_are(kind: FlameKind) -> None:
    assert select(kind, MIXED) == {
        (PROCESS, THREAD, SPIN): 14.0,
        (PROCESS, THREAD, "get (queue.py:1)"): 7.0,
    }


frames = st.sampled_from((SPIN, LIBC, TIMED, THREAD, "sem_clockwait (libc.so.6)", "0x7f"))
folded_stacks = st.dictionaries(
    st.lists(frames, min_size=1, max_size=5).map(tuple), st.integers(1, 1000).map(float), max_size=8
)


@given(folded_stacks)
def test_c_frames_go_and_their_weight_stays(folded: Folded) -> None:
    selected = select(FlameKind.WALL, folded)
    assert total(selected) == total(folded)
    for stack in selected:
        assert all(map(is_native, stack)) or not any(map(is_native, stack))


@given(folded_stacks)
def test_waiting_is_a_part_of_the_wall_clock(folded: Folded) -> None:
    wall = select(FlameKind.WALL, folded)
    for stack, weight in select(FlameKind.WAITING, folded).items():
        assert weight <= wall[stack]
