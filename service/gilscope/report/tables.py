"""All figures of a workload as tables: one of backends, one of single trials, one of what their requests did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gilscope.model import (
    Anatomy,
    BackendName,
    GilWaitShare,
    Interval,
    Latency,
    LensReading,
    ProbeLatency,
    StateSeconds,
    ThreadRole,
    Trial,
    Verdict,
)
from gilscope.palette import STAGES
from gilscope.quantiles import SOUND_P99
from gilscope.report import facts as known
from gilscope.report import formats
from gilscope.report.anatomy import measured
from gilscope.report.facts import Facts, OffCpu
from gilscope.report.stacks import held_share

ROUGH = f"rough: fewer than {SOUND_P99:,} samples lie behind this p99"


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure; ``below`` is written under it in small (its interval), ``hover`` explains it."""

    text: str
    below: str = ""
    hover: str = ""
    rough: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of a backend, or ``instead`` of them the reason why there are none."""

    backend: BackendName
    cells: tuple[Cell, ...] = ()
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under two lines of heads: groups (with how many columns each spans), and columns."""

    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def rough(self) -> bool:
        """Whether any figure is rough, so that a footnote has to say what that means."""
        return any(cell.rough for row in self.rows for cell in row.cells)


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial's own figures; ``counted`` is False where they must not decide anything."""

    block: str
    backend: BackendName
    cells: tuple[str, ...]
    counted: bool


TRIAL_COLUMNS = (
    "requests", "errors", "req/s", "p50 ms", "p99 ms", "ping p99 ms", "pings answered", "generator CPU",
    "generator waits", "sent late ms",
)  # fmt: skip


def backend_table(rows: tuple[Facts, ...], verdict: Verdict | None) -> Table:
    """Tabulate the figures of each backend.

    GIL wait has columns only where it was measured; where there was no GIL, time off the CPU has them.
    """
    gil = known.with_gil(rows)
    shares = [known.gil_wait(facts) if gil else known.off_cpu(facts) for facts in rows]
    wait_groups = (("waiting for the GIL" if gil else "off the CPU", 2),) if any(shares) else ()
    wait_columns = ("loop", "workers") if any(shares) else ()
    waits = [_waits(share) if any(shares) else () for share in shares]
    return Table(
        groups=(
            ("answers", 3), ("latency, ms", 4), ("/ping, ms", 2), *wait_groups, ("service", 2),
        ),
        columns=(
            "requests", "errors", "req/s", "p50", "p95", "p99", "max", "p50", "p99", *wait_columns,
            "CPU cores", "memory MB",
        ),
        rows=tuple(_row(facts, verdict, own) for facts, own in zip(rows, waits, strict=True)),
    )  # fmt: skip


def trial_rows(rows: tuple[Facts, ...]) -> tuple[TrialRow, ...]:
    """List every trial, block by block."""
    trials = [trial for facts in rows for trial in (*facts.trials, *facts.twins)]
    return tuple(_trial_row(trial) for trial in sorted(trials, key=lambda trial: trial.block))


@dataclass(frozen=True, slots=True)
class Details:
    """The mean request of every trial to the microsecond, each backend's mean first, and its threads' shares.

    ``lens`` says whether any of it comes from a lens, ``gil`` whether there was a GIL.
    """

    columns: tuple[str, ...]
    rows: tuple[TrialRow, ...]
    lens: bool
    gil: bool


THREAD_COLUMNS = ("loop waits", "loop holds", "workers wait", "workers hold", "looks")
WITHOUT_GIL = ("loop off CPU", "workers off CPU", "looks")
"""The same where there was no GIL."""


def request_details(rows: tuple[Facts, ...]) -> Details | None:
    """Tabulate the anatomies as they were measured; None where there are none."""
    found = [trial.anatomy_ms for facts in rows for trial in facts.trials if trial.anatomy_ms]
    if not found:
        return None
    present = {name for row in found for name in measured(row)}
    stages = [name for name in STAGES if name in present]
    lens = any(trial.lens for facts in rows for trial in facts.trials)
    gil = known.with_gil(rows)
    columns = (THREAD_COLUMNS if gil else WITHOUT_GIL) if lens else ()

    def cells(row: Anatomy | None, reading: LensReading | None) -> tuple[str, ...]:
        return (*_stages(row, stages), *(_seen(reading, columns) if lens else ()))

    return Details(
        columns=("mean ms", *(STAGES[name].label for name in stages), *columns),
        rows=tuple(row for facts in rows for row in _details(facts, cells)),
        lens=lens,
        gil=gil,
    )


