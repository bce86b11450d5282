"""One trial: a fresh service, load on it, figures from it, and profiles after them."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from gilscope.address import split_address
from gilscope.compare.elsewhere import query_of, require_there
from gilscope.compare.figures import RanOn, failed_trial, trial_of
from gilscope.compare.metering import Meter
from gilscope.compare.onlooker import Onlooker
from gilscope.compare.plan import Slot, drain_for, load_of
from gilscope.compare.service import Service, ServiceOptions, running_service
from gilscope.compare.store import LATENCY_FOLDER, RunFolder, file_name
from gilscope.compare.watching import Phase, Watcher
from gilscope.errors import CaptureError, LoadError, ServiceError
from gilscope.flame.capture import Capture
from gilscope.lens.control import Lens
from gilscope.load.control import Generator
from gilscope.load.orders import Order
from gilscope.model import Caution, FlameKind, Interpreter, LoadKind, Plan, Samples, Target, Trial
from gilscope.objective import parse_slo
from gilscope.profiling.asking import ProfilesThere
from gilscope.profiling.observing import Observation
from gilscope.profiling.taking import no_graphs, take


@dataclass(frozen=True, slots=True)
class Setting:
    """What all trials of a run share, beside its plan. ``python`` is the service's interpreter.

    ``load_master`` is where Locust workers from elsewhere find the load's master, None for load from this machine.
    ``live``: somebody may look at what the lens sees while it sees it. ``executables`` are the interpreters of the plan's
    :attr:`~gilscope.model.Plan.pythons`, by name. ``token`` is what a service that runs already wants from readers of its
    profiles, and is nowhere written down.
    """

    plan: Plan
    python: str
    upstream_url: str | None
    folder: RunFolder
    load_master: str | None = None
    live: bool = False
    executables: Mapping[str, str] = field(default_factory=dict)
    token: str | None = field(default=None, repr=False)

    def python_of(self, target: Target) -> str:
        """Return the interpreter that a target's services run on."""
        return self.executables.get(target.python, self.python)

    def generator(self) -> Generator:
        """Return the load generator that the plan asks for."""
        return Generator(self.plan.load.workers, self.load_master)


