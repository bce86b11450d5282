"""Capturing stacks with py-spy, from outside and without stopping the target."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from gilscope.errors import CaptureError
from gilscope.flame.folded import parse, strip_roots, total
from gilscope.flame.harness import without_helpers
from gilscope.model import FlameKind, Folded

RATE_HZ = 100
SLACK_S = 20.0
"""How much longer than asked a capture may take: py-spy first reads the symbols of every process."""

OPTIONS: Mapping[FlameKind, tuple[str, ...]] = {
    FlameKind.HOLDING: ("--gil",),
    FlameKind.WALL: ("--idle",),
}
"""``--gil`` keeps the stack that holds the GIL, ``--idle`` all stacks, waiting and sleeping ones included."""

_QUIET = {"RUST_BACKTRACE": "0", "RUST_LIB_BACKTRACE": "0"}
"""A user of Rust may have switched backtraces on: they would hide the reason that py-spy gives."""

_SUMMARY = re.compile(r"Samples: (\d+) Errors: (\d+)")
_CAUSES = (
    (
        r"Permission Denied|os error 13\b|Operation not permitted|os error 1\b",
        "no right to read the process's memory",
        (
            "run as the same user with the right to ptrace (sudo, or in a container: cap_add SYS_PTRACE; "
            "on macOS: sudo); or --no-profiles"
        ),
    ),
    (
        r"[Ff]ailed to find [Pp]ython version|[Ff]ailed to find a [Pp]ython interpreter",
        "py-spy does not know this Python",
        "a newer py-spy, or another Python; or --no-profiles",
    ),
    (
        r"No such process|os error 3\b|[Nn]o child process|Check that the process is running",
        "the process has ended",
        "see why it ended",
    ),
)


@dataclass(frozen=True, slots=True)
class Capture:
    """Stacks of one kind, without roots and without gilscope's own idle helpers.

    ``samples`` counts the stacks that are in it, ``lost`` those that py-spy could not read.
    """

    kind: FlameKind
    folded: Folded
    source: str
    rate_hz: int
    seconds: float
    samples: int
    lost: int


def capture(pid: int, kinds: Sequence[FlameKind], seconds: int) -> list[Capture]:
    """Capture the stacks of a process and its children, all ``kinds`` over the same seconds.

    Non-blocking: the target is never paused, at the price of a torn stack now and then.

    Raises:
        CaptureError: py-spy is missing, may not, or found nothing; with the cause and the remedy.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gilscope-py-spy-")))
        running = [(kind, stack.enter_context(_recording(pid, kind, seconds, folder))) for kind in kinds]
        return [_collect(pid, kind, process, seconds, folder) for kind, process in running]


def find_py_spy() -> str:
    """Return py-spy's path: beside this interpreter, or on the search path.

    Raises:
        CaptureError: it is in neither place.
    """
    found = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if found is None:
        raise CaptureError("py-spy is not installed", remedy="pip install py-spy; or --no-profiles")
    return found


@contextmanager
def _recording(pid: int, kind: FlameKind, seconds: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [find_py_spy(), "record", f"--pid={pid}", f"--duration={seconds}", f"--rate={RATE_HZ}"]
    command += ["--nonblocking", "--subprocesses", "--function", "--format=raw", *OPTIONS[kind]]
    process = subprocess.Popen(
        [*command, f"--output={_output(folder, kind)}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **_QUIET},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _output(folder: Path, kind: FlameKind) -> Path:
    return folder / f"{kind}.raw"


def _collect(
    pid: int, kind: FlameKind, process: subprocess.Popen[str], seconds: int, folder: Path
) -> Capture:
    try:
        said, _ = process.communicate(timeout=seconds + SLACK_S)
    except subprocess.TimeoutExpired:
        raise CaptureError(
            f"py-spy did not finish {seconds} s of stacks within {seconds + SLACK_S:.0f} s"
        ) from None
    if process.returncode != 0:
        raise explain(_reason(pid) or said if "No python processes found" in said else said)
    try:
        # As bytes: only "\n" ends a line, and a torn frame may hold any other character.
        written = _output(folder, kind).read_bytes().decode(errors="replace")
        folded = without_helpers(strip_roots(parse(written)))
    except (OSError, ValueError) as problem:
        raise CaptureError(
            f"py-spy's stacks cannot be read: {problem}", remedy="or --no-profiles"
        ) from problem
    summary = _SUMMARY.search(said)
    return Capture(
        kind=kind,
        folded=folded,
        source=f"py-spy {metadata.version('py-spy')}",
        rate_hz=RATE_HZ,
        seconds=float(seconds),
        samples=round(total(folded)),
        lost=int(summary[2]) if summary else 0,
    )


def _reason(pid: int) -> str:
    """Ask why a process cannot be read: with ``--subprocesses``, py-spy says only that it found none."""
    command = [find_py_spy(), "dump", f"--pid={pid}", "--nonblocking"]
    asked = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **_QUIET},
        check=False,
    )
    return asked.stderr if asked.returncode else ""


def explain(said: str) -> CaptureError:
    """Turn what py-spy said when it failed into an error with its cause and remedy."""
    for pattern, cause, remedy in _CAUSES:
        if re.search(pattern, said):
            return CaptureError(f"py-spy could not capture stacks: {cause}", remedy=remedy)
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    return CaptureError(f"py-spy could not capture stacks: {last.strip()}", remedy="or --no-profiles")
