"""What the page of a comparison is told, as that goes along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from factories import WINDOW_S, make_evidence

from gilscope.commands import live
from gilscope.commands.live import LiveWatcher
from gilscope.commands.progress import PlainWatcher
from gilscope.compare.figures import RanOn, failed_trial
from gilscope.compare.plan import schedule
from gilscope.compare.watching import Phase
from gilscope.live.control import LivePage
from gilscope.model import Trial

RUN = make_evidence().run
SLOTS = list(schedule(RUN.plan))
TRIAL = RUN.trials[0]
BEGUN = 1_800_000_000.0


class Page:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def tell(self, event: str, data: Mapping[str, object] | None) -> None:
        self.told.append((event, data))


class Silent(PlainWatcher):
    def __init__(self) -> None:
        pass

    def ends(self, slot: object, trial: Trial) -> None:
        """Nothing."""


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def watcher(page: Page, monkeypatch: pytest.MonkeyPatch) -> LiveWatcher:
    monkeypatch.setattr(live, "time", SimpleNamespace(time=lambda: BEGUN))
    return LiveWatcher(Silent(), cast("LivePage", page), RUN.plan, SLOTS)


def test_the_page_learns_of_the_lens_alone_and_has_no_way_to_the_service(
    page: Page, watcher: LiveWatcher
) -> None:
    watcher.enters(SLOTS[0], Phase.STARTING)
    watcher.serves(SLOTS[0], RanOn("3.13.0", gil_enabled=False), "http://lens/metrics")
    watcher.enters(SLOTS[0], Phase.STOPPING)
    assert [told for told in page.told if told[0] != "note"] == [
        ("serves", None),
        ("runs_on", {"python": "3.13.0", "gil": False}),
        ("serves", {"lens_url": "http://lens/metrics"}),
        ("serves", None),
    ]


def test_a_trials_figures_come_when_it_is_over_and_are_of_its_window(
    page: Page, watcher: LiveWatcher
) -> None:
    watcher.enters(SLOTS[0], Phase.MEASURING)
    assert [event for event, _ in page.told] == ["note"]
    trial = replace(TRIAL, errors=2)
    watcher.ends(SLOTS[0], trial)
    event, told = page.told[-1]
    assert trial.latency_ms
    assert trial.probe_latency_ms
    assert (event, told["backend"], told["valid"]) == ("trial", SLOTS[0].backend, True)
    assert told["figures"] == {
        "begun": BEGUN,
        "seconds": WINDOW_S,
        "rps": trial.throughput_rps,
        "failed": 2 / WINDOW_S,
        "p50_ms": trial.latency_ms.p50,
        "p99_ms": trial.latency_ms.p99,
        "ping_p99_ms": trial.probe_latency_ms.p99,
    }


def test_a_trial_without_pings_has_its_other_figures(page: Page, watcher: LiveWatcher) -> None:
    watcher.ends(SLOTS[0], replace(TRIAL, probe_latency_ms=None))
    assert page.told[-1][1]["figures"]["ping_p99_ms"] is None
    assert page.told[-1][1]["figures"]["rps"] == TRIAL.throughput_rps


def test_a_trial_that_could_not_be_measured_has_no_figures(page: Page, watcher: LiveWatcher) -> None:
    watcher.ends(SLOTS[0], failed_trial(SLOTS[0], RUN.plan.load, "3.13.0", "it died"))
    event, told = page.told[-1]
    assert (event, told["valid"], told["figures"]) == ("trial", False, None)
    assert "it died" in told["text"]


@pytest.mark.parametrize("change", [{"lens": False}, {"url": "http://elsewhere"}])
def test_where_no_lens_watches_the_page_says_so(
    change: dict[str, object],
) -> None:
    told = live._described(replace(RUN.plan, **change), "a title")  # type: ignore[arg-type]
    assert (told["states"], told["no_states"]) == (False, "The lens does not watch this comparison.")
    assert "python" not in told
