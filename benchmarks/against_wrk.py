"""Is the load generator's latency right? gilscope's open loop beside ``wrk``, in turns, on the same service.

The service is ``gilscope serve`` with ``noop`` on ``asyncio``, at a rate far from saturation, so that nothing queues and
either tool should find the same time from send to answer (ms):

- gilscope: an open loop of evenly spaced arrivals; counted is the latency from send. Its probe cannot be switched
  off: it sends one ping a second beside that.
- wrk: a closed loop with one connection that waits between requests (``delay()`` of its Lua interface). It takes its
  time when it writes a request, after the wait (``socket_writeable`` in its ``wrk.c``), so the wait is not in its latency.

Either has one request under way at a time, as good as always. wrk adds to its samples what it takes for omitted where one
exceeds its mean interval (``stats_correct``); a median hardly changes by that, and nothing else is compared here. The
median of what the service itself stamped (from accepted to answered) is printed beside ours: what lies between the two is
the network, aiohttp's own part, and the client. "Starved" is the share of the time for which gilscope's generator was ready
to run and had no core: where that is more than a few per cent, the machine was busy with others.

    python benchmarks/against_wrk.py [--turns 6] [--seconds 4] [--rate 100]

Wants ``wrk`` (``apt-get install wrk``).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gilscope.compare.service import ServiceOptions, running_service
from gilscope.load.control import Generator
from gilscope.load.judging import MAX_RUNQUEUE_SHARE
from gilscope.load.orders import Order
from gilscope.model import Arrivals
from gilscope.quantiles import quantile

AIM_MS = 0.5
"""How far the two medians may lie apart."""

WARM_UP_S = 0.5
PROBE_RATE = 1.0
PATH = "/work/noop/asyncio"

SCRIPT = """
function delay() return %d end
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\\n{"p50_us": %%d, "requests": %%d, "duration_us": %%d, "errors": %%d}\\n',
    latency:percentile(50), summary.requests, summary.duration, failed))
end
"""
"""What wrk runs: waits so many milliseconds before each request, and says in the end what it found, as JSON."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of one tool: the median latency from send, answers per second, failures.

    ``service_ms`` is the median of the service's own stamps and ``starved`` the share of the time for which the tool waited
    for a core, where either is known.
    """

    p50_ms: float
    rps: float
    errors: int
    service_ms: float | None = None
    starved: float = 0.0


def ours(generator: Generator, url: str, options: argparse.Namespace, folder: Path) -> Turn:
    """Load the service with gilscope's open loop."""
    order = Order(
        url=url,
        workload="noop",
        backend="asyncio",
        users=None,
        warmup_s=WARM_UP_S,
        seconds=options.seconds,
        probe_rate=PROBE_RATE,
        seed=1,
        drain_s=1.0,
        samples=str(folder / "turn.csv.gz"),
        rate=options.rate,
        arrivals=Arrivals.UNIFORM,
    )
    with generator.load(order, lambda: None) as measured:
        pass
    work = measured.samples.work
    return Turn(
        _median(work.from_send_ms),
        len(work.at_s) / measured.samples.window_s,
        measured.tally.errors,
        _median(work.total_ms),
        measured.tally.generator.runqueue_share,
    )


def _median(values: Sequence[float]) -> float:
    return quantile(sorted(values), 0.50)


def theirs(script: Path, url: str, options: argparse.Namespace) -> Turn:
    """Load the service with wrk."""
    command = ["wrk", "-t1", "-c1", f"-d{options.seconds}s", "--latency", f"--script={script}", url + PATH]
    done = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds + 30, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    return Turn(said["p50_us"] / 1e3, said["requests"] / said["duration_us"] * 1e6, said["errors"])


def compare(options: argparse.Namespace) -> list[tuple[Turn, Turn]]:
    """Return the turns in pairs: ours and wrk's; who begins alternates."""
    pairs = []
    service = ServiceOptions("noop", {}, "asyncio", None, None, None, sys.executable)
    generator = Generator()
    try:
        with tempfile.TemporaryDirectory() as name, running_service(service) as running:
            folder = Path(name)
            script = folder / "paced.lua"
            script.write_text(SCRIPT % round(1e3 / options.rate - options.expected_ms), encoding="ascii")
            for number in range(options.turns):
                if number % 2:
                    wrk = theirs(script, running.url, options)
                    mine = ours(generator, running.url, options, folder)
                else:
                    mine = ours(generator, running.url, options, folder)
                    wrk = theirs(script, running.url, options)
                pairs.append((mine, wrk))
                print(row(number, mine, wrk), flush=True)
    finally:
        generator.stop()
    return pairs


def row(number: int, mine: Turn, wrk: Turn) -> str:
    """Write one pair of turns."""
    errors = mine.errors + wrk.errors
    return (
        f"{number + 1:<6}{mine.p50_ms:>14.3f}{mine.rps:>8.1f}{mine.service_ms:>16.3f}"
        f"{wrk.p50_ms:>11.3f}{wrk.rps:>8.1f}{mine.p50_ms - wrk.p50_ms:>+12.3f}{mine.starved:>12.1%}"
        + (f"  {errors} failed" if errors else "")
    )


def conclusions(pairs: Sequence[tuple[Turn, Turn]]) -> Iterator[str]:
    """Write what all turns come to and, beside it, those alone that a comparison would have counted."""
    yield conclusion("all turns", pairs)
    counted = [pair for pair in pairs if pair[0].starved <= MAX_RUNQUEUE_SHARE]
    if 0 < len(counted) < len(pairs):
        yield conclusion(f"the {len(counted)} in which our generator was not starved", counted)


def conclusion(which: str, pairs: Sequence[tuple[Turn, Turn]]) -> str:
    """Write the medians over turns, how far they lie apart, and whether that is within the aim."""
    mine = median(turn.p50_ms for turn, _ in pairs)
    wrk = median(turn.p50_ms for _, turn in pairs)
    apart = sorted(one.p50_ms - other.p50_ms for one, other in pairs)
    within = "within" if abs(mine - wrk) <= AIM_MS else "NOT within"
    return (
        f"{which}, median of their p50: gilscope {mine:.3f} ms, wrk {wrk:.3f} ms, difference {mine - wrk:+.3f} ms "
        f"(turn by turn {apart[0]:+.3f} to {apart[-1]:+.3f}): {within} the aim of {AIM_MS:g} ms"
    )


def main() -> None:
    """Print a row per pair of turns, and what they come to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=6, help="of each tool (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="that a turn lasts (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=100.0, help="requests per second (default: %(default)g)"
    )
    parser.add_argument(
        "--expected-ms",
        type=float,
        default=1.0,
        help="what wrk's pause is shorter than the interval, so that its rate is about the same (default: %(default)g)",
    )
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("there is no wrk here: apt-get install wrk")
    print(f"noop on asyncio, {options.rate:g} requests/s, turns of {options.seconds} s; p50 from send, in ms")
    print(
        f"{'turn':<6}{'gilscope p50':>14}{'/s':>8}{'(service p50)':>16}{'wrk p50':>11}{'/s':>8}{'difference':>12}"
        f"{'(starved)':>12}"
    )
    print("\n".join(conclusions(compare(options))))


if __name__ == "__main__":
    main()
