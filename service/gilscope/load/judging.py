"""Is the load generator, or the machine, to blame for what a trial shows? Pure.

The bounds are rules of thumb from measurements: above a third of what one core can drive, a generator's own
queueing begins to pose as the service's latency.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gilscope.model import Caution, GeneratorLoad

MAX_CPU_SHARE = 0.70
MAX_RUNQUEUE_SHARE = 0.05
HARMLESS_WAIT = 0.02
"""So long as each request's part of the generator's wait for a core is less than this share of its median latency."""

NEVER_HARMLESS = 0.20
MIN_DISPATCH_LAG_MS = 2.0
DISPATCH_LAG_SHARE = 0.10
OBJECTIVE_SHARE = 0.02
"""Of a latency that only has to be kept: so little lag decides nothing about the rate at which it breaks."""

MAX_SHORTFALL = 0.02
MAX_THROTTLED_SHARE = 0.01
MAX_STEAL_SHARE = 0.05
"""Other machines' work on the same host: more than this, and trials differ for reasons of their own."""

MAX_LITTLE = 0.05
"""By how much a generator may hold up what it sends: this share of what is in flight."""

MIN_HELD_MS = 1.0
"""A generator that holds each request up for less does what it must: of fast functions, that is a good share of what is in flight."""

MAX_GAP = 0.20
MIN_GAP_MS = 2.0
IDLE_LOOP = 0.50
"""An event loop that is asleep for longer than this share of the time cannot be what requests waited for."""


@dataclass(frozen=True, slots=True)
class Senders:
    """The processes that send a load together: how many they are, and whether they came from other machines."""

    count: int = 1
    are_elsewhere: bool = False

    @property
    def one_more(self) -> str:
        """What to type for one more of them."""
        if self.are_elsewhere:
            return f"--expect-workers {self.count + 1}"
        return f"--load-workers {self.count + 1}" + (" or --load-master" if self.count > 1 else "")


ALONE = Senders()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the generator measured: latencies from send (ms), answers per second (pings included), and in which loop.

    The answers are those of all ``senders``, each of whom gets an equal part. ``objective_ms`` is the latency that has to be
    kept, where that is all that is asked (0: it is not).
    """

    p50_ms: float
    p99_ms: float
    answers_per_s: float
    is_open: bool
    senders: Senders = ALONE
    objective_ms: float = 0.0


def judge_generator(generator: GeneratorLoad, seen: Seen) -> Iterator[Caution]:
    """Yield a caution for each sign that the generator distorts what was seen.

    How late it sends is held against the median in an open loop, where everything is sent at a time that was due. In a
    closed one only pings are, and the lag (p99) tells what the tail of the work (p99) may owe to the generator. Where a
    latency has to be kept, a small share of that is no difference either.
    """
    senders = seen.senders
    if generator.cpu_share > MAX_CPU_SHARE:
        yield Caution(
            "generator-busy",
            f"the load generator used {generator.cpu_share:.0%} of a core: its own queueing may pose as latency",
            f"{senders.one_more}, fewer --users or a lower --rate, or a heavier workload",
        )
    # The wait is that of one process, so it is held against what one process got.
    wait_ms = generator.runqueue_share * 1e3 / max(seen.answers_per_s / senders.count, 1.0)
    harmless = generator.runqueue_share < NEVER_HARMLESS and wait_ms < HARMLESS_WAIT * seen.p50_ms
    if generator.runqueue_share > MAX_RUNQUEUE_SHARE and not harmless:
        yield Caution(
            "generator-starved",
            f"the load generator waited {generator.runqueue_share:.0%} of the time for a core",
            f"more cores for the load, or {senders.one_more}"
            if senders.are_elsewhere
            else "a machine with more cores, Locust on another machine (--load-master), or a smaller --pool-size",
        )
    floor_ms = max(
        MIN_DISPATCH_LAG_MS,
        DISPATCH_LAG_SHARE * (seen.p50_ms if seen.is_open else seen.p99_ms),
        OBJECTIVE_SHARE * seen.objective_ms,
    )
    if generator.dispatch_lag_p99_ms > floor_ms:
        yield Caution(
            "dispatch-lag",
            f"requests left up to {generator.dispatch_lag_p99_ms:.1f} ms late (p99): finer differences cannot be seen",
            "a machine with more cores, fewer --users or a lower --rate",
        )
    if generator.shortfall > MAX_SHORTFALL:
        yield Caution(
            "shortfall",
            f"the load generator missed {generator.shortfall:.0%} of the {generator.due:,} requests that were due",
            f"a lower --rate, or {senders.one_more}",
        )
    if generator.throttled_share > MAX_THROTTLED_SHARE:
        yield Caution(
            "throttled",
            f"a CPU quota held this machine's processes {generator.throttled_share:.0%} of the time",
            "no CPU quota on this container: pin it to cores (cpuset) instead",
        )


def judge_machine(steal_share: float, of_load_share: float = 0.0) -> Iterator[Caution]:
    """Yield a caution where a hypervisor took too much of a machine, as a share of all its CPU time.

    ``steal_share`` is of this machine, ``of_load_share`` of the worst of those from which the load came, where that were
    others.
    """
    if steal_share > MAX_STEAL_SHARE:
        yield Caution(
            "steal",
            f"the hypervisor gave {steal_share:.0%} of this machine's CPU time to others",
            "a quieter machine, or more --blocks",
        )
    elif of_load_share > MAX_STEAL_SHARE:
        yield Caution(
            "steal",
            f"a hypervisor gave {of_load_share:.0%} of the CPU time of a machine that sent the load to others",
            "a quieter machine for the load, or more --blocks",
        )


def judge_flight(
    in_flight: float, accounted: float, per_s: float, cut_off: float = 0.0, senders: Senders = ALONE
) -> Iterator[Caution]:
    """Yield a caution where requests are in flight for which nobody waits: the generator holds them up.

    ``in_flight`` is the mean number under way, in a closed loop its users. ``accounted`` is what the requests' own latencies
    from send make of it: arrivals times latency (Little 1961), with what the window's ends cut off taken for as long as it
    lay within; ``per_s`` requests arrive a second. ``cut_off`` is the share of it that may be missing all the same.
    """
    held_ms = abs(in_flight - accounted) / per_s * 1e3 if in_flight and per_s else 0.0
    if held_ms > MIN_HELD_MS and abs(accounted / in_flight - 1) > MAX_LITTLE + cut_off:
        yield Caution(
            "littles-law",
            f"{in_flight:.2g} requests were in flight, but their latencies account for {accounted:.2g}: the load generator "
            f"held each up for {held_ms:.2g} ms",
            f"{senders.one_more}, fewer --users or a lower --rate",
        )


def judge_gap(
    client_ms: float, server_ms: float, idle_share: float | None, senders: Senders = ALONE
) -> Iterator[Caution]:
    """Yield a caution where requests took longer than the service says, though its event loop had nothing to do.

    Both figures are medians; ``idle_share`` is the share of the time for which the loop was asleep (None: not known).
    """
    gap_ms = client_ms - server_ms
    if idle_share is None or idle_share < IDLE_LOOP or gap_ms < MIN_GAP_MS or gap_ms < MAX_GAP * client_ms:
        return
    yield Caution(
        "client-slow",
        f"half of the requests took {client_ms:.1f} ms, of which the service knows {server_ms:.1f}, while its event "
        f"loop was asleep {idle_share:.0%} of the time: the load generator or the network took the rest",
        f"{senders.one_more}, a lower load, or a machine with more cores",
    )
