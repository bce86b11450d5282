from __future__ import annotations

from typing import cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gilscope.errors import LensError, UsageError
from gilscope.lens import exporter
from gilscope.lens.exporter import LensCollector, Reading
from gilscope.lens.ledger import NOTHING, Span
from gilscope.lens.sampler import Timer
from gilscope.lens.totals import Totals
from gilscope.lens.watch import ThreadSpan, Watch
from gilscope.model import StateSeconds, ThreadRole

LOOP, WORKER, OTHER = ThreadRole


def exposed(collector: LensCollector) -> dict[str, float]:
    """Return what a scrape gets, without comments."""
    registry = CollectorRegistry()
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_before_there_is_a_reading_all_counters_are_there_and_zero() -> None:
    found = exposed(LensCollector())
    assert found.pop("gilscope_lens_cpu_seconds_total") > 0
    assert set(found.values()) == {0}
    assert sum(name.startswith("gilscope_thread_state_seconds_total{") for name in found) == 12
    assert sum(name.startswith("gilscope_call_state_seconds_total{") for name in found) == 12
    assert not any("gil_held" in name for name in found)


def test_a_reading_is_exposed_by_role_and_state() -> None:
    collector = LensCollector()
    seconds = {
        LOOP: StateSeconds(1, 2, 3, 4, 5),
        WORKER: StateSeconds(6, 7, 8, 9, 10),
        OTHER: StateSeconds(11, 12, 13, 14, 15),
    }
    collector.reading = Reading(
        seconds,
        {LOOP: 1, WORKER: 8},
        processes=3,
        looks=200,
        tells_holders=True,
        inside={WORKER: StateSeconds(16, 17, 18, 19)},
    )
    found = exposed(collector)
    found.pop("gilscope_lens_cpu_seconds_total")
    states = "gilscope_thread_state_seconds_total"
    assert found == {
        f'{states}{{role="loop",state="on_cpu"}}': 1,
        f'{states}{{role="loop",state="runqueue"}}': 2,
        f'{states}{{role="loop",state="gil_wait"}}': 3,
        f'{states}{{role="loop",state="blocked"}}': 4,
        f'{states}{{role="worker",state="on_cpu"}}': 6,
        f'{states}{{role="worker",state="runqueue"}}': 7,
        f'{states}{{role="worker",state="gil_wait"}}': 8,
        f'{states}{{role="worker",state="blocked"}}': 9,
        f'{states}{{role="other",state="on_cpu"}}': 11,
        f'{states}{{role="other",state="runqueue"}}': 12,
        f'{states}{{role="other",state="gil_wait"}}': 13,
        f'{states}{{role="other",state="blocked"}}': 14,
        'gilscope_call_state_seconds_total{role="worker",state="on_cpu"}': 16,
        'gilscope_call_state_seconds_total{role="worker",state="runqueue"}': 17,
        'gilscope_call_state_seconds_total{role="worker",state="gil_wait"}': 18,
        'gilscope_call_state_seconds_total{role="worker",state="blocked"}': 19,
        'gilscope_gil_held_seconds_total{role="loop"}': 5,
        'gilscope_gil_held_seconds_total{role="worker"}': 10,
        'gilscope_gil_held_seconds_total{role="other"}': 15,
        'gilscope_lens_watched_threads{role="loop"}': 1,
        'gilscope_lens_watched_threads{role="worker"}': 8,
        'gilscope_lens_watched_threads{role="other"}': 0,
        "gilscope_lens_watched_processes": 3,
        "gilscope_lens_looks_total": 200,
    }


class OneThread:
    """A watch of one thread, whose process ends after some scans. Each settling finds a second more of GIL wait."""

    alive = True
    tells_holders = False

    def __init__(self, scans: int) -> None:
        self._scans = scans
        self._waited_s = 0.0
        self.looks = 0
        self.ended: list[ThreadSpan] = []

    def look(self) -> None:
        self.looks += 1

    def rescan(self) -> None:
        self._scans -= 1
        self.alive = self._scans > 0

    def settle(self) -> None:
        self._waited_s += 1

    def threads(self) -> list[ThreadSpan]:
        return [ThreadSpan(1, 2, "python", LOOP, Span(StateSeconds(0, 0, self._waited_s, 0), NOTHING))]

    def take_ended(self) -> list[ThreadSpan]:
        taken, self.ended = self.ended, []
        return taken


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.readings: list[Reading] = []

    def timer(self, collector: LensCollector) -> Timer:
        def sleep(seconds: float) -> None:
            self.now += seconds
            self.readings.append(collector.reading)

        return Timer(lambda: self.now, sleep, lambda _low, _high: 1.0, lambda: 0.0)


def test_a_reading_a_second_until_the_process_ends() -> None:
    collector, clock, watch = LensCollector(), Clock(), OneThread(scans=4)
    watch.ended = [ThreadSpan(1, 3, "python", WORKER, Span(StateSeconds(4, 0, 0, 0), NOTHING))]
    with pytest.raises(LensError, match="has ended"):
        exporter.observe(cast("Watch", watch), collector, clock.timer(collector))
    assert 3 <= clock.now < 4
    waited = [reading.seconds[LOOP].gil_wait_s for reading in clock.readings]
    assert sorted(set(waited)) == [0, 1, 2, 3]
    assert waited == sorted(waited)
    assert collector.reading.seconds[WORKER].on_cpu_s == 4
    assert collector.reading.looks == pytest.approx(600, abs=6)
    assert (collector.reading.living, collector.reading.processes) == ({LOOP: 1}, 1)


def test_a_reading_does_not_change_with_the_totals() -> None:
    totals, watch = Totals(), OneThread(scans=1)
    watch.settle()
    totals.add([], watch.threads())
    reading = Reading.of(totals, watch.threads(), cast("Watch", watch))
    watch.settle()
    totals.add([], watch.threads())
    assert (reading.seconds[LOOP].gil_wait_s, totals.seconds[LOOP].gil_wait_s) == (1, 2)


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "[::1]")]
)
def test_the_url_can_be_scraped_as_it_is(host: str, shown: str) -> None:
    from urllib.request import urlopen

    try:
        url = exporter.serve(LensCollector(), host, 0)
    except UsageError as problem:
        pytest.skip(str(problem))  # a machine without IPv6
    assert url.startswith(f"http://{shown}:")
    with urlopen(url, timeout=60) as answer:
        assert b"gilscope_lens_looks_total 0.0" in answer.read()


def test_a_host_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"port 0 of no\.such\.host\.invalid"):
        exporter.serve(LensCollector(), "no.such.host.invalid", 0)
