"""Child processes of ours: they speak JSON lines and end when their standard input does.

Every child runs in a session of its own, so that Ctrl-C reaches only us and we can end a child with all of
its own children. One that may be stuck in code that never returns is guarded: it ends even if we are killed.
Standard error is kept in a file and quoted when something goes wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from gilscope.errors import GilscopeError

START_S = 60.0
"""How long a child may take to start: the first time all that it imports is compiled, on a machine that may be busy."""

STOP_GRACE_S = 3.0
_GUARD = 'read -r dismissed || { sleep "$1"; kill -s KILL -- "-$2"; }'
_QUOTED_LINES = 12
_QUOTED_BYTES = 64_000


def module_command(module: str, *arguments: str, python: str | None = None) -> list[str]:
    """Return the command that runs one of our modules, the current folder kept off its import path."""
    return [python or sys.executable, "-P", "-m", module, *arguments]


def how_it_ended(code: int) -> str:
    """Say how a process ended, of its return code as Python has it: negative for a signal."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


class Child:
    """A running child process; use as a context manager, so that it is stopped on every path."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        failure: type[GilscopeError],
        env: Mapping[str, str] | None = None,
        guarded: bool = False,
    ) -> None:
        """Start ``command``; whatever goes wrong with it is raised as ``failure``.

        ``guarded``: it may be stuck and never see the end of its input. Should this process be killed, a shell beside it
        kills it with all its children, after the grace that :meth:`stop` gives.
        """
        self._failure = failure
        self._pending = b""
        try:
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed in stop()
        except OSError as problem:
            raise failure(f"cannot start {command[0]}: {problem.strerror}") from problem
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
                env=None if env is None else {**os.environ, **env},
            )
        except OSError as problem:
            self._stderr.close()
            raise failure(f"cannot start {command[0]}: {problem.strerror}") from problem
        self._guard = start_guard(self._process.pid) if guarded else None

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def fileno(self) -> int:
        """Return what becomes readable with the next message or the child's end: a loop can wait for that."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def receive(self, timeout_s: float) -> dict[str, object]:
        """Return the next JSON object that the child prints.

        Raises:
            GilscopeError: of the kind given at the start; the child ended, or was silent for too long.
        """
        assert self._process.stdout is not None
        descriptor, deadline = self._process.stdout.fileno(), time.monotonic() + timeout_s
        output = select.poll()  # select() takes no file beyond the 1024th
        output.register(descriptor, select.POLLIN)
        while True:
            line, newline, rest = self._pending.partition(b"\n")
            if newline:
                self._pending = rest
                return self._decode(line)
            if not output.poll(max(0.0, deadline - time.monotonic()) * 1e3):
                raise self._failure(self._explain(f"did not answer within {timeout_s:g} s"))
            chunk = os.read(descriptor, 65_536)
            if not chunk:
                raise self._failure(self._explain(self._end_of_output(deadline)))
            self._pending += chunk

    def _end_of_output(self, deadline: float) -> str:
        """Say how a child ended whose output did; it may have closed that and live on."""
        try:
            return f"ended with exit code {self._process.wait(max(0.0, deadline - time.monotonic()))}"
        except subprocess.TimeoutExpired:
            return "closed its standard output and still runs"

    def _decode(self, line: bytes) -> dict[str, object]:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise self._failure(self._explain(f"printed {line[:80]!r}, not a message"))
        return message

    def send(self, message: Mapping[str, object]) -> None:
        """Send one JSON object.

        Raises:
            GilscopeError: of the kind given at the start; the child has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._failure(self._explain("has ended")) from None

    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._process.poll() is None

    def require_alive(self) -> None:
        """Check that the child still runs.

        Raises:
            GilscopeError: of the kind given at the start; it has ended, with its last words.
        """
        if not self.alive():
            raise self._failure(self._explain(f"ended with exit code {self._process.returncode}"))

    def hang_up(self) -> None:
        """Close the child's input, at which it ends; without waiting for that."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End the child by closing its input; after ``grace_s`` seconds, kill it with all its children."""
        self.hang_up()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            kill_group(self._process.pid)
            self._process.wait()
            guard, self._guard = self._guard, None
            dismiss_guard(guard)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._stderr.close()

    def _explain(self, what: str) -> str:
        lines = list(self._last_words())
        quoted = "".join(f"\n  | {line}" for line in lines)
        command = (
            " ".join(str(part) for part in self._process.args) if isinstance(self._process.args, list) else ""
        )
        return f"{command} {what}{quoted}"

    def _last_words(self) -> Iterator[str]:
        # Read at a position: the child writes through the same file offset, which must stay where it is.
        descriptor = self._stderr.fileno()
        begin = max(0, os.fstat(descriptor).st_size - _QUOTED_BYTES)
        text = os.pread(descriptor, _QUOTED_BYTES, begin).decode(errors="replace")
        yield from text.splitlines()[-_QUOTED_LINES:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def kill_group(pid: int) -> None:
    """Kill what is left of a session that a child of ours leads: itself, or children that it did not end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def start_guard(pid: int) -> subprocess.Popen[bytes] | None:
    """Start what kills a process group if this process ends without a word; None where there is no shell."""
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "gilscope-guard", f"{STOP_GRACE_S:g}", str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None


def dismiss_guard(guard: subprocess.Popen[bytes] | None) -> None:
    """End a guard: what it was there for has ended."""
    if guard is not None:
        guard.communicate(b"\n")
