from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gilscope.lens.ledger import NOTHING, Span
from gilscope.lens.totals import Totals
from gilscope.lens.watch import ThreadSpan
from gilscope.model import StateSeconds, ThreadRole

LOOP, WORKER, OTHER = ThreadRole


Four = tuple[float, float, float, float]


def thread(
    tid: int, role: ThreadRole, seconds: Four, *, held: float | None = None, pid: int = 1
) -> ThreadSpan:
    """A thread with seconds on a CPU, in the run queue, waiting for the GIL and blocked."""
    span = Span(StateSeconds(*seconds, held), NOTHING)
    return ThreadSpan(pid, tid, "python", role, span)


def test_nothing_is_zero_for_every_role() -> None:
    assert Totals().seconds == dict.fromkeys(ThreadRole, NOTHING)


def test_each_state_of_each_role_is_added_up() -> None:
    totals = Totals()
    totals.add([], [thread(1, LOOP, (1, 2, 3, 4)), thread(2, WORKER, (5, 6, 7, 8), held=9)])
    totals.add([], [thread(1, LOOP, (1, 2, 4, 4)), thread(2, WORKER, (5, 7, 7, 8), held=9.5)])
    totals.add([], [thread(1, LOOP, (1, 2, 4, 4)), thread(3, WORKER, (1, 1, 1, 1))])
    assert totals.seconds == {
        LOOP: StateSeconds(1, 2, 4, 4, 0),
        WORKER: StateSeconds(6, 8, 8, 9, 9.5),
        OTHER: NOTHING,
    }


def test_time_inside_the_function_is_added_up_over_all_roles() -> None:
    def inside(tid: int, role: ThreadRole, waited_s: float) -> ThreadSpan:
        return ThreadSpan(1, tid, "python", role, Span(NOTHING, StateSeconds(0, 0, waited_s, 0)))

    totals = Totals()
    totals.add([], [inside(1, LOOP, 1.0), inside(2, WORKER, 2.0)])
    totals.add([inside(2, WORKER, 2.5)], [inside(1, LOOP, 1.25)])
    assert {role: spent.gil_wait_s for role, spent in totals.inside.items()} == {
        LOOP: 1.25,
        WORKER: 2.5,
        OTHER: 0,
    }
    assert {spent.wall_s for spent in totals.seconds.values()} == {0}


def test_a_thread_that_ended_keeps_its_seconds_and_is_forgotten() -> None:
    totals = Totals()
    totals.add([], [thread(1, WORKER, (1, 0, 0, 0))])
    totals.add([thread(1, WORKER, (3, 0, 0, 0))], [])
    totals.add([], [])
    assert totals.seconds[WORKER].on_cpu_s == 3
    assert totals._known == {}


def test_a_thread_that_came_and_went_between_counts_too() -> None:
    totals = Totals()
    totals.add([thread(1, WORKER, (3, 0, 0, 0))], [])
    assert totals.seconds[WORKER].on_cpu_s == 3


def test_a_number_that_is_used_again_is_another_thread() -> None:
    totals = Totals()
    totals.add([], [thread(1, WORKER, (5, 0, 0, 0))])
    totals.add([thread(1, WORKER, (6, 0, 0, 0))], [thread(1, WORKER, (2, 0, 0, 0))])
    assert totals.seconds[WORKER].on_cpu_s == 8
    totals.add([], [thread(1, WORKER, (3, 0, 0, 0))])
    assert totals.seconds[WORKER].on_cpu_s == 9


def test_threads_of_different_processes_may_have_the_same_number() -> None:
    totals = Totals()  # in different containers, say
    totals.add([], [thread(1, WORKER, (1, 0, 0, 0), pid=1), thread(1, WORKER, (2, 0, 0, 0), pid=2)])
    totals.add([], [thread(1, WORKER, (1, 0, 0, 0), pid=1), thread(1, WORKER, (3, 0, 0, 0), pid=2)])
    assert totals.seconds[WORKER].on_cpu_s == 4


def test_what_a_thread_had_before_its_role_was_known_stays_where_it_was() -> None:
    totals = Totals()
    totals.add([], [thread(1, OTHER, (1, 0, 0, 0))])
    totals.add([], [thread(1, WORKER, (3, 0, 0, 0))])
    assert (totals.seconds[OTHER].on_cpu_s, totals.seconds[WORKER].on_cpu_s) == (1, 2)


def test_a_span_that_shrinks_takes_nothing_away() -> None:
    totals = Totals()
    totals.add([], [thread(1, LOOP, (1, 2, 3, 4), held=5)])
    totals.add([], [thread(1, LOOP, (0, 0, 0, 0), held=None)])
    assert totals.seconds[LOOP] == StateSeconds(1, 2, 3, 4, 5)


spans = st.builds(
    thread,
    st.integers(1, 4),
    st.sampled_from(ThreadRole),
    st.tuples(*[st.floats(0, 10)] * 4),
    held=st.none() | st.floats(0, 10),
)


@given(st.lists(st.tuples(st.lists(spans, max_size=3), st.lists(spans, max_size=3)), max_size=8))
def test_no_total_ever_falls(turns: list[tuple[list[ThreadSpan], list[ThreadSpan]]]) -> None:
    totals = Totals()
    for ended, living in turns:
        before = dict(totals.seconds)
        totals.add(ended, living)
        for role in ThreadRole:
            for name in ("on_cpu_s", "runqueue_s", "gil_wait_s", "blocked_s", "gil_held_s"):
                assert getattr(totals.seconds[role], name) >= getattr(before[role], name)
