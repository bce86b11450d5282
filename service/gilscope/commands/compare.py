"""Compare the backends under real load and show why one of them wins.

TARGET is a built-in workload, package.module:function or path/to/file.py:function; without one, the demo
set runs. Every backend is tried in a fresh service process, in several blocks of shuffled order; profiles
are taken after the figures. For example:

  gilscope compare primes --arg n=20000
  gilscope compare my.py:work --arg n=20000 --quick
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gilscope import __version__
from gilscope.commands.arguments import address, backends, number, pairs, service_url, slo, sweep, whole
from gilscope.errors import INTERRUPTED, UsageError
from gilscope.model import (
    Arrivals,
    BackendName,
    Caution,
    Classification,
    Evidence,
    Load,
    LoadKind,
    Plan,
    Run,
    Sweep,
    Target,
)

if TYPE_CHECKING:
    from gilscope.compare.experiment import Experiment
    from gilscope.compare.preflight import Checked
    from gilscope.compare.store import RunFolder

PROBE_RATE = 50.0
USERS = 8


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults for what was not asked for, in seconds and blocks."""

    warmup_s: float
    duration_s: float
    blocks: int
    profile_s: int


SEARCH = Preset(1.0, 10.0, 1, 0)
"""Of each rate that is tried for --slo."""

PRESETS = {
    "thorough": Preset(1.0, 5.0, 4, 3),
    "demo": Preset(0.4, 1.5, 3, 2),
    "quick": Preset(0.3, 1.0, 3, 1),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    thorough = PRESETS["thorough"]
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="what to compare (default: the demo set)"
    )
    parser.add_argument(
        "--arg", action="append", default=[], metavar="NAME=JSON", help="argument of the targets; repeatable"
    )
    parser.add_argument(
        "--sweep",
        type=sweep,
        metavar="NAME=V1,V2,…",
        help="compare one target at several sizes of an argument, and find the size from which each backend pays",
    )
    parser.add_argument("--app-dir", metavar="DIR", help="put this folder on the service's import path")
    parser.add_argument("--backends", type=backends, metavar="A,B", help="default: all that this Python has")
    _add_load_arguments(parser)
    parser.add_argument(
        "--duration",
        type=number(0.5, 3_600),
        metavar="S",
        help=f"seconds measured per trial (default: {thorough.duration_s:g}; demo set: "
        f"{PRESETS['demo'].duration_s:g})",
    )
    parser.add_argument(
        "--warm-up",
        type=number(0, 600),
        metavar="S",
        help=f"seconds of load before each measurement (default: {thorough.warmup_s:g})",
    )
    parser.add_argument(
        "--blocks",
        type=whole(1, 100),
        metavar="N",
        help=f"how often every backend is tried (default: {thorough.blocks}; demo set: {PRESETS['demo'].blocks})",
    )
    parser.add_argument(
        "--pool-size",
        type=whole(1, 512),
        metavar="N",
        help="workers of each pool (default: as many as cores for processes and interpreters, "
        "ThreadPoolExecutor's default for threads)",
    )
    parser.add_argument("--no-profiles", action="store_true", help="take no flame graphs")
    parser.add_argument("--no-lens", action="store_true", help="do not measure GIL wait")
    parser.add_argument(
        "--lenient",
        action="store_true",
        help="let trials count that the load generator or the machine spoilt, and try none of them again",
    )
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), metavar="N", help="fixes the order of the trials")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default: profiles/<time>-<name>)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a first look in well under a minute: rough figures"
    )
    parser.add_argument("--json", action="store_true", help="print the verdicts as one JSON object")


def _add_load_arguments(parser: argparse.ArgumentParser) -> None:
    loop = parser.add_mutually_exclusive_group()
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
    parser.add_argument(
        "--arrivals",
        type=Arrivals,
        choices=list(Arrivals),
        default=Arrivals.POISSON,
        help="when those of --rate are due (default: %(default)s)",
    )
    parser.add_argument(
        "--slo",
        type=slo,
        metavar="pQ=LIMIT",
        help="find the highest open-loop rate that keeps a latency, such as p99=200ms, on each backend",
    )
    parser.add_argument(
        "--curve",
        action="store_true",
        help="with --slo: throughput and latency at further rates, and the law they follow",
    )
    parser.add_argument(
        "--url",
        type=service_url,
        metavar="URL",
        help="measure a gilscope service that runs already, here or elsewhere, as it is; TARGET names its workloads",
    )
    parser.add_argument(
        "--load-workers",
        type=whole(1, 64),
        metavar="N",
        help="share the load among N Locust workers on this machine (default: one process)",
    )
    parser.add_argument(
        "--load-master",
        type=address,
        metavar="HOST:PORT",
        help="take Locust workers from other machines: they connect to this address of this machine",
    )
    parser.add_argument(
        "--expect-workers", type=whole(1, 1_000), metavar="N", help="wait for N of them (default: 1)"
    )


