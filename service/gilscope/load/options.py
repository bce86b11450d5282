"""What a user of Locust chooses on its command line or its web page."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable

from gilscope.model import BackendName


def add_options(parser: ArgumentParser, workloads: Iterable[str]) -> None:
    """Add workload, backend and query to Locust's own options.

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
