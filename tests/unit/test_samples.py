from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from factories import SHAPES, make_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from gilscope.errors import RunFileError
from gilscope.load.samples import AT_ONCE, COLUMNS, read_samples, write_samples
from gilscope.model import BackendName, ProbeSamples, Samples, Unanswered, WorkSamples

# The file keeps six digits after the point: nanoseconds of a latency in milliseconds.
figures = st.integers(-(10**6), 10**13).map(lambda millionths: millionths / 1e6)


def transposed(rows: list[tuple[float, ...]], width: int) -> list[list[float]]:
    return [[row[index] for row in rows] for index in range(width)]


pairs = st.lists(st.tuples(*[figures] * 2), max_size=20)
samples_of = st.builds(
    lambda window_s, work, probe, lost, carried, failed: Samples(
        window_s,
        WorkSamples(*transposed(work, len(work[0]) if work else 8)),
        ProbeSamples(*transposed(probe, 2)),
        Unanswered(*map(tuple, transposed(lost, 2))),
        tuple(carried),
        tuple(failed),
    ),
    figures,
    st.sampled_from([8, 9]).flatmap(lambda width: st.lists(st.tuples(*[figures] * width), max_size=20)),
    pairs,
    pairs,
    *[st.lists(figures, max_size=20)] * 2,
)


@settings(deadline=None, max_examples=50)
@given(samples_of)
def test_what_is_written_is_read(samples: Samples) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "trial.csv.gz")
        write_samples(path, samples)
        assert read_samples(path) == samples
        assert [file.name for file in Path(folder).iterdir()] == ["trial.csv.gz"]


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, 2 * AT_ONCE + 1])
def test_others_get_their_turn_after_some_rows(tmp_path: Path, count: int) -> None:
    samples, turns = Samples(1.0, WorkSamples(*[[1.0] * count] * 8), ProbeSamples([], [])), list[int]()
    write_samples(tmp_path / "trial.csv.gz", samples, lambda: turns.append(1))
    assert read_samples(tmp_path / "trial.csv.gz") == samples
    assert len(turns) == math.ceil(count / AT_ONCE)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "trial.csv.gz"
    write_samples(path, make_samples(SHAPES["primes"][BackendName.THREADS], seed=1))
    return path


def test_any_tool_can_read_it(written: Path) -> None:
    with gzip.open(written, "rt", newline="") as file:
        header, window, *rows = csv.reader(file)
    samples = read_samples(written)
    assert tuple(header) == COLUMNS
    assert window == ["window", "4.000000"]
    kinds = [row[0] for row in rows]
    assert kinds == ["work"] * len(samples.work.at_s) + ["probe"] * len(samples.probe.due_s)
    assert {len(row) for row in rows if row[0] == "work"} == {len(COLUMNS) - 1}, (
        "a closed loop has one latency"
    )


def test_a_file_that_is_there_is_replaced(written: Path) -> None:
    empty = Samples(1.0, WorkSamples(*[[]] * 8), ProbeSamples([], []))
    write_samples(written, empty)
    assert read_samples(written) == empty


def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    uneven = Samples(1.0, WorkSamples([1.0], *[[]] * 7), ProbeSamples([], []))
    with pytest.raises(ValueError, match="shorter"):
        write_samples(tmp_path / "trial.csv.gz", uneven)
    assert list(tmp_path.iterdir()) == []


def refuse(path: Path) -> None:
    with pytest.raises(RunFileError) as caught:
        read_samples(path)
    assert str(path) in caught.value.message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "trial.csv.gz")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 9, 100, -9, -1])
def test_a_truncated_file_is_refused(written: Path, kept: int) -> None:
    content = written.read_bytes()
    written.write_bytes(content[:kept])
    refuse(written)


def test_an_altered_file_is_never_read_as_something_else(written: Path) -> None:
    content, whole = written.read_bytes(), read_samples(written)
    refused = 0
    for at in range(10, len(content), len(content) // 150):  # After the header, whose time stamp may change.
        altered = bytearray(content)
        altered[at] ^= 0x55
        written.write_bytes(altered)
        try:
            assert read_samples(written) == whole
        except RunFileError:
            refused += 1
    assert refused > 140


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "kind\n",
        "kind\nwindow\n",
        "kind\nwindow,soon\n",
        "kind\nwindow,1\n\n",
        "kind\nwindow,1\nwork,1,2,3\n",
        "kind\nwindow,1\nprobe,1,2,3\n",
        "kind\nwindow,1\nprobe,1,x\n",
        "kind\nwindow,1\nprobe,1,2\nprobe,1\n",
        "kind\nwork,1,2,3,4,5,6,7\n",
        "kind\nwindow,1\n" + "9" * 200_000 + "\n",
    ],
)
def test_a_file_with_other_rows_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trial.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    refuse(path)


def test_plain_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trial.csv.gz"
    path.write_text("kind,at_s\n")
    refuse(path)
