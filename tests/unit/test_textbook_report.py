"""The textbook's table as a page, as a section of a report, in the terminal and on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from factories import PROCESSES, THREADS, make_evidence, with_stacks
from textbooks import AGAIN, CODE, FREE, NEW, OLD, REASON, make_it_up, make_measured, make_textbook

from gilscope.claims import Claim, Measured, Textbook, Topic
from gilscope.commands import textbook as command
from gilscope.commands.drawing import render_report
from gilscope.commands.main import main
from gilscope.compare import metering
from gilscope.compare.textbook_file import TEXTBOOK_FILE, read_textbook, to_document, write_textbook
from gilscope.environments import GIL_ENABLED_AGAIN, Environment
from gilscope.errors import INTERRUPTED, RunFileError, ServiceError
from gilscope.model import BackendName, Caution
from gilscope.report.formats import ABSENT, NO_BREAK
from gilscope.report.textbook import GLOSSARY, build_textbook, describe_textbook, render_textbook
from gilscope.textbook.claims_table import CLAIMS

ALL = tuple(CLAIMS.values())


def test_there_is_a_row_for_each_claim_and_a_column_for_each_backend() -> None:
    (table,) = build_textbook(make_textbook(NEW), ALL).tables
    assert [row.title for row in table.rows] == [claim.title for claim in ALL]
    assert [column.name for column in table.columns] == [backend.value for backend in BackendName]
    assert all(len(row.cells) == 4 for row in table.rows)
    assert table.heading == "Python 3.14.2"
    assert (
        table.summary.replace("\u00a0", " ")
        == "36 cells in 34.5 s: 26 hold, 9 hold with a footnote, 1 does not hold"
    )


def test_a_column_that_could_not_be_measured_says_why_once() -> None:
    (table,) = build_textbook(make_textbook(OLD), ALL).tables
    assert [column.reason for column in table.columns] == ["", "", "", REASON]
    assert table.summary.endswith("9 not measured")
    told = describe_textbook(make_textbook(OLD), ALL)
    assert told.count(REASON) == 1
    assert f"  interpreters: {REASON}" in told


def test_a_free_threaded_python_is_one_more_column_of_the_others() -> None:
    tables = build_textbook(make_textbook(OLD, NEW, FREE), ALL).tables
    assert [table.heading for table in tables] == ["Python 3.11.7", "Python 3.14.2"]
    for table in tables:
        assert table.columns[-1].name == "threads, 3.14.2t"
        assert table.columns[-1].backend is THREADS
        assert table.rows[0].cells[-1].headline == "sharing on threads, Python 3.14.2t"
    assert build_textbook(make_textbook(OLD, FREE), ALL).cautions == ()


def test_two_free_threaded_pythons_are_two_columns() -> None:
    (table,) = build_textbook(make_textbook(OLD, FREE, AGAIN), ALL).tables
    assert [column.name for column in table.columns[4:]] == ["threads, 3.14.2t", "threads, 3.15.0t, GIL on"]
    assert [cell.headline for cell in table.rows[0].cells[4:]] == [
        "sharing on threads, Python 3.14.2t",
        "sharing on threads, Python 3.15.0t",
    ]
    lines = describe_textbook(make_textbook(OLD, FREE, AGAIN), ALL).splitlines()
    assert '  ✓  threads, 3.14.2t          "yes": holds' in lines
    assert '  ✓  threads, 3.15.0t, GIL on  "yes": holds' in lines


def test_alone_they_have_tables_of_their_own() -> None:
    tables = build_textbook(make_textbook(FREE, AGAIN), ALL).tables
    assert [table.heading for table in tables] == ["Python 3.14.2t", "Python 3.15.0t"]
    assert [column.name for column in tables[0].columns] == [backend.value for backend in BackendName]
    assert [column.name for column in tables[1].columns] == [f"{backend}, GIL on" for backend in BackendName]


def with_gil_in(measured: Measured, *topics: Topic, said: bool = True) -> Measured:
    """Let the experiments of these topics say that there was a GIL, and the others that there was none."""
    cells = tuple(
        replace(cell, figures={**cell.figures, "gil_enabled": said if cell.topic in topics else not said})
        for cell in measured.cells
    )
    return replace(measured, cells=cells)


def test_a_gil_that_only_some_experiments_have_is_told_of_those() -> None:
    some = with_gil_in(make_measured(FREE), Topic.TIME, Topic.COSTS)
    page = build_textbook(replace(make_textbook(NEW), measured=(make_measured(NEW), some)), ALL)
    (table,) = page.tables
    assert table.columns[-1].name == "threads, 3.14.2t"
    told = {row.title for row in table.rows if row.cells[-1].standing == "holds, GIL on"}
    assert told == {CLAIMS[Topic.TIME].title, CLAIMS[Topic.COSTS].title}
    assert not any("GIL on" in cell.standing for row in table.rows for cell in row.cells[:-1])
    (caution,) = page.cautions
    titles = f"{CLAIMS[Topic.TIME].title}; {CLAIMS[Topic.COSTS].title}"
    assert (
        f"Python 3.14.2t is free-threaded, but an extension module switched its GIL on in some rows ({titles}):"
        in caution
    )


def test_what_the_experiments_say_of_the_gil_counts_and_not_what_a_service_says() -> None:
    none = with_gil_in(make_measured(AGAIN))
    page = build_textbook(replace(make_textbook(NEW), measured=(make_measured(NEW), none)), ALL)
    assert page.tables[0].columns[-1].name == "threads, 3.15.0t"
    assert page.cautions == ()
    (caution,) = build_textbook(make_textbook(NEW, AGAIN), ALL).cautions
    assert "switched its GIL on: those are the figures of a Python with a GIL" in caution


def test_of_a_python_that_has_a_gil_anyway_nothing_is_said() -> None:
    (table,) = build_textbook(
        replace(make_textbook(NEW), measured=(with_gil_in(make_measured(NEW), Topic.TIME),)), ALL
    ).tables
    assert "GIL on" not in repr(table)


def test_the_page_shows_everything_and_nothing_is_markup() -> None:
    page = render_textbook(make_textbook(NEW), ALL)
    assert "&lt;shared memory&gt;" in page
    assert "&#39;&lt;here&gt;&#39;" in page
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page
    for claim in ALL:
        assert claim.title in page
    assert page.count("<td class=") == 36
    assert page.count("gilscope/textbook/cells/sharing.py") == 1
    for figure in (
        "<dt>ping p99, ms</dt><dd>12.3</dd>",
        "<dt>calls, /s</dt>",
        "<dt>seen</dt><dd>yes</dd>",
        "fork",
    ):
        assert figure in page


@pytest.mark.parametrize("render", [describe_textbook, render_textbook])
def test_marks_and_words_are_explained(render: Callable[[Textbook, Sequence[Claim]], str]) -> None:
    told = " ".join(re.sub("<[^>]+>", " ", render(make_textbook(NEW), ALL)).split())
    assert "✓ holds, ✓* holds with a footnote, ✗ does not hold, – not measured." in told  # noqa: RUF001
    for word, meaning in GLOSSARY:
        assert word in told
        assert meaning.replace("'", "&#39;") in told or meaning in told


def test_of_the_call_the_code_is_shown_and_of_others_folded() -> None:
    told = describe_textbook(make_textbook(NEW), ALL)
    assert told.count("def change() -> None:") == 4
    assert f"{Topic.CALL} on threads" not in told
    assert CODE.splitlines()[0].replace(">", "&gt;") in render_textbook(make_textbook(NEW), ALL)


def test_every_cell_leads_to_the_code_that_measured_it() -> None:
    textbook = make_textbook(NEW, OLD, FREE)
    own = replace(textbook.measured[0].cells[1], code="own code")
    other = replace(
        textbook.measured[0], cells=(textbook.measured[0].cells[0], own, *textbook.measured[0].cells[2:])
    )
    first, second = build_textbook(replace(textbook, measured=(other, *textbook.measured[1:])), ALL).tables
    for table in (first, second):
        for row in table.rows[:-1]:
            for column, cell in zip(table.columns, row.cells, strict=True):
                code = [code for code in row.codes if column in code.columns]
                assert [one.anchor for one in code] == ([] if column.reason else [cell.anchor])
        assert table.rows[-1].codes == (), "the call's is in its cells"
        assert [cell.anchor for cell in table.rows[-1].cells] == [""] * 5
    assert [code.code for code in first.rows[0].codes] == [CODE, "own code"]
    assert [[column.name for column in code.columns] for code in first.rows[0].codes] == [
        ["asyncio", "processes", "interpreters", "threads, 3.14.2t"],
        ["threads"],
    ]
    anchors = [code.anchor for table in (first, second) for row in table.rows for code in row.codes]
    assert len(set(anchors)) == len(anchors) == 2 * 8 + 1


def test_the_page_has_all_code_and_names_its_module() -> None:
    page = render_textbook(make_textbook(NEW, OLD, FREE), ALL)
    links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', page)
    places = re.findall(r'<h4 id="([^"]+)">', page)
    assert {place for place, _ in links} == set(places)
    # Of the call the code is in the cell itself; eight of an old Python's other cells were not measured.
    assert len(links) == 2 * 8 * 5 - 8
    assert {file for _, file in links} == {f"{topic}.py" for topic in Topic if topic is not Topic.CALL}
    assert page.count('<p class="where">call.py</p>') == 9


def test_the_terminal_names_the_module_of_each_row() -> None:
    told = describe_textbook(make_textbook(NEW, OLD, FREE), ALL)
    for claim in ALL:
        assert (
            told.count(f"\n{claim.title} (gilscope/textbook/cells/{claim.topic}.py)\n  {claim.run[:60]}") == 2
        )


def test_a_figure_is_written_with_its_unit() -> None:
    figures = {
        "pings_per_s": 50.0, "4_gil_wait_share": 0.9541, "worker_mb": 2.125, "gil_enabled": False, "lost_per_million": None,
    }  # fmt: skip
    measured = make_measured(NEW)
    cells = (replace(measured.cells[0], figures=figures), *measured.cells[1:])
    (table,) = build_textbook(
        replace(make_textbook(NEW), measured=(replace(measured, cells=cells),)), ALL
    ).tables
    assert table.rows[0].cells[0].figures == (
        ("pings per s", "50.0"),
        ("4 GIL wait share", f"95{NO_BREAK}%"),
        ("worker, MB", "2.12"),
        ("GIL enabled", "no"),
        ("lost per million", ABSENT),
    )


def test_what_is_wrong_is_said_in_words_and_a_mark() -> None:
    told = describe_textbook(make_textbook(NEW), ALL)
    assert '  ✗  threads         "yes": does not hold' in told
    assert '  ✓* processes       "no": holds with a footnote' in told
    assert '<td class="fails b-threads"' in render_textbook(make_textbook(NEW), ALL)


def test_stolen_time_and_cautions_are_told() -> None:
    page = build_textbook(make_textbook(NEW, steal=0.25), ALL)
    assert (
        page.cautions[0].replace("\u00a0", " ").startswith("The machine's hypervisor gave 25 % of its time")
    )
    assert build_textbook(make_textbook(NEW, steal=0.01), ALL).cautions == ()
    assert build_textbook(make_textbook(NEW, steal=None), ALL).cautions == ()
    told = replace(make_textbook(NEW), cautions=(Caution("c", "the GIL is on", "switch it off"),))
    assert "! the GIL is on: switch it off" in describe_textbook(told, ALL)


def test_in_a_report_the_comparison_has_its_say() -> None:
    evidence = with_stacks(make_evidence())
    (table,) = build_textbook(make_textbook(NEW), ALL, evidence).tables
    rows = {row.title: row for row in table.rows}
    computing = {cell.backend: cell.under_load for cell in rows["suits CPU-bound work"].cells}
    assert any(
        line.startswith("primes: ") and "the throughput of asyncio" in line for line in computing[PROCESSES]
    )
    assert not any(line.startswith("http_fetch") for line in computing[PROCESSES])
    waiting = {cell.backend: cell.under_load for cell in rows["suits I/O-bound work"].cells}
    assert [line.partition(":")[0] for line in waiting[THREADS]] == ["http_fetch"]
    assert all(not cell.under_load for cell in rows["shares memory"].cells)

    page = render_report(evidence, make_textbook(NEW))
    assert 'id="textbook"' in page
    assert "Under load, primes:" in page
    assert 'id="textbook"' not in render_report(evidence)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    textbook = make_textbook(OLD, FREE, steal=0.125)
    write_textbook(tmp_path, textbook)
    assert read_textbook(tmp_path) == textbook
    assert json.loads((tmp_path / TEXTBOOK_FILE).read_text())["schema"] == 1
    assert read_textbook(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("text", "said"), [('{"schema": 2}', "has schema 2"), ("{}", "is damaged"), ("no JSON", "is damaged")]
)
def test_what_cannot_be_read_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / TEXTBOOK_FILE).write_text(text)
    with pytest.raises(RunFileError, match=said):
        read_textbook(tmp_path)


# The command, with measurements that are made up.


@pytest.fixture
def pythons(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fake environments, and how each Python is measured; returns the names of those that were."""
    known = {"old": OLD, "new": NEW, "stops": FREE}

    def environments(wanted: Sequence[str]) -> tuple[Environment, ...]:
        return tuple(Environment(known[name], "/bin/python", {}) for name in wanted or ("old",))

    monkeypatch.setattr(command, "environments", environments)
    return make_it_up(monkeypatch, stops=FREE)


