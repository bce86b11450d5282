"""The service's side of profiling, against children that behave as they may."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

import cattrs
import psutil
import pytest
from polling import all_end

from gilscope.errors import CaptureError
from gilscope.model import BackendName, FlameKind, Graph
from gilscope.profiling import companion
from gilscope.profiling.companion import BusyError, NoRoomError, Profiles
from gilscope.profiling.shelf import ABOUT_FILE, Profile, Shelf, State, new_profile

pytestmark = pytest.mark.integration

HOLDING, WAITING, WALL = FlameKind
GRAPHS = {"waiting": {"samples": 3}}

SPEAKING = """
import json, os, sys, time
def say(**message): os.write(1, json.dumps(message).encode() + b"\\n")
order = json.loads(sys.stdin.readline())
"""
DONE = SPEAKING + f"say(graphs={GRAPHS})\nsys.stdin.read()"
ECHO = SPEAKING + "say(graphs={'order': order})"
PATIENT = SPEAKING + "sys.stdin.read()"
DEAF = SPEAKING + "time.sleep(600)"
WITH_CHILD = (
    SPEAKING
    + "import subprocess\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\ntime.sleep(600)"
)


class Started:
    """Has profiles captured by processes that run the given code, and counts these."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.modules: list[str] = []

    def __call__(self, code: str) -> None:
        def command(module: str) -> list[str]:
            self.modules.append(module)
            return [sys.executable, "-c", code]

        self._monkeypatch.setattr(companion, "module_command", command)


def ours() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    before = set(ours())
    yield Started(monkeypatch)
    assert set(ours()) <= before


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def profiles(shelf: Shelf) -> Profiles:
    return Profiles(
        shelf,
        4711,
        "primes",
        (BackendName.ASYNCIO, BackendName.THREADS),
        "http://127.0.0.1:1/metrics",
        ("own.py:work",),
    )


def begin(profiles: Profiles, kind: FlameKind = WAITING) -> Profile:
    return profiles.begin(kind, 1, 100)


async def ended(profiles: Profiles, profile: Profile) -> Profile:
    while profiles.running is not None:  # noqa: ASYNC110  nothing announces it
        await asyncio.sleep(0.005)
    found = profiles.shelf.find(profile.id)
    assert found is not None
    assert found.state is not State.RUNNING
    return found


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not fact():  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(0.005)


async def test_a_profile_is_running_at_once_and_done_in_the_end(profiles: Profiles, runs: Started) -> None:
    runs(DONE)
    profile = begin(profiles)
    assert (profile.kind, profile.seconds, profile.rate_hz) == (WAITING, 1, 100)
    assert profile.state is State.RUNNING
    assert profiles.running == profile
    assert profiles.shelf.find(profile.id) == profile
    assert await ended(profiles, profile) == replace(profile, state=State.DONE, graphs=GRAPHS)
    assert runs.modules == ["gilscope.profiling.process"]


@pytest.mark.parametrize(
    ("kind", "kinds"),
    [(WAITING, ["holding", "waiting", "wall"]), (HOLDING, ["holding", "wall"]), (WALL, ["holding", "wall"])],
)
async def test_the_order_has_all_that_the_process_needs(
    profiles: Profiles, runs: Started, kind: FlameKind, kinds: list[str]
) -> None:
    runs(ECHO)
    profile = begin(profiles, kind)
    found = await ended(profiles, profile)
    assert found.graphs["order"] == {
        "capture": {
            "pid": 4711,
            "kinds": kinds,
            "seconds": 1,
            "rate_hz": 100,
            "folder": str(profiles.shelf.folder / profile.id),
            "title": "primes",
            "backends": ["asyncio", "threads"],
            "metrics_url": "http://127.0.0.1:1/metrics",
            "targets": ["own.py:work"],
        }
    }


async def test_one_at_a_time_and_the_refusal_names_the_other(profiles: Profiles, runs: Started) -> None:
    runs(PATIENT)
    first = begin(profiles)
    with pytest.raises(BusyError) as caught:
        begin(profiles, HOLDING)
    assert caught.value.running == first
    assert caught.value.message == f"profile {first.id} is being captured"
    assert "1 s" in str(caught.value.remedy)
    assert [profile.id for profile in profiles.shelf.profiles()] == [first.id]
    await profiles.stop()


