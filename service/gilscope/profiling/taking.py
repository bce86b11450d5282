"""Taking flame graphs of a running process: the profiler, the lens and the count of answers over the same seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from http.client import HTTPException

from prometheus_client.parser import text_string_to_metric_families

from gilscope.direct import ask
from gilscope.errors import CaptureError
from gilscope.flame.capture import RATE_HZ, Capture, CrashedError, with_second_chance
from gilscope.flame.profilers import profiler_for
from gilscope.model import BackendName, Caution, FlameKind, Graph
from gilscope.profiling.agreement import beside_lens
from gilscope.profiling.observing import Observation

ONE_INTERPRETER = (
    "py-spy sees only the newest subinterpreter: the other workers, and the event loop, are missing"
)
IF_ANY = "py-spy sees only the newest subinterpreter, if the process has any"
_REQUESTS = "gilscope_request_duration_seconds"
_ANSWER_S = 5.0


def take(
    pid: int,
    kinds: Collection[FlameKind],
    seconds: int,
    rate_hz: int = RATE_HZ,
    *,
    observation: Observation[int],
    backends: Collection[BackendName] = (),
    metrics_url: str | None = None,
) -> list[Capture]:
    """Capture stacks of a process and its children, all kinds over the same seconds.

    ``observation`` watches the process already, or has told why it does not; ``backends`` are those that run in it, as
    far as they are known; with ``metrics_url``, that of a gilscope service, the answers that it gives meanwhile are
    counted.

    Raises:
        CaptureError: there are no stacks; with the cause and the remedy.
    """
    profiler = profiler_for(pid)

    def once() -> tuple[Sequence[Capture], int | None, int | None]:
        observation.open_window(seconds)
        before = answers(metrics_url)
        try:
            captures = profiler.capture(pid, kinds, seconds, rate_hz)
        except CrashedError:
            observation.window()  # it has to be over before another one begins
            raise
        return captures, before, answers(metrics_url)

    captures, before, after = with_second_chance(once)
    _require_any(captures, seconds)
    window = observation.window()
    reading = None if window is None else window.reading()
    requests = None if before is None or after is None else after - before
    return [
        beside_lens(replace(capture, graph=_completed(capture.graph, requests, backends)), reading)
        for capture in captures
    ]


def _require_any(captures: Sequence[Capture], seconds: int) -> None:
    """Check that somebody was seen doing anything: that nobody holds the GIL, or waits for it, is a result."""
    if not any(capture.graph.samples for capture in captures):
        lost = max(capture.graph.lost for capture in captures)
        raise CaptureError(
            f"not one stack was seen in {seconds} s ({lost:,} could not be read)",
            remedy="profile for longer, and while the process is at work",
        )


def _completed(graph: Graph, requests: int | None, backends: Collection[BackendName]) -> Graph:
    notes = graph.notes
    if graph.source.startswith("py-spy") and not backends:
        notes = (*notes, IF_ANY)
    elif graph.source.startswith("py-spy") and BackendName.INTERPRETERS in backends:
        notes = (*notes, ONE_INTERPRETER)
    return replace(graph, requests=requests, notes=notes)


def no_graphs(problem: CaptureError) -> Caution:
    """Say that flame graphs are missing, and why."""
    return Caution("no-profile", f"no flame graphs: {problem.message}", problem.remedy or "see the reason")


def answers(metrics_url: str | None) -> int | None:
    """Return how many requests a gilscope service has answered with success so far; None where it does not tell."""
    if metrics_url is None:
        return None
    with contextlib.suppress(OSError, ValueError, HTTPException):
        with ask(metrics_url, _ANSWER_S) as reply:
            text = reply.read().decode()
        return round(
            sum(
                sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == f"{_REQUESTS}_count" and sample.labels.get("status") == "200"
            )
        )
    return None
