from __future__ import annotations

from dataclasses import replace

import pytest

from gilscope.load.judging import judge_generator
from gilscope.model import GeneratorLoad

AT_EASE = GeneratorLoad(cpu_share=0.70, runqueue_share=0.05, dispatch_lag_p99_ms=2.0)


def codes(generator: GeneratorLoad, p50_ms: float = 1.0) -> list[str]:
    return [caution.code for caution in judge_generator(generator, p50_ms)]


def test_a_generator_within_its_bounds_is_not_blamed() -> None:
    assert codes(AT_EASE) == []


@pytest.mark.parametrize(
    ("changes", "code", "figure"),
    [
        ({"cpu_share": 0.71}, "generator-busy", "71%"),
        ({"runqueue_share": 0.06}, "generator-starved", "6%"),
        ({"dispatch_lag_p99_ms": 2.1}, "dispatch-lag", "2.1 ms"),
    ],
)
def test_each_sign_is_named_with_its_figure_and_a_remedy(
    changes: dict[str, float], code: str, figure: str
) -> None:
    (caution,) = judge_generator(replace(AT_EASE, **changes), 1.0)
    assert caution.code == code
    assert figure in caution.message
    assert caution.remedy


def test_lag_is_forgiven_up_to_a_tenth_of_a_slow_median() -> None:
    late = replace(AT_EASE, dispatch_lag_p99_ms=9.0)
    assert codes(late, p50_ms=100.0) == []
    assert codes(late, p50_ms=80.0) == ["dispatch-lag"]


def test_all_signs_come_together() -> None:
    assert len(codes(GeneratorLoad(1.0, 0.5, 50.0))) == 3
