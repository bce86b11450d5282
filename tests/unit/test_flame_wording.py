from __future__ import annotations

from dataclasses import replace

import pytest

from gilscope.flame.wording import MEANING, origin
from gilscope.model import FlameKind, Graph

GRAPH = Graph(kind=FlameKind.WAITING, source="py-spy 0.4.3", rate_hz=100, seconds=2.0, samples=1204, lost=3)


def parts_of(graph: Graph) -> list[str]:
    return origin(graph).split(" \u00b7 ")


def test_what_is_always_known_is_told_in_order() -> None:
    assert parts_of(GRAPH) == [
        "py-spy 0.4.3",
        "100 Hz for 2 s",
        "1,204 stacks",
        "3 lost",
        "pauses not measured",
    ]


def test_all_that_may_be_known_is_told() -> None:
    graph = replace(GRAPH, pause_share=0.0314, requests=12_345, share=0.42, lens_share=0.445)
    assert parts_of(graph)[4:] == [
        "process paused 3.1% of the time",
        "12,345 requests",
        "threads waited 42% of their time, by the lens 44%",
    ]


@pytest.mark.parametrize(
    ("samples", "words"), [(0, "0 stacks"), (1, "1 stack"), (2, "2 stacks"), (1_000_000, "1,000,000 stacks")]
)
def test_stacks_are_counted(samples: int, words: str) -> None:
    assert parts_of(replace(GRAPH, samples=samples))[2] == words


@pytest.mark.parametrize(("seconds", "words"), [(2.0, "2 s"), (2.5, "2.5 s"), (60.0, "60 s")])
def test_the_time_is_told_without_needless_digits(seconds: float, words: str) -> None:
    assert parts_of(replace(GRAPH, seconds=seconds))[1] == f"100 Hz for {words}"


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (None, "pauses not measured"),
        (0.0, "process never paused"),
        (0.5, "process paused 50.0% of the time"),
    ],
)
def test_pauses_are_told_denied_or_owned_up_to(share: float | None, words: str) -> None:
    assert parts_of(replace(GRAPH, pause_share=share))[4] == words


def test_no_request_is_told_and_an_unknown_number_is_not() -> None:
    assert parts_of(replace(GRAPH, requests=0))[-1] == "0 requests"
    assert "request" not in origin(GRAPH)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(FlameKind.HOLDING, "threads held it 95% of"), (FlameKind.WAITING, "threads waited 95% of")],
)
def test_what_the_threads_did_is_told_by_kind(kind: FlameKind, words: str) -> None:
    said = parts_of(replace(GRAPH, kind=kind, share=0.95))[-1]
    assert said == f"{words} their time"


def test_the_lens_has_nothing_to_say_alone() -> None:
    assert "lens" not in origin(replace(GRAPH, lens_share=0.5))


@pytest.mark.parametrize("kind", FlameKind)
def test_every_kind_has_a_meaning_of_its_own(kind: FlameKind) -> None:
    assert [other for other in FlameKind if MEANING[other] == MEANING[kind]] == [kind]
