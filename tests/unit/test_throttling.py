from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gilscope import throttling
from gilscope.throttling import throttled_meanwhile, throttled_seconds

Kernel = Callable[[str | bytes | None, Mapping[str, str | bytes]], float]

UNIFIED = "usage_usec 900\nuser_usec 600\nsystem_usec 300\nnr_periods 40\nnr_throttled 7\nthrottled_usec {}\n"
LEGACY = "nr_periods 40\nnr_throttled 7\nthrottled_time {}\n"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Read from a made-up kernel: the process's groups, and the files below the mount."""

    def read(groups: str | bytes | None, files: Mapping[str, str | bytes]) -> float:
        own, mount = tmp_path / "cgroup", tmp_path / "fs"
        for name, content in {**({} if groups is None else {"cgroup": groups}), **files}.items():
            path = own if name == "cgroup" else mount / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setattr(throttling, "_CGROUP", own)
        monkeypatch.setattr(throttling, "_MOUNT", mount)
        return max(throttled_seconds().values(), default=0.0)

    return read


def test_a_unified_hierarchy_counts_microseconds(kernel: Kernel) -> None:
    assert kernel("0::/app.slice/own\n", {"app.slice/own/cpu.stat": UNIFIED.format(2_500_000)}) == 2.5


def test_a_hierarchy_of_its_own_counts_nanoseconds(kernel: Kernel) -> None:
    groups = "12:pids:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n"
    assert kernel(groups, {"cpu,cpuacct/docker/x/cpu.stat": LEGACY.format(3_250_000_000)}) == 3.25


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu", "."])
def test_its_mount_may_have_either_name_or_be_the_only_one(kernel: Kernel, mount: str) -> None:
    assert kernel("4:cpu,cpuacct:/own\n", {f"{mount}/own/cpu.stat": LEGACY.format(10**9)}) == 1.0


def test_hierarchies_without_the_cpu_are_not_asked(kernel: Kernel) -> None:
    files = {"cpuset/own/cpu.stat": LEGACY.format(10**9), "own/cpu.stat": UNIFIED.format(10**6)}
    assert kernel("5:cpuset:/own\n3:cpuacct:/own\n1:name=cpu:/own\n", files) == 0.0


@pytest.mark.parametrize("holder", ["", "app.slice/", "app.slice/deep/", "app.slice/deep/own/"])
def test_a_quota_further_up_holds_the_process_as_well(kernel: Kernel, holder: str) -> None:
    assert kernel("0::/app.slice/deep/own\n", {f"{holder}cpu.stat": UNIFIED.format(500_000)}) == 0.5


def test_the_longest_of_all_counts(kernel: Kernel) -> None:
    files = {
        "cpu.stat": UNIFIED.format(100_000),
        "app/cpu.stat": UNIFIED.format(700_000),
        "app/own/cpu.stat": UNIFIED.format(300_000),
        "cpu/app/cpu.stat": LEGACY.format(600_000_000),
    }
    assert kernel("0::/app/own\n2:cpu:/app\n", files) == 0.7


def test_groups_beside_the_process_do_not_count(kernel: Kernel) -> None:
    files = {"app/other/cpu.stat": UNIFIED.format(10**7), "app/own/below/cpu.stat": UNIFIED.format(10**7)}
    assert kernel("0::/app/own\n", files) == 0.0


def test_a_container_sees_its_own_group_as_the_root(kernel: Kernel) -> None:
    assert kernel("0::/\n", {"cpu.stat": UNIFIED.format(1_250_000)}) == 1.25


def test_a_group_may_have_a_colon_in_its_name(kernel: Kernel) -> None:
    assert kernel("0::/a:b/c\n", {"a:b/c/cpu.stat": UNIFIED.format(10**6)}) == 1.0


@pytest.mark.parametrize("groups", [None, "", "0::/own\n", "4:cpu,cpuacct:/own\n"])
def test_without_a_group_or_a_file_nothing_held_it(kernel: Kernel, groups: str | None) -> None:
    assert kernel(groups, {}) == 0.0


@pytest.mark.parametrize(
    "content",
    ["", "usage_usec 900\n", "throttled_usec many\n", "throttled_usec\n", "\n", b"\xff\xfe 3\n", "a\nb c\n"],
)
def test_a_file_without_the_figure_counts_nothing_and_hides_no_other(
    kernel: Kernel, content: str | bytes
) -> None:
    assert kernel("0::/own\n", {"own/cpu.stat": content}) == 0.0
    assert kernel("0::/own\n", {"own/cpu.stat": content, "cpu.stat": UNIFIED.format(10**6)}) == 1.0


def test_a_folder_in_place_of_a_file_counts_nothing(kernel: Kernel) -> None:
    assert kernel("0::/own\n", {"own/cpu.stat/deeper": ""}) == 0.0


@pytest.mark.parametrize(
    "groups",
    [
        "garbage\n",
        "0:\n",
        b"0::/caf\xe9\n",
        "\x00::\n",
    ],
)
def test_groups_that_cannot_be_read_count_nothing(kernel: Kernel, groups: str | bytes) -> None:
    assert kernel(groups, {}) == 0.0


def test_the_real_kernel_answers() -> None:
    first, second = throttled_seconds(), throttled_seconds()
    assert 0.0 <= throttled_meanwhile(first, second) <= max(second.values(), default=0.0)


@pytest.mark.parametrize("held", ["app/own/cpu.stat", "app/cpu.stat", "cpu.stat"])
def test_what_another_group_went_through_before_hides_nothing(kernel: Kernel, held: str) -> None:
    past_usec = {"app/own/cpu.stat": 1_000_000, "app/cpu.stat": 900_000_000, "cpu.stat": 20_000_000}

    def read(usec: Mapping[str, int]) -> dict[Path, float]:
        kernel("0::/app/own\n", {name: UNIFIED.format(count) for name, count in usec.items()})
        return throttled_seconds()

    before = read(past_usec)
    assert throttled_meanwhile(before, read({**past_usec, held: past_usec[held] + 250_000})) == 0.25


OWN, ABOVE, ROOT = Path("/app/own/cpu.stat"), Path("/app/cpu.stat"), Path("/cpu.stat")


def test_of_several_groups_the_one_that_was_held_longest_counts() -> None:
    assert throttled_meanwhile({OWN: 1.0, ABOVE: 5.0, ROOT: 9.0}, {OWN: 1.5, ABOVE: 7.0, ROOT: 9.0}) == 2.0


def test_a_group_that_was_not_seen_both_times_says_nothing() -> None:
    assert throttled_meanwhile({OWN: 1.0}, {OWN: 1.0, ABOVE: 900.0}) == 0.0
    assert throttled_meanwhile({}, {ABOVE: 900.0}) == 0.0
