from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from factories import interrupted, make_evidence, silenced
from hypothesis import given, settings
from hypothesis import strategies as st

from gilscope.compare.store import (
    CONVERTER,
    FLAMES_FOLDER,
    LATENCY_FOLDER,
    REPORT_FILE,
    RUN_FILE,
    RunFolder,
    default_folder,
    file_name,
    summary,
    to_document,
    write_text,
)
from gilscope.errors import RunFileError
from gilscope.load.samples import write_samples
from gilscope.model import (
    BELOW,
    BEYOND,
    SCHEMA,
    Anatomy,
    Arrivals,
    BackendName,
    BreakEven,
    Capacity,
    CapacityStep,
    Evidence,
    Flame,
    FlameKind,
    Folded,
    GeneratorLoad,
    Interval,
    Load,
    LoadKind,
    NoiseFloor,
    Run,
    Scalability,
    Standing,
    Sweep,
    Target,
    Trial,
)

STACKS: Folded = {("main (app.py)", "primes (primes.py)"): 40.0, ("wait (threading.py)",): 2.0}
TRIAL_FIELDS = {
    "workload", "backend", "block", "python", "load", "requests", "errors", "throughput_rps", "latency_ms",
    "probe_latency_ms", "anatomy_ms", "gil_wait_share", "cpu_cores", "memory_mb", "warnings", "valid",
}  # fmt: skip
VERDICT_FIELDS = {
    "workload", "winner", "ties", "conclusive", "reason", "throughput_ratio", "p99_ratio", "probe_p99_ratio",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


def strictly(text: str) -> Any:  # noqa: ANN401  JSON may hold anything
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def document_of(folder: RunFolder) -> Any:  # noqa: ANN401  JSON may hold anything
    return strictly((folder.path / RUN_FILE).read_text(encoding="utf-8"))


def alter(folder: RunFolder, change: Callable[[dict[str, Any]], None]) -> None:
    document = document_of(folder)
    change(document)
    (folder.path / RUN_FILE).write_text(json.dumps(document), encoding="utf-8")


def written(folder: RunFolder) -> set[str]:
    return {str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()}


def bare(run: Run) -> Run:
    """Take from a run what refers to other files."""
    trials = tuple(replace(trial, samples=None) for trial in run.trials)
    return replace(run, trials=trials, flames=())


RUN = make_evidence().run
BARE = bare(RUN)


@pytest.mark.parametrize(
    "run",
    [
        BARE,
        bare(interrupted(make_evidence()).run),
        bare(silenced(make_evidence(), "primes", BackendName.THREADS).run),
        replace(BARE, trials=(), verdicts=()),
    ],
)
def test_a_run_is_read_as_it_was_written(folder: RunFolder, run: Run) -> None:
    folder.write_run(run)
    assert folder.read() == Evidence(run, {}, {})


def test_samples_and_stacks_are_read_with_it(folder: RunFolder) -> None:
    evidence = make_evidence()
    for name, samples in evidence.samples.items():
        write_samples(folder.path / name, samples)
    for flame in RUN.flames:
        folder.write_flame(flame, STACKS, "<svg/>")
    folder.write_run(RUN)
    found = folder.read()
    assert found.run == RUN
    assert dict(found.stacks) == {flame.path: STACKS for flame in RUN.flames}
    assert set(found.samples) == set(evidence.samples) != set()
    name, samples = next(iter(evidence.samples.items()))
    assert found.samples[name].work.latency_ms == pytest.approx(samples.work.latency_ms, abs=1e-6)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(arguments=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=3))
def test_any_arguments_come_back(
    tmp_path_factory: pytest.TempPathFactory, arguments: dict[str, object]
) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    plan = replace(RUN.plan, targets=(Target("own", "own.py:work", arguments),))
    folder.write_run(replace(BARE, plan=plan))
    assert folder.read().run.plan == plan


def test_a_lone_surrogate_is_kept(folder: RunFolder) -> None:
    plan = replace(RUN.plan, targets=(Target("own", "caf\udce9.py:work", {"text": "\ud800"}),))
    folder.write_run(replace(BARE, plan=plan))
    assert folder.read().run.plan == plan


