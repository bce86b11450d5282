"""The search for a capacity, on queues whose capacity theory knows."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

import pytest
from factories import LOAD
from searching import ask

from gilscope.compare.capacity import MAX_STEPS, Outcome, Search
from gilscope.compare.figures import failed_trial
from gilscope.compare.plan import Slot, drain_for, warmup_for
from gilscope.compare.seeking import kept
from gilscope.load.arrivals import poisson
from gilscope.model import BackendName, Capacity, GeneratorLoad, LoadKind, Target, Verdict
from gilscope.objective import Slo, parse_slo
from gilscope.quantiles import quantile
from gilscope.verdict.capacity import judge_capacities


@dataclass(frozen=True)
class Queue:
    """``workers`` in front of one line, first come first served; services of ``service_s``, exponential or fixed."""

    workers: int
    service_s: float
    exponential: bool

    @property
    def saturation(self) -> float:
        return self.workers / self.service_s

    def served(self, rate: float, seed: int, until_s: float) -> Iterator[tuple[float, float]]:
        """Simulate Poisson arrivals from an empty queue; yield when each was due and when it was done."""
        generator, free_s = random.Random(f"service {seed}"), [0.0] * self.workers
        for due_s in poisson(rate, seed):
            if due_s >= until_s:
                return
            taken_s = generator.expovariate(1 / self.service_s) if self.exponential else self.service_s
            done_s = max(free_s[0], due_s) + taken_s
            heapq.heapreplace(free_s, done_s)
            yield due_s, done_s

    def p99_ms(self, rate: float, seed: int, *, seconds: float, warmup: float) -> float:
        """Return the p99 of those that are due after the warm-up."""
        served = self.served(rate, seed, warmup + seconds)
        return quantile(sorted((done - due) * 1_000 for due, done in served if due >= warmup), 0.99)

    def kept(self, rate: float, seed: int, slo: Slo) -> bool | None:
        """Judge a window of 10 s as a search does."""
        begin_s, end_s = (warm_up := warmup_for(slo, 1.0)), warm_up + 10
        drained_s = end_s + drain_for(slo)
        served = list(self.served(rate, seed, end_s))
        latencies_ms = sorted((min(done, drained_s) - due) * 1_000 for due, done in served if due >= begin_s)
        flight_s = sum(max(0.0, min(done, end_s) - max(due, begin_s)) for due, done in served)
        load = replace(LOAD, kind=LoadKind.OPEN, users=None, rate=rate, seconds=10.0)
        slot = Slot(Target("queue", "queue"), BackendName.THREADS, 0, 0, last=False)
        trial = replace(
            failed_trial(slot, load, "3.14.0", ""),
            throughput_rps=sum(begin_s <= done < end_s for _, done in served) / 10,
            generator=GeneratorLoad(0.1, 0.0, 0.3),
            warnings=(),
            valid=True,
            offered=len(latencies_ms),
            unanswered=sum(done > drained_s for due, done in served if due >= begin_s),
            in_flight=flight_s / 10,
        )
        return kept(trial, quantile(latencies_ms, slo.quantile) if latencies_ms else None, slo)

    def breaks(self, rate: float, limit_ms: float, requests: int) -> bool:
        """Whether the p99 of ``requests``, far more than a window has, is beyond the limit."""
        seconds = requests / rate
        return self.p99_ms(rate, 1, seconds=seconds, warmup=seconds / 20) > limit_ms

    def slower_share(self, rate: float, limit_ms: float) -> float:
        """Return P(response > limit) of the exponential queue in its steady state (Erlang 1917)."""
        limit_s, mu, load = limit_ms / 1_000, 1 / self.service_s, rate * self.service_s
        terms = [load**n / math.factorial(n) for n in range(self.workers)]
        waiting = load**self.workers / math.factorial(self.workers) / (1 - rate / self.saturation)
        wait_share, faster = waiting / (sum(terms) + waiting), self.saturation - rate - mu
        return math.exp(-mu * limit_s) * (1 - wait_share * mu * math.expm1(-faster * limit_s) / faster)

    def exact_capacity(self, limit_ms: float) -> float:
        return bisected(
            0.5 * self.saturation,
            0.9999 * self.saturation,
            lambda rate: self.slower_share(rate, limit_ms) > 0.01,
        )

    def capacity_in_heavy_traffic(self, limit_ms: float) -> float:
        """Return the capacity of the queue with fixed services, for limits far above them (Kingman 1962).

        The wait's tail is then exp(-2 (1 - rho) t workers / service time).
        """
        wait_s = limit_ms / 1_000 - self.service_s
        return self.saturation * (1 - math.log(100) * self.service_s / (2 * self.workers * wait_s))


def bisected(low: float, high: float, breaks: Callable[[float], bool]) -> float:
    while high / low > 1.003:
        rate = (low + high) / 2
        low, high = (low, rate) if breaks(rate) else (rate, high)
    return low


LIMIT_MS = 200.0


def searched(queue: Queue, seed: int) -> Outcome:
    """Search with windows of 10 s after 2 s of warm-up; every measurement sees other arrivals."""
    search = Search(10 * 2 ** (seed / 8))
    return ask(
        search,
        lambda rate: (
            queue.p99_ms(rate, 1_000 * seed + len(search.outcome().steps), seconds=10, warmup=2) <= LIMIT_MS
        ),
    )


def assert_found(queue: Queue, capacity: float) -> None:
    for seed in range(8):
        outcome = searched(queue, seed)
        assert outcome.capacity == pytest.approx(capacity, rel=0.05)
        assert outcome.confirmed_rate is not None
        assert len(outcome.steps) <= MAX_STEPS


@pytest.mark.parametrize("workers", [1, 4])
def test_the_simulation_agrees_with_theory(workers: int) -> None:
    queue = Queue(workers, 0.002 * workers, exponential=True)
    p99_ms = queue.p99_ms(0.8 * queue.saturation, 1, seconds=400, warmup=10)
    assert queue.slower_share(0.8 * queue.saturation, p99_ms) == pytest.approx(0.01, rel=0.15)


@pytest.mark.parametrize("workers", [1, 4])
def test_the_capacity_of_a_simulated_queue_with_fixed_services_is_found_to_5_percent(workers: int) -> None:
    queue = Queue(workers, 0.002 * workers, exponential=False)
    capacity = queue.capacity_in_heavy_traffic(LIMIT_MS)
    kept, broken = (queue.breaks(share * capacity, LIMIT_MS, 300_000) for share in (0.99, 1.01))
    assert (kept, broken) == (False, True), "the simulation agrees with theory to a hundredth"
    assert capacity == pytest.approx(queue.saturation, rel=0.04)
    assert_found(queue, capacity)


@pytest.mark.parametrize("workers", [1, 4])
def test_the_capacity_of_a_simulated_queue_with_random_services_is_found_to_5_percent(workers: int) -> None:
    queue = Queue(workers, 0.002 * workers, exponential=True)
    assert_found(queue, queue.exact_capacity(LIMIT_MS))


PLENTY = 1_000
"""More workers than requests: what an asynchronous function is like."""


@pytest.mark.parametrize(
    ("workers", "service_s", "slo"),
    [(1, 0.25, "p99=2s"), (6, 0.5, "p99=2s"), (2, 0.1, "p99=1s"), (2, 0.01, "p99=200ms")],
)
def test_a_slow_function_is_found_out_through_windows_of_few_requests(
    workers: int, service_s: float, slo: str
) -> None:
    queue, limit = Queue(workers, service_s, exponential=False), parse_slo(slo)
    for seed in range(6):
        seeds = count(1_000 * seed)
        outcome = ask(Search(queue.saturation / 5), lambda rate: queue.kept(rate, next(seeds), limit))  # noqa: B023  at once
        # A window of ten seconds holds tens of requests; how they happen to bunch up is worth some per cent.
        assert outcome.capacity == pytest.approx(queue.saturation, rel=0.25)


@pytest.mark.parametrize(("service_s", "slo"), [(1.0, "p99=2s"), (4.0, "p99=6s")])
@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0, 8.0, 32.0])
def test_what_never_queues_keeps_every_rate_however_long_it_takes(
    service_s: float, slo: str, rate: float
) -> None:
    queue, limit = Queue(PLENTY, service_s, exponential=False), parse_slo(slo)
    answers = [queue.kept(rate, seed, limit) for seed in range(100)]
    assert answers.count(False) <= 1
    assert queue.kept(rate, 1, parse_slo("p99=900ms")) is False


def test_one_exponential_worker_has_the_capacity_of_theory() -> None:
    queue = Queue(1, 0.002, exponential=True)
    assert queue.exact_capacity(LIMIT_MS) == pytest.approx(500 - math.log(100) / 0.2, rel=0.003)


# Who wins.


ASYNCIO, _, PROCESSES, _ = BackendName
SLOW, QUICK = Queue(2, 0.1, exponential=True), Queue(2, 0.02, exponential=True)


def capacity_of(name: BackendName, queue: Queue, slo: Slo, seed: int, *, twin: bool = False) -> Capacity:
    steps = count(10_000 * seed)
    found = ask(Search(0.2 * queue.saturation), lambda rate: queue.kept(rate, next(steps), slo))
    return Capacity(
        "queue", name, str(slo), found.capacity, found.broken, found.confirmed_rate, found.note, (),
        unsettled=found.unsettled, twin=twin,
    )  # fmt: skip


def compared(queues: Mapping[BackendName, Queue], slo: Slo, seed: int) -> Verdict:
    """Search on all of them, and on the first once more."""
    first = next(iter(queues))
    capacities = [
        capacity_of(name, queue, slo, 3 * seed + place) for place, (name, queue) in enumerate(queues.items())
    ]
    capacities.append(capacity_of(first, queues[first], slo, 3 * seed + 2, twin=True))
    return judge_capacities(Target("queue", "queue"), capacities)


@pytest.mark.parametrize(("queue", "objective", "times"), [(SLOW, "p99=1s", 200), (QUICK, "p99=200ms", 100)])
def test_of_two_equal_backends_hardly_ever_one_wins(queue: Queue, objective: str, times: int) -> None:
    queues = {ASYNCIO: queue, PROCESSES: queue}
    verdicts = [compared(queues, parse_slo(objective), seed) for seed in range(times)]
    assert sum(verdict.winner is not None for verdict in verdicts) <= times / 20


def test_one_that_takes_half_as_much_again_wins() -> None:
    queues = {ASYNCIO: SLOW, PROCESSES: Queue(3, 0.1, exponential=True)}
    winners = [compared(queues, parse_slo("p99=1s"), seed).winner for seed in range(20)]
    assert winners.count(PROCESSES) >= 19
