"""The service's side of the exporter, against children that behave as it may."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator

import psutil
import pytest
from polling import all_end

from gilscope.errors import GilscopeError, LensError, UsageError
from gilscope.lens import companion
from gilscope.lens.companion import Companion

pytestmark = pytest.mark.integration

SPEAKING = """
import json, os, sys
def say(**message): os.write(1, json.dumps(message).encode() + b"\\n")
"""
READY = SPEAKING + "say(pid=os.getpid(), metrics_url='http://here:1/metrics')\norder = sys.stdin.readline()\n"
WATCHING = READY + "say(python='3.13.0')\n"


class Started:
    """Starts companions whose process runs the given code, and ends them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.all: list[Companion] = []

    def __call__(self, code: str) -> Companion:
        def command(*_module_and_arguments: str) -> list[str]:
            return [sys.executable, "-c", code]

        self._monkeypatch.setattr(companion, "module_command", command)
        self.all.append(Companion("127.0.0.1", 0))
        return self.all[-1]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    starting = Started(monkeypatch)
    yield starting
    for lens in starting.all:
        lens.stop(0.0)


async def refusal(lens: Companion) -> GilscopeError:
    with pytest.raises(GilscopeError) as caught:
        await lens.watch(4711)
    return caught.value


async def test_it_is_told_what_to_watch_and_says_where_it_is(started: Started) -> None:
    code = READY + "say(python=order)\nsys.stdin.read()"
    lens = started(code)
    process = psutil.Process(lens.pid)
    assert await lens.watch(4711) == "http://here:1/metrics"
    lens.stop()
    assert not process.is_running()
    lens.stop()


async def test_the_loop_goes_on_while_it_comes_up(started: Started) -> None:
    lens = started("import sys; sys.stdin.readline()\n" + WATCHING)
    watching = asyncio.create_task(lens.watch(4711))
    await asyncio.sleep(0.05)
    assert not watching.done()
    lens._child.send({"go": "on"})
    assert await watching == "http://here:1/metrics"


async def test_what_it_cannot_watch_it_says_with_the_remedy(started: Started) -> None:
    lens = started(READY + "say(error='no right to', remedy='sudo', exit_code=1)")
    problem = await refusal(lens)
    assert isinstance(problem, LensError)
    assert (problem.message, problem.remedy) == ("no right to", "sudo")


async def test_a_port_in_use_is_the_users_affair(started: Started) -> None:
    lens = started(SPEAKING + "say(error='port in use', remedy='another', exit_code=2)")
    problem = await refusal(lens)
    assert isinstance(problem, UsageError)
    assert (problem.message, problem.remedy) == ("port in use", "another")


@pytest.mark.parametrize("code", ["raise SystemExit('broken')", READY + "raise SystemExit('broken')"])
async def test_its_last_words_are_quoted(code: str, started: Started) -> None:
    problem = await refusal(started(code))
    assert isinstance(problem, LensError)
    assert problem.message.endswith("ended with exit code 1\n  | broken")


@pytest.mark.parametrize("before", [SPEAKING, READY], ids=["at the start", "when told"])
async def test_it_is_not_waited_for_for_ever(
    before: str, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    lens = started(before + "sys.stdin.read()")
    monkeypatch.setattr(companion, "START_S", 1.0)
    assert (await refusal(lens)).message == "the lens did not answer within 1 s"


async def test_packages_that_are_not_there_are_named(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companion, "PACKAGES", {"json": "json", "no_such_module": "no-such-package"})
    with pytest.raises(LensError) as caught:
        started(WATCHING)
    assert (caught.value.message, caught.value.remedy) == (
        "it needs no-such-package",
        "pip install no-such-package",
    )


async def test_its_end_is_reported_once(started: Started) -> None:
    lens = started(WATCHING + "sys.stdin.read()")
    await lens.watch(4711)
    reported: list[LensError] = []
    told = asyncio.Event()

    def report(problem: LensError) -> None:
        reported.append(problem)
        told.set()

    with lens.reporting_its_end(report):
        os.kill(lens.pid, signal.SIGKILL)
        await asyncio.wait_for(told.wait(), 20)
        await asyncio.sleep(0.05)
    assert ["ended with exit code -9" in problem.message for problem in reported] == [True]
    lens.stop()


async def test_that_it_is_stopped_is_not_reported(started: Started) -> None:
    lens = started(WATCHING + "sys.stdin.read()")
    await lens.watch(4711)
    reported: list[LensError] = []
    with lens.reporting_its_end(reported.append):
        await asyncio.sleep(0.01)
    lens.stop()
    await asyncio.sleep(0.05)
    assert reported == []


async def test_one_that_does_not_listen_is_killed(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    lens = started(WATCHING + "import time\nwhile True: time.sleep(1)")
    await lens.watch(4711)
    process = psutil.Process(lens.pid)
    lens.stop(0.05)
    all_end([process])