@dataclass(slots=True)
class Stopwatch:
    """Adds up where the run's time goes, in seconds."""

    load_s: float = 0.0
    profiling_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished trial, its raw samples, and what was captured after it."""

    trial: Trial
    samples: Samples | None = None
    captures: tuple[Capture, ...] = ()


class Subject(NamedTuple):
    """A service under test: where it is, what sees its threads, and how its stacks are captured, for so many seconds.

    ``pid`` is None where it runs elsewhere. ``require_alive`` raises if it has ended.
    """

    url: str
    pid: int | None
    ran_on: RanOn
    observation: Observation[int] | Observation[str]
    capture: Callable[[int], Sequence[Capture]]
    require_alive: Callable[[], None]


@dataclass(slots=True)
class TrialRunner:
    """Runs trials one after the other."""

    setting: Setting
    generator: Generator
    lens: Lens | None
    watcher: Watcher
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def run(self, slot: Slot) -> Outcome:
        """Run one trial. What goes wrong in it becomes a trial that counts nothing and says why."""
        self.watcher.enters(slot, Phase.STARTING)
        try:
            return self._measure(slot) if self.setting.plan.url is None else self._measure_elsewhere(slot)
        except (ServiceError, LoadError) as problem:
            python = slot.target.python or platform.python_version()
            return Outcome(failed_trial(slot, load_of(self.setting.plan, slot), python, str(problem)))

    def _measure_elsewhere(self, slot: Slot) -> Outcome:
        """Measure a service that runs already, whatever it has done before; what it sees of itself is asked for."""
        plan, there = self.setting.plan, ProfilesThere(self.setting.plan.url or "", self.setting.token)
        require_still_there = partial(require_there, there.url)
        require_still_there()
        with Onlooker() as onlooker:
            observation = Observation(onlooker if plan.lens else None)
            observation.watch(there.url)
            subject = Subject(
                there.url, None, onlooker.ran_on, observation, there.captures, require_still_there
            )
            return self._under_load(slot, subject)

    def _measure(self, slot: Slot) -> Outcome:
        self.generator.prepare()  # They come up beside the service.
        observation = Observation(self.lens)
        with running_service(self._service_options(slot)) as service:
            observation.watch(service.pid)
            lens_url = None if self.lens is None else self.lens.metrics_url
            ran_on = RanOn(service.python, service.gil_enabled)
            self.watcher.serves(slot, ran_on, lens_url)

            def capture(seconds: int) -> list[Capture]:
                return take(
                    service.pid,
                    tuple(FlameKind),
                    seconds,
                    observation=observation,
                    backends=(slot.backend,),
                    metrics_url=service.metrics_url,
                )

            outcome = self._under_load(
                slot,
                Subject(service.url, service.pid, ran_on, observation, capture, service.child.require_alive),
            )
        caution = _switched_on(_interpreter(self.setting.plan, slot), service)
        return replace(outcome, trial=_with_caution(outcome.trial, caution))

    def _under_load(self, slot: Slot, subject: Subject) -> Outcome:
        plan, stem, meters = self.setting.plan, _samples_path(slot), list[Meter]()
        observation = subject.observation

        def on_window() -> None:
            observation.open_window(plan.load.seconds)
            meters.append(Meter(subject.pid))
            self.watcher.enters(slot, Phase.MEASURING)

        self.watcher.enters(slot, Phase.WARM_UP)
        begun = time.monotonic()
        with self.generator.load(self._order(slot, subject.url, stem), on_window) as measured:
            subject.require_alive()
            # Over somewhat more than the window: late pings may have been waited for since it ended.
            usage = meters[0].usage()
            window = observation.window()
            self.stopwatch.load_s += time.monotonic() - begun
            trial = trial_of(
                slot,
                replace(plan, load=load_of(plan, slot)),
                measured,
                usage,
                window,
                ran_on=subject.ran_on,
                samples=stem,
            )
            trial = _with_caution(trial, observation.caution)
            outcome = self._profile(slot, subject, Outcome(trial, measured.samples))
            self.watcher.enters(slot, Phase.STOPPING)
        return outcome

    def _profile(self, slot: Slot, subject: Subject, measured: Outcome) -> Outcome:
        """Capture stacks after the window, under the load that is still up: the figures never saw a profiler."""
        seconds = round(self.setting.plan.profile_seconds)
        trial = measured.trial
        if not slot.last or slot.attempt > 1 or not seconds or not trial.requests:
            return measured
        self.watcher.enters(slot, Phase.PROFILING)
        begun = time.monotonic()
        try:
            return replace(measured, captures=tuple(subject.capture(seconds)))
        except CaptureError as problem:
            return replace(measured, trial=_with_caution(trial, no_graphs(problem)))
        finally:
            self.stopwatch.profiling_s += time.monotonic() - begun

    def _service_options(self, slot: Slot) -> ServiceOptions:
        setting = self.setting
        return ServiceOptions(
            target=slot.target.reference,
            arguments={**setting.plan.given, **slot.target.given},
            backend=slot.backend,
            pool_size=setting.plan.pool_size,
            app_dir=setting.plan.app_dir,
            upstream_url=setting.upstream_url,
            python=setting.python_of(slot.target),
            # Load from other machines has to reach it.
            host=split_address(setting.load_master)[0] if setting.load_master else None,
        )

    def _order(self, slot: Slot, url: str, samples: str) -> Order:
        load = load_of(self.setting.plan, slot)
        return Order(
            url=url,
            workload=slot.target.name_in_service,
            backend=slot.backend,
            users=load.users,
            warmup_s=load.warmup_seconds,
            seconds=load.seconds,
            probe_rate=load.probe_rate,
            seed=self.setting.plan.seed + slot.block,
            drain_s=drain_for(
                parse_slo(self.setting.plan.slo) if self.setting.plan.slo else None,
                load.seconds if load.kind is LoadKind.OPEN else 0.0,
            ),
            samples=str(self.setting.folder.path / samples),
            rate=load.rate,
            arrivals=load.arrivals,
            # A service of ours got its arguments when it was started.
            query=query_of(self.setting.plan.given) if self.setting.plan.url is not None else "",
        )


def _samples_path(slot: Slot) -> str:
    return f"{LATENCY_FOLDER}/{_stem(slot)}.csv.gz"


def _stem(slot: Slot) -> str:
    twin, again = "-twin" if slot.twin else "", "-again" if slot.attempt > 1 else ""
    step = f"-at-{slot.rate:.4g}" if slot.rate is not None else ""
    return f"{file_name(slot.target.workload)}-{slot.backend}-{slot.block}{step}{twin}{again}"


def _interpreter(plan: Plan, slot: Slot) -> Interpreter | None:
    """Return the Python of a slot, where one was asked for."""
    return next((one for one in plan.pythons if one.name == slot.target.python), None)


def _switched_on(interpreter: Interpreter | None, service: Service) -> Caution | None:
    """Say that a free-threaded Python runs with its GIL on, which is not what was asked for."""
    if interpreter is None or not interpreter.free_threaded or not service.gil_enabled:
        return None
    return Caution(
        "gil-enabled-again",
        f"Python {interpreter.name} is free-threaded, but an extension module switched its GIL on: these are the figures "
        "of a Python with a GIL",
        "see which module it is with python -X gil=0 -W error, or leave the GIL off all the same: PYTHON_GIL=0",
    )


def _with_caution(trial: Trial, caution: Caution | None) -> Trial:
    return trial if caution is None else replace(trial, warnings=(*trial.warnings, caution))
