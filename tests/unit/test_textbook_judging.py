from __future__ import annotations

from collections.abc import Mapping

import pytest

from gilscope.claims import Cell, Figure, Standing, Topic
from gilscope.model import BackendName
from gilscope.textbook.claims_table import CELLS, CLAIMS
from gilscope.textbook.judging import Taken, judge, judge_all, module_of
from gilscope.textbook.looping_stages import (
    BESIDE,
    COMPUTING,
    IDLE,
    LINES,
    MANY,
    MANY_COMPUTING,
    ON_LOOP,
    PRINTING,
    Stage,
    stages,
)
from gilscope.textbook.rulings.base import milliseconds, percent, short
from gilscope.textbook.rulings.interference import UNFELT

ASYNCIO, THREADS, PROCESSES, INTERPRETERS = BackendName
HOLDS, FOOTNOTE, FAILS, UNKNOWN = Standing

Figures = Mapping[str, Figure]


def judged(topic: Topic, backend: BackendName, figures: Figures, **others: Figures) -> Cell:
    """Judge one cell; ``others`` are the figures of other backends, by name."""
    results = {(CELLS[topic], BackendName(name)): Taken(given) for name, given in others.items()}
    return judge(topic, backend, {**results, (CELLS[topic], backend): Taken(figures, "code")})


def test_every_claim_speaks_of_every_backend_and_has_an_experiment() -> None:
    assert list(CLAIMS) == list(Topic)
    assert all(list(claim.says) == list(BackendName) for claim in CLAIMS.values())
    assert module_of(Topic.SHARING) == "gilscope/textbook/cells/sharing.py"


@pytest.mark.parametrize(
    ("backend", "seen", "byte", "standing"),
    [
        (ASYNCIO, True, None, HOLDS),
        (THREADS, True, None, HOLDS),
        (THREADS, False, None, FAILS),
        (PROCESSES, False, False, HOLDS),
        (PROCESSES, False, True, FOOTNOTE),
        (INTERPRETERS, False, True, FOOTNOTE),
        (INTERPRETERS, True, True, FAILS),
    ],
)
def test_sharing(backend: BackendName, seen: bool, byte: bool | None, standing: Standing) -> None:  # noqa: FBT001
    cell = judged(Topic.SHARING, backend, {"seen": seen, "shared_byte_seen": byte})
    assert cell.standing is standing
    assert cell.headline == ("a worker's change is seen" if seen else "a worker's change is not seen")
    assert bool(cell.footnote) is (standing is FOOTNOTE)


@pytest.mark.parametrize(("same", "standing"), [(True, HOLDS), (False, FAILS)])
def test_nothing_to_copy_is_the_same_object(same: bool, standing: Standing) -> None:  # noqa: FBT001
    of_threads = {"same_object": same, "reference_1MB_there_ms": 0.021, "reference_1MB_back_ms": 0.02}
    assert judged(Topic.HANDING_OVER, THREADS, of_threads).standing is standing
    of_tasks = {"same_object": same, "reference_100MB_there_and_back_ms": 0.005}
    cell = judged(Topic.HANDING_OVER, ASYNCIO, of_tasks)
    assert cell.standing is standing
    assert cell.headline == f"100 MB: 5 us there and back, {'the same' if same else 'another'} object"


def handed(kind: str, small: float, large: float, other: str, shared: float) -> Figures:
    return {
        f"{kind}_1kB_there_ms": small,
        f"{kind}_100MB_there_ms": large,
        f"{kind}_100MB_back_ms": large,
        f"{other}_100MB_there_ms": shared,
        f"{other}_100MB_back_ms": shared,
    }


@pytest.mark.parametrize(
    ("small", "shared", "of_processes", "of_interpreters"),
    [(0.2, 200.0, FOOTNOTE, HOLDS), (0.2, 201.0, HOLDS, FOOTNOTE), (100.1, 1.0, FAILS, FAILS)],
)
def test_copying_takes_longer_for_more(
    small: float, shared: float, of_processes: Standing, of_interpreters: Standing
) -> None:
    cell = judged(Topic.HANDING_OVER, PROCESSES, handed("pickle", small, 300, "shared_memory", shared))
    assert cell.standing is of_processes
    assert cell.headline == "100 MB: 300 ms there, 300 ms back"
    cell = judged(Topic.HANDING_OVER, INTERPRETERS, handed("copy", small, 300, "buffer", shared))
    assert cell.standing is of_interpreters


