"""The Locust files that a user runs by hand."""

from __future__ import annotations

import contextlib
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from polling import PATIENCE_S, eventually
from prometheus import scraped
from prometheus_client.parser import text_string_to_metric_families
from served import free_port

from gilscope.child import Child, module_command
from gilscope.errors import ServiceError

pytestmark = pytest.mark.integration

LOADTESTS = Path(__file__).parents[2] / "loadtests"


RATE = 200.0


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, Any]]:
    options = ("--lifeline", "--port=0", "--metrics-port=0", "--workload=noop", "--backends=asyncio,threads")
    with Child(module_command("gilscope", "serve", *options), failure=ServiceError) as service:
        yield service.receive(60)


@pytest.fixture(scope="module")
def url(served: dict[str, Any]) -> str:
    return str(served["url"])


def locust(file: str, url: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "locust", "-f", str(LOADTESTS / file), "--host", url, *options]


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("locustfile.py", ("-u", "3", "-r", "3", "-t", "2s")),
        ("shapes.py", ("--shape", "spike", "--peak", "3", "--span", "4")),
    ],
)
def test_the_files_run_headless(url: str, file: str, options: tuple[str, ...]) -> None:
    answered, table = run(file, url, *options)
    assert answered["work"] > 0
    assert answered["/ping"] > 0
    closed = count(table, "work, from send")
    if file == "locustfile.py":
        assert closed == answered["work"] == number(table, r"^sent (\d+), failed 0")
    assert "a closed loop waits for stalls" in table


def run(file: str, url: str, *options: str) -> tuple[dict[str, int], str]:
    """Return how often Locust says that each name was answered, and our table."""
    chosen = ("--headless", "--workload", "noop", "--backend", "threads", "--json")
    ended = subprocess.run(
        locust(file, url, *chosen, *options), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    # Each worker prints one, too; its statistics have gone to the master.
    statistics = max(
        (
            json.loads(found)
            for found in re.findall(r"^\[\]|^\[.*?^\]", ended.stdout, re.MULTILINE | re.DOTALL)
        ),
        key=len,
    )
    answered = {row["name"]: (row["num_requests"], row["num_failures"]) for row in statistics}
    assert answered["work"][1] == answered["/ping"][1] == 0, "no failures"
    _, found, table = ended.stderr.partition("\ngilscope: ")
    assert found, ended.stderr
    return {name: requests for name, (requests, _) in answered.items()}, table


def number(table: str, pattern: str) -> float:
    [found] = re.findall(pattern, table, re.MULTILINE)
    return float(found)


def count(table: str, row: str) -> float:
    return number(table, rf"^{row} +(\d+) ")


@pytest.mark.parametrize(("processes", "options"), [(1, ("-u", "5", "-t", "2s")), (2, ("-t", "2s"))])
def test_an_open_loop_sends_at_its_rate_whatever_users_there_are(
    served: dict[str, Any], processes: int, options: tuple[str, ...]
) -> None:
    before = works(served)
    distributed = ("--processes", str(processes)) if processes > 1 else ()
    answered, table = run("locustfile.py", served["url"], "--rate", f"{RATE:g}", *distributed, *options)
    arrived = works(served) - before
    assert table.startswith(
        f"noop on threads, open loop, {RATE:g}/s, poisson, seed 0, {processes} sending process"
    )
    sent, due = number(table, r", sent (\d+),"), number(table, r"\(due (\d+),")
    assert (due, number(table, r", dropped (\d+),"), number(table, r", failed (\d+)\)")) == (sent, 0, 0)
    unanswered = sum(map(float, re.findall(r"^(\d+) unanswered", table, re.MULTILINE)))
    assert count(table, "work response, from when due") == count(table, "work service, from send") == sent
    assert answered["work"] == sent - unanswered, "as Locust counts"
    assert sent - unanswered <= arrived <= sent, "as the service counts"
    # A Poisson process of n arrivals scatters by the square root of n; the rate of one, not of each process.
    assert number(table, r"^offered ([\d.]+)/s") == pytest.approx(RATE, abs=6 * RATE / math.sqrt(due))
    assert count(table, "/ping, from when due") > 0


def works(served: dict[str, Any]) -> float:
    """How many work requests the service has answered."""
    with urlopen(served["metrics_url"], timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if line.startswith("gilscope_request_duration_seconds_count{")
    )


def test_the_web_page_lets_workload_and_backend_be_chosen(url: str) -> None:
    port = free_port()
    page: list[str] = []

    def answers() -> bool:
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            page.append(answer.read().decode())
        return bool(page)

    command = locust("shapes.py", url, "--web-host", "127.0.0.1", "--web-port", str(port))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(answers, "the web page")
        refused = json.loads(fetch(port, "/swarm", rate="-1"))
        table = fetch(port, "/gilscope")
        [tab] = json.loads(fetch(port, "/stats/requests"))["extended_stats"]
    finally:
        process.terminate()
        process.wait()
    for shown in (
        '"workload"', '"own_workload"', '"backend"', '"query"', '"shape"', "json_roundtrip", "interpreters", "spike",
        '"rate"', '"arrivals"', '"seed"', "uniform", "gilscope: unrounded",
    ):  # fmt: skip
        assert shown in page[0], shown
    assert not refused["success"]
    assert refused["message"] == "rate: arrivals per second are a number from 0 (closed loop) up, not '-1'"
    assert "metrics_port" not in page[0], "each process has its own"
    assert table.startswith("gilscope: primes on threads, closed loop")
    assert [(row["name"], row["load"], row["count"]) for row in tab["data"]] == [
        ("work, from send", "primes on threads, closed loop", "0"),
        ("/ping, from when due", "primes on threads, closed loop", "0"),
    ]


def test_every_process_tells_prometheus_what_it_sends(served: dict[str, Any]) -> None:
    port = free_port()
    command = locust(
        "locustfile.py", served["url"], "--headless", "-t", "180s", "--rate", "50", "--processes", "2",
        "--workload", "noop", "--backend", "threads", "--metrics-port", str(port),
    )  # fmt: skip
    found: list[dict[tuple[str, ...], float]] = []
    begun = time.time()

    def sending() -> bool:
        # While nobody listens there, a port may be connected to itself: it answers with the request.
        with contextlib.suppress(OSError, HTTPException):
            found[:] = [values(f"http://127.0.0.1:{port + process}/metrics") for process in (0, 1)]
        return bool(found) and all(one.get(SENT, 0) > 20 for one in found)

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(sending, "both processes to send")
    finally:
        process.terminate()
        process.wait()
    for one in found:
        response, service = (
            one["gilscope_client_duration_seconds_count", "threads", clock, "noop"]
            for clock in ("response", "service")
        )
        assert response == service
        assert response + one["gilscope_client_in_flight", "threads", "noop"] == one[SENT]
        assert one["gilscope_client_rate", "threads", "noop"] == 25
        assert one["gilscope_client_failures_total", "threads", "noop"] == 0
        assert begun < one["gilscope_client_started_timestamp_seconds", "threads", "noop"] < time.time()
    pings = sorted(one["gilscope_client_probe_seconds_count", "threads", "noop"] for one in found)
    assert pings[0] == 0 < pings[1], "the first process alone pings"


SENT = ("gilscope_client_sent_total", "threads", "noop")


def values(url: str) -> dict[tuple[str, ...], float]:
    """Give every sample by its name and the values of its labels."""
    return {
        (sample.name, *(label for _, label in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(scraped(url))
        for sample in family.samples
    }


def fetch(port: int, path: str, **form: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}{path}", urlencode(form).encode() or None, timeout=60) as answer:
        return str(answer.read().decode())
