"""Coordinated omission, shown: a service that stands still once for a second, seen by an open and by a closed loop.

The service is ``gilscope serve`` with a coroutine that awaits 3 ms, on ``asyncio``; its first call from a second into the window
on blocks the event loop for a second. In the open loop 200 requests are due each second, whatever becomes of them, and each is timed from when it was
due. In the closed loop one user sends, waits for its answer and sends again: about as many requests a second, timed from when
each was sent. It waits out the stall with a single request, and those that would have come meanwhile are missing from its
figures (Tene, "How NOT to Measure Latency"). Latencies in ms.

    python benchmarks/stall.py [--rate 200] [--seconds 4] [--svg docs/images/stall.svg]

``--svg`` draws the run that it printed.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gilscope.compare.service import ServiceOptions, running_service
from gilscope.load.control import Generator
from gilscope.load.orders import Order
from gilscope.model import Arrivals, BackendName, Samples
from gilscope.palette import BACKENDS, DARK_INK, DARK_PAPER, LIGHT_INK, LIGHT_PAPER, readable
from gilscope.quantiles import quantile
from gilscope.report import formats
from gilscope.report.scales import Scale
from gilscope.report.svg import element, line, title, words

WARM_UP_S = 1.0
BEFORE_S = 1.0
"""What the window shows of the time before the stall."""

STALL_S = 1.0
AIM_OPEN_MS = 900.0
AIM_CLOSED_MS = 100.0
SLOW_MS = 100.0
"""Who waits longer than this is counted as held up."""

PROBE_RATE = 1.0
FUNCTION = """
import asyncio, pathlib, time

order = pathlib.Path({order!r})

async def work():
    if order.exists() and time.monotonic() >= float(order.read_text()):
        order.unlink()
        time.sleep({stall_s})
    await asyncio.sleep(0.003)
"""
"""Stalls once, as soon as a file says so: the monotonic clock is the same in all processes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a loop saw: ``at_s`` is when each request was due (open) or sent (closed), from the window's start.

    Latencies are in ms: ``response_ms`` from then, ``service_ms`` from when it was sent.
    """

    at_s: Sequence[float]
    response_ms: Sequence[float]
    service_ms: Sequence[float]
    window_s: float

    @classmethod
    def of(cls, samples: Samples) -> Seen:
        """Take the latencies from the samples; in a closed loop these count from when a request was sent, and say when it ended."""
        work = samples.work
        at_s = list(work.at_s)
        if not samples.open:
            at_s = [end - latency / 1e3 for end, latency in zip(at_s, work.latency_ms, strict=True)]
        return cls(at_s, work.latency_ms, work.from_send_ms, samples.window_s)

    @property
    def p99_ms(self) -> float:
        """The p99 of what is to be judged by: from when each was due, where that is known."""
        return quantile(sorted(self.response_ms), 0.99)

    @property
    def rps(self) -> float:
        """Requests per second before the stall: in it, a closed loop sends none."""
        return sum(at < BEFORE_S for at in self.at_s) / BEFORE_S

    @property
    def slow(self) -> int:
        """How many were held up."""
        return sum(latency > SLOW_MS for latency in self.response_ms)

    @property
    def stall(self) -> tuple[float, float]:
        """When the service stood still, in seconds: from when the slowest request was due or sent."""
        _, begin = max(zip(self.response_ms, self.at_s, strict=True))
        return begin, begin + STALL_S


def run(generator: Generator, options: argparse.Namespace, *, is_open: bool) -> Seen:
    """Put one loop on a fresh service, whose function stalls :data:`BEFORE_S` into the window."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        function, stall = folder / "stalling.py", folder / "stall"
        function.write_text(FUNCTION.format(order=str(stall), stall_s=STALL_S), encoding="utf-8")

        def on_window() -> None:
            unfinished = folder / "unfinished"
            unfinished.write_text(str(time.monotonic() + BEFORE_S), encoding="ascii")
            unfinished.rename(stall)

        service = ServiceOptions(f"{function}:work", {}, "asyncio", None, None, None, sys.executable)
        with running_service(service) as running:
            order = Order(
                url=running.url,
                workload="stalling.work",
                backend="asyncio",
                users=None if is_open else 1,
                warmup_s=WARM_UP_S,
                seconds=options.seconds,
                probe_rate=PROBE_RATE,
                seed=1,
                drain_s=2.0,
                samples=str(folder / "samples.csv.gz"),
                rate=options.rate if is_open else None,
                arrivals=Arrivals.UNIFORM,
            )
            with generator.load(order, on_window) as measured:
                pass
    return Seen.of(measured.samples)


def row(name: str, latencies_ms: Sequence[float]) -> str:
    """Write a line of quantiles."""
    ordered = sorted(latencies_ms)
    figures = "".join(f"{quantile(ordered, q):>9.1f}" for q in (0.50, 0.90, 0.99, 1.0))
    held_up = sum(latency > SLOW_MS for latency in ordered)
    return f"{name:<38}{len(ordered):>9}{figures}{held_up:>10}"


# The picture: two panels, one above the other, with the same axes.

WIDTH, PANEL = 700, 340
LEFT, RIGHT, TOP, BOTTOM = 96, 682, 92, 290
DOT = 6

STYLE = """
.paper {{ fill: {paper}; }} text {{ fill: {ink}; font: 17px {sans}; }} .heading {{ font-size: 21px; font-weight: 600; }}
.muted {{ fill: {muted}; }} .grid {{ stroke: {hair}; }} .band {{ fill: {hair}; }} .p99 {{ stroke: {ink}; stroke-dasharray: 6 5; }}
.dots {{ stroke: {mark}; stroke-width: {dot}; stroke-linecap: round; fill: none; }}
"""
SANS = (
    '-apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif'
)


