from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import cattrs
import psutil
import pytest

from gilscope.lens.ledger import Span
from gilscope.lens.readings import Window, by_role
from gilscope.lens.watch import ThreadSpan
from gilscope.model import LensReading, StateSeconds, ThreadRole
from gilscope.steal import StolenTime, stolen_seconds

LOOP, WORKER, OTHER = ThreadRole
ONE = Span(StateSeconds(4.0, 3.0, 2.0, 1.0, 0.5), StateSeconds(2.0, 1.0, 1.0, 0.5))
TWO = Span(StateSeconds(8.0, 6.0, 4.0, 2.0, 1.0), StateSeconds(4.0, 2.0, 2.0, 1.0))
THREE = Span(StateSeconds(12.0, 9.0, 6.0, 3.0, 1.5), StateSeconds(6.0, 3.0, 3.0, 1.5))


def thread(role: ThreadRole, span: Span) -> ThreadSpan:
    return ThreadSpan(1, 2, "name", role, span)


@pytest.mark.parametrize("empty", [(), []])
def test_no_threads_have_no_roles(empty: Sequence[ThreadSpan]) -> None:
    assert by_role(empty) == {}


def test_threads_are_added_up_by_role() -> None:
    assert by_role(iter([thread(WORKER, ONE), thread(LOOP, ONE), thread(WORKER, TWO)])) == {
        LOOP: ONE,
        WORKER: THREE,
    }
    assert list(by_role([thread(role, ONE) for role in (OTHER, WORKER, LOOP)])) == [LOOP, WORKER, OTHER]


def test_a_window_is_kept_without_what_was_inside() -> None:
    window = Window(10.0, 2_000, 0.03, {LOOP: ONE, WORKER: TWO})
    assert window.reading() == LensReading(10.0, 2_000, {LOOP: ONE.all, WORKER: TWO.all}, 0.03)
    assert window.inside() == THREE.inside


def test_a_window_survives_its_way_to_the_parent() -> None:
    window = Window(10.0, 2_000, 0.03, {LOOP: ONE, OTHER: TWO})
    assert cattrs.structure(cattrs.unstructure(window), Window) == window


def cpu_times(monkeypatch: pytest.MonkeyPatch, *rows: tuple[float, float | None]) -> None:
    """Have the system tell these seconds in use and stolen, one row each time it is asked."""
    told = iter(rows)

    def tell() -> SimpleNamespace:
        user, steal = next(told)
        times = {"user": user, "nice": 1.0, "system": 2.0, "irq": 0.5, "softirq": 0.5, "idle": 99.0}
        return SimpleNamespace(**times, **({} if steal is None else {"steal": steal}))

    monkeypatch.setattr(psutil, "cpu_times", tell)


def test_stolen_time_is_that_since_the_last_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_times(monkeypatch, (10.0, 1.0), (14.0, 2.0), (14.0, 2.0), (15.0, 1.5), (17.0, 4.0))
    stolen = StolenTime()
    # A counter that falls tells nothing.
    assert [stolen.seconds() for _ in range(4)] == [1.0, 0.0, 0.0, 2.5]


def test_a_system_that_does_not_tell_has_none_stolen(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_times(monkeypatch, (10.0, None), (14.0, None), (15.0, None), (15.0, 2.5))
    stolen = StolenTime()
    assert stolen.seconds() == 0.0
    assert stolen_seconds() == 0.0
    assert stolen_seconds() == 2.5


def test_this_system_tells_something() -> None:
    assert stolen_seconds() >= 0
    assert StolenTime().seconds() >= 0
