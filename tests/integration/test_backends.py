from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing import active_children
from pathlib import Path
from weakref import WeakSet

import psutil
import pytest
from polling import eventually

from gilscope.backends import pool
from gilscope.backends.base import Backend, Outcome
from gilscope.backends.crew import AHEAD, Crew
from gilscope.backends.table import BACKENDS
from gilscope.errors import BackendFailedError
from gilscope.model import BackendName
from gilscope.workloads.base import Surroundings, Workload
from gilscope.workloads.catalogue import BUILT_IN
from gilscope.workloads.http_fetch import close_session
from gilscope.workloads.loader import parse_reference, resolve

STOP_S = 10.0

pytestmark = [
    pytest.mark.integration,
    # Connections that a worker keeps are closed by its end, some time after its pool has been joined.
    pytest.mark.filterwarnings("ignore:unclosed (database|.socket):ResourceWarning"),
]

ASYNCIO, THREADS, PROCESSES, INTERPRETERS = BackendName
POOLS = (THREADS, PROCESSES, INTERPRETERS)
WORKERS = 3


def needs(name: BackendName) -> None:
    reason = BACKENDS[name].unavailable()
    if reason is not None:
        pytest.skip(f"{name}: {reason}")


@pytest.fixture(params=BackendName)
def name(request: pytest.FixtureRequest) -> BackendName:
    found = BackendName(request.param)
    needs(found)
    return found


@pytest.fixture(params=POOLS)
def pool_name(request: pytest.FixtureRequest) -> BackendName:
    found = BackendName(request.param)
    needs(found)
    return found


@asynccontextmanager
async def running(
    name: BackendName, workloads: Sequence[Workload] = (), workers: int = 1
) -> AsyncIterator[Backend]:
    backend = BACKENDS[name].create(workers, None)
    try:
        await backend.start(workloads)
        yield backend
    finally:
        await backend.stop(STOP_S)


def own(functions: Path, function: str, **given: str) -> Workload:
    return resolve(f"{functions}:{function}", given)


async def call(backend: Backend, workload: Workload) -> Outcome:
    return await backend.run(workload, workload.arguments)


def result(outcome: Outcome) -> object:
    assert outcome.failure is None, outcome.failure.traceback
    return outcome.result


def spent(rows: int) -> list[int]:
    sums: Counter[int] = Counter()
    for n in range(1, rows + 1):
        sums[n * 7919 % 1000] += n * 104_729 % 10_000
    return sorted(sums.values(), reverse=True)[:10]


EXPECTED: dict[str, tuple[dict[str, str], object]] = {
    "noop": ({}, None),
    "http_fetch": ({"delay_ms": "1"}, 1_000),
    "sqlite_query": ({"rows": "500"}, spent(500)),
    "primes": ({"n": "1000"}, 168),
    "json_roundtrip": ({"kilobytes": "1"}, None),  # compared with a direct call
    "sha256": ({"megabytes": "1"}, hashlib.sha256(bytes(1_000_000)).hexdigest()),
    "sort_payload": ({"length": "30000"}, list(range(30_000))),
    "mixed": ({"delay_ms": "1", "n": "100"}, [1_000, 25]),
}


@pytest.mark.usefixtures("collected")
async def test_every_workload_gives_the_same_on_every_backend(
    name: BackendName, upstream_url: str, tmp_path: Path
) -> None:
    from gilscope.workloads.json_roundtrip import json_roundtrip

    assert set(EXPECTED) == set(BUILT_IN)
    expected = {workload: value for workload, (_, value) in EXPECTED.items()}
    expected["json_roundtrip"] = json_roundtrip(1)
    surroundings = Surroundings(upstream_url, tmp_path)
    found = {}
    async with running(name, list(BUILT_IN.values()), workers=2) as backend:
        try:
            for workload in BUILT_IN.values():
                arguments = workload.prepare(workload.parse(EXPECTED[workload.name][0]), surroundings)
                found[workload.name] = result(await backend.run(workload, arguments))
        finally:
            await close_session()
    assert found == expected


async def test_the_event_loop_awaits_the_native_version_and_pools_call_the_plain_one(tmp_path: Path) -> None:
    path = tmp_path / "both.py"
    path.write_text("def work(): return 'plain'\nasync def work_async(): return 'native'\n")
    plain, native = (parse_reference(f"{path}:{function}") for function in ("work", "work_async"))
    workload = Workload("both", "", plain, native)
    found = {}
    for name in (ASYNCIO, THREADS):
        async with running(name, [workload]) as backend:
            found[name] = result(await backend.run(workload, {}))
    assert found == {ASYNCIO: "native", THREADS: "plain"}


