"""Comparisons that are killed, as a user finds them: and how ``--resume`` finishes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from commanded import gilscope, require_the_end_of_all, started, survivors
from polling import eventually
from requirements import require
from short_runs import SHORT, WORK, after

from gilscope.child import Child
from gilscope.compare.holding import LOCK_FILE, holder
from gilscope.compare.plan import schedule
from gilscope.compare.store import RunFolder
from gilscope.errors import DiskFullError, LoadError
from gilscope.load.control import Generator
from gilscope.load.orders import Order
from gilscope.model import Run
from gilscope.scratch import PREFIX

pytestmark = pytest.mark.integration

TWO_TRIALS = (*SHORT, "--backends", "asyncio", "--blocks", "1")
SIX_TRIALS = (*SHORT, "--backends", "asyncio,threads", "--blocks", "2", "--no-profiles")


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    (tmp_path / "work.py").write_text(WORK)
    return tmp_path


def order_of(run: Run) -> list[tuple[str, int, bool]]:
    return [(str(trial.backend), trial.block, trial.twin) for trial in run.trials]


def commands_of(mark: str) -> list[str]:
    """Return what the processes of a command are doing."""
    found = []
    for process in survivors(mark):
        with suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found


def running(mark: str, *words: str) -> Callable[[], bool]:
    def all_there() -> bool:
        found = commands_of(mark)
        return all(any(word in command for command in found) for word in words)

    return all_there


def kill_when(
    cwd: Path,
    moment: Callable[[subprocess.Popen[str], str], None],
    *arguments: str,
    command: str = "compare",
) -> None:
    """Kill a command, and nothing else: its children have to find out."""
    with started(cwd, command, *arguments) as (process, mark):
        moment(process, mark)
        assert process.poll() is None
        process.kill()
        process.wait()
    require_the_end_of_all(mark)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The commands' own place for temporary files; sockets lie there, too, so its path is short."""
    with tempfile.TemporaryDirectory(prefix="g-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def scratch_folders(temporary: Path) -> set[str]:
    return {path.name for path in temporary.glob(f"{PREFIX}*")}


# kill -9.


def test_a_run_that_was_killed_twice_ends_as_if_it_had_not_been(cwd: Path) -> None:
    kill_when(cwd, lambda process, _: after(2)(process), *SIX_TRIALS)
    folder = RunFolder(cwd / "run")
    first = folder.read().run
    expected = [(str(slot.backend), slot.block, slot.twin) for slot in schedule(first.plan)]
    assert order_of(first) == expected[: len(first.trials)]
    assert (first.complete, len(first.trials) >= 2, holder(folder.path)) == (False, True, None)
    kill_when(cwd, lambda process, _: after(2)(process), "--resume", "run")
    second = folder.read().run
    assert order_of(second) == expected[: len(second.trials)]
    assert len(second.trials) >= len(first.trials) + 1
    ended = gilscope(cwd, "compare", "--resume", "run", "--json")
    assert ended.code == 0, ended.err
    assert f"resuming run: {len(second.trials)} of 6 trials are in" in ended.err
    run = folder.read().run
    assert (run.complete, order_of(run)) == (True, expected)
    assert run.trials[: len(second.trials)] == second.trials, "what was measured stays as it was"
    assert len(run.resumed_at) == 2
    assert run.cautions == ()
    assert [verdict["workload"] for verdict in json.loads(ended.out)["verdicts"]] == ["work.spin"]
    assert first.timing.total_s < second.timing.total_s < run.timing.total_s
    assert run.timing.load_s >= 6 * 0.6
    assert {path.name for path in folder.path.iterdir()} == {"run.json", "report.html", "latency", "flames"}
    assert not list(folder.path.rglob("*.tmp"))
    assert "2 times, last " in (folder.path / "report.html").read_text(encoding="utf-8")
    require_the_end_of_all(ended.mark)
    again = gilscope(cwd, "compare", "--resume", "run")
    assert (again.code, again.out) == (0, "nothing to resume: run is complete\nreport: run/report.html\n")


LONG = ("work.py:spin", "--arg", "n=2000", "--lenient", "--duration", "600", "--warm-up", "0", "--out", "run")
ALL = ("gilscope.load.generator", "gilscope.lens.process", "gilscope serve")


@pytest.mark.parametrize(
    ("arguments", "children"),
    [
        ((*LONG, "--backends", "processes"), (*ALL, "forkserver")),
        ((*LONG, "--backends", "threads", "--rate", "100", "--live"), (*ALL, "gilscope.live.process")),
        ((*LONG, "--backends", "threads", "--load-workers", "2"), (*ALL, "gilscope.load.worker")),
        (("http_fetch", *LONG[3:], "--backends", "asyncio"), (*ALL, "gilscope.workloads.upstream")),
    ],
    ids=["processes", "open loop with a page", "several workers", "upstream"],
)
def test_killed_in_the_middle_of_a_window_nothing_lives_on(
    cwd: Path, arguments: tuple[str, ...], children: tuple[str, ...]
) -> None:
    def in_a_window(_process: subprocess.Popen[str], mark: str) -> None:
        eventually(running(mark, *children), f"all of {children}")
        time.sleep(2.0)  # Nothing tells outside that a window of ten minutes has begun.

    kill_when(cwd, in_a_window, *arguments)
    run = RunFolder(cwd / "run").read_run()
    assert (run.complete, run.trials) == (False, ())
    ended = gilscope(cwd, "report", "run")
    assert (ended.code, " trials are in; it was interrupted" in ended.err) == (0, True)


@pytest.mark.parametrize(
    "never_returns",
    ["while True: ...", "ctypes.PyDLL(None).pause()"],
    ids=["it computes", "in C, with the GIL"],
)
@pytest.mark.parametrize(
    ("command", "child"),
    [("compare", "gilscope.compare.inspection"), ("classify", "gilscope.classify.measuring")],
    ids=["compare", "classify"],
)
def test_killed_while_a_function_never_returns_nothing_lives_on(
    cwd: Path, command: str, child: str, never_returns: str
) -> None:
    (cwd / "stuck.py").write_text(
        f"import ctypes, pathlib\ndef work():\n    pathlib.Path('begun').touch()\n    {never_returns}\n"
    )

    def stuck(_process: subprocess.Popen[str], mark: str) -> None:
        eventually(lambda: running(mark, child)() and (cwd / "begun").exists(), "a call")

    kill_when(cwd, stuck, "stuck.py:work", command=command)


def test_killed_while_graphs_are_taken_it_takes_them_when_it_is_resumed(cwd: Path) -> None:
    def profiling(_process: subprocess.Popen[str], mark: str) -> None:
        eventually(running(mark, "py-spy record"), "a profiler")

    kill_when(cwd, profiling, *TWO_TRIALS)
    ended = gilscope(cwd, "compare", "--resume", "run")
    assert ended.code == 0, ended.err
    run = RunFolder(cwd / "run").read().run
    assert len(run.trials) == 2
    assert len(run.flames) == 3
    assert run.timing.profiling_s > 2.0


def test_scratch_of_a_killed_run_goes_with_the_next(cwd: Path, temporary: Path) -> None:
    def classifying(_process: subprocess.Popen[str], mark: str) -> None:
        eventually(running(mark, "gilscope.classify.measuring"), "the classification")

    kill_when(cwd, classifying, *TWO_TRIALS, "--no-profiles")
    (left,) = scratch_folders(temporary)
    ended = gilscope(cwd, "compare", "--resume", "run")
    assert ended.code == 0, ended.err
    assert left not in scratch_folders(temporary)
    assert RunFolder(cwd / "run").read_run().plan.targets[0].classification is not None


# Two at once.


def test_two_comparisons_do_not_write_into_one_folder(cwd: Path) -> None:
    with started(cwd, "compare", *SIX_TRIALS, "--blocks", "50") as (process, mark):
        eventually((cwd / "run" / "run.json").exists, "the run")
        for arguments in (("compare", *SIX_TRIALS), ("compare", "--resume", "run")):
            second = gilscope(cwd, *arguments)
            assert (second.code, second.out) == (2, "")
            told = f"run is being written by a comparison that still runs (process {process.pid})\n  -> "
            assert second.err.startswith(f"gilscope compare: {told}")
            assert not survivors(second.mark)
        reported = gilscope(cwd, "report", "run")
        assert reported.code == 0
        assert f"it still runs (process {process.pid})" in reported.err
        assert process.poll() is None
        process.kill()
        process.wait()
    require_the_end_of_all(mark)
    assert (cwd / "run" / LOCK_FILE).exists(), "nobody could take it away"
    reported = gilscope(cwd, "report", "run")
    assert (reported.code, "it was interrupted\n  -> gilscope compare --resume run" in reported.err) == (
        0,
        True,
    )


# The generator by itself.

SERVICE = """
import asyncio, json, sys
from aiohttp import web

async def work(request):
    await asyncio.sleep(0.004)
    return web.Response(text="done", headers={"Server-Timing":
        "queue;dur=0.25, run;dur=4.5, cpu;dur=0.5, suspended;dur=0.25, return;dur=0.125, total;dur=5.0"})

async def main():
    app = web.Application()
    app.router.add_get("/work/{workload}/{backend}", work)
    app.router.add_get("/ping", lambda request: asyncio.sleep(0, web.Response(text="pong")))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
def order(tmp_path: Path) -> Iterator[Order]:
    with Child([sys.executable, "-c", SERVICE], failure=LoadError) as service:
        url = str(service.receive(60)["url"])
        path = str(tmp_path / "one.csv.gz")
        yield Order(url, "primes", "threads", 2, 0.1, 0.5, 50.0, 1, 1.0, path)


def test_samples_that_cannot_be_written_are_told_by_the_generator(order: Order) -> None:
    require(Path("/dev/full").exists(), "there is no /dev/full")
    Path(f"{order.samples}.tmp").symlink_to("/dev/full")
    generator = Generator()
    with (
        pytest.raises(DiskFullError, match=r"cannot write .*one\.csv\.gz: No space left on device"),
        generator.load(order, lambda: None),
    ):
        pytest.fail("nothing was measured")
    assert list(Path(order.samples).parent.glob("one*")) == []
    with generator.load(order, lambda: None) as measured:
        assert measured.samples.work.at_s
    generator.stop()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_generator_ends_with_its_input_in_the_middle_of_a_window(order: Order, workers: int) -> None:
    command = [sys.executable, "-P", "-m", "gilscope.load.generator"]
    command += [f"--workers={workers}"] if workers > 1 else []
    document = {**asdict(order), "seconds": 600.0}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"event": "ready"}
        process.stdin.write(json.dumps(document).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"event": "measuring"}
        children = psutil.Process(process.pid).children()
        assert len(children) == (workers if workers > 1 else 0)
        process.stdin.close()
        assert process.wait(30) == 0
        psutil.wait_procs(children, timeout=30)
        assert not any(child.is_running() for child in children)
    assert not os.path.lexists(order.samples)