def test_the_file_has_the_promised_fields(folder: RunFolder) -> None:
    folder.write_run(RUN)
    document = document_of(folder)
    assert document["schema"] == SCHEMA == 1
    assert set(document) >= {"gilscope", "machine", "plan", "trials", "verdicts"}
    assert document["plan"]["seed"] == 7
    trial = document["trials"][0]
    assert set(trial) >= TRIAL_FIELDS
    assert set(trial["latency_ms"]) == {"p50", "p90", "p95", "p99", "max"}
    assert set(trial["probe_latency_ms"]) == {"p50", "p99", "max"}
    assert set(document["verdicts"][0]) >= VERDICT_FIELDS
    assert [type(bound) for bound in document["verdicts"][0]["p99_ratio"]["threads"]] == [float] * 3


def test_return_has_its_own_name_on_disk(folder: RunFolder) -> None:
    folder.write_run(BARE)
    anatomy = document_of(folder)["trials"][0]["anatomy_ms"]
    assert set(anatomy) == {
        "outside", "queue", "run", "cpu", "return", "gil_wait", "runqueue", "blocked",
    }  # fmt: skip
    first = BARE.trials[0].anatomy_ms
    assert first is not None
    assert anatomy["return"] == first.return_


def test_what_is_not_json_is_never_written(folder: RunFolder) -> None:
    folder.write_run(BARE)
    before = (folder.path / RUN_FILE).read_bytes()
    broken = replace(BARE.trials[0], anatomy_ms=Anatomy(float("nan"), 0, 0, 0, 0))
    with pytest.raises(ValueError, match="JSON"):
        folder.write_run(replace(BARE, trials=(broken,)))
    assert (folder.path / RUN_FILE).read_bytes() == before
    assert written(folder) == {RUN_FILE}


def test_a_newer_schema_is_refused(folder: RunFolder) -> None:
    folder.write_run(replace(BARE, schema=SCHEMA + 1))
    with pytest.raises(RunFileError, match=f"has schema {SCHEMA + 1}; this gilscope reads up to") as caught:
        folder.read()
    assert caught.value.remedy == "a newer gilscope: pip install --upgrade gilscope"


def test_fields_that_a_later_version_added_do_not_matter(folder: RunFolder) -> None:
    folder.write_run(BARE)
    alter(folder, lambda document: document.update(weather="fine"))
    assert folder.read().run == BARE


def test_optional_fields_may_be_missing(folder: RunFolder) -> None:
    folder.write_run(BARE)
    alter(folder, lambda document: document.pop("timing"))
    assert folder.read().run.timing.total_s == 0.0


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("schema"),
        lambda document: document.update(schema="one"),
        lambda document: document.pop("machine"),
        lambda document: document.update(trials=7),
        lambda document: document["trials"][0].update(backend="fibres"),
        lambda document: document["trials"][0].update(requests="many"),
        lambda document: document["trials"][0]["latency_ms"].pop("p99"),
        lambda document: document["verdicts"][0]["p99_ratio"].update(threads=[1.0]),
        lambda document: document["plan"]["load"].update(kind="ajar"),
    ],
)
def test_an_altered_run_is_refused(folder: RunFolder, change: Callable[[dict[str, Any]], None]) -> None:
    folder.write_run(BARE)
    alter(folder, change)
    with pytest.raises(RunFileError, match="is damaged") as caught:
        folder.read()
    assert str(folder.path / RUN_FILE) in caught.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '{"schema": 1', "\xff"])
def test_a_damaged_file_is_refused(folder: RunFolder, text: str) -> None:
    (folder.path / RUN_FILE).write_text(text, encoding="latin-1")
    with pytest.raises(RunFileError, match="is damaged"):
        folder.read()


