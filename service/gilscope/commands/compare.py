"""Compare the backends under real load and show why one of them wins.

TARGET is a built-in workload, package.module:function or path/to/file.py:function; without one, the demo
set runs. Every backend is tried in a fresh service process, in several blocks of shuffled order; profiles
are taken after the figures. For example:

  gilscope compare primes --arg n=20000
  gilscope compare my.py:work --arg n=20000 --quick

One that was interrupted, in whatever way, is finished with: gilscope compare --resume RUN
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from gilscope import __version__
from gilscope.commands.compare_options import add_arguments, require_resume_alone
from gilscope.commands.planning import check, environments_of, make_plan
from gilscope.errors import INTERRUPTED, DiskFullError, ServiceGoneError, WorkersError
from gilscope.model import (
    Classification,
    Evidence,
    Plan,
    Run,
    Target,
    Timing,
)

__all__ = ["add_arguments", "run"]

if TYPE_CHECKING:
    from gilscope.commands.resuming import Start
    from gilscope.compare.experiment import Experiment
    from gilscope.compare.store import RunFolder
    from gilscope.compare.trial import Setting
    from gilscope.environments import Environment
    from gilscope.live.control import LivePage


def run(options: argparse.Namespace) -> int:
    """Compare, print verdicts as they come, write the report."""
    return _begin(options) if options.resume is None else _resume(options)


def _begin(options: argparse.Namespace) -> int:
    from gilscope.commands.resuming import Start  # noqa: PLC0415
    from gilscope.compare.holding import holding  # noqa: PLC0415
    from gilscope.compare.machine import describe_machine  # noqa: PLC0415
    from gilscope.compare.store import OWN_FOLDER, RunFolder, default_folder  # noqa: PLC0415

    begun = time.monotonic()
    if options.out is not None:
        RunFolder.require_new(options.out)
    environments = environments_of(options)
    checked = check(options, environments)
    plan = make_plan(options, checked, environments)
    now = datetime.now(UTC)
    names = dict.fromkeys(target.name_in_service for target in plan.targets)
    name = "-".join(names) if options.targets else "demo"
    known = Evidence(Run(__version__, name, now.isoformat(timespec="seconds"), describe_machine(), plan))
    path = options.out or default_folder(name, now)
    raising = frozenset(item.target.workload for item in checked if item.raises)
    cautions = (
        *(caution for one in environments for caution in one.cautions),
        *(caution for item in checked for caution in item.cautions),
    )
    with holding(path, remedy=OWN_FOLDER):
        folder = RunFolder.create(path)
        try:
            return _compare(options, Start(known, begun, folder, cautions, raising, environments))
        finally:
            folder.discard_if_empty()


def _resume(options: argparse.Namespace) -> int:
    from gilscope.commands.resuming import RUNNING, environments_again, take_up  # noqa: PLC0415
    from gilscope.compare.holding import holding  # noqa: PLC0415
    from gilscope.compare.store import RunFolder  # noqa: PLC0415

    begun = time.monotonic()
    require_resume_alone(options)
    folder = RunFolder(options.resume)
    if folder.read_run().complete and not options.textbook:
        return _nothing_to_resume(options, folder)
    with holding(folder.path, remedy=RUNNING):
        known = folder.read()
        if not known.run.complete:
            return _compare(options, take_up(folder, known, begun, options.token))
        code = _nothing_to_resume(options, folder)
        if not _has_textbook(folder, known.run.plan):
            return _add_textbook(options, folder, known, environments_again(known.run))
        return code


def _nothing_to_resume(options: argparse.Namespace, folder: RunFolder) -> int:
    """Say where the report of a complete run is; where that was not reached, write it."""
    from gilscope.commands.drawing import render_report  # noqa: PLC0415
    from gilscope.compare.store import summary  # noqa: PLC0415
    from gilscope.compare.textbook_file import read_textbook  # noqa: PLC0415

    if not folder.has_report:
        folder.write_report(render_report(folder.read(), read_textbook(folder.path)))
    if options.json:
        print(json.dumps(summary(folder.read_run(), folder.path), indent=1))  # noqa: T201
    told = f"nothing to resume: {folder.path} is complete\nreport: {folder.report}"
    print(told, file=sys.stderr if options.json else sys.stdout)
    return 0


def _has_textbook(folder: RunFolder, plan: Plan) -> bool:
    """Whether the textbook's table is beside a run, and has all of its Pythons."""
    from gilscope.compare.textbook_file import read_textbook  # noqa: PLC0415

    textbook = read_textbook(folder.path)
    measured = {one.python.name for one in textbook.measured} if textbook else set()
    return bool(measured) and measured.issuperset(one.name for one in plan.pythons)


