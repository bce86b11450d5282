from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cattrs
import pytest
from watched import obedient

from gilscope.child import START_S, STOP_GRACE_S
from gilscope.errors import GilscopeError, LensError
from gilscope.lens import control, process
from gilscope.lens.control import SLACK_S, Lens
from gilscope.lens.exporter import LensCollector
from gilscope.lens.ledger import NO_SPAN
from gilscope.lens.process import Observer
from gilscope.lens.readings import Window
from gilscope.lens.sampler import RATE_HZ
from gilscope.model import ThreadRole
from gilscope.profiling.observing import Observation

WINDOW = Window(2.0, 400, 0.05, {ThreadRole.LOOP: NO_SPAN})
SEEN: dict[str, object] = cattrs.unstructure(WINDOW)
REFUSED: dict[str, object] = {"error": "there is no process 5", "remedy": "see why it ended"}

Answer = Mapping[str, object] | LensError


@dataclass
class FakeChild:
    """A lens process that gives the answers it was given; it writes down what it was told."""

    answers: list[Answer]
    orders: list[Mapping[str, object]] = field(default_factory=list)
    patience: list[float] = field(default_factory=list)
    stopped: list[float] = field(default_factory=list)
    dead: bool = False

    def alive(self) -> bool:
        return not self.dead

    def send(self, order: Mapping[str, object]) -> None:
        if self.dead:
            raise LensError("has ended")
        self.orders.append(order)

    def receive(self, timeout_s: float) -> Mapping[str, object]:
        self.patience.append(timeout_s)
        answer = self.answers.pop(0)
        if isinstance(answer, LensError):
            raise answer
        return answer

    def stop(self, grace_s: float) -> None:
        self.stopped.append(grace_s)
        self.dead = True


class Nursery:
    """Where lens processes come from; each new one gets the next list of answers."""

    def __init__(self) -> None:
        self.children: list[FakeChild] = []
        self.answers: list[list[Answer]] = []

    def start(self, command: Sequence[str], *, failure: type[GilscopeError]) -> FakeChild:
        assert command == [sys.executable, "-P", "-m", "gilscope.lens.process"]
        assert failure is LensError
        self.children.append(FakeChild(self.answers.pop(0)))
        return self.children[-1]


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Nursery:
    made = Nursery()
    monkeypatch.setattr(control, "Child", made.start)
    return made


def test_one_process_watches_one_service_after_the_other(nursery: Nursery) -> None:
    nursery.answers = [[{"python": "3.13.0"}, SEEN, {"python": "3.14.0"}, SEEN]]
    lens = Lens()
    for pid in (5, 6):
        lens.watch(pid)
        lens.open_window(2.0)
        assert lens.window() == WINDOW
    (child,) = nursery.children
    window = {"seconds": 2.0, "rate_hz": RATE_HZ}
    assert child.orders == [{"watch": 5}, window, {"watch": 6}, window]
    assert child.patience == [START_S, 2.0 + SLACK_S] * 2
    lens.stop()
    lens.stop()
    assert child.stopped == [STOP_GRACE_S]


def test_it_may_be_started_ahead_of_time(nursery: Nursery) -> None:
    nursery.answers = [[{"python": "3.13.0"}]]
    lens = Lens()
    lens.prepare()
    lens.prepare()
    assert nursery.children[0].orders == []
    lens.watch(5)
    assert len(nursery.children) == 1


def test_a_rate_of_looks_may_be_asked_for(nursery: Nursery) -> None:
    nursery.answers = [[{"python": "3.13.0"}]]
    lens = Lens()
    lens.watch(5)
    lens.open_window(0.5, 1_000.0)
    assert nursery.children[0].orders[-1] == {"seconds": 0.5, "rate_hz": 1_000.0}


def test_a_window_that_nobody_waited_for_is_not_taken_for_an_answer(nursery: Nursery) -> None:
    nursery.answers = [[{"python": "3.13.0"}, SEEN], [{"python": "3.13.0"}]]
    lens = Lens()
    lens.watch(5)
    lens.open_window(2.0)
    lens.watch(6)
    first, second = nursery.children
    assert first.stopped == [0.0]
    assert second.orders == [{"watch": 6}]


def test_a_refusal_is_raised_with_its_remedy_and_the_process_kept(nursery: Nursery) -> None:
    nursery.answers = [[REFUSED, {"python": "3.13.0"}]]
    lens = Lens()
    with pytest.raises(LensError, match="no process 5") as caught:
        lens.watch(5)
    assert caught.value.remedy == "see why it ended"
    lens.watch(6)
    assert len(nursery.children) == 1


def test_a_service_that_ends_within_the_window_is_an_error(nursery: Nursery) -> None:
    nursery.answers = [[{"python": "3.13.0"}, REFUSED], [{"python": "3.13.0"}]]
    lens = Lens()
    lens.watch(5)
    lens.open_window(2.0)
    with pytest.raises(LensError, match="no process 5"):
        lens.window()
    lens.watch(6)


