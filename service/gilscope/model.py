"""The facts of a run: frozen, without I/O and without a clock. Units are in the names.

A *workload* is tried on every *backend*: one such try, in a fresh service process, is a *trial*. Every
backend tried once, in shuffled order, is a *block*; all blocks of a comparison are a *run*. What a run
concludes about a workload is a *verdict*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import NamedTuple

SCHEMA = 1
"""Version of ``run.json``. A file with a higher number is refused, never guessed at."""


class BackendName(StrEnum):
    """A way to run a workload; the value is the label, the URL part and the command-line word."""

    ASYNCIO = "asyncio"
    THREADS = "threads"
    PROCESSES = "processes"
    INTERPRETERS = "interpreters"


SIMPLEST_FIRST = (
    BackendName.ASYNCIO,
    BackendName.THREADS,
    BackendName.INTERPRETERS,
    BackendName.PROCESSES,
)
"""The order in which a tie is resolved: what has fewer moving parts comes first."""

BASELINE = BackendName.ASYNCIO
"""Ratios are against this backend unless said otherwise."""


class LoadKind(StrEnum):
    """Closed loop: users wait for their answer. Open loop: arrivals do not."""

    CLOSED = "closed"
    OPEN = "open"


class Arrivals(StrEnum):
    """When the requests of an open loop are due: at random moments (a Poisson process) or evenly spaced."""

    POISSON = "poisson"
    UNIFORM = "uniform"


class FlameKind(StrEnum):
    """Stacks that hold the GIL, stacks that wait for it, and all stacks of the wall clock."""

    HOLDING = "holding"
    WAITING = "waiting"
    WALL = "wall"


class ThreadRole(StrEnum):
    """What a thread of the service is there for."""

    LOOP = "loop"
    WORKER = "worker"
    OTHER = "other"


class GilClass(StrEnum):
    """What a function does to the GIL.

    It *releases* it for its long parts; it holds it but gives it up every switch interval, and so is
    *preemptible*; one C call holds it throughout and is *blocking*; or it is *mixed*: some of each.
    """

    RELEASES = "releases"
    PREEMPTIBLE = "preemptible"
    BLOCKING = "blocking"
    MIXED = "mixed"


class Interval(NamedTuple):
    """A figure with its 95 % confidence interval."""

    low: float
    mid: float
    high: float

    def leaves_out(self, value: float) -> bool:
        """Whether the evidence speaks against a value."""
        return value < self.low or value > self.high


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that is measured on. ``name`` is unlike every other's of a run: ``3.14.2``, or ``3.14.2t`` free-threaded.

    ``path`` is the executable as it was asked for. ``gil_enabled`` says whether there is a GIL once the service's packages
    are imported: an extension switches it on in a free-threaded build. ``start_method`` is how it starts processes.
    """

    name: str
    path: str
    version: str
    free_threaded: bool
    gil_enabled: bool
    start_method: str


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a trial. ``users`` counts closed-loop users, ``rate`` open-loop arrivals per second.

    ``arrivals`` says when those of an open loop are due. ``workers`` is the number of Locust processes that share it.
    """

    kind: LoadKind
    users: int | None
    rate: float | None
    seconds: float
    warmup_seconds: float
    probe_rate: float
    arrivals: Arrivals = Arrivals.POISSON
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Classification:
    """What a function does to the GIL, found without load.

    ``held_share`` is the share of a call's wall time in which it holds the GIL, ``cpu_share`` that in which it
    is on a core, both 0 to 1; ``longest_hold_ms`` is the longest time for which no other thread could have
    had the GIL. ``can_release`` says whether any extension module behind the function refers to
    ``PyEval_SaveThread`` and so can release the GIL at all. ``enables_gil`` says whether importing it switches
    the GIL back on in a free-threaded build. None: could not be asked here. ``reasons`` are sentences.
    """

    target: str
    gil_class: GilClass
    held_share: float
    longest_hold_ms: float
    cpu_share: float
    call_ms: float
    can_release: bool | None
    pickles: bool
    subinterpreter_safe: bool | None
    enables_gil: bool | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A workload with its arguments, and the backends that cannot run it, each with the reason.

    One size of a sweep has ``given`` of its own, as it was typed, and is called after it: ``primes, n=1000``;
    ``served_as`` is what the service calls it. On one of several Pythons it is called after that, ``primes, Python 3.14.2``,
    and ``python`` is that :attr:`Interpreter.name`. ``source`` is the SHA-256 of the file that the user's function is in, when
    the run began; empty where there is none or where it was not found.
    """

    workload: str
    reference: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    excluded: Mapping[BackendName, str] = field(default_factory=dict)
    classification: Classification | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    served_as: str = ""
    source: str = ""
    python: str = ""

    @property
    def name_in_service(self) -> str:
        """The name under which the service knows the workload."""
        return self.served_as or self.workload


