"""One function on several Pythons: ratios over shared blocks, and what is shown of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from factories import ASYNCIO, BLOCKS, PROCESSES, SHAPES, THREADS, make_evidence, make_samples, make_trial

from gilscope.compare.store import RunFolder
from gilscope.model import BackendName, Evidence, Interpreter, Interval, Samples, Target, Trial
from gilscope.report.console import describe_pythons
from gilscope.report.formats import ABSENT, NO_BREAK, TIMES
from gilscope.report.html import render
from gilscope.report.method import command
from gilscope.report.pythons import COLUMNS, WITHOUT_GIL, build_pythons
from gilscope.report.sections import build_section
from gilscope.verdict.pythons import across_pythons

OLD = Interpreter(
    "3.11.7", "/old/python", "3.11.7", free_threaded=False, gil_enabled=True, start_method="forkserver"
)
NEW = replace(OLD, name="3.14.2", path="/new/python", version="3.14.2")
FREE = replace(NEW, name="3.14.2t", path="/free/python", free_threaded=True, gil_enabled=False)

SCALING = f"0.987{TIMES}"
"""What threads have of the throughput of asyncio, in the made-up runs."""


def measured(
    factors: dict[Interpreter, float],
    backends: tuple[BackendName, ...] = (ASYNCIO, THREADS),
    blocks: int = BLOCKS,
    *,
    gil: bool | None = None,
) -> Evidence:
    """Make a run of primes on these Pythons, each so many times as fast as usual."""
    run = make_evidence().run
    targets, trials, samples = [], list[Trial](), dict[str, Samples]()
    for python, factor in factors.items():
        name = f"primes, Python {python.name}"
        targets.append(Target(name, "primes", served_as="primes", python=python.name))
        for backend in backends:
            shape = SHAPES["primes"][backend]
            for block in range(blocks):
                drawn = make_samples(replace(shape, rps=shape.rps * factor), seed=block + len(samples))
                trial = make_trial("primes", backend, block, drawn)
                own = not python.free_threaded if gil is None else gil
                trials.append(
                    replace(trial, workload=name, gil_enabled=own, samples=f"{name}-{trial.samples}")
                )
                samples[trials[-1].samples or ""] = drawn
    plan = replace(run.plan, targets=tuple(targets), pythons=tuple(factors), backends=backends, blocks=blocks)
    run = replace(run, plan=plan, trials=tuple(trials), flames=(), verdicts=())
    changes = across_pythons(plan, trials, samples, seed=1)
    return Evidence(replace(run, python_changes=changes), samples)


def test_a_python_that_is_half_as_fast_again_is_shown_to_be() -> None:
    found = measured({OLD: 1.0, NEW: 1.5}).run.python_changes
    assert [(one.workload, one.backend, one.python, one.before) for one in found] == [
        ("primes", ASYNCIO, "3.14.2", "3.11.7"),
        ("primes", THREADS, "3.14.2", "3.11.7"),
    ]
    for one in found:
        assert one.throughput.mid == pytest.approx(1.5, rel=0.05)
        assert one.throughput.low > 1.3


def test_equal_pythons_show_no_difference() -> None:
    for one in measured({OLD: 1.0, NEW: 1.0}).run.python_changes:
        assert not one.throughput.leaves_out(1.0)


def test_of_a_single_block_no_interval_is_known() -> None:
    evidence = measured({OLD: 1.0, NEW: 2.0}, blocks=1)
    assert all(not one.throughput.leaves_out(1.0) for one in evidence.run.python_changes)
    assert "2.0" in describe_pythons(evidence.run)
    assert "*" not in describe_pythons(evidence.run).splitlines()[1]


@pytest.mark.parametrize("blocks", [1, BLOCKS])
def test_what_is_not_known_is_written_and_read_again(tmp_path: Path, blocks: int) -> None:
    run = measured({OLD: 1.0, NEW: 2.0}, blocks=blocks).run
    folder = RunFolder.create(tmp_path / "run")
    folder.write_run(run)
    again = folder.read_run()
    assert repr(again.python_changes) == repr(run.python_changes)  # NaN is not equal to itself
    assert ("nan" in repr(again.python_changes)) is (blocks == 1)
    assert again.plan.pythons == (OLD, NEW)


def test_what_has_no_trial_on_a_second_python_is_not_compared() -> None:
    evidence = measured({OLD: 1.0, NEW: 1.0})
    lost = [
        replace(trial, valid=False) if (trial.backend is THREADS and "3.11.7" in trial.workload) else trial
        for trial in evidence.run.trials
    ]
    found = across_pythons(evidence.run.plan, lost, evidence.samples, seed=1)
    assert [one.backend for one in found] == [ASYNCIO]


def test_the_terminal_marks_what_is_shown() -> None:
    told = describe_pythons(measured({OLD: 1.0, NEW: 1.5}).run)
    assert "asyncio, 3.14.2 / 3.11.7" in told
    assert told.endswith("* a difference is shown: the 95 % interval leaves 1 out")
    assert describe_pythons(make_evidence().run) == ""


def test_the_report_has_a_line_for_each_backend_on_each_python() -> None:
    evidence = measured({OLD: 1.0, NEW: 1.5})
    (section,) = build_pythons(evidence)
    assert section.workload == "primes"
    assert [(row.backend, row.python) for row in section.rows] == [
        (backend, python) for backend in (ASYNCIO, THREADS) for python in ("3.11.7", "3.14.2")
    ]
    ratios = [row.cells[1].text for row in section.rows]
    assert ratios[0] == ratios[2] == ABSENT
    assert ratios[1].endswith("*")
    assert section.notes == ()
    for drawn in (section.chart.wide, section.chart.narrow):
        assert drawn.count("<circle") == 4
        assert "threads on 3.14.2" in drawn
    page = render(evidence, graphs={})
    assert "primes on 2 Pythons" in page
    assert "1 workload behind one aiohttp service" in page
    assert "CPython 3.11.7 and 3.14.2" in page
    assert command(evidence.run.plan).endswith("--python /old/python /new/python")


def test_a_backend_that_a_python_does_not_have_is_there_with_its_reason() -> None:
    evidence = measured({OLD: 1.0, NEW: 1.0}, (ASYNCIO, PROCESSES))
    run = evidence.run
    kept = tuple(one for one in run.trials if one.backend is ASYNCIO or "3.14.2" in one.workload)
    targets = (replace(run.plan.targets[0], excluded={PROCESSES: "needs more"}), run.plan.targets[1])
    run = replace(run, trials=kept, plan=replace(run.plan, targets=targets))
    (section,) = build_pythons(replace(evidence, run=run))
    assert [row.instead for row in section.rows] == ["", "", "needs more", ""]


def test_without_a_gil_scaling_takes_the_place_of_waiting() -> None:
    (section,) = build_pythons(measured({OLD: 1.0, FREE: 1.0}))
    (note,) = section.notes
    assert "Python 3.14.2t has no GIL to wait for" in note
    assert f"Threads keep up with {SCALING} the requests" in note
    page = render(measured({OLD: 1.0, FREE: 1.0}), graphs={})
    assert "Python 3.14.2t (/free/python, no GIL)" in page
    assert "Off CPU: the share of their time that threads were without a core" in page


def figures(evidence: Evidence) -> dict[tuple[BackendName, str], dict[str, str]]:
    """Return the columns that a Python without a GIL adds to the table, and the GIL's."""
    (section,) = build_pythons(evidence)
    names = ("loop waits for the GIL", *WITHOUT_GIL)
    return {
        (row.backend, row.python): {
            column: cell.text.replace(NO_BREAK, " ")
            for column, cell in zip(section.columns, row.cells, strict=True)
            if column in names
        }
        for row in section.rows
    }


