"""Capturing stacks with py-spy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from importlib import metadata
from itertools import takewhile
from types import TracebackType
from typing import NamedTuple, Self

from gilscope.errors import CaptureError, RunFileError
from gilscope.family import children
from gilscope.flame.algebra import keep, rewrite, scale, strip_roots, total
from gilscope.flame.capture import RATE_HZ, Capture, CrashedError
from gilscope.flame.folded import is_root, parse, split_frame
from gilscope.flame.harness import without_helpers
from gilscope.flame.pausing import PauseMeter
from gilscope.model import FlameKind, Folded, Graph, Stack
from gilscope.scratch import folder

SLACK_S = 20.0
"""How much longer than asked a capture may take: py-spy first reads the symbols of every process."""

HOLDERS = ("--gil", "--nonblocking")
"""Only the stack that holds the GIL."""

ALL = ("--idle", "--nonblocking")
"""All stacks, waiting and sleeping ones included."""

ALL_NATIVE = ("--idle", "--native")
"""The same with C frames, which tell who waits for the GIL. For these the process is held at each sample."""

NATIVE_PART = 0.25
"""Part of the rate at which stacks with C frames are taken: each takes milliseconds of the process's time."""

_QUIET = {"RUST_BACKTRACE": "0", "RUST_LIB_BACKTRACE": "0"}
"""A user of Rust may have switched backtraces on: they would hide the reason that py-spy gives."""

_GIL_WAITS = {"pthread_cond_timedwait", "pthread_cond_wait"}
_NATIVE = re.compile(
    r"\.so(?:\.[0-9.]+)?$"
    r"|(?:^|/)python[0-9.]*t?d?$"
    r"|\.(?:c|h|cc|cpp|cxx|hpp|inc|rs|s|S|asm|dylib)$"
)

NOTES: Mapping[FlameKind, tuple[str, ...]] = {
    FlameKind.WAITING: (
        "whoever waits on a C condition variable counts as waiting for the GIL: a library's own thread pool would",
    )
}
"""What py-spy cannot show, by kind."""

SAYS_MORE = "py-spy dump --pid PID says more"

_PROGRESS = "py-spy> "
_SUMMARY = re.compile(r"Samples: (\d+) Errors: (\d+)")
_CAUSES = (
    (
        r"Permission Denied|os error 13\b|Operation not permitted|os error 1\b",
        "no right to read the process's memory",
        "run as the same user with the right to ptrace (sudo, or in a container: cap_add SYS_PTRACE; on macOS: sudo)",
    ),
    (
        r"[Ff]ailed to find [Pp]ython version|[Ff]ailed to find a [Pp]ython interpreter",
        "py-spy does not know this Python",
        "a newer py-spy, or another Python",
    ),
    (
        r"No such process|os error 3\b|[Nn]o child process|Check that the process is running",
        "the process has ended",
        "see why it ended",
    ),
)


class PySpy:
    """The profiler py-spy."""

    def capture(
        self, pid: int, kinds: Collection[FlameKind], seconds: int, rate_hz: int = RATE_HZ
    ) -> list[Capture]:
        """Capture the stacks of a process and its children, all ``kinds`` over the same seconds.

        Without :attr:`FlameKind.WAITING` the target is never paused, at the price of a torn stack now and then. With
        it, waiting and wall graphs are taken at :data:`NATIVE_PART` of the rate, and pause it each time.

        Raises:
            CaptureError: py-spy is missing, may not, or found nothing; with the cause and the remedy.
            CrashedError: it died of a signal.
        """
        modes = dict.fromkeys(_mode(kind, kinds) for kind in kinds)
        recordings = [_Recording(pid, mode, seconds, rate_hz) for mode in modes]
        with ExitStack() as stack:
            meter = stack.enter_context(PauseMeter([pid, *children(pid)]))
            for recording in recordings:
                stack.enter_context(recording)
            raw = {recording.options: recording.collect() for recording in recordings}
        return [_made(kind, raw[_mode(kind, kinds)], meter.share) for kind in FlameKind if kind in kinds]


def _made(kind: FlameKind, raw: _Raw, pause_share: float | None) -> Capture:
    folded = without_helpers(strip_roots(select(kind, raw.folded)))
    graph = Graph(
        kind=kind,
        source=f"py-spy {metadata.version('py-spy')}",
        rate_hz=raw.rate_hz,
        seconds=float(raw.seconds),
        samples=round(total(folded)),
        lost=raw.lost,
        notes=NOTES.get(kind, ()),
        pause_share=pause_share,
    )
    return Capture(graph, scale(folded, 1 / raw.rate_hz))


def find_py_spy() -> str:
    """Return py-spy's path: beside this interpreter, or on the search path.

    Raises:
        CaptureError: it is in neither place.
    """
    found = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if found is None:
        raise CaptureError("py-spy is not installed", remedy="pip install py-spy")
    return found


