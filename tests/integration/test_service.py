from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, AppRunner, Request
from blockbuster import blockbuster_ctx
from polling import eventually
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from gilscope.backends.table import BACKENDS, available
from gilscope.errors import BackendFailedError
from gilscope.load.recorder import STAGES, parse_server_timing
from gilscope.model import BackendName
from gilscope.web.app import create_app
from gilscope.web.config import ServiceConfig
from gilscope.web.metrics import ServiceMetrics
from gilscope.web.service import SERVICE
from gilscope.web.work import MAX_KEPT_ARGUMENTS, WorkRoute
from gilscope.workloads.catalogue import BUILT_IN
from gilscope.workloads.loader import resolve

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from prometheus_client.samples import Sample

pytestmark = [
    pytest.mark.integration,
    # Connections that a worker keeps are closed by its end, some time after its pool has been joined.
    pytest.mark.filterwarnings("ignore:unclosed (database|.socket):ResourceWarning"),
]

ASYNCIO, THREADS, PROCESSES, INTERPRETERS = BackendName
LIGHT = (ASYNCIO, THREADS)
ROUNDING_MS = 4 * 0.00005
"""Three stages and their total, each rounded to four places."""

Client = TestClient[Request, Application]
Start = Callable[..., Awaitable[Client]]


@pytest.fixture
def start(aiohttp_client: Callable[[Application], Awaitable[Client]], upstream_url: str) -> Start:
    """Start a service in this process, on a free port."""

    async def start(
        *targets: str, backends: tuple[BackendName, ...] = LIGHT, pool_size: int = 1, **given: str
    ) -> Client:
        workloads = tuple(resolve(target, given) for target in targets)
        config = ServiceConfig(workloads, backends, pool_size, upstream_url)
        return await aiohttp_client(create_app(config))

    return start


NOOP_IN_THREADS = {"workload": "noop", "backend": "threads", "status": "200"}


async def problem(answer: ClientResponse, status: int) -> dict[str, object]:
    """Check that an answer is a problem document (RFC 9457) and give it."""
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    body = json.loads(await answer.read())
    assert isinstance(body, dict)
    assert body["type"] == "about:blank"
    assert body["title"] == HTTPStatus(status).phrase
    assert body["status"] == status
    assert isinstance(body["detail"], str)
    assert body["detail"]
    return body


async def result(client: Client, path: str) -> object:
    answer = await client.get(path)
    body = json.loads(await answer.read())
    assert answer.status == 200, body
    return body["result"]


def samples(client: Client) -> list[Sample]:
    """Scrape the service, over HTTP, as Prometheus does."""
    port = metrics(client).serve("127.0.0.1", 0)
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def metrics(client: Client) -> ServiceMetrics:
    return app(client)[SERVICE].metrics


def app(client: Client) -> Application:
    assert client.app is not None
    return client.app


def value(found: list[Sample], name: str, **labels: str) -> float:
    (sample,) = (sample for sample in found if (sample.name, sample.labels) == (name, labels))
    return sample.value


def scratch_in(folder: Path) -> list[list[str]]:
    """List the services' scratch folders, each with what is in it."""
    return [sorted(path.name for path in scratch.iterdir()) for scratch in folder.glob("gilscope-*")]


async def test_ping_and_health(start: Start) -> None:
    client = await start("noop")
    answer = await client.get("/ping")
    assert (answer.status, await answer.text()) == (200, "pong")
    answer = await client.get("/healthz")
    health = {"status": "ok", "pid": os.getpid(), "metrics_port": None}
    assert (answer.status, await answer.json()) == (200, health)
    answer = await client.get("/readyz")
    assert (answer.status, await answer.json()) == (200, {"status": "ready"})


async def test_not_ready_is_a_problem_that_says_when_to_come_back(start: Start) -> None:
    client = await start("noop")
    app(client)[SERVICE].ready = False
    answer = await client.get("/readyz")
    assert (await problem(answer, 503))["detail"] == "starting or stopping"
    assert answer.headers["Retry-After"] == "1"


