"""Facts about the command line that the report gives to make a run again."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from factories import SHAPES, make_evidence

from gilscope.commands.main import build_parser
from gilscope.commands.planning import _check_load, make_plan
from gilscope.compare.elsewhere import Elsewhere, check_elsewhere
from gilscope.compare.preflight import Checked
from gilscope.model import Arrivals, BackendName, Load, LoadKind, Plan, Run, Sweep, Target
from gilscope.report.method import build_method, command, offered


def test_command_makes_the_run_again() -> None:
    plan = make_evidence().run.plan
    assert command(plan) == (
        "gilscope compare http_fetch primes sha256 json_roundtrip --backends asyncio,threads,processes "
        "--users 20 --duration 4 --warm-up 1 --blocks 3 --seed 7"
    )


def test_the_command_line_understands_the_command() -> None:
    plan = replace(
        make_evidence().run.plan,
        targets=(Target("f", "my work.py:f", {"text": "a b"}),),
        given={"text": '"a b"'},
        app_dir="/srv/my app",
        pool_size=4,
        profile_seconds=0.0,
    )
    options = build_parser().parse_args(shlex.split(command(plan))[1:])
    assert options.targets == ["my work.py:f"]
    assert options.arg == ['text="a b"']
    assert options.app_dir == "/srv/my app"
    assert options.backends == (BackendName.ASYNCIO, BackendName.THREADS, BackendName.PROCESSES)
    assert (options.users, options.duration, options.warm_up) == (20, 4.0, plan.load.warmup_seconds)
    assert (options.blocks, options.seed, options.pool_size) == (3, 7, 4)
    assert options.no_profiles


def test_the_command_leaves_the_lens_out_where_the_run_did() -> None:
    plan = replace(make_evidence().run.plan, lens=False)
    assert build_parser().parse_args(shlex.split(command(plan))[1:]).no_lens
    assert "--no-lens" not in command(make_evidence().run.plan)


# What can be asked of a comparison comes back from the command that makes it again.

PLAN = replace(make_evidence().run.plan, twins=True, profile_seconds=3.0)


def planned(*options: str) -> Plan:
    """Make the plan that the command line makes of these options, for the demo set."""
    words = ["compare", *SHAPES, "--backends", "asyncio,threads", "--seed", "7", *options]
    return make_plan(build_parser().parse_args(words), [Checked(target) for target in PLAN.targets])


SEARCH = planned("--slo", "p99=200ms")
OPEN = replace(PLAN.load, kind=LoadKind.OPEN, users=None, rate=120.0)
SIZES = ("1000", "3e3", "9000.5")
SWEEP = replace(
    PLAN,
    targets=tuple(
        Target(f"primes, n={size}", "primes", given={"n": size}, served_as="primes") for size in SIZES
    ),
    given={"kind": '"odd"'},
    sweep=Sweep("n", (1_000.0, 3_000.0, 9_000.5)),
    profile_seconds=0.0,
)
ELSEWHERE = replace(
    PLAN,
    targets=(Target("primes", "primes", {"n": "5"}), Target("noop", "noop")),
    backends=(BackendName.ASYNCIO, BackendName.THREADS),
    given={"n": "5"},
    profile_seconds=0.0,
    lens=False,
    url="http://10.0.0.5:8080",
)
ASKED: dict[str, Plan] = {
    "users": PLAN,
    "rate": replace(PLAN, load=OPEN),
    "a rate below one": replace(PLAN, load=replace(OPEN, rate=0.25)),
    "the highest rate": replace(PLAN, load=replace(OPEN, rate=100_000.0)),
    "even arrivals": replace(PLAN, load=replace(OPEN, arrivals=Arrivals.UNIFORM)),
    "workers": replace(PLAN, load=replace(PLAN.load, workers=3)),
    "workers of an open loop": replace(PLAN, load=replace(OPEN, workers=2)),
    "search": SEARCH,
    "search of a maximum": replace(SEARCH, slo="max=1.5s"),
    "curve": planned("--slo", "p99=200ms", "--curve", "--load-workers", "4"),
    "sweep": SWEEP,
    "elsewhere": ELSEWHERE,
    "search elsewhere": planned("--slo", "p50=1s", "--url", "http://10.0.0.5:8080"),
    "lenient": replace(PLAN, lenient=True),
    "no profiles, no lens": replace(PLAN, profile_seconds=0.0, lens=False, pool_size=2),
    "short": replace(PLAN, load=replace(PLAN.load, seconds=0.5, warmup_seconds=0.0)),
}


def asked_again(plan: Plan) -> Plan:
    """Type the command of a plan, and make a plan of what was typed."""
    options = build_parser().parse_args(shlex.split(command(plan))[1:])
    _check_load(options)
    assert tuple(options.targets) == tuple(dict.fromkeys(target.reference for target in plan.targets))
    made = make_plan(options, [Checked(target) for target in plan.targets])
    return replace(made, python=plan.python)


@pytest.mark.parametrize("name", ASKED)
def test_what_was_asked_for_is_asked_for_again(name: str) -> None:
    assert asked_again(ASKED[name]) == ASKED[name]


def test_a_sweep_is_asked_for_as_it_was_typed() -> None:
    assert "gilscope compare primes --sweep n=1000,3e3,9000.5 --arg " in command(SWEEP)
    options = build_parser().parse_args(shlex.split(command(SWEEP))[1:])
    assert options.sweep == ("n", SIZES)


@pytest.mark.parametrize(
    "option", ["--rate", "--arrivals", "--slo", "--curve", "--url", "--load-workers", "--lenient", "--sweep"]
)
def test_what_was_not_asked_for_is_not_in_the_command(option: str) -> None:
    assert option not in command(PLAN)


def test_a_search_has_neither_users_nor_blocks() -> None:
    assert "--users" not in command(SEARCH)
    assert "--blocks" not in command(SEARCH)


def test_a_search_with_even_arrivals_has_them_again() -> None:
    plan = replace(SEARCH, load=replace(SEARCH.load, arrivals=Arrivals.UNIFORM))
    assert asked_again(plan) == plan


@pytest.mark.parametrize(
    "load",
    [replace(OPEN, rate=1_234.567), replace(PLAN.load, seconds=1_800.125), replace(OPEN, rate=33.333333)],
)
def test_figures_are_asked_for_to_the_last_digit(load: Load) -> None:
    plan = replace(PLAN, load=load)
    assert asked_again(plan) == plan


def test_a_service_is_asked_only_for_backends_that_it_runs() -> None:
    found = Elsewhere({"primes": ["n"], "noop": ["n"]}, (BackendName.ASYNCIO, BackendName.THREADS))
    options = build_parser().parse_args(["compare", "primes", "--url", "http://10.0.0.5:8080"])
    plan = make_plan(options, check_elsewhere(found, options.targets, {}, options.backends))
    again = build_parser().parse_args(shlex.split(command(plan))[1:])
    check_elsewhere(found, again.targets, {}, again.backends)


# What is said of the plan.


def said(run: Run) -> dict[str, str]:
    method = build_method(run)
    return dict((*(fact for _, facts in method.groups for fact in facts), *method.prose))


@pytest.mark.parametrize(
    ("plan", "load"),
    [
        (PLAN, "20 users in a closed loop"),
        (replace(PLAN, load=replace(PLAN.load, users=1)), "1 user in a closed loop"),
        (replace(PLAN, load=replace(OPEN, rate=1_200.0)), "1,200 arrivals per second in an open loop"),
        (SEARCH, "a search for the highest arrival rate that keeps p99=200ms"),
    ],
)
def test_the_load_is_told_in_words(plan: Plan, load: str) -> None:
    assert offered(plan) == load
    assert dict(build_method(replace(make_evidence().run, plan=plan)).groups)["Plan"][0] == ("load", load)


def test_a_service_elsewhere_is_named() -> None:
    run = make_evidence().run
    assert said(replace(run, plan=ELSEWHERE))["service on"] == (
        "http://10.0.0.5:8080, Python 3.14.0; the other rows are of the machine that the load came from"
    )
    assert said(run)["service on"] == run.plan.python


def test_the_two_loops_are_told_apart() -> None:
    run = make_evidence().run
    assert "Closed loop" in said(run)
    assert "Open loop" in said(replace(run, plan=replace(PLAN, load=OPEN)))


def searched_run() -> Run:
    run = make_evidence().run
    return replace(run, plan=SEARCH, trials=(), searched=run.trials)


def test_a_search_is_told_to_be_an_open_loop() -> None:
    assert "Open loop" in said(searched_run())
    assert "Closed loop" not in said(searched_run())


def test_the_lens_of_a_search_is_told() -> None:
    assert "No lens watched this run" not in said(searched_run())["The lens"]


def test_even_arrivals_are_not_told_to_be_random() -> None:
    plan = replace(PLAN, load=replace(OPEN, arrivals=Arrivals.UNIFORM))
    assert "random moments" not in said(replace(make_evidence().run, plan=plan))["Open loop"]