async def where(backend: Backend, workload: Workload) -> dict[str, object]:
    found = result(await call(backend, workload))
    assert isinstance(found, dict)
    return found


async def test_asyncio_runs_in_the_main_thread_of_the_service(functions: Path) -> None:
    async with running(ASYNCIO) as backend:
        place = await where(backend, own(functions, "where"))
    assert threading.current_thread() is threading.main_thread()
    assert (place["pid"], place["thread"], place["in_main_thread"]) == (
        os.getpid(),
        threading.get_native_id(),
        True,
    )


async def test_threads_run_in_another_thread_of_the_same_process(functions: Path) -> None:
    async with running(THREADS) as backend:
        place = await where(backend, own(functions, "where"))
    assert (place["pid"], place["in_main_thread"], place["interpreter"]) == (os.getpid(), False, 0)


async def test_processes_run_in_the_main_thread_of_another_process(functions: Path) -> None:
    async with running(PROCESSES) as backend:
        place = await where(backend, own(functions, "where"))
    assert place["pid"] != os.getpid()
    assert place["in_main_thread"] is True


async def test_interpreters_run_in_another_interpreter_of_the_same_process(functions: Path) -> None:
    needs(INTERPRETERS)
    async with running(INTERPRETERS) as backend:
        place = await where(backend, own(functions, "where"))
    assert (place["pid"], place["in_main_thread"]) == (os.getpid(), False)
    assert place["interpreter"] != 0


async def test_a_file_is_found_wherever_it_runs_and_never_put_on_the_path(
    name: BackendName, functions: Path
) -> None:
    workload = own(functions, "where")
    async with running(name, [workload]) as backend:
        place = await where(backend, workload)
    assert place["module"] == workload.function.module
    assert place["on_path"] is False
    assert str(functions.parent) not in sys.path


