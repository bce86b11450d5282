from __future__ import annotations

import argparse
import random
from argparse import Namespace
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from gilscope.histogram import Histogram
from gilscope.load import by_hand
from gilscope.load.arrivals import poisson, share_of
from gilscope.load.by_hand import END, RESET, REST, attach
from gilscope.load.options import add_options, arrival_rate, check_arrivals
from gilscope.load.totals import Batch, Books, Line, Totals, describe, part_of, thinned
from gilscope.model import Arrivals

WORK = {"workload": "primes", "own_workload": "", "backend": "threads"}
OPEN = Namespace(rate=100.0, arrivals="poisson", seed=7, **WORK)
CLOSED = Namespace(rate=0.0, arrivals="poisson", seed=7, **WORK)
LAG = "dispatch lag p50/p99 0.50/0.50 ms: finer differences cannot be seen"
DUE_S = 10.0


def report(work: Batch, ping: Batch | None = None, covered_s: float = 0.0, epoch: int = 0) -> dict[str, Any]:
    return {"epoch": epoch, "covered_s": covered_s, "work": vars(work), "ping": vars(ping or Batch())}


def recorded(latencies_ms: Iterable[float]) -> Histogram:
    histogram = Histogram()
    histogram.record_many(latencies_ms)
    return histogram


# --- Books -------------------------------------------------------------------------------------------------------


def test_an_answer_is_timed_from_when_it_was_due_and_from_when_it_was_sent() -> None:
    books = Books()
    books.sent(DUE_S, DUE_S + 0.25)
    books.ended(DUE_S, DUE_S + 1.0, failed=False)
    assert books.take() == Batch(response_ms=[1000.0], service_ms=[750.0], lag_ms=[250.0], sent=1)
    assert books.take() == Batch(), "what was taken is gone"


def test_a_failure_and_a_drop_are_counted_and_have_no_latency() -> None:
    books = Books()
    books.sent(DUE_S, DUE_S)
    books.ended(DUE_S, DUE_S + 1.0, failed=True)
    books.dropped(DUE_S + 1.0)
    books.closed_loop(5.0, failed=True)
    assert books.take() == Batch(lag_ms=[0.0], sent=2, dropped=1, failed=2)


def test_what_never_came_back_counts_for_as_long_as_it_was_waited_for() -> None:
    books = Books()
    books.sent(DUE_S, DUE_S + 0.5)
    assert books.take() == Batch(lag_ms=[500.0], sent=1), "still under way"
    books.close(DUE_S + 2.0)
    assert books.take() == Batch(response_ms=[2000.0], service_ms=[1500.0], unanswered=1)
    books.ended(DUE_S, DUE_S + 3.0, failed=False)
    assert books.take() == Batch(), "it has been counted"


def test_what_was_sent_before_a_reset_is_not_counted_after_it() -> None:
    books = Books()
    books.sent(DUE_S, DUE_S)
    books.reset()
    books.ended(DUE_S, DUE_S + 1.0, failed=False)
    books.close(DUE_S + 2.0)
    assert books.take() == Batch()


def test_a_timer_that_fires_early_makes_no_negative_lag() -> None:
    books = Books()
    books.sent(DUE_S, DUE_S - 0.5)
    books.ended(DUE_S, DUE_S + 1.0, failed=False)
    assert books.take() == Batch(response_ms=[1000.0], service_ms=[1500.0], lag_ms=[0.0], sent=1)


# --- Totals ------------------------------------------------------------------------------------------------------


def test_totals_of_many_reports_are_those_of_one() -> None:
    latencies = [random.Random(3).expovariate(1 / 20) for _ in range(600)]
    totals = Totals()
    for worker in range(3):
        for part in range(2):
            chosen = latencies[worker * 2 + part :: 6]
            batch = Batch(response_ms=chosen, service_ms=chosen, lag_ms=chosen, sent=101, failed=1)
            totals.add(f"worker-{worker}", report(batch, covered_s=1.5))
    assert totals.work.response == totals.work.service == totals.lag == recorded(latencies)
    assert totals.work.response.max_ms == max(latencies), "kept as it was, not as its bucket"
    assert (totals.work.due, totals.work.failed, totals.work.in_flight) == (606, 6, 0)
    assert totals.seconds == 3.0, "workers run side by side"


