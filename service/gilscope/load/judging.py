"""Is the load generator itself the bottleneck? Pure.

The bounds are rules of thumb from measurements: above a third of what one core can drive, a generator's own
queueing begins to pose as the service's latency.
"""

from __future__ import annotations

from collections.abc import Iterator

from gilscope.model import Caution, GeneratorLoad

MAX_CPU_SHARE = 0.70
MAX_RUNQUEUE_SHARE = 0.05
MIN_DISPATCH_LAG_MS = 2.0
DISPATCH_LAG_OF_P50 = 0.10


def judge_generator(generator: GeneratorLoad, p50_ms: float) -> Iterator[Caution]:
    """Yield a caution for each sign that the generator distorts a service whose median latency is ``p50_ms``."""
    if generator.cpu_share > MAX_CPU_SHARE:
        yield Caution(
            "generator-busy",
            f"the load generator used {generator.cpu_share:.0%} of a core: its own queueing may pose as latency",
            "fewer --users, or a heavier workload",
        )
    if generator.runqueue_share > MAX_RUNQUEUE_SHARE:
        yield Caution(
            "generator-starved",
            f"the load generator waited {generator.runqueue_share:.0%} of the time for a core",
            "a machine with more cores, or a smaller --pool-size",
        )
    floor_ms = max(MIN_DISPATCH_LAG_MS, DISPATCH_LAG_OF_P50 * p50_ms)
    if generator.dispatch_lag_p99_ms > floor_ms:
        yield Caution(
            "dispatch-lag",
            f"pings left up to {generator.dispatch_lag_p99_ms:.1f} ms late (p99): finer differences cannot be seen",
            "a machine with more cores, or fewer --users",
        )