async def test_work_answers_with_result_and_timing(start: Start) -> None:
    client = await start("primes")
    answer = await client.get("/work/primes/threads?n=1000")
    assert (answer.status, answer.content_type) == (200, "application/json")
    body = await answer.json()
    timing = body.pop("timing_ms")
    assert body == {"workload": "primes", "backend": "threads", "result": 168}
    assert tuple(timing) == STAGES
    assert tuple(timing.values()) == parse_server_timing(answer.headers["Server-Timing"])


@pytest.mark.parametrize("backend", BackendName)
async def test_the_stages_lie_within_the_total(backend: BackendName, start: Start) -> None:
    if backend not in available():
        pytest.skip(str(BACKENDS[backend].unavailable()))
    client = await start("noop", "primes", backends=(backend,))
    for path in ("/work/noop/", "/work/primes/", "/work/primes/"):
        answer = await client.get(f"{path}{backend}")
        timing = dict(zip(STAGES, parse_server_timing(answer.headers["Server-Timing"]), strict=True))
        assert all(spent >= 0 for spent in timing.values())
        assert timing["queue"] + timing["run"] + timing["return"] <= timing["total"] + ROUNDING_MS
        if "primes" in path:
            assert timing["cpu"] > 0


async def test_waiting_for_a_worker_is_queue_and_sleeping_is_run_without_cpu(
    functions: Path, start: Start
) -> None:
    client = await start(f"{functions}:sleep", seconds="0.05")
    answers = await asyncio.gather(*(client.get("/work/functions.sleep/threads") for _ in range(2)))
    first, second = sorted(
        (
            dict(zip(STAGES, parse_server_timing(answer.headers["Server-Timing"]), strict=True))
            for answer in answers
        ),
        key=lambda timing: timing["queue"],
    )
    for timing in (first, second):
        assert timing["run"] >= 50
        assert timing["cpu"] < 0.5 * timing["run"]
    assert second["queue"] >= 0.5 * first["run"]


@pytest.mark.usefixtures("collected")
async def test_results_are_equal_on_every_backend(start: Start) -> None:
    client = await start(*BUILT_IN, backends=available())
    queries = {
        "http_fetch": "?delay_ms=1",
        "sqlite_query": "?rows=500",
        "primes": "?n=1000",
        "json_roundtrip": "?kilobytes=1",
        "sha256": "?megabytes=1",
        "sort_payload": "?length=15",
        "mixed": "?delay_ms=1&n=100",
    }
    found = {
        workload: [
            await result(client, f"/work/{workload}/{backend}{queries.get(workload, '')}")
            for backend in available()
        ]
        for workload in BUILT_IN
    }
    assert all(results == results[:1] * len(results) for results in found.values())
    assert found["noop"][0] is None
    assert found["http_fetch"][0] == 1_000
    assert found["mixed"][0] == [1_000, 25]
    assert found["primes"][0] == 168
    assert found["sort_payload"][0] == list(range(15))
    assert all(results[0] for workload, results in found.items() if workload != "noop")


async def test_backends_run_where_they_say(functions: Path, start: Start) -> None:
    client = await start(f"{functions}:where", backends=(ASYNCIO, THREADS, PROCESSES))
    places = {}
    for backend in (ASYNCIO, THREADS, PROCESSES):
        place = await result(client, f"/work/functions.where/{backend}")
        assert isinstance(place, dict)
        places[backend] = (place["pid"] == os.getpid(), place["in_main_thread"])
    assert places == {ASYNCIO: (True, True), THREADS: (True, False), PROCESSES: (False, True)}


async def test_the_workloads_table(functions: Path, start: Start) -> None:
    client = await start(f"{functions}:add", f"{functions}:add_async", a="[1]", b="2")
    shown = await (await client.get("/workloads")).json()
    assert shown[0] == {
        "name": "functions.add",
        "summary": "",
        "native_async": False,
        "arguments": {"a": [1], "b": 2},
        "parameters": [],
        "signature": "(a: 'int', b: 'int' = 1) -> 'int'",
    }
    assert [workload["native_async"] for workload in shown] == [False, True]
    client = await start("http_fetch", "noop")
    fetch, noop = await (await client.get("/workloads")).json()
    assert fetch["parameters"] == [
        {
            "name": "delay_ms",
            "default": 20,
            "minimum": 0,
            "maximum": 5_000,
            "unit": "ms",
            "help": "how long the upstream takes to answer",
        }
    ]
    assert (fetch["native_async"], fetch["signature"]) == (True, None)
    assert (noop["name"], noop["parameters"], noop["arguments"]) == ("noop", [], {})


