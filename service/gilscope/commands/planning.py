"""What can be asked of a comparison: its options, what they are checked for, and the plan that comes of them."""

from __future__ import annotations

import argparse
import os
import random
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gilscope.address import split_address
from gilscope.commands.arguments import (
    Group,
    address,
    backends,
    number,
    pairs,
    service_url,
    slo,
    sweep,
    whole,
)
from gilscope.compare.plan import warmup_for
from gilscope.errors import CaptureError, UsageError
from gilscope.limits import most_files
from gilscope.model import Arrivals, BackendName, Caution, Load, LoadKind, Plan, Sweep, Target

if TYPE_CHECKING:
    from gilscope.compare.preflight import Checked
    from gilscope.environments import Environment

PROBE_RATE = 50.0
USERS = 8

OTHER_FILES = 200
"""What a process of a trial may have open beside its users' connections: those of pings, pools, libraries."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults for what was not asked for, in seconds and blocks."""

    warmup_s: float
    duration_s: float
    blocks: int
    profile_s: int


DEMO_PAIRED = ("primes",)
"""The demo has to fit into three minutes: one A/A pair per block."""

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
        help="end with the textbook's table, measured, as a page of the report (less than 40 s more for each Python)",
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
        help="finish a comparison that was interrupted: all else is in its folder; goes with --live, --json and --textbook alone",
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


def environments_of(options: argparse.Namespace) -> tuple[Environment, ...]:
    """Return the Pythons that were asked for.

    Raises:
        UsageError: they do not go with the other options, or one of them is none that a service can run on.
        GilscopeError: what the service needs cannot be installed for one of them.
    """
    if not options.python:
        return ()
    from gilscope.environments import prepare  # noqa: PLC0415

    if options.url:
        raise UsageError("--url measures a service as it is, on its own Python", remedy="leave out --python")
    if options.sweep and len(options.python) > 1:
        raise UsageError("--sweep goes with one Python", remedy="one sweep for each --python")
    return prepare(options.python, lambda told: print(told, file=sys.stderr))  # noqa: T201


def check(options: argparse.Namespace, environments: Sequence[Environment] = ()) -> list[Checked]:
    """Check options against each other, and every target by itself, on each of the Pythons that were asked for.

    Raises:
        UsageError: they do not go together, or a target cannot be compared.
    """
    _check_load(options)
    if options.load_master:
        options.load_master = own_address(options.load_master)
    if not environments:
        return _check_targets(options)
    found = [(one.interpreter.name, _check_targets(options, one)) for one in environments]
    several = len(environments) > 1
    # One function on all its Pythons, then the next.
    return [
        _on_python(checked, name, several=several)
        for same in zip(*(checks for _, checks in found), strict=True)
        for (name, _), checked in zip(found, same, strict=True)
    ]


def _on_python(checked: Checked, python: str, *, several: bool) -> Checked:
    """Say which Python a target runs on, where there are several in its name."""
    target = checked.target
    if not several:
        return replace(checked, target=replace(target, python=python))
    name = f"{target.workload}, Python {python}"
    own = replace(target, workload=name, served_as=target.workload, python=python)
    told = tuple(
        replace(caution, message=f"on Python {python}: {caution.message}") for caution in checked.cautions
    )
    return replace(checked, target=own, cautions=told)


def own_address(text: str) -> str:
    """Return an address at which workers can be waited for, its name resolved: it is this machine's, and free.

    Raises:
        UsageError: it is not.
    """
    host, port = split_address(text)
    try:
        own = socket.gethostbyname(host)  # Locust takes IPv4 alone.
        socket.create_server((own, port)).close()
    except OSError as problem:
        raise UsageError(
            f"cannot wait for workers on {text}: {problem.strerror or problem}",
            remedy="--load-master takes an IPv4 address of this machine, and a free port",
        ) from None
    return f"{own}:{port}"


def _check_load(options: argparse.Namespace) -> None:
    if options.expect_workers and not options.load_master:
        raise UsageError(
            "--expect-workers counts workers of other machines", remedy="--load-master HOST:PORT as well"
        )
    if options.curve and not options.slo:
        raise UsageError("--curve adds to a search", remedy="--slo p99=200ms as well")
    if options.slo and (options.users or options.rate or options.sweep):
        raise UsageError(
            "--slo searches for the rate: it goes with neither --users nor --rate nor --sweep",
            remedy="leave those out",
        )
    if options.url and (options.sweep or options.app_dir or options.pool_size or options.load_master):
        raise UsageError(
            "--url measures a service as it is: it goes with none of --sweep, --app-dir, --pool-size, --load-master",
            remedy="leave those out, or let compare start the service",
        )
    if options.load_workers and options.load_master:
        raise UsageError(
            "--load-workers starts Locust here, --load-master waits for it from elsewhere",
            remedy="one of the two",
        )
    if options.users:
        _check_files(options)


