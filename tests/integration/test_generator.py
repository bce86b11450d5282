"""The load generator: real Locust, against a small service whose event loop can be made to stall."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

import psutil
import pytest
from commanded import started, survivors
from disturbance import least_disturbed
from limited import few_files, soft_limits
from polling import all_end, eventually
from served import serving

from gilscope.child import Child
from gilscope.compare.store import RunFolder
from gilscope.errors import LoadError, RunFileError, ServiceError, WorkersError
from gilscope.load.arrivals import poisson
from gilscope.load.control import Generator
from gilscope.load.judging import Seen, judge_generator
from gilscope.load.orders import Measured, Order
from gilscope.load.pieces import AT_ONCE
from gilscope.load.samples import read_samples
from gilscope.model import Arrivals
from gilscope.quantiles import quantile

pytestmark = pytest.mark.integration

STALL_S = 1.0
ROUNDED_S = 3e-6
"""Times are kept to a millionth: a difference of two is off by as much as this."""

SERVICE = """
import asyncio, collections, json, os, sys, time
from aiohttp import web

TIMING = "queue;dur=0.25, run;dur=4.5, cpu;dur=0.5, suspended;dur=0.25, return;dur=0.125, total;dur=5.0"
counted = collections.Counter()
connections = set()
pings_take_s = 0.0
pings_break = False

async def work(request):
    counted[request.path] += 1
    if "broken" in request.path:
        return web.Response(status=500, text=f"Traceback: boom {counted[request.path]}")
    await asyncio.sleep(0.004)
    return web.Response(text="done", headers={"Server-Timing": TIMING})

async def ping(request):
    counted["pings"] += 1
    connections.add(request.transport.get_extra_info("peername"))
    await asyncio.sleep(pings_take_s)
    return web.Response(text="pong", status=500 if pings_break else 200)

async def slow_pings(request):
    global pings_take_s
    pings_take_s = float(request.query["seconds"])
    return web.Response()

async def broken_pings(request):
    global pings_break
    pings_break = True
    return web.Response()

async def stall(request):
    time.sleep(float(request.query["seconds"]))
    return web.Response()

async def counts(request):
    return web.json_response({**counted, "ping connections": len(connections)})

async def main():
    app = web.Application()
    app.router.add_get("/work/{workload}/{backend}", work)
    app.router.add_get("/ping", ping)
    app.router.add_get("/stall", stall)
    app.router.add_get("/slow-pings", slow_pings)
    app.router.add_get("/broken-pings", broken_pings)
    app.router.add_get("/counts", counts)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: os.read(0, 1) or ended.set())
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await ended.wait()

