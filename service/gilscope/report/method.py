"""The end of the report: the machine, the plan, how figures were made, and how to make them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gilscope.model import BASELINE, Arrivals, BackendName, Interpreter, Load, LoadKind, Plan, Run, Trial
from gilscope.report import formats

Named = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Method:
    """Named facts in three groups, prose, and a command line."""

    groups: tuple[tuple[str, Named], ...]
    prose: tuple[tuple[str, str], ...]
    command: str


def build_method(run: Run) -> Method:
    """Build the last part of the report."""
    return Method(
        groups=(("Machine", _machine(run)), ("Plan", _plan(run.plan)), ("Timing", _timing(run))),
        prose=(
            _loop(run.plan),
            _intervals(run.plan.blocks),
            _neighbours(run.plan.load),
            _anatomy(),
            *_elsewhere(run.plan),
            _lens((*run.trials, *run.searched)),
            _profiles(run.plan),
        ),
        command=command(run.plan),
    )


def offered(plan: Plan) -> str:
    """Say the load in words: ``20 users in a closed loop``."""
    load = plan.load
    if plan.slo is not None:
        return f"a search for the highest arrival rate that keeps {plan.slo}"
    if load.kind is LoadKind.CLOSED:
        return f"{formats.many(load.users or 0, 'user')} in a closed loop"
    return f"{formats.plain(load.rate or 0)} arrivals per second in an open loop"


def command(plan: Plan) -> str:
    """Write what to type to make the run again."""
    return shlex.join(
        [
            *("gilscope", "compare", *dict.fromkeys(target.reference for target in plan.targets)),
            *_sweep_option(plan),
            *(word for name, text in plan.given.items() for word in ("--arg", f"{name}={text}")),
            *(("--app-dir", plan.app_dir) if plan.app_dir is not None else ()),
            *("--backends", ",".join(_tried(plan))),
            *(("--url", plan.url) if plan.url is not None else ()),
            *_load_options(plan),
            *(() if plan.slo else ("--blocks", str(plan.blocks))),
            *("--seed", str(plan.seed)),
            *(("--pool-size", str(plan.pool_size)) if plan.pool_size is not None else ()),
            *(() if plan.profile_seconds else ("--no-profiles",)),
            *(("--python", *(one.path for one in plan.pythons)) if plan.pythons else ()),
            *(() if plan.lens else ("--no-lens",)),
            *(("--lenient",) if plan.lenient else ()),
        ]
    )


def _tried(plan: Plan) -> tuple[BackendName, ...]:
    """Return the backends of the plan; of a service that ran already, those that ran in it."""
    if plan.url is None:
        return plan.backends
    return tuple(name for name in plan.backends if any(name not in one.excluded for one in plan.targets))


def _sweep_option(plan: Plan) -> tuple[str, ...]:
    if plan.sweep is None:
        return ()
    parameter = plan.sweep.parameter
    return ("--sweep", f"{parameter}={','.join(target.given[parameter] for target in plan.targets)}")


def _load_options(plan: Plan) -> tuple[str, ...]:
    load = plan.load
    duration = ("--duration", f"{load.seconds:.10g}", "--warm-up", f"{load.warmup_seconds:.10g}")
    workers = _workers(plan)
    if plan.slo is not None:
        arrivals = ("--arrivals", load.arrivals) if load.arrivals is not Arrivals.POISSON else ()
        return ("--slo", plan.slo, *arrivals, *(("--curve",) if plan.curve else ()), *workers, *duration)
    if load.kind is LoadKind.CLOSED:
        return ("--users", str(load.users), *workers, *duration)
    return ("--rate", f"{load.rate:.10g}", "--arrivals", load.arrivals, *workers, *duration)


def _workers(plan: Plan) -> tuple[str, ...]:
    workers = str(plan.load.workers)
    if plan.load_master is not None:
        return ("--load-master", plan.load_master, "--expect-workers", workers)
    return ("--load-workers", workers) if plan.load.workers > 1 else ()


def _machine(run: Run) -> Named:
    machine = run.machine
    return (
        ("system", machine.system),
        ("processor", f"{machine.cpu}, {formats.many(machine.cores, 'core')}"),
        ("memory", f"{formats.significant(machine.memory_mb / 1024)} GB"),
        ("Python", machine.python),
        ("service on", _service_on(run)),
        ("start method", formats.listing(_start_methods(run))),
        ("gilscope", run.gilscope),
    )


def _service_on(run: Run) -> str:
    if run.plan.url is None:
        return ", ".join(map(_interpreter, run.plan.pythons)) or run.plan.python
    pythons = "".join(f", Python {python}" for python in pythons_of(run))
    return f"{run.plan.url}{pythons}; the other rows are of the machine that the load came from"


def pythons_of(run: Run) -> list[str]:
    """Return the Pythons that trials ran on, as far as services have told."""
    return sorted({trial.python for trial in (*run.trials, *run.searched) if trial.python})


def _interpreter(one: Interpreter) -> str:
    """Name a Python and where it is; of a free-threaded one, whether it has a GIL all the same."""
    gil = ""
    if one.free_threaded:
        gil = ", GIL switched back on" if one.gil_enabled else ", no GIL"
    return f"Python {one.name} ({one.path}{gil})"


def _start_methods(run: Run) -> list[str]:
    return [*dict.fromkeys(one.start_method for one in run.plan.pythons)] or [run.machine.start_method]


def _plan(plan: Plan) -> Named:
    # That of an open loop is longer where calls are long.
    least = "at least " if plan.slo is not None or plan.load.kind is LoadKind.OPEN else ""
    return (
        ("load", offered(plan)),
        (
            "each trial",
            f"{formats.seconds(plan.load.seconds)} after {least}{formats.seconds(plan.load.warmup_seconds)} of warm-up",
        ),
        ("blocks", f"{plan.blocks}, each in shuffled order"),
        ("seed", str(plan.seed)),
        ("probe", f"{formats.plain(plan.load.probe_rate)} pings per second"),
        ("pool size", "the default of each pool" if plan.pool_size is None else str(plan.pool_size)),
        (
            "profiles",
            f"{formats.seconds(plan.profile_seconds)}, all kinds at once" if plan.profile_seconds else "none",
        ),
    )


def _timing(run: Run) -> Named:
    timing = run.timing
    return (
        ("started", formats.moment(run.started_at)),
        *_resumed(run),
        ("took", formats.seconds(timing.total_s)),
        ("load", _share(timing.load_s, timing.total_s)),
        ("profiling", _share(timing.profiling_s, timing.total_s)),
        ("together", f"{formats.percent(timing.useful_share)} of the wall time"),
        ("lens", _looks((*run.trials, *run.searched))),
    )


def _resumed(run: Run) -> Named:
    if not run.resumed_at:
        return ()
    times = f"{formats.many(len(run.resumed_at), 'time')}, last {formats.moment(run.resumed_at[-1])}"
    return (("resumed", times),)


def _looks(trials: Sequence[Trial]) -> str:
    """Say how often the lens looked, what that took, and in how many of the trials it watched."""
    watched = [trial.lens for trial in trials if trial.lens]
    seconds = sum(reading.seconds for reading in watched)
    if not seconds:
        return "none"
    rate = formats.significant(sum(reading.samples for reading in watched) / seconds)
    cost = formats.percent(sum(reading.cpu_share * reading.seconds for reading in watched) / seconds)
    where = f"{len(watched)} of {formats.many(len(trials), 'trial')}"
    return f"{rate} looks per second, {cost} of a core, in {where}"


def _share(part_s: float, total_s: float) -> str:
    share = f" ({formats.percent(part_s / total_s)})" if total_s else ""
    return f"{formats.seconds(part_s)}{share}"


_MOMENTS = {Arrivals.POISSON: "at random moments", Arrivals.UNIFORM: "evenly spaced"}


def _loop(plan: Plan) -> tuple[str, str]:
    load = plan.load
    if load.kind is LoadKind.CLOSED and plan.slo is None:
        return (
            "Closed loop",
            (
                "Each user sends its next request when its last one is answered. A slow backend is therefore offered"
                " less: users = throughput \N{MULTIPLICATION SIGN} latency, and a stall hides the requests that were"
                " never sent. Read the two figures together."
            ),
        )
    return (
        "Open loop",
        (
            f"Requests arrive {_MOMENTS[load.arrivals]} at a steady rate, whether or not the last ones were answered. Latency"
            " counts from when a request was due, so that a stall is felt by everyone who would have come meanwhile."
        ),
    )


def _intervals(blocks: int) -> tuple[str, str]:
    return (
        "Intervals",
        (
            f"Every interval is a 95 % confidence interval: a bootstrap over the {formats.many(blocks, 'block')} and then"
            " over one-second windows, never over single requests, for those are not independent."
            f" Ratios are against {BASELINE}. Percentiles come from the raw samples of all valid trials: pooled where they are"
            " drawn; the p99 of a verdict is the median of the blocks' own, which no single disturbance decides."
        ),
    )


def _neighbours(load: Load) -> tuple[str, str]:
    return (
        "The probe",
        (
            f"While the work runs, /ping is called {formats.plain(load.probe_rate)} times a second and timed from when each"
            " call was due. It does no work: what it takes is what everything else on that event loop has to wait."
        ),
    )


def _anatomy() -> tuple[str, str]:
    return (
        "The anatomy",
        (
            "The service stamps when a request is handed over, when a worker begins, when the function returns and when"
            " the event loop has the result; CPU time is the thread's own. What the client measured beyond that is outside."
            " The stages are means, and together they are the client's mean latency."
        ),
    )


def _elsewhere(plan: Plan) -> Iterator[tuple[str, str]]:
    if plan.url is None:
        return
    yield (
        "A service that ran already",
        (
            "It was measured as it was: no trial had a fresh process, and what it had done before and did beside is in the"
            " figures. Its own lens watched its threads, which settles its accounts once a second: what it tells is of a window"
            " that begins and ends up to two seconds after the measured one, under the same load."
        ),
    )


def _lens(trials: Sequence[Trial]) -> tuple[str, str]:
    if not any(trial.lens for trial in trials):
        return (
            "The lens",
            (
                "No lens watched this run: how long threads waited for the GIL is not known, and the time inside the"
                " function is told apart only into on and off the CPU."
            ),
        )
    return (
        "The lens",
        (
            "Another process read out of /proc what each thread of the service was doing, at jittered moments, and never"
            " stopped it. Time on a core and in the run queue are the kernel's own exact counts (what the hypervisor"
            " took counts as run queue); of the rest, the samples tell waiting for"
            " the GIL from everything else. A mark that the worker sets around the call says what was inside the"
            " function. Blocked includes a coroutine's suspension, which is stamped exactly."
        ),
    )


def _profiles(plan: Plan) -> tuple[str, str]:
    if not plan.profile_seconds:
        return ("Profiles", "This run took no profiles.")
    return (
        "Profiles",
        (
            "Flame graphs come from a pass of their own under the same load. No latency in this report was measured"
            " while a profiler was attached."
        ),
    )