async def test_the_backends_table_has_those_that_do_not_run(start: Start) -> None:
    client = await start("noop", backends=(THREADS,), pool_size=3)
    shown = await (await client.get("/backends")).json()
    assert [row["name"] for row in shown] == list(BackendName)
    for row in shown:
        spec = BACKENDS[BackendName(row["name"])]
        running = row["name"] == THREADS
        assert row == {
            "name": spec.name,
            "summary": spec.summary,
            "running": running,
            "workers": 3 if running else 0,
            "unavailable": spec.unavailable(),
        }


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("n=1", "parameter 'n' takes a whole number from 10 to 1000000 (upper limit), not 1"),
        ("n=many", "parameter 'n' takes a whole number from 10 to 1000000 (upper limit), not 'many'"),
        ("n=", "not ''"),
        ("m=1", "workload 'primes' has no parameter 'm'\n  -> it takes: n"),
        ("n=100&m=%C3%BC", "has no parameter 'm'"),
    ],
)
async def test_a_bad_parameter_is_400_and_says_what_it_takes(query: str, says: str, start: Start) -> None:
    client = await start("primes")
    for _ in range(2):
        assert says in str((await problem(await client.get(f"/work/primes/threads?{query}"), 400))["detail"])
    assert await result(client, "/work/primes/threads?n=100") == 25


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("a=one", "argument 'a' is not valid JSON"),
        ("c=1", "got an unexpected keyword argument 'c'"),
        ("a=NaN", "argument 'a' is not valid JSON"),
    ],
)
async def test_a_bad_argument_is_400(query: str, says: str, functions: Path, start: Start) -> None:
    client = await start(f"{functions}:add", a="1")
    assert await result(client, "/work/functions.add/threads?b=4") == 5
    answer = await client.get(f"/work/functions.add/threads?{query}")
    assert says in str((await problem(answer, 400))["detail"])


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/work/prime/threads", "no workload 'prime' here; there is: noop, primes"),
        ("/work/noop/fibers", "no backend 'fibers'; there is: asyncio, threads, processes, interpreters"),
        ("/work/noop", "no route /work/noop; there is: "),
        ("/nowhere", "no route /nowhere; there is: "),
        ("/metrics", "no route /metrics; there is: "),
        ("/live/", "no route /live/; there is: "),
    ],
)
async def test_an_unknown_name_is_404_and_lists_the_known_ones(path: str, says: str, start: Start) -> None:
    client = await start("noop", "primes")
    assert str((await problem(await client.get(path), 404))["detail"]).startswith(says)


async def test_another_method_is_405(start: Start) -> None:
    client = await start("noop")
    answer = await client.post("/ping")
    assert (await problem(answer, 405))["detail"] == "/ping takes GET, not POST"
    assert answer.headers["Allow"] == "GET,HEAD"


async def test_an_exception_is_500_with_its_traceback(functions: Path, start: Start) -> None:
    client = await start(
        f"{functions}:fail",
        f"{functions}:fail_async",
        f"{functions}:cancel_async",
        f"{functions}:leave",
        backends=(ASYNCIO, THREADS, PROCESSES),
    )
    told = {
        "fail": "ValueError: as asked",
        "fail_async": "ValueError: as asked",
        "cancel_async": "CancelledError: by myself",
        "leave": "SystemExit: leaving",
    }
    for function, text in told.items():
        for backend in (ASYNCIO, THREADS, PROCESSES):
            answer = await client.get(f"/work/functions.{function}/{backend}")
            body = await problem(answer, 500)
            assert body["detail"] == f"functions.{function} raised {text}"
            assert f'File "{functions}"' in str(body["traceback"])
            assert str(body["traceback"]).endswith(f"{text}\n")
            assert "Server-Timing" not in answer.headers


@pytest.mark.skipif(INTERPRETERS in available(), reason="this Python has all backends")
async def test_a_backend_that_this_python_lacks_is_501_with_the_reason(start: Start) -> None:
    client = await start("noop")
    body = await problem(await client.get("/work/noop/interpreters"), 501)
    assert body["detail"] == f"the interpreters backend {BACKENDS[INTERPRETERS].unavailable()}"