def test_the_footnote_of_pickling_has_its_number() -> None:
    cell = judged(Topic.HANDING_OVER, PROCESSES, handed("pickle", 0.2, 333, "shared_memory", 48.7))
    assert cell.footnote == "Through multiprocessing.shared_memory 100 MB took 49 ms there, 49 ms back."


@pytest.mark.parametrize("backend", [PROCESSES, INTERPRETERS])
def test_what_there_is_no_room_for_is_left_out_with_its_reason(backend: BackendName) -> None:
    kind, other = ("pickle", "shared_memory") if backend is PROCESSES else ("copy", "buffer")
    figures: dict[str, Figure] = {
        f"{kind}_1kB_there_ms": 0.2,
        f"{kind}_1MB_there_ms": 0.9,
        f"{kind}_1MB_back_ms": 1.0,
        f"{kind}_100MB_there_ms": 300.0,
        f"{kind}_100MB_back_ms": 310.0,
        f"{other}_1MB_there_ms": 0.4,
        f"{other}_1MB_back_ms": 0.5,
        f"{other}_100MB_left_out": "/dev/shm has room for 67 MB",
    }
    cell = judged(Topic.HANDING_OVER, backend, figures)
    assert cell.headline == "100 MB: 300 ms there, 310 ms back"
    assert "1 MB took 400 us there, 500 us back." in cell.footnote
    why = f"100 MB by {other.replace('_', ' ')} was left out: /dev/shm has room for 67 MB."
    assert cell.footnote.endswith(why)


def test_what_is_too_small_to_tell_a_copy_is_not_taken_for_none() -> None:
    small: Figures = {"copy_1kB_there_ms": 0.1, "copy_1MB_there_ms": 0.2, "copy_1MB_back_ms": 0.2}
    shared: Figures = {
        "buffer_1MB_there_ms": 0.1,
        "buffer_1MB_back_ms": 0.1,
        "copy_100MB_left_out": "short of memory",
    }
    cell = judged(Topic.HANDING_OVER, INTERPRETERS, {**small, **shared})
    assert cell.standing is HOLDS
    assert cell.headline == "1 MB: 200 us there, 200 us back"
    assert cell.footnote.endswith("100 MB by copy was left out: short of memory.")


def wrong(**per_million: float) -> dict[str, Figure]:
    """Make figures of races; without the lock an update takes 80 ns, with it 200 ns, and nothing goes wrong."""
    figures: dict[str, Figure] = {"seats": 2_000, "updates": 40_000}
    for name, value in per_million.items():
        figures |= {f"{name}_wrong_per_million": value, f"{name}_ns": 80.0}
        figures |= {f"{name}_locked_wrong_per_million": 0.0, f"{name}_locked_ns": 200.0}
    return figures


@pytest.mark.parametrize(
    ("plain", "awaiting", "twice", "standing"),
    [(0, 0, 0, HOLDS), (0, 5e5, 1e6, FOOTNOTE), (0, 0, 1e6, FOOTNOTE), (1, 5e5, 1e6, FAILS)],
)
def test_tasks_interfere_at_an_await(plain: float, awaiting: float, twice: float, standing: Standing) -> None:
    figures = wrong(add_without_await=plain, add_with_await=awaiting, sell_with_await=twice)
    cell = judged(Topic.DATA, ASYNCIO, figures)
    assert cell.standing is standing
    kept = (
        "With an asyncio.Lock none of 40,000 was lost, and no seat was sold twice; it cost 120 ns per update."
    )
    assert (kept in cell.footnote) is (standing is FOOTNOTE)