class _Raw(NamedTuple):
    """What one py-spy wrote: stacks with their roots, weights in samples."""

    folded: Folded
    rate_hz: int
    seconds: int
    lost: int


def _mode(kind: FlameKind, kinds: Collection[FlameKind]) -> tuple[str, ...]:
    """Return how py-spy is run for a kind. One that has all stacks with C frames has all stacks."""
    if kind is FlameKind.HOLDING:
        return HOLDERS
    return ALL_NATIVE if FlameKind.WAITING in kinds else ALL


class _Recording:
    """A py-spy at work. Use as a context manager: it is dead after the block, and its file is gone."""

    def __init__(self, pid: int, options: tuple[str, ...], seconds: int, rate_hz: int) -> None:
        self.options = options
        self._pid, self._seconds = pid, seconds
        self._rate_hz = max(1, round(rate_hz * NATIVE_PART)) if options is ALL_NATIVE else rate_hz

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            try:
                self._output = stack.enter_context(folder()) / "stacks.raw"
            except RunFileError as problem:
                raise CaptureError(problem.message, remedy=problem.remedy) from problem
            command = [find_py_spy(), "record", f"--pid={self._pid}", f"--duration={self._seconds}"]
            command += [
                f"--rate={self._rate_hz}",
                "--subprocesses",
                "--threads",
                "--function",
                "--format=raw",
            ]
            self._process = subprocess.Popen(
                [*command, *self.options, f"--output={self._output}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, **_QUIET},
                start_new_session=True,
            )
            stack.callback(self._kill)
            self._closing = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.close()

    def _kill(self) -> None:
        """End it, wherever it is: a py-spy that holds the target and dies lets it go (``ptrace(2)``)."""
        self._process.kill()
        self._process.communicate()

    def collect(self) -> _Raw:
        """Wait for its end and read what it wrote.

        Raises:
            CaptureError: it failed, it did not end, or what it wrote cannot be read.
        """
        limit_s = self._seconds + SLACK_S
        try:
            said, _ = self._process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise CaptureError(
                f"py-spy did not finish {self._seconds} s of stacks within {limit_s:.0f} s",
                remedy="once more, while a core is free for it",
            ) from None
        if self._process.returncode != 0:
            reason = _reason(self._pid) if "No python processes found" in said else ""
            problem = explain(reason or said, self._process.returncode)
            if self._process.returncode < 0:
                raise CrashedError(problem.message, remedy=problem.remedy)
            raise problem
        try:
            # As bytes: only "\n" ends a line, and a torn frame may hold any other character.
            folded = parse(self._output.read_bytes().decode(errors="replace"))
        except (OSError, ValueError) as problem:
            raise CaptureError(f"py-spy's stacks cannot be read: {problem}", remedy=SAYS_MORE) from problem
        summary = _SUMMARY.search(said)
        return _Raw(folded, self._rate_hz, self._seconds, int(summary[2]) if summary else 0)


def select(kind: FlameKind, folded: Folded) -> Folded:
    """Return the stacks of one kind, of those with C frames, without these."""
    if kind is FlameKind.WAITING:
        folded = keep(folded, waits_for_the_gil)
    return rewrite(folded, without_native)


def waits_for_the_gil(stack: Stack) -> bool:
    """Tell whether a thread waits for the GIL, from its stack with C frames.

    CPython waits for the GIL on a condition variable (``take_gil`` of ``ceval_gil.c``), and for locks, queues and pools
    on semaphores. The frame of ``take_gil`` itself never shows: py-spy leaves the interpreter's own frames out.
    """
    below = takewhile(is_native, reversed(stack))
    return any(split_frame(frame).name in _GIL_WAITS for frame in below)


def without_native(stack: Stack) -> Stack:
    """Return a stack without its C frames; one that has no others stays."""
    return tuple(frame for frame in stack if not is_native(frame)) or stack


def is_native(frame: str) -> bool:
    """Tell whether a frame is of a C function: its file is a library, an executable, or C source, if there is one."""
    if is_root(frame):
        return False
    file = split_frame(frame).file
    return file is None or _NATIVE.search(file) is not None


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


def explain(said: str, code: int | None = None) -> CaptureError:
    """Turn what py-spy said when it failed, and its exit code, into an error with its cause and remedy."""
    for pattern, cause, remedy in _CAUSES:
        if re.search(pattern, said):
            return CaptureError(f"py-spy could not capture stacks: {cause}", remedy=remedy)
    silence = "it said nothing" if code is None else f"it said nothing, and ended with exit code {code}"
    words = (line for line in reversed(said.splitlines()) if line.strip() and not line.startswith(_PROGRESS))
    last = next(words, silence)
    return CaptureError(f"py-spy could not capture stacks: {last.strip()}", remedy=SAYS_MORE)
