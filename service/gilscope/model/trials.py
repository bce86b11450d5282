"""What a trial found: latencies, where the time went, what spoilt it; and graphs of its stacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from gilscope.model.names import BackendName, FlameKind, ThreadRole
from gilscope.model.plans import Load


@dataclass(frozen=True, slots=True)
class Caution:
    """A warning as data: shown beside the figure that it qualifies, with what to do about it."""

    code: str
    message: str
    remedy: str


SPOILING = frozenset(
    {
        "generator-busy", "generator-starved", "dispatch-lag", "shortfall", "throttled", "steal", "littles-law",
        "client-slow",
    }
)  # fmt: skip
"""Codes of cautions that blame the load generator or the machine: the figures are of them, and not of the service."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Exact quantiles of raw latencies, in milliseconds."""

    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class ProbeLatency:
    """What the neighbours felt: ``/ping`` answers, timed from when each ping was due, in milliseconds."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Where the mean request's time went, in milliseconds.

    ``outside`` (client, network, waiting for the event loop to accept), ``queue`` (handed over, not begun),
    ``run`` (inside the function: ``cpu`` of it on a core), ``return_`` (done, not yet back on the loop) add
    up to the client's mean latency. ``gil_wait``, ``runqueue`` and ``blocked`` split ``run - cpu`` and are
    None where no lens watched. ``blocked`` includes the time for which a coroutine was suspended.
    """

    outside: float
    queue: float
    run: float
    cpu: float
    return_: float
    gil_wait: float | None = None
    runqueue: float | None = None
    blocked: float | None = None

    @property
    def mean(self) -> float:
        """The client's mean latency."""
        return self.outside + self.queue + self.run + self.return_

    @property
    def unexplained(self) -> float | None:
        """What the parts leave of ``run``, positive or negative: the stamps and the lens have different clocks.

        None where no lens watched.
        """
        if self.gil_wait is None or self.runqueue is None or self.blocked is None:
            return None
        return self.run - self.cpu - self.gil_wait - self.runqueue - self.blocked


@dataclass(frozen=True, slots=True)
class GilWaitShare:
    """Share of wall time spent waiting for the GIL, 0 to 1, for the loop's thread and for the workers.

    ``worker`` is the mean over the workers' threads, idle ones included, and None where there is no pool.
    """

    loop: float
    worker: float | None


@dataclass(frozen=True, slots=True)
class StateSeconds:
    """Seconds that threads spent in each state; together they are the threads' wall time.

    ``runqueue`` is ready to run but without a core; ``blocked`` is asleep for anything but the GIL. ``gil_held_s``
    is how long the GIL was held, on a core or not, and None where that cannot be known (before Python 3.13).
    """

    on_cpu_s: float
    runqueue_s: float
    gil_wait_s: float
    blocked_s: float
    gil_held_s: float | None = None

    @property
    def wall_s(self) -> float:
        """The wall time of all threads together."""
        return self.on_cpu_s + self.runqueue_s + self.gil_wait_s + self.blocked_s

    @property
    def gil_wait_share(self) -> float:
        """Share of the wall time spent waiting for the GIL, 0 to 1 (0 for no time at all)."""
        return self.gil_wait_s / self.wall_s if self.wall_s else 0.0

    @property
    def core_wait_share(self) -> float:
        """Share of the wall time spent ready to run, waiting for a core, 0 to 1 (0 for no time at all)."""
        return self.runqueue_s / self.wall_s if self.wall_s else 0.0

    @property
    def off_cpu_share(self) -> float:
        """Share of the wall time spent without a core, waiting or idle, 0 to 1 (0 for no time at all)."""
        return 1 - self.on_cpu_s / self.wall_s if self.wall_s else 0.0


@dataclass(frozen=True, slots=True)
class LensReading:
    """What the lens saw in a window of ``seconds``: each role's threads, summed.

    ``samples`` counts its looks; ``cpu_share`` is how busy it was itself, as a share of one core.
    """

    seconds: float
    samples: int
    roles: Mapping[ThreadRole, StateSeconds]
    cpu_share: float = 0.0