def run(options: argparse.Namespace) -> int:
    """Compare, print verdicts as they come, write the report."""
    from gilscope.compare.store import RunFolder, default_folder  # noqa: PLC0415

    begun = time.monotonic()
    _check_load(options)
    checked = _check_targets(options)
    plan = _plan(options, checked)
    now = datetime.now(UTC)
    names = dict.fromkeys(target.name_in_service for target in plan.targets)
    name = "-".join(names) if options.targets else "demo"
    folder = RunFolder.create(options.out or default_folder(name, now))
    try:
        raising = frozenset(item.target.workload for item in checked if item.raises)
        start = Start(name, now, begun, folder, tuple(c for item in checked for c in item.cautions), raising)
        return _compare(options, plan, start)
    finally:
        folder.discard_if_empty()


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


@dataclass(frozen=True, slots=True)
class Start:
    """What is known when the first trial begins, beside the plan.

    ``begun`` is of ``time.monotonic``; ``raising`` names the workloads whose function raised when it was tried.
    """

    name: str
    at: datetime
    begun: float
    folder: RunFolder
    cautions: tuple[Caution, ...]
    raising: frozenset[str]


def _check_targets(options: argparse.Namespace) -> list[Checked]:
    from gilscope.backends.table import BACKENDS  # noqa: PLC0415
    from gilscope.compare.preflight import check_targets  # noqa: PLC0415
    from gilscope.workloads.catalogue import DEMO_SET  # noqa: PLC0415

    if options.url is not None:
        from gilscope.compare.elsewhere import ask_service, check_elsewhere  # noqa: PLC0415

        return check_elsewhere(
            ask_service(options.url), options.targets, pairs(options.arg), options.backends
        )
    for name in options.backends or ():
        reason = BACKENDS[name].unavailable()
        if reason is not None:
            raise UsageError(f"the {name} backend {reason}", remedy="leave it out of --backends")
    wanted = options.backends or tuple(BackendName)
    if options.sweep is not None:
        return _check_sweep(options, wanted)
    return check_targets(options.targets or DEMO_SET, pairs(options.arg), wanted, options.app_dir)


def _check_sweep(options: argparse.Namespace, wanted: Sequence[BackendName]) -> list[Checked]:
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
        (checked,) = check_targets(options.targets, {**given, **own}, wanted, options.app_dir)
        name = checked.target.workload
        target = replace(checked.target, workload=f"{name}, {parameter}={value}", given=own, served_as=name)
        # What is said of the function is said once.
        found.append(replace(checked, target=target, cautions=() if found else checked.cautions))
    return found


