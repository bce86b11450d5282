"""``gilscope serve`` as a real process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil

TIMEOUT_S = 60.0
FREE_PORTS = ("--port=0", "--metrics-port=0")
SMALL = ("--workload=noop", "--backends=asyncio")


def free_port() -> int:
    """Return a port that is free, as of now: for what cannot choose one by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(*options: str) -> list[str]:
    return [sys.executable, "-P", "-m", "gilscope", "serve", *options]


@dataclass
class Served:
    """A service as a real process; ``ready`` is its first line."""

    process: subprocess.Popen[str]
    ready: dict[str, object]

    def get(self, path: str) -> dict[str, object]:
        try:
            with urlopen(f"{self.ready['url']}{path}", timeout=TIMEOUT_S) as answer:
                found = json.load(answer)
        except HTTPError as answer:
            with answer:
                found = json.load(answer)
        assert isinstance(found, dict)
        return found

    def result(self, path: str) -> object:
        answer = self.get(path)
        assert "result" in answer, answer
        return answer["result"]

    def tree(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; give exit code and what else was printed."""
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, out, err


@contextmanager
def serving(*options: str, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run a service for the block, with its standard input open; ``env`` adds to the environment."""
    with subprocess.Popen(
        command(*FREE_PORTS, *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **(env or {})},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield Served(process, json.loads(line))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def refused(*options: str) -> str:
    """Run a service that must not start; give the message."""
    done = subprocess.run(
        command(*options),
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr
