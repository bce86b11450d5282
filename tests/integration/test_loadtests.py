"""The Locust files that a user runs by hand."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from polling import eventually

from gilscope.child import Child, module_command
from gilscope.errors import ServiceError

pytestmark = pytest.mark.integration

LOADTESTS = Path(__file__).parents[2] / "loadtests"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    options = ("--lifeline", "--port=0", "--metrics-port=0", "--workload=noop", "--backends=asyncio,threads")
    with Child(module_command("gilscope", "serve", *options), failure=ServiceError) as service:
        yield str(service.receive(60)["url"])


def locust(file: str, url: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "locust", "-f", str(LOADTESTS / file), "--host", url, *options]


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("locustfile.py", ("-u", "3", "-r", "3", "-t", "4s")),
        ("shapes.py", ("--shape", "spike", "--peak", "3", "--span", "4")),
    ],
)
def test_the_files_run_headless(url: str, file: str, options: tuple[str, ...]) -> None:
    chosen = ("--headless", "--workload", "noop", "--backend", "threads", "--json")
    ended = subprocess.run(
        locust(file, url, *chosen, *options), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    answered = {row["name"]: (row["num_requests"], row["num_failures"]) for row in json.loads(ended.stdout)}
    assert answered["work"][0] > 0
    assert answered["/ping"][0] > 0
    assert answered["work"][1] == answered["/ping"][1] == 0, "no failures"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_web_page_lets_workload_and_backend_be_chosen(url: str) -> None:
    port = free_port()
    page: list[str] = []

    def answers() -> bool:
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            page.append(answer.read().decode())
        return bool(page)

    command = locust("shapes.py", url, "--web-host", "127.0.0.1", "--web-port", str(port))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(answers, "the web page", within_s=60)
    finally:
        process.terminate()
        process.wait()
    for shown in (
        '"workload"', '"own_workload"', '"backend"', '"query"', '"shape"', "json_roundtrip", "interpreters", "spike",
    ):  # fmt: skip
        assert shown in page[0], shown
