"""The live page of ``gilscope compare --live``: told of all that the terminal is told of."""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gilscope.commands.progress import happening, numbered
from gilscope.compare.figures import RanOn
from gilscope.compare.plan import Slot
from gilscope.compare.watching import Phase, Watcher
from gilscope.live.control import LivePage
from gilscope.model import Caution, Classification, Flame, Plan, Trial, Verdict
from gilscope.report.console import describe_trial, describe_verdict


class LiveWatcher:
    """Passes everything on to another watcher, and to the page."""

    def __init__(self, inner: Watcher, page: LivePage, plan: Plan, slots: Sequence[Slot]) -> None:
        self._inner, self._page, self._plan, self._total = inner, page, plan, len(slots)
        self._window_begun = 0.0

    def begins(self, slot: Slot) -> None:
        """Pass it on."""
        self._inner.begins(slot)

    def enters(self, slot: Slot, phase: Phase) -> None:
        """Say what runs now; between two services there is nothing to read."""
        self._inner.enters(slot, phase)
        if phase in {Phase.STARTING, Phase.STOPPING}:
            self._page.tell("serves", None)
        if phase is Phase.MEASURING:
            self._window_begun = time.time()
        self._page.tell(
            "note", {"text": f"{numbered(slot, self._total)} {happening(self._plan, slot, phase)}"}
        )

    def serves(self, slot: Slot, ran_on: RanOn, lens_url: str | None) -> None:
        """Say what the service runs on, and where to read what the lens sees."""
        self._inner.serves(slot, ran_on, lens_url)
        self._page.tell("runs_on", {"python": ran_on.python, "gil": ran_on.gil_enabled})
        self._page.tell("serves", {"lens_url": lens_url})

    def draws(self, flame: Flame) -> None:
        """Show the graph, where there is something on it."""
        self._inner.draws(flame)
        if flame.samples:
            title = f"{flame.workload} {flame.backend} {flame.kind}"
            self._page.tell("graph", {"url": f"/{flame.path}.svg", "title": title})

    def ends(self, slot: Slot, trial: Trial) -> None:
        """Show the trial's figures."""
        self._inner.ends(slot, trial)
        text = f"{numbered(slot, self._total)} {describe_trial(trial)}"
        told = {
            "text": text,
            "workload": trial.workload,
            "backend": slot.backend,
            "valid": trial.valid,
            "figures": _figures(trial, self._window_begun),
        }
        self._page.tell("trial", told)

    def concludes(self, verdict: Verdict, found: Classification | None) -> None:
        """Show the verdict."""
        self._inner.concludes(verdict, found)
        self._page.tell("note", {"text": describe_verdict(verdict).splitlines()[0]})

    def warns(self, caution: Caution) -> None:
        """Pass it on."""
        self._inner.warns(caution)


def _figures(trial: Trial, begun: float) -> Mapping[str, float | None] | None:
    """Return what the page draws of a trial whose window began at ``begun``, in seconds since 1970; None where it has no figures."""
    if trial.latency_ms is None:
        return None
    probe, seconds = trial.probe_latency_ms, trial.load.seconds
    return {
        "begun": begun,
        "seconds": seconds,
        "rps": trial.throughput_rps,
        "failed": trial.errors / seconds,
        "p50_ms": trial.latency_ms.p50,
        "p99_ms": trial.latency_ms.p99,
        "ping_p99_ms": None if probe is None else probe.p99,
    }


@contextmanager
def shown(plan: Plan, title: str, folder: Path, port: int) -> Iterator[LivePage]:
    """Serve the page of the comparison in ``folder`` for the block, and say where.

    Raises:
        UsageError: the port cannot be listened on.
    """
    page = LivePage(folder, port)
    try:
        page.tell("plan", _described(plan, title))
        print(f"live page: {page.url}", file=sys.stderr)  # noqa: T201
        if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "darwin":
            webbrowser.open(page.url)
        yield page
    finally:
        page.stop()


def _described(plan: Plan, title: str) -> Mapping[str, object]:
    watches = plan.lens and plan.url is None
    return {
        "title": title,
        "backends": list(plan.backends),
        "states": watches,
        "no_states": None if watches else "The lens does not watch this comparison.",
    }
