"""``gilscope serve`` as a real process."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.request import urlopen

import aiohttp
import psutil
from polling import PATIENCE_S

FREE_PORTS = ("--port=0", "--metrics-port=0")
SMALL = ("--workload=noop", "--backends=asyncio")


def free_port() -> int:
    """Return a port that is free, as of now: for what cannot choose one by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(*options: str, python: str = sys.executable) -> list[str]:
    return [python, "-P", "-m", "gilscope", "serve", *options]


@dataclass
class Served:
    """A service as a real process; ``ready`` is its first line."""

    process: subprocess.Popen[str]
    ready: dict[str, object]

    def get(self, path: str) -> dict[str, object]:
        try:
            with urlopen(f"{self.ready['url']}{path}", timeout=PATIENCE_S) as answer:
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
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


@contextmanager
def serving(
    *options: str, env: Mapping[str, str] | None = None, python: str = sys.executable
) -> Iterator[Served]:
    """Run a service for the block, with its standard input open; ``env`` adds to the environment."""
    with subprocess.Popen(
        command(*FREE_PORTS, *options, python=python),
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


@asynccontextmanager
async def client(
    service: Served | str, timeout_s: float = PATIENCE_S
) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client of a service, or of its URL, with as many connections as it takes, that sends each request once.

    aiohttp's own would send it again where a connection breaks that was used before: then nothing is ever seen to be lost.
    """
    url = service if isinstance(service, str) else str(service.ready["url"])
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as session:
        session._retry_connection = False
        yield session


async def leave(session: aiohttp.ClientSession, place: str, over: asyncio.Event, within_s: float) -> int:
    """Request something again and again, and leave before it is answered, or just not; return how often."""
    left = 0
    while not over.is_set():
        with suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(random.uniform(0, within_s)), session.get(place) as answer:
                await answer.read()
        left += 1
    return left


def memory_kb(processes: Iterable[psutil.Process], which: str = "pss") -> float:
    """Return the memory of processes that may be ending: what they share is counted once (PSS), where the system tells it.

    What others map as well, the same Python for one, counts in part only: a figure for growth is what is private (``uss``).
    """
    found = 0.0
    for process in processes:
        with suppress(psutil.Error):
            memory = process.memory_full_info()
            found += getattr(memory, which, memory.rss) / 1_024
    return found


def refused(*options: str) -> str:
    """Run a service that must not start; give the message."""
    done = subprocess.run(
        command(*options),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr
