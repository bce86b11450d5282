from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from time import monotonic_ns

import pytest

from gilscope.backends.base import Outcome
from gilscope.classify import measuring, ticker, watching
from gilscope.classify.calling import Caller, CallFailedError
from gilscope.classify.observation import SWITCH_INTERVAL_MS, Question, Tick
from gilscope.classify.ticker import Ticker, ticking
from gilscope.classify.watching import Call, watch_first, watch_more
from gilscope.errors import GilscopeError, ParameterError
from gilscope.workloads.loader import resolve


def caller(functions: Path, name: str) -> closing[Caller]:
    workload = resolve(f"{functions}:{name}", {"a": "1"} if name.startswith("add") else {})
    return closing(Caller(workload.function, workload.arguments, is_async=workload.is_async))


def taking(seconds: float, *, fails_after: int = 1_000_000) -> Call:
    """Return a call that is as long as asked for, by its stamps at least."""
    made = []

    def call() -> Outcome:
        made.append(1)
        if len(made) > fails_after:
            raise CallFailedError("Traceback\nValueError: enough")
        begun = monotonic_ns()
        time.sleep(seconds)
        return Outcome(len(made), None, begun, monotonic_ns(), 0, 0)

    return call


def test_functions_are_called_and_awaited(functions: Path) -> None:
    with caller(functions, "add") as call:
        assert call().result == 2
    with caller(functions, "add_async") as call:
        assert [call().result, call().result] == [2, 2]
    assert not call.came_back_twice


def test_what_a_function_raises_comes_as_its_traceback(functions: Path) -> None:
    with caller(functions, "fail") as call, pytest.raises(CallFailedError, match="ValueError: as asked"):
        call()


def test_the_ticker_ticks_before_the_block_and_leaves_all_as_it_was() -> None:
    interval_s, cores = sys.getswitchinterval(), os.sched_getaffinity(0)
    with ticking(0.0) as running:
        assert len(running.ticks()) >= ticker.IDLE_TICKS
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_MS / 1e3)
        assert len(os.sched_getaffinity(0)) == 1
    assert sys.getswitchinterval() == interval_s
    assert os.sched_getaffinity(0) == cores
    assert not running.is_alive()
    assert running.cpu_ns > 0


def test_a_ticker_that_is_alone_does_not_wait() -> None:
    with ticking(10.0) as running:
        assert len(os.sched_getaffinity(0)) == len(running._cores)
        threading.Event().wait(0.05)
    seen = running.ticks()
    assert sum(tick.waited for tick in seen) < len(seen) / 4
    assert all(0.09 < tick.pause_ms < 0.51 for tick in seen)
    assert len({tick.pause_ms for tick in seen}) > len(seen) / 2
    assert all(one.due_ms < other.due_ms for one, other in pairwise(seen))


def test_a_system_that_does_not_count_switches_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    uncounted = (Tick(0.0, 0.3, 0.0, 0, 0.0),)
    monkeypatch.setattr(Ticker, "ticks", lambda _self: uncounted)
    with pytest.raises(GilscopeError, match="does not count context switches"), ticking(0.0):
        pass


def test_a_ticker_that_does_not_get_going_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker, "READY_LIMIT_S", 0.01)
    monkeypatch.setattr(Ticker, "_tick", lambda _self, _pause: time.sleep(0.001))
    with pytest.raises(GilscopeError, match=r"made no 40 ticks in 0\.01 s"), ticking(0.0):
        pass


def test_where_confining_is_not_allowed_it_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: int, _cores: object) -> None:
        raise PermissionError

    running = Ticker(0.0)
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    running._confine()


def test_a_quick_function_is_called_often_by_itself_and_watched() -> None:
    first, result = watch_first(taking(0.001))
    assert result == 1
    assert (first.timing.calls, first.repeated) == (1, False)
    found = watch_more(taking(0.001), first, 0.2)
    assert found.repeated
    assert found.stumble is None
    assert found.timing.calls > 3
    assert found.timing.call_ms >= 1
    begun, ended = found.watch.stretches[0].begun_ms, found.watch.stretches[-1].ended_ms
    assert all(tick.due_ms <= ended and tick.due_ms + tick.late_ms >= begun for tick in found.watch.ticks)
    inner = found.watch.stretches[:-1]
    assert all(stretch.ended_ms - stretch.begun_ms >= 5 for stretch in inner)


@pytest.mark.parametrize(("first_s", "calls_made"), [(0.004, "many"), (0.07, "one more"), (0.32, "none")])
def test_the_longer_the_first_call_the_fewer_follow(first_s: float, calls_made: str) -> None:
    made: list[int] = []

    def counted(call: Call) -> Call:
        def counting() -> Outcome:
            made.append(1)
            return call()

        return counting

    first, _ = watch_first(taking(first_s))
    found = watch_more(counted(taking(first_s)), first, 0.1)
    assert {"many": len(made) > 2, "one more": len(made) == 1, "none": not made}[calls_made]
    assert found.repeated is (calls_made != "none")
    assert found.watch.ticks


def test_a_later_failure_leaves_the_first_call() -> None:
    first, _ = watch_first(taking(0.001))
    found = watch_more(taking(0.001, fails_after=1), first, 0.1)
    assert found.watch == first.watch
    assert found.stumble == "Traceback\nValueError: enough"


def test_a_kernel_that_does_not_tell_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_args: object, **_options: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "open", missing)
    assert watching._runqueue_ms() == 0.0
    assert watching._stolen_ms({0, 1}) == 0.0


def test_time_stolen_is_counted_for_the_cores_in_question(monkeypatch: pytest.MonkeyPatch) -> None:
    stat = "cpu  0 0 0 0 0 0 0 9 0 0\ncpu0 0 0 0 0 0 0 0 5 0 0\ncpu1 0 0 0 0 0 0 0 4 0 0\nintr 1 2 3\n"
    monkeypatch.setattr(Path, "read_text", lambda _self, **_options: stat)
    assert watching._stolen_ms({0, 1}) == 90.0
    assert watching._stolen_ms({1}) == 40.0


def question(target: str, tmp_path: Path, **given: str) -> Question:
    return Question(target, given, None, 0.1, None, str(tmp_path))


def ask(asked: Question) -> list[dict[str, object]]:
    messages: list[dict[str, object]] = []
    measuring.answer(asked, messages.append)
    return messages


def test_an_answer_has_two_messages(tmp_path: Path) -> None:
    seen, subinterpreter = ask(question("primes", tmp_path, n="100"))
    assert seen["name"] == "primes"
    assert set(subinterpreter) == {"unavailable", "problem"}


def test_an_importing_that_switches_the_gil_on_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([False, True])
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: next(states), raising=False)
    monkeypatch.setattr(measuring, "is_free_threaded", lambda: True)
    _, observation = measuring.observe(question("primes", tmp_path, n="100"))
    assert observation.gil_enabled == (False, True)
    assert observation.free_threaded


def test_errors_say_whether_the_user_can_mend_them(
    functions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (failed,) = ask(question(f"{functions}:fail", tmp_path))
    assert str(failed["error"]).startswith("functions.fail raised:\nTraceback")
    assert failed["usage"] is True
    (refused,) = ask(question(f"{functions}:add", tmp_path))
    assert "missing a required argument" in str(refused["error"])

    def fail(_call: object) -> None:
        raise GilscopeError("not here")

    monkeypatch.setattr(measuring, "watch_first", fail)
    assert ask(question("noop", tmp_path)) == [{"error": "not here", "remedy": None, "usage": False}]


def test_a_bad_argument_is_seen(tmp_path: Path) -> None:
    with pytest.raises(ParameterError):
        measuring.observe(question("primes", tmp_path, n="1"))
