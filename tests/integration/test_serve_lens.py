"""``gilscope serve --lens-port``: a real service, its real lens and a real Prometheus."""

from __future__ import annotations

import itertools
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from disturbance import least_disturbed
from polling import all_end, eventually
from prometheus import complaints, require_prometheus, scraped, scraping
from prometheus_client.parser import text_string_to_metric_families
from served import FREE_PORTS, SMALL, Served, refused, serving

pytestmark = pytest.mark.integration

ROLES = ("loop", "worker", "other")
STATES = ("on_cpu", "gil_wait", "runqueue", "blocked")
COUNTERS = (
    "thread_state_seconds_total",
    "lens_looks_total",
    "lens_cpu_seconds_total",
    "event_loop_lag_seconds_bucket",
)
LENS = "--lens-port=0"
WORKERS = 2
ON_THREADS = ("--workload=primes", "--backends=threads", f"--pool-size={WORKERS}", LENS)


class Seen(NamedTuple):
    """One scrape of the lens: values by name and labels, and when it was taken, in seconds."""

    values: dict[tuple[str, str, str], float]
    at_s: float

    def of(self, name: str, role: str = "", state: str = "") -> float:
        return self.values[f"gilscope_{name}", role, state]

    def state(self, role: str, state: str) -> float:
        return self.of("thread_state_seconds_total", role, state)

    def wall(self, role: str) -> float:
        return sum(self.state(role, state) for state in STATES)

    @property
    def looks(self) -> float:
        return self.of("lens_looks_total")


def scrape(served: Served) -> Seen:
    families = text_string_to_metric_families(scraped(str(served.ready["lens_url"])))
    samples = [sample for family in families for sample in family.samples]
    return Seen(
        {(s.name, s.labels.get("role", ""), s.labels.get("state", "")): s.value for s in samples},
        time.monotonic(),
    )


def settled(served: Served, times: int = 1) -> Seen:
    """Wait until the lens has settled its accounts so many times more, which it does once a second."""
    seen = scrape(served)
    for _ in range(times):
        before = seen.looks

        def is_new(before: float = before) -> bool:
            return scrape(served).looks > before

        eventually(is_new, "the lens to settle its accounts")
        seen = scrape(served)
    return seen


def span(served: Served, times: int) -> tuple[Seen, Seen]:
    """Return what the lens has seen before and after so many of its accounts."""
    return least_disturbed(lambda: (settled(served), settled(served, times)))


def share(before: Seen, after: Seen, role: str, state: str) -> float:
    spent = after.state(role, state) - before.state(role, state)
    return spent / (after.wall(role) - before.wall(role))