async def test_a_backend_that_was_not_started_is_501(start: Start) -> None:
    client = await start("noop", backends=(ASYNCIO,))
    body = await problem(await client.get("/work/noop/threads"), 501)
    assert body["detail"] == "the threads backend was not started with this service"


async def test_a_dead_worker_is_503_with_retry_after_and_the_next_call_works(
    functions: Path, start: Start
) -> None:
    client = await start(f"{functions}:die", f"{functions}:where", backends=(PROCESSES,))
    answer = await client.get("/work/functions.die/processes")
    assert str((await problem(answer, 503))["detail"]).startswith("a worker died: ")
    assert answer.headers["Retry-After"] == "1"
    assert isinstance(await result(client, "/work/functions.where/processes"), dict)
    found = samples(client)
    assert value(found, "gilscope_backend_restarts_total", backend="processes") == 1
    assert value(found, "gilscope_backend_active_tasks", backend="processes") == 0


async def test_a_result_that_does_not_travel_is_503_and_says_so(functions: Path, start: Start) -> None:
    client = await start(f"{functions}:unpicklable", backends=(THREADS, PROCESSES))
    body = await problem(await client.get("/work/functions.unpicklable/processes"), 503)
    assert str(body["detail"]).startswith("arguments or result could not be handed over: ")
    assert "lambda" in str(body["detail"])
    assert await result(client, "/work/functions.unpicklable/threads") == {"type": "function"}


async def test_big_and_odd_results_are_abbreviated(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        "def big(): return list(range(10**6))\n"
        "def odd(): return {'nan': float('nan'), 'huge': 10**5000, 'raw': b'123', 'set': {1}}\n"
    )
    client = await start(f"{path}:big", f"{path}:odd", backends=(ASYNCIO, PROCESSES))
    for backend in (ASYNCIO, PROCESSES):
        assert await result(client, f"/work/odd.big/{backend}") == {"type": "list", "length": 10**6}
        odd = await result(client, f"/work/odd.odd/{backend}")
        assert odd == {
            "nan": "nan",
            "huge": {"type": "int", "bits": 16_610},
            "raw": {"type": "bytes", "length": 3},
            "set": {"type": "set", "length": 1},
        }


@pytest.mark.parametrize("stem", ["mein schönes werk", "50%", "50%25", "{a}", "{a b", "1+1?#&;=:"])
async def test_any_file_name_makes_a_path(stem: str, tmp_path: Path, start: Start) -> None:
    path = tmp_path / f"{stem}.py"
    path.write_text("def work(): return 'here'\n")
    client = await start(f"{path}:work", backends=(THREADS,))
    name = json.loads(await (await client.get("/workloads")).read())[0]["name"]
    assert name == f"{stem}.work"
    answer = await client.get(URL("/work") / name / "threads")
    body = await answer.json()
    assert (answer.status, body.get("result")) == (200, "here"), body


async def test_histograms_count_every_request(functions: Path, start: Start) -> None:
    client = await start("noop", "primes", f"{functions}:fail")
    sent = {("noop", "threads"): 5, ("noop", "asyncio"): 3, ("primes", "threads"): 2}
    for (workload, backend), number in sent.items():
        for _ in range(number):
            await result(client, f"/work/{workload}/{backend}")
    for _ in range(4):
        await problem(await client.get("/work/functions.fail/threads"), 500)
    await problem(await client.get("/work/primes/threads?n=1"), 400)
    await client.get("/ping")
    found = samples(client)
    name = "gilscope_request_duration_seconds_count"
    counted = {
        (sample.labels["workload"], sample.labels["backend"], sample.labels["status"]): sample.value
        for sample in found
        if sample.name == name and sample.value
    }
    assert counted == {
        **{(workload, backend, "200"): number for (workload, backend), number in sent.items()},
        ("functions.fail", "threads", "500"): 4,
    }
    for workload, backend, _ in counted:
        for stage in ("queue", "run", "cpu", "return"):
            labels = {"workload": workload, "backend": backend, "stage": stage}
            total = sum(n for (w, b, _), n in counted.items() if (w, b) == (workload, backend))
            assert value(found, "gilscope_stage_seconds_count", **labels) == total
            assert value(found, "gilscope_stage_seconds_bucket", **labels, le="+Inf") == total
            assert value(found, "gilscope_stage_seconds_sum", **labels) >= 0


