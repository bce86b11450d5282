from __future__ import annotations

import math

import pytest

from gilscope.load.recorder import AT_ONCE, MAX_ERROR_TEXT, Recorder, parse_server_timing
from gilscope.model import ProbeSamples, Unanswered, WorkSamples
from gilscope.web.work import SERVER_TIMING, Stages

TIMING = "queue;dur=0.25, run;dur=4.5, cpu;dur=3.125, suspended;dur=0.25, return;dur=0.5, total;dur=6.0"
START_S, END_S, NOW_S = 100.0, 105.0, 108.0


def test_reads_the_header_that_the_service_writes() -> None:
    stages = Stages(queue=0.0123, run=4.5, cpu=3.1, suspended=0.2, return_=0.5, total=6.0001)
    assert parse_server_timing(SERVER_TIMING % stages) == tuple(stages)


@pytest.mark.parametrize(
    "header", ["", "cache;dur=1.0", TIMING + ", db;dur=1", TIMING.replace("4.5", "much"), "a, b, c, d, e, f"]
)
def test_a_foreign_server_timing_header_is_refused(header: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  float's message is not ours
        parse_server_timing(header)


def test_work_belongs_to_the_window_in_which_it_finished() -> None:
    recorder = Recorder()
    for done_s, latency_ms in ((99.999, 1.0), (100.0, 900.0), (104.5, 2.0), (105.0, 3.0)):
        recorder.work(done_s, latency_ms, TIMING)
    samples = recorder.samples(START_S, END_S, NOW_S)
    assert samples.window_s == 5.0
    assert samples.work == WorkSamples(
        at_s=[0.0, 4.5],
        latency_ms=[900.0, 2.0],
        queue_ms=[0.25] * 2,
        run_ms=[4.5] * 2,
        cpu_ms=[3.125] * 2,
        suspended_ms=[0.25] * 2,
        return_ms=[0.5] * 2,
        total_ms=[6.0] * 2,
    )


def test_what_the_generator_itself_takes_counts_as_under_way_and_not_as_latency() -> None:
    recorder = Recorder()
    recorder.work(101.0, 900.0, TIMING, wire_ms=600.0)
    recorder.arrivals.sent(102.0, 102.25)
    recorder.work(103.0, 750.0, TIMING, due_s=102.0, wire_ms=500.0)
    samples = recorder.samples(START_S, END_S, NOW_S, work=True)
    assert samples.work.latency_ms == [600.0, 1000.0]
    assert samples.work.from_send_ms == [600.0, 500.0]
    assert recorder.flight_s(START_S, END_S) == pytest.approx(1.65)


def test_a_ping_belongs_to_the_window_in_which_it_was_due() -> None:
    recorder = Recorder()
    pings = [(99.5, 100.5), (100.0, 100.25), (104.75, 107.0), (105.0, 105.5)]
    for due_s, done_s in pings:
        recorder.pings.sent(due_s, due_s)
        recorder.answered(due_s, done_s)
    samples = recorder.samples(START_S, END_S, NOW_S)
    assert samples.probe == ProbeSamples(due_s=[0.0, 4.75], latency_ms=[250.0, 2250.0])
    assert recorder.pings.due_within(START_S, END_S) == recorder.probes_answered(START_S, END_S) == 2


def test_a_ping_without_an_answer_counts_for_as_long_as_it_is_waited_for() -> None:
    recorder = Recorder()
    recorder.pings.sent(101.0, 101.0)
    recorder.pings.sent(102.0, 102.0)
    recorder.answered(102.0, 102.5)
    assert recorder.pings.due_within(START_S, END_S) == 2
    assert recorder.probes_answered(START_S, END_S) == 1
    assert recorder.samples(START_S, END_S, NOW_S).probe == ProbeSamples([2.0, 1.0], [500.0, 7000.0])


def test_a_ping_that_fails_is_waited_for_no_longer_and_has_no_latency() -> None:
    recorder = Recorder()
    for due_s in (99.0, 101.0, 102.0, 105.0):
        recorder.pings.sent(due_s, due_s)
    recorder.failed(99.0, 99.001)
    recorder.failed(101.0, 101.001)
    recorder.answered(102.0, 102.5)
    assert recorder.settled(START_S, END_S)
    assert recorder.samples(START_S, END_S, NOW_S).probe == ProbeSamples([2.0], [500.0])
    counted = (recorder.pings.due_within, recorder.probes_answered, recorder.probes_failed)
    assert [count(START_S, END_S) for count in counted] == [2, 1, 1]


def test_the_window_is_settled_when_all_its_pings_are_sent_and_answered() -> None:
    recorder = Recorder()
    assert not recorder.settled(START_S, END_S)
    recorder.pings.sent(104.0, 104.0)
    recorder.answered(104.0, 104.5)
    assert not recorder.settled(START_S, END_S), "one due at 104.9 may not have been sent yet"
    recorder.pings.sent(104.9, 105.2)
    recorder.pings.sent(105.0, 105.2)
    assert not recorder.settled(START_S, END_S), "the one due at 104.9 is not answered"
    recorder.answered(104.9, 105.3)
    assert recorder.settled(START_S, END_S), "the one due after the window does not matter"


def test_errors_are_counted_in_the_window_and_the_first_is_kept() -> None:
    recorder = Recorder()
    recorder.error(99.0, 5.0, "during warm-up")
    recorder.error(100.0, 5.0, "later")
    recorder.error(104.0, 5.0, "last")
    recorder.error(105.0, 5.0, "after the end")
    assert recorder.errors(START_S, END_S) == 2
    assert recorder.first_error == "during warm-up"


def test_an_endless_error_is_cut() -> None:
    recorder = Recorder()
    recorder.error(100.0, 5.0, "x" * (MAX_ERROR_TEXT + 1))
    assert recorder.first_error == "x" * MAX_ERROR_TEXT


def test_a_closed_recorder_ignores_everything() -> None:
    recorder = Recorder()
    recorder.work(101.0, 1.0, TIMING)
    recorder.pings.sent(101.0, 101.0)
    recorder.answered(101.0, 101.5)
    recorder.error(101.0, 5.0, "first")
    before = recorder.samples(START_S, END_S, NOW_S)
    recorder.closed = True
    recorder.work(102.0, 1.0, "not even a header")
    recorder.answered(102.0, 102.5)
    recorder.failed(102.0, 102.5)
    recorder.error(102.0, 5.0, "second")
    assert recorder.samples(START_S, END_S, NOW_S) == before
    counts = (recorder.errors, recorder.pings.due_within, recorder.probes_answered, recorder.probes_failed)
    assert [count(START_S, END_S) for count in counts] == [1, 1, 1, 0]
    assert recorder.first_error == "first"


def test_dispatch_lag_is_of_the_window_and_of_both_streams() -> None:
    recorder = Recorder()
    for index in range(4):
        recorder.pings.sent(101.0 + index, 101.0 + index + index / 1000)
    recorder.arrivals.sent(102.5, 102.75)
    recorder.pings.sent(105.0, 109.0)
    assert recorder.lags(START_S, END_S) == pytest.approx([0.0, 0.001, 0.002, 0.003, 0.25])


def test_without_requests_there_is_no_lag() -> None:
    assert Recorder().lags(START_S, END_S) == []


def test_open_loop_work_belongs_to_the_window_in_which_it_was_due() -> None:
    recorder = Recorder()
    for due_s, sent_s in ((99.5, 99.5), (99.75, 99.75), (100.5, 100.75), (104.0, 104.0), (104.5, 104.5)):
        recorder.arrivals.sent(due_s, sent_s)
    recorder.arrivals.dropped(104.75)
    recorder.work(99.875, 375.0, TIMING, due_s=99.5)  # over before the window
    recorder.work(100.25, 500.0, TIMING, due_s=99.75)  # carried into it
    recorder.work(101.75, 1000.0, TIMING, due_s=100.5)
    recorder.error(106.0, 5.0, "boom", due_s=104.5)
    samples = recorder.samples(START_S, END_S, NOW_S, work=True)
    assert (samples.work.at_s, samples.work.latency_ms, samples.work.service_ms) == (
        [0.5],
        [1250.0],
        [1000.0],
    )
    assert samples.unanswered == Unanswered((4.0,), (4000.0,))
    assert samples.carried_s == (0.25,)
    assert samples.failed_s == (4.5,)
    assert samples.open
    assert samples.done_s == [0.25, 1.75]
    assert samples.latencies_ms == [1250.0, 4000.0, 4000.0], "what failed took as long as the slowest"
    assert recorder.errors(START_S, END_S) == 1
    assert recorder.arrivals.due_within(START_S, END_S) == 4


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, 2 * AT_ONCE + 1])
def test_others_get_their_turn_after_some_requests(count: int) -> None:
    recorder, turns = Recorder(), list[int]()
    for at in range(count):
        recorder.work(START_S + at / count, float(at), TIMING)
    samples = recorder.samples(START_S, END_S, NOW_S, pause=lambda: turns.append(1))
    assert samples.work.latency_ms == list(map(float, range(count)))
    assert len(turns) == math.ceil(count / AT_ONCE)


