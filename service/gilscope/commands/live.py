"""The live page of ``gilscope compare --live``: told of all that the terminal is told of."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gilscope.commands.progress import happening, numbered
from gilscope.compare.plan import Slot
from gilscope.compare.watching import Phase, Watcher
from gilscope.live.control import LivePage
from gilscope.model import Caution, Classification, Flame, Plan, Trial, Verdict
from gilscope.report.console import describe_trial, describe_verdict


class LiveWatcher:
    """Passes everything on to another watcher, and to the page."""

    def __init__(self, inner: Watcher, page: LivePage, plan: Plan, slots: Sequence[Slot]) -> None:
        self._inner, self._page, self._plan, self._total = inner, page, plan, len(slots)

    def begins(self, slot: Slot) -> None:
        """Pass it on."""
        self._inner.begins(slot)

    def enters(self, slot: Slot, phase: Phase) -> None:
        """Say what runs now; between two services there is nothing to read."""
        self._inner.enters(slot, phase)
        if phase in {Phase.STARTING, Phase.STOPPING}:
            self._page.tell("serves", None)
        self._page.tell(
            "note", {"text": f"{numbered(slot, self._total)} {happening(self._plan, slot, phase)}"}
        )

    def serves(self, slot: Slot, metrics_url: str, lens_url: str | None) -> None:
        """Say where to read."""
        self._inner.serves(slot, metrics_url, lens_url)
        self._page.tell("serves", {"metrics_url": metrics_url, "lens_url": lens_url})

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
        self._page.tell("trial", {"text": text, "backend": slot.backend, "valid": trial.valid})

    def concludes(self, verdict: Verdict, found: Classification | None) -> None:
        """Show the verdict."""
        self._inner.concludes(verdict, found)
        self._page.tell("note", {"text": describe_verdict(verdict).splitlines()[0]})

    def warns(self, caution: Caution) -> None:
        """Pass it on."""
        self._inner.warns(caution)


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
        "python": ".".join(map(str, sys.version_info[:3])),
        "backends": list(plan.backends),
        "states": watches,
        "no_states": None if watches else "The lens does not watch this comparison.",
    }