async def test_the_sums_are_those_of_the_answers(start: Start) -> None:
    client = await start("primes", backends=(THREADS,))
    totals = [
        parse_server_timing((await client.get("/work/primes/threads")).headers["Server-Timing"])
        for _ in range(3)
    ]
    found = samples(client)
    for stage, column in zip(STAGES, zip(*totals, strict=True), strict=True):
        if stage == "suspended":  # of a single request only
            assert set(column) == {0.0}
            continue
        if stage == "total":
            labels = {"workload": "primes", "backend": "threads", "status": "200"}
            seconds = value(found, "gilscope_request_duration_seconds_sum", **labels)
        else:
            labels = {"workload": "primes", "backend": "threads", "stage": stage}
            seconds = value(found, "gilscope_stage_seconds_sum", **labels)
        assert seconds * 1e3 == pytest.approx(sum(column), abs=3 * 0.00005 + 1e-9)


async def test_the_buckets_are_five_to_the_decade(start: Start) -> None:
    client = await start("noop", backends=(THREADS,))
    await result(client, "/work/noop/threads")
    labels = {"workload": "noop", "backend": "threads", "status": "200"}
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in samples(client)
        if sample.name == "gilscope_request_duration_seconds_bucket"
        and {key: label for key, label in sample.labels.items() if key != "le"} == labels
    ]
    bounds = [float(f"{mantissa}e{e}") for e in range(-4, 1) for mantissa in ("1", "1.6", "2.5", "4", "6.3")]
    assert [bound for bound, _ in buckets] == [*bounds, 10.0, math.inf]
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == 1