def _plan(options: argparse.Namespace, checked: Sequence[Checked]) -> Plan:
    from gilscope.backends.table import available  # noqa: PLC0415

    preset = PRESETS["quick" if options.quick else "thorough" if options.targets else "demo"]
    if options.slo and not options.quick:
        preset = SEARCH
    return Plan(
        targets=tuple(item.target for item in checked),
        backends=options.backends or (tuple(BackendName) if options.url else available()),
        load=Load(
            kind=LoadKind.CLOSED if options.rate is None else LoadKind.OPEN,
            users=(options.users or USERS) if options.rate is None else None,
            rate=options.rate,
            seconds=options.duration or preset.duration_s,
            warmup_seconds=preset.warmup_s if options.warm_up is None else options.warm_up,
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
        lens=not options.no_lens and options.url is None,
        url=options.url,
        twins=not options.slo,
        slo=str(options.slo) if options.slo else None,
        curve=options.curve,
        lenient=options.lenient,
        sweep=Sweep(options.sweep[0], tuple(map(float, options.sweep[1]))) if options.sweep else None,
    )


def _takes_no_profiles(options: argparse.Namespace) -> bool:
    """Whether no graphs are taken: of a search or a sweep they would be too many, of a service elsewhere none can be."""
    return bool(options.no_profiles or options.sweep or options.slo or options.url)


def _shown(python: str) -> str:
    """Write an interpreter's path as seen from here, so that a run that is passed on tells little of its machine."""
    here = Path.cwd()
    return str(Path(python).relative_to(here)) if Path(python).is_relative_to(here) else python


def _compare(options: argparse.Namespace, plan: Plan, start: Start) -> int:
    from gilscope.commands.drawing import draw_flame  # noqa: PLC0415
    from gilscope.commands.progress import watching  # noqa: PLC0415
    from gilscope.compare.experiment import Experiment, Tools  # noqa: PLC0415
    from gilscope.compare.machine import describe_machine  # noqa: PLC0415
    from gilscope.compare.plan import schedule  # noqa: PLC0415
    from gilscope.compare.seeking import CapacitySearch  # noqa: PLC0415
    from gilscope.compare.trial import Setting  # noqa: PLC0415
    from gilscope.verdict.break_even import of_sweep  # noqa: PLC0415
    from gilscope.verdict.capacity import fit_curve, judge_capacities  # noqa: PLC0415
    from gilscope.verdict.decision import judge  # noqa: PLC0415

    with ExitStack() as stack:
        slots = [] if plan.slo else list(schedule(plan))
        watcher = stack.enter_context(watching(plan, slots, verdicts_to_stderr=options.json))
        for caution in start.cautions:
            watcher.warns(caution)
        upstream_url = stack.enter_context(_upstream(plan))
        setting = Setting(plan, sys.executable, upstream_url, start.folder, options.load_master)
        experiment = (CapacitySearch if plan.slo else Experiment)(
            Run(__version__, start.name, start.at.isoformat(timespec="seconds"), describe_machine(), plan),
            setting,
            Tools(
                partial(_classify, plan, start.raising),
                partial(judge, seed=plan.seed),
                partial(draw_flame, plan),
                partial(of_sweep, seed=plan.seed),
                fit_curve,
                judge_capacities,
            ),
            watcher=watcher,
            begun=start.begun,
        )
        interrupted = _conduct(experiment)
    return _finish(options, experiment.evidence, start, interrupted=interrupted)


@contextmanager
def _upstream(plan: Plan) -> Iterator[str | None]:
    """Run the upstream once for the whole comparison, where a workload fetches from it."""
    from gilscope.workloads.catalogue import BUILT_IN  # noqa: PLC0415
    from gilscope.workloads.upstream_process import running_upstream  # noqa: PLC0415

    if plan.url is not None:
        yield None
        return
    built_in = [BUILT_IN[target.reference] for target in plan.targets if target.reference in BUILT_IN]
    if any(workload.needs_upstream for workload in built_in):
        with running_upstream() as url:
            yield url
    else:
        yield None


def _classify(plan: Plan, raising: frozenset[str], target: Target) -> Classification | None:
    from gilscope.classify.classifying import classify  # noqa: PLC0415

    if target.workload in raising or plan.url is not None:
        return None
    found = classify(target.reference, {**plan.given, **target.given}, plan.app_dir)
    return replace(found, target=target.workload)


def _conduct(experiment: Experiment) -> bool:
    """Run it to its end or to Ctrl-C; return whether it was interrupted."""
    try:
        experiment.conduct()
    except KeyboardInterrupt:
        return True
    return False


def _finish(options: argparse.Namespace, evidence: Evidence, start: Start, *, interrupted: bool) -> int:
    """Write the report on what was measured and say where it is."""
    from gilscope.commands.drawing import render_report  # noqa: PLC0415
    from gilscope.compare.store import summary  # noqa: PLC0415
    from gilscope.report.console import describe_sweep  # noqa: PLC0415

    run = evidence.run
    if not run.trials and not run.searched:
        print("interrupted before the first trial ended: nothing was kept", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    report = start.folder.write_report(render_report(evidence))
    if options.json:
        print(json.dumps(summary(run, start.folder.path), indent=1))  # noqa: T201
    if told := describe_sweep(run):
        print(f"{told}\n", file=sys.stderr if options.json else sys.stdout)
    if interrupted:
        count = len(run.trials) + len(run.searched)
        print(f"interrupted after {count} trials; they are kept", file=sys.stderr)  # noqa: T201
    print(
        _closing(run, report, time.monotonic() - start.begun), file=sys.stderr if options.json else sys.stdout
    )
    if interrupted:
        return INTERRUPTED
    return 0 if any(trial.valid for trial in (*run.trials, *run.searched)) else 1


def _closing(run: Run, report: Path, total_s: float) -> str:
    timing = replace(run.timing, total_s=total_s)
    return (
        f"{total_s:.0f} s in all: {timing.load_s:.0f} s under load, {timing.profiling_s:.0f} s profiling "
        f"({timing.useful_share:.0%} of it together)\nreport: {report}"
    )
