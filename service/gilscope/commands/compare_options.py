"""The options of a comparison: what can be asked for, and what is taken where nothing was."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from gilscope.commands.arguments import Group, address, backends, number, service_url, slo, sweep, whole
from gilscope.errors import UsageError
from gilscope.model import Arrivals

USERS = 8


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults for what was not asked for, in seconds and blocks."""

    warmup_s: float
    duration_s: float
    blocks: int
    profile_s: int


DEMO_PAIRED = ("primes",)
"""The demo is to take some three minutes: one A/A pair per block."""

SEARCH = Preset(1.0, 10.0, 1, 0)
"""Of each rate that is tried for --slo."""

PRESETS = {
    "thorough": Preset(1.0, 5.0, 4, 3),
    "demo": Preset(0.4, 2.0, 3, 2),
    "quick": Preset(0.3, 1.0, 3, 1),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="what to compare (default: the demo set)"
    )
    _add_subjects(parser.add_argument_group("what is compared"))
    _add_load(parser.add_argument_group("the load"))
    _add_effort(parser.add_argument_group("how thoroughly"))
    _add_evidence(parser.add_argument_group("what is measured beside latency"))
    _add_run(parser.add_argument_group("the run"))


def _add_subjects(group: Group) -> None:
    group.add_argument(
        "--arg", action="append", default=[], metavar="NAME=JSON", help="argument of the targets; repeatable"
    )
    group.add_argument(
        "--sweep",
        type=sweep,
        metavar="NAME=V1,V2,…",
        help="compare one target at several sizes of an argument, and find the size from which each backend pays",
    )
    group.add_argument("--app-dir", metavar="DIR", help="put this folder on the service's import path")
    group.add_argument("--backends", type=backends, metavar="A,B", help="default: all that this Python has")
    group.add_argument(
        "--pool-size",
        type=whole(1, 512),
        metavar="N",
        help="workers of each pool (default: as many as cores for processes and interpreters, "
        "ThreadPoolExecutor's default for threads)",
    )
    group.add_argument(
        "--python",
        nargs="+",
        action="extend",
        metavar="PATH",
        help="run the services on these Pythons (3.11 and later) and compare them; each gets a cached environment with "
        "what the service needs",
    )
    group.add_argument(
        "--url",
        type=service_url,
        metavar="URL",
        help="measure a gilscope service that runs already, here or elsewhere, as it is; TARGET names its workloads",
    )
    group.add_argument(
        "--token",
        metavar="SECRET",
        default=os.environ.get("GILSCOPE_TOKEN"),
        help="with --url: what that service wants from readers of its profiles (default: $GILSCOPE_TOKEN)",
    )


def _add_load(group: Group) -> None:
    loop = group.add_mutually_exclusive_group()
    loop.add_argument(
        "--users",
        type=whole(1, 10_000),
        metavar="N",
        help=f"closed loop: so many users, each of whom waits for its answer (default: {USERS})",
    )
    loop.add_argument(
        "--rate",
        type=number(0.1, 100_000),
        metavar="R",
        help="open loop: R arrivals per second, whatever becomes of them; latency counts from when each was due",
    )
    group.add_argument(
        "--arrivals",
        type=Arrivals,
        choices=list(Arrivals),
        default=Arrivals.POISSON,
        help="when those of --rate are due (default: %(default)s)",
    )
    group.add_argument(
        "--slo",
        type=slo,
        metavar="pQ=LIMIT",
        help="find the highest open-loop rate that keeps a latency, such as p99=200ms, on each backend",
    )
    group.add_argument(
        "--curve",
        action="store_true",
        help="with --slo: throughput and latency at further rates, and the law they follow",
    )
    group.add_argument(
        "--load-workers",
        type=whole(1, 64),
        metavar="N",
        help="share the load among N Locust workers on this machine (default: one process)",
    )
    group.add_argument(
        "--load-master",
        type=address,
        metavar="HOST:PORT",
        help="take Locust workers from other machines: they connect to this address of this machine",
    )
    group.add_argument(
        "--expect-workers", type=whole(1, 1_000), metavar="N", help="wait for N of them (default: 1)"
    )


def _add_effort(group: Group) -> None:
    thorough, demo = PRESETS["thorough"], PRESETS["demo"]
    group.add_argument(
        "--duration",
        type=number(0.5, 3_600),
        metavar="S",
        help=f"seconds measured per trial (default: {thorough.duration_s:g}; demo set: {demo.duration_s:g})",
    )
    group.add_argument(
        "--warm-up",
        type=number(0, 600),
        metavar="S",
        help=f"seconds of load before each measurement (default: {thorough.warmup_s:g})",
    )
    group.add_argument(
        "--blocks",
        type=whole(1, 100),
        metavar="N",
        help=f"how often every backend is tried (default: {thorough.blocks}; demo set: {demo.blocks})",
    )
    group.add_argument(
        "--quick", action="store_true", help="a first look in well under a minute: rough figures"
    )
    group.add_argument(
        "--lenient",
        action="store_true",
        help="let trials count that the load generator or the machine spoilt, and try none of them again",
    )
    group.add_argument("--seed", type=whole(0, 2**32 - 1), metavar="N", help="fixes the order of the trials")


def _add_evidence(group: Group) -> None:
    group.add_argument("--no-profiles", action="store_true", help="take no flame graphs")
    group.add_argument("--no-lens", action="store_true", help="do not measure GIL wait")
    group.add_argument(
        "--textbook",
        action="store_true",
        help="end with the textbook's table, measured, as a page of the report (30 to 40 s more for each Python)",
    )


def _add_run(group: Group) -> None:
    group.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default: profiles/<time>-<name>)"
    )
    group.add_argument(
        "--live",
        nargs="?",
        type=whole(0, 65_535),
        const=0,
        metavar="PORT",
        help="show the comparison on a page while it runs (default port: a free one)",
    )
    group.add_argument("--json", action="store_true", help="print the verdicts as one JSON object")
    group.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="finish a comparison that was interrupted: all else is in its folder; goes with --live, --json, --textbook and --token alone",
    )


BESIDE_RESUME = frozenset({"resume", "live", "json", "textbook", "token"})


def require_resume_alone(options: argparse.Namespace) -> None:
    """Check that nothing was given beside ``--resume`` that the run has already.

    Raises:
        UsageError: something was; the message names it.
    """
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    for name, default in vars(parser.parse_args([])).items():
        if name not in BESIDE_RESUME and getattr(options, name) != default:
            given = "TARGET" if name == "targets" else f"--{name.replace('_', '-')}"
            raise UsageError(
                f"--resume does not go with {given}: a run is finished as it was begun",
                remedy=f"gilscope compare --resume {options.resume}",
            )
