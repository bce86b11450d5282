"""A service that survives: crashes, overload, slow calls, clients that leave, and the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen

import aiohttp
import psutil
import pytest
from polling import PATIENCE_S, all_end, eventually
from prometheus import scraped
from prometheus_client.parser import text_string_to_metric_families
from served import Served, client, command, free_port, serving
from yarl import URL

pytestmark = pytest.mark.integration

DEADLY = Path(__file__).parents[1] / "targets" / "deadly.py"


def deadly(*functions: str) -> list[str]:
    return [f"--workload={DEADLY}:{function}" for function in functions]


async def work(session: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with session.get(f"/work/deadly.{path}") as answer:
        return answer.status, await answer.json(content_type=None)


def metric(served: Served, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(scraped(str(served.ready["metrics_url"])))
    found = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found)


async def until(served: Served, name: str, wanted: float, **labels: str) -> None:
    await asyncio.to_thread(eventually, lambda: metric(served, name, **labels) == wanted, f"{name} {wanted}")


@pytest.mark.parametrize("how", ["kill", "exit", "segfault", "memory"])
async def test_a_worker_that_dies_takes_the_calls_in_its_pool_and_nothing_else(how: str) -> None:
    with serving(*deadly("die", "rest"), "--backends=threads,processes", "--pool-size=2") as served:
        async with client(served) as session:
            bystander = asyncio.create_task(work(session, "rest/processes?seconds=30"))
            neighbour = asyncio.create_task(work(session, "rest/threads?seconds=1"))
            await until(served, "gilscope_backend_active_tasks", 1, backend="processes")
            status, problem = await work(session, f"die/processes?how=%22{how}%22")
            assert (status, problem["title"]) == (503, "Service Unavailable")
            assert problem["detail"].startswith("a worker died: ")
            assert (await bystander)[0] == 503, "it was in the same pool: nobody knows how far it had come"
            assert (await neighbour)[0] == 200
            # What comes after is not lost, whether the new pool is there yet or not.
            answers = await asyncio.gather(*(work(session, "die/processes") for _ in range(20)))
            assert {status for status, _ in answers} == {200}
            assert metric(served, "gilscope_backend_restarts_total", backend="processes") == 1
            assert metric(served, "gilscope_request_duration_seconds_count", status="503") == 2
            assert metric(served, "gilscope_backend_active_tasks") == 0


async def test_every_request_is_answered_once_while_workers_die() -> None:
    """Requests sent are answers and counted losses: none hangs, none is answered twice."""
    with serving(*deadly("die", "rest"), "--backends=processes", "--pool-size=2") as served:
        seen: Counter[int] = Counter()
        over = asyncio.Event()

        async def send(session: aiohttp.ClientSession) -> None:
            while not over.is_set():
                seen[(await work(session, "rest/processes?seconds=0.1"))[0]] += 1

        async with client(served) as session:
            senders = [asyncio.create_task(send(session)) for _ in range(4)]
            for number in range(3):
                await until(served, "gilscope_backend_restarts_total", number, backend="processes")
                await until(served, "gilscope_backend_active_tasks", 2, backend="processes")
                workers = [child for child in served.tree() if "forkserver" in " ".join(child.cmdline())]
                victim = max(workers, key=lambda child: child.create_time())
                os.kill(victim.pid, signal.SIGKILL)
            await until(served, "gilscope_backend_restarts_total", 3, backend="processes")
            over.set()
            await asyncio.gather(*senders)
        assert seen.keys() <= {200, 503}
        assert 3 <= seen[503] <= 3 * 4, "those in flight, at the most"
        for status in (200, 503):
            assert (
                metric(served, "gilscope_request_duration_seconds_count", status=str(status)) == seen[status]
            )


async def test_a_full_backlog_is_refused_at_once_and_the_rest_is_answered() -> None:
    with serving(*deadly("rest"), "--backends=threads", "--pool-size=2", "--backlog=3") as served:
        async with client(served) as session:
            answers = await asyncio.gather(*(work(session, "rest/threads?seconds=0.5") for _ in range(25)))
            seen = Counter(status for status, _ in answers)
            assert seen == {200: 5, 503: 20}
            refusal = next(body for status, body in answers if status == 503)
            assert refusal["detail"].startswith("5 calls are in the threads backend already")
            async with session.get("/work/deadly.rest/threads") as answer:
                assert answer.status == 200, "there is room again"
        assert metric(served, "gilscope_request_duration_seconds_count", status="503") == 20


async def test_a_refusal_says_when_to_come_back() -> None:
    with serving(*deadly("rest"), "--backends=threads", "--pool-size=1", "--backlog=0") as served:
        async with client(served) as session:
            first = asyncio.create_task(work(session, "rest/threads?seconds=1"))
            await until(served, "gilscope_backend_active_tasks", 1)
            async with session.get("/work/deadly.rest/threads") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert (await first)[0] == 200


@pytest.mark.parametrize(
    ("path", "abandoned"), [("rest/threads", 1), ("rest/processes", 1), ("rest_async/asyncio", 0)]
)
async def test_who_takes_too_long_is_told_and_what_runs_on_is_counted(path: str, abandoned: int) -> None:
    options = ("--backends=asyncio,threads,processes", "--pool-size=1", "--time-limit=0.3")
    backend = path.split("/")[1]
    with serving(*deadly("rest", "rest_async"), *options) as served:
        async with client(served) as session:
            status, problem = await work(session, f"{path}?seconds=2")
            assert (status, problem["title"]) == (504, "Gateway Timeout")
            assert "took longer than 0.3 s" in problem["detail"]
            assert metric(served, "gilscope_backend_abandoned_tasks", backend=backend) == abandoned
            assert metric(served, "gilscope_backend_abandoned_total", backend=backend) == abandoned
            assert (
                metric(served, "gilscope_request_duration_seconds_count", status="504", backend=backend) == 1
            )
            await until(served, "gilscope_backend_abandoned_tasks", 0)
            assert (await work(session, f"{path}?seconds=0"))[0] == 200, "on the same connection"


async def test_a_coroutine_that_does_not_mind_being_cancelled_is_answered_for_and_counted(
    tmp_path: Path,
) -> None:
    begun, options = tmp_path / "begun", ("--backends=asyncio", "--time-limit=0.3", "--backlog=1")
    with serving(*deadly("never_mind"), "--arg=begun=null", *options) as served:
        path = f"/work/deadly.never_mind/asyncio?begun=%22{begun}%22"
        async with client(served) as session:
            for abandoned in (1, 2):
                async with session.get(path) as answer:
                    assert (answer.status, answer.headers["Connection"]) == (504, "close")
                    assert "took longer than 0.3 s" in (await answer.json(content_type=None))["detail"]
                assert metric(served, "gilscope_backend_abandoned_tasks") == abandoned
            assert metric(served, "gilscope_backend_abandoned_total") == 2
            assert metric(served, "gilscope_request_duration_seconds_count", status="504") == 2
            async with session.get(path) as answer:
                assert answer.status == 503, "they run on, and take the places that there are"
            async with session.get("/ping") as answer:
                assert answer.status == 200


@pytest.mark.parametrize("backend", ["threads", "processes"])
async def test_who_leaves_gives_up_the_place_and_what_waits_is_never_begun(backend: str) -> None:
    options = (f"--backends={backend}", "--pool-size=1", "--backlog=5")
    with serving(*deadly("rest"), *options) as served:
        async with client(served) as session:
            running = asyncio.create_task(work(session, f"rest/{backend}?seconds=1.5"))
            await until(served, "gilscope_backend_active_tasks", 1)
            # A pool of processes takes one more call than it has workers, and does not give that back.
            waiting = [asyncio.create_task(work(session, f"rest/{backend}?seconds=30")) for _ in range(5)]
            await until(served, "gilscope_backend_queued_tasks", 5)
            if backend == "processes":
                return await _leave_all_but_the_first(served, [running, *waiting])
            for task in waiting:
                task.cancel()
            await until(served, "gilscope_backend_queued_tasks", 0)
            assert (await running)[0] == 200
            assert (await work(session, f"rest/{backend}?seconds=0"))[0] == 200, "nothing of 30 s was begun"
    return None


async def _leave_all_but_the_first(served: Served, tasks: list[asyncio.Task[tuple[int, Any]]]) -> None:
    for task in tasks[1:]:
        task.cancel()
    await until(served, "gilscope_backend_abandoned_total", 2)
    assert metric(served, "gilscope_backend_queued_tasks") <= 2
    assert (await tasks[0])[0] == 200


async def test_nobody_is_lost_when_a_service_under_load_ends() -> None:
    with serving(*deadly("rest"), "--backends=threads,processes", "--pool-size=4") as served:
        tree, seen = served.tree(), Counter[str]()

        async def send(backend: str) -> None:
            async with client(served) as session:
                while True:
                    try:
                        status, _ = await work(session, f"rest/{backend}?seconds=0.02")
                        seen[str(status)] += 1
                    except aiohttp.ClientConnectorError:
                        seen["refused"] += 1
                        return

        senders = [asyncio.create_task(send(backend)) for backend in ("threads", "processes") * 4]
        await until(served, "gilscope_backend_workers", 8)
        while seen["200"] < 100:  # noqa: ASYNC110  the senders do not tell
            await asyncio.sleep(0.01)
        served.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*senders), PATIENCE_S)
        assert seen.keys() == {"200", "refused"}, "answered, or not taken in: nothing in between"
        code, out, err = await asyncio.to_thread(served.end)
        assert (code, out) == (0, "")
        assert "Traceback" not in err
        all_end(tree)


async def test_a_long_call_is_waited_for_and_a_second_signal_is_not_patient() -> None:
    for signals, status in ((1, 200), (2, None)):
        with serving(*deadly("rest"), "--backends=processes", "--pool-size=1") as served:
            tree = served.tree()
            async with client(served) as session:
                call = asyncio.create_task(
                    work(session, f"rest/processes?seconds={1 if signals == 1 else 60}")
                )
                await until(served, "gilscope_backend_active_tasks", 1)
                served.process.send_signal(signal.SIGTERM)
                if signals == 2:
                    line = await asyncio.to_thread(served.process.stderr.readline)  # type: ignore[union-attr]
                    assert (
                        line == "gilscope serve: 1 call under way: up to 10 s for them, or again to end now\n"
                    )
                    served.process.send_signal(signal.SIGTERM)
                    with pytest.raises(aiohttp.ClientError):
                        await call
                else:
                    assert (await call)[0] == status
            code, _, err = await asyncio.to_thread(served.end)
            assert code == 0
            assert "Traceback" not in err
            all_end(tree)


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
async def test_a_call_that_never_ends_does_not_keep_the_service(backend: str) -> None:
    function = "rest" if backend == "threads" else "spin"
    with serving(*deadly(function), f"--backends={backend}", "--drain=0.2") as served:
        tree = served.tree()
        async with client(served) as session:
            call = asyncio.create_task(work(session, f"{function}/{backend}?seconds=600"))
            if backend == "threads":
                await until(served, "gilscope_backend_active_tasks", 1)
            else:
                process = psutil.Process(served.process.pid)
                begun = process.cpu_times().user
                await asyncio.to_thread(
                    eventually, lambda: process.cpu_times().user > begun + 0.3, "it to spin"
                )
            served.process.send_signal(signal.SIGTERM)
            if backend == "asyncio":  # the loop cannot hear of the first one
                await asyncio.sleep(0.3)
                assert served.process.poll() is None
                served.process.send_signal(signal.SIGTERM)
            code, _, err = await asyncio.to_thread(served.end)
            assert code == (0 if backend == "threads" else 130)
            assert "Traceback" not in err
            if backend == "threads":
                assert "calls that still ran were given up" in err
            with pytest.raises(aiohttp.ClientError):
                await call
        all_end(tree)


@contextmanager
def requested(served: Served, path: str, begun: Path) -> Iterator[None]:
    """Have sent a request for work that is never answered, and that writes when it begins."""
    port = URL(str(served.ready["url"])).port or 0
    place = f"/work/deadly.{path}{'&' if '?' in path else '?'}begun=%22{begun}%22"
    with socket.create_connection(("127.0.0.1", port)) as request:
        request.sendall(f"GET {place} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        eventually(begun.exists, "the call")
        yield


@pytest.mark.parametrize("catches", ["false", "true"])
def test_a_second_signal_ends_a_service_whose_loop_and_threads_are_stuck(
    catches: str, tmp_path: Path
) -> None:
    """Python would wait for the thread, and the function that keeps the loop may catch the interrupt."""
    with (
        serving(*deadly("spin_on"), "--arg=begun=null", "--backends=threads,asyncio") as served,
        requested(served, "spin_on/threads", tmp_path / "thread"),
        requested(served, f"spin_on/asyncio?catches={catches}", tmp_path / "loop"),
    ):
        tree = served.tree()
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert served.process.poll() is None, "the loop has not heard of it"
        served.process.send_signal(signal.SIGTERM)
        code, _, err = served.end()
        assert (code, err) == (130, "gilscope serve: calls that still ran were given up\n")
        all_end(tree)


def test_a_coroutine_that_does_not_mind_being_cancelled_does_not_keep_the_service(tmp_path: Path) -> None:
    with (
        serving(*deadly("never_mind"), "--arg=begun=null", "--backends=asyncio", "--drain=0.1") as served,
        requested(served, "never_mind/asyncio", tmp_path / "begun"),
    ):
        served.process.send_signal(signal.SIGTERM)
        code, _, err = served.end()
        assert code == 0
        assert err.endswith("gilscope serve: calls that still ran were given up\n")


def processes_of(served: Served) -> list[int]:
    return [int(one["pid"]) for one in served.ready["processes"]]  # type: ignore[attr-defined]


async def test_supervised_processes_come_back_and_the_others_go_on() -> None:
    with serving(*deadly("die"), "--backends=threads", "--pool-size=1", "--service-processes=2") as served:
        before = processes_of(served)
        assert served.ready["pid"] == served.process.pid
        assert len(set(before)) == 2
        # Not aiohttp's client: it would try again, and take the other process down as well.
        with pytest.raises(RemoteDisconnected):
            await asyncio.to_thread(
                urlopen, f"{served.ready['url']}/work/deadly.die/threads?how=%22segfault%22"
            )
        pids: set[int] = set()
        deadline = time.monotonic() + PATIENCE_S
        while len(pids) < 2 or not pids - set(before):
            assert time.monotonic() < deadline, (before, pids)
            # One that stood in the dead one's queue is reset by its end.
            with suppress(aiohttp.ClientConnectionError):
                async with client(served) as session, session.get("/healthz") as answer:
                    pids.add((await answer.json())["pid"])
        assert len(set(before) & pids) == 1, "one of them has never stopped"
        tree = served.tree()
        served.process.send_signal(signal.SIGTERM)
        code, _, err = await asyncio.to_thread(served.end)
        assert code == 0
        assert "has ended (SIGSEGV): another one begins in 0.1 s" in err
        all_end(tree)


def test_supervised_processes_end_with_their_supervisor() -> None:
    with serving(*deadly("die"), "--backends=processes", "--pool-size=1", "--service-processes=2") as served:
        tree = served.tree()
        assert len(tree) > 4
        os.kill(served.process.pid, signal.SIGKILL)
        all_end(tree)


@pytest.mark.parametrize(
    "options",
    [
        ("--backends=processes",),
        ("--backends=threads", "--service-processes=2"),
        ("--backends=processes", "--service-processes=2"),
    ],
    ids=" ".join,
)
def test_nothing_lives_on_after_a_service_is_killed_whose_function_never_gives_up_the_gil(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    backend = options[0].partition("=")[2]
    with (
        serving(*deadly("hold"), "--arg=begun=null", "--pool-size=1", *options) as served,
        requested(served, f"hold/{backend}", tmp_path / "begun"),
    ):
        tree = served.tree()
        time.sleep(0.1)  # Nothing tells outside that C holds the GIL.
        os.kill(served.process.pid, signal.SIGKILL)
        all_end(tree)


def test_who_is_stuck_when_its_supervisor_ends_is_killed_with_its_children(tmp_path: Path) -> None:
    options = ("--backends=threads", "--pool-size=1", "--service-processes=2", "--drain=0.1")
    with (
        serving(*deadly("hold_with_child"), "--arg=begun=null", *options) as served,
        requested(served, "hold_with_child/threads", tmp_path / "begun"),
    ):
        tree = served.tree()
        assert "sleep" in {process.name() for process in tree}
        served.process.send_signal(signal.SIGTERM)
        assert served.end()[0] == 0
        all_end(tree)


def test_a_supervised_process_that_cannot_begin_ends_it_all() -> None:

    with serving(*deadly("die"), "--backends=threads") as other:
        taken = str(other.ready["metrics_url"]).rsplit(":", 1)[1].split("/")[0]
        done = subprocess.run(
            command(*deadly("die"), "--backends=threads", f"--port={free_port()}", f"--metrics-port={taken}",
                    "--service-processes=2"),
            capture_output=True, text=True, timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"gilscope serve: cannot listen on port {taken}: Address already in use" in done.stderr
    assert "ended before it was ready (exit code 2)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_to_the_whole_group_is_the_services_alone(number: signal.Signals) -> None:
    """As terminals that hang up send it, ``timeout`` and systemd: workers, fork server and resource tracker go on meanwhile."""
    with serving(*deadly("rest"), "--backends=threads,processes", "--pool-size=1") as served:
        tree = served.tree()
        async with client(served) as session:
            calls = [
                asyncio.create_task(work(session, f"rest/{name}?seconds=1"))
                for name in ("threads", "processes")
            ]
            await until(served, "gilscope_backend_active_tasks", 2)
            os.killpg(served.process.pid, number)
            assert [status for status, _ in await asyncio.gather(*calls)] == [200, 200]
        code, _, err = await asyncio.to_thread(served.end)
        assert (code, "Traceback" in err) == (0, False)
        all_end(tree)


@pytest.mark.parametrize(("backend", "seconds"), [("processes", 1), ("threads", 600)])
async def test_a_service_whose_standard_error_is_gone_ends_as_any_other(backend: str, seconds: int) -> None:
    with serving(*deadly("rest"), f"--backends={backend}", "--pool-size=1", "--drain=3") as served:
        tree = served.tree()
        assert served.process.stderr is not None
        served.process.stderr.close()
        async with client(served) as session:
            call = asyncio.create_task(work(session, f"rest/{backend}?seconds={seconds}"))
            await until(served, "gilscope_backend_active_tasks", 1)
            served.process.send_signal(signal.SIGTERM)
            if seconds == 1:
                assert (await call)[0] == 200
            else:
                with pytest.raises(aiohttp.ClientError):
                    await call
        assert await asyncio.to_thread(served.process.wait, PATIENCE_S) == 0
        all_end(tree)


def test_processes_go_on_where_nobody_reads_that_one_has_died() -> None:
    options = ("--workload=noop", "--backends=asyncio", "--service-processes=2")
    with serving(*options) as served:
        assert served.process.stderr is not None
        served.process.stderr.close()
        first, other = cast("list[dict[str, int]]", served.ready["processes"])
        psutil.Process(first["pid"]).kill()
        eventually(
            lambda: not psutil.pid_exists(first["pid"]), "it is buried, and told of, which must not end all"
        )
        eventually(
            lambda: served.get("/healthz")["pid"] not in {first["pid"], other["pid"]}, "another one serves"
        )
        assert psutil.pid_exists(other["pid"])
        assert served.process.poll() is None
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE_S) == 0