def test_a_truncated_file_is_refused_wherever_it_ends(folder: RunFolder) -> None:
    folder.write_run(replace(BARE, trials=BARE.trials[:1], verdicts=()))
    content = (folder.path / RUN_FILE).read_bytes().rstrip()
    cuts = range(0, len(content), 50)
    for kept in cuts:
        (folder.path / RUN_FILE).write_bytes(content[:kept])
        with pytest.raises(RunFileError):
            folder.read()
    assert len(cuts) > 20


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunFileError, match="there is no run in") as caught:
        RunFolder(tmp_path / name).read()
    assert caught.value.remedy == "name a folder that holds a run.json"


def test_missing_samples_are_named(folder: RunFolder) -> None:
    folder.write_run(replace(RUN, flames=()))
    with pytest.raises(RunFileError, match=r"cannot read the samples in .*latency"):
        folder.read()


def test_missing_and_damaged_stacks_are_named(folder: RunFolder) -> None:
    folder.write_run(replace(BARE, flames=RUN.flames[:1]))
    with pytest.raises(RunFileError, match="cannot read the stacks in"):
        folder.read()
    folder.write_flame(RUN.flames[0], STACKS, "<svg/>")
    assert folder.read().stacks == {RUN.flames[0].path: STACKS}
    (folder.path / f"{RUN.flames[0].path}.folded").write_text("no weight\n")
    with pytest.raises(RunFileError, match="cannot read the stacks in"):
        folder.read()


@pytest.mark.parametrize(
    "content", [b"no weight\n", b"a;b 1\nc", b"\xff\xfe 3\n", b"a;;b one\n", b'process 4:"sh 3\n']
)
def test_damaged_stacks_of_an_old_run_are_named(folder: RunFolder, content: bytes) -> None:
    flame = RUN.flames[0]
    folder.write_run(replace(BARE, flames=(flame,)))
    path = folder.path / f"{flame.path}.folded"
    path.write_bytes(content)
    with pytest.raises(RunFileError, match="cannot read the stacks in") as caught:
        folder.read()
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 2


def test_a_folder_in_place_of_stacks_is_named(folder: RunFolder) -> None:
    folder.write_run(replace(BARE, flames=RUN.flames[:1]))
    (folder.path / f"{RUN.flames[0].path}.folded").mkdir()
    with pytest.raises(RunFileError, match="cannot read the stacks in"):
        folder.read()


FULL = Flame(
    workload="my work; <b>",
    backend=BackendName.THREADS,
    kind=FlameKind.WAITING,
    path="flames/my-work-b-threads.waiting",
    source="py-spy 0.4.3",
    rate_hz=25,
    seconds=2.5,
    samples=96,
    lost=3,
    notes=("a note with <b> and ü", "another"),
    pause_share=0.144,
    requests=183,
    share=0.55,
    lens_share=0.41,
)


@pytest.mark.parametrize(
    "flame",
    [
        FULL,
        replace(FULL, pause_share=None, requests=None, share=None, lens_share=None, notes=()),
        replace(FULL, pause_share=0.0, requests=0, share=0.0, lens_share=0.0, samples=0, lost=0),
        *(replace(FULL, kind=kind, share=None) for kind in FlameKind),
    ],
)
def test_a_flame_comes_back_with_all_its_fields(folder: RunFolder, flame: Flame) -> None:
    stacks = STACKS if flame.samples else {}
    folder.write_flame(flame, stacks, None)
    folder.write_run(replace(BARE, flames=(flame,)))
    found = folder.read()
    assert found.run.flames == (flame,)
    assert found.stacks == {flame.path: stacks}


def test_a_flame_has_the_promised_fields_on_disk(folder: RunFolder) -> None:
    folder.write_run(replace(BARE, flames=(FULL,)))
    (document,) = document_of(folder)["flames"]
    assert set(document) == {field.name for field in fields(Flame)}
    assert document["kind"] == "waiting"
    assert document["notes"] == list(FULL.notes)
    assert (document["pause_share"], document["requests"]) == (0.144, 183)
    assert (document["share"], document["lens_share"]) == (0.55, 0.41)