@dataclass(frozen=True, slots=True)
class Sweep:
    """An argument that is varied, and its values: the size of the work, positive and ascending; a target each."""

    parameter: str
    sizes: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for; with ``seed`` it fixes the order of every trial.

    ``pool_size`` is None where each pool takes its own default; ``profile_seconds`` is 0 where no profiles
    were asked for, ``lens`` says whether GIL wait was to be measured. ``python`` is the interpreter that the service ran on; ``given`` holds the
    arguments as they were typed, ``app_dir`` the folder that was put on the import path. ``twins`` says whether one
    backend of each block is tried twice (an A/A pair): how much it differs from itself is the noise floor. Where
    ``paired`` names workloads, only theirs are. ``lenient``
    says that trials count even if the load generator or the machine spoilt them. With a ``sweep`` the targets are one
    function at several sizes. With an ``slo`` (such as ``p99=200ms``) the rates that keep it are searched for, and with
    ``curve`` throughput and latency are measured at further ones. ``url`` is that of a service that runs already, and was
    measured as it is. ``load_master`` (``HOST:PORT``) is where Locust workers of other machines found the load's master.
    ``pythons`` are those that were asked for; without one, services run on ``python``.
    """

    targets: tuple[Target, ...]
    backends: tuple[BackendName, ...]
    load: Load
    blocks: int
    seed: int
    pool_size: int | None
    profile_seconds: float
    python: str
    given: Mapping[str, str] = field(default_factory=dict)
    app_dir: str | None = None
    lens: bool = True
    twins: bool = False
    paired: tuple[str, ...] = ()
    lenient: bool = False
    sweep: Sweep | None = None
    slo: str | None = None
    curve: bool = False
    url: str | None = None
    load_master: str | None = None
    pythons: tuple[Interpreter, ...] = ()

    def pairs(self, workload: str) -> bool:
        """Whether one backend of each block of a workload is tried twice."""
        return self.twins and (not self.paired or workload in self.paired)


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

    In an open loop ``latency_ms`` counts from when a request was due and ``service_latency_ms`` from when it was sent;
    of the ``offered`` requests that were due in the window ``dropped`` were not sent, because too many were in flight,
    and ``unanswered`` were given up. ``in_flight`` is the mean number of requests under way. ``attempt`` is 2 where the
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


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """How much a backend differed from itself: the ratios of its second trials of each block to its first ones.

    ``pairs`` is the number of blocks in which both trials counted. ``probe_p99`` is None where no ping was due.
    """

    backend: BackendName
    pairs: int
    throughput: Interval
    p99: Interval
    probe_p99: Interval | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the run concludes about one workload.

    ``winner`` is None for a tie, and then ``ties`` lists the backends among which the evidence shows no
    difference; ``recommended`` is the winner, or the simplest of the tied. All are empty where nothing could be decided.
    ``conclusive`` says whether there is a winner. ``reason`` says it with its numbers, ``caveats`` what a reader must
    know before acting on it. Ratios are against ``baseline``, which is :data:`BASELINE` wherever that was measured.
    ``noise`` is None where no backend was tried twice per block; ``rough_p99`` names the backends whose p99 comes from
    fewer requests than one wants, ``rough_probe_p99`` those whose ``/ping`` p99 does.
    """

    workload: str
    winner: BackendName | None
    recommended: BackendName | None
    ties: tuple[BackendName, ...]
    conclusive: bool
    reason: str
    caveats: tuple[str, ...] = ()
    throughput_rps: Mapping[BackendName, Interval] = field(default_factory=dict)
    p99_ms: Mapping[BackendName, Interval] = field(default_factory=dict)
    probe_p99_ms: Mapping[BackendName, Interval] = field(default_factory=dict)
    throughput_ratio: Mapping[BackendName, Interval] = field(default_factory=dict)
    p99_ratio: Mapping[BackendName, Interval] = field(default_factory=dict)
    probe_p99_ratio: Mapping[BackendName, Interval] = field(default_factory=dict)
    baseline: BackendName = BASELINE
    noise: NoiseFloor | None = None
    rough_p99: tuple[BackendName, ...] = ()
    rough_probe_p99: tuple[BackendName, ...] = ()


