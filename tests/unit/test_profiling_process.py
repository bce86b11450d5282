from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cattrs
import pytest
from polling import eventually

from gilscope.errors import INTERRUPTED, CaptureError, GilscopeError, UsageError
from gilscope.flame.capture import Capture
from gilscope.flame.folded import parse
from gilscope.flame.speedscope import from_speedscope
from gilscope.model import BackendName, FlameKind, Folded, Graph
from gilscope.profiling import process
from gilscope.profiling.process import Order, difference, obey, write
from gilscope.profiling.shelf import ABOUT_FILE, FORMS

HOLDING, WAITING, WALL = FlameKind

STACKS: Folded = {
    ("run_forever (asyncio/base_events.py:593)", "primes (gilscope/workloads/primes.py:4)"): 1.25,
    ("run_forever (asyncio/base_events.py:593)", "<b>&loads (json/__init__.py:299)"): 0.5,
}
GRAPH = Graph(
    kind=WAITING,
    source="py-spy 0.4.3",
    rate_hz=100,
    seconds=2.0,
    samples=175,
    lost=1,
    notes=("a note & more",),
    requests=50,
)
TAKEN = Capture(GRAPH, STACKS)
ANSWER_S = 60.0


class FakeLens:
    """Notes how it was stopped."""

    stopped: list[float]

    def __init__(self) -> None:
        FakeLens.stopped = []

    def prepare(self) -> None:
        """Need nothing."""

    def watch(self, _pid: int) -> None:
        """Look at nothing."""

    def stop(self, grace_s: float) -> None:
        FakeLens.stopped.append(grace_s)


class Taking:
    """Stands for the profiler: returns what it was given, or raises it."""

    def __init__(self, outcome: list[Capture] | BaseException) -> None:
        self.outcome = outcome
        self.asked: list[tuple[object, ...]] = []
        self.more: list[Mapping[str, object]] = []

    def __call__(self, *asked: object, **more: object) -> list[Capture]:
        self.asked.append(asked)
        self.more.append(more)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def taking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Taking]:
    taking = Taking([TAKEN])
    monkeypatch.setattr(process, "take", taking)
    monkeypatch.setattr(process, "Lens", FakeLens)
    yield taking
    assert FakeLens.stopped == [0.0]


def order(folder: Path, **other: object) -> dict[str, dict[str, Any]]:
    return {
        "capture": {
            "pid": 4711,
            "kinds": ["holding", "wall"],
            "seconds": 2,
            "rate_hz": 50,
            "folder": str(folder),
            "title": "<i>primes",
            "backends": ["asyncio", "threads"],
            "metrics_url": "http://127.0.0.1:1/metrics",
            **other,
        }
    }


def test_an_order_says_what_is_captured(taking: Taking, tmp_path: Path) -> None:
    obey(order(tmp_path))
    assert taking.asked == [(4711, (HOLDING, WALL), 2, 50)]
    (more,) = taking.more
    assert more.keys() == {"observation", "backends", "metrics_url"}
    assert more["backends"] == (BackendName.ASYNCIO, BackendName.THREADS)
    assert more["metrics_url"] == "http://127.0.0.1:1/metrics"


def test_backends_and_metrics_need_not_be_known(taking: Taking, tmp_path: Path) -> None:
    short = order(tmp_path)
    del short["capture"]["backends"], short["capture"]["metrics_url"]
    obey(short)
    assert (taking.more[0]["backends"], taking.more[0]["metrics_url"]) == ((), None)


def test_the_answer_has_each_graph_as_json_has_it(taking: Taking, tmp_path: Path) -> None:
    taking.outcome = [TAKEN, Capture(replace(GRAPH, kind=WALL, samples=0), {})]
    answer = json.loads(json.dumps(obey(order(tmp_path))))
    assert answer.keys() == {"graphs"}
    assert list(answer["graphs"]) == ["waiting", "wall"]
    assert cattrs.structure(answer["graphs"]["waiting"], Graph) == GRAPH