@pytest.mark.parametrize("told", ["did not answer within 22 s", "ended with exit code 1"])
def test_one_that_is_stuck_or_dead_is_replaced(nursery: Nursery, told: str) -> None:
    nursery.answers = [[{"python": "3.13.0"}, LensError(told)], [{"python": "3.13.0"}]]
    lens = Lens()
    lens.watch(5)
    lens.open_window(2.0)
    with pytest.raises(LensError, match=told):
        lens.window()
    assert nursery.children[0].stopped == [0.0]
    lens.watch(6)
    assert nursery.children[1].orders == [{"watch": 6}]


def test_one_that_died_between_two_services_is_replaced(nursery: Nursery) -> None:
    nursery.answers = [[{"python": "3.13.0"}], [{"python": "3.13.0"}]]
    lens = Lens()
    lens.watch(5)
    nursery.children[0].dead = True
    with pytest.raises(LensError, match="has ended"):
        lens.open_window(2.0)
    lens.watch(6)
    assert nursery.children[1].orders == [{"watch": 6}]


def test_an_observation_sees_what_the_lens_does(nursery: Nursery) -> None:
    nursery.answers = [[{"python": "3.13.0"}, SEEN]]
    observation = Observation(Lens())
    observation.watch(5)
    observation.open_window(2.0)
    assert observation.window() == WINDOW
    assert observation.caution is None


def test_an_observation_without_a_lens_sees_nothing_and_says_nothing() -> None:
    observation: Observation[int] = Observation(None)
    observation.watch(5)
    observation.open_window(2.0)
    assert observation.window() is None
    assert observation.caution is None


@pytest.mark.parametrize(
    ("answers", "remedy"),
    [
        ([REFUSED], "see why it ended"),
        ([{"python": "3.13.0"}, REFUSED], "see why it ended"),
        ([{"error": "there is no process 5", "remedy": None}], "see the reason"),
    ],
)
def test_the_first_thing_that_goes_wrong_ends_an_observation(
    nursery: Nursery, answers: list[Answer], remedy: str
) -> None:
    nursery.answers = [answers]
    observation = Observation(Lens())
    observation.watch(5)
    observation.open_window(2.0)
    assert observation.window() is None
    assert observation.window() is None
    assert observation.caution is not None
    assert observation.caution.code == "no-lens"
    assert observation.caution.message == "GIL wait was not measured: there is no process 5"
    assert observation.caution.remedy == remedy
    assert answers == []


@pytest.fixture
def observer() -> Iterator[Observer]:
    made = Observer()
    yield made
    made.close()


@pytest.mark.integration
def test_an_observer_watches_and_measures(observer: Observer) -> None:
    with obedient() as one, obedient() as two:
        for target in (one, two):
            assert observer.obey({"watch": target.pid}) == {
                "python": ".".join(map(str, sys.version_info[:3]))
            }
            window = cattrs.structure(observer.obey({"seconds": 0.05, "rate_hz": 500.0}), Window)
            assert set(window.roles) == {ThreadRole.OTHER}
            assert window.looks > 0
            assert window.seconds >= 0.05
            assert window.cpu_share >= 0
        one.end()
        assert "has ended" in str(observer.obey({"watch": one.pid})["error"])


@pytest.mark.integration
def test_an_observer_says_when_what_it_watches_ends(observer: Observer) -> None:
    with obedient() as target:
        observer.obey({"watch": target.pid})
        target.end()
        answer = observer.obey({"seconds": 5.0, "rate_hz": 500.0})
    assert answer == {"error": "the process that was watched has ended", "remedy": "see why it ended"}


@pytest.mark.integration
def test_what_an_observer_exposes_begins_anew_with_each_process() -> None:
    collector = LensCollector()
    observer = Observer(collector)
    try:
        with obedient() as one, obedient() as two:
            observer.obey({"watch": one.pid})
            observer.obey({"seconds": 0.05, "rate_hz": 500.0})
            assert collector.reading.seconds[ThreadRole.OTHER].wall_s > 0
            observer.obey({"watch": two.pid})
            assert collector.reading.seconds[ThreadRole.OTHER].wall_s == 0
            assert collector.reading.living[ThreadRole.OTHER] == 1
    finally:
        observer.close()


def test_an_observer_that_never_watched_can_be_closed() -> None:
    Observer().close()


class FakeObserver:
    closed: Callable[[], None]

    def __init__(self) -> None:
        self.orders: list[Mapping[str, object]] = []

    def obey(self, order: Mapping[str, object]) -> dict[str, object]:
        self.orders.append(order)
        return {"n": len(self.orders)}

    def close(self) -> None:
        self.orders.append({"closed": True})


def test_orders_come_line_by_line_and_nothing_else_gets_into_the_answers(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fake = FakeObserver()
    kept = os.dup(1)
    monkeypatch.setattr(process, "Observer", lambda _collector: fake)
    monkeypatch.setattr(process, "allow_many_files", lambda: None)
    monkeypatch.setattr(sys, "stdin", iter(['{"watch": 5}\n', '{"seconds": 1, "rate_hz": 2}\n']))
    try:
        process.main()
        os.write(1, b"to standard error\n")
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert fake.orders == [{"watch": 5}, {"seconds": 1, "rate_hz": 2}, {"closed": True}]
    said = capfd.readouterr()
    assert said.out == '{"n": 1}\n{"n": 2}\n'
    assert said.err == "to standard error\n"