def test_the_run_is_as_long_as_that_of_the_worker_that_stayed() -> None:
    totals = Totals()
    totals.add("left", report(Batch(), covered_s=1.0))
    totals.add("stayed", report(Batch(), covered_s=4.0))
    assert totals.seconds == 4.0
    totals.reset()
    assert totals.seconds == 0.0


def test_in_flight_is_what_was_sent_and_has_not_ended() -> None:
    line = Line()
    line.add(Batch(response_ms=[1.0, 2.0], sent=5, failed=1, dropped=3, unanswered=1))
    assert line.in_flight == 2
    assert line.due == 8


# --- Parts and shapes --------------------------------------------------------------------------------------------


def test_parts_are_numbered_by_the_list_of_members() -> None:
    members = ["a", "b", "c"]
    assert [part_of(members, me) for me in members] == [(0, 3), (1, 3), (2, 3)]
    assert part_of(members, "who came later") is None


@pytest.mark.parametrize("arrivals", Arrivals)
def test_the_parts_have_the_rate_together(arrivals: Arrivals) -> None:
    seconds, rate = 100.0, 200.0
    streams = [share_of(arrivals, rate, 1, part, 3) for part in range(3)]
    due = sum(len(list(within(stream, seconds))) for stream in streams)
    assert due == pytest.approx(rate * seconds, abs=5 * (rate * seconds) ** 0.5)


def within(due_times: Iterable[float], seconds: float) -> Iterable[float]:
    for due_s in due_times:
        if due_s >= seconds:
            return
        yield due_s


def test_thinned_arrivals_follow_the_share() -> None:
    kept = list(within(thinned(poisson(1000.0, 1), lambda at_s: 0.1 if at_s < 5 else 1.0, 2), 10.0))
    early = sum(due_s < 5 for due_s in kept)
    assert early == pytest.approx(500, abs=5 * 500**0.5)
    assert len(kept) - early == pytest.approx(5000, abs=5 * 5000**0.5)
    assert kept == sorted(kept)


# --- Text --------------------------------------------------------------------------------------------------------


def test_the_table_of_an_open_loop() -> None:
    totals = Totals()
    work = Batch(
        response_ms=[1.0, 2.0, 4.0, 8.0], service_ms=[1.0] * 4, lag_ms=[0.5] * 6, sent=6, dropped=2, failed=1,
        unanswered=1,
    )  # fmt: skip
    totals.add(
        "a", report(work, Batch(response_ms=[3.0], service_ms=[3.0], lag_ms=[0.25], sent=1), covered_s=2.0)
    )
    assert describe(totals, OPEN, 2, silent=1).splitlines() == [
        "gilscope: primes on threads, open loop, 100/s, poisson, seed 7, 2 sending processes; milliseconds",
        "                                 count       p50       p90       p99     p99.9       max",
        "work response, from when due         4     2.000     8.000    ~8.000    ~8.000     8.000",
        "work service, from send              4     1.000     1.000    ~1.000    ~1.000     1.000",
        "/ping, from when due                 1     3.000     3.000    ~3.000    ~3.000     3.000",
        "~ rough: a p99 wants 2 000 requests, a p99.9 20 000",
        f"offered 4.0/s (due 8, sent 6, dropped 2, failed 1), {LAG}",
        "1 unanswered at the end, counted for as long as they had been waited for",
        "1 under way, not yet in the percentiles",
        "dropped and failed requests are not in the percentiles: without them they look too good",
        "1 worker did not send the last figures: what is above lacks them",
    ]


