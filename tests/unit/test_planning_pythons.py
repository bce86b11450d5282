"""What ``compare --python`` makes of its options: targets on each Python, and the plan."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest
from textbooks import NEW, OLD

from gilscope.commands import compare_options, planning
from gilscope.commands.planning import check, environments_of, make_plan
from gilscope.compare.preflight import Checked
from gilscope.environments import Environment
from gilscope.errors import UsageError
from gilscope.model import BackendName, Caution

ASYNCIO, THREADS, PROCESSES, INTERPRETERS = BackendName
ON_OLD = Environment(OLD, "/cache/old", {INTERPRETERS: "needs more"})
ON_NEW = Environment(NEW, "/cache/new", {})


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    compare_options.add_arguments(parser)
    return parser.parse_args([*words])


def test_every_function_is_a_target_on_every_python() -> None:
    given = options("noop", "primes", "--python", "old", "new")
    checked = check(given, (ON_OLD, ON_NEW))
    assert [item.target.workload for item in checked] == [
        "noop, Python 3.11.7", "noop, Python 3.14.2", "primes, Python 3.11.7", "primes, Python 3.14.2",
    ]  # fmt: skip
    assert [item.target.served_as for item in checked] == ["noop", "noop", "primes", "primes"]
    assert [item.target.excluded for item in checked[:2]] == [{INTERPRETERS: "needs more"}, {}]
    plan = make_plan(given, checked, (ON_OLD, ON_NEW))
    assert plan.pythons == (OLD, NEW)
    assert plan.backends == tuple(BackendName)


def test_one_python_leaves_the_names_alone() -> None:
    given = options("noop", "--python", "old")
    (checked,) = check(given, (ON_OLD,))
    assert (checked.target.workload, checked.target.served_as, checked.target.python) == (
        "noop",
        "",
        "3.11.7",
    )
    assert make_plan(given, [checked], (ON_OLD,)).backends == (ASYNCIO, THREADS, PROCESSES)


def test_a_backend_that_the_only_python_lacks_is_refused_and_else_left_out_there() -> None:
    with pytest.raises(UsageError, match="the interpreters backend needs more"):
        check(options("noop", "--backends", "interpreters,threads", "--python", "old"), (ON_OLD,))
    given = options("noop", "--backends", "interpreters,threads", "--python", "old", "new")
    assert len(check(given, (ON_OLD, ON_NEW))) == 2


def test_cautions_name_their_python(monkeypatch: pytest.MonkeyPatch) -> None:
    real = planning._check_targets

    def cautious(given: argparse.Namespace, environment: Environment | None = None) -> list[Checked]:
        (checked,) = real(given, environment)
        return [replace(checked, cautions=(Caution("c", "it raises", "mend it"),))]

    monkeypatch.setattr(planning, "_check_targets", cautious)
    found = check(options("noop", "--python", "old", "new"), (ON_OLD, ON_NEW))
    assert [item.cautions[0].message for item in found] == [
        "on Python 3.11.7: it raises",
        "on Python 3.14.2: it raises",
    ]


def test_without_one_there_is_nothing_to_prepare() -> None:
    assert environments_of(options("noop")) == ()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--url", "http://127.0.0.1:1", "--python", "a"), "on its own Python"),
        (("noop", "--sweep", "n=1,2", "--python", "a", "b"), "--sweep goes with one Python"),
    ],
)
def test_what_does_not_go_together_is_said(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        environments_of(options(*words))
