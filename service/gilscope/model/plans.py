"""What is to be run: functions, Pythons, load, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gilscope.model.names import Arrivals, BackendName, GilClass, LoadKind


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