BELOW = 0.0
"""Stands for a break-even below the smallest size: ahead at every size."""

BEYOND = math.inf
"""Stands for a break-even beyond the largest size: not ahead there."""


class Standing(StrEnum):
    """How two backends stand to each other over the sizes at which both were measured.

    One *crosses* the other: it is surely behind at some size and surely ahead at a larger one. It is surely ahead
    *always* or surely behind *always* (``never`` ahead). They are *tied* where no size shows a difference. All
    else is *unclear*: some sizes show a difference, but the others do not tell.
    """

    CROSSES = "crosses"
    ALWAYS = "always"
    NEVER = "never"
    TIED = "tied"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From which size of the work on ``backend`` has more throughput than ``over``, if there is such a size.

    ``size`` is in the unit of the sizes, with its 95 % interval. ``low`` is :data:`BELOW` (0) where the evidence
    does not exclude that ``backend`` is ahead from below the smallest size, ``high`` is :data:`BEYOND` (infinite)
    where it does not exclude that it is so only beyond the largest. ``mid`` is within the sizes where the kind is
    ``crosses``. Where it is ``unclear``, the interval is open on one side at most, and its other end still tells
    something. None for the other kinds.
    """

    backend: BackendName
    over: BackendName
    kind: Standing
    size: Interval | None = None


@dataclass(frozen=True, slots=True)
class CapacityStep:
    """One rate that was tried, in requests per second, and what for: to ``ramp``, ``bisect``, ``confirm`` or ``curve``.

    ``latency_ms`` is the objective's quantile, from when each request was due; ``kept`` is None where the measurement
    was spoilt and counts for nothing. ``in_flight`` is the mean number of requests under way, ``requests`` of how many the
    quantile is.
    """

    rate: float
    purpose: str
    kept: bool | None
    throughput_rps: float
    latency_ms: float | None = None
    in_flight: float | None = None
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Scalability:
    """The Universal Scalability Law fitted to a curve, or in ``refusal`` why it was not.

    ``gamma`` is the throughput of one request in flight per second, ``alpha`` the share of contention, ``beta`` the cost
    of coherency; ``residuals`` are (observed - fitted) / fitted, a figure per point. The peak is extrapolated where it lies
    beyond the most that was in flight, and None where throughput never falls.
    """

    gamma: float = 0.0
    alpha: float = 0.0
    beta: float = 0.0
    peak_in_flight: float | None = None
    peak_rps: float | None = None
    residuals: tuple[float, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The highest rate at which a backend keeps a latency objective, such as ``p99=200ms``; rates are per second.

    ``rate`` kept it and ``broken`` is the lowest rate that did not; ``confirmed`` kept it again afterwards. None: there is
    no such rate. ``curve`` are further rates, ``law`` what was fitted to them. ``unsettled``: measurements above
    ``rate`` were spoilt, and it may be higher. A ``twin`` is the second search on one backend (an A/A pair).
    """

    workload: str
    backend: BackendName
    slo: str
    rate: float | None
    broken: float | None
    confirmed: float | None
    note: str
    steps: tuple[CapacityStep, ...]
    curve: tuple[CapacityStep, ...] = ()
    law: Scalability | None = None
    unsettled: bool = False
    twin: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One workload on one backend in two runs: each ratio is the later run's figure over the earlier one's."""

    workload: str
    backend: BackendName
    throughput: Interval
    p99: Interval
    probe_p99: Interval


@dataclass(frozen=True, slots=True)
class PythonChange:
    """One workload on one backend on two Pythons: each ratio is the figure on ``python`` over that on ``before``."""

    workload: str
    backend: BackendName
    python: str
    before: str
    throughput: Interval
    p99: Interval
    probe_p99: Interval


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that a run was made on. ``memory_mb`` is the machine's total."""

    system: str
    cpu: str
    cores: int
    memory_mb: int
    python: str
    start_method: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the run's own wall time went: under load, under the profiler, and everything else."""

    total_s: float = 0.0
    load_s: float = 0.0
    profiling_s: float = 0.0

    @property
    def useful_share(self) -> float:
        """Share of the wall time that was load or profiling, 0 to 1 (0 for an empty run)."""
        return (self.load_s + self.profiling_s) / self.total_s if self.total_s else 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """All trials of one comparison, with the machine they ran on. ``complete`` is False until the last one.

    ``searched`` are the trials of a search for capacities, each at a rate of its own. ``resumed_at`` says when it was gone
    on with after an interruption, as ``started_at`` does; ``cautions`` what was not the same then. ``timing`` adds up all
    of these times, and not those between.
    """

    gilscope: str
    name: str
    started_at: str
    machine: Machine
    plan: Plan
    trials: tuple[Trial, ...] = ()
    flames: tuple[Flame, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    break_evens: tuple[BreakEven, ...] = ()
    capacities: tuple[Capacity, ...] = ()
    searched: tuple[Trial, ...] = ()
    python_changes: tuple[PythonChange, ...] = ()
    timing: Timing = Timing()
    complete: bool = False
    schema: int = SCHEMA
    resumed_at: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkSamples:
    """Successful work requests of one window, a column each, equally long, in the order they finished.

    ``at_s`` counts from the window's start: in a closed loop when the answer was in, in an open loop when the request
    was due. ``latency_ms`` is the client's, from send in a closed loop and from when it was due in an open one; there
    ``service_ms`` is the latency from send (empty in a closed loop, where both are one). The others are the service's
    own stamps of the same request (``total_ms`` from accepted to answered; ``suspended_ms`` is the part of
    ``run_ms`` for which a coroutine was not on its thread, 0 for a plain function).
    """

    at_s: Sequence[float]
    latency_ms: Sequence[float]
    queue_ms: Sequence[float]
    run_ms: Sequence[float]
    cpu_ms: Sequence[float]
    suspended_ms: Sequence[float]
    return_ms: Sequence[float]
    total_ms: Sequence[float]
    service_ms: Sequence[float] = ()

    @property
    def from_send_ms(self) -> Sequence[float]:
        """The latency of each request from when it was sent, in either loop."""
        return self.service_ms or self.latency_ms


@dataclass(frozen=True, slots=True)
class ProbeSamples:
    """Pings of one window: when each was due (from the window's start) and how long its answer took from then.

    A ping that was never answered counts for as long as it was waited for.
    """

    due_s: Sequence[float]
    latency_ms: Sequence[float]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Requests of an open loop's window that were never answered: when each was due, and how long it was waited for."""

    due_s: Sequence[float] = ()
    waited_ms: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw observations of one trial's measured window.

    Of an open loop's requests those belong to the window that were due in it. ``carried_s`` are the times (from the
    window's start) at which answers to earlier ones came in: they count for the throughput alone. ``failed_s`` are the
    times of requests that failed, as those of :class:`WorkSamples`.
    """

    window_s: float
    work: WorkSamples
    probe: ProbeSamples
    unanswered: Unanswered = Unanswered()
    carried_s: Sequence[float] = ()
    failed_s: Sequence[float] = ()

    @property
    def open(self) -> bool:
        """Whether the work came in an open loop."""
        return bool(self.work.service_ms or self.carried_s or self.unanswered.due_s)

    @property
    def done_s(self) -> list[float]:
        """When answers came in, from the window's start, those within the window alone."""
        if not self.open:
            return list(self.work.at_s)
        done = (at + latency / 1e3 for at, latency in zip(self.work.at_s, self.work.latency_ms, strict=True))
        return [*self.carried_s, *(at for at in done if at < self.window_s)]

    @property
    def latencies_ms(self) -> list[float]:
        """The latency of everything that belongs to the window.

        What was not answered took as long as it was waited for, and what failed as long as the slowest: otherwise, who fails
        what takes long would seem quick.
        """
        known = [*self.work.latency_ms, *self.unanswered.waited_ms]
        return [*known, *[max(known)] * len(self.failed_s)] if known else []


Stack = tuple[str, ...]
"""A call stack, outermost frame first."""

Folded = Mapping[Stack, float]
"""Stacks with their weights, in seconds."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run with all that was kept of it: what verdicts and reports are made from.

    ``samples`` is keyed by :attr:`Trial.samples`, ``stacks`` by :attr:`Flame.path`.
    """

    run: Run
    samples: Mapping[str, Samples] = field(default_factory=dict)
    stacks: Mapping[str, Folded] = field(default_factory=dict)
