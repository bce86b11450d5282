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
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gilscope import __version__
from gilscope.commands.planning import add_arguments, check, make_plan
from gilscope.errors import INTERRUPTED
from gilscope.model import (
    Caution,
    Classification,
    Evidence,
    Plan,
    Run,
    Target,
)

__all__ = ["add_arguments", "run"]

if TYPE_CHECKING:
    from gilscope.compare.experiment import Experiment
    from gilscope.compare.store import RunFolder
    from gilscope.live.control import LivePage


def run(options: argparse.Namespace) -> int:
    """Compare, print verdicts as they come, write the report."""
    from gilscope.compare.store import RunFolder, default_folder  # noqa: PLC0415

    begun = time.monotonic()
    checked = check(options)
    plan = make_plan(options, checked)
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


def _compare(options: argparse.Namespace, plan: Plan, start: Start) -> int:
    from gilscope.commands.live import shown  # noqa: PLC0415

    if options.live is None:
        return _run_and_finish(options, plan, start, None)
    with shown(plan, start.name, start.folder.path, options.live) as page:
        code = _run_and_finish(options, plan, start, page)
        page.ends(start.folder.report)
    return code


def _run_and_finish(options: argparse.Namespace, plan: Plan, start: Start, page: LivePage | None) -> int:
    from gilscope.commands.drawing import draw_flame  # noqa: PLC0415
    from gilscope.commands.live import LiveWatcher  # noqa: PLC0415
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
        if page is not None:
            watcher = LiveWatcher(watcher, page, plan, slots)
        for caution in start.cautions:
            watcher.warns(caution)
        upstream_url = stack.enter_context(_upstream(plan))
        setting = Setting(
            plan, sys.executable, upstream_url, start.folder, options.load_master, live=page is not None
        )
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
