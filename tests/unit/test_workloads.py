from __future__ import annotations

import hashlib
import inspect
import json
import threading
from collections import Counter
from pathlib import Path

import pytest

from gilscope.errors import ParameterError
from gilscope.workloads.base import FunctionRef, Parameter, Surroundings, Workload
from gilscope.workloads.catalogue import BUILT_IN, DEMO_SET
from gilscope.workloads.importing import is_async, load
from gilscope.workloads.loader import resolve

PARAMETERS = [
    pytest.param(workload, parameter, id=f"{workload.name}-{parameter.name}")
    for workload in BUILT_IN.values()
    for parameter in workload.parameters
]


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings("http://upstream.test", tmp_path)


def test_the_catalogue_is_the_eight_workloads_of_the_demo_and_more() -> None:
    assert list(BUILT_IN) == [
        "noop",
        "http_fetch",
        "sqlite_query",
        "primes",
        "json_roundtrip",
        "sha256",
        "sort_payload",
        "mixed",
    ]
    assert set(DEMO_SET) < set(BUILT_IN)


@pytest.mark.parametrize("workload", BUILT_IN.values(), ids=BUILT_IN)
def test_a_workload_is_called_with_exactly_what_it_takes(
    workload: Workload, surroundings: Surroundings
) -> None:
    arguments = workload.prepare(workload.parse({}), surroundings)
    function = load(workload.function)
    inspect.signature(function).bind(**arguments)
    assert not is_async(function)
    if workload.native_async is not None:
        native = load(workload.native_async)
        assert is_async(native)
        assert inspect.signature(native) == inspect.signature(function)


@pytest.mark.parametrize(("workload", "parameter"), PARAMETERS)
def test_a_parameter_has_its_default_and_both_its_bounds(workload: Workload, parameter: Parameter) -> None:
    assert parameter.minimum <= parameter.default <= parameter.maximum
    assert workload.parse({})[parameter.name] == parameter.default
    for bound in (parameter.minimum, parameter.maximum):
        value = workload.parse({parameter.name: str(bound)})[parameter.name]
        assert (value, type(value)) == (bound, type(parameter.default))


@pytest.mark.parametrize(("workload", "parameter"), PARAMETERS)
def test_a_parameter_out_of_bounds_is_refused_with_what_it_takes(
    workload: Workload, parameter: Parameter
) -> None:
    takes = f"parameter '{parameter.name}' takes a whole number from {parameter.minimum} to {parameter.maximum} ({parameter.unit})"
    for value in (parameter.minimum - 1, parameter.maximum + 1):
        with pytest.raises(ParameterError) as caught:
            workload.parse({parameter.name: str(value)})
        assert str(caught.value) == f"{takes}, not {value}"


@pytest.mark.parametrize(("workload", "parameter"), PARAMETERS)
@pytest.mark.parametrize("text", ["", "many", "1.5", "nan", "[1]", "9" * 5_000])
def test_a_parameter_of_the_wrong_type_is_refused_with_what_it_takes(
    workload: Workload, parameter: Parameter, text: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        workload.parse({parameter.name: text})
    assert f"parameter '{parameter.name}' takes a whole number from {parameter.minimum}" in str(caught.value)


@pytest.mark.parametrize("workload", BUILT_IN.values(), ids=BUILT_IN)
def test_an_unknown_parameter_is_refused_with_the_known_ones(workload: Workload) -> None:
    with pytest.raises(ParameterError) as caught:
        workload.parse({"nn": "1"})
    known = ", ".join(parameter.name for parameter in workload.parameters) or "none"
    assert caught.value.message == f"workload '{workload.name}' has no parameter 'nn'"
    assert caught.value.remedy == f"it takes: {known}"


def test_a_parameter_with_a_fractional_default_takes_numbers_but_not_nan() -> None:
    share = Parameter("share", 0.5, 0.0, 1.0, "of a core", "how busy")
    assert share.parse("1") == 1.0
    assert share.describe() == "a number from 0.0 to 1.0 (of a core)"
    for text in ("nan", "inf", "-0.1", "half"):
        with pytest.raises(ParameterError, match=r"'share' takes a number from 0\.0 to 1\.0"):
            share.parse(text)


def _signed(function: object) -> Workload:
    assert callable(function)
    return Workload("own", "", FunctionRef("own", "own"), signature=inspect.signature(function))


def test_a_function_of_the_users_takes_json() -> None:
    workload = _signed(lambda a, b=None, **rest: (a, b, rest))
    given = {"a": '{"x": [1, null]}', "b": '"text"', "c": "1.5"}
    assert workload.parse(given) == {"a": {"x": [1, None]}, "b": "text", "c": 1.5}


def test_later_arguments_go_over_those_that_the_workload_was_made_with() -> None:
    workload = Workload(
        "own",
        "",
        FunctionRef("own", "own"),
        signature=inspect.signature(lambda a, b: (a, b)),
        arguments={"a": 1, "b": 2},
    )
    assert workload.parse({"b": "3"}) == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "missing a required argument: 'a'"),
        ({"a": "1", "z": "2"}, "got an unexpected keyword argument 'z'"),
    ],
)
def test_missing_and_unknown_arguments_are_refused_with_the_signature(
    given: dict[str, str], says: str
) -> None:
    def function(a: int, b: int = 0) -> None: ...

    with pytest.raises(ParameterError) as caught:
        _signed(function).parse(given)
    assert "own(a: 'int', b: 'int' = 0) -> 'None' cannot be called with these arguments" in str(caught.value)
    assert f"(given: {', '.join(given) or 'none'})" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "text", "{", "'a'", "1,2", "[1,]", "True", "NaN", "[Infinity]", "1e999"]
)
def test_malformed_json_is_refused_and_says_how_to_quote(text: str) -> None:
    with pytest.raises(ParameterError) as caught:
        _signed(lambda a: a).parse({"a": text})
    assert caught.value.message.startswith("argument 'a' is not valid JSON: ")
    assert caught.value.remedy is not None
    assert "--arg 'a=\"text\"'" in caught.value.remedy