async def test_gauges_show_what_is_queued_and_what_runs(functions: Path, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003
        loop = asyncio.get_running_loop()
        port = str(server.getsockname()[1])
        client = await start(
            f"{functions}:wait_for", backends=(THREADS,), pool_size=2, host='"127.0.0.1"', port=port
        )
        path = "/work/functions.wait_for/threads"
        requests = [asyncio.create_task(client.get(path)) for _ in range(5)]
        inside = [(await loop.sock_accept(server))[0] for _ in range(2)]
        gate = app(client)[SERVICE].gates[THREADS]
        await asyncio.to_thread(eventually, lambda: gate.in_flight == 5, "five requests in flight")

        def gauges() -> list[float]:
            found = samples(client)
            return [
                value(found, f"gilscope_backend_{name}", backend="threads")
                for name in ("queued_tasks", "active_tasks", "workers")
            ]

        busy = await asyncio.to_thread(gauges)
        for connection in inside:
            connection.close()
        for _ in range(3):
            (await loop.sock_accept(server))[0].close()
        assert [(await request).status for request in requests] == [200] * 5
        assert busy == [3, 2, 2]
        assert await asyncio.to_thread(gauges) == [0, 0, 2]


async def test_worker_processes_tell_their_cpu_time_and_memory(start: Start) -> None:
    client = await start("primes", backends=(THREADS, PROCESSES))
    spent_s, name = 0.0, "gilscope_worker_cpu_seconds_total"
    while spent_s < 0.05:  # Counted in ticks of 10 ms.
        await result(client, "/work/primes/threads")
        await result(client, "/work/primes/processes")
        spent_s, before_s = value(samples(client), name, backend="processes"), spent_s
        assert spent_s >= before_s
    found = samples(client)
    kinds = {
        kind: value(found, "gilscope_worker_memory_bytes", backend="processes", kind=kind)
        for kind in ("resident", "shared")
    }
    assert 0 < kinds["shared"] < kinds["resident"]
    own = [sample for sample in found if sample.name.startswith("gilscope_worker_")]
    assert {sample.labels["backend"] for sample in own} == {"processes"}, "threads are in the service's own"


async def test_labels_have_no_paths_pids_or_run_ids(functions: Path, start: Start) -> None:
    client = await start("noop", f"{functions}:where", backends=(ASYNCIO, THREADS, PROCESSES))
    for backend in (ASYNCIO, THREADS, PROCESSES):
        await result(client, f"/work/functions.where/{backend}")
    await result(client, "/work/noop/threads")
    await client.get("/nowhere/at/all")
    found = samples(client)
    assert {sample.name for sample in found} >= {
        "gilscope_request_duration_seconds_count",
        "gilscope_stage_seconds_count",
        "gilscope_backend_queued_tasks",
        "gilscope_backend_active_tasks",
        "gilscope_backend_workers",
        "gilscope_backend_restarts_total",
        "gilscope_run_started_timestamp_seconds",
    }
    labels = {(key, label) for sample in found for key, label in sample.labels.items()}
    assert {key for key, _ in labels} == {
        "workload", "backend", "status", "stage", "le", "kind", "version", "python", "gil"
    }  # fmt: skip
    assert {label for key, label in labels if key == "workload"} == {"noop", "functions.where"}
    assert {label for key, label in labels if key == "backend"} == {"asyncio", "threads", "processes"}
    assert {label for key, label in labels if key == "status"} == {"200", "500", "503", "504"}
    assert {label for key, label in labels if key == "stage"} == {"queue", "run", "cpu", "return"}


async def test_our_handlers_do_not_block_the_loop(start: Start) -> None:
    client = await start("noop", "primes", backends=(THREADS,))
    with blockbuster_ctx():
        for path in (
            "/ping",
            "/healthz",
            "/readyz",
            "/workloads",
            "/backends",
            "/work/noop/threads",
            "/work/primes/threads?n=50",  # prepared for the first time
            "/work/primes/threads?n=50",
        ):
            answer = await client.get(path)
            assert answer.status == 200, await answer.text()
        for path, status in (
            ("/nowhere", 404),
            ("/work/noop/asyncio", 501),
            ("/work/primes/threads?n=1", 400),
        ):
            await problem(await client.get(path), status)


@pytest.mark.usefixtures("collected")
async def test_preparing_arguments_does_not_block_the_loop(start: Start) -> None:
    client = await start("sqlite_query", "sort_payload", "http_fetch", backends=(THREADS,))
    with blockbuster_ctx():
        assert await result(client, "/work/sqlite_query/threads?rows=10")
        assert await result(client, "/work/sort_payload/threads?length=30") == {"type": "list", "length": 30}
        assert await result(client, "/work/http_fetch/threads?delay_ms=0") == 1_000


async def test_what_blocks_the_loop_would_be_caught(functions: Path, start: Start) -> None:
    client = await start(f"{functions}:sleep", seconds="0.001")
    with blockbuster_ctx():
        body = await problem(await client.get("/work/functions.sleep/asyncio"), 500)
        assert "BlockingError" in str(body["detail"])
        assert await result(client, "/work/functions.sleep/threads") == 0.001


async def test_pings_are_answered_while_a_worker_works(functions: Path, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003
        port = str(server.getsockname()[1])
        client = await start(f"{functions}:wait_for", host='"127.0.0.1"', port=port)
        working = asyncio.create_task(client.get("/work/functions.wait_for/threads"))
        connection, _ = await asyncio.get_running_loop().sock_accept(server)
        assert (await client.get("/ping")).status == 200
        assert not working.done()
        connection.close()
        assert (await working).status == 200


async def test_arguments_are_prepared_once_per_query_and_the_oldest_are_let_go(
    monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    client = await start("primes", backends=(THREADS,))
    asked: list[str] = []
    prepare = WorkRoute.prepare

    def watched(self: WorkRoute, given: Mapping[str, str]) -> dict[str, object]:
        asked.append("&".join(f"{name}={text}" for name, text in given.items()))
        return prepare(self, given)

    monkeypatch.setattr(WorkRoute, "prepare", watched)
    for n in range(10, 10 + MAX_KEPT_ARGUMENTS):
        for _ in range(2):
            await result(client, f"/work/primes/threads?n={n}")
    assert asked == [f"n={n}" for n in range(10, 10 + MAX_KEPT_ARGUMENTS)]
    route = app(client)[SERVICE].routes["primes", THREADS]
    assert len(route._arguments) == MAX_KEPT_ARGUMENTS
    asked.clear()
    await result(client, "/work/primes/threads")
    assert asked == [""]


async def test_many_new_queries_at_once_are_all_answered(start: Start) -> None:
    client = await start("primes", backends=(ASYNCIO,))
    paths = [f"/work/primes/asyncio?n={n}" for n in range(10, 210)]
    found = await asyncio.gather(*(result(client, path) for path in paths))
    assert found == [sum(all(n % d for d in range(2, n)) for n in range(2, top)) for top in range(10, 210)]
    route = app(client)[SERVICE].routes["primes", ASYNCIO]
    assert len(route._arguments) <= MAX_KEPT_ARGUMENTS


async def test_arguments_are_prepared_for_those_alone_who_are_let_in(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever sends many queries has that many prepared, with no bound in number or time."""
    client = await start("primes", backends=(THREADS,))
    service, go_on, preparing = app(client)[SERVICE], threading.Event(), list[Mapping[str, str]]()
    prepare = WorkRoute.prepare

    def slow(self: WorkRoute, given: Mapping[str, str]) -> dict[str, object]:
        preparing.append(given)
        go_on.wait()
        return prepare(self, given)

    monkeypatch.setattr(WorkRoute, "prepare", slow)
    monkeypatch.setattr(service.gates[THREADS], "_most", 2)
    calls = [asyncio.create_task(client.get(f"/work/primes/threads?n={n}")) for n in range(10, 20)]
    refused, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    while sum(call.done() for call in calls) < 8:
        refused, _ = await asyncio.wait(set(calls) - refused, return_when=asyncio.FIRST_COMPLETED)
    assert len(preparing) <= 2
    go_on.set()
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status for answer in answers) == [200] * 2 + [503] * 8


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/ping",
        "/healthz",
        "/readyz",
        "/workloads",
        "/work/noop/threads",
        "/work/noop/threads?x=1",
        "/work/n/o",
        "/x",
    ],
)
async def test_who_is_answered_while_the_service_ends_is_told_to_come_back_elsewhere(
    start: Start, path: str
) -> None:
    client = await start("noop", backends=(THREADS,))
    before = await client.get(path)
    assert "Connection" not in before.headers
    app(client)[SERVICE].close()
    after = await client.get(path)
    assert after.headers["Connection"] == "close"
    assert after.status == (before.status if path != "/readyz" else 503)


async def test_a_page_of_another_site_cannot_have_work_done(start: Start) -> None:
    """One that has its name point here, and so may read the answers."""
    client = await start("noop", backends=(THREADS,))
    for path in ("/work/noop/threads", "/work/noop/processes"):
        await problem(await client.get(path, headers={"Host": "evil.example"}), 403)
    assert not [
        sample for sample in samples(client) if sample.name == "gilscope_request_duration_seconds_count"
    ]


@pytest.mark.usefixtures("collected")
async def test_nothing_stays_behind_when_the_service_stops(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    client = await start("sqlite_query", "http_fetch")
    assert await result(client, "/work/sqlite_query/threads?rows=10")
    assert scratch_in(tmp_path) == [["orders.sqlite"]]
    await client.close()
    assert scratch_in(tmp_path) == []


async def test_a_service_that_does_not_start_stops_what_has_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, upstream_url: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "deadly.py"
    path.write_text(
        "import multiprocessing, os\nif multiprocessing.parent_process(): os._exit(3)\ndef work(): ...\n"
    )
    config = ServiceConfig((resolve(f"{path}:work", {}),), (THREADS, PROCESSES), 1, upstream_url)
    application = create_app(config)
    runner = AppRunner(application)
    with pytest.raises(BackendFailedError, match="a worker died while it started"):
        await runner.setup()
    await runner.cleanup()
    assert not application[SERVICE].ready
    assert scratch_in(tmp_path) == []


async def test_a_service_starts_its_own_upstream_when_none_runs(
    aiohttp_client: Callable[[Application], Awaitable[Client]],
) -> None:
    config = ServiceConfig((BUILT_IN["http_fetch"],), LIGHT, 1)
    client = await aiohttp_client(create_app(config))
    for backend in LIGHT:
        assert await result(client, f"/work/http_fetch/{backend}?delay_ms=0") == 1_000
