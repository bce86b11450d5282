"""What the service's stamps, metrics and checks cost: ``noop`` beside a bare aiohttp handler, in pairs.

Both services run at the same time; each round loads one and then the other, in shuffled order, so that what
drifts on the machine hits both. The ratio is taken round by round.

    python benchmarks/overhead.py [--rounds 10] [--seconds 1]
"""

import argparse
import asyncio
import random
import sys
from pathlib import Path
from statistics import median
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parent))

from client import measure

from gilscope.child import Child, module_command
from gilscope.errors import ServiceError

START_S = 60.0
BACKENDS = ("asyncio", "threads", "processes")


def compare(urls: dict[str, str], backend: str, options: argparse.Namespace) -> list[tuple[float, float]]:
    """Return requests per second, ours and bare, round by round."""
    for url in urls.values():
        urlopen(f"{url}/work/noop/{backend}", timeout=START_S).close()  # noqa: S310  starts lazy pools
    rounds = []
    for _ in range(options.rounds):
        order = list(urls)
        random.shuffle(order)
        rates = {
            name: asyncio.run(
                measure(
                    f"{urls[name]}/work/noop/{backend}",
                    connections=options.connections,
                    warmup_s=0.2,
                    seconds=options.seconds,
                )
            )
            for name in order
        }
        rounds.append((rates["gilscope"], rates["bare"]))
    return rounds


def main() -> None:
    """Print a row per backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    ours = module_command(
        "gilscope", "serve", "--lifeline", "--port=0", "--metrics-port=0", "--workload=noop",
        f"--backends={','.join(BACKENDS)}",
    )  # fmt: skip
    bare = [sys.executable, str(Path(__file__).with_name("bare_service.py"))]
    print(
        f"noop, {options.connections} connections, {options.rounds} rounds of {options.seconds:g} s, medians"
    )
    print(f"{'':<12}{'gilscope/s':>12}{'bare/s':>12}{'ratio':>8}{'  lowest to highest':>20}")
    with Child(ours, failure=ServiceError) as first, Child(bare, failure=ServiceError) as second:
        urls = {"gilscope": str(first.receive(START_S)["url"]), "bare": str(second.receive(START_S)["url"])}
        for backend in BACKENDS:
            rounds = compare(urls, backend, options)
            ratios = sorted(one / other for one, other in rounds)
            print(
                f"{backend:<12}{median(one for one, _ in rounds):>12,.0f}"
                f"{median(other for _, other in rounds):>12,.0f}{median(ratios):>8.2f}"
                f"{f'{ratios[0]:.2f} to {ratios[-1]:.2f}':>20}",
                flush=True,
            )


if __name__ == "__main__":
    main()
