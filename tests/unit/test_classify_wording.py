from __future__ import annotations

from dataclasses import replace

import pytest

from gilscope.classify.deciding import Figures
from gilscope.classify.observation import Observation, Timing, Watch
from gilscope.classify.wording import Findings, reasons
from gilscope.commands.classify import as_document, describe
from gilscope.model import Classification, GilClass

RELEASES, PREEMPTIBLE, BLOCKING, MIXED = GilClass

OBSERVATION = Observation(
    name="mine.work",
    is_async=False,
    repeated=True,
    timing=Timing(10, 20.0, 200.0, 200.0, 0.0, 0.0),
    watch=Watch((), (), (), 0.0, 0.0),
    extensions=(),
    pickling_problem=None,
    gil_enabled=(True, True),
    free_threaded=False,
    forked=False,
    stumble=None,
)
FIGURES = Figures(
    held_share=1.0,
    blocking_share=0.0,
    longest_hold_ms=0.2,
    cpu_share=1.0,
    call_ms=20.0,
    suspended_share=0.0,
    background_share=0.0,
    off_core=False,
    ticks=1_000,
)
NONE_HERE = "needs Python 3.14 or newer"


def say(gil_class: GilClass, **figures: object) -> list[str]:
    return list(reasons(findings(gil_class, replace(FIGURES, **figures))))  # type: ignore[arg-type]


def findings(
    gil_class: GilClass,
    figures: Figures = FIGURES,
    observation: Observation = OBSERVATION,
    *,
    can_release: bool | None = None,
    problem: str | None = None,
    unavailable: str | None = NONE_HERE,
) -> Findings:
    return Findings(observation, figures, gil_class, can_release, unavailable, problem)


def test_waiting_is_for_threads() -> None:
    assert say(RELEASES, held_share=0.03, cpu_share=0.02) == [
        "it releases the GIL for 97% of a call: other threads run meanwhile",
        "it mostly waits, which threads are good for; an async version would wait on the event loop itself",
    ]


def test_computing_without_the_gil_is_for_threads_as_well() -> None:
    assert say(RELEASES, held_share=0.0)[1].startswith("it computes without the GIL: threads use all cores")


def test_a_coroutine_is_asked_for_how_long_it_is_suspended() -> None:
    observation = replace(OBSERVATION, is_async=True)
    for share, text in ((0.99, "asyncio is the place"), (0.1, "gives the event loop back for 10% of a call")):
        figures = replace(FIGURES, held_share=0.0, suspended_share=share)
        assert text in list(reasons(findings(RELEASES, figures, observation)))[1]


def test_preemptible_says_what_threads_do() -> None:
    meaning, advice = say(PREEMPTIBLE)
    assert "gives it up when another thread has asked for 5 ms" in meaning
    assert (
        advice
        == "threads make it no faster; processes have a GIL of their own, and leave the event loop free"
    )


@pytest.mark.parametrize(
    ("call_ms", "text"),
    [
        (0.4, "a call takes 0.4 ms: soon over, even on the event loop"),
        (0.02, "a call takes 0.02 ms: less than any backend takes to hand it over"),
        (0.0002, "a call takes less than 1 us: less than any backend takes to hand it over"),
    ],
)
def test_what_is_soon_over_needs_no_other_place(call_ms: float, text: str) -> None:
    assert say(PREEMPTIBLE, call_ms=call_ms)[1] == text


def test_blocking_says_for_how_long() -> None:
    long, short = say(BLOCKING, longest_hold_ms=18.2), say(BLOCKING, longest_hold_ms=1.24)
    assert long[0] == "one C call holds the GIL for up to 18 ms: a thread would freeze the event loop as well"
    assert short[0].startswith("C calls hold the GIL throughout, the longest for 1.2 ms: ")


def test_mixed_says_how_it_is_mixed() -> None:
    assert say(MIXED, held_share=0.4)[0] == "it releases the GIL for 60% of a call, and holds it for the rest"
    assert (
        say(MIXED, held_share=1.0, blocking_share=0.5)[0]
        == "it holds the GIL for 100% of a call, 50% in C calls and the rest in Python code"
    )
    assert say(MIXED, held_share=0.4, longest_hold_ms=12.0, off_core=True)[0].endswith(
        "; one C call, asleep, holds the GIL for up to 12 ms: a thread would freeze the event loop for that long"
    )