def test_the_table_of_a_closed_loop() -> None:
    totals = Totals()
    many = Batch(response_ms=[2.0] * 20_000, sent=20_000)
    pings = Batch(
        response_ms=[3.0] * 20_000, service_ms=[3.0] * 20_000, lag_ms=[0.25] * 20_000, sent=20_001, failed=1
    )
    totals.add("", report(many, pings))
    assert describe(totals, CLOSED, 1).splitlines() == [
        "gilscope: primes on threads, closed loop; milliseconds",
        "                                 count       p50       p90       p99     p99.9       max",
        "work, from send                  20000     2.000     2.000     2.000     2.000     2.000",
        "/ping, from when due             20000     3.000     3.000     3.000     3.000     3.000",
        "sent 20000, failed 0; /ping: dispatch lag p50/p99 0.25/0.25 ms: finer differences cannot be seen",
        "a closed loop waits for stalls: what would have been sent meanwhile is in no percentile of work",
        "(--rate R sends R requests per second whatever happens)",
        "/ping: 1 failed, 0 dropped; they are not in its percentiles",
    ]


def test_a_run_in_which_nothing_happened_has_a_table_too() -> None:
    lines = describe(Totals(), OPEN, 1).splitlines()
    assert lines[2].split()[-6:] == ["0", *"-----"]
    assert "offered 0.0/s (due 0, sent 0, dropped 0, failed 0), nothing was due" in lines
    assert "100/s at the peak of a spike," in describe(Totals(), Namespace(**vars(OPEN), shape="spike"), 1)


# --- Options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["-1", "nan", "inf", "many", ""])
def test_an_impossible_rate_is_refused(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, ["noop"])
    with pytest.raises(SystemExit):
        parser.parse_args(["--workload", "noop", f"--rate={rate}"])
    assert (
        f"arrivals per second are a number from 0 (closed loop) up, not {rate!r}" in capsys.readouterr().err
    )
    with pytest.raises(ValueError, match="rate: arrivals per second"):
        check_arrivals({"rate": rate})


def test_unknown_arrivals_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, ["noop"])
    with pytest.raises(SystemExit):
        parser.parse_args(["--arrivals", "bursts"])
    assert "invalid choice: 'bursts'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="one of poisson, uniform, not 'bursts'"):
        check_arrivals({"arrivals": "bursts"})


def test_a_seed_is_whole() -> None:
    with pytest.raises(ValueError, match="it is a whole number"):
        check_arrivals({"seed": "1.5"})
    check_arrivals({"rate": "100", "arrivals": "uniform", "seed": "1"})
    check_arrivals({})
    assert arrival_rate("12.5") == 12.5


# --- Locust's side, without Locust -------------------------------------------------------------------------------


class Event:
    def __init__(self) -> None:
        self._listeners: list[Any] = []

    def add_listener(self, listener: Any) -> None:  # noqa: ANN401
        self._listeners.append(listener)

    def fire(self, **details: Any) -> None:  # noqa: ANN401
        for listener in self._listeners:
            listener(**details)


EVENTS = (
    "request", "test_start", "test_stopping", "test_stop", "reset_stats", "spawning_complete", "quit", "quitting",
    "worker_report", "report_to_master",
)  # fmt: skip


class Runner:
    state = "running"
    client_id = "b"

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}
        self.told: list[tuple[str, Any, str | None]] = []
        self.clients = Clients()

    def register_message(self, name: str, handler: Any, **_: bool) -> None:  # noqa: ANN401
        self.handlers[name] = handler

    def send_message(self, name: str, data: Any = None, client_id: str | None = None) -> None:  # noqa: ANN401
        self.told.append((name, data, client_id))

    def receive(self, name: str, data: Any, client_id: str = "") -> None:  # noqa: ANN401
        self.handlers[name](environment=None, msg=SimpleNamespace(data=data, node_id=client_id))


