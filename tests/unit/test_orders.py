from __future__ import annotations

from dataclasses import replace

from gilscope.load.orders import Order

ORDER = Order(
    url="http://there",
    workload="noop",
    backend="asyncio",
    users=None,
    warmup_s=1.0,
    seconds=5.0,
    probe_rate=50.0,
    seed=1,
    drain_s=3.0,
    samples="trial.csv.gz",
    rate=1000.0,
)


def test_an_answer_may_take_the_longer_the_more_there_is_to_be_told() -> None:
    hour = replace(ORDER, seconds=3600.0)
    assert hour.answer_s - hour.drain_s > 300, "an hour of 1,000 requests a second: minutes"
    assert replace(hour, rate=2000.0).answer_s - hour.answer_s > 300
    assert ORDER.drain_s < ORDER.answer_s < ORDER.drain_s + 1
    assert replace(hour, users=8, rate=None).answer_s > hour.answer_s, (
        "nobody knows how many come in a closed loop"
    )