def test_it_prints_the_table_and_keeps_it(
    pythons: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["textbook", "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "\n\nPython 3.11.7: 36 cells" in out
    assert f"\npage: {tmp_path}/out/textbook.html\n" in out
    assert err == "[3.11.7] 1/8 shares memory\n[3.11.7] 3/8 may interfere: data\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["textbook.html", "textbook.json"]
    assert pythons == ["3.11.7"]


def test_json_is_all_there_is_on_standard_output(
    pythons: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["textbook", "--json", "--python", "old", "new", "--out", str(tmp_path / "out")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["python"]["name"] for one in document["measured"]] == pythons == ["3.11.7", "3.14.2"]
    found = read_textbook(tmp_path / "out")
    assert found is not None
    assert document == to_document(found)


def test_interrupted_it_keeps_the_pythons_that_it_had(
    pythons: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["textbook", "--python", "new", "stops", "--out", str(tmp_path / "out")])
    assert code == INTERRUPTED
    out, err = capsys.readouterr()
    assert "Python 3.14.2: 36 cells" in out
    assert err.endswith("interrupted: 1 of 2 Pythons were measured whole, and are kept\n")
    assert pythons == ["3.14.2"]


def test_what_was_measured_before_one_fails_is_shown_and_kept(
    pythons: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = make_it_up(monkeypatch, stops=FREE, with_=ServiceError("the upstream did not start"))
    code = main(["textbook", "--python", "new", "stops", "--out", str(tmp_path / "out")])
    assert code == 1
    out, err = capsys.readouterr()
    assert "Python 3.14.2: 36 cells" in out
    assert err.endswith("gilscope textbook: the upstream did not start\n")
    assert (tmp_path / "out" / "textbook.html").exists()
    assert (measured, pythons) == (["3.14.2"], [])


def test_a_caution_of_services_is_not_one_of_experiments(
    pythons: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cautions = (Caution(GIL_ENABLED_AGAIN, "on", "off"), Caution("not-compiled", "slow", "wait"))
    monkeypatch.setattr(command, "environments", lambda _: (Environment(NEW, "/bin/python", {}, cautions),))
    assert main(["textbook", "--out", str(tmp_path / "out")]) == 0
    found = read_textbook(tmp_path / "out")
    assert found is not None
    assert [caution.code for caution in found.cautions] == ["not-compiled"]
    assert pythons == ["3.14.2"]


def test_interrupted_at_once_it_leaves_nothing(
    pythons: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["textbook", "--python", "stops", "--out", str(tmp_path / "out")]) == INTERRUPTED
    assert capsys.readouterr().err == "interrupted: nothing was measured whole, so nothing is kept\n"
    assert not (tmp_path / "out").exists()
    assert pythons == []


def test_neighbours_that_compute_are_told(
    pythons: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metering, "busy_cores", lambda _seconds: 1.26)
    assert main(["textbook", "--python", "old", "--out", str(tmp_path / "out")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "! Other processes kept 1.3 of the cores busy just before Python 3.11.7 was measured" in out
    found = read_textbook(tmp_path / "out")
    assert found is not None
    assert [caution.code for caution in found.cautions] == ["machine-busy"]
    assert pythons == ["3.11.7"]


def test_a_folder_that_is_used_is_refused_first(
    pythons: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "something").touch()
    assert main(["textbook", "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert pythons == []


def test_a_saved_table_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_textbook(tmp_path, make_textbook(NEW))
    assert main(["report", str(tmp_path)]) == 0
    assert "\n\nPython 3.14.2: 36 cells" in capsys.readouterr().out
    assert (tmp_path / "textbook.html").exists()
    assert main(["report", "--json", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 1