def style() -> str:
    """Return the style for light and dark paper, and larger letters where the picture is shown small."""
    mark = BACKENDS[BackendName.ASYNCIO]
    light = STYLE.format(
        paper=LIGHT_PAPER, ink=LIGHT_INK, muted="#5C6066", hair="#DEDBD3", mark=mark, sans=SANS, dot=DOT
    )
    dark = STYLE.format(
        paper=DARK_PAPER,
        ink=DARK_INK,
        muted="#A2A5AB",
        hair="#30343B",
        mark=readable(mark, DARK_PAPER),
        sans=SANS,
        dot=DOT,
    )
    small = "text { font-size: 24px; } .heading { font-size: 26px; } .dots { stroke-width: 9; }"
    return element(
        "style",
        f"svg {{ max-width: 100%; height: auto; }}{light}@media (prefers-color-scheme: dark) {{{dark}}}\n"
        f"@media (max-width: 500px) {{ {small} }}",
    )


def draw(opened: Seen, closed: Seen, options: argparse.Namespace) -> str:
    """Draw each request of both loops as a dot: when it was due or sent, and how long it took."""
    most = max(*opened.response_ms, *closed.response_ms)
    headings = (
        f"Open loop, {options.rate:g} arrivals/s: p99 {formats.significant(opened.p99_ms)} ms",
        f"Closed loop, 1 user, {closed.rps:.0f}/s: p99 {formats.significant(closed.p99_ms)} ms",
    )
    told = (
        f"{formats.many(opened.slow, 'request')} waited longer than {SLOW_MS:g} ms",
        f"{formats.many(closed.slow, 'request')} waited that long; the rest were never sent",
    )
    axes = ("when due", "when sent")
    panels = (
        _panel(at * PANEL, seen, most, *texts)
        for at, (seen, *texts) in enumerate(zip((opened, closed), headings, told, axes, strict=True))
    )
    about = f"The same stall of {formats.seconds(STALL_S)} in two loops. {headings[0]}, {told[0]}. {headings[1]}, {told[1]}."
    return element(
        "svg",
        title(about),
        style(),
        element("rect", width=WIDTH, height=2 * PANEL, class_="paper"),
        *panels,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {2 * PANEL}",
        width=WIDTH,
        height=2 * PANEL,
        role="img",
        aria_label=about,
    )


def _panel(offset: float, seen: Seen, most_ms: float, heading: str, told: str, axis: str) -> str:
    x = Scale(0.0, seen.window_s, LEFT, RIGHT)
    y = Scale(0.0, most_ms * 1.04, BOTTOM, TOP)
    begin, end = (x(at) for at in seen.stall)
    parts = [
        words(20, 34, heading, class_="heading"),
        words(20, 66, told, class_="muted"),
        element("rect", x=begin, y=TOP, width=end - begin, height=BOTTOM - TOP, class_="band"),
        *(_tick(y, value) for value in y.ticks()),
        *(_mark(x, at) for at in range(math.ceil(seen.window_s))),
        words(RIGHT, BOTTOM + 28, axis, class_="muted", text_anchor="end"),
        words(
            end + 12, (TOP + BOTTOM) / 2, f"event loop blocked for {formats.seconds(STALL_S)}", class_="muted"
        ),
        element("path", d=_dots(seen, x, y), class_="dots"),
        line(LEFT, y(seen.p99_ms), RIGHT, y(seen.p99_ms), "p99"),
        words(RIGHT, y(seen.p99_ms) - 8, "p99", text_anchor="end"),
    ]
    return element("g", *parts, transform=f"translate(0 {offset:g})")


def _tick(y: Scale, value_ms: float) -> str:
    written = formats.tick_milliseconds(value_ms) if value_ms else "0"
    label = words(LEFT - 10, y(value_ms) + 6, written, class_="muted", text_anchor="end")
    return line(LEFT, y(value_ms), RIGHT, y(value_ms), "grid") + label


def _mark(x: Scale, second: int) -> str:
    label = f"{second} s" if second else "0"
    return words(x(second), BOTTOM + 28, label, class_="muted", text_anchor="middle")


def _dots(seen: Seen, x: Scale, y: Scale) -> str:
    """Draw a dot per request, but one only where several fall on the same point."""
    pairs = zip(seen.at_s, seen.response_ms, strict=True)
    points = dict.fromkeys((round(x(at)), round(y(latency))) for at, latency in pairs)
    return "".join(f"M{across} {down}h0" for across, down in points)


def main() -> None:
    """Print both loops' quantiles and, where wanted, draw them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rate", type=float, default=200.0, help="arrivals per second (default: %(default)g)"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of the window (default: %(default)g)")
    parser.add_argument("--svg", type=Path, metavar="PATH", help="draw it")
    options = parser.parse_args()
    generator = Generator()
    try:
        opened = run(generator, options, is_open=True)
        closed = run(generator, options, is_open=False)
    finally:
        generator.stop()
    print(
        f"{'ms':<38}{'requests':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}{'> ' + format(SLOW_MS, 'g'):>10}"
    )
    print(row(f"open loop, {options.rate:g}/s, from due", opened.response_ms))
    print(row("  the same requests, from send", opened.service_ms))
    print(row(f"closed loop, 1 user, {closed.rps:.0f}/s, from send", closed.response_ms))
    held = opened.p99_ms >= AIM_OPEN_MS and closed.p99_ms <= AIM_CLOSED_MS
    print(
        f"aim: p99 of the open loop at least {AIM_OPEN_MS:g} ms, of the closed one at most {AIM_CLOSED_MS:g} ms: "
        + ("met" if held else "NOT met")
    )
    if options.svg:
        options.svg.write_text(draw(opened, closed, options) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