def _check_files(options: argparse.Namespace) -> None:
    """Check that each user can have a connection: in the service, and at its end in the load generator.

    Raises:
        UsageError: the system does not allow so many open files, and a process cannot raise that by itself.
    """
    # A service elsewhere has limits of its own, and then the users are shared out among the load's processes.
    users = -(-options.users // (options.load_workers or 1)) if options.url else options.users
    wanted, allowed = users + OTHER_FILES, most_files()
    if allowed is not None and allowed < wanted:
        raise UsageError(
            f"--users {options.users} needs some {wanted} open files in a process, and may have {allowed} (ulimit -Hn)",
            remedy=f"fewer --users, or more files for this shell: sudo prlimit --pid $$ --nofile={wanted}:{wanted}",
        )


def _check_targets(options: argparse.Namespace, environment: Environment | None = None) -> list[Checked]:
    from gilscope.compare.preflight import check_targets, unavailable_here  # noqa: PLC0415
    from gilscope.workloads.catalogue import DEMO_SET  # noqa: PLC0415

    if options.url is not None:
        return _check_elsewhere(options)
    unavailable = unavailable_here() if environment is None else environment.unavailable
    for name in options.backends or ():
        if name in unavailable and (environment is None or len(options.python) == 1):
            raise UsageError(f"the {name} backend {unavailable[name]}", remedy="leave it out of --backends")
    wanted = options.backends or tuple(BackendName)
    if options.sweep is not None:
        return _check_sweep(options, wanted, environment)
    return check_targets(
        options.targets or DEMO_SET, pairs(options.arg), wanted, options.app_dir, environment
    )


def _check_elsewhere(options: argparse.Namespace) -> list[Checked]:
    """Check what a service that runs already has; where it takes no profiles, the comparison goes without."""
    from gilscope.compare.elsewhere import ask_service, check_elsewhere  # noqa: PLC0415
    from gilscope.profiling.asking import ProfilesThere  # noqa: PLC0415

    first, *others = check_elsewhere(
        ask_service(options.url), options.targets, pairs(options.arg), options.backends
    )
    if _takes_no_profiles(options):
        return [first, *others]
    try:
        ProfilesThere(options.url, options.token).require()
    except CaptureError as problem:
        options.no_profiles = True
        caution = Caution(
            "no-profile", f"no flame graphs: {problem.message}", problem.remedy or "see the reason"
        )
        first = replace(first, cautions=(*first.cautions, caution))
    return [first, *others]


def _check_sweep(
    options: argparse.Namespace, wanted: Sequence[BackendName], environment: Environment | None
) -> list[Checked]:
    """Check the target at each size; each becomes a target of its own."""
    from gilscope.compare.preflight import check_targets  # noqa: PLC0415

    parameter, values = options.sweep
    given = pairs(options.arg)
    if len(options.targets) != 1:
        raise UsageError(
            "--sweep takes one target", remedy="such as: gilscope compare primes --sweep n=1000,3000,9000"
        )
    if parameter in given:
        raise UsageError(f"--arg {parameter} is what --sweep varies", remedy="leave out one of the two")
    found: list[Checked] = []
    for value in values:
        own = {parameter: value}
        (checked,) = check_targets(options.targets, {**given, **own}, wanted, options.app_dir, environment)
        name = checked.target.workload
        target = replace(checked.target, workload=f"{name}, {parameter}={value}", given=own, served_as=name)
        # What is said of the function is said once.
        found.append(replace(checked, target=target, cautions=() if found else checked.cautions))
    return found


def make_plan(
    options: argparse.Namespace, checked: Sequence[Checked], environments: Sequence[Environment] = ()
) -> Plan:
    """Write down what is to be done."""
    from gilscope.compare.sources import fingerprint  # noqa: PLC0415

    def with_source(target: Target) -> Target:
        known = "" if options.url else fingerprint(target.reference, options.app_dir)
        return replace(target, source=known)

    preset = PRESETS["quick" if options.quick else "thorough" if options.targets else "demo"]
    if options.slo and not options.quick:
        preset = SEARCH
    return Plan(
        targets=tuple(with_source(item.target) for item in checked),
        backends=options.backends or _available(options, environments),
        load=Load(
            kind=LoadKind.CLOSED if options.rate is None else LoadKind.OPEN,
            users=(options.users or USERS) if options.rate is None else None,
            rate=options.rate,
            seconds=options.duration or preset.duration_s,
            warmup_seconds=warmup_for(options.slo, preset.warmup_s)
            if options.warm_up is None
            else options.warm_up,
            probe_rate=PROBE_RATE,
            arrivals=options.arrivals,
            workers=options.load_workers or options.expect_workers or 1,
        ),
        blocks=1 if options.slo else options.blocks or preset.blocks,
        seed=random.SystemRandom().randrange(2**32) if options.seed is None else options.seed,
        pool_size=options.pool_size,
        given=pairs(options.arg),
        app_dir=options.app_dir,
        profile_seconds=0.0 if _takes_no_profiles(options) else float(preset.profile_s),
        python=_shown(sys.executable),
        pythons=tuple(replace(one.interpreter, path=_shown(one.interpreter.path)) for one in environments),
        lens=not options.no_lens,
        url=options.url,
        load_master=options.load_master,
        twins=True,
        paired=() if options.targets or options.url else DEMO_PAIRED,
        slo=str(options.slo) if options.slo else None,
        curve=options.curve,
        lenient=options.lenient,
        sweep=Sweep(options.sweep[0], tuple(map(float, options.sweep[1]))) if options.sweep else None,
    )


def _available(options: argparse.Namespace, environments: Sequence[Environment]) -> tuple[BackendName, ...]:
    """Return the backends that any of the Pythons has; of a service elsewhere, all."""
    from gilscope.backends.table import available  # noqa: PLC0415

    if options.url:
        return tuple(BackendName)
    if not environments:
        return available()
    return tuple(name for name in BackendName if any(name not in one.unavailable for one in environments))


def _takes_no_profiles(options: argparse.Namespace) -> bool:
    """Whether no graphs are taken: of a search or a sweep they would be too many."""
    return bool(options.no_profiles or options.sweep or options.slo)


def _shown(python: str) -> str:
    """Write an interpreter's path as seen from here, so that a run that is passed on tells little of its machine."""
    here = Path.cwd()
    return str(Path(python).relative_to(here)) if Path(python).is_relative_to(here) else python