@pytest.mark.parametrize(
    ("plain", "calling", "twice", "standing"),
    [(7, 5e5, 0, HOLDS), (0, 412_345, 8, FOOTNOTE), (0, 0, 8, FOOTNOTE), (0, 0, 0, FAILS)],
)
def test_threads_interfere_when_updates_are_lost(
    plain: float, calling: float, twice: float, standing: Standing
) -> None:
    cell = judged(Topic.DATA, THREADS, wrong(add=plain, add_with_call=calling, sell=twice))
    assert cell.standing is standing
    assert (
        cell.headline == f"{short(plain)} updates lost per million; {short(calling)} with a call in between"
    )


def test_a_headline_names_the_loss() -> None:
    figures = wrong(add=0, add_with_call=412_345, sell=8)
    assert (
        judged(Topic.DATA, THREADS, figures).headline
        == "0 updates lost per million; 410,000 with a call in between"
    )


@pytest.mark.parametrize(
    ("seen", "shared", "twice", "standing"),
    [(0, 0, 0, HOLDS), (0, 3e5, 20, FOOTNOTE), (0, 0, 20, FOOTNOTE), (1, 3e5, 20, FAILS)],
)
@pytest.mark.parametrize("backend", [PROCESSES, INTERPRETERS])
def test_copies_do_not_interfere_unless_shared(
    seen: int, shared: float, twice: float, standing: Standing, backend: BackendName
) -> None:
    figures = {**wrong(add=shared, sell=twice), "global_seen_by_parent": seen}
    cell = judged(Topic.DATA, backend, figures)
    assert cell.standing is standing
    if standing is FOOTNOTE:
        lock = "a multiprocessing.Lock" if backend is PROCESSES else "the only item of a queue"
        assert lock in cell.footnote


def test_a_lock_that_does_not_help_is_told() -> None:
    figures = {**wrong(add=3e5, sell=20), "global_seen_by_parent": 0}
    figures |= {"add_locked_wrong_per_million": 7.0, "sell_locked_wrong_per_million": 500.0}
    footnote = judged(Topic.DATA, INTERPRETERS, figures).footnote
    assert "7 per million were lost, and 1 of 2,000 seats were sold twice even so" in footnote
    assert "asks again after 10 ms" in footnote


@pytest.mark.parametrize("locked_ns", [80.0, 79.0])
def test_a_lock_that_took_no_longer_has_a_cost_that_is_not_measurable(locked_ns: float) -> None:
    figures = {**wrong(add=0, add_with_call=4e5, sell=8), "add_with_call_locked_ns": locked_ns}
    assert judged(Topic.DATA, THREADS, figures).footnote.endswith("; its cost is not measurable.")


def pinged(stages_: Mapping[Stage, tuple[float, float, float | None]], unanswered: int = 0) -> Figures:
    """Make figures of stages: p50, p99, GIL wait; all others are as on an idle service."""
    figures: dict[str, Figure] = {"pings_per_stage": 80, "cores": 2, "gil_enabled": True}
    every = {stage for service in (*stages(THREADS), *stages(ASYNCIO)) for stage in service}
    for stage in every:
        p50, p99, wait = stages_.get(stage, (1.0, 2.0, 0.0))
        figures |= {f"{stage.name}_ping_p50_ms": p50, f"{stage.name}_ping_p99_ms": p99}
        figures |= {f"{stage.name}_gil_wait_share": wait, f"{stage.name}_unanswered": 0}
        figures[f"{stage.name}_loops_begun"] = stage.loops
    figures |= {f"{stage.name}_unanswered": unanswered for stage in (PRINTING, ON_LOOP)}
    return figures


def test_a_loop_on_the_event_loop_leaves_no_answer() -> None:
    cell = judged(Topic.TIME, ASYNCIO, pinged({ON_LOOP: (1000, 1000, 0.0)}, unanswered=80))
    assert (cell.standing, cell.headline) == (
        HOLDS,
        "/ping p99 without a loop 2 ms; with the infinite loop: no answer",
    )
    assert judged(Topic.TIME, ASYNCIO, pinged({})).standing is FAILS