def _compare(options: argparse.Namespace, start: Start) -> int:
    from gilscope.commands.live import shown  # noqa: PLC0415

    run, folder = start.known.run, start.folder
    try:
        if options.live is None:
            return _run_and_finish(options, start, None)
        with shown(run.plan, run.name, folder.path, options.live) as page:
            code = _run_and_finish(options, start, page)
            page.ends(folder.report)
            return code
    except DiskFullError as problem:
        if not folder.has_run:
            raise
        raise DiskFullError(
            problem.message, remedy=f"make room there, then: {_resuming(options, folder)}"
        ) from problem
    except (WorkersError, ServiceGoneError) as problem:
        raise type(problem)(
            problem.message, remedy=f"{problem.remedy}, and {_resuming(options, folder)}"
        ) from problem


def _resuming(options: argparse.Namespace, folder: RunFolder) -> str:
    textbook = " --textbook" if options.textbook else ""
    return f"gilscope compare --resume {shlex.quote(str(folder.path))}{textbook}"


def _run_and_finish(options: argparse.Namespace, start: Start, page: LivePage | None) -> int:
    from gilscope.commands.drawing import draw_flame  # noqa: PLC0415
    from gilscope.commands.live import LiveWatcher  # noqa: PLC0415
    from gilscope.commands.progress import watching  # noqa: PLC0415
    from gilscope.compare.experiment import Experiment, Tools  # noqa: PLC0415
    from gilscope.compare.plan import schedule  # noqa: PLC0415
    from gilscope.compare.resuming import left  # noqa: PLC0415
    from gilscope.compare.seeking import CapacitySearch  # noqa: PLC0415
    from gilscope.compare.trial import Setting  # noqa: PLC0415
    from gilscope.report.facts import how_far  # noqa: PLC0415
    from gilscope.scratch import scratch  # noqa: PLC0415
    from gilscope.verdict.break_even import of_sweep  # noqa: PLC0415
    from gilscope.verdict.capacity import fit_curve, judge_capacities  # noqa: PLC0415
    from gilscope.verdict.decision import judge  # noqa: PLC0415
    from gilscope.verdict.pythons import across_pythons  # noqa: PLC0415

    run = start.known.run
    plan = run.plan
    with ExitStack() as stack:
        stack.enter_context(scratch())
        slots = [] if plan.slo else list(schedule(plan))
        open_slots = [] if plan.slo else list(left(plan, run.trials))
        watcher = stack.enter_context(watching(plan, slots, verdicts_to_stderr=options.json, left=open_slots))
        if page is not None:
            watcher = LiveWatcher(watcher, page, plan, slots)
            page.tell("note", {"text": f"resumed: {how_far(run)}" if run.resumed_at else "preparing"})
        for caution in start.cautions:
            watcher.warns(caution)
        upstream_url = stack.enter_context(_upstream(plan))
        setting = Setting(
            plan,
            sys.executable,
            upstream_url,
            start.folder,
            plan.load_master,
            live=page is not None,
            executables=start.executables,
            token=options.token,
        )
        experiment = (CapacitySearch if plan.slo else Experiment)(
            start.known,
            setting,
            Tools(
                partial(_classify, setting, start.raising),
                partial(judge, seed=plan.seed),
                partial(draw_flame, plan),
                partial(of_sweep, seed=plan.seed),
                fit_curve,
                judge_capacities,
                partial(across_pythons, seed=plan.seed),
            ),
            watcher=watcher,
            begun=start.begun,
        )
        start.folder.write_run(run)  # From here on it can be resumed.
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


