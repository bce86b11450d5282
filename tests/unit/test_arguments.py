from __future__ import annotations

import argparse

import pytest

from gilscope.commands.arguments import backends, number, pairs, whole
from gilscope.errors import ParameterError, UsageError
from gilscope.model import BackendName


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("9", 9), ("5", 5)])
def test_whole_numbers_include_their_bounds(text: str, value: int) -> None:
    assert whole(1, 9)(text) == value


@pytest.mark.parametrize("text", ["0", "10", "-1"])
def test_whole_numbers_out_of_bounds_are_refused_with_the_bounds(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"takes 1 to 9, not {text}"):
        whole(1, 9)(text)


@pytest.mark.parametrize("text", ["", "x", "1.5", "1e3", "nan"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="takes a whole number"):
        whole(1, 9)(text)


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("60", 60.0), ("1e1", 10.0)])
def test_numbers_include_their_bounds(text: str, value: float) -> None:
    assert number(0.5, 60)(text) == value


@pytest.mark.parametrize("text", ["0.4", "61", "inf", "-inf", "nan"])
def test_numbers_out_of_bounds_are_refused_with_the_bounds(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"takes 0.5 to 60, not {text}"):
        number(0.5, 60)(text)


@pytest.mark.parametrize("text", ["", "x", "1,5"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="takes a number"):
        number(0.5, 60)(text)


def test_backends_keep_their_order_and_come_once() -> None:
    assert backends("threads, asyncio,threads,") == (BackendName.THREADS, BackendName.ASYNCIO)


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_no_backend_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="names no backend; there is: asyncio, threads"):
        backends(text)


@pytest.mark.parametrize("text", ["asyncio,thread", "ASYNCIO"])
def test_unknown_backends_are_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        backends(text)
    assert str(caught.value) == (
        f"there is no backend {text.rsplit(',', maxsplit=1)[-1]!r}; there is: asyncio, threads, processes, interpreters"
    )


def test_pairs_split_at_the_first_equals_sign() -> None:
    assert pairs(["n=1", 'where="a=b"', "empty="]) == {"n": "1", "where": '"a=b"', "empty": ""}
    assert pairs([]) == {}


@pytest.mark.parametrize("text", ["n", "=1", ""])
def test_pairs_without_name_or_equals_sign_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--arg takes NAME=JSON, not '{text}'"):
        pairs([text])


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ParameterError, match="--arg n is given twice"):
        pairs(["n=1", "m=1", "n=2"])