@pytest.mark.parametrize(
    ("printing", "computing", "standing"),
    [
        ((1.0, 7.0, 0.10), (1.0, 2.0, 0.0), HOLDS),
        ((1.0, 7.0, 0.09), (6.0, 60.0, 0.5), FOOTNOTE),
        ((1.0, 6.9, 0.9), (6.0, 60.0, 0.5), FOOTNOTE),
        ((1.0, 6.9, 0.09), (6.0, 60.0, 0.05), FAILS),
        ((1.5, 6.9, 0.9), (1.0, 2.0, 0.0), HOLDS),
        ((1.0, 60.0, 0.0), (1.0, 2.0, 0.0), FAILS),
        ((1.5, 60.0, None), (1.0, 2.0, None), HOLDS),
        ((1.4, 60.0, None), (1.0, 2.0, None), FAILS),
    ],
)
def test_threads_interfere_in_time_through_the_gil(
    printing: tuple[float, float, float | None],
    computing: tuple[float, float, float | None],
    standing: Standing,
) -> None:
    figures = pinged({PRINTING: printing, COMPUTING: computing})
    assert judged(Topic.TIME, THREADS, figures).standing is standing


def test_four_loops_count_where_one_is_not_felt() -> None:
    cell = judged(Topic.TIME, THREADS, pinged({MANY_COMPUTING: (50.0, 216.0, 0.8)}))
    assert cell.standing is FOOTNOTE
    assert "four of those: 216 ms" in cell.footnote


def test_on_a_single_core_there_is_no_other() -> None:
    cell = judged(Topic.TIME, PROCESSES, {**pinged({}), "cores": 1})
    assert (
        cell.headline
        == "/ping p99 without a loop 2 ms; with the infinite loop: 2 ms (the event loop waited for the GIL 0 % of the time)"
    )


def test_what_the_place_and_the_output_of_a_loop_change_is_told() -> None:
    figures = pinged({PRINTING: (1000, 1000, 0.9), BESIDE: (1.0, 2.2, 0.0), LINES: (1.0, 3.3, 0.0)})
    cell = judged(Topic.TIME, THREADS, figures)
    assert cell.standing is HOLDS
    assert (
        "On the same core: 2.2 ms; where each line is written at once, as to a terminal: 3.3 ms"
        in cell.footnote
    )


@pytest.mark.parametrize(
    ("core_wait", "standing"), [(0.0, HOLDS), (0.09, HOLDS), (0.1, FAILS), (None, HOLDS)]
)
def test_without_a_gil_later_pings_are_the_doing_of_the_cores_where_the_event_loop_waited_for_one(
    core_wait: float | None, standing: Standing
) -> None:
    figures = {**pinged({PRINTING: (6.0, 60.0, None)}), "gil_enabled": False}
    cell = judged(Topic.TIME, THREADS, {**figures, f"{PRINTING.name}_core_wait_share": core_wait})
    assert cell.standing is standing
    assert "GIL" not in cell.headline + cell.footnote.replace("no GIL to wait for", "")
    assert ("waited for a core" in cell.headline) is (core_wait is not None)
    assert ("no GIL to wait for" in cell.footnote) is (standing is FAILS)


def test_without_a_gil_nobody_asks_whether_processes_wait_for_one() -> None:
    cell = judged(Topic.TIME, PROCESSES, {**pinged({MANY: (4.0, 20.0, None)}), "gil_enabled": False})
    assert cell.footnote == "They share the cores. With four loops, /ping p99: 20 ms; without, 2 ms."


@pytest.mark.parametrize("stage", [BESIDE, LINES, MANY])
def test_any_loop_that_is_felt_counts(stage: Stage) -> None:
    assert judged(Topic.TIME, THREADS, pinged({stage: (6.0, 60.0, 0.5)})).standing is FOOTNOTE


def test_loops_that_did_not_get_to_run_are_told() -> None:
    figures = {**pinged({MANY_COMPUTING: (50.0, 216.0, 0.8)}), f"{MANY_COMPUTING.name}_loops_begun": 3}
    assert "four of those: 216 ms (3 of 4 loops got to run)" in judged(Topic.TIME, THREADS, figures).footnote