async def test_the_next_one_may_begin_after_a_failure_and_after_success(
    profiles: Profiles, runs: Started
) -> None:
    states = []
    for code in ("1/0", DONE, "1/0", DONE):
        runs(code)
        states.append((await ended(profiles, begin(profiles))).state)
    assert states == [State.FAILED, State.DONE, State.FAILED, State.DONE]
    assert len(list(profiles.shelf.profiles())) == 4


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; sys.stdin.readline(); sys.exit('its last words')", r"exit code 1\n  \| its last words"),
        (SPEAKING + "os.kill(os.getpid(), 9)", "exit code -9"),
        (SPEAKING + "os.write(1, b'[1]\\n'); sys.stdin.read()", "not a message"),
        (SPEAKING + "os.close(1); sys.stdin.read()", "closed its standard output"),
    ],
    ids=["dies", "killed", "garbage", "mute"],
)
async def test_a_process_that_fails_is_quoted(
    profiles: Profiles, runs: Started, code: str, says: str
) -> None:
    runs(code)
    found = await ended(profiles, begin(profiles))
    assert found.state is State.FAILED
    assert found.graphs == {}
    assert re.search(says, found.error or "")


async def test_what_the_process_says_of_its_failure_is_kept(profiles: Profiles, runs: Started) -> None:
    for remedy in ("sudo", None):
        runs(SPEAKING + f"say(error='no right', remedy={remedy!r})")
        found = await ended(profiles, begin(profiles))
        assert (found.state, found.error, found.remedy) == (State.FAILED, "no right", remedy)


