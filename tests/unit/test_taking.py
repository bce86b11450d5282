from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import cast

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gilscope.errors import CaptureError, LensError
from gilscope.flame.capture import Capture, CrashedError
from gilscope.lens.control import Lens
from gilscope.lens.ledger import NOTHING, Span
from gilscope.lens.readings import Window
from gilscope.model import BackendName, FlameKind, Graph, StateSeconds, ThreadRole
from gilscope.profiling import taking
from gilscope.profiling.observing import Observation
from gilscope.profiling.taking import IF_ANY, ONE_INTERPRETER, answers, take
from gilscope.web.metrics import ServiceMetrics

LOOP = Span(StateSeconds(0.5, 0.0, 1.0, 0.5, 0.4), NOTHING)
WINDOW = Window(2.0, 400, 0.02, {ThreadRole.LOOP: LOOP})
METRICS = "http://there/metrics"
PY_SPY, STANDARD = "py-spy 0.4.3", "profiling.sampling of python3.15"


def graph_of(kind: FlameKind, samples: int = 40, lost: int = 0, source: str = PY_SPY) -> Graph:
    return Graph(
        kind=kind, source=source, rate_hz=100, seconds=2.0, samples=samples, lost=lost, notes=(f"of {kind}",)
    )


class FakeLens:
    """A lens that writes down what it is asked, and can fail at the window."""

    def __init__(self, events: list[str], *, fails: bool = False) -> None:
        self._events, self._fails = events, fails

    def prepare(self) -> None:
        self._events.append("prepare")

    def open_window(self, seconds: float) -> None:
        self._events.append(f"open {seconds:g} s")

    def window(self) -> Window:
        self._events.append("window")
        if self._fails:
            raise LensError("it ended")
        return WINDOW


class FakeProfiler:
    """Gives made-up stacks, and writes down when."""

    def __init__(self, events: list[str], graphs: Sequence[Graph] | None, source: str) -> None:
        self._events, self._graphs, self._source = events, graphs, source
        self.crashes = 0

    def capture(self, pid: int, kinds: Collection[FlameKind], seconds: int, rate_hz: int) -> list[Capture]:
        self._events.append(f"capture {pid} {seconds} s {rate_hz} Hz")
        if self.crashes:
            self.crashes -= 1
            raise CrashedError("it ended with exit code -11")
        graphs = self._graphs or [graph_of(kind, source=self._source) for kind in FlameKind if kind in kinds]
        return [Capture(graph, {("f",): graph.samples / 40} if graph.samples else {}) for graph in graphs]


