from __future__ import annotations

from types import SimpleNamespace

import pytest

from gilscope.compare import metering


def test_busy_cores_are_counted_without_what_is_idle_or_stolen(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = {"user": 10.0, "nice": 1.0, "system": 5.0, "irq": 0.0, "softirq": 0.5, "idle": 90.0, "steal": 3.0}
    busy = {**idle, "user": 10.3, "nice": 1.05, "system": 5.1, "irq": 0.02, "softirq": 0.53, "steal": 3.4}
    readings = iter([SimpleNamespace(**idle), SimpleNamespace(**busy)])
    clock = iter([7.0, 7.25])
    monkeypatch.setattr(metering, "psutil", SimpleNamespace(cpu_times=lambda: next(readings)))
    monkeypatch.setattr(
        metering, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _seconds: None)
    )
    assert metering.busy_cores(0.25) == pytest.approx(0.5 / 0.25)
