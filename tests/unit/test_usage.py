from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gilscope.load import usage
from gilscope.load.usage import Usage

GROUPS = {Path("/app/cpu.stat"): 0.75}


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "throttled_seconds", lambda: GROUPS)
    monkeypatch.setattr(usage, "stolen_seconds", lambda: 3.5)
    monkeypatch.setattr(usage, "time", SimpleNamespace(monotonic=lambda: 100.5, process_time=lambda: 12.25))


def kernel_says(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let another file stand in for ``/proc/self/schedstat``."""

    def stand_in(name: str) -> Path:
        assert name == "/proc/self/schedstat"
        return path

    monkeypatch.setattr(usage, "Path", stand_in)


def test_all_clocks_are_read(clocks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "schedstat").write_text("12345678901 2500000000 4711\n")
    kernel_says(monkeypatch, tmp_path / "schedstat")
    assert Usage.now() == Usage(at=100.5, cpu_s=12.25, runqueue_s=2.5, throttled_s=GROUPS, stolen_s=3.5)


def test_without_schedstat_nobody_waited_for_a_core(
    clocks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_says(monkeypatch, tmp_path / "nowhere")
    assert Usage.now() == Usage(at=100.5, cpu_s=12.25, runqueue_s=0.0, throttled_s=GROUPS, stolen_s=3.5)


def test_no_clock_runs_backwards() -> None:
    before = Usage.now()
    sum(range(20_000))
    after = Usage.now()
    assert after.at > before.at
    assert after.cpu_s >= before.cpu_s > 0
    assert after.runqueue_s >= before.runqueue_s >= 0
    assert after.stolen_s >= before.stolen_s >= 0
    assert all(after.throttled_s[group] >= held_s >= 0 for group, held_s in before.throttled_s.items())