def test_without_a_gil_the_table_has_time_off_the_cpu_in_place_of_its_wait() -> None:
    found = figures(measured({OLD: 1.0, FREE: 1.0}))
    assert found[ASYNCIO, "3.14.2t"] == {
        "loop waits for the GIL": ABSENT,
        "loop off CPU": "2.0 %",
        "workers off CPU": ABSENT,
        "against asyncio": ABSENT,
    }
    assert found[THREADS, "3.14.2t"] == {
        "loop waits for the GIL": ABSENT,
        "loop off CPU": "94 %",
        "workers off CPU": "92 %",
        "against asyncio": SCALING,
    }
    assert found[THREADS, "3.11.7"] == found[THREADS, "3.14.2t"] | {"loop waits for the GIL": "62 %"}


def test_where_all_have_a_gil_the_table_has_no_more_columns() -> None:
    for evidence in (measured({OLD: 1.0, NEW: 1.0}), measured({OLD: 1.0, FREE: 1.0}, gil=True)):
        (section,) = build_pythons(evidence)
        assert section.columns == COLUMNS
        assert figures(evidence)[THREADS, "3.11.7"] == {"loop waits for the GIL": "62 %"}
        assert "Off CPU:" not in render(evidence, graphs={})


def test_against_asyncio_the_verdict_has_the_interval() -> None:
    evidence = measured({OLD: 1.0, FREE: 1.0})
    first = make_evidence().run.verdicts[0]
    ratio = Interval(1.8, 1.9, 2.0)
    verdict = replace(
        first,
        workload="primes, Python 3.14.2t",
        baseline=ASYNCIO,
        throughput_ratio={ASYNCIO: Interval(1, 1, 1), THREADS: ratio},
    )
    found = figures(replace(evidence, run=replace(evidence.run, verdicts=(verdict,))))
    assert found[THREADS, "3.14.2t"]["against asyncio"] == f"1.90{TIMES}*"
    assert found[ASYNCIO, "3.14.2t"]["against asyncio"] == ABSENT
    assert found[THREADS, "3.11.7"]["against asyncio"] == SCALING


