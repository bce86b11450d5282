"""What threads, pools and cores do: why a backend is slow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from frame import Section, board
from promql import BACKEND, CHOSEN, Query, heat, over, quantile, rate, running, total
from visuals import (
    BAD,
    BYTES,
    COUNT,
    DASHED,
    POOR,
    RATIO,
    STATE_KEYS,
    Panel,
    by_backend,
    by_state,
    heat_map,
    latencies,
    lines,
    shares,
    sized,
    styled,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries
    from grafana_foundation_sdk.models import dashboard as models

STATES = "gilscope_thread_state_seconds_total"
CALLS = "gilscope_call_state_seconds_total"
LAG = "gilscope_event_loop_lag_seconds"
WORKERS = f"sum by (backend) (gilscope_backend_workers{{{BACKEND}}})"


def dashboard() -> models.Dashboard:
    """Return the dashboard that explains contention."""
    return board(
        "contention",
        "gilscope: contention",
        "Why a backend is slow: what its threads wait for, how late the event loop is, where requests spend their time, and whether cores or memory are short. "
        "Thread states are of all backends together: load one backend at a time to tell them apart.",
        [
            Section("Where the threads' time goes", list(_threads())),
            Section("The event loop", list(_loop())),
            Section("The pools", list(_pools())),
            Section("The stages of a request", list(_stages())),
            Section("Cores and memory", list(_resources())),
            Section("Is the lens to be trusted?", list(_lens())),
        ],
    )


def _threads() -> Iterator[Panel]:
    yield sized(
        _states(
            "loop",
            "Where the event loop's time goes",
            "What the event loop's thread does, in shares of its time. A healthy loop is mostly blocked: it sleeps until something comes. Much on_cpu: a function "
            "computes on the loop itself. Much gil_wait: other threads hold the GIL, so capture a flame graph. Much runqueue: cores are missing.",
        ),
        12,
        9,
    )
    yield sized(
        _states(
            "worker",
            "Where the workers' time goes",
            "What the threads of all pools do, in shares of their time; idle workers are blocked. Healthy busy workers are on_cpu. Much gil_wait: they take turns, and "
            "more threads add nothing; processes or interpreters would. Much runqueue: there are more workers than cores.",
        ),
        12,
        9,
    )
    yield sized(_calls(), 8, 8)
    yield sized(_gil_wait(), 8, 8)
    yield sized(_gil_held(), 8, 8)


def _states(role: str, title: str, description: str) -> Panel:
    whole = total(STATES, labels=f'role="{role}"')
    queries = [
        Query(over(total(STATES, labels=f'role="{role}",state="{state}"'), whole), state)
        for state in STATE_KEYS
    ]
    return by_state(shares(title, description, queries))


def _calls() -> Panel:
    whole = total(CALLS)
    queries = [Query(over(total(CALLS, labels=f'state="{state}"'), whole), state) for state in STATE_KEYS]
    return by_state(
        shares(
            "Inside the functions",
            "What threads do inside the functions of workloads, wherever those run, in shares of that time. Much gil_wait: calls take longer because others hold the GIL. "
            "Much blocked: they wait for something else. Much runqueue: for a core. What they wait for before and after the function is above.",
            queries,
        )
    )


def _gil_wait() -> timeseries.Panel:
    waiting, everything = total(STATES, "role", 'state="gil_wait"'), total(STATES, "role")
    return lines(
        "GIL wait",
        "The share of their time for which the threads of each role sleep until they get the GIL. From a tenth on (dashed) the loop shares the GIL with work that "
        "holds it; from a quarter on there is an alert. Then look beside this for who holds it, and capture a flame graph for whose code that is.",
        [Query(over(waiting, everything), "{{role}}")],
        RATIO,
        bounds=[(0.1, POOR), (0.25, BAD)],
    )


def _gil_held() -> timeseries.Panel:
    return lines(
        "Who holds the GIL",
        "GILs held at any moment, on average, by role: all roles together reach 100 % where the GIL is always taken, and more where subinterpreters have GILs of their own. "
        "If workers hold it while the loop waits, their code keeps it; see the holding flame graph. Empty before Python 3.13, which does not tell who holds it.",
        [Query(total("gilscope_gil_held_seconds_total", "role"), "{{role}}")],
        RATIO,
    )


def _loop() -> Iterator[Panel]:
    yield sized(
        heat_map(
            "Event loop lag",
            "How late the event loop ran what was due, at 20 random moments a second: the darker, the more often. A healthy loop has one band below 2 ms. A second band "
            "at 5 ms and more is the GIL's switch interval, once or several times over; a tail up to a second is a function that runs on the loop itself.",
            heat(LAG),
        ),
        12,
        9,
    )
    yield sized(
        latencies(
            "Event loop lag, percentiles",
            "The same as lines. Beside one thread that hogs the GIL p99 is 14 to 26 ms, beside four 82 to 141 ms; the dashed line at 40 ms is the alert's bound. "
            "If p99 is high and p50 is not, look for a few long calls; if both are, for something that goes on all the time.",
            [Query(quantile(0.99, LAG), "p99"), Query(quantile(0.5, LAG), "p50")],
            bounds=[(0.04, BAD)],
        ),
        12,
        9,
    )


def _pools() -> Iterator[Panel]:
    queued = lines(
        "Tasks that wait for a worker",
        "Calls handed to a backend that no worker has begun. In a closed loop it stands still at users minus workers; in an open loop a healthy backend stays near 0. "
        "If it keeps growing, or stays long, the backend does not keep up with the rate: latencies grow until the backlog is full, and then requests are refused.",
        [Query(f"sum by (backend) (gilscope_backend_queued_tasks{{{BACKEND}}})", "{{backend}}")],
        COUNT,
    )
    yield sized(by_backend(queued), 8, 8)
    active = lines(
        "Busy workers",
        "Workers that run a call, against those that there are (dashed). All busy, and a queue beside this: the pool is the limit, or what its workers wait for. "
        "Few busy while clients wait: the event loop does not get to hand work over; see its lag.",
        [
            Query(f"sum by (backend) (gilscope_backend_active_tasks{{{BACKEND}}})", "{{backend}}"),
            Query(WORKERS, "{{backend}} workers"),
        ],
        COUNT,
    )
    yield sized(by_backend(styled(active, "workers", DASHED)), 8, 8)
    restarts = f"increase(gilscope_backend_restarts_total{{{BACKEND}}}[$__rate_interval])"
    broken = lines(
        "Restarts",
        "Pools that broke and were replaced, which a healthy service never shows. Each one cost what its workers were running, answered with 503. "
        "Look at the memory per worker below, and at the service's standard error.",
        [Query(f"sum by (backend) ({restarts})", "{{backend}}")],
        COUNT,
    )
    yield sized(by_backend(broken), 8, 8)


def _stages() -> Iterator[Panel]:
    for stage, title, meaning in (
        (
            "queue",
            "Queue: from the loop to a worker",
            (
                "Time from handing a call over until a worker begins it. Healthy is well below a millisecond in threads, a few in processes. Long: all workers are busy "
                "(see the pools above), or the worker waits for the GIL before it can begin."
            ),
        ),
        (
            "run",
            "Run: inside the function",
            (
                "Time inside the function. Compare it with its CPU time beside this: where both are alike, the function computes and only fewer or faster calls help. "
                "Where run is longer, it waits: for the GIL or a core (see the workers' states above), or for I/O of its own."
            ),
        ),
        (
            "cpu",
            "CPU: of that, on a core",
            (
                "The part of run for which the thread was on a core: what the function costs, whoever else is running. It hardly depends on the backend; if it grows under load, "
                "caches or memory are shared with too much, or the machine is throttled."
            ),
        ),
        (
            "return",
            "Return: from the worker to the loop",
            (
                "Time from the function's end until the event loop has the result. Healthy is about a millisecond. Long: the loop is busy or waits for the GIL (see its lag above), "
                "or, in processes, large results are pickled."
            ),
        ),
    ):
        yield sized(
            heat_map(title, meaning, heat("gilscope_stage_seconds", f'stage="{stage}",{CHOSEN}')), 12, 8
        )


def _resources() -> Iterator[Panel]:
    cores = lines(
        "Cores in use by role",
        "Cores that the service's threads run on, on average. Workers in threads stay below one core in all while there is a GIL: if they sit near 1, more of them are of no use. "
        "Workers in processes or interpreters reach the number of cores; beyond that, look for runqueue above.",
        [Query(total(STATES, "role", 'state="on_cpu"'), "{{role}}")],
        COUNT,
    )
    yield sized(cores, 12, 8)
    cpu = lines(
        "CPU of the processes",
        "CPU time per second, in cores: of the service's own process (workers in processes of their own not included) and of the lens. While there is a GIL, a service at "
        "1 has no more to give, whatever the machine has. The lens takes some hundredths of a core.",
        [
            Query(running(rate("process_cpu_seconds_total")), "service"),
            Query(total("gilscope_lens_cpu_seconds_total"), "lens"),
        ],
        COUNT,
    )
    yield sized(cpu, 12, 8)
    yield sized(by_backend(styled(_cpu_per_worker(), "process", DASHED)), 12, 8)
    yield sized(by_backend(styled(_memory(), "not shared", DASHED)), 12, 8)


def _cpu_per_worker() -> timeseries.Panel:
    inside = total("gilscope_stage_seconds_sum", "backend", f'stage="cpu",{CHOSEN}')
    whole = total("gilscope_worker_cpu_seconds_total", "backend", BACKEND)
    return lines(
        "CPU per worker",
        "The share of a core that one worker uses inside the function, on average, and with all else that its process does, where it has one (dashed), such as pickling. "
        "Near 100 % the pool computes, and only more cores help. Well below it while all are busy: they wait, for the GIL, for a core, or for I/O.",
        [
            Query(over(inside, WORKERS), "{{backend}}, in the function"),
            Query(over(whole, WORKERS), "{{backend}}, whole process"),
        ],
        RATIO,
    )


def _memory() -> timeseries.Panel:
    resident = f'sum by (backend) (gilscope_worker_memory_bytes{{kind="resident",{BACKEND}}})'
    shared = f'sum by (backend) (gilscope_worker_memory_bytes{{kind="shared",{BACKEND}}})'
    return lines(
        "Memory per worker",
        "Resident memory of one worker with a process of its own, on average, and the part of it that it shares with nothing (dashed): what one more worker costs. "
        "Threads and interpreters live inside the service, whose memory is the third line. What grows without end leaks, and ends in a restart.",
        [
            Query(over(resident, WORKERS), "{{backend}}, each worker"),
            Query(over(f"({resident} - {shared})", WORKERS), "{{backend}}, each worker, not shared"),
            Query(running("process_resident_memory_bytes"), "service"),
        ],
        BYTES,
    )


def _lens() -> Iterator[Panel]:
    looks = lines(
        "Looks per second",
        "How often the lens looks at all threads: about 200 times a second. Below half of that (dashed) shares are rough, and there is an alert. "
        "Either it does not get a core, or there are hundreds of threads, whose looks it makes rarer.",
        [Query(total("gilscope_lens_looks_total"), "looks")],
        "ops",
        bounds=[(100, BAD)],
    )
    yield sized(looks, 8, 7)
    cost = lines(
        "What the lens costs",
        "CPU time of the lens, in shares of a core. Some 3 % for ten threads in one process, little above 10 % for hundreds. "
        "On a small machine the service may miss that; the thread states above do not contain it.",
        [Query(total("gilscope_lens_cpu_seconds_total"), "lens")],
        RATIO,
    )
    yield sized(cost, 8, 7)
    watched = lines(
        "What the lens watches",
        "Threads by role, and processes: the service and its Python children. No loop or no worker here means that their panels above are empty for that reason. "
        "0 processes: the lens is not ready yet.",
        [
            Query("sum by (role) (gilscope_lens_watched_threads)", "{{role}} threads"),
            Query("sum (gilscope_lens_watched_processes)", "processes"),
        ],
        COUNT,
    )
    yield sized(watched, 8, 7)