def test_on_a_busy_machine_a_wait_for_the_gil_counts_though_pings_are_late_anyway() -> None:
    busy = pinged({IDLE: (1.0, 30.0, 0.0), PRINTING: (1.4, 31.0, 0.05), COMPUTING: (1.4, 80.0, 0.5)})
    cell = judged(Topic.TIME, THREADS, busy)
    assert cell.standing is FOOTNOTE
    assert cell.footnote.startswith(UNFELT)
    late = pinged({IDLE: (1.0, 5.0, 0.0), COMPUTING: (1.5, 14.9, 0.5)})
    assert judged(Topic.TIME, THREADS, late).standing is FOOTNOTE, "most of the pings are later"


def test_four_loops_without_an_answer_are_worded() -> None:
    figures = {**pinged({MANY: (1000, 1000, 0.0)}), f"{MANY.name}_unanswered": 80}
    assert (
        judged(Topic.TIME, THREADS, figures).footnote
        == "With four loops, /ping p99: no answer; without, 2 ms."
    )


def test_pings_without_an_answer_are_named_by_their_share() -> None:
    cell = judged(Topic.TIME, THREADS, pinged({PRINTING: (2.0, 1000, 0.8)}, unanswered=20))
    assert "with the infinite loop on another core: 25 % of pings got no answer within 1 s" in cell.headline
    assert "waited for the GIL 80 % of the time" in cell.headline


@pytest.mark.parametrize("backend", [PROCESSES, INTERPRETERS])
@pytest.mark.parametrize(
    ("stage", "pings", "standing"),
    [
        (PRINTING, (1.0, 2.0, 0.0), HOLDS),
        (MANY, (4.0, 20.0, 0.0), FOOTNOTE),
        (PRINTING, (4.0, 800.0, 0.0), FOOTNOTE),
        (COMPUTING, (4.0, 20.0, 0.3), FAILS),
        (PRINTING, (4.0, 20.0, None), FOOTNOTE),
        (COMPUTING, (4.0, 800.0, None), FOOTNOTE),
        (PRINTING, (1.0, 2.0, None), HOLDS),
    ],
)
def test_those_apart_interfere_through_the_cores_at_most(
    backend: BackendName, stage: Stage, pings: tuple[float, float, float | None], standing: Standing
) -> None:
    cell = judged(Topic.TIME, backend, pinged({stage: pings}))
    assert cell.standing is standing
    assert cell.footnote.startswith("They share the cores.") is (standing is not FAILS)
    assert ("the lens could not look" in cell.footnote) is (standing is FOOTNOTE and pings[2] is None)


@pytest.mark.parametrize(
    ("backend", "died", "neighbour", "standing"),
    [
        (ASYNCIO, True, None, HOLDS),
        (THREADS, True, None, HOLDS),
        (THREADS, False, False, FAILS),
        (PROCESSES, False, True, FOOTNOTE),
        (PROCESSES, False, False, HOLDS),
        (PROCESSES, True, None, FAILS),
        (INTERPRETERS, True, None, FAILS),
    ],
)
def test_crash(backend: BackendName, died: bool, neighbour: bool | None, standing: Standing) -> None:  # noqa: FBT001
    figures = {"service_died": died, "neighbour_failed": neighbour, "answers_again_ms": 85.2}
    cell = judged(Topic.CRASH, backend, figures)
    assert cell.standing is standing
    assert "85 ms" in cell.headline


def suited(
    waiting: tuple[float, float], computing: tuple[float, float], held_ms: float | None = None, **rates: float
) -> Figures:
    """Make figures: calls/s and longest stall (ms) of fetching and of computing, calls/s of others.

    ``held_ms`` is the longest stall beside the C call, which is else that of computing.
    """
    figures: dict[str, Figure] = {"cores": 2, "workers": 2, "in_flight": 8, "gil_enabled": False}
    on_loop = {"primes_on_loop_calls_per_s": 300.0, "primes_on_loop_longest_stall_ms": 40.0}
    own = {"sha256": 100.0, "c_call": 100.0, "noop": 1000.0, "largest": 100.0, **rates}
    for name, pair in {"http_fetch": waiting, "primes": computing}.items():
        figures |= {f"{name}_calls_per_s": pair[0], f"{name}_longest_stall_ms": pair[1]}
    for name, rate in own.items():
        figures |= {f"{name}_calls_per_s": rate, f"{name}_longest_stall_ms": 56.0}
        figures[f"{name}_on_loop_calls_per_s"] = 1000.0 if name == "noop" else 100.0
    figures["c_call_longest_stall_ms"] = held_ms or computing[1]
    return figures | on_loop