class Clients(dict[str, Any]):
    def __init__(self) -> None:
        super().__init__({name: SimpleNamespace(id=name) for name in "ba"})
        self.spawning: list[Any] = []
        self.running: list[Any] = []
        self.missing: list[Any] = []

    @property
    def ready(self) -> list[Any]:
        return list(self.values())


class User:
    """Stands for a stream: what it does, the test does."""

    def __init__(self) -> None:
        self.started = 0

    def start(self, _group: object) -> None:
        self.started += 1


class Made:
    """Remembers with what streams were made."""

    def __init__(self) -> None:
        self.work, self.ping = Books(), Books()
        self.parts: list[tuple[int, int]] = []
        self.user = User()

    def __call__(self, environment: object, work: Books, ping: Books, part: tuple[int, int]) -> list[Any]:
        self.environment = environment
        self.work, self.ping = work, ping
        self.parts.append(part)
        return [self.user]


def surroundings(role: str, rate: float = 100.0) -> Any:  # noqa: ANN401
    options = Namespace(
        master=role == "master",
        worker=role == "worker",
        rate=rate,
        arrivals="poisson",
        seed=0,
        web_base_path="",
        workload="primes",
        own_workload="",
        backend="threads",
        metrics_port=0,
    )
    events = SimpleNamespace(**{name: Event() for name in EVENTS})
    return SimpleNamespace(
        parsed_options=options, events=events, runner=Runner(), web_ui=None, host="http://service", stop_timeout=0.0,
        reset_stats=False,
    )  # fmt: skip


def answer(environment: Any, name: str, due: float | None = None, exception: Exception | None = None) -> None:  # noqa: ANN401
    context = {} if due is None else {"due": due}
    environment.events.request.fire(
        name=name, response_time=5.0, exception=exception, context=context, url=""
    )


def send(books: Books, due: float) -> None:
    books.sent(due, due)


def test_alone_a_test_is_counted_from_its_start_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    environment, made = surroundings("alone"), Made()
    attach(environment, made)
    environment.events.test_start.fire(environment=environment)
    assert made.parts == [(0, 1)]
    assert made.user.started == 1
    for due in range(150):
        send(made.work, float(due))
        answer(environment, "work", float(due), OSError() if due == 3 else None)
    send(made.work, 200.0)
    send(made.ping, 1.0)
    answer(environment, "/ping", 1.0)
    answer(environment, "somebody else's", 1.0)
    environment.events.test_stopping.fire(environment=environment)
    environment.events.test_stop.fire(environment=environment)
    environment.events.quit.fire(exit_code=0)
    table = capsys.readouterr().err
    assert "work response, from when due       150" in table
    assert "/ping, from when due                 1" in table
    assert "(due 151, sent 151, dropped 0, failed 1)" in table
    assert "1 unanswered at the end" in table


def test_alone_a_closed_loop_starts_no_streams(capsys: pytest.CaptureFixture[str]) -> None:
    environment, made = surroundings("alone", rate=0.0), Made()
    pings = attach(environment, made)
    assert pings is not None
    environment.events.test_start.fire(environment=environment)
    answer(environment, "work")
    answer(environment, "work", exception=OSError())
    send(pings, 1.0)
    answer(environment, "/ping", 1.0)
    environment.events.quit.fire(exit_code=0)
    assert made.parts == []
    table = capsys.readouterr().err
    assert "work, from send                      1     5.000" in table
    assert "sent 2, failed 1" in table


