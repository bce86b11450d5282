"""Coordinated omission, exactly: a server that stands still for a second, with a clock that only arithmetic moves.

It answers in the order of arrival, 2 ms each, but begins nothing between 1 s and 2 s. Requests are due every 5 ms and leave
0.5 ms late, so one that finds it idle takes 2.5 ms from when it was due and 2 ms from send. The j-th that is due from 1 s on
(at 1000 + 5j ms) is answered at 2000 + 2(j + 1) ms, 1002 - 3j ms after it was due, as long as there is a queue: j = 0 to 333.
The next one is due at 2670 ms; the last of the queue was answered at 2668 ms.
"""

from __future__ import annotations

from itertools import islice

import pytest

from gilscope.load.arrivals import uniform
from gilscope.load.recorder import Recorder
from gilscope.model import Samples
from gilscope.quantiles import quantile

RATE = 200.0
PERIOD_S = 1 / RATE
SERVICE_S = 0.002
LAG_S = 0.0005
STALL_S, STALL_END_S = 1.0, 2.0
WINDOW_S = 4.0
TIMING = "queue;dur=0, run;dur=2, cpu;dur=2, suspended;dur=0, return;dur=0, total;dur=2"
SLOW_MS = 3.0

DELAYED_MS = [1002.0 - 3 * j for j in range(334)]
"""What the open loop sees of the stall, from when each request was due."""


class Server:
    """Serves one request at a time; nothing begins in the stall."""

    def __init__(self) -> None:
        self._free_s = 0.0

    def answer(self, sent_s: float) -> float:
        """Return when a request that was sent then is answered."""
        begin_s = max(sent_s, self._free_s)
        if STALL_S <= begin_s < STALL_END_S:
            begin_s = STALL_END_S
        self._free_s = begin_s + SERVICE_S
        return self._free_s


def open_loop(window_s: float = WINDOW_S) -> Samples:
    """Send what is due in the window, each request a little late, and wait for all answers."""
    server, recorder = Server(), Recorder()
    due = list(
        islice(uniform(RATE), round(window_s * RATE) + 1)
    )  # One more, which is due when the window ends.
    done = [server.answer(at + LAG_S) for at in due]
    for at in due:
        recorder.arrivals.sent(at, at + LAG_S)
    for at, done_s in zip(due, done, strict=True):
        recorder.work(done_s, (done_s - at - LAG_S) * 1e3, TIMING, at)
    assert recorder.settled(0.0, window_s, pings=False, work=True)
    return recorder.samples(0.0, window_s, done[-1], work=True)


def closed_loop() -> Samples:
    """Let one user send every 5 ms, or as soon as it has its answer where that takes longer (``constant_throughput``)."""
    server, recorder, now_s = Server(), Recorder(), 0.0
    while now_s < WINDOW_S:
        done_s = server.answer(now_s)
        recorder.work(done_s, (done_s - now_s) * 1e3, TIMING)
        now_s = max(now_s + PERIOD_S, done_s)
    return recorder.samples(0.0, WINDOW_S, now_s)


def quantiles(samples: Samples) -> list[float]:
    """Return p50, p90, p99 and the maximum, in ms."""
    ordered = sorted(samples.latencies_ms)
    return [quantile(ordered, q) for q in (0.50, 0.90, 0.99, 1.0)]


def test_an_open_loop_sees_everybody_who_would_have_come_during_the_stall() -> None:
    samples = open_loop()
    assert len(samples.work.at_s) == 800
    assert sorted(samples.latencies_ms) == pytest.approx([2.5] * 466 + DELAYED_MS[::-1])
    # Of 800, nearest rank: the 400th, and from the top the 81st (1002 - 3 * 80), the 9th (1002 - 3 * 8) and the first.
    assert quantiles(samples) == pytest.approx([2.5, 762.0, 978.0, 1002.0])
    assert quantiles(samples)[2] >= 900
    from_send_ms = sorted(samples.work.service_ms)
    assert from_send_ms == pytest.approx([2.0] * 466 + [late - LAG_S * 1e3 for late in DELAYED_MS[::-1]])


def test_a_closed_loop_of_the_same_rate_sees_a_single_slow_request() -> None:
    samples = closed_loop()
    # 200 before the stall, the one that was caught, and from 2002 ms on 400 more: the last is answered at 3999 ms.
    assert len(samples.work.at_s) == 200 + 1 + 400
    assert quantiles(samples) == pytest.approx([2.0, 2.0, 2.0, 1002.0])
    assert [latency for latency in samples.latencies_ms if latency > SLOW_MS] == pytest.approx([1002.0])


def test_what_was_due_in_the_window_counts_even_if_the_stall_outlasts_it() -> None:
    samples = open_loop(window_s=1.5)
    assert len(samples.work.at_s) == 300
    assert sorted(samples.latencies_ms) == pytest.approx([2.5] * 200 + DELAYED_MS[:100][::-1])
    # Of 300, the 297th: from the top the 4th (1002 - 3 * 3).
    assert quantiles(samples)[2] == pytest.approx(993.0)
    # And yet only the 200 of before the stall were answered within it.
    assert len(samples.done_s) == 200