TASKS = suited((300, 2), (300, 40))


@pytest.mark.parametrize(
    ("backend", "rate", "stall_ms", "standing"),
    [
        (THREADS, 240, 99, HOLDS),
        (THREADS, 239, 2, FAILS),
        (THREADS, 300, 100, FAILS),
        (PROCESSES, 300, 100, HOLDS),
        (PROCESSES, 239, 2, HOLDS),
        (PROCESSES, 240, 2, FAILS),
        (INTERPRETERS, 80, 2, HOLDS),
    ],
)
def test_waiting_work(backend: BackendName, rate: float, stall_ms: float, standing: Standing) -> None:
    cell = judged(Topic.WAITING_WORK, backend, suited((rate, stall_ms), (300, 2)), asyncio=TASKS)
    assert cell.standing is standing
    few = "Its 2 workers wait for 2 of the 8 calls in flight at a time. More of them would wait for more, each at the memory of one."
    assert (few in cell.footnote) is (backend in (PROCESSES, INTERPRETERS) and rate < 240)
    stalled = "The event loop was kept from running for 100 ms, though it made as many calls as the best."
    assert (stalled in cell.footnote) is (stall_ms == 100)


@pytest.mark.parametrize(
    ("backend", "rate", "stall_ms", "sha256", "standing"),
    [
        (THREADS, 390, 40, 100, HOLDS),
        (THREADS, 391, 40, 100, FAILS),
        (THREADS, 300, 40, 131, FOOTNOTE),
        (THREADS, 300, 2, 130, HOLDS),
        (PROCESSES, 391, 40, 100, HOLDS),
        (PROCESSES, 300, 20, 100, FAILS),
        (PROCESSES, 300, 19, 100, FOOTNOTE),
    ],
)
def test_computing_work(
    backend: BackendName, rate: float, stall_ms: float, sha256: float, standing: Standing
) -> None:
    figures = suited((300, 2), (rate, stall_ms), sha256=sha256)
    assert judged(Topic.COMPUTING_WORK, backend, figures, asyncio=TASKS).standing is standing


def test_who_gains_nothing_but_leaves_the_loop_free_has_a_footnote_that_says_so() -> None:
    cell = judged(Topic.COMPUTING_WORK, PROCESSES, suited((80, 2), (261, 19)), asyncio=TASKS)
    assert cell.footnote == (
        "No gain in speed here (0.87 times), but the event loop stays free: its stall was 19 ms, and 40 ms "
        "where it made the calls itself."
    )


def test_everything_is_compared_with_what_took_turns_with_it() -> None:
    slow_then = suited((300, 2), (100, 40), sha256=10, c_call=10, noop=10, largest=10)
    cell = judged(Topic.COMPUTING_WORK, THREADS, suited((300, 2), (300, 40)), asyncio=slow_then)
    assert (cell.standing, "1 times the 300 that the event loop itself made" in cell.headline) == (
        HOLDS,
        True,
    )
    cell = judged(Topic.COMPUTING_WORK, PROCESSES, suited((80, 2), (600, 3), noop=890, largest=89))
    assert "890 no-op calls/s against 1,000 on the event loop itself" in cell.footnote
    assert "ran 0.89 times as fast" in cell.footnote


