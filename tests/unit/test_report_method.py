"""Facts about the command line that the report gives to make a run again."""

from __future__ import annotations

import shlex
from dataclasses import replace

from factories import make_evidence

from gilscope.commands.main import build_parser
from gilscope.model import BackendName, Target
from gilscope.report.method import command


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