def _details(
    facts: Facts, cells: Callable[[Anatomy | None, LensReading | None], tuple[str, ...]]
) -> Iterator[TrialRow]:
    if facts.valid:
        yield TrialRow("all", facts.backend, cells(known.anatomy(facts), known.lens(facts)), counted=True)
    for trial in sorted(facts.trials, key=lambda trial: trial.block):
        yield TrialRow(place(trial), facts.backend, cells(trial.anatomy_ms, known.seen(trial)), trial.valid)


def _stages(row: Anatomy | None, stages: Sequence[str]) -> tuple[str, ...]:
    values = measured(row) if row else {}
    figures = (row.mean if row else None, *(values.get(name) for name in stages))
    return tuple(map(formats.microseconds, figures))


def _seen(reading: LensReading | None, columns: Sequence[str]) -> tuple[str, ...]:
    """Write the shares of the loop and of the workers that the columns ask for, and how often the lens looked."""
    if reading is None:
        return (formats.ABSENT,) * len(columns)
    shares: list[float | None] = []
    for role in (ThreadRole.LOOP, ThreadRole.WORKER):
        spent = reading.roles.get(role, StateSeconds(0, 0, 0, 0))
        own = (spent.off_cpu_share,) if columns is WITHOUT_GIL else (spent.gil_wait_share, held_share(spent))
        shares += own if spent.wall_s else (None,) * len(own)
    return (*map(formats.percent, shares), formats.count(reading.samples))


def _row(facts: Facts, verdict: Verdict | None, waits: tuple[Cell, ...]) -> Row:
    if not facts.trials:
        reason = f"not tried: {facts.excluded}" if facts.excluded else "no trial yet"
        return Row(facts.backend, instead=reason)
    cells = (*_answers(facts), *_latencies(facts, verdict), *_pings(facts, verdict))
    return Row(facts.backend, (*cells, *waits, *_service(facts)))


def _answers(facts: Facts) -> tuple[Cell, ...]:
    rate = known.rate(facts)
    return (
        Cell(formats.count(facts.requests)),
        Cell(formats.count(facts.errors)),
        Cell(formats.significant(rate.mid if rate else None), formats.span(facts.interval)),
    )


def _latencies(facts: Facts, verdict: Verdict | None) -> tuple[Cell, ...]:
    latency: Latency | None = known.latency(facts)
    if latency is None:
        return (Cell(formats.ABSENT),) * 4
    interval = verdict.p99_ms.get(facts.backend) if verdict else None
    return (
        _figure(latency.p50),
        _figure(latency.p95),
        _p99(latency.p99, interval, rough=facts.rough),
        _figure(latency.max),
    )


def _pings(facts: Facts, verdict: Verdict | None) -> tuple[Cell, ...]:
    ping: ProbeLatency | None = known.ping(facts)
    if ping is None:
        return (Cell(formats.ABSENT),) * 2
    interval = verdict.probe_p99_ms.get(facts.backend) if verdict else None
    return _figure(ping.p50), _p99(ping.p99, interval, rough=facts.rough_ping)


def _waits(share: GilWaitShare | OffCpu | None) -> tuple[Cell, ...]:
    loop, worker = (share.loop, share.worker) if share else (None, None)
    return Cell(formats.percent(loop)), Cell(formats.percent(worker))


def _service(facts: Facts) -> tuple[Cell, ...]:
    return (
        _figure(known.mean_of(facts, lambda trial: trial.cpu_cores)),
        _figure(known.mean_of(facts, lambda trial: trial.memory_mb)),
    )


def _figure(value: float | None) -> Cell:
    return Cell(formats.significant(value))


def _p99(value: float, interval: Interval | None, *, rough: bool) -> Cell:
    """Write a p99: the verdict's, the median of the blocks' own, wherever there is one."""
    value = interval.mid if interval else value
    return Cell(formats.significant(value), formats.span(interval), ROUGH if rough else "", rough)


def _trial_row(trial: Trial) -> TrialRow:
    latency, ping, generator = trial.latency_ms, trial.probe_latency_ms, trial.generator
    cells = (
        formats.count(trial.requests),
        formats.count(trial.errors),
        formats.significant(trial.throughput_rps),
        formats.significant(latency.p50 if latency else None),
        formats.significant(latency.p99 if latency else None),
        formats.significant(ping.p99 if ping else None),
        f"{formats.count(trial.probes_answered)} of {formats.count(trial.probes_due)}",
        formats.percent(generator.cpu_share if generator else None),
        formats.percent(generator.runqueue_share if generator else None),
        formats.significant(generator.dispatch_lag_p99_ms if generator else None),
    )
    return TrialRow(place(trial), trial.backend, cells, trial.valid)


def place(trial: Trial) -> str:
    """Name a trial's block, and what else tells it from the others of its backend."""
    twin, again = ", A/A" if trial.twin else "", ", 2nd attempt" if trial.attempt > 1 else ""
    return f"{formats.block(trial.block)}{twin}{again}"