def test_a_flame_of_an_older_version_is_read(folder: RunFolder) -> None:
    folder.write_flame(FULL, STACKS, "<svg/>")
    folder.write_run(replace(BARE, flames=(FULL,)))

    def make_older(document: dict[str, Any]) -> None:
        for name in ("pause_share", "requests", "share", "lens_share", "notes"):
            del document["flames"][0][name]

    alter(folder, make_older)
    older = replace(FULL, pause_share=None, requests=None, share=None, lens_share=None, notes=())
    assert folder.read().run.flames == (older,)


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", "sleeping"), ("backend", "fibres"), ("samples", "many"), ("share", "half"), ("rate_hz", None)],
)
def test_a_flame_with_a_field_that_means_nothing_is_refused(
    folder: RunFolder, name: str, value: object
) -> None:
    folder.write_flame(FULL, STACKS, "<svg/>")
    folder.write_run(replace(BARE, flames=(FULL,)))
    alter(folder, lambda document: document["flames"][0].update({name: value}))
    with pytest.raises(RunFileError, match="is damaged"):
        folder.read()


def test_an_empty_flame_has_no_picture(folder: RunFolder) -> None:
    folder.write_flame(FULL, {}, None)
    assert written(folder) == {f"{FULL.path}.folded"}
    assert (folder.path / f"{FULL.path}.folded").read_bytes() == b""


def test_a_flame_is_written_in_three_forms(folder: RunFolder) -> None:
    folder.write_flame(RUN.flames[0], STACKS, "<svg/>")
    stem = RUN.flames[0].path
    assert written(folder) == {f"{stem}.folded", f"{stem}.svg", f"{stem}.speedscope.json"}
    assert (folder.path / f"{stem}.svg").read_text() == "<svg/>"
    profile = strictly((folder.path / f"{stem}.speedscope.json").read_text())
    assert profile["$schema"].startswith("https://www.speedscope.app/")


def test_a_torn_frame_comes_back(folder: RunFolder) -> None:
    torn: Folded = {("spin (app.py)", "\N{REPLACEMENT CHARACTER}\r\x85\u2028 (app.py)"): 3.0}
    folder.write_flame(RUN.flames[0], torn, "<svg/>")
    folder.write_run(replace(BARE, flames=RUN.flames[:1]))
    assert folder.read().stacks == {RUN.flames[0].path: torn}


def test_the_report_lies_beside_the_run(folder: RunFolder) -> None:
    path = folder.write_report("<!doctype html>")
    assert path == folder.path / REPORT_FILE
    assert path.read_text() == "<!doctype html>"


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a" / "b")
    assert sorted(path.name for path in folder.path.iterdir()) == [FLAMES_FOLDER, LATENCY_FOLDER]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    RunFolder.create(tmp_path).write_run(BARE)
    assert RunFolder(tmp_path).read().run == BARE


def test_a_folder_that_holds_anything_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunFileError, match="is not empty") as caught:
        RunFolder.create(tmp_path)
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("below", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFileError, match="cannot write to") as caught:
        RunFolder.create(tmp_path / below)
    assert caught.value.remedy == "--out DIR names another folder"


def test_a_folder_that_vanishes_is_named(folder: RunFolder) -> None:
    folder.discard_if_empty()
    for write in (lambda: folder.write_run(BARE), lambda: folder.write_report("")):
        with pytest.raises(RunFileError, match="cannot write"):
            write()


def test_a_file_that_cannot_be_replaced_leaves_nothing_unfinished(folder: RunFolder) -> None:
    (folder.path / REPORT_FILE).mkdir()
    with pytest.raises(RunFileError, match=f"cannot write .*{REPORT_FILE}"):
        folder.write_report("<!doctype html>")
    assert written(folder) == set()


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_text(page, "caf\udce9 ü")
    assert page.read_text(encoding="utf-8") == "caf\\udce9 ü"
    write_text(page, "again")
    assert page.read_text() == "again"
    with pytest.raises(RunFileError, match=r"cannot write .*nowhere") as caught:
        write_text(tmp_path / "nowhere" / "page.html", "text")
    assert caught.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_folder_without_a_run_is_discarded(folder: RunFolder) -> None:
    folder.discard_if_empty()
    assert not folder.path.exists()


