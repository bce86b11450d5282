from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from polling import eventually
from watched import Obedient, obedient

from gilscope.errors import LensError
from gilscope.lens.ledger import Clock, Look
from gilscope.lens.tasks import Task, Waits, futex_prefix, parse_schedstat, parse_status

GIL = 0x7F00_1000


def waits(machine: str = "x86_64") -> Waits:
    return Waits(lambda address: address in (GIL, GIL + 4), machine)


@pytest.mark.parametrize(
    ("text", "look"),
    [
        (b"running\n", Look.READY),
        (b"202 0x7f001000 0x189 0x0 0x7ffd22169a10 0x0 0xffffffff 0x7ffd 0x7f31\n", Look.GIL),
        (b"202 0x7f001004 0x189 0x0 0x7f31e4c1cbd0 0x0 0xf", Look.GIL),
        (b"202 0x7f001008 0x189 0x0 0x0 0x0 0xffffffff 0x7ffd 0x7f31\n", Look.BLOCKED),
        (b"202 0x7f00 0x1", Look.BLOCKED),
        # The numbers of aarch64's futex and of others that begin alike.
        (b"98 0x7f001000 0x189 0x0", Look.BLOCKED),
        (b"20 0x7f001000 0x189 0x0", Look.BLOCKED),
        (b"2020 0x7f001000 0x189 0x0", Look.BLOCKED),
        (b"230 0x1 0x1 0x7fff310cb900 0x0 0x0 0x7fe9ec140c68 ", Look.BLOCKED),
        (b"0 0x7f001000 0x7f001000 0x1000 0x0 0x0 0x0 0x7ffe 0x7fee\n", Look.BLOCKED),
        (b"-1 0x7fe9eb683c60 0x7fe9ebc8effc\n", Look.BLOCKED),
        (b"", Look.BLOCKED),
    ],
)
def test_what_a_thread_does_on_x86_64(text: bytes, look: Look) -> None:
    looking = waits()
    assert looking.look(text) == looking.look(text) == look
    assert type(looking.look(text)) is int


def test_what_a_thread_does_on_aarch64() -> None:
    looking = waits("aarch64")
    assert looking.look(b"98 0x7f001000 0x189 0x0 0x0") == Look.GIL
    assert looking.look(b"98 0x7f002000 0x189 0x0 0x0") == Look.BLOCKED
    assert looking.look(b"202 0x7f001000 0x189 0x0 0x0") == Look.BLOCKED
    assert looking.look(b"running\n") == Look.READY


def test_other_machines_are_not_known() -> None:
    with pytest.raises(LensError, match="system calls of riscv64") as caught:
        futex_prefix("riscv64")
    assert caught.value.remedy == "an x86-64 or aarch64 machine"


def test_an_address_is_asked_about_once_until_it_is_forgotten() -> None:
    asked: list[int] = []

    def answer(address: int) -> bool:
        asked.append(address)
        return len(asked) > 1

    looking = Waits(answer, "x86_64")
    text, with_another_value = b"202 0x1234 0x89 0x6f9 0x7f", b"202 0x1234 0x89 0x7 0x7fce"
    assert looking.look(text) == looking.look(with_another_value) == Look.BLOCKED
    looking.forget()
    assert looking.look(text) == looking.look(with_another_value) == Look.GIL
    assert asked == [0x1234, 0x1234]


def test_schedstat_is_two_clocks_and_a_count() -> None:
    assert parse_schedstat(b"12535252 296813 5\n") == Clock(on_cpu_ns=12_535_252, runqueue_ns=296_813)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"Name:\tpython3\nUmask:\t0022\nTgid:\t9\nPid:\t12\nNSpid:\t12\nNSpgid:\t9\n", 12),
        (b"Name:\ta:\tb)\\n(c\nPid:\t12\nNSpid:\t12\t7\t3\n", 3),
        # An old kernel, or one without namespaces; and a hostile name.
        (b"Name:\t\nPid:\t12\n", 12),
        (b"Name:\tx\rNSpid:\t9\xff\nPid:\t12\nNSpid:\t12\n", 12),
    ],
)
def test_status_has_the_innermost_number(text: bytes, number: int) -> None:
    assert parse_status(text) == number


@pytest.fixture
def process() -> Iterator[Obedient]:
    with obedient() as started:
        yield started


@pytest.mark.integration
def test_a_thread_of_another_process(process: Obedient) -> None:
    tid = process.number("begin")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    task = Task(process.pid, tid)
    assert (task.pid, task.tid, task.number) == (process.pid, tid, tid)
    assert task.name
    eventually(
        lambda: waits(os.uname().machine).look(task.syscall()) == Look.BLOCKED, "its wait for an event"
    )
    assert task.clock().on_cpu_ns > 0
    assert task.clock() <= task.clock()
    process.ask("end")
    eventually(lambda: tid not in map(int, os.listdir(f"/proc/{process.pid}/task")), "its end")  # noqa: PTH208
    with pytest.raises(ProcessLookupError):
        task.syscall()
    with pytest.raises(ProcessLookupError):
        task.clock()
    with pytest.raises(FileNotFoundError):
        task.rename()
    with pytest.raises(FileNotFoundError):
        Task(process.pid, tid)
    task.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