@dataclass(frozen=True, slots=True)
class GeneratorLoad:
    """How busy the load generator itself was: shares of one core, and the lag of its own dispatch.

    Of several processes the worst counts. ``due`` and ``sent`` count what was due in the window and what was sent in
    it, pings included, over all of them; what was dropped counts as sent. ``throttled_share`` is the share of the
    window for which a CPU quota held it, ``stolen_share`` that of its machine's CPU time which a hypervisor gave to others.
    """

    cpu_share: float
    runqueue_share: float
    dispatch_lag_p99_ms: float
    dispatch_lag_p50_ms: float = 0.0
    due: int = 0
    sent: int = 0
    throttled_share: float = 0.0
    stolen_share: float = 0.0

    @property
    def shortfall(self) -> float:
        """The share of what was due in the window that it did not get to in time, 0 to 1."""
        return max(0.0, 1 - self.sent / self.due) if self.due else 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One workload on one backend under one load, in a fresh service process.

    ``requests`` counts answers that succeeded within the window, ``errors`` those that failed;
    ``probes_due`` and ``probes_answered`` do the same for the pings. ``cpu_cores`` and ``memory_mb`` are of
    the service and its children. ``samples`` names the file of raw latencies inside the run's folder.
    ``steal_share`` is the share of the machine's CPU time that its hypervisor gave to others meanwhile;
    ``lens`` is None where no lens watched.
    ``first_error`` is the first failure as it was reported, traceback included. ``valid`` is False where the
    figures must not decide anything.

    In an open loop ``latency_ms`` counts from when a request was due and ``service_latency_ms``, of those that were
    answered, from when it was sent; of the ``offered`` requests that were due in the window ``dropped`` were not sent,
    because too many were in flight, and ``unanswered`` were given up. ``in_flight`` is the mean number of requests under way. ``attempt`` is 2 where the
    first one was spoilt by the generator or the machine; ``twin`` marks the second of two trials of one backend in a
    block (an A/A pair). ``histograms`` are latencies in HdrHistogram's own text, in nanoseconds. ``gil_enabled`` says
    whether the service had a GIL, None where it was not asked.
    """

    workload: str
    backend: BackendName
    block: int
    python: str
    load: Load
    requests: int
    errors: int
    throughput_rps: float
    latency_ms: Latency | None
    probe_latency_ms: ProbeLatency | None
    anatomy_ms: Anatomy | None
    gil_wait_share: GilWaitShare | None
    cpu_cores: float | None
    memory_mb: float | None
    probes_due: int
    probes_answered: int
    generator: GeneratorLoad | None
    samples: str | None
    first_error: str | None = None
    warnings: tuple[Caution, ...] = ()
    valid: bool = True
    steal_share: float | None = None
    lens: LensReading | None = None
    service_latency_ms: Latency | None = None
    offered: int | None = None
    dropped: int = 0
    unanswered: int = 0
    in_flight: float | None = None
    attempt: int = 1
    twin: bool = False
    histograms: Mapping[str, str] = field(default_factory=dict)
    gil_enabled: bool | None = None

    @property
    def place_in_plan(self) -> tuple[str, BackendName, int, bool]:
        """What both attempts at a trial have in common: workload, backend, block, and whether it is the twin of another."""
        return self.workload, self.backend, self.block, self.twin


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """How a flame graph was made, and what it is to be measured against.

    ``samples`` counts stacks seen, ``lost`` those that the profiler failed to read; ``notes`` say what the
    graph cannot show. ``pause_share`` is the share of the time for which the profiler held the process, 0 to 1.
    ``requests`` counts the answers that the service gave meanwhile. ``share`` is that of the threads' time which is
    in the graph, and ``lens_share`` what the lens saw of the same over the same seconds: waiting for the GIL, or
    holding it. None: not known.
    """

    kind: FlameKind
    source: str
    rate_hz: int
    seconds: float
    samples: int
    lost: int
    notes: tuple[str, ...] = ()
    pause_share: float | None = None
    requests: int | None = None
    share: float | None = None
    lens_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flame(Graph):
    """A graph of a trial. ``path`` is its stem in the run's folder, to which the suffixes are added."""

    workload: str
    backend: BackendName
    path: str

    @classmethod
    def of(cls, graph: Graph, workload: str, backend: BackendName, path: str) -> Flame:
        """Say which trial a graph is of."""
        made = {field.name: getattr(graph, field.name) for field in fields(graph)}
        return cls(**made, workload=workload, backend=backend, path=path)


Stack = tuple[str, ...]
"""A call stack, outermost frame first."""


Folded = Mapping[Stack, float]
"""Stacks with their weights, in seconds."""