def test_samples_of_a_trial_cut_short_are_discarded_too(folder: RunFolder) -> None:
    (folder.path / LATENCY_FOLDER / "primes-threads-0.csv.gz").write_bytes(b"")
    (folder.path / LATENCY_FOLDER / "primes-asyncio-0.csv.gz.tmp").write_bytes(b"")
    folder.discard_if_empty()
    assert not folder.path.exists()


def test_what_is_not_ours_is_not_discarded(folder: RunFolder) -> None:
    (folder.path / "thesis.txt").write_text("mine")
    folder.discard_if_empty()
    assert written(folder) == {"thesis.txt"}


def test_a_run_is_not_discarded(folder: RunFolder) -> None:
    folder.write_run(BARE)
    folder.discard_if_empty()
    assert folder.read().run == BARE


def test_discarding_twice_is_harmless(folder: RunFolder) -> None:
    folder.discard_if_empty()
    folder.discard_if_empty()


def test_a_default_folder_sorts_by_time() -> None:
    at = datetime(2026, 11, 22, 9, 5, 7, tzinfo=UTC)
    assert default_folder("primes", at) == Path("profiles/20261122T090507Z-primes")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("primes", "primes"),
        ("my.module.work", "my.module.work"),
        ("../../etc/passwd", "..-..-etc-passwd"),
        ("a b\nc:ü", "a-b-c-"),
        ("x" * 200, f"{'x' * 48}-aa20c23e-{'x' * 22}"),
    ],
)
def test_a_name_becomes_one_that_any_file_system_takes(name: str, file: str) -> None:
    assert file_name(name) == file


# A sweep, a search, and a noise floor.

ends = st.floats(0, 1e9) | st.just(math.inf)
intervals = st.tuples(ends, ends, ends).map(lambda three: Interval(*sorted(three)))
figures = st.floats(0, 1e6)
perhaps = st.none() | figures
backends = st.sampled_from(BackendName)
overtakings = st.builds(BreakEven, backends, backends, st.sampled_from(Standing), st.none() | intervals)
steps = st.builds(
    CapacityStep,
    figures,
    st.sampled_from(["ramp", "curve"]),
    st.none() | st.booleans(),
    figures,
    perhaps,
    perhaps,
)
laws = st.builds(
    Scalability,
    figures,
    figures,
    figures,
    perhaps,
    perhaps,
    st.lists(figures, max_size=2).map(tuple),
    st.text(max_size=3),
)
found = st.builds(
    Capacity,
    st.just("primes"),
    backends,
    st.just("p99=200ms"),
    perhaps,
    perhaps,
    perhaps,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.lists(steps, max_size=2).map(tuple),
    st.lists(steps, max_size=2).map(tuple),
    st.none() | laws,
)
floors = st.builds(NoiseFloor, backends, st.integers(1, 9), intervals, intervals, intervals)


def through_json(run: Run) -> Run:
    """Write a run as its file holds it, and read it again."""
    return CONVERTER.structure(strictly(json.dumps(to_document(run), allow_nan=False)), Run)


@settings(deadline=None, max_examples=40)
@given(
    crossed=st.lists(overtakings, max_size=3).map(tuple),
    capacities=st.lists(found, max_size=2).map(tuple),
    noise=st.none() | floors,
)
def test_whatever_a_sweep_or_a_search_finds_comes_back(
    crossed: tuple[BreakEven, ...], capacities: tuple[Capacity, ...], noise: NoiseFloor | None
) -> None:
    verdict = replace(BARE.verdicts[0], noise=noise, rough_p99=(BackendName.THREADS,))
    run = replace(BARE, trials=(), verdicts=(verdict,), break_evens=crossed, capacities=capacities)
    assert through_json(run) == run