@pytest.mark.parametrize(("n", "count"), [(10, 4), (11, 4), (12, 5), (100, 25), (1000, 168), (8000, 1007)])
def test_primes_below(n: int, count: int) -> None:
    assert load(BUILT_IN["primes"].function)(n) == count


def test_sha256_hashes_as_many_megabytes_as_asked() -> None:
    assert load(BUILT_IN["sha256"].function)(3) == hashlib.sha256(bytes(3_000_000)).hexdigest()


@pytest.mark.parametrize("kilobytes", [1, 7, 100])
def test_json_roundtrip_makes_a_document_of_about_that_size(kilobytes: int) -> None:
    size = load(BUILT_IN["json_roundtrip"].function)(kilobytes)
    assert isinstance(size, int)
    assert 0.8 <= size / (kilobytes * 1_000) <= 1.2


def test_sort_payload_brings_its_list_along(surroundings: Surroundings) -> None:
    workload = BUILT_IN["sort_payload"]
    arguments = workload.prepare(workload.parse({"length": "1000"}), surroundings)
    values = arguments["values"]
    assert isinstance(values, list)
    assert values != sorted(values)
    assert load(workload.function)(**arguments) == list(range(1000))


@pytest.mark.parametrize("rows", [1, 5, 1_500, 100_000])
def test_sqlite_query_sums_the_rows_that_it_reads(surroundings: Surroundings, rows: int) -> None:
    spent: Counter[int] = Counter()
    for n in range(1, rows + 1):
        spent[n * 7919 % 1000] += n * 104_729 % 10_000
    workload = BUILT_IN["sqlite_query"]
    arguments = workload.prepare(workload.parse({"rows": str(rows)}), surroundings)
    assert load(workload.function)(**arguments) == sorted(spent.values(), reverse=True)[:10]


def test_the_database_is_made_once_however_many_ask(surroundings: Surroundings) -> None:
    workload = BUILT_IN["sqlite_query"]
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(workload.prepare({"rows": 1}, surroundings)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path = surroundings.scratch / "orders.sqlite"
    assert made == [{"path": str(path), "rows": 1}] * 4
    assert list(surroundings.scratch.iterdir()) == [path]


def test_every_parameter_can_be_shown_as_json() -> None:
    for workload in BUILT_IN.values():
        for parameter in workload.parameters:
            assert json.loads(json.dumps(parameter.default)) == parameter.default
            assert parameter.unit in parameter.describe()


def test_a_workload_is_called_as_it_is_typed(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("def work(): return 1\n")
    assert BUILT_IN["primes"].reference == "primes"
    assert resolve(f"{path}:work", {}).reference == f"{path}:work"
    assert resolve("json:dumps", {"obj": "1"}).reference == "json:dumps"