class Taking:
    """A taking of stacks with everything faked, which writes down what happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        self.graphs: Sequence[Graph] | None = None
        self.source = PY_SPY
        self.counts: Iterator[int | None] = iter((100, 142))
        self.crashes = 0
        monkeypatch.setattr(taking, "profiler_for", self._profiler_for)
        monkeypatch.setattr(taking, "answers", self._answers)

    def _profiler_for(self, pid: int) -> FakeProfiler:
        self.events.append(f"profiler for {pid}")
        profiler = FakeProfiler(self.events, self.graphs, self.source)
        profiler.crashes = self.crashes
        return profiler

    def _answers(self, url: str | None) -> int | None:
        self.events.append(f"count {url}")
        return next(self.counts)

    def observation(self, *, fails: bool = False) -> Observation[int]:
        return Observation(cast("Lens", FakeLens(self.events, fails=fails)))

    def take(
        self,
        *kinds: FlameKind,
        observation: Observation[int] | None = None,
        backends: Collection[BackendName] = (BackendName.THREADS,),
    ) -> list[Graph]:
        captures = take(
            4711,
            kinds,
            2,
            observation=observation or Observation(None),
            backends=backends,
            metrics_url=METRICS,
        )
        return [capture.graph for capture in captures]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taking:
    return Taking(monkeypatch)


def test_lens_and_count_are_about_the_seconds_of_the_profiler(taken: Taking) -> None:
    taken.take(FlameKind.WALL, observation=taken.observation())
    assert taken.events == [
        "prepare",
        "profiler for 4711",
        "open 2 s",
        f"count {METRICS}",
        "capture 4711 2 s 100 Hz",
        f"count {METRICS}",
        "window",
    ]


def test_a_profiler_that_crashes_gets_a_second_chance_with_seconds_of_its_own(taken: Taking) -> None:
    taken.crashes, taken.counts = 1, iter((100, 200, 242))
    (wall,) = taken.take(FlameKind.WALL, observation=taken.observation())
    attempt = ["open 2 s", f"count {METRICS}", "capture 4711 2 s 100 Hz"]
    assert taken.events[2:] == [*attempt, "window", *attempt, f"count {METRICS}", "window"]
    assert wall.requests == 42, "those of the seconds that are in the graph"


def test_a_profiler_that_crashes_again_is_told(taken: Taking) -> None:
    taken.crashes, taken.counts = 2, iter((100, 200))
    with pytest.raises(CaptureError, match="exit code -11"):
        taken.take(FlameKind.WALL, observation=taken.observation())


def test_every_graph_knows_the_answers_and_what_the_lens_saw(taken: Taking) -> None:
    holding, waiting, wall = taken.take(*FlameKind, observation=taken.observation())
    assert [graph.requests for graph in (holding, waiting, wall)] == [42, 42, 42]
    assert [graph.share for graph in (holding, waiting, wall)] == [0.5, 0.5, None]
    assert [graph.lens_share for graph in (holding, waiting, wall)] == [0.2, 0.5, None]
    assert [len(graph.notes) for graph in (holding, waiting, wall)] == [2, 1, 1]
    assert holding.notes[0] == "of holding"


@pytest.mark.parametrize("counts", [(None, 142), (100, None), (None, None)])
def test_where_the_service_does_not_tell_its_answers_are_unknown(
    taken: Taking, counts: tuple[int | None, int | None]
) -> None:
    taken.counts = iter(counts)
    (graph,) = taken.take(FlameKind.WALL)
    assert graph.requests is None


def test_no_answer_is_known_as_none_at_all(taken: Taking) -> None:
    taken.counts = iter((100, 100))
    assert [graph.requests for graph in taken.take(FlameKind.WALL)] == [0]


def test_without_a_lens_the_graph_stands_alone(taken: Taking) -> None:
    (graph,) = taken.take(FlameKind.WAITING)
    assert (graph.share, graph.lens_share, graph.notes) == (None, None, ("of waiting",))


def test_a_lens_that_fails_costs_no_graph_and_is_told(taken: Taking) -> None:
    observation = taken.observation(fails=True)
    (graph,) = taken.take(FlameKind.WAITING, observation=observation)
    assert (graph.share, graph.samples) == (None, 40)
    assert observation.caution is not None
    assert "it ended" in observation.caution.message


@pytest.mark.parametrize("backend", BackendName)
@pytest.mark.parametrize("source", [PY_SPY, STANDARD])
def test_only_interpreters_are_partly_invisible_and_to_py_spy_alone(
    taken: Taking, backend: BackendName, source: str
) -> None:
    taken.source = source
    (graph,) = taken.take(FlameKind.WALL, backends=(backend,))
    blind = backend is BackendName.INTERPRETERS and source == PY_SPY
    assert graph.notes == ("of wall", *([ONE_INTERPRETER] if blind else []))
    assert "newest subinterpreter" in ONE_INTERPRETER


def test_one_blind_backend_among_several_is_enough_to_be_told(taken: Taking) -> None:
    (graph,) = taken.take(FlameKind.WALL, backends=tuple(BackendName))
    assert graph.notes == ("of wall", ONE_INTERPRETER)


@pytest.mark.parametrize(("source", "told"), [(PY_SPY, True), (STANDARD, False)])
def test_of_a_process_that_may_have_interpreters_py_spy_may_not_see_all(
    taken: Taking,
    source: str,
    told: bool,  # noqa: FBT001
) -> None:
    taken.source = source
    (graph,) = taken.take(FlameKind.WALL, backends=())
    assert graph.notes == ("of wall", *([IF_ANY] if told else []))
    assert "if the process has any" in IF_ANY


def test_that_nobody_waits_is_a_result(taken: Taking) -> None:
    taken.graphs = [graph_of(FlameKind.HOLDING, 0), graph_of(FlameKind.WAITING, 0), graph_of(FlameKind.WALL)]
    assert [graph.samples for graph in taken.take(*FlameKind)] == [0, 0, 40]


def test_that_nobody_does_anything_is_an_error(taken: Taking) -> None:
    taken.graphs = [graph_of(FlameKind.HOLDING, 0, 12), graph_of(FlameKind.WALL, 0, 1234)]
    with pytest.raises(
        CaptureError, match=r"^not one stack was seen in 2 s \(1,234 could not be read\)"
    ) as caught:
        taken.take(FlameKind.HOLDING, FlameKind.WALL)
    assert caught.value.remedy


# The count of answers, from what a service exposes.


@contextmanager
def served(respond: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A real server for the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


def counted(body: bytes, status: int = 200) -> int | None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with served(respond) as url:
        return answers(url)


@contextmanager
def speaking(words: bytes) -> Iterator[str]:
    """Something that listens and is no HTTP server: it says its words to whoever comes, and ends."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(words)

        thread = threading.Thread(target=speak)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
        finally:
            thread.join()