def test_places_that_cannot_take_it_are_not_recommended() -> None:
    safe = findings(BLOCKING, unavailable=None)
    unsafe = findings(BLOCKING, unavailable=None, problem="it does not import in a subinterpreter: no")
    stuck = findings(
        BLOCKING, observation=replace(OBSERVATION, pickling_problem="its result (Odd) cannot be pickled: no")
    )
    assert "processes and subinterpreters have" in list(reasons(safe))[1]
    assert list(reasons(unsafe))[1:] == [
        "processes have a GIL of their own, and leave the event loop free",
        "it does not import in a subinterpreter: no",
    ]
    assert list(reasons(stuck))[1:] == [
        "it cannot be handed to another process or subinterpreter, where it would have a GIL of its own",
        "its result (Odd) cannot be pickled: no",
    ]
    assert [f.subinterpreter_safe for f in (safe, unsafe, stuck)] == [True, False, None]


def test_modules_that_cannot_release_the_gil_are_named_where_it_is_held() -> None:
    observation = replace(OBSERVATION, extensions=("/lib/_json.cpython-311-x86_64-linux-gnu.so",))
    held = list(reasons(findings(BLOCKING, observation=observation, can_release=False)))
    assert held[-1] == "no extension module behind it can release the GIL (_json)"
    released = findings(RELEASES, replace(FIGURES, held_share=0.0), observation, can_release=False)
    assert not any("extension" in reason for reason in reasons(released))


def test_without_a_gil_there_is_nothing_to_hold() -> None:
    observation = replace(OBSERVATION, free_threaded=True, gil_enabled=(False, False))
    assert list(reasons(findings(RELEASES, observation=observation))) == [
        "this Python has no GIL to hold: threads run side by side, whatever the function does"
    ]
    switched = replace(observation, gil_enabled=(False, True))
    assert list(reasons(findings(PREEMPTIBLE, observation=switched)))[-1] == (
        "importing it switches the GIL back on in this free-threaded Python"
    )


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            {"stumble": "Traceback\n  …\nValueError: no\n"},
            "it raised when it was called again (ValueError: no)",
        ),
        ({"repeated": False}, "a call takes so long that there was time for one only"),
        ({"forked": True}, "it forks, and returns in the copy as well"),
    ],
)
def test_doubts_about_the_calls_are_said(changed: dict[str, object], text: str) -> None:
    observation = replace(OBSERVATION, **changed)  # type: ignore[arg-type]
    assert any(reason.startswith(text) for reason in reasons(findings(PREEMPTIBLE, observation=observation)))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"ticks": 3}, "there were only 3 moments to judge by: the class is a guess"),
        ({"held_share": 0.83}, "it is close to the line between classes, which is at 80% held"),
        (
            {"background_share": 0.5},
            "threads that its module started hold the GIL as well: 50% of the time before it was called",
        ),
    ],
)
def test_doubts_about_the_figures_are_said(changed: dict[str, object], text: str) -> None:
    assert say(PREEMPTIBLE, **changed)[-1] == text


FOUND = Classification(
    target="mine.py:work",
    gil_class=BLOCKING,
    held_share=1.0,
    longest_hold_ms=18.2,
    cpu_share=0.987,
    call_ms=1234.5,
    can_release=False,
    pickles=True,
    subinterpreter_safe=True,
    enables_gil=None,
    reasons=("one C call holds the GIL: a thread would freeze the event loop as well", "processes " * 20),
)


def test_the_terminal_gets_the_answer_the_reasons_and_the_figures() -> None:
    text = describe(FOUND)
    assert text.splitlines()[:2] == [
        "mine.py:work: blocking",
        "  one C call holds the GIL: a thread would freeze the event loop as well.",
    ]
    assert text.endswith(
        "  one call        1,234 ms, 99% of it on a core\n"
        "  GIL held        100% of it, 18.2 ms at the longest\n"
        "  extensions      cannot release the GIL\n"
        "  pickles         yes\n"
        "  subinterpreters imports there"
    )
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("enables", "text"), [(True, "switches the GIL back on"), (False, "leaves the GIL off")]
)
def test_a_free_threaded_python_has_one_more_line(enables: bool, text: str) -> None:  # noqa: FBT001
    assert describe(replace(FOUND, enables_gil=enables)).endswith(f"  free-threading  {text}")


def test_json_calls_the_class_class() -> None:
    document = as_document(FOUND)
    assert document["class"] == "blocking"
    assert "gil_class" not in document