@pytest.mark.parametrize(
    ("sha256", "held_ms", "releases", "holds"),
    [(100, 79, False, False), (131, 79, True, False), (100, 80, False, True), (131, 80, True, True)],
)
def test_c_code_that_releases_the_gil_and_c_calls_that_hold_it_are_told_each_for_itself(
    sha256: float,
    held_ms: float,
    releases: bool,  # noqa: FBT001
    holds: bool,  # noqa: FBT001
) -> None:
    figures = suited((300, 2), (300, 40), held_ms, sha256=sha256)
    cell = judged(Topic.COMPUTING_WORK, THREADS, figures)
    assert ("SHA-256 ran 1.3 times as fast" in cell.footnote) is releases
    held = "such calls of about 10 ms kept the event loop from running for 80 ms, pure Python for 40 ms"
    assert (held in cell.footnote) is holds
    assert cell.standing is (FOOTNOTE if releases or holds else HOLDS)


def test_what_a_gil_does_not_allow_is_not_judged() -> None:
    impossible = {**suited((300, 2), (540, 40)), "gil_enabled": True}
    cell = judged(Topic.COMPUTING_WORK, THREADS, impossible, asyncio=TASKS)
    assert cell.standing is UNKNOWN
    assert "ran 1.8 times as fast as one at a time, which the GIL does not allow" in cell.footnote
    assert judged(Topic.COMPUTING_WORK, PROCESSES, {**impossible}, asyncio=TASKS).standing is HOLDS, (
        "each process has a GIL of its own"
    )


def test_one_core_has_no_speed_to_gain() -> None:
    figures = {**suited((300, 2), (600, 40), sha256=600), "cores": 1}
    assert judged(Topic.COMPUTING_WORK, THREADS, figures, asyncio=TASKS).standing is HOLDS


def test_the_footnotes_of_computing_have_their_numbers() -> None:
    on_threads = suited((300, 2), (300, 40), sha256=190, noop=500)
    cell = judged(Topic.COMPUTING_WORK, THREADS, on_threads, asyncio=TASKS)
    assert "SHA-256 ran 1.9 times as fast" in cell.footnote
    cell = judged(
        Topic.COMPUTING_WORK, PROCESSES, suited((80, 2), (600, 3), noop=89, largest=61), asyncio=TASKS
    )
    assert cell.standing is FOOTNOTE
    assert "89 no-op calls/s against 1,000 on the event loop itself" in cell.footnote
    assert "ran 0.61 times as fast" in cell.footnote
    cell = judged(Topic.COMPUTING_WORK, ASYNCIO, TASKS, threads=on_threads)
    assert (cell.standing, cell.headline) == (FOOTNOTE, "300 calls/s; stall 40 ms")
    assert "1,000 no-op calls/s against 500 on threads" in cell.footnote
    assert judged(Topic.COMPUTING_WORK, ASYNCIO, TASKS, threads=TASKS).standing is HOLDS


def cost(start_ms: float, call_us: float, worker_mb: float) -> Figures:
    once: Figures = {"first_start_ms": 97.0, "start_method": "fork"}
    return {"start_ms": start_ms, "call_us": call_us, "worker_mb": worker_mb, **once}


@pytest.mark.parametrize(
    ("figures", "standing"),
    [((19.9, 199, 99), HOLDS), ((20, 199, 99), FAILS), ((1, 200, 99), FAILS), ((1, 9, 100), FAILS)],
)
def test_a_loop_costs_almost_nothing(figures: tuple[float, float, float], standing: Standing) -> None:
    names = ("start_ms", "call_us", "ten_thousand_tasks_mb")
    assert judged(Topic.COSTS, ASYNCIO, dict(zip(names, figures, strict=True))).standing is standing


@pytest.mark.parametrize(
    ("figures", "standing"),
    [((19.9, 999, 0.9), HOLDS), ((20, 999, 0.9), FAILS), ((1, 1000, 0.9), FAILS), ((1, 9, 1.0), FAILS)],
)
def test_a_thread_is_cheap(figures: tuple[float, float, float], standing: Standing) -> None:
    assert judged(Topic.COSTS, THREADS, cost(*figures)).standing is standing


@pytest.mark.parametrize(
    ("figures", "standing"),
    [((3.0, 1, 3.0), HOLDS), ((3.0, 1, 2.9), FOOTNOTE), ((2.9, 30, 2.9), FOOTNOTE), ((2.9, 29, 2.9), FAILS)],
)
def test_a_process_is_expensive(figures: tuple[float, float, float], standing: Standing) -> None:
    cell = judged(Topic.COSTS, PROCESSES, cost(*figures), threads=cost(1, 10, 1))
    assert cell.standing is standing
    assert cell.headline.endswith("; the very first took 97 ms to start (fork)")