def test_successful_answers_are_counted_over_all_workloads_and_backends() -> None:
    registry = CollectorRegistry()
    histogram = Histogram(
        "gilscope_request_duration_seconds", "d", ["workload", "backend", "status"], registry=registry
    )
    other = Histogram("gilscope_stage_seconds", "d", ["status"], registry=registry)
    for workload, backend, status, times in (
        ("primes", "asyncio", "200", 3),
        ("primes", "threads", "200", 4),
        ("noop", "threads", "200", 5),
        ("noop", "threads", "500", 100),
        ("noop", "threads", "2000", 100),
    ):
        for _ in range(times):
            histogram.labels(workload, backend, status).observe(0.01)
            other.labels("200").observe(0.01)
    assert counted(generate_latest(registry)) == 12


def test_a_gilscope_service_tells_its_answers() -> None:
    metrics = ServiceMetrics()
    assert counted(generate_latest(metrics.registry)) == 0
    for backend, times in ((BackendName.ASYNCIO, 3), (BackendName.THREADS, 4)):
        route = metrics.route("primes", backend)
        for histogram in (*[route.ok] * times, route.failed, route.lost, route.run):
            histogram.observe(0.01)
    assert counted(generate_latest(metrics.registry)) == 7


@pytest.mark.parametrize("body", [b"", b"# nothing\n", b'python_info{version="3.14"} 1.0\n'])
def test_a_service_without_requests_has_answered_none(body: bytes) -> None:
    assert counted(body) == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"gilscope_request_duration_seconds_count{status= 1\n", 200),
        (b'gilscope_request_duration_seconds_count{status="200"} many\n', 200),
        (b"\xff\xfe", 200),
        (b"gone", 404),
        (b"broken", 500),
    ],
)  # fmt: skip
def test_what_cannot_be_read_tells_nothing(body: bytes, status: int) -> None:
    assert counted(body, status) is None


def test_nobody_is_asked_where_there_is_nobody_to_ask() -> None:
    assert answers(None) is None


def test_who_cannot_be_reached_tells_nothing() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    assert answers(f"http://127.0.0.1:{port}/metrics") is None
    assert answers("no address") is None


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n# cut short",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n# c",
    ],
    ids=["hangs up", "no HTTP", "cut short", "cut short in a chunk"],
)
def test_who_dies_while_it_answers_or_is_no_service_tells_nothing(words: bytes) -> None:
    with speaking(words) as url:
        assert answers(url) is None