def _classify(setting: Setting, raising: frozenset[str], target: Target) -> Classification | None:
    from gilscope.classify.classifying import classify  # noqa: PLC0415

    plan = setting.plan
    if target.workload in raising or plan.url is not None:
        return None
    python = setting.python_of(target)
    found = classify(target.reference, {**plan.given, **target.given}, plan.app_dir, python=python)
    return replace(found, target=target.workload)


def _conduct(experiment: Experiment) -> bool:
    """Run it to its end or to Ctrl-C; return whether it was interrupted."""
    try:
        experiment.conduct()
    except KeyboardInterrupt:
        return True
    return False


def _finish(options: argparse.Namespace, evidence: Evidence, start: Start, *, interrupted: bool) -> int:
    """Write the report on what was measured and say where it is; the textbook's table, if it is wanted, comes after that."""
    from gilscope.commands.drawing import render_report  # noqa: PLC0415
    from gilscope.compare.store import summary  # noqa: PLC0415
    from gilscope.compare.textbook_file import read_textbook  # noqa: PLC0415
    from gilscope.report.console import describe_pythons, describe_sweep  # noqa: PLC0415

    run, folder = evidence.run, start.folder
    count = len(run.trials) + len(run.searched)
    if not count:
        return _nothing_measured(options, run, folder)
    report = folder.write_report(render_report(evidence, read_textbook(folder.path)))
    if options.json:
        print(json.dumps(summary(run, folder.path), indent=1))  # noqa: T201
    for told in filter(None, (describe_sweep(run), describe_pythons(run))):
        print(f"{told}\n", file=sys.stderr if options.json else sys.stdout)
    if interrupted:
        told = f"interrupted after {count} trials; they are kept\n  -> {_resuming(options, folder)}"
        print(told, file=sys.stderr)  # noqa: T201
    total_s = start.known.run.timing.total_s + time.monotonic() - start.begun
    told = _closing(run.timing, total_s)
    print(f"{told}\nreport: {report}", file=sys.stderr if options.json else sys.stdout)
    if interrupted:
        return INTERRUPTED
    code = _add_textbook(options, folder, evidence, start.environments) if options.textbook else 0
    return code or (0 if any(trial.valid for trial in (*run.trials, *run.searched)) else 1)


def _add_textbook(
    options: argparse.Namespace, folder: RunFolder, evidence: Evidence, pythons: Sequence[Environment]
) -> int:
    """Measure the textbook's table on the run's Pythons (gilscope's own, if it has none), and put it into the report.

    Raises:
        GilscopeError: it cannot be measured; what could be is in the report.
    """
    from gilscope.commands.drawing import render_report  # noqa: PLC0415
    from gilscope.commands.textbook import environments, keep  # noqa: PLC0415
    from gilscope.compare.textbook_file import read_textbook  # noqa: PLC0415
    from gilscope.report.textbook import summary_of  # noqa: PLC0415

    pythons = pythons or environments(())
    try:
        found = keep(folder.path, pythons)
    finally:
        textbook = read_textbook(folder.path)
        report = folder.write_report(render_report(evidence, textbook))
    if found < len(pythons):
        told = f"the textbook's table was interrupted: {found} of {len(pythons)} Pythons were measured whole"
        print(f"{told}\n  -> {_resuming(options, folder)}", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    assert textbook is not None  # it has just been written
    told = f"the textbook: {summary_of(textbook)}\nreport: {report}"
    print(told, file=sys.stderr if options.json else sys.stdout)
    return 0


def _nothing_measured(options: argparse.Namespace, run: Run, folder: RunFolder) -> int:
    """Take back a run that has just begun; one that was there before stays."""
    told = "interrupted before the first trial ended: "
    if run.resumed_at:
        print(f"{told}the run is as it was\n  -> {_resuming(options, folder)}", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    folder.take_back_run()
    print(f"{told}nothing was kept", file=sys.stderr)  # noqa: T201
    return INTERRUPTED


def _closing(timing: Timing, total_s: float) -> str:
    share = replace(timing, total_s=total_s).useful_share
    return (
        f"{total_s:.0f} s in all: {timing.load_s:.0f} s under load, {timing.profiling_s:.0f} s profiling "
        f"({share:.0%} of it together)"
    )