def test_latencies_are_kept_unrounded() -> None:
    recorder = Recorder()
    recorder.work(101.0, 12.3456789, TIMING)
    recorder.answered(101.0, 101.0123456789)
    samples = recorder.samples(START_S, END_S, NOW_S)
    assert samples.work.latency_ms == [12.3456789]
    assert samples.probe.latency_ms == pytest.approx([12.3456789], rel=1e-9)


def test_what_was_under_way_is_accounted_for_by_latencies_cut_at_the_windows_ends() -> None:
    recorder = Recorder()
    assert recorder.flight_s(START_S, END_S) == 0
    recorder.work(99.0, 500.0, TIMING)  # over before
    recorder.work(100.5, 1000.0, TIMING)  # half of it within
    recorder.error(103.0, 2000.0, "all of it")
    recorder.work(107.0, 3000.0, TIMING)  # the first of its three seconds
    assert recorder.flight_s(START_S, END_S) == pytest.approx(0.5 + 2.0 + 1.0)


def test_what_is_still_under_way_in_an_open_loop_is_accounted_for_from_its_send() -> None:
    recorder = Recorder()
    for due_s, sent_s in ((90.0, 98.0), (101.0, 102.5), (104.0, 106.0)):
        recorder.arrivals.sent(due_s, sent_s)
    assert recorder.flight_s(START_S, END_S) == pytest.approx(5.0 + 2.5)


def test_of_an_ideal_generator_both_accounts_agree_whatever_the_service_does() -> None:
    """A stall of a second that began before the window, and one beyond its end."""
    recorder, flight_s = Recorder(), list[float]()
    stalls = ((99.5, 100.5), (104.5, 105.5))
    events = sorted(
        event
        for number in range(1_000)
        for due_s in [98.0 + number / 100]
        for done_s in [next((end for begin, end in stalls if begin <= due_s < end), due_s + 0.01)]
        for event in ((due_s, "sent", due_s), (done_s, "done", due_s))
    )
    for at_s, what, due_s in events:
        passed = [moment for moment in (START_S, END_S)[len(flight_s) :] if at_s >= moment]
        flight_s.extend(recorder.arrivals.flight_s(moment) for moment in passed)
        if what == "sent":
            recorder.arrivals.sent(due_s, due_s)
        else:
            recorder.work(at_s, (at_s - due_s) * 1e3, TIMING, due_s)
    begin_s, end_s = flight_s
    assert recorder.flight_s(START_S, END_S) == pytest.approx(end_s - begin_s)
    assert end_s - begin_s > 50, "half of either stall's triangle"
