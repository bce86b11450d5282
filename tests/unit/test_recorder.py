from __future__ import annotations

import pytest

from gilscope.load.recorder import MAX_ERROR_TEXT, Recorder, parse_server_timing
from gilscope.model import ProbeSamples, WorkSamples
from gilscope.web.work import SERVER_TIMING, Stages

TIMING = "queue;dur=0.25, run;dur=4.5, cpu;dur=3.125, suspended;dur=0.25, return;dur=0.5, total;dur=6.0"
START_S, END_S = 100.0, 105.0


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
    samples = recorder.samples(START_S, END_S)
    assert samples.window_s == 5.0
    assert samples.work == WorkSamples(
        done_s=[0.0, 4.5],
        latency_ms=[900.0, 2.0],
        queue_ms=[0.25] * 2,
        run_ms=[4.5] * 2,
        cpu_ms=[3.125] * 2,
        suspended_ms=[0.25] * 2,
        return_ms=[0.5] * 2,
        total_ms=[6.0] * 2,
    )


def test_a_ping_belongs_to_the_window_in_which_it_was_due() -> None:
    recorder = Recorder()
    pings = [(99.5, 100.5), (100.0, 100.25), (104.75, 107.0), (105.0, 105.5)]
    for due_s, done_s in pings:
        recorder.dispatched(due_s, due_s)
        recorder.answered(due_s, done_s)
    samples = recorder.samples(START_S, END_S)
    assert samples.probe == ProbeSamples(due_s=[0.0, 4.75], latency_ms=[250.0, 2250.0])
    assert recorder.probes_due(START_S, END_S) == recorder.probes_answered(START_S, END_S) == 2


def test_a_ping_without_an_answer_is_due_all_the_same() -> None:
    recorder = Recorder()
    recorder.dispatched(101.0, 101.0)
    recorder.dispatched(102.0, 102.0)
    recorder.answered(102.0, 102.5)
    assert recorder.probes_due(START_S, END_S) == 2
    assert recorder.probes_answered(START_S, END_S) == 1
    assert recorder.samples(START_S, END_S).probe == ProbeSamples([2.0], [500.0])


def test_the_window_is_settled_when_all_its_pings_are_sent_and_answered() -> None:
    recorder = Recorder()
    assert not recorder.settled(START_S, END_S)
    recorder.dispatched(104.0, 104.0)
    recorder.answered(104.0, 104.5)
    assert not recorder.settled(START_S, END_S), "one due at 104.9 may not have been sent yet"
    recorder.dispatched(104.9, 105.2)
    recorder.dispatched(105.0, 105.2)
    assert not recorder.settled(START_S, END_S), "the one due at 104.9 is not answered"
    recorder.answered(104.9, 105.3)
    assert recorder.settled(START_S, END_S), "the one due after the window does not matter"


def test_errors_are_counted_in_the_window_and_the_first_is_kept() -> None:
    recorder = Recorder()
    recorder.error(99.0, "during warm-up")
    recorder.error(100.0, "later")
    recorder.error(104.0, "last")
    recorder.error(105.0, "after the end")
    assert recorder.errors(START_S, END_S) == 2
    assert recorder.first_error == "during warm-up"


def test_an_endless_error_is_cut() -> None:
    recorder = Recorder()
    recorder.error(100.0, "x" * (MAX_ERROR_TEXT + 1))
    assert recorder.first_error == "x" * MAX_ERROR_TEXT


def test_a_closed_recorder_ignores_everything() -> None:
    recorder = Recorder()
    recorder.work(101.0, 1.0, TIMING)
    recorder.dispatched(101.0, 101.0)
    recorder.answered(101.0, 101.5)
    recorder.error(101.0, "first")
    before = recorder.samples(START_S, END_S)
    recorder.closed = True
    recorder.work(102.0, 1.0, "not even a header")
    recorder.dispatched(102.0, 102.0)
    recorder.answered(102.0, 102.5)
    recorder.error(102.0, "second")
    assert recorder.samples(START_S, END_S) == before
    counts = (recorder.errors, recorder.probes_due, recorder.probes_answered)
    assert [count(START_S, END_S) for count in counts] == [1, 1, 1]
    assert recorder.first_error == "first"


def test_dispatch_lag_is_of_the_window() -> None:
    recorder = Recorder()
    for index in range(100):
        recorder.dispatched(101.0 + index / 100, 101.0 + index / 100 + index / 1000)
    recorder.dispatched(99.0, 109.0)
    assert recorder.dispatch_lag_p99_ms(START_S, END_S) == pytest.approx(98.0)


def test_without_pings_there_is_no_lag() -> None:
    assert Recorder().dispatch_lag_p99_ms(START_S, END_S) == 0.0


def test_latencies_are_kept_unrounded() -> None:
    recorder = Recorder()
    recorder.work(101.0, 12.3456789, TIMING)
    recorder.answered(101.0, 101.0123456789)
    samples = recorder.samples(START_S, END_S)
    assert samples.work.latency_ms == [12.3456789]
    assert samples.probe.latency_ms == pytest.approx([12.3456789], rel=1e-9)