asyncio.run(main())
"""


@dataclass
class Service:
    child: Child
    url: str

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def stall(self) -> None:
        self.get(f"/stall?seconds={STALL_S}")

    def count(self, what: str) -> int:
        return int(json.loads(self.get("/counts")).get(what, 0))


@pytest.fixture
def service() -> Iterator[Service]:
    with Child([sys.executable, "-c", SERVICE], failure=ServiceError) as child:
        yield Service(child, f"http://127.0.0.1:{child.receive(60)['port']}")


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    generator = Generator()
    yield generator
    generator.stop()


@pytest.fixture
def order(service: Service, tmp_path: Path) -> Order:
    return Order(
        url=service.url,
        workload="primes",
        backend="threads",
        users=2,
        warmup_s=0.2,
        seconds=0.6,
        probe_rate=100.0,
        seed=17,
        drain_s=5.0,
        samples=str(tmp_path / "trial.csv.gz"),
    )


def nothing() -> None:
    pass


def measure(generator: Generator, order: Order, on_window: Callable[[], None] = nothing) -> Measured:
    with generator.load(order, on_window) as measured:
        pass
    return measured


def pid_of(generator: Generator) -> int:
    assert generator._child is not None
    return generator._child.pid


def require_every_arrival(order: Order, measured: Measured) -> None:
    """Check that the pings are one stretch of the arrivals that the seed fixes, and reach over the whole window."""
    due = sorted(measured.samples.probe.due_s)
    arrivals = list(islice(poisson(order.probe_rate, order.seed), 5_000))
    begins = [
        first
        for first in range(len(arrivals) - len(due))
        if all(
            math.isclose(arrivals[first + at] - arrivals[first], seen - due[0], abs_tol=ROUNDED_S)
            for at, seen in enumerate(due)
        )
    ]
    assert len(due) > 20
    assert len(begins) == 1, "a ping in the middle is missing, or was sent for another time than it was due"
    first, shift = begins[0], due[0] - arrivals[begins[0]]
    assert first > 0, "pings begin with the warm-up"
    assert arrivals[first - 1] + shift < ROUNDED_S, "the window's first pings are missing"
    assert arrivals[first + len(due)] + shift > measured.samples.window_s - ROUNDED_S, "its last ones are"


def test_a_stall_is_not_omitted(generator: Generator, service: Service, order: Order) -> None:
    order = replace(order, seconds=2.5)
    measured = least_disturbed(lambda: measure(generator, order, service.stall))
    probe, window_s = measured.samples.probe, measured.samples.window_s

    assert max(probe.latency_ms) >= 900 * STALL_S
    expected = order.probe_rate * window_s
    assert abs(len(probe.due_s) - expected) < 6 * math.sqrt(expected)
    require_every_arrival(order, measured)
    assert measured.tally.probes_due == measured.tally.probes_answered == len(probe.due_s)

    # Each ping in flight has a connection of its own: these were sent while the loop stood still.
    together = service.count("ping connections")
    assert together > 0.3 * STALL_S * order.probe_rate, "none waited for another's answer"

    pings = sorted(zip(probe.due_s, (latency / 1e3 for latency in probe.latency_ms), strict=True))
    longest_s, since_s = max((latency_s, due_s) for due_s, latency_s in pings)
    end_s = since_s + longest_s
    delayed = [(due_s, latency_s) for due_s, latency_s in pings if since_s <= due_s < end_s - 0.1]
    assert len(delayed) > 0.5 * STALL_S * order.probe_rate
    assert all(due_s + latency_s > end_s - 0.1 for due_s, latency_s in delayed), "none jumped the queue"
    fractions = [latency_s / longest_s for _, latency_s in delayed]
    assert sum(later <= earlier + 0.1 for earlier, later in pairwise(fractions)) == len(fractions) - 1


def test_pings_do_not_wait_for_each_others_connection(
    generator: Generator, service: Service, order: Order
) -> None:
    service.get("/slow-pings?seconds=0.5")
    measured = measure(generator, order)
    latencies = measured.samples.probe.latency_ms
    assert len(latencies) == measured.tally.probes_due > 20
    assert min(latencies) >= 500
    # Ten connections, Locust's default, would answer 20 a second of these 100, and the last after three seconds.
    assert max(latencies) < 2_500


@pytest.mark.parametrize("seed", [1, 2])
def test_on_a_healthy_service_every_ping_of_the_window_is_counted(
    generator: Generator, order: Order, seed: int
) -> None:
    order = replace(order, probe_rate=600.0, seed=seed)
    measured = measure(generator, order)
    require_every_arrival(order, measured)
    pings = len(measured.samples.probe.due_s)
    assert measured.tally.probes_due == measured.tally.probes_answered == pings
    assert (measured.tally.errors, measured.tally.first_error) == (0, None)


def test_work_is_recorded_unrounded_with_the_services_stamps(generator: Generator, order: Order) -> None:
    measured = measure(generator, order)
    work = measured.samples.work
    assert work.at_s
    assert all(0 <= done_s < measured.samples.window_s for done_s in work.at_s)
    assert all(4.0 <= latency_ms < 10_000 for latency_ms in work.latency_ms)
    # Locust's own figures are whole milliseconds.
    assert sum(abs(latency - round(latency, 2)) > 1e-6 for latency in work.latency_ms) > 0.8 * len(work.at_s)
    assert {stage[0] for stage in (work.queue_ms, work.run_ms, work.cpu_ms, work.return_ms, work.total_ms)} == {
        0.25, 4.5, 0.5, 0.125, 5.0,
    }  # fmt: skip
    assert {len(set(stage)) for stage in (work.queue_ms, work.run_ms, work.cpu_ms, work.return_ms)} == {1}


def test_users_are_as_many_as_ordered(generator: Generator, order: Order) -> None:
    # In a closed loop, the latencies in a window add up to the users' time in it, but for the client's own.
    order = replace(order, users=5, seconds=1.0)
    measured = measure(generator, order)
    in_flight = sum(measured.samples.work.latency_ms) / 1e3 / measured.samples.window_s
    assert 2.5 < in_flight < 5.5


def test_the_samples_are_in_the_file(generator: Generator, order: Order) -> None:
    measured = measure(generator, order)
    assert read_samples(Path(order.samples)) == measured.samples
    assert [path.name for path in Path(order.samples).parent.iterdir()] == ["trial.csv.gz"]


def test_its_own_usage_is_measured(generator: Generator, order: Order) -> None:
    usage = measure(generator, order).tally.generator
    assert 0 < usage.cpu_share < 1.5
    assert 0 <= usage.runqueue_share < 1.5
    assert 0 <= usage.dispatch_lag_p99_ms < 5_000


def test_one_process_serves_trial_after_trial(generator: Generator, service: Service, order: Order) -> None:
    first = measure(generator, order)
    pid, sent = pid_of(generator), service.count("/work/primes/threads")
    failing = replace(order, workload="broken", backend="asyncio")
    second = measure(generator, failing)
    assert pid_of(generator) == pid
    assert first.tally.errors == 0
    assert second.samples.work.at_s == []
    assert second.tally.errors > 20
    assert second.tally.first_error is not None
    assert re.search(r"code=500\nTraceback: boom [12]$", second.tally.first_error), "the first of either user"
    assert service.count("/work/broken/asyncio") >= second.tally.errors
    assert service.count("/work/primes/threads") == sent, "the first trial's users are gone"


def test_the_load_is_up_inside_the_block(generator: Generator, service: Service, order: Order) -> None:
    with generator.load(order, nothing) as measured:
        for what in ("/work/primes/threads", "pings"):
            before = service.count(what)
            eventually(lambda what=what, before=before: service.count(what) > before + 5, f"more {what}")  # type: ignore[misc]
        assert measured.samples.work.at_s


def test_a_service_that_dies_leaves_errors_and_unanswered_pings(
    generator: Generator, service: Service, order: Order
) -> None:
    order = replace(order, drain_s=0.1)
    measured = measure(generator, order, lambda: os.kill(service.child.pid, signal.SIGKILL))
    assert measured.tally.errors > 0
    assert measured.tally.first_error
    assert 0 <= measured.tally.probes_answered < measured.tally.probes_due
    assert measured.tally.probes_failed > 0
    assert len(measured.samples.probe.due_s) == measured.tally.probes_due - measured.tally.probes_failed, (
        "what has no answer counts for as long as it was waited for, and what failed not at all"
    )


def test_pings_that_fail_are_counted_and_not_waited_for(
    generator: Generator, service: Service, order: Order
) -> None:
    service.get("/broken-pings")
    measured = measure(generator, order)
    assert measured.tally.probes_failed == measured.tally.probes_due > 20
    assert measured.tally.probes_answered == 0
    assert measured.samples.probe.due_s == []
    assert (measured.tally.errors, measured.tally.first_error) == (0, None)


def test_a_generator_that_is_killed_is_told_and_replaced(generator: Generator, order: Order) -> None:
    killed = []

    def kill() -> None:
        killed.append(psutil.Process(pid_of(generator)))
        killed[0].kill()

    with pytest.raises(LoadError, match="exit code -9"):
        measure(generator, order, kill)
    assert not Path(order.samples).exists()
    all_end(killed)
    measured = measure(generator, order)
    assert pid_of(generator) != killed[0].pid
    assert measured.samples.work.at_s


def test_an_error_inside_the_block_ends_the_generator(generator: Generator, order: Order) -> None:
    running: list[psutil.Process] = []
    with pytest.raises(KeyboardInterrupt), generator.load(order, nothing):  # noqa: PT012  it is the block that matters
        running.append(psutil.Process(pid_of(generator)))
        raise KeyboardInterrupt
    all_end(running)
    assert generator._child is None


def test_samples_that_cannot_be_written_are_told_with_the_file_and_the_reason(
    generator: Generator, order: Order, tmp_path: Path
) -> None:
    lost = replace(order, samples=str(tmp_path / "nowhere" / "trial.csv.gz"))
    with pytest.raises(RunFileError, match=r"cannot write .*trial\.csv\.gz: No such file or directory"):
        measure(generator, lost)


def test_a_generator_ends_when_stopped_and_may_be_stopped_twice() -> None:
    generator = Generator()
    generator.prepare()
    process = psutil.Process(pid_of(generator))
    generator.stop()
    all_end([process])
    generator.stop()


# The open loop.

RATE = 200.0


def open_order(order: Order, **changes: object) -> Order:
    return replace(order, users=None, rate=RATE, **changes)  # type: ignore[arg-type]


def test_an_open_loop_shows_the_stall_that_a_closed_one_hides(
    generator: Generator, service: Service, order: Order
) -> None:
    # A fiftieth of the window is enough: one in a hundred is what p99 is about.
    opened = least_disturbed(lambda: measure(generator, open_order(order, seconds=2.5), service.stall))
    closed = least_disturbed(lambda: measure(generator, replace(order, users=1, seconds=2.5), service.stall))
    assert quantile(sorted(opened.samples.latencies_ms), 0.99) >= 900 * STALL_S
    assert max(closed.samples.latencies_ms) >= 900 * STALL_S, "the one user waited through it"
    assert quantile(sorted(closed.samples.latencies_ms), 0.99) < 450 * STALL_S
    assert closed.tally.offered is None


def test_every_arrival_of_an_open_loop_is_accounted_for(
    generator: Generator, service: Service, order: Order
) -> None:
    order = open_order(order, seconds=1.5)
    before = service.count("/work/primes/threads")
    measured = measure(generator, order)
    work, tally = measured.samples.work, measured.tally
    assert tally.offered == len(work.at_s) + tally.errors + tally.dropped + len(
        measured.samples.unanswered.due_s
    )
    assert (tally.errors, tally.dropped) == (0, 0)
    assert abs(tally.offered - RATE * 1.5) < 6 * math.sqrt(RATE * 1.5)
    assert service.count("/work/primes/threads") - before >= tally.offered, "and the warm-up's"
    assert all(0 <= at < measured.samples.window_s == 1.5 for at in work.at_s)
    assert all(
        response + 1e-3 >= sent for response, sent in zip(work.latency_ms, work.service_ms, strict=True)
    ), "what was due waits for its send as well"
    assert tally.in_flight is not None
    # Little's law, on the generator's own account of what is under way.
    expected = len(measured.samples.done_s) / 1.5 * sum(work.service_ms) / len(work.service_ms) / 1e3
    assert tally.in_flight == pytest.approx(expected, rel=0.25)


def test_an_evenly_spaced_loop_is_evenly_spaced(generator: Generator, order: Order) -> None:
    measured = measure(generator, open_order(order, arrivals=Arrivals.UNIFORM))
    gaps = [after - before for before, after in pairwise(sorted(measured.samples.work.at_s))]
    assert gaps == pytest.approx([1 / RATE] * len(gaps), abs=ROUNDED_S)


def test_what_is_never_answered_counts_for_as_long_as_it_was_waited_for(
    generator: Generator, service: Service, order: Order
) -> None:
    def stop() -> None:
        os.kill(service.child.pid, signal.SIGSTOP)

    try:
        measured = measure(generator, open_order(order, drain_s=0.3), stop)
    finally:
        os.kill(service.child.pid, signal.SIGCONT)
    lost = measured.samples.unanswered
    assert measured.tally.offered is not None
    assert len(lost.due_s) > 0.8 * measured.tally.offered > 50
    assert max(lost.waited_ms) >= 800, "from when it was due to when it was given up"
    assert sorted(measured.samples.latencies_ms) == sorted(
        [*measured.samples.work.latency_ms, *lost.waited_ms]
    )


# Several workers.


@pytest.fixture(scope="module")
def crew() -> Iterator[Generator]:
    generator = Generator(workers=2)
    yield generator
    generator.stop()


def workers_of(generator: Generator) -> list[psutil.Process]:
    children = psutil.Process(pid_of(generator)).children()
    return [child for child in children if "gilscope.load.worker" in child.cmdline()]


@pytest.mark.parametrize("users", [None, 5])
def test_two_workers_make_the_load_of_one(
    crew: Generator, service: Service, order: Order, users: int | None
) -> None:
    order = replace(open_order(order, seconds=1.5), users=users, rate=None if users else RATE)
    before = service.count("/work/primes/threads")
    measured = measure(crew, order)
    answered = service.count("/work/primes/threads") - before
    assert len(workers_of(crew)) == 2
    inside = len(measured.samples.work.at_s)
    assert 0 < inside < answered
    if users is None:
        assert measured.tally.offered == inside
        assert abs(inside - RATE * 1.5) < 6 * math.sqrt(RATE * 1.5), "the rate is that of both together"
    else:
        in_flight = sum(measured.samples.work.latency_ms) / 1e3 / measured.samples.window_s
        assert 2.5 < in_flight < 5.5, "five users in all"
    require_every_arrival(order, measured)


def test_each_process_of_a_closed_loop_may_have_as_many_connections_as_the_system_allows(
    order: Order,
) -> None:
    generator = Generator(workers=2)
    try:
        with few_files() as allowed:
            generator.prepare()
        measure(generator, order)
        assert soft_limits(workers_of(generator)) == {allowed}
    finally:
        generator.stop()


def test_of_many_requests_none_is_lost_on_the_way(crew: Generator, order: Order) -> None:
    with serving("--workload=noop", "--backends=asyncio") as served:
        order = replace(order, url=str(served.ready["url"]), workload="noop", backend="asyncio")
        measured = measure(crew, replace(open_order(order, seconds=6.0), rate=1600.0))
    work, tally = measured.samples.work, measured.tally
    assert tally.offered == len(work.at_s) + tally.errors + tally.dropped + len(
        measured.samples.unanswered.due_s
    )
    assert len(work.at_s) > 4 * AT_ONCE, "of each worker several pieces"
    assert list(work.at_s) == sorted(work.at_s)


def test_a_worker_that_dies_is_told_and_all_are_replaced(crew: Generator, order: Order) -> None:
    crew.prepare()
    crew._ready_child()
    before = [psutil.Process(pid_of(crew)), *workers_of(crew)]
    with pytest.raises(LoadError, match=r"a Locust worker ended with exit code -9"):
        measure(crew, order, before[1].kill)
    all_end(before)
    assert measure(crew, order).samples.work.at_s
    assert len(workers_of(crew)) == 2


def test_a_service_that_fails_under_load_costs_no_workers(
    crew: Generator, service: Service, order: Order
) -> None:
    crew.prepare()
    crew._ready_child()
    before = [pid_of(crew), *(worker.pid for worker in workers_of(crew))]
    with pytest.raises(ServiceError, match="it ended"), crew.load(order, nothing):
        raise ServiceError("it ended")
    assert measure(crew, order).samples.work.at_s
    assert [pid_of(crew), *(worker.pid for worker in workers_of(crew))] == before


def test_workers_that_nobody_starts_are_waited_for_no_longer_than_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gilscope.load.control.ASSEMBLE_S", 0.5)
    generator = Generator(workers=2, master="127.0.0.1:0")
    with pytest.raises(WorkersError, match=r"0 of 2 Locust workers came within 0\.5 s") as caught:
        generator._ready_child()
    assert "start 2 on the other machines: python -m gilscope.load.worker 127.0.0.1:0" in str(caught.value)
    generator.stop()


# A generator that is held up.

HELD_UP = {"generator-starved", "dispatch-lag", "shortfall"}


@contextmanager
def busy_beside(pid: int, count: int) -> Iterator[None]:
    """Pin a process, and so many others that only compute, to one core."""
    core = {min(os.sched_getaffinity(0))}
    allowed = os.sched_getaffinity(pid)
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        for process in (pid, *(spinner.pid for spinner in spinners)):
            os.sched_setaffinity(process, core)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.sched_setaffinity(pid, allowed)
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def test_a_generator_that_has_to_share_its_core_is_found_out(
    generator: Generator, service: Service, order: Order
) -> None:
    order = open_order(order, seconds=1.0)
    measure(generator, order)
    with busy_beside(pid_of(generator), 3):
        slowed = measure(generator, order)
    latencies = sorted(slowed.samples.work.from_send_ms)
    seen = Seen(quantile(latencies, 0.5), quantile(latencies, 0.99), RATE, is_open=True)
    found = {caution.code for caution in judge_generator(slowed.tally.generator, seen)}
    assert found, slowed.tally.generator
    assert found <= HELD_UP, "it is to blame for being late, and for nothing else"


def test_a_comparison_whose_generator_is_held_up_tries_again_and_decides_nothing(tmp_path: Path) -> None:
    def generators() -> list[psutil.Process]:
        return [process for process in survivors(mark) if "gilscope.load.generator" in process.cmdline()]

    # Less than its core could send by itself: where nothing at all is answered, nobody can say who was slow.
    load = ("--rate", "100", "--duration", "1", "--warm-up", "0.3", "--blocks", "1", "--backends", "asyncio")
    with started(tmp_path, "compare", "noop", *load, "--no-profiles", "--no-lens", "--out", "run") as (
        process,
        mark,
    ):
        eventually(lambda: any(one.net_connections() for one in generators()), "its load")
        with busy_beside(generators()[0].pid, 5):
            _out, err = process.communicate()
    assert process.returncode == 1, err
    run = RunFolder(tmp_path / "run").read().run
    assert sorted((trial.twin, trial.attempt) for trial in run.trials) == [
        (False, 1),
        (False, 2),
        (True, 1),
        (True, 2),
    ]
    for trial in run.trials:
        assert not trial.valid
        assert HELD_UP & {caution.code for caution in trial.warnings}, trial.generator
    (verdict,) = run.verdicts
    assert (verdict.winner, verdict.recommended, verdict.ties, verdict.conclusive) == (None, None, (), False)
