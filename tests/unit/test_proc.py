from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gilscope.proc import cpu_seconds, memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")

SIZE = 32 * 2**20


@pytest.fixture
def asleep() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that is no Python and waits."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def test_cpu_time_grows_until_the_process_ends(asleep: subprocess.Popen[bytes]) -> None:
    before = cpu_seconds(os.getpid())
    assert before is not None
    while (cpu_seconds(os.getpid()) or 0.0) <= before:
        pass
    assert cpu_seconds(asleep.pid) is not None
    asleep.kill()
    asleep.wait()
    assert cpu_seconds(asleep.pid) is None


def test_memory_is_known_until_the_process_ends(asleep: subprocess.Popen[bytes]) -> None:
    found = memory(asleep.pid)
    assert found is not None
    assert 0 < found.private < found.resident, "it shares the C library with everybody"
    asleep.kill()
    os.waitid(os.P_PID, asleep.pid, os.WEXITED | os.WNOWAIT)
    assert memory(asleep.pid) is None, "nobody has asked yet how it ended"
    asleep.wait()
    assert memory(asleep.pid) is None


def test_memory_that_was_forked_is_private_once_it_is_written_to() -> None:
    code = f"""
import os
data = bytearray(b"x") * {SIZE}
if not os.fork():
    print(os.getpid(), flush=True)
    input()
    data[::4096] = b"y" * len(data[::4096])
    print(flush=True)
    input()
    os._exit(0)
os.wait()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        child = int(process.stdout.readline())
        before = memory(child)
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        after = memory(child)
        print(file=process.stdin, flush=True)
    assert before is not None
    assert after is not None
    assert before.resident >= SIZE, "it is there"
    assert before.private < SIZE / 2, "and the parent's, too"
    assert after.private >= SIZE