async def test_a_module_in_the_app_dir_is_found_wherever_it_runs(
    name: BackendName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"ours_on_{name}"
    (tmp_path / f"{module}.py").write_text("def work(n): return [__name__, n]\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    workload = resolve(f"{module}:work", {"n": "3"}, app_dir=str(tmp_path))
    async with running(name, [workload]) as backend:
        assert result(await call(backend, workload)) == [module, 3]
    del sys.modules[module]


async def test_async_functions_run_everywhere(name: BackendName, functions: Path) -> None:
    async with running(name) as backend:
        assert result(await call(backend, own(functions, "add_async", a="1", b="2"))) == 3


async def test_a_worker_keeps_one_loop_for_async_functions(pool_name: BackendName, functions: Path) -> None:
    workload = own(functions, "which_loop")
    async with running(pool_name) as backend:
        assert result(await call(backend, workload)) == result(await call(backend, workload))


@pytest.mark.parametrize(
    ("workload", "reached"),
    [("sqlite_query", "gilscope.workloads.sqlite_query"), ("http_fetch", "gilscope.workloads.http_fetch")],
)
@pytest.mark.usefixtures("collected")
async def test_a_worker_keeps_its_connection(
    pool_name: BackendName, workload: str, reached: str, upstream_url: str, tmp_path: Path
) -> None:
    peek = tmp_path / "peek.py"
    peek.write_text(
        f"from {reached} import _local\ndef work(): return [id(kept) for kept in vars(_local).values()]\n"
    )
    looks, runs = resolve(f"{peek}:work", {}), BUILT_IN[workload]
    arguments = runs.prepare(runs.parse({}), Surroundings(upstream_url, tmp_path))
    async with running(pool_name) as backend:
        kept = []
        for _ in range(2):
            result(await backend.run(runs, arguments))
            kept.append(result(await call(backend, looks)))
    assert kept[0] == kept[1]
    assert isinstance(kept[0], list)
    assert len(kept[0]) == 1


async def test_all_workers_are_up_after_the_start(pool_name: BackendName, functions: Path) -> None:
    async with running(pool_name, [own(functions, "where")], WORKERS) as backend:
        assert backend.workers == WORKERS
        assert isinstance(backend, pool.PoolBackend)
        seen: set[tuple[int, int]] = set()
        # Nobody is started anew now, so as many at once as there are workers find them all.
        for _ in range(50):
            seen.update(await backend._greet_all(backend._crew))
            if len(seen) == WORKERS:
                break
        place = await where(backend, own(functions, "where"))
    assert len(seen) == WORKERS
    assert (place["pid"], place["thread"]) in seen
    assert len({pid for pid, _ in seen}) == (WORKERS if pool_name is PROCESSES else 1)


async def test_start_waits_for_distinct_workers(functions: Path) -> None:
    """Greetings are counted by who greets: one quick worker does not pass for all."""
    greeted: list[tuple[int, int]] = []

    class Watched(pool.PoolBackend):
        async def _greet_all(self, crew: Crew) -> list[tuple[int, int]]:
            assert crew is self._crew
            greetings = [(1, 1)] * WORKERS if not greeted else [(1, number) for number in range(WORKERS)]
            greeted.extend(greetings)
            return greetings

    backend = Watched(lambda: Crew(ThreadPoolExecutor(1), WORKERS), WORKERS)
    await backend.start([])
    await backend.stop(STOP_S)
    assert len(greeted) == 2 * WORKERS


async def test_workers_that_do_not_come_up_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "START_LIMIT_S", 0.2)
    backend = pool.PoolBackend(lambda: Crew(ThreadPoolExecutor(1), 2), 2)
    try:
        with pytest.raises(BackendFailedError, match="only 1 of 2 workers came up") as caught:
            await backend.start([])
    finally:
        await backend.stop(STOP_S)
    assert caught.value.remedy is not None
    assert "--pool-size" in caught.value.remedy


async def test_as_many_calls_run_at_once_as_there_are_workers(
    pool_name: BackendName, functions: Path
) -> None:
    """Each call connects here and waits: both are inside before either may go on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003
        loop = asyncio.get_running_loop()
        port = server.getsockname()[1]
        workload = own(functions, "wait_for", host='"127.0.0.1"', port=str(port))
        async with running(pool_name, [workload], workers=2) as backend:
            calls = [asyncio.create_task(call(backend, workload)) for _ in range(3)]
            inside = [(await loop.sock_accept(server))[0] for _ in range(2)]
            with pytest.raises(TimeoutError):  # the third has to wait for a worker
                async with asyncio.timeout(0.2):
                    await loop.sock_accept(server)
            for connection in inside:
                connection.sendall(b"go on")
                connection.close()
            third, _ = await loop.sock_accept(server)
            third.sendall(b"go on")
            third.close()
            assert [result(outcome) for outcome in await asyncio.gather(*calls)] == ["go on"] * 3


async def test_exceptions_come_back_as_text(name: BackendName, functions: Path) -> None:
    expected = {
        "fail": ("ValueError", "as asked"),
        "fail_async": ("ValueError", "as asked"),
        "fail_stubbornly": ("StubbornError", "stubborn"),
        "fail_mutely": ("MuteError", "(its message cannot be shown)"),
        "leave": ("SystemExit", "leaving"),
        "leave_async": ("SystemExit", "leaving"),
        "cancel": ("CancelledError", "by myself"),
        "cancel_async": ("CancelledError", "by myself"),
    }
    async with running(name) as backend:
        for function, told in expected.items():
            failure = (await call(backend, own(functions, function))).failure
            assert failure is not None
            assert (failure.kind, failure.message) == told
            assert f'File "{functions}"' in failure.traceback
            assert "backends/execution.py" not in failure.traceback
        assert result(await call(backend, own(functions, "add", a="1"))) == 2
        assert backend.restarts == 0


@pytest.mark.parametrize("remote", [PROCESSES, INTERPRETERS])
async def test_a_result_that_does_not_travel_is_said_to_and_the_pool_goes_on(
    remote: BackendName, functions: Path
) -> None:
    needs(remote)
    async with running(remote) as backend:
        with pytest.raises(
            BackendFailedError, match="arguments or result could not be handed over"
        ) as caught:
            await call(backend, own(functions, "unpicklable"))
        says = "lambda" if remote is PROCESSES else "NotShareableError"
        assert says in caught.value.message
        assert result(await call(backend, own(functions, "add", a="1"))) == 2
        assert backend.restarts == 0


@pytest.mark.parametrize("local", [ASYNCIO, THREADS])
async def test_a_result_that_does_not_travel_need_not_where_memory_is_shared(
    local: BackendName, functions: Path
) -> None:
    async with running(local) as backend:
        assert callable(result(await call(backend, own(functions, "unpicklable"))))


async def test_arguments_that_do_not_travel_are_said_to(functions: Path) -> None:
    async with running(PROCESSES) as backend:
        with pytest.raises(BackendFailedError, match="could not be handed over"):
            await backend.run(own(functions, "echo", value="1"), {"value": threading.Lock()})
        assert result(await call(backend, own(functions, "echo", value="[1]"))) == [1]


async def test_a_worker_that_dies_costs_one_restart_and_the_calls_under_way(functions: Path) -> None:
    async with running(PROCESSES, workers=2) as backend:
        before = await where(backend, own(functions, "where"))
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)  # noqa: FBT003
            port = server.getsockname()[1]
            waits = own(functions, "wait_for", host='"127.0.0.1"', port=str(port))
            bystander = asyncio.create_task(call(backend, waits))
            connection, _ = await asyncio.get_running_loop().sock_accept(server)
            with pytest.raises(BackendFailedError, match="a worker died") as caught:
                await call(backend, own(functions, "die"))
            assert caught.value.message == "a worker died: exit code 3"
            assert caught.value.remedy == "the pool is being replaced"
            with pytest.raises(BackendFailedError, match="a worker died"):
                await bystander
            connection.close()
        after = await where(backend, own(functions, "where"))
        assert after["pid"] != before["pid"]
        assert backend.restarts == 1
        # All workers are up again before there is work: on Python 3.11 a pool that breaks while it starts one
        # forgets that, and waits for it for ever at exit.
        assert isinstance(backend, pool.PoolBackend)
        assert isinstance(backend._crew.executor, ProcessPoolExecutor)
        assert len(backend._crew.executor._processes) == 2
        with pytest.raises(BackendFailedError):
            await call(backend, own(functions, "die"))
        await where(backend, own(functions, "where"))
        assert backend.restarts == 2


async def test_a_pool_that_broke_leaves_no_open_file(functions: Path) -> None:
    """Not until a collector of garbage comes, as what is left of it refers to itself."""
    async with running(PROCESSES, workers=2) as backend:
        gc.collect()
        files = psutil.Process().num_fds()
        gc.disable()
        try:
            for _ in range(4):
                with pytest.raises(BackendFailedError):
                    await call(backend, own(functions, "die"))
                await where(backend, own(functions, "where"))
            await until(lambda: psutil.Process().num_fds() <= files, f"{files} open files, as before")
        finally:
            gc.enable()
        assert backend.restarts == 4


async def until(fact: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(eventually, fact, what)


@asynccontextmanager
async def engaged(
    backend: Backend, functions: Path, calls: int
) -> AsyncIterator[list[asyncio.Task[Outcome]]]:
    """Have calls under way for the block, that wait in their workers; those that the block leaves are let go."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003
        loop = asyncio.get_running_loop()
        port = server.getsockname()[1]
        waits = own(functions, "wait_for", host='"127.0.0.1"', port=str(port))
        tasks = [asyncio.create_task(call(backend, waits)) for _ in range(calls)]
        connections = [(await loop.sock_accept(server))[0] for _ in range(calls)]
        yield tasks
        for connection in connections:
            connection.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_calls_that_were_given_up_do_not_keep_a_pool_from_breaking(functions: Path) -> None:
    """On Python 3.11 a pool whose futures were cancelled breaks halfway: it answers nobody and kills nobody."""
    echo = own(functions, "echo", value="1")
    async with running(PROCESSES) as backend:
        async with engaged(backend, functions, 1) as (call_under_way,):
            waiting = [asyncio.create_task(call(backend, echo)) for _ in range(20)]
            await asyncio.sleep(0.1)
            for task in waiting[::2]:
                task.cancel()
            (worker,) = backend.pids
            os.kill(worker, signal.SIGKILL)
            with pytest.raises(BackendFailedError, match="a worker died: SIGKILL"):
                await call_under_way
            answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
        assert all(isinstance(answer, BackendFailedError) for answer in answers[1::2])
        assert result(await call(backend, echo)) == 1
        assert backend.restarts == 1
        assert backend.abandoned == 0
        assert {child.pid for child in active_children()} == set(backend.pids)


@pytest.mark.parametrize("pool_name", [THREADS, PROCESSES])
async def test_calls_that_were_given_up_take_no_memory(pool_name: BackendName, functions: Path) -> None:
    """However many come and go while all workers are engaged: an executor keeps what was cancelled until its turn."""
    kept: WeakSet[frozenset[int]] = WeakSet()
    echo = own(functions, "echo", value="1")

    async def come_and_go(number: int) -> None:
        value = frozenset({number})
        kept.add(value)
        waiting = asyncio.create_task(backend.run(echo, {"value": value}))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    async with running(pool_name) as backend:
        async with engaged(backend, functions, 1):
            for number in range(1_000):
                await come_and_go(number)
            gc.collect()
            assert len(kept) <= AHEAD + 1
            assert backend.abandoned <= 2, "sent to the worker already"
        assert result(await call(backend, echo)) == 1
        assert backend.abandoned == 0


async def test_what_was_given_up_is_not_begun(
    pool_name: BackendName, functions: Path, tmp_path: Path
) -> None:
    path = tmp_path / "traces.py"
    path.write_text(
        "import pathlib\n"
        "def work(number): pathlib.Path(__file__).with_name(f'begun-{number}').touch(); return number\n"
    )
    traces = resolve(f"{path}:work", {"number": "0"})
    async with running(pool_name, [traces]) as backend:
        async with engaged(backend, functions, 1):
            calls = [asyncio.create_task(backend.run(traces, {"number": number})) for number in range(100)]
            await asyncio.sleep(0.1)
            for task in calls[10:]:
                task.cancel()
            await asyncio.wait(calls[10:])
        assert [result(outcome) for outcome in await asyncio.gather(*calls[:10])] == list(range(10))
        assert result(await backend.run(traces, {"number": 100})) == 100
    assert begun(tmp_path) == {f"begun-{number}" for number in (*range(10), 100)}


def begun(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("begun-*")}


async def test_more_calls_than_an_executor_holds_are_answered_in_turn(
    pool_name: BackendName, functions: Path
) -> None:
    count = 3 * AHEAD
    async with running(pool_name) as backend:
        add, order = own(functions, "add", a="0"), []

        async def one(number: int) -> None:
            assert result(await backend.run(add, {"a": number})) == number + 1
            order.append(number)

        await asyncio.gather(*map(one, range(count)))
    assert order == list(range(count))


async def test_a_result_that_cannot_be_read_costs_one_call(functions: Path) -> None:
    async with running(PROCESSES, workers=2) as backend:
        async with engaged(backend, functions, 1) as (neighbour,):
            before = set(backend.pids)
            with pytest.raises(BackendFailedError, match=r"could not be handed over: TypeError: .*second"):
                await call(backend, own(functions, "stubborn_result"))
        assert result(await neighbour) == ""
        assert (backend.restarts, set(backend.pids)) == (0, before)


async def test_a_worker_that_is_killed_while_it_answers_is_noticed(functions: Path) -> None:
    """Its pool waits for the rest of the answer, and would do so for ever."""
    async with running(PROCESSES) as backend:
        with pytest.raises(BackendFailedError, match="a worker died: SIGKILL"):
            await call(backend, own(functions, "die_answering"))
        assert result(await call(backend, own(functions, "add", a="1"))) == 2
        assert backend.restarts == 1


@pytest.fixture
def reluctant(tmp_path: Path) -> Path:
    """A file whose import in a worker takes for ever as long as there is another, ``wait``, beside it."""
    path = tmp_path / "reluctant.py"
    path.write_text(
        "import multiprocessing, os, pathlib, time\n"
        "wait = pathlib.Path(__file__).with_name('wait')\n"
        "while multiprocessing.parent_process() and wait.exists(): time.sleep(0.01)\n"
        "def work(): return os.getpid()\n"
        "def die(): os._exit(3)\n"
    )
    return path


async def test_calls_under_way_are_answered_before_there_is_another_pool(reluctant: Path) -> None:
    work, dies = (resolve(f"{reluctant}:{name}", {}) for name in ("work", "die"))
    async with running(PROCESSES, [work]) as backend:
        (reluctant.parent / "wait").touch()
        with pytest.raises(BackendFailedError, match="a worker died: exit code 3"):
            await call(backend, dies)
        assert backend.restarts == 0
        waiting = asyncio.create_task(call(backend, work))
        await asyncio.sleep(0.1)
        (reluctant.parent / "wait").unlink()
        assert result(await waiting) in backend.pids
        assert backend.restarts == 1


async def test_a_pool_that_does_not_come_up_leaves_no_process(
    reluctant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, dies = (resolve(f"{reluctant}:{name}", {}) for name in ("work", "die"))
    async with running(PROCESSES, [work], workers=2) as backend:
        monkeypatch.setattr(pool, "START_LIMIT_S", 0.5)
        monkeypatch.setattr(pool, "PAUSE_S", 3_600.0)
        (reluctant.parent / "wait").touch()
        with pytest.raises(BackendFailedError):
            await call(backend, dies)
        with pytest.raises(BackendFailedError, match="another did not come up: only 0 of 2 workers"):
            await call(backend, work)
        await until(lambda: not active_children(), "the end of all workers")
        # Until a while later nobody tries again, and who comes is told at once.
        with pytest.raises(BackendFailedError, match="another did not come up"):
            await call(backend, work)
        assert not active_children()
        assert isinstance(backend, pool.PoolBackend)
        backend._may_try_at_s = 0.0
        monkeypatch.setattr(pool, "START_LIMIT_S", 200.0)
        (reluctant.parent / "wait").unlink()
        assert result(await call(backend, work)) in backend.pids
        assert backend.restarts == 1


async def test_a_start_that_fails_leaves_no_process(reluctant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "START_LIMIT_S", 0.5)
    (reluctant.parent / "wait").touch()
    backend = BACKENDS[PROCESSES].create(2, None)
    with pytest.raises(BackendFailedError, match="only 0 of 2 workers came up"):
        await backend.start([Workload("reluctant", "", parse_reference(f"{reluctant}:work"))])
    assert await backend.stop(STOP_S)
    assert not active_children()


async def test_a_worker_killed_while_idle_is_replaced(functions: Path) -> None:
    async with running(PROCESSES) as backend:
        place = await where(backend, own(functions, "where"))
        os.kill(int(str(place["pid"])), signal.SIGKILL)
        # Whether the pool has noticed yet or not: at most one call is lost.
        try:
            after = await where(backend, own(functions, "where"))
        except BackendFailedError:
            after = await where(backend, own(functions, "where"))
        assert after["pid"] != place["pid"]
        assert backend.restarts == 1


async def test_a_worker_that_dies_at_import_fails_the_start(tmp_path: Path) -> None:
    path = tmp_path / "deadly.py"
    path.write_text(
        "import multiprocessing, os\nif multiprocessing.parent_process(): os._exit(3)\ndef work(): ...\n"
    )
    backend = BACKENDS[PROCESSES].create(1, None)
    try:
        with pytest.raises(BackendFailedError, match="a worker died while it started"):
            await backend.start([resolve(f"{path}:work", {})])
    finally:
        await backend.stop(STOP_S)


async def test_what_has_not_begun_is_dropped_at_the_stop(functions: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003
        waits = own(functions, "wait_for", host='"127.0.0.1"', port=str(server.getsockname()[1]))
        backend = BACKENDS[THREADS].create(1, None)
        await backend.start([])
        first, second = (asyncio.create_task(call(backend, waits)) for _ in range(2))
        connection, _ = await asyncio.get_running_loop().sock_accept(server)
        stopping = asyncio.create_task(backend.stop(STOP_S))
        with pytest.raises(asyncio.CancelledError):
            await second
        connection.sendall(b"go on")
        connection.close()
        assert result(await first) == "go on"
        await stopping


async def test_coroutines_overlap_on_the_event_loop(functions: Path, tmp_path: Path) -> None:
    path = tmp_path / "meeting.py"
    path.write_text(
        "import asyncio\nbarrier = asyncio.Barrier(3)\nasync def work():\n    async with barrier: return 'met'\n"
    )
    workload = resolve(f"{path}:work", {})
    async with running(ASYNCIO, [workload]) as backend, asyncio.timeout(60):
        outcomes = await asyncio.gather(*(call(backend, workload) for _ in range(3)))
    assert [result(outcome) for outcome in outcomes] == ["met"] * 3


async def test_stamps_are_of_one_clock_wherever_it_ran(name: BackendName, functions: Path) -> None:
    from time import monotonic_ns

    async with running(name) as backend:
        submitted_ns = monotonic_ns()
        outcome = await call(backend, own(functions, "sleep", seconds="0.02"))
        returned_ns = monotonic_ns()
    assert submitted_ns <= outcome.started_ns < outcome.finished_ns <= returned_ns
    assert outcome.finished_ns - outcome.started_ns >= 20_000_000
    assert 0 <= outcome.cpu_ns < outcome.finished_ns - outcome.started_ns