def test_a_graph_is_written_in_every_form(tmp_path: Path) -> None:
    write(TAKEN, tmp_path, "<i>primes")
    assert {path.name for path in tmp_path.iterdir()} == {f"waiting.{form}" for form in FORMS}
    assert parse((tmp_path / "waiting.folded").read_text()) == STACKS
    assert from_speedscope((tmp_path / "waiting.speedscope.json").read_text()) == STACKS
    assert json.loads((tmp_path / "waiting.speedscope.json").read_text())["name"] == "<i>primes, waiting"
    svg, fragment = ((tmp_path / f"waiting.{form}").read_text() for form in ("svg", "fragment.svg"))
    assert "<script" in svg
    assert "<script" not in fragment
    for picture in (svg, fragment):
        assert "&lt;i&gt;primes: who waited for the GIL" in picture
        assert "a note &amp; more" in picture
        assert "50\u00a0requests" in picture
        assert "<i>" not in picture
        assert "<b>" not in picture


def test_a_graph_without_a_stack_is_text_alone(tmp_path: Path) -> None:
    write(Capture(replace(GRAPH, samples=0), {}), tmp_path, "primes")
    assert [path.name for path in tmp_path.iterdir()] == ["waiting.folded"]
    assert (tmp_path / "waiting.folded").read_bytes() == b""


def test_names_that_are_no_unicode_are_written_all_the_same(tmp_path: Path) -> None:
    write(Capture(GRAPH, {("f\ud800 (x.py:1)",): 1.0}), tmp_path, "primes\udcff")
    assert {path.name for path in tmp_path.iterdir()} == {f"waiting.{form}" for form in FORMS}
    assert parse((tmp_path / "waiting.folded").read_text()) == {("f? (x.py:1)",): 1.0}


@pytest.mark.parametrize(
    ("problem", "answer"),
    [
        (
            CaptureError("it has ended", remedy="see why"),
            {"error": "it has ended", "remedy": "see why"},
        ),
        (UsageError("no", remedy=None), {"error": "no", "remedy": None}),
        (GilscopeError("any of ours"), {"error": "any of ours", "remedy": None}),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            {
                "error": "the profile cannot be written: [Errno 28] No space left on device",
                "remedy": "room on the disk",
            },
        ),
    ],
)
def test_what_goes_wrong_is_the_answer(
    taking: Taking, tmp_path: Path, problem: Exception, answer: object
) -> None:
    taking.outcome = problem
    assert obey(order(tmp_path)) == answer
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_the_answer_too(taking: Taking, tmp_path: Path) -> None:
    answer = obey(order(tmp_path / "gone"))
    assert taking.asked
    assert answer["error"].startswith("the profile cannot be written: [Errno 2] No such file or directory")
    assert answer["remedy"] == "room on the disk"


def test_a_bug_is_not_hidden_and_the_lens_is_stopped(taking: Taking, tmp_path: Path) -> None:
    taking.outcome = LookupError("a bug")
    with pytest.raises(LookupError, match="a bug"):
        obey(order(tmp_path))


def kept(
    folder: Path, name: str, graph: Graph = GRAPH, folded: Folded = STACKS, *, weight: float = 1.0
) -> Path:
    """Put a profile with one graph on the shelf."""
    place = folder / name
    place.mkdir()
    write(Capture(graph, {stack: weight * had for stack, had in folded.items()}), place, "primes")
    about = {"graphs": {graph.kind: cattrs.unstructure(graph)}}
    (place / ABOUT_FILE).write_text(json.dumps(about))
    return place


def asked_for(now: Path, before: Path, file: Path, kind: FlameKind = WAITING) -> dict[str, dict[str, Any]]:
    return {"difference": {"kind": kind, "now": str(now), "before": str(before), "file": str(file)}}


def test_a_difference_is_drawn_per_request(tmp_path: Path) -> None:
    now, before = kept(tmp_path, "now", weight=2), kept(tmp_path, "before")
    assert obey(asked_for(now, before, tmp_path / "file.svg")) == {}
    svg = (tmp_path / "file.svg").read_text()
    assert "who waited for the GIL: now against before" in svg
    assert svg.count("a note &amp; more") == 1
    assert "per\u00a0request" in svg
    assert '<svg class="grew-' in svg
    assert '<svg class="shrank-' not in svg
    assert {f'data-side="{side}"' in svg for side in ("now", "before")} == {True}


def test_a_difference_is_drawn_per_second_where_requests_are_unknown(tmp_path: Path) -> None:
    graph = replace(GRAPH, requests=None)
    difference(
        "waiting", str(kept(tmp_path, "now")), str(kept(tmp_path, "before", graph)), str(tmp_path / "d")
    )
    assert "per\u00a0second" in (tmp_path / "d").read_text()