@pytest.mark.parametrize("how", ["reset_stats", "spawning_complete", "test_start"])
def test_figures_begin_anew_when_those_of_locust_do(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    environment, made = surroundings("alone", rate=0.0), Made()
    environment.reset_stats = True
    attach(environment, made)
    environment.events.test_start.fire(environment=environment)
    answer(environment, "work")
    getattr(environment.events, how).fire(environment=environment)
    environment.events.quit.fire(exit_code=0)
    assert capsys.readouterr().err == "", "nothing has happened since"


def test_a_worker_sends_its_part_and_reports_what_is_new() -> None:
    environment, made = surroundings("worker"), Made()
    environment.parsed_options.gilscope = {"epoch": 4, "members": ["a", "b"]}
    attach(environment, made)
    environment.events.test_start.fire(environment=environment)
    assert made.parts == [(1, 2)]
    send(made.work, 1.0)
    sent = shipped(environment)
    assert (sent["epoch"], sent["work"]["sent"], sent["work"]["response_ms"]) == (4, 1, [])
    answer(environment, "work", 1.0)
    assert len(shipped(environment)["work"]["response_ms"]) == 1
    send(made.work, 2.0)
    environment.runner.receive(END, None)
    [(name, rest, _)] = environment.runner.told
    assert (name, rest["work"]["sent"], rest["work"]["unanswered"]) == (REST, 1, 1), (
        "nothing is lost at the end"
    )
    environment.runner.receive(RESET, {"epoch": 5})
    assert shipped(environment) == report(Batch(), epoch=5)


def test_a_worker_that_came_later_sends_nothing() -> None:
    environment, made = surroundings("worker"), Made()
    environment.parsed_options.gilscope = {"epoch": 1, "members": ["a", "c"]}
    attach(environment, made)
    environment.events.test_start.fire(environment=environment)
    assert made.parts == []


def shipped(environment: Any) -> Any:  # noqa: ANN401
    data: dict[str, Any] = {}
    environment.events.report_to_master.fire(client_id="b", data=data)
    return data["gilscope"]


def test_a_master_adds_up_what_belongs_to_this_test(capsys: pytest.CaptureFixture[str]) -> None:
    environment = surroundings("master")
    runner, events = environment.runner, environment.events
    assert attach(environment, Made()) is None
    events.test_start.fire(environment=environment)
    assert environment.parsed_options.gilscope == {"epoch": 1, "members": ["a", "b"]}
    one = Batch(response_ms=[1.0], service_ms=[1.0], lag_ms=[0.0], sent=1)
    events.worker_report.fire(client_id="a", data={"gilscope": report(one, epoch=1)})
    events.worker_report.fire(client_id="a", data={"gilscope": report(one, epoch=0)})
    events.worker_report.fire(client_id="a", data={"without": "ours"})
    events.test_stopping.fire(environment=environment)
    assert sorted(runner.told) == [(END, None, "a"), (END, None, "b")]
    runner.receive(REST, report(one, epoch=1), "a")
    runner.receive(REST, report(one, epoch=1), "b")
    events.test_stop.fire(environment=environment)
    runner.state = "stopped"
    events.quit.fire(exit_code=0)
    table = capsys.readouterr().err
    assert "(due 3, sent 3, dropped 0, failed 0)" in table
    assert "2 sending processes" in table
    assert "did not send the last figures" not in table


def test_a_master_waits_for_no_lost_worker_and_says_whose_figures_lack(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = surroundings("master")
    runner, events = environment.runner, environment.events
    attach(environment, Made())
    events.test_start.fire(environment=environment)
    runner.receive(REST, report(Batch(sent=1), epoch=1), "a")
    runner.clients.missing = [runner.clients["b"]]
    events.test_stop.fire(environment=environment)
    monkeypatch.setattr(by_hand, "REST_S", 0.0)
    runner.clients.missing = []
    events.test_stop.fire(environment=environment)
    runner.state = "stopped"
    events.quit.fire(exit_code=0)
    assert "1 worker did not send the last figures" in capsys.readouterr().err


def test_a_master_that_resets_tells_the_workers() -> None:
    environment = surroundings("master")
    attach(environment, Made())
    environment.events.test_start.fire(environment=environment)
    environment.events.reset_stats.fire()
    assert environment.runner.told == [(RESET, {"epoch": 2}, None)]
