"""What a user of Locust chooses on its command line or its web page."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable

from gilscope.model import BackendName


def add_options(parser: ArgumentParser, workloads: Iterable[str]) -> None:
    """Add workload, backend and query to Locust's own options; its web page shows them as well."""
    group = parser.add_argument_group("gilscope", "what the work users request")
    group.add_argument("--workload", default="primes", choices=list(workloads), help="built-in workload")
    group.add_argument(
        "--own-workload", default="", metavar="NAME", help="your own function, as GET /workloads names it"
    )
    group.add_argument(
        "--backend", default=BackendName.THREADS.value, choices=[name.value for name in BackendName]
    )
    group.add_argument(
        "--query", default="", metavar="NAME=VALUE&…", help="parameters of the workload, URL-encoded"
    )
