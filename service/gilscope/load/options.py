"""What a user of Locust chooses on its command line or its web page."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Mapping

from gilscope.model import Arrivals, BackendName


def arrival_rate(text: str) -> float:
    """Return the arrivals per second; 0 means a closed loop.

    Raises:
        ArgumentTypeError: it is not a number from 0 up.
    """
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise ArgumentTypeError(f"arrivals per second are a number from 0 (closed loop) up, not {text!r}")
    return rate


def check_arrivals(form: Mapping[str, str]) -> None:
    """Check what came from the web page, which Locust takes as it is; what is not in the form is not checked.

    Raises:
        ValueError: it is nothing that the command line would take.
    """
    try:
        arrival_rate(form.get("rate", "0"))
    except ArgumentTypeError as problem:
        raise ValueError(f"rate: {problem}") from None
    try:
        int(form.get("seed", "0"))
    except ValueError:
        raise ValueError(f"seed: it is a whole number, not {form['seed']!r}") from None
    if form.get("arrivals", Arrivals.POISSON) not in set(Arrivals):
        raise ValueError(f"arrivals: one of {', '.join(Arrivals)}, not {form['arrivals']!r}")


def add_options(parser: ArgumentParser, workloads: Iterable[str]) -> None:
    """Add workload, backend, query and what makes an open loop to Locust's own options.

    Its web page shows them as well, but not those of a group: they are added one by one.
    """
    parser.add_argument("--workload", default="primes", choices=list(workloads), help="built-in workload")
    parser.add_argument(
        "--own-workload", default="", metavar="NAME", help="your own function, as GET /workloads names it"
    )
    parser.add_argument(
        "--backend", default=BackendName.THREADS.value, choices=[name.value for name in BackendName]
    )
    parser.add_argument(
        "--query", default="", metavar="NAME=VALUE&…", help="parameters of the workload, URL-encoded"
    )
    parser.add_argument(
        "--rate",
        type=arrival_rate,
        default=0.0,
        metavar="R",
        help="open loop: arrivals per second, of all workers together, whatever becomes of them; the number of "
        "users then changes nothing. 0 (the default): closed loop, each user waits for its answer",
    )
    parser.add_argument(
        "--arrivals",
        default=Arrivals.POISSON.value,
        choices=[kind.value for kind in Arrivals],
        help="open loop: at random moments (poisson, the default) or evenly spaced (uniform)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="open loop: of the random moments of arrivals and pings (default: 0)",
    )
