"""What the experiments take care of, apart from what comes out of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gilscope import throttling
from gilscope.backends.base import Backend, Outcome
from gilscope.model import BackendName
from gilscope.textbook.cells import common, handing_over, suiting
from gilscope.workloads.base import Workload

MEGABYTE = 1_000_000


def room(monkeypatch: pytest.MonkeyPatch, *, memory_mb: float, shared_mb: float) -> None:
    """Have so much memory, and so much of it to share."""
    monkeypatch.setattr(handing_over, "available_mb", lambda: memory_mb)
    blocks = SimpleNamespace(f_bavail=shared_mb * MEGABYTE / 1_000, f_frsize=1_000)
    monkeypatch.setattr(os, "statvfs", lambda _path: blocks)


@pytest.mark.parametrize(("shared_mb", "named"), [(64, ["1kB", "1MB"]), (101, ["1kB", "1MB", "100MB"])])
def test_what_shared_memory_has_no_room_for_is_left_out(
    monkeypatch: pytest.MonkeyPatch, shared_mb: float, named: list[str]
) -> None:
    room(monkeypatch, memory_mb=8_000, shared_mb=shared_mb)
    figures: dict[str, object] = {}
    assert [name for name, _, _ in handing_over.sizes("shared_memory", figures)] == named
    left_out = {} if "100MB" in named else {"shared_memory_100MB_left_out": "/dev/shm has room for 64 MB"}
    assert figures == left_out
    assert [name for name, _, _ in handing_over.sizes("pickle", figures)] == ["1kB", "1MB", "100MB"]


def test_what_there_is_no_memory_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, memory_mb=512, shared_mb=8_000)
    figures: dict[str, object] = {}
    assert [name for name, _, _ in handing_over.sizes("pickle", figures)] == ["1kB", "1MB"]
    assert figures == {"pickle_100MB_left_out": "512 MB of memory are left"}


Limit = Callable[[Mapping[str, str]], float]


@pytest.fixture
def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Limit:
    """Lie in control groups with these files; return what memory there is, in MB."""

    def available(files: Mapping[str, str]) -> float:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        monkeypatch.setattr(throttling, "_CGROUP", tmp_path / "cgroup")
        monkeypatch.setattr(throttling, "_MOUNT", tmp_path)
        return common.available_mb()

    return available


def test_a_control_group_limits_the_memory_and_its_idle_cache_can_be_had(limited: Limit) -> None:
    group = {
        "memory.max": "5000000\n",
        "memory.current": "4000000\n",
        "memory.stat": "anon 1\ninactive_file 1500000\n",
    }
    assert limited({"cgroup": "0::/\n", **group}) == 2.5


def test_a_group_of_the_legacy_hierarchy_limits_it_as_well(limited: Limit) -> None:
    group = {
        "memory/own/memory.limit_in_bytes": "5000000\n",
        "memory/own/memory.usage_in_bytes": "9000000\n",
        "memory/own/memory.stat": "cache 1\ntotal_inactive_file 0\n",
    }
    assert limited({"cgroup": "4:memory:/own\n", **group}) < 0.001


def test_a_group_without_a_limit_leaves_what_the_machine_has(limited: Limit) -> None:
    group = {"memory.max": "max\n", "memory.current": "4000000\n", "memory.stat": "inactive_file 0\n"}
    assert limited({"cgroup": "0::/\n", **group}) > 10


class Sleeper:
    """A backend whose calls take a while, and that counts how many are under way at once."""

    def __init__(self, workers: int = 1) -> None:
        self.workers, self.under_way, self.most = workers, 0, 0

    async def start(self, _workloads: object) -> None:
        pass

    async def stop(self, _grace_s: float) -> bool:
        return True

    async def run(self, _workload: Workload, _arguments: Mapping[str, object]) -> Outcome:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.05)
        self.under_way -= 1
        return Outcome(None, None, 0, 0, 0)


async def test_calls_count_up_to_the_end_of_the_last_one() -> None:
    backend = Sleeper()
    rate, _ = await suiting.load(cast("Backend", backend), suiting.C_CALL, {}, in_flight=3, seconds=0.01)
    assert 0 < rate <= 3 / 0.05, "three calls, none of which had ended in time"
    assert backend.most == 3


async def test_the_best_rate_and_the_best_stall_may_be_of_different_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    windows = iter([(1.0, 9.0), (2.0, 9.0), (100.0, 5.0), (7.0, 30.0), (90.0, 2.0), (8.0, 40.0)])

    async def load(*_arguments: object) -> tuple[float, float]:
        return next(windows)

    monkeypatch.setattr(suiting, "load", load)
    compared = {"a": cast("Backend", Sleeper()), "b": cast("Backend", Sleeper())}
    assert await suiting.take_turns(compared, suiting.C_CALL, {}, 1, 0.0) == {
        "a_calls_per_s": 100.0,
        "a_longest_stall_ms": 2.0,
        "b_calls_per_s": 8.0,
        "b_longest_stall_ms": 30.0,
    }


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (4, 4), (8, 4), (64, 4)])
@pytest.mark.parametrize("backend", list(BackendName))
async def test_what_is_in_flight_goes_with_the_workers_whatever_the_number_of_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, backend: BackendName
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    create = SimpleNamespace(create=lambda workers, _observer: Sleeper(workers))
    monkeypatch.setattr(suiting, "BACKENDS", dict.fromkeys(BackendName, create))
    ran: dict[str, tuple[list[str], int]] = {}

    async def take_turns(
        compared: Mapping[str, Backend],
        workload: Workload,
        _arguments: object,
        in_flight: int,
        _seconds: float,
    ) -> dict[str, float]:
        ran[workload.name] = list(compared), in_flight
        return {}

    monkeypatch.setattr(suiting, "take_turns", take_turns)
    figures = await suiting.measure(backend, "http://nowhere")
    assert figures["in_flight"] == 4 * workers
    assert figures["workers"] == (4 * workers if backend is BackendName.THREADS else workers)
    assert ran["http_fetch"] == (["http_fetch"], 4 * workers)
    if backend is BackendName.ASYNCIO:
        assert set(ran) == {"http_fetch", "primes", "noop"}
    else:
        own = {name: names for name, (names, _) in ran.items() if name != "http_fetch"}
        assert set(own) == {"primes", "sha256", "c_call", "noop", "largest"}
        assert all(names == [name, f"{name}_on_loop"] for name, names in own.items())