@pytest.mark.parametrize("code", [PATIENT, DEAF, WITH_CHILD], ids=["patient", "deaf", "with a child"])
async def test_one_that_hangs_is_ended_with_its_children(
    profiles: Profiles, runs: Started, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(companion, "SLACK_S", -0.6)
    monkeypatch.setattr(companion, "STOP_GRACE_S", 0.1)
    before = set(ours())
    runs(code)
    profile = begin(profiles)
    await until(lambda: bool(set(ours()) - before))
    started = set(ours()) - before
    found = await ended(profiles, profile)
    assert (found.state, found.error) == (State.FAILED, "the profiler did not answer within 0.4 s")
    all_end(started)


async def test_the_loop_turns_while_a_process_is_waited_for(
    profiles: Profiles, runs: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companion, "SLACK_S", -0.5)
    monkeypatch.setattr(companion, "STOP_GRACE_S", 2.0)
    runs(DEAF)
    profile = begin(profiles)
    turns, longest, last = 0, 0.0, time.monotonic()
    while profiles.running is not None:
        await asyncio.sleep(0.005)
        now = time.monotonic()
        turns, longest, last = turns + 1, max(longest, now - last), now
    assert (await ended(profiles, profile)).state is State.FAILED
    assert turns > 20
    assert longest < 1.8


@pytest.mark.parametrize("code", [PATIENT, WITH_CHILD], ids=["patient", "with a child"])
async def test_stop_cuts_short_and_says_so(
    profiles: Profiles, runs: Started, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(companion, "STOP_GRACE_S", 0.1)
    before = set(ours())
    runs(code)
    profile = begin(profiles)
    await until(lambda: bool(set(ours()) - before))
    started = set(ours()) - before
    await profiles.stop()
    assert profiles.running is None
    found = profiles.shelf.find(profile.id)
    assert found == replace(
        profile, state=State.FAILED, error="it was cut short: the service ended", remedy="again"
    )
    all_end(started)


async def test_stopping_at_once_or_without_anything_does_no_harm(profiles: Profiles, runs: Started) -> None:
    await profiles.stop()
    runs(DONE)
    profile = begin(profiles)
    await profiles.stop()
    await profiles.stop()
    assert profiles.running is None
    found = profiles.shelf.find(profile.id)
    assert found is not None
    assert found.state is State.FAILED


async def test_a_process_that_cannot_be_started_is_a_failed_profile(
    profiles: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companion, "module_command", lambda _module: ["/no/such/program"])
    found = await ended(profiles, begin(profiles))
    assert (found.state, found.error) == (
        State.FAILED,
        "cannot start /no/such/program: No such file or directory",
    )


async def test_what_is_not_installed_is_named_before_anything_begins(
    profiles: Profiles, runs: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(DONE)
    for name, package in (("no_such_module", "no-such"), ("nor_this", "nor-this")):
        monkeypatch.setitem(companion.PACKAGES, name, package)
    with pytest.raises(CaptureError) as caught:
        begin(profiles)
    assert caught.value.message == "profiling needs no-such and nor-this beside the service"
    assert caught.value.remedy == "pip install no-such nor-this"
    assert (profiles.running, list(profiles.shelf.profiles()), runs.modules) == (None, [], [])


async def test_a_folder_that_cannot_be_written_is_told(profiles: Profiles, runs: Started) -> None:
    runs(DONE)
    profiles.shelf.folder.rmdir()
    with pytest.raises(NoRoomError, match=r"profiles cannot be kept in .*: No such file or directory"):
        begin(profiles)
    assert (profiles.running, runs.modules) == (None, [])


async def test_a_disk_that_is_full_in_the_end_does_not_block_the_next(
    profiles: Profiles, runs: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(DONE)
    profile = begin(profiles)

    def full(_profile: Profile) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(profiles.shelf, "update", full)
    await until(lambda: profiles.running is None)
    assert profiles.shelf.find(profile.id) == profile
    monkeypatch.undo()


def kept(shelf: Shelf) -> Profile:
    """Put a profile with a graph on the shelf, as if it had been captured."""
    graph = Graph(kind=WAITING, source="py-spy 0.4.3", rate_hz=100, seconds=2.0, samples=100, lost=0)
    graphs = {"waiting": cattrs.unstructure(graph), "wall": {}}
    profile = replace(new_profile(WAITING, 1, 100), state=State.DONE, graphs=graphs)
    place = shelf.folder / profile.id
    place.mkdir()
    (place / ABOUT_FILE).write_text(json.dumps(asdict(profile)))
    (place / "waiting.folded").write_text("primes (primes.py:4) 1.0\n")
    return profile


DRAWS = (
    SPEAKING
    + """
with open(order["difference"]["file"], "a") as file: file.write(json.dumps(order))
say()
"""
)
DRAWS_IN_TWO_HALVES = """
import os, pathlib, sys, time
from gilscope.profiling import process
def write_text(path, text, **_):
    with open(path, "w") as file:
        file.write(text[:len(text) // 2]); file.flush()
        {between}
        file.write(text[len(text) // 2:])
pathlib.Path.write_text = write_text
sys.exit(process.main())
"""


async def test_a_difference_is_drawn_once(profiles: Profiles, runs: Started) -> None:
    now, before = kept(profiles.shelf), kept(profiles.shelf)
    runs(DRAWS)
    paths = {await profiles.draw_difference(now, before, WAITING) for _ in range(3)}
    assert len(runs.modules) == 1
    (path,) = paths
    assert path == profiles.shelf.folder / now.id / f"waiting.against-{before.id}.svg"
    order = json.loads(path.read_text())["difference"]
    assert order.pop("file")
    assert order == {
        "kind": "waiting",
        "now": str(profiles.shelf.folder / now.id),
        "before": str(profiles.shelf.folder / before.id),
        "targets": ["own.py:work"],
    }


async def test_each_kind_and_each_order_is_a_difference_of_its_own(profiles: Profiles, runs: Started) -> None:
    now, before = kept(profiles.shelf), kept(profiles.shelf)
    runs(DRAWS)
    pairs = ((now, before, WAITING), (before, now, WAITING), (now, before, WALL))
    assert len({await profiles.draw_difference(*one) for one in pairs}) == len(runs.modules) == 3


async def test_a_difference_that_others_ask_for_meanwhile_is_whole(profiles: Profiles, runs: Started) -> None:
    now, before = kept(profiles.shelf), kept(profiles.shelf)
    runs(DRAWS_IN_TWO_HALVES.format(between="time.sleep(0.3)"))
    first = asyncio.create_task(profiles.draw_difference(now, before, WAITING))
    while not first.done():
        if profiles.shelf.file(now, WAITING, f"against-{before.id}.svg").exists():
            path = await profiles.draw_difference(now, before, WAITING)
            assert path.read_text().endswith("</svg>\n")
        await asyncio.sleep(0.01)
    assert (await first).read_text().endswith("</svg>\n")


async def test_a_difference_that_was_broken_off_is_drawn_again(profiles: Profiles, runs: Started) -> None:
    now, before = kept(profiles.shelf), kept(profiles.shelf)
    runs(DRAWS_IN_TWO_HALVES.format(between="os.kill(os.getpid(), 9)"))
    with pytest.raises(CaptureError, match="exit code -9"):
        await profiles.draw_difference(now, before, WAITING)
    runs(DRAWS_IN_TWO_HALVES.format(between="pass"))
    path = await profiles.draw_difference(now, before, WAITING)
    assert path.read_text().endswith("</svg>\n")


async def test_a_difference_that_cannot_be_drawn_is_told(profiles: Profiles, runs: Started) -> None:
    now, before = kept(profiles.shelf), kept(profiles.shelf)
    runs(SPEAKING + "say(error='of other profilers', remedy='the same')")
    with pytest.raises(CaptureError) as caught:
        await profiles.draw_difference(now, before, WAITING)
    assert (caught.value.message, caught.value.remedy) == ("of other profilers", "the same")


async def test_a_difference_may_be_drawn_while_another_profile_is_captured(
    profiles: Profiles, runs: Started
) -> None:
    now, before = kept(profiles.shelf), kept(profiles.shelf)
    runs(PATIENT)
    begin(profiles)
    await until(lambda: runs.modules != [])
    runs(DRAWS)
    assert (await profiles.draw_difference(now, before, WAITING)).exists()
    assert profiles.running is not None
    await profiles.stop()


async def test_descriptors_do_not_leak(profiles: Profiles, runs: Started) -> None:
    runs(DONE)
    await ended(profiles, begin(profiles))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        await ended(profiles, begin(profiles))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