@pytest.mark.parametrize(
    ("graph", "folded", "says"),
    [
        (replace(GRAPH, source="Python 3.15.0"), STACKS, "cannot be compared: they name the same frames"),
        (replace(GRAPH, kind=WAITING, samples=0), {}, None),
    ],
)
def test_what_cannot_be_compared_is_told(
    tmp_path: Path, graph: Graph, folded: Folded, says: str | None
) -> None:
    now, before = kept(tmp_path, "now"), kept(tmp_path, "before", graph, folded)
    answer = obey(asked_for(now, before, tmp_path / "file.svg"))
    assert (tmp_path / "file.svg").exists() is (says is None)
    assert (says or "") in answer.get("error", "")
    assert ("error" in answer) is (says is not None)


def test_two_empty_graphs_have_no_difference(tmp_path: Path) -> None:
    empty = replace(GRAPH, samples=0)
    now, before = kept(tmp_path, "now", empty, {}), kept(tmp_path, "before", empty, {})
    assert "nothing to draw" in obey(asked_for(now, before, tmp_path / "file.svg"))["error"]
    assert not (tmp_path / "file.svg").exists()


def test_one_that_has_been_removed_meanwhile_is_told(tmp_path: Path) -> None:
    answer = obey(asked_for(kept(tmp_path, "now"), tmp_path / "gone", tmp_path / "file.svg"))
    assert "No such file" in answer["error"]


PROCESS = """
import os, signal, sys, time
from gilscope.profiling import process
{before}
def obey(order):
    os.write(2, b"begun ")
    {doing}
process.obey = obey
sys.exit(process.main())
"""


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for one in started:
        one.kill()
        one.communicate()


def run(started: list[subprocess.Popen[bytes]], doing: str, before: str = "") -> subprocess.Popen[bytes]:
    one = subprocess.Popen(
        [sys.executable, "-c", PROCESS.format(doing=doing, before=before)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    started.append(one)
    return one


def begun(one: subprocess.Popen[bytes]) -> None:
    assert one.stdin is not None
    assert one.stderr is not None
    one.stdin.write(b"{}\n")
    one.stdin.flush()
    assert os.read(one.stderr.fileno(), 6) == b"begun "


@pytest.mark.integration
@pytest.mark.parametrize("before", ["", "signal.signal(signal.SIGINT, signal.SIG_IGN)"], ids=["", "ignored"])
def test_it_is_interrupted_when_its_input_ends(running: list[subprocess.Popen[bytes]], before: str) -> None:
    one = run(running, "time.sleep(600)", before)
    begun(one)
    assert one.poll() is None
    out, err = one.communicate(timeout=ANSWER_S)
    assert (one.returncode, out, err) == (INTERRUPTED, b"", b"")


@pytest.mark.integration
def test_whoever_interrupts_it_gets_its_cleaning_up(running: list[subprocess.Popen[bytes]]) -> None:
    one = run(running, "try: os.write(2, b'within'); time.sleep(600)\n    finally: os.write(2, b'cleaned')")
    begun(one)
    assert one.stderr is not None
    assert os.read(one.stderr.fileno(), 6) == b"within"
    assert one.communicate(timeout=ANSWER_S) == (b"", b"cleaned")


@pytest.mark.integration
def test_its_answer_is_one_line_whatever_is_printed_meanwhile(
    running: list[subprocess.Popen[bytes]],
) -> None:
    one = run(running, "print('noise'); os.write(1, b'more'); return {'heard': order}")
    begun(one)
    assert one.stdout is not None
    assert json.loads(one.stdout.readline()) == {"heard": {}}
    eventually(lambda: one.poll() is not None, "its end, with its input open")
    assert one.returncode == 0
    assert one.stdout.read() == b""


@pytest.mark.integration
def test_without_an_order_it_ends_in_silence(running: list[subprocess.Popen[bytes]]) -> None:
    one = run(running, "return {}")
    assert one.communicate(timeout=ANSWER_S) == (b"", b"")
    assert one.returncode == 0


def test_an_order_is_what_the_service_sends() -> None:
    assert Order(1, (WAITING,), 5, 100, "folder", "title").backends == ()
