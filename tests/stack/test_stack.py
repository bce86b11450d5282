"""The whole stack of docker-compose.yml, on a real Docker Engine. Run by hand, since it builds images:

    .venv/bin/pytest tests/stack

It needs Compose v2, and the ports of the stack free. Grafana may be any image of that name that answers ``/api/health``: what
its dashboards ask is tested elsewhere, on a real Prometheus.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from composed import BUILD_S, TOKEN, compose, documented, require_nothing_left

CAPTURE_S = 3
WORKERS = 2
PROFILER = ("--profile", "profiler")
[DOWN] = [command for command in documented("dashboards.md") if "down" in command]

pytestmark = [
    pytest.mark.timeout(BUILD_S),
    pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker"),
]


@pytest.fixture(scope="module", autouse=True)
def stack() -> Iterator[None]:
    compose(*PROFILER, "up", "--build", "--wait", "--scale", f"locust-worker={WORKERS}")
    try:
        yield
    finally:
        compose(*DOWN)


def ask(url: str, body: bytes | None = None, **headers: str) -> Any:  # noqa: ANN401  JSON
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    with urlopen(Request(url, body, sent), timeout=60) as answer:
        return json.load(answer)


def query(promql: str) -> list[dict[str, Any]]:
    answer = ask(f"http://127.0.0.1:9090/api/v1/query?{urlencode({'query': promql})}")
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def eventually(fact: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def swarm() -> None:
    form = {
        "user_count": 2, "spawn_rate": 2, "host": "http://service:8080", "workload": "primes", "backend": "threads",
        "rate": 30,
    }  # fmt: skip
    assert ask("http://127.0.0.1:8089/swarm", urlencode(form).encode())["success"]


def test_every_container_is_healthy_and_none_may_do_more_than_it_needs() -> None:
    containers = [json.loads(line) for line in compose(*PROFILER, "ps", "--format", "json").splitlines()]
    names = [one["Service"] for one in containers]
    assert sorted(names) == [
        "grafana", "locust-master", *["locust-worker"] * WORKERS, "profiler", "prometheus", "service"
    ]  # fmt: skip
    assert {one["Health"] for one in containers} == {"healthy"}
    for one in containers:
        [found] = json.loads(
            subprocess.run(["docker", "inspect", one["ID"]], capture_output=True, check=True).stdout
        )
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"], one["Service"]
        assert host["Init"], one["Service"]
        assert host["CapDrop"] == ["ALL"], one["Service"]
        assert bool(host["CapAdd"]) is (one["Service"] == "profiler")
        bound = [port["HostIp"] for ports in host["PortBindings"].values() for port in ports]
        assert set(bound) <= {"127.0.0.1"}, one["Service"]


def test_prometheus_reaches_everybody_under_load_from_all_workers() -> None:
    swarm()
    jobs = {"gilscope": 1, "gilscope-lens": 1, "locust": WORKERS, "prometheus": 1}

    def up() -> bool:
        now: dict[str, int] = {
            row["metric"]["job"]: int(row["value"][1]) for row in query("sum by (job) (up)")
        }
        return jobs == now

    eventually(up, f"targets up: {jobs}")
    eventually(
        lambda: len(query('rate(gilscope_client_sent_total{backend="threads"}[15s]) > 5')) == WORKERS,
        "each worker to send its part",
    )
    eventually(
        lambda: bool(
            query('rate(gilscope_thread_state_seconds_total{role="worker",state="on_cpu"}[15s]) > 0')
        ),
        "the lens to see the workers work",
    )
    eventually(
        lambda: bool(
            query('backend_workload:gilscope_request_duration_seconds:p99_1m{backend="threads"} > 0')
        ),
        "the recording rules",
    )


def test_the_sidecar_captures_the_service_and_whoever_lacks_the_token_does_not() -> None:
    swarm()
    profiles = "http://127.0.0.1:8081/profiles"
    with pytest.raises(HTTPError) as refused:
        ask(profiles)
    with refused.value:
        assert refused.value.code == 401
    login = "Basic " + base64.b64encode(f"x:{TOKEN}".encode()).decode()
    order = json.dumps({"kind": "waiting", "seconds": CAPTURE_S}).encode()
    begun = ask(profiles, order, Authorization=login, Content_Type="application/json")
    states: list[dict[str, Any]] = []

    def done() -> bool:
        states.append(ask(f"{profiles}/{begun['id']}", Authorization=login, Accept="application/json"))
        return bool(states[-1]["state"] != "running")

    eventually(done, "the capture")
    found = states[-1]
    assert (found["state"], found["error"]) == ("done", None)
    assert found["graphs"]["wall"]["samples"] > 0
    assert found["graphs"]["waiting"]["lens_share"] is not None, "the lens has its rights, too"
    assert found["graphs"]["holding"]["requests"] > 0
    request = Request(
        f"{profiles}/{begun['id']}/flamegraph.folded?kind=holding", headers={"Authorization": login}
    )
    with urlopen(request, timeout=60) as answer:
        assert b"primes (gilscope/workloads/primes.py" in answer.read()


def test_the_pages_answer() -> None:
    for url in ("http://127.0.0.1:8080/", "http://127.0.0.1:8089/", "http://127.0.0.1:3000/api/health"):
        with urlopen(url, timeout=60) as answer:
            assert answer.status == 200


def test_going_down_leaves_nothing() -> None:
    """The last test: whatever comes up again is taken down by the fixture."""
    compose(*DOWN)
    require_nothing_left()
    with pytest.raises(URLError):
        ask("http://127.0.0.1:8080/healthz")
