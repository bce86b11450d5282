"""Facts about flame graphs that a comparison asks a service for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gilscope.errors import CaptureError
from gilscope.flame.capture import Capture
from gilscope.model import FlameKind, Graph
from gilscope.profiling import asking
from gilscope.profiling.asking import BusyThereError, ProfilesThere

if TYPE_CHECKING:
    from collections.abc import Iterator

GRAPH = {
    "kind": "holding",
    "source": "py-spy",
    "rate_hz": 100,
    "seconds": 3.0,
    "samples": 7,
    "lost": 0,
    "notes": ["one"],
}
PLACE = "http://there/profiles/7"


class There(ProfilesThere):
    """Answers what it was told to, one after the other; the last one for ever."""

    answers: dict[str, list[object]]

    def _ask(self, url: str, body: bytes | None = None) -> bytes:
        left = self.answers[url if body is None else f"POST {url}"]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[There]:
    monkeypatch.setattr(asking, "LOOK_S", 0.001)
    made = There("http://there", "secret")
    done = {"id": "7", "state": "done", "graphs": {"holding": GRAPH}}
    There.answers = {
        "POST http://there/profiles": [{**done, "state": "running", "graphs": {}}],
        PLACE: [done],
        f"{PLACE}/flamegraph.folded?kind=holding": [b"main (app.py:1);work (own.py:2) 0.5\n"],
    }
    yield made
    del There.answers


HELD = Graph(
    kind=FlameKind.HOLDING, source="py-spy", rate_hz=100, seconds=3.0, samples=7, lost=0, notes=("one",)
)


def test_stacks_come_with_how_they_were_made(there: There) -> None:
    assert there.captures(3) == [Capture(HELD, {("main (app.py:1)", "work (own.py:2)"): 0.5})]


def test_who_finds_it_busy_waits(there: There) -> None:
    there.answers["POST http://there/profiles"].insert(0, BusyThereError("profile 6 is being captured"))
    assert [capture.graph for capture in there.captures(3)] == [HELD]


def test_nobody_waits_for_ever(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "BUSY_S", 0.01)
    there.answers["POST http://there/profiles"] = [BusyThereError("profile 6 is being captured")]
    with pytest.raises(CaptureError, match="profile 6 is being captured"):
        there.captures(3)


def test_stacks_that_are_none_are_told(there: There) -> None:
    there.answers[f"{PLACE}/flamegraph.folded?kind=holding"] = [b"nonsense"]
    with pytest.raises(CaptureError, match=f"the stacks of {PLACE} cannot be read: line 1 is not"):
        there.captures(3)
