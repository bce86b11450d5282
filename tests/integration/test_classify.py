from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from disturbance import least_disturbed
from requirements import require

from gilscope.backends import interpreters
from gilscope.classify import classifying
from gilscope.classify.classifying import classify
from gilscope.commands.main import main
from gilscope.errors import GilscopeError, ParameterError, TargetError
from gilscope.model import Classification, GilClass

pytestmark = pytest.mark.integration

"""How often a class is looked for where the hypervisor takes more than this share of the machine meanwhile."""

TARGETS = Path(__file__).parent.parent / "targets"
FUNCTIONS = TARGETS / "gil_functions.py"
RELEASES, PREEMPTIBLE, BLOCKING, MIXED = GilClass

STANDARD_LIBRARY = {
    RELEASES: (
        "time_sleep",
        "asyncio_sleep",
        "socket_wait",
        "zlib_compress",
        "bz2_compress",
        "lzma_compress",
        "sha256",
        "pbkdf2",
        "scrypt",
        "sqlite_aggregate",
    ),
    PREEMPTIBLE: ("python_loop", "python_loop_async", "stdev", "deepcopy", "jinja2_render"),
    BLOCKING: (
        "re_backtracking",
        "big_sorted",
        "json_dumps",
        "json_loads",
        "pickle_dumps",
        "pickle_loads",
        "decimal_power",
        "big_integers",
        "ast_parse",
        "base64_encode",
        "gc_collect",
        "sleep_with_the_gil",
    ),
    MIXED: ("sqlite_fetchall", "sleep_then_sort"),
}
EXTRAS = {
    ("numpy", "numpy_matmul"): RELEASES,
    ("numpy", "numpy_sort"): RELEASES,
    ("PIL", "pillow_resize"): RELEASES,
    ("bcrypt", "bcrypt_hash"): RELEASES,
    ("orjson", "orjson_dumps"): BLOCKING,
    ("orjson", "orjson_loads"): BLOCKING,
    ("lxml", "lxml_parse"): MIXED,
}
BUILT_IN = {
    "noop": PREEMPTIBLE,
    "http_fetch": RELEASES,
    "sqlite_query": RELEASES,
    "primes": PREEMPTIBLE,
    "json_roundtrip": BLOCKING,
    "sha256": RELEASES,
    "sort_payload": BLOCKING,
    "mixed": RELEASES,
}


def classify_own(function: str, **given: str) -> Classification:
    return least_disturbed(lambda: classify(f"{FUNCTIONS}:{function}", given))


def require_package(package: str) -> None:
    require(
        importlib.util.find_spec(package), f"{package} is not installed (uv sync --group classify-extras)"
    )


@pytest.mark.parametrize(
    ("function", "expected"), [(name, kind) for kind, names in STANDARD_LIBRARY.items() for name in names]
)
def test_what_the_standard_library_does_to_the_gil(function: str, expected: GilClass) -> None:
    found = classify_own(function)
    assert found.gil_class is expected, found
    assert 0 <= found.held_share <= 1
    assert 0 <= found.cpu_share <= 1
    assert found.longest_hold_ms <= found.call_ms + 0.001


@pytest.mark.parametrize(("package", "function"), EXTRAS)
def test_what_extension_modules_do_to_the_gil(package: str, function: str) -> None:
    require_package(package)
    found = classify_own(function)
    assert found.gil_class is EXTRAS[package, function], found
    assert found.can_release is (package != "orjson")


def test_what_pandas_does_to_the_gil() -> None:
    require_package("pandas")
    found = least_disturbed(lambda: classify(f"{TARGETS / 'gil_pandas.py'}:group_apply", {}))
    assert found.gil_class is MIXED, found
    assert found.can_release is True


@pytest.mark.parametrize(("workload", "expected"), BUILT_IN.items())
def test_what_the_built_in_workloads_do_to_the_gil(workload: str, expected: GilClass) -> None:
    # Little Python in the mixture: coverage makes just that slow, in the measuring process as well.
    arguments = {"n": "200"} if workload == "mixed" else {}
    found = least_disturbed(lambda: classify(workload, arguments))
    assert found.gil_class is expected, found
    assert found.target == workload
    assert found.pickles


@pytest.mark.skipif(
    tuple(map(int, platform.release().split(".")[:2])) < (6, 12),
    reason="before Linux 6.12 the ticker cannot ask for a short slice",
)
def test_a_short_burst_of_work_after_each_wait_is_seen() -> None:
    release = tuple(map(int, platform.release().split(".")[:2]))
    require(
        release >= (6, 12), f"before Linux 6.12 the ticker cannot ask for a short slice; this is {release}"
    )
    found = least_disturbed(lambda: classify(f"{FUNCTIONS}:wait_then_work", {}))
    assert 0.25 < found.held_share < 0.5, "a third of the time"
    assert found.gil_class is MIXED


def test_another_busy_process_changes_nothing() -> None:
    spin = "import sys\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as busy:
        try:
            assert busy.stdout is not None
            busy.stdout.readline()
            for expected in GilClass:
                function = STANDARD_LIBRARY[expected][0]
                assert classify_own(function).gil_class is expected
        finally:
            busy.kill()


def test_one_long_call_is_enough() -> None:
    found = least_disturbed(lambda: classify(f"{FUNCTIONS}:take_long", {}, seconds=0.1))
    assert found.gil_class is BLOCKING
    assert found.held_share > 0.9
    assert "a call takes so long that there was time for one only" in found.reasons


def test_figures_agree_with_what_the_function_does() -> None:
    waiting, computing, holding = map(classify_own, ("time_sleep", "sha256", "big_sorted"))
    assert waiting.held_share < 0.1
    assert waiting.cpu_share < 0.25
    assert waiting.call_ms >= 20
    assert computing.held_share < 0.2
    assert computing.cpu_share > 0.5
    assert holding.held_share > 0.9
    assert holding.longest_hold_ms > holding.call_ms / 3


