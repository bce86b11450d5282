from __future__ import annotations

import pytest

from gilscope.verdict import statistics


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw a tenth of the resamples: intervals end a little elsewhere, and the tests take half as long."""
    monkeypatch.setattr(statistics, "RESAMPLES", 100)