@pytest.mark.parametrize(
    ("figures", "standing"),
    [
        ((5, 50, 5), HOLDS),
        ((11.4, 50, 8.8), FOOTNOTE),
        ((11.6, 50, 1), FOOTNOTE),
        ((11.6, 8.6, 9), FAILS),
    ],
)
def test_an_interpreter_is_in_between(figures: tuple[float, float, float], standing: Standing) -> None:
    threads, processes = cost(1, 10, 1), cost(10, 100, 10)
    cell = judged(Topic.COSTS, INTERPRETERS, cost(*figures), threads=threads, processes=processes)
    assert cell.standing is standing
    told = {
        11.4: "In between only to call; as much as a process to start and in memory. A thread took 1 ms",
        11.6: "In between only to call; more than a process to start; no more than a thread in memory. A thread",
    }
    if standing is FOOTNOTE:
        assert cell.footnote.startswith(told[figures[0]])


def test_a_cost_without_one_to_compare_with_is_not_measured() -> None:
    cell = judged(Topic.COSTS, PROCESSES, cost(1, 1, 1))
    assert (cell.standing, cell.headline) == (UNKNOWN, "not measured")


@pytest.mark.parametrize(
    ("ran", "many_ran", "standing"), [(True, True, HOLDS), (False, True, FAILS), (True, False, FAILS)]
)
def test_a_call_shows_its_lines_and_those_for_many(ran: bool, many_ran: bool, standing: Standing) -> None:  # noqa: FBT001
    one = 'def in_threads():\n    """Run."""\n    import threading\n\n    threading.Thread().start()\n    return 1\n'
    many = 'async def many_in_threads():\n    """Run."""\n    import pool\n    with pool:\n        run()\n    return 1\n'
    results = {("calling", THREADS): Taken({"ran": ran, "many_ran": many_ran}, one + many)}
    cell = judge(Topic.CALL, THREADS, results)
    assert cell.standing is standing
    assert cell.code == "import threading\nthreading.Thread().start()\n\nimport pool\nwith pool:\n    run()"


@pytest.mark.parametrize("topic", list(Topic))
@pytest.mark.parametrize("backend", list(BackendName))
def test_figures_that_are_missing_or_no_numbers_are_not_judged(topic: Topic, backend: BackendName) -> None:
    garbage: Figures = {"seen": 3, "service_died": "no", "ran": None, "answers_again_ms": "soon"}
    for figures in (dict[str, Figure](), garbage):
        cell = judged(topic, backend, figures)
        assert cell.standing is UNKNOWN
        assert cell.footnote.startswith("The figures cannot be judged: ")
        assert cell.says == CLAIMS[topic].says[backend]


def test_all_cells_are_there_in_order_with_their_reasons() -> None:
    cells = judge_all({("sharing", THREADS): Taken({"seen": True}, "code")})
    assert [(cell.topic, cell.backend) for cell in cells] == [(t, b) for t in Topic for b in BackendName]
    known = [cell for cell in cells if cell.standing is not UNKNOWN]
    assert [(cell.topic, cell.backend, cell.code) for cell in known] == [(Topic.SHARING, THREADS, "code")]
    assert {cell.footnote for cell in cells if cell.standing is UNKNOWN} == {"It was not run."}


def test_numbers_are_written_with_the_digits_that_count() -> None:
    assert [short(value) for value in (0, 0.061, 4.21, 48.7, 333.4, 412_345, 1e6)] == [
        "0",
        "0.061",
        "4.2",
        "49",
        "333",
        "410,000",
        "1,000,000",
    ]
    assert [milliseconds(value) for value in (0.00012, 0.0066, 0.5, 12.3, 1500)] == [
        "120 ns",
        "6.6 us",
        "500 us",
        "12 ms",
        "1.5 s",
    ]
    assert percent(0.714) == "71 %"
