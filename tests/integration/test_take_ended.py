"""A watch of days forgets the threads and processes that have ended, once it was told of them."""

from __future__ import annotations

import sys

import pytest

from gilscope.child import Child
from gilscope.errors import LensError
from gilscope.lens.watch import Watch

pytestmark = pytest.mark.integration

COMING_AND_GOING = """
import json, subprocess, sys, threading
def say(number): print(json.dumps({"id": number}), flush=True)
over, thread, child = threading.Event(), None, None
for line in sys.stdin:
    order = json.loads(line)["order"]
    if order == "thread":
        thread = threading.Thread(target=over.wait)
        thread.start()
        say(thread.native_id)
    if order == "child":
        child = subprocess.Popen([sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
        say(child.pid)
    if order == "end":
        over.set()
        thread.join()
        child.communicate()
        say(0)
"""


def told(child: Child, order: str) -> int:
    child.send({"order": order})
    return int(str(child.receive(60)["id"]))


def test_what_has_ended_is_told_once_and_forgotten() -> None:
    with Child([sys.executable, "-c", COMING_AND_GOING], failure=LensError) as child:
        others = {told(child, "thread"), told(child, "child")}
        watch = Watch(child.pid, family=True)
        watch.look()
        watch.settle()
        assert {thread.tid for thread in watch.threads()} == {child.pid, *others}
        assert watch.take_ended() == []
        told(child, "end")
        for _ in range(2):
            watch.rescan()
        assert {thread.tid for thread in watch.threads()} == {child.pid, *others}
        ended = watch.take_ended()
        assert {thread.tid for thread in ended} == others
        assert all(thread.span.all.wall_s > 0 for thread in ended)
        assert watch.take_ended() == []
        assert [thread.tid for thread in watch.threads()] == [child.pid]
        assert [process.pid for process in watch._all()] == [child.pid]
        watch.close()
