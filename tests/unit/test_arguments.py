from __future__ import annotations

import argparse

import pytest

from gilscope.commands.arguments import address, backends, number, pairs, service_url, slo, sweep, whole
from gilscope.errors import ParameterError, UsageError
from gilscope.model import BackendName
from gilscope.objective import Slo


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


@pytest.mark.parametrize("text", ["10.0.0.5:5557", "[::1]:5557", "host:0"])
def test_an_address_is_taken_as_it_was_typed(text: str) -> None:
    assert address(text) == text


@pytest.mark.parametrize("text", ["", "host", "host:port", ":5557"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"takes HOST:PORT, such as 10\.0\.0\.5:5557, not"):
        address(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080"),
        ("http://host:8080/", "http://host:8080"),
        ("https://host/below//", "https://host/below"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("HTTP://host", "HTTP://host"),
    ],
)
def test_the_url_of_a_service_loses_a_slash_at_its_end(text: str, url: str) -> None:
    assert service_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host:8080",
        "10.0.0.5",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://:80",
        "http://h?a=1",
        "http://h#a",
        "http://me:secret@host",
    ],
)
def test_what_is_no_url_of_a_service_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="takes http://HOST:PORT, not") as caught:
        service_url(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["http://host:port", "http://host:65536", "http://host:-1", "http://[::1", "http://a b"]
)
def test_a_url_that_cannot_be_asked_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="takes http://HOST:PORT"):
        service_url(text)


def test_an_objective_is_read() -> None:
    assert slo("p99=200ms") == Slo(0.99, 200.0)
    assert str(slo("max=1.5s")) == "max=1.5s"


@pytest.mark.parametrize("text", ["", "p99", "200ms", "p0=1s", "p99=90s"])
def test_what_is_no_objective_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"-> give a percentile or max") as caught:
        slo(text)
    assert repr(text) in str(caught.value)


def test_a_sweep_keeps_its_values_as_typed() -> None:
    assert sweep("n=1,2.5,1e3") == ("n", ("1", "2.5", "1e3"))
    assert sweep("n= 10 , 30 ") == ("n", ("10", "30"))


@pytest.mark.parametrize("text", ["n", "n=", "n=1", "=1,2"])
def test_a_sweep_has_a_name_and_two_sizes(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="takes NAME=V1,V2,…"):
        sweep(text)


@pytest.mark.parametrize("text", ["n=1,x", "n=1,", "n=1,,2", 'n="1","2"', "n=1;2"])
def test_the_sizes_of_a_sweep_are_numbers(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="takes NAME=V1,V2,… with numbers, not"):
        sweep(text)


@pytest.mark.parametrize(
    "text", ["n=2,1", "n=1,1.0", "n=0,1", "n=-1,1", "n=1,inf", "n=1,nan", "n=nan,1", "n=1,3,2"]
)
def test_the_sizes_of_a_sweep_are_positive_and_ascend(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="takes sizes that are positive and ascend, not"):
        sweep(text)
