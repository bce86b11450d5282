"""Verdicts, trials and classifications for the terminal: plain text, readable in a log as well."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from textwrap import fill

from gilscope.model import BackendName, Change, Classification, Interval, Run, Trial, Verdict
from gilscope.report.cards import describe_noise
from gilscope.report.classes import put_in_words
from gilscope.report.facts import how_far
from gilscope.report.failures import taken_apart
from gilscope.report.formats import NO_BREAK, significant
from gilscope.report.growth import describe_break_evens

WIDTH = 100


def headline(verdict: Verdict) -> str:
    """Say the answer in a few words."""
    if verdict.winner is not None:
        return f"{verdict.workload}: {verdict.winner}"
    if verdict.recommended is None:
        between = f" between {', '.join(verdict.ties)}" if verdict.ties else ""
        return f"{verdict.workload}: {f'undecided{between}' if verdict.throughput_rps else 'no verdict'}"
    if len(verdict.ties) > 1:
        return f"{verdict.workload}: a tie of {', '.join(verdict.ties)}; use {verdict.recommended}"
    return f"{verdict.workload}: {verdict.recommended}, with nothing to compare it to"


def describe_verdict(verdict: Verdict) -> str:
    """Render headline, reason, figures and caveats."""
    noise = (_indented(describe_noise(verdict.noise)),) if verdict.noise else ()
    return "\n".join(
        (headline(verdict), _indented(verdict.reason), *_table(verdict), *noise, *_caveats(verdict))
    )


def _indented(text: str) -> str:
    return fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _table(verdict: Verdict) -> Iterator[str]:
    if verdict.throughput_rps:
        yield f"  {'':<13}{'requests/s':>22}{'p99 ms':>22}{'/ping p99 ms':>22}"
    for backend in verdict.throughput_rps:
        columns = (verdict.throughput_rps, verdict.p99_ms, verdict.probe_p99_ms)
        rough = ((), verdict.rough_p99, verdict.rough_probe_p99)
        cells = (
            ("~" if backend in marked else "") + _cell(column.get(backend))
            for marked, column in zip(rough, columns, strict=True)
        )
        yield f"  {_marked(verdict, backend):<13}{''.join(f'{cell:>22}' for cell in cells)}"
    if verdict.throughput_rps and (verdict.rough_p99 or verdict.rough_probe_p99):
        yield "  ~ rough: fewer than 2,000 requests, or pings, lie behind this p99"


def _marked(verdict: Verdict, backend: BackendName) -> str:
    return f"{'>' if backend is verdict.recommended else ' '} {backend}"


def _cell(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{significant(interval.mid)} ({significant(interval.low)}-{significant(interval.high)})"


def _caveats(verdict: Verdict) -> Iterator[str]:
    for caveat in verdict.caveats:
        yield fill(caveat, WIDTH, initial_indent="  ! ", subsequent_indent="    ")


def describe_classification(found: Classification) -> str:
    """Render what a function does to the GIL: its class, what follows from it, and the figures."""
    kind = put_in_words(found)
    lines = (
        f"{found.target}: {kind.name}",
        *(fill(reason, WIDTH, initial_indent="  - ", subsequent_indent="    ") for reason in kind.reasons),
        _indented(f"{kind.figures}; {kind.facts}"),
    )
    return "\n".join(lines).replace(NO_BREAK, " ")


def describe_sweep(run: Run) -> str:
    """Say from which size of the work on each backend pays; nothing for a run without a sweep."""
    if run.plan.sweep is None:
        return ""
    sentences = describe_break_evens(run.break_evens, run.plan.sweep.parameter)
    told = [fill(one, WIDTH, initial_indent="  - ", subsequent_indent="    ") for one in sentences]
    return "\n".join(("break-even:", *(told or ["  - too few sizes could be measured"]))).replace(
        NO_BREAK, " "
    )


def describe_state(run: Run, folder: str, writer: int | None) -> str:
    """Say that a run is partial, whether it still runs (in the process ``writer``) or can be finished; and its cautions.

    Nothing for a run that is complete and was not resumed on another system. ``writer`` is 0 where its number is not known.
    """
    told = [f"! {caution.message}\n  -> {caution.remedy}" for caution in run.cautions]
    if run.complete:
        return "\n".join(told)
    if writer is None:
        way_on = f"it was interrupted\n  -> gilscope compare --resume {folder}"
    else:
        way_on = f"it still runs{f' (process {writer})' if writer else ''}"
    return "\n".join((*told, f"! {run.name} is partial: {how_far(run)}; {way_on}"))


def describe_changes(changes: Sequence[Change], unlike: Sequence[str]) -> str:
    """Render what changed between two runs: a line per backend, differences that are shown marked."""
    lines = [fill(f"not the same: {what}", WIDTH, subsequent_indent="    ") for what in unlike]
    for workload in dict.fromkeys(change.workload for change in changes):
        lines.append(f"\n{workload + ', now / before':<15}{'requests/s':>24}{'p99':>24}{'/ping p99':>24}")
        for change in changes:
            if change.workload == workload:
                cells = (change.throughput, change.p99, change.probe_p99)
                lines.append(f"  {change.backend:<13}{''.join(f'{_ratio_cell(cell):>24}' for cell in cells)}")
    if not changes:
        return "\n".join((*lines, "the two runs have no workload and backend in common"))
    return "\n".join((*lines, "", "* a difference is shown: the 95 % interval leaves 1 out"))


def describe_pythons(run: Run) -> str:
    """Render how the Pythons of a run compare: a line per function, backend and later Python; nothing for a single one."""
    lines: list[str] = []
    for workload in dict.fromkeys(change.workload for change in run.python_changes):
        lines.append(
            f"{workload + ', Python against Python':<38}{'requests/s':>22}{'p99':>22}{'/ping p99':>22}"
        )
        for change in run.python_changes:
            if change.workload == workload:
                cells = (change.throughput, change.p99, change.probe_p99)
                name = f"{change.backend}, {change.python} / {change.before}"
                lines.append(f"  {name:<36}{''.join(f'{_ratio_cell(cell):>22}' for cell in cells)}")
    return "\n".join((*lines, "* a difference is shown: the 95 % interval leaves 1 out")) if lines else ""


def _ratio_cell(ratio: Interval) -> str:
    if not math.isfinite(ratio.mid):
        return "- "
    mark = "*" if ratio.leaves_out(1.0) else " "
    known = math.isfinite(ratio.low + ratio.high)
    interval = f" ({significant(ratio.low)}-{significant(ratio.high)})" if known else ""
    return f"{significant(ratio.mid)}x{interval}{mark}"


def describe_trial(trial: Trial) -> str:
    """Render a trial's figures in one line, and below it why they do not count."""
    name = f"{trial.workload} {trial.backend}{' again (A/A)' if trial.twin else ''} block {trial.block + 1}"
    name += ", 2nd attempt" if trial.attempt > 1 else ""
    name += f" at {significant(trial.load.rate)}/s" if trial.load.rate else ""
    if trial.latency_ms is None:
        what = trial.warnings[0].message if trial.warnings else "nothing measured"
        return f"{name}: {what}{_first_error(trial)}"
    probe = trial.probe_latency_ms
    ping = f", /ping p99 {significant(probe.p99)} ms" if probe else ""
    failed = f", {trial.errors} failed" if trial.errors else ""
    return (
        f"{name}: {significant(trial.throughput_rps)} requests/s, p99 {significant(trial.latency_ms.p99)} ms"
        f"{ping}{failed}{_spoilt(trial)}"
    )


def _spoilt(trial: Trial) -> str:
    """Say what makes a trial invalid, with all its reasons but mere warnings."""
    if trial.valid:
        return ""
    first = trial.warnings[0]
    return f"\n  does not count: {first.message}{_first_error(trial) if first.code == 'errors' else ''}"


def _first_error(trial: Trial) -> str:
    """Say in a line what went wrong first: with a request, or with the service."""
    line = taken_apart(trial.first_error).line if trial.first_error else ""
    return f"\n  {line}" if line else ""
