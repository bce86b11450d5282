"""What the options of a comparison are checked for, and the plan that comes of them."""

from __future__ import annotations

import argparse
import random
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gilscope.address import split_address
from gilscope.commands.arguments import pairs
from gilscope.commands.compare_options import DEMO_PAIRED, PRESETS, SEARCH, USERS
from gilscope.compare.plan import warmup_for
from gilscope.errors import CaptureError, UsageError
from gilscope.limits import most_files
from gilscope.model import BackendName, Load, LoadKind, Plan, Sweep, Target

if TYPE_CHECKING:
    from gilscope.compare.preflight import Checked
    from gilscope.environments import Environment

PROBE_RATE = 50.0

OTHER_FILES = 200
"""What a process of a trial may have open beside its users' connections: those of pings, pools, libraries."""


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
    from gilscope.profiling.taking import no_graphs  # noqa: PLC0415

    first, *others = check_elsewhere(
        ask_service(options.url), options.targets, pairs(options.arg), options.backends
    )
    if _takes_no_profiles(options):
        return [first, *others]
    try:
        ProfilesThere(options.url, options.token).require()
    except CaptureError as problem:
        options.no_profiles = True
        first = replace(first, cautions=(*first.cautions, no_graphs(problem)))
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
