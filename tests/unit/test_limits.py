from __future__ import annotations

import argparse
import resource
from collections.abc import Iterator

import pytest

from gilscope.commands import compare_options, planning
from gilscope.errors import UsageError
from gilscope.limits import allow_many_files, most_files


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """The soft and the hard limit of open files, as they are again after the test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_hard_limit_of_files_becomes_the_soft_one(limits: tuple[int, int]) -> None:
    soft, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    assert most_files() == hard
    allow_many_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_without_a_hard_limit_nothing_bounds_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (1024, resource.RLIM_INFINITY))
    assert most_files() is None


def checked(monkeypatch: pytest.MonkeyPatch, allowed: int | None, *words: str) -> None:
    """Check what was typed on a system that allows so many open files."""
    monkeypatch.setattr(planning, "most_files", lambda: allowed)
    parser = argparse.ArgumentParser()
    compare_options.add_arguments(parser)
    planning._check_load(parser.parse_args([*words]))


def test_more_users_than_there_can_be_connections_are_refused_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UsageError) as caught:
        checked(monkeypatch, 4096, "noop", "--users", "4000")
    assert "--users 4000 needs some 4200 open files in a process, and may have 4096" in caught.value.message
    assert "prlimit --pid $$ --nofile=4200:4200" in (caught.value.remedy or "")


ELSEWHERE = ("--url", "http://10.0.0.5:8080")


@pytest.mark.parametrize(
    ("allowed", "words", "fits"),
    [
        (4200, ("--users", "4000"), True),
        (None, ("--users", "10000"), True),
        (64, ("--rate", "100"), True),
        (64, (), True),
        # The service has all connections, however many processes the load comes from, unless it runs elsewhere.
        (2200, ("--users", "4000", "--load-workers", "2"), False),
        (2200, ("--users", "4000", "--load-workers", "2", *ELSEWHERE), True),
        (2200, ("--users", "4001", "--load-workers", "2", *ELSEWHERE), False),
    ],
)
def test_users_are_held_against_the_limit_where_they_meet_it(
    monkeypatch: pytest.MonkeyPatch,
    allowed: int | None,
    words: tuple[str, ...],
    fits: bool,  # noqa: FBT001  a column
) -> None:
    if fits:
        checked(monkeypatch, allowed, "noop", *words)
        return
    with pytest.raises(UsageError, match="open files"):
        checked(monkeypatch, allowed, "noop", *words)
