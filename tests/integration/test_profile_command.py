"""``gilscope profile`` as a real process, of real processes and a real service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from polling import PATIENCE_S, all_end, eventually
from requirements import require
from served import Served, serving

from gilscope.child import Child
from gilscope.errors import INTERRUPTED, ServiceError
from gilscope.flame.folded import parse, split_frame
from gilscope.model import FlameKind

pytestmark = pytest.mark.integration

SPINS = """
import threading

def hold_the_gil():
    while True:
        pass

threading.Thread(target=hold_the_gil, daemon=True).start()
threading.Thread(target=hold_the_gil, daemon=True).start()
print("{}", flush=True)
input()
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "graphs"


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Give a folder for what must be gone in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def spinning() -> Iterator[int]:
    with Child([sys.executable, "-c", SPINS], failure=ServiceError) as child:
        child.receive(60)
        yield child.pid


def command(*options: object) -> list[str]:
    return [sys.executable, "-P", "-m", "gilscope", "profile", *map(str, options)]


def environment(temporary: Path | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "GILSCOPE_TOKEN"}
    return {**kept, **({"TMPDIR": str(temporary)} if temporary else {})}


def run(*options: object, temporary: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*options),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
        env=environment(temporary),
    )
    if "no right to read" in done.stderr:
        require(condition=False, reason=f"py-spy cannot look into a child of ours here: {done.stderr}")
    assert "Traceback" not in done.stderr
    return done


def names_in(path: Path) -> set[str]:
    return {split_frame(frame).name for stack in parse(path.read_text()) for frame in stack}


def test_a_process_is_drawn_with_all_three_kinds(spinning: int, out: Path, temporary: Path) -> None:
    done = run("--pid", spinning, "--seconds=1", "--out", out, "--json", temporary=temporary)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["folder"] == str(out)
    assert list(answer["graphs"]) == ["holding", "waiting", "wall"]
    assert {path.name for path in out.iterdir()} == {
        f"{kind}.{form}" for kind in FlameKind for form in ("svg", "folded", "speedscope.json")
    }
    for kind in FlameKind:
        assert "hold_the_gil" in names_in(out / f"{kind}.folded")
    assert answer["graphs"]["waiting"]["requests"] is None
    assert list(temporary.iterdir()) == []


def test_ctrl_c_ends_everybody_but_the_target(spinning: int, out: Path, temporary: Path) -> None:
    with subprocess.Popen(
        command("--pid", spinning, "--seconds=60", "--out", out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(temporary),
        start_new_session=True,
    ) as process:
        root = psutil.Process(process.pid)

        def at_work() -> list[psutil.Process]:
            return [child for child in root.children(recursive=True) if child.name() == "py-spy"]

        eventually(lambda: process.poll() is not None or len(at_work()) == 2, "two py-spy at work")
        everybody = root.children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        printed, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, printed, err) == (INTERRUPTED, "", "")
    assert len(everybody) >= 3
    all_end(everybody)
    assert not out.exists()
    assert list(temporary.iterdir()) == []
    target = psutil.Process(spinning)
    eventually(lambda: target.status() != psutil.STATUS_TRACING_STOP, "the target to go on")


@dataclass
class Refusal:
    """What the command said and left behind where it could not capture."""

    code: int
    out: str
    err: str
    left: list[str]


def refusal(process: subprocess.Popen[str], folder: Path) -> Refusal:
    out, err = process.communicate(timeout=PATIENCE_S)
    return Refusal(process.returncode, out, err, [path.name for path in folder.iterdir()])


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refusal]:
    """Run the command on processes that cannot be captured, all at once: each takes seconds to find out."""
    folder = tmp_path_factory.mktemp("refusals")
    with subprocess.Popen(["true"]) as ended:
        pass
    with subprocess.Popen(["sleep", "600"]) as sleeping, ExitStack() as stack:
        stack.callback(sleeping.kill)
        pids = {"ended": ended.pid, "nobody": 2**22, "sleep": sleeping.pid}
        running = {}
        for name, pid in pids.items():
            (folder / name).mkdir()
            running[name] = stack.enter_context(
                subprocess.Popen(
                    command("--pid", pid, "--seconds=1", "--out", folder / name / "graphs"),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment(folder / name),
                )
            )
        return {name: refusal(process, folder / name) for name, process in running.items()}


ENDED = "gilscope profile: py-spy could not capture stacks: the process has ended\n  -> see why it ended\n"
NO_PYTHON = (
    "gilscope profile: py-spy could not capture stacks: py-spy does not know this Python\n"
    "  -> a newer py-spy, or another Python\n"
)


@pytest.mark.parametrize(("name", "says"), [("ended", ENDED), ("nobody", ENDED), ("sleep", NO_PYTHON)])
def test_a_process_that_cannot_be_captured_is_one_message(
    refusals: dict[str, Refusal], name: str, says: str
) -> None:
    assert refusals[name] == Refusal(1, "", says, left=[])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service that wants a token, at work for a bounded time."""
    folder = tmp_path_factory.mktemp("profiles")
    options = ("--workload=primes", "--backends=threads", "--pool-size=2", "--token=secret")
    with serving(*options, "--profiles", str(folder)) as served:
        over = threading.Event()

        def ask() -> None:
            for _ in range(5_000):
                if over.is_set():
                    return
                served.result("/work/primes/threads?n=30000")

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        yield served
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("token", "told"),
    [([], "wants its token"), (["--token=wrong"], "does not accept this token")],
    ids=["none", "wrong"],
)
def test_a_service_with_a_token_wants_it(served: Served, out: Path, token: list[str], told: str) -> None:
    done = run(served.ready["url"], *token, "--seconds=1", "--out", out)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"gilscope profile: the service {told}\n  -> --token SECRET, or GILSCOPE_TOKEN\n"
    assert not out.exists()


def test_a_service_with_its_token_is_drawn(served: Served, out: Path) -> None:
    done = run(served.ready["url"], "--token=secret", "--kind=holding", "--seconds=1", "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines if ": " in line] == ["holding", "wall"]
    assert f"  {out}/holding.svg" in lines
    assert " requests" in lines[0]
    assert "process never paused" in lines[0]
    assert "primes" in names_in(out / "holding.folded")
    assert {path.name for path in out.iterdir()} == {
        f"{kind}.{form}" for kind in ("holding", "wall") for form in ("svg", "folded", "speedscope.json")
    }
    assert (out / "wall.svg").read_text().startswith("<?xml ")
