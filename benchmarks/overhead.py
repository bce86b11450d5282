"""What the service's stamps, metrics and checks cost: ``noop`` beside a bare aiohttp handler, in pairs.

Both services run at the same time; each round loads one and then the other, in shuffled order, so that what
drifts on the machine hits both. Ratios are taken round by round: of requests per second, and of the CPU time
that a request took, which a busy host disturbs less. Above 1 is in gilscope's favour.

    python benchmarks/overhead.py [--rounds 15] [--seconds 1]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parent))

from client import measure

from gilscope.child import Child, module_command
from gilscope.compare.metering import cpu_seconds
from gilscope.errors import ServiceError

START_S = 60.0
WARM_UP_S = 0.2
BACKENDS = ("asyncio", "threads", "processes")


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: its URL and its process."""

    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One round on one service: answers per second, and CPU time per answer of all its processes."""

    rps: float
    cpu_us: float


def sample(service: Service, backend: str, options: argparse.Namespace) -> Sample:
    """Load a service once."""
    url = f"{service.url}/work/noop/{backend}"
    before_s = cpu_seconds(service.pid)
    rps = asyncio.run(
        measure(url, connections=options.connections, warmup_s=WARM_UP_S, seconds=options.seconds)
    )
    spent_s = cpu_seconds(service.pid) - before_s
    return Sample(rps, spent_s / (rps * (options.seconds + WARM_UP_S)) * 1e6)


def compare(
    services: dict[str, Service], backend: str, options: argparse.Namespace
) -> list[dict[str, Sample]]:
    """Return the samples of every round by service."""
    for service in services.values():
        urlopen(f"{service.url}/work/noop/{backend}", timeout=START_S).close()  # noqa: S310  starts lazy pools
    rounds = []
    for _ in range(options.rounds):
        order = list(services)
        random.shuffle(order)
        rounds.append({name: sample(services[name], backend, options) for name in order})
    return rounds


def row(backend: str, rounds: list[dict[str, Sample]]) -> str:
    """Write a backend's medians and its ratios with their middle half."""
    rates = sorted(one["gilscope"].rps / one["bare"].rps for one in rounds)
    cpu = sorted(one["bare"].cpu_us / one["gilscope"].cpu_us for one in rounds)
    ours, bare = (median(one[name].rps for one in rounds) for name in ("gilscope", "bare"))
    ours_us, bare_us = (median(one[name].cpu_us for one in rounds) for name in ("gilscope", "bare"))
    return (
        f"{backend:<11}{ours:>11,.0f}{bare:>9,.0f}{_spread(rates):>21}"
        f"{ours_us:>14,.0f}{bare_us:>9,.0f}{_spread(cpu):>21}"
    )


def _spread(ratios: list[float]) -> str:
    quarter = len(ratios) // 4
    return f"{median(ratios):.2f} ({ratios[quarter]:.2f}-{ratios[-quarter - 1]:.2f})"


def main() -> None:
    """Print a row per backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    ours = module_command(
        "gilscope", "serve", "--lifeline", "--port=0", "--metrics-port=0", "--workload=noop",
        f"--backends={','.join(BACKENDS)}",
    )  # fmt: skip
    bare = [sys.executable, str(Path(__file__).with_name("bare_service.py"))]
    print(
        f"noop, {options.connections} connections, {options.rounds} rounds of {options.seconds:g} s; medians,"
    )
    print("and the ratios' middle half in brackets")
    print(
        f"{'':<11}{'gilscope/s':>11}{'bare/s':>9}{'ratio':>21}{'gilscope us':>14}{'bare us':>9}{'ratio of CPU':>21}"
    )
    with Child(ours, failure=ServiceError) as first, Child(bare, failure=ServiceError) as second:
        children = {"gilscope": first, "bare": second}
        services = {
            name: Service(str(child.receive(START_S)["url"]), child.pid) for name, child in children.items()
        }
        for backend in BACKENDS:
            print(row(backend, compare(services, backend, options)), flush=True)


if __name__ == "__main__":
    main()