@contextmanager
def load(served: Served, path: str, users: int = 4) -> Iterator[None]:
    """Call the service from so many threads at once for the block."""
    over = threading.Event()

    def call() -> None:
        while not over.is_set():
            served.result(path)

    threads = [threading.Thread(target=call) for _ in range(users)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def lens_of(served: Served) -> psutil.Process:
    (lens,) = (process for process in served.tree() if "gilscope.lens.exporter" in process.cmdline())
    return lens


@pytest.fixture(scope="module")
def on_threads() -> Iterator[Served]:
    with serving(*ON_THREADS) as served:
        yield served


def test_the_ready_line_says_where_the_lens_is(on_threads: Served) -> None:
    ready = on_threads.ready
    assert str(ready["lens_url"]).startswith("http://127.0.0.1:")
    assert len({ready["url"], ready["metrics_url"], ready["lens_url"]}) == 3
    assert "gilscope_event_loop_lag_seconds_count" not in scraped(str(ready["lens_url"]))
    assert "gilscope_thread_state" not in scraped(str(ready["metrics_url"]))


def test_every_thread_is_watched_in_its_role(on_threads: Served) -> None:
    settled(on_threads)
    found = settled(on_threads)
    assert found.of("lens_watched_threads", "loop") == 1
    assert found.of("lens_watched_threads", "worker") == WORKERS
    assert found.of("lens_watched_processes") == 1
    assert {key[1:] for key in found.values if "thread_state" in key[0]} == {
        (role, state) for role in ROLES for state in STATES
    }
    assert found.of("lens_cpu_seconds_total") > 0


def test_how_long_the_gil_was_held_is_there_where_python_tells(on_threads: Served) -> None:
    settled(on_threads)
    held = [key for key in scrape(on_threads).values if key[0] == "gilscope_gil_held_seconds_total"]
    assert len(held) == (3 if sys.version_info >= (3, 13) else 0)


def test_an_idle_loop_does_not_wait_for_the_gil(on_threads: Served) -> None:
    before, after = span(on_threads, 3)
    assert share(before, after, "loop", "gil_wait") < 0.05
    assert share(before, after, "loop", "blocked") > 0.5


def test_under_load_on_threads_the_loop_waits_for_the_gil(on_threads: Served) -> None:
    with load(on_threads, "/work/primes/threads?n=8000"):
        before, after = span(on_threads, 4)
    assert share(before, after, "loop", "gil_wait") > 0.1
    assert share(before, after, "worker", "gil_wait") > 0.1
    assert share(before, after, "worker", "on_cpu") > share(before, after, "loop", "on_cpu")
    assert after.of("lens_watched_threads", "worker") == WORKERS


def test_counters_only_grow_and_states_add_up_to_wall_time(on_threads: Served) -> None:
    seen = [settled(on_threads)]
    with load(on_threads, "/work/primes/threads?n=2000"):
        seen += [settled(on_threads) for _ in range(4)]
    for before, after in itertools.pairwise(seen):
        fallen = {key for key, value in before.values.items() if value > after.values[key]}
        assert {key for key in fallen if key[0].endswith("_total")} == set()
    elapsed_s = seen[-1].at_s - seen[0].at_s
    # Accounts are settled once a second: at either end, up to that much may be missing, or more on a busy machine.
    assert seen[-1].wall("loop") - seen[0].wall("loop") == pytest.approx(elapsed_s, abs=2.5)
    assert seen[-1].wall("worker") - seen[0].wall("worker") == pytest.approx(
        WORKERS * elapsed_s, abs=2.5 * WORKERS
    )


def test_promtool_has_nothing_against_either_exposition(on_threads: Served) -> None:
    require_prometheus()
    for name in ("metrics_url", "lens_url"):
        assert complaints(scraped(str(on_threads.ready[name]))) == ""


def test_prometheus_answers_what_the_page_asks(tmp_path: Path, on_threads: Served) -> None:
    require_prometheus()
    targets = {name: str(on_threads.ready[f"{name}_url"]) for name in ("metrics", "lens")}
    with scraping(tmp_path, targets) as prometheus, load(on_threads, "/work/primes/threads?n=8000"):
        waits = 'rate(gilscope_thread_state_seconds_total{role="loop",state="gil_wait"}[6s])'
        eventually(lambda: max(prometheus.query(waits).values(), default=0) > 0.1, "the loop's GIL wait")
        eventually(
            lambda: len(prometheus.query("count_over_time(gilscope_lens_looks_total[10s]) >= 8")) == 1,
            "eight scrapes of the lens",
            40,
        )
        answers = {query: prometheus.query(query) for query in documented_queries("8s")}
        falls = [prometheus.query(f"resets(gilscope_{name}[1m]) > 0") for name in COUNTERS]
    assert falls == [{}] * len(COUNTERS)
    for query, answer in answers.items():
        assert answer, query
        assert all(value >= 0 for value in answer.values()), (query, answer)
        if "/ on (role)" in query:
            assert sum(answer.values()) == pytest.approx(len(ROLES), abs=0.01)
        if query.startswith("1 - "):
            assert len(answer) == 1


def documented_queries(window: str) -> list[str]:
    """Return the PromQL that ``docs/serve.md`` teaches, over another window."""
    page = Path(__file__).parents[2] / "docs" / "serve.md"
    blocks = page.read_text(encoding="utf-8").split("```promql\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].splitlines()]
    queries = [line.replace("[1m]", f"[{window}]") for line in lines if line and not line.startswith("#")]
    assert len(queries) >= 4
    return queries


@pytest.mark.parametrize("told", ["SIGTERM", "SIGINT", "lifeline"])
def test_the_lens_ends_with_the_service(told: str) -> None:
    options = ["--lifeline"] if told == "lifeline" else []
    with serving("--workload=noop", "--backends=processes", "--pool-size=1", LENS, *options) as served:
        everybody = served.tree()
        assert lens_of(served) in everybody
        if told == "lifeline":
            assert served.process.stdin is not None
            served.process.stdin.close()
            served.process.stdin = None
        else:
            served.process.send_signal(signal.Signals[told])
        assert served.end() == (0, "", "")
        all_end(everybody)


def test_the_lens_ends_with_a_service_that_is_killed() -> None:
    with serving(*SMALL, LENS) as served:
        everybody = served.tree()
        assert lens_of(served) in everybody
        served.process.kill()
        served.process.wait()
        all_end(everybody)


def test_the_service_goes_on_without_a_lens_that_dies() -> None:
    with serving(*SMALL, LENS) as served:
        lens = lens_of(served)
        lens.kill()
        assert served.result("/work/noop/asyncio") is None
        eventually(lambda: not lens.is_running(), "the service to notice")
        assert served.result("/work/noop/asyncio") is None
        served.process.send_signal(signal.SIGTERM)
        code, out, err = served.end()
    assert (code, out) == (0, "")
    assert err.startswith("gilscope serve: going on without the lens: ")
    assert err.count("going on") == 1
    assert "ended with exit code -9" in err


def test_workers_that_take_the_place_of_others_are_watched_too(functions: Path) -> None:
    options = (f"--workload={functions}:die", f"--workload={functions}:where", "--backends=processes")
    with serving(*options, "--pool-size=2", LENS) as served:
        eventually(lambda: scrape(served).of("lens_watched_threads", "worker") == 2, "both workers")
        before = settled(served)
        assert served.get("/work/functions.die/processes")["status"] == 503
        assert isinstance(served.result("/work/functions.where/processes"), dict)
        pids = {process.pid for process in served.tree()}
        processes = scrape(served).of("lens_watched_processes")
        settled(served, 2)
        eventually(lambda: scrape(served).of("lens_watched_threads", "worker") == 2, "both new workers")
        after = settled(served, 2)
        assert after.wall("worker") > before.wall("worker")
        assert after.of("lens_watched_processes") == processes
        assert lens_of(served).pid in pids
        for key, value in before.values.items():
            assert not key[0].endswith("_total") or after.values[key] >= value


def test_the_lens_does_not_watch_itself() -> None:
    with serving(*SMALL, LENS) as served:
        assert len(served.tree()) == 2
        settled(served)
        found = settled(served)
        assert found.of("lens_watched_processes") == 1
        assert found.of("lens_watched_threads", "worker") == 0


def test_without_what_the_lens_needs_the_service_goes_on_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "psutil.py").write_text("raise ImportError('as a test asked')\n")
    with serving(*SMALL, LENS, env={"PYTHONPATH": str(tmp_path)}) as served:
        assert served.ready["lens_url"] is None
        assert served.result("/work/noop/asyncio") is None
        assert len(served.tree()) == 1
        served.process.send_signal(signal.SIGTERM)
        code, out, err = served.end()
    assert (code, out) == (0, "")
    assert err.startswith("gilscope serve: going on without the lens: ")
    assert "as a test asked" in err


def test_packages_that_the_service_does_without_are_named(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['psutil'] = None\n")
    with serving(*SMALL, LENS, env={"PYTHONPATH": str(tmp_path)}) as served:
        assert served.ready["lens_url"] is None
        served.process.send_signal(signal.SIGTERM)
        code, out, err = served.end()
    assert (code, out) == (0, "")
    assert err == "gilscope serve: going on without the lens: it needs psutil\n  -> pip install psutil\n"


def test_what_cannot_be_watched_is_said_with_the_remedy(tmp_path: Path) -> None:
    """Being on another system is not to be had here, so Python is told that it is."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, psutil\n"
        "if any('lens.exporter' in word for word in sys.orig_argv): sys.platform = 'elsewhere'\n"
    )
    with serving(*SMALL, LENS, env={"PYTHONPATH": str(tmp_path)}) as served:
        assert served.ready["lens_url"] is None
        served.process.send_signal(signal.SIGTERM)
        code, out, err = served.end()
    assert (code, out) == (0, "")
    assert err == (
        "gilscope serve: going on without the lens: the lens reads Linux's /proc; this is elsewhere\n"
        "  -> run it on Linux, or in a container\n"
    )


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(*FREE_PORTS, *SMALL, f"--lens-port={port}")
    assert message == (
        f"gilscope serve: the lens cannot listen on port {port} of 127.0.0.1: Address already in use\n"
        "  -> another --lens-port; 0 takes a free one\n"
    )


def test_without_being_asked_for_there_is_no_lens() -> None:
    with serving(*SMALL) as served:
        assert "lens_url" not in served.ready
        assert len(served.tree()) == 1


def test_the_exporter_ends_without_an_order_too() -> None:
    from gilscope.child import Child, module_command
    from gilscope.errors import LensError

    with Child(module_command("gilscope.lens.exporter"), failure=LensError) as child:
        process = psutil.Process(child.pid)
        ready = child.receive(60)
        assert ready["pid"] == child.pid
        assert "gilscope_lens_watched_processes 0.0" in scraped(str(ready["metrics_url"]))
        begun = time.monotonic()
        child.stop(grace_s=30)
        assert time.monotonic() - begun < 25, "it ends by itself, not by being killed"
        all_end([process])


def test_the_exporter_ends_when_what_it_watches_does() -> None:
    from gilscope.child import Child, module_command
    from gilscope.errors import LensError

    idle = [sys.executable, "-c", "import sys; print('{}', flush=True); sys.stdin.read()"]
    with (
        Child(idle, failure=LensError) as watched,
        Child(module_command("gilscope.lens.exporter"), failure=LensError) as lens,
    ):
        watched.receive(60)
        process = psutil.Process(lens.pid)
        lens.receive(60)
        lens.send({"watch": watched.pid})
        assert str(lens.receive(60)["python"]).startswith("3.")
        lens.send({"anything": "else is not listened to"})
        assert process.is_running()
        watched.stop()
        eventually(lambda: not lens.alive(), "the end of the exporter")
        with pytest.raises(LensError, match="ended with exit code 0"):
            lens.require_alive()


def test_the_exporter_says_why_it_cannot_watch() -> None:
    from gilscope.child import Child, module_command
    from gilscope.errors import LensError

    with Child(module_command("gilscope.lens.exporter"), failure=LensError) as lens:
        lens.receive(60)
        lens.send({"watch": 2**22 + 1})
        assert lens.receive(60) == {
            "error": f"there is no process {2**22 + 1}, or it has ended",
            "remedy": "see why it ended",
            "exit_code": 1,
        }