def test_a_break_even_has_null_at_its_open_end(folder: RunFolder) -> None:
    threads, asyncio = BackendName.THREADS, BackendName.ASYNCIO
    crossed = (
        BreakEven(threads, asyncio, Standing.CROSSES, Interval(BELOW, 1_500.0, 3_000.0)),
        BreakEven(threads, asyncio, Standing.UNCLEAR, Interval(2_500.0, BEYOND, BEYOND)),
        BreakEven(threads, asyncio, Standing.TIED),
    )
    folder.write_run(replace(BARE, break_evens=crossed))
    written = [one["size"] for one in document_of(folder)["break_evens"]]
    assert written == [[0.0, 1_500.0, 3_000.0], [2_500.0, None, None], None]
    assert folder.read().run.break_evens == crossed


def test_a_sweep_comes_back_with_the_arguments_of_each_size(folder: RunFolder) -> None:
    targets = tuple(
        Target(f"primes, n={size}", "primes", {"n": float(size)}, given={"n": size}, served_as="primes")
        for size in ("10", "1e3")
    )
    plan = replace(RUN.plan, targets=targets, sweep=Sweep("n", (10.0, 1_000.0)), twins=True, lenient=True)
    folder.write_run(replace(BARE, plan=plan))
    assert folder.read().run.plan == plan
    assert document_of(folder)["plan"]["sweep"] == {"parameter": "n", "sizes": [10.0, 1_000.0]}


def searched_trial() -> Trial:
    load = Load(LoadKind.OPEN, None, 120.5, 4.0, 1.0, 50.0, Arrivals.UNIFORM, 3)
    first = BARE.trials[0]
    return replace(
        first,
        load=load,
        service_latency_ms=first.latency_ms,
        generator=GeneratorLoad(0.2, 0.1, 1.5, 0.4, 500, 490, 0.02, 0.03),
        offered=482,
        dropped=3,
        unanswered=2,
        in_flight=17.25,
        attempt=2,
        twin=True,
        steal_share=0.01,
        histograms={"latency": "HISTFAAA"},
        samples="latency/that-nobody-reads.csv.gz",
    )


def test_the_trials_of_a_search_come_back_without_their_samples(folder: RunFolder) -> None:
    plan = replace(RUN.plan, slo="p99=200ms", curve=True, url="http://there:8080")
    run = replace(BARE, plan=plan, trials=(), searched=(searched_trial(),))
    folder.write_run(run)
    assert folder.read() == Evidence(run, {}, {})


def test_a_run_from_before_there_were_searches_is_read(folder: RunFolder) -> None:
    folder.write_run(BARE)

    def make_older(document: dict[str, Any]) -> None:
        for name in ("break_evens", "capacities", "searched"):
            del document[name]
        for name in ("twins", "lenient", "sweep", "slo", "curve", "url"):
            del document["plan"][name]
        for name in ("arrivals", "workers"):
            del document["plan"]["load"][name]
        for verdict in document["verdicts"]:
            del verdict["noise"], verdict["rough_p99"]
        for trial in document["trials"]:
            for name in ("offered", "dropped", "unanswered", "in_flight", "attempt", "twin", "histograms"):
                del trial[name]

    alter(folder, make_older)
    assert folder.read().run == BARE


def test_a_summary_has_break_evens_only_of_a_sweep(tmp_path: Path) -> None:
    assert set(summary(BARE, tmp_path)) == {"run", "verdicts"}
    crossed = (BreakEven(BackendName.THREADS, BackendName.ASYNCIO, Standing.CROSSES, Interval(1, 2, BEYOND)),)
    swept = replace(BARE, plan=replace(RUN.plan, sweep=Sweep("n", (1.0, 2.0))), break_evens=crossed)
    told = summary(swept, tmp_path)
    assert told["run"] == str(tmp_path)
    assert told["break_evens"] == [
        {"backend": "threads", "over": "asyncio", "kind": "crosses", "size": [1, 2, None]}
    ]
    strictly(json.dumps(told, allow_nan=False))


def test_the_sizes_of_a_sweep_have_files_of_their_own() -> None:
    name = "a_package.of_our_own.with_a_module_of_long_name.and_a_function_that_says_what_it_does"
    assert file_name(f"{name}, n=1000") != file_name(f"{name}, n=2000")