def test_the_evidence_of_a_python_without_a_gil_does_not_speak_of_waiting_for_it() -> None:
    evidence = measured({OLD: 1.0, FREE: 1.0})
    with_gil, without = (
        build_section(evidence, f"primes, Python {python.name}", "anchor", {}) for python in (OLD, FREE)
    )
    assert [name for name, _ in with_gil.table.groups].count("waiting for the GIL") == 1
    assert [name for name, _ in without.table.groups].count("off the CPU") == 1
    assert "waiting for the GIL" not in dict(without.table.groups)
    shown = dict(zip(without.table.columns, without.table.rows[1].cells, strict=True))
    assert (shown["loop"].text, shown["workers"].text) == (f"94{NO_BREAK}%", f"92{NO_BREAK}%")
    assert without.details is not None
    assert without.details.columns[-3:] == ("loop off CPU", "workers off CPU", "looks")
    assert all(row.cells[-3] != ABSENT for row in without.details.rows)
    assert without.threads.chart is not None
    assert "waits for the GIL" not in without.threads.chart.wide
    assert "is off the CPU 94" in without.threads.chart.wide


def test_a_gil_that_was_switched_back_on_is_told() -> None:
    (section,) = build_pythons(measured({OLD: 1.0, FREE: 1.0}, gil=True))
    (note,) = section.notes
    assert "switched its GIL back on" in note
    again = replace(FREE, gil_enabled=True)
    assert "GIL switched back on" in render(measured({OLD: 1.0, again: 1.0}, gil=True), graphs={})


def test_one_python_needs_no_comparison() -> None:
    assert build_pythons(measured({NEW: 1.0})) == ()
    assert measured({NEW: 1.0}).run.python_changes == ()