def test_a_hold_is_seen_although_nothing_runs() -> None:
    found = classify_own("sleep_with_the_gil")
    assert found.cpu_share < 0.5
    assert found.reasons[0].startswith("one C call, asleep, holds the GIL for up to ")


def test_a_coroutine_that_does_not_await_is_told_from_one_that_does() -> None:
    awaiting, blocking = classify_own("asyncio_sleep"), classify_own("block_the_loop")
    assert awaiting.gil_class is blocking.gil_class is RELEASES
    assert "asyncio is the place for it" in awaiting.reasons[1]
    assert "stops the loop, GIL or not" in blocking.reasons[1]


def test_extension_modules_are_asked_whether_they_can_release_the_gil() -> None:
    assert classify_own("python_loop").can_release is None
    found = classify_own("pickle_dumps")
    assert found.can_release in {False, None}  # None: built into this interpreter


def test_a_function_that_fails_later_is_classified_by_its_first_call() -> None:
    found = classify_own("work_once")
    assert any(
        reason.startswith("it raised when it was called again (RuntimeError: only once)")
        for reason in found.reasons
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_function_that_forks_is_answered_for_once() -> None:
    found = classify_own("leave_a_copy")
    assert any(reason.startswith("it forks, and returns in the copy as well") for reason in found.reasons)


def test_what_cannot_be_pickled_is_said(functions: Path) -> None:
    found = classify(f"{functions}:unpicklable", {})
    assert not found.pickles
    assert any(reason.startswith("its result (function) cannot be pickled") for reason in found.reasons)


@pytest.mark.skipif(interpreters.unavailable() is None, reason="this Python has subinterpreters")
def test_without_subinterpreters_nothing_is_said_about_them() -> None:
    assert classify("noop", {}).subinterpreter_safe is None


@pytest.mark.skipif(interpreters.unavailable() is not None, reason="this Python has no subinterpreters")
def test_with_subinterpreters_the_import_is_tried_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import os\nfrom concurrent import interpreters\n"
        "here = interpreters.get_current() == interpreters.get_main()\n"
        "if not here and os.environ.get('DIE'): os._exit(3)\n"
        "if not here: raise ImportError('main only')\n"
        "def work(): return sum(range(100_000))\n"
    )
    assert classify("primes", {}).subinterpreter_safe is True
    found = classify(f"{path}:work", {})
    assert found.subinterpreter_safe is False
    assert any("main only" in reason for reason in found.reasons)


@pytest.mark.skipif(interpreters.unavailable() is not None, reason="this Python has no subinterpreters")
def test_an_import_that_ends_the_process_leaves_the_figures(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import os\nfrom concurrent import interpreters\n"
        "if interpreters.get_current() != interpreters.get_main(): os._exit(3)\n"
        "def work(): return sum(range(100_000))\n"
    )
    found = classify(f"{path}:work", {})
    assert found.subinterpreter_safe is False
    assert any("ended with exit code 3" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("fail", "functions.fail raised:\nTraceback"),
        ("fail_async", "ValueError: as asked"),
        ("leave", "SystemExit: leaving"),
        ("die", "ended with exit code 3"),
        ("nothing", "has no function 'nothing'"),
    ],
)
def test_what_cannot_be_measured_is_an_error(function: str, says: str, functions: Path) -> None:
    with pytest.raises(TargetError) as caught:
        classify(f"{functions}:{function}", {})
    assert says in caught.value.message
    assert caught.value.remedy


def test_a_function_that_does_not_return_is_an_error(
    functions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifying, "CALLS_LIMIT_S", 0.5)
    with pytest.raises(TargetError, match=r"did not answer within") as caught:
        classify(f"{functions}:sleep", {"seconds": "600"}, seconds=0.1)
    assert caught.value.remedy == "it must return within 0.5 s and leave its process alive"


def test_what_is_wrong_with_the_target_is_seen_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(classifying, "Child", None)
    with pytest.raises(TargetError, match="there is no workload 'prime'"):
        classify("prime", {})
    with pytest.raises(TargetError, match="there is no file"):
        classify("no/such/file.py:f", {})
    with pytest.raises(ParameterError, match="parameter 'n'"):
        classify("primes", {"n": "1"})


def test_the_ticker_says_where_it_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifying, "_upstream", _raise)
    with pytest.raises(GilscopeError, match="not today"):
        classify("noop", {})


def _raise(_target: str) -> None:
    raise GilscopeError("not today")


def test_the_command_prints_json(functions: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", f"{functions}:shout", "--json", "--seconds", "0.2"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert list(document) == [
        "target",
        "class",
        "held_share",
        "longest_hold_ms",
        "cpu_share",
        "call_ms",
        "can_release",
        "pickles",
        "subinterpreter_safe",
        "enables_gil",
        "reasons",
    ]
    assert document["target"] == f"{functions}:shout"
    assert document["class"] in set(GilClass)


def test_the_command_passes_arguments_and_the_app_dir(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "only_here.py").write_text("def work(n): return sum(range(n))\n")
    target = ["classify", "only_here:work", "--seconds", "0.2"]
    assert main([*target, "--app-dir", str(tmp_path), "--arg", "n=1000"]) == 0
    assert capfd.readouterr().out.startswith("only_here:work: ")
    assert main([*target, "--app-dir", str(tmp_path)]) == 2
    assert "missing a required argument: 'n'" in capfd.readouterr().err


def test_nothing_is_left_running(functions: Path) -> None:
    before = set(_children())
    classify(f"{functions}:add", {"a": "1"})
    assert set(_children()) <= before


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
