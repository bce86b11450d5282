from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gilscope.backends.table import BACKENDS, available
from gilscope.compare import preflight
from gilscope.compare.inspection import inspect_target
from gilscope.compare.preflight import Checked, check_targets
from gilscope.errors import ParameterError, TargetError, UsageError
from gilscope.model import BackendName

pytestmark = pytest.mark.integration

ASYNCIO, THREADS, PROCESSES, INTERPRETERS = BackendName
UNAVAILABLE = {name: reason for name, spec in BACKENDS.items() if (reason := spec.unavailable())}


def check(
    target: str,
    *,
    backends: Sequence[BackendName] = tuple(BackendName),
    app_dir: str | None = None,
    **given: str,
) -> Checked:
    (checked,) = check_targets([target], given, backends, app_dir)
    return checked


def test_a_built_in_workload_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_inspect", None)
    checked = check("primes", n="100")
    assert (checked.target.workload, checked.target.reference) == ("primes", "primes")
    assert checked.target.arguments == {"n": 100}
    assert checked.target.excluded == UNAVAILABLE
    assert checked.cautions == ()


def test_a_function_is_tried_once_in_a_process_of_its_own(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    path = tmp_path / "mine.py"
    path.write_text(
        f"import os\ndef work(n):\n    with open({str(calls)!r}, 'a') as f: print(os.getpid(), n, file=f)\n    return n\n"
    )
    modules = set(sys.modules)
    checked = check(f"{path}:work", n="[1, 2]")
    assert (checked.target.workload, checked.target.reference) == ("mine.work", f"{path}:work")
    assert checked.target.arguments == {"n": [1, 2]}
    assert checked.target.excluded == UNAVAILABLE
    assert checked.cautions == ()
    (line,) = calls.read_text().splitlines()
    pid, _, argument = line.partition(" ")
    assert argument == "[1, 2]"
    assert pid != str(Path("/proc/self").resolve().name)
    assert not [name for name in set(sys.modules) - modules if name.startswith("_gilscope_target_")]


def test_what_it_prints_disturbs_nobody(functions: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert check(f"{functions}:shout").target.workload == "functions.shout"
    assert capfd.readouterr().out == ""


def test_an_async_function_is_awaited(functions: Path) -> None:
    assert check(f"{functions}:add_async", a="1").cautions == ()


def test_a_result_that_does_not_pickle_excludes_what_has_to_pickle_it(functions: Path) -> None:
    checked = check(f"{functions}:unpicklable")
    assert set(checked.target.excluded) == {PROCESSES, INTERPRETERS}
    reason = checked.target.excluded[PROCESSES]
    assert reason.startswith("its result (function) cannot be pickled: ")
    assert "lambda" in reason
    excluded = [caution for caution in checked.cautions if caution.code == "backend-excluded"]
    assert [caution.message for caution in excluded] == [
        f"functions.unpicklable is not tried on {name}: {reason}"
        for name in (PROCESSES, INTERPRETERS)
        if name in available()
    ]


def test_a_result_that_does_not_unpickle_is_excluded_as_well(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "class Odd(Exception):\n    def __init__(self, a, b): super().__init__(a + b)\n"
        "def work(): return Odd('a', 'b')\n"
    )
    assert "its result (Odd) cannot be pickled: TypeError" in check(f"{path}:work").target.excluded[PROCESSES]


def test_when_no_backend_is_left_that_is_an_error(functions: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no backend can run .*functions\.py:unpicklable \(processes: its result"
    ):
        check(f"{functions}:unpicklable", backends=[PROCESSES])


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("fail", "ValueError: as asked"),
        ("fail_async", "ValueError: as asked"),
        ("leave", "SystemExit: leaving"),
        ("fail_mutely", "MuteError"),
    ],
)
def test_a_function_that_raises_may_be_compared_with_a_warning(
    function: str, says: str, functions: Path
) -> None:
    checked = check(f"{functions}:{function}")
    (caution,) = checked.cautions
    assert caution.code == "raises"
    assert f"functions.{function} raised when it was tried once:\nTraceback" in caution.message
    assert says in caution.message
    assert "inspection.py" not in caution.message
    assert "execution.py" not in caution.message
    assert "--arg" in caution.remedy


def test_a_function_that_ends_its_process_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import os\ndef work():\n    os.write(2, b'farewell')\n    os._exit(3)\n")
    with pytest.raises(TargetError, match=r"ended with exit code 3\n  \| farewell"):
        check(f"{path}:work")


def test_a_function_that_does_not_return_is_an_error(
    functions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "INSPECTION_LIMIT_S", 0.5)
    with pytest.raises(TargetError, match=r"did not answer within 0\.5 s"):
        check(f"{functions}:sleep", seconds="600")


def test_threads_that_never_end_do_not_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait).start()\ndef work(): return 1\n"
    )
    assert check(f"{path}:work").cautions == ()


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("1 / 0", "importing {path} failed: ZeroDivisionError: division by zero", None),
        ("import sys; sys.exit(1)", "importing {path} failed: SystemExit: 1", None),
        ("import nowhere_to_be_found", "importing {path} failed: ModuleNotFoundError", "install it into"),
        ("def other(): ...", "{path} has no function 'work'", "it has: other"),
        (
            "def work(a): ...",
            "mine.work(a) cannot be called with these arguments",
            "give each argument by name",
        ),
        ("def work(): yield", "mine.work is a generator", "name a function that consumes it"),
    ],
)
def test_what_cannot_be_called_is_an_error_with_its_remedy(
    text: str, message: str, remedy: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(TargetError) as caught:
        check(f"{path}:work")
    assert caught.value.message.startswith(message.format(path=path))
    assert (caught.value.remedy or "").startswith(remedy or "")
    assert (caught.value.remedy is None) is (remedy is None)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("prime", "there is no workload 'prime'"),
        ("no/such/file.py:f", "there is no file no/such/file.py"),
        ("module:", "does not name a function"),
    ],
)
def test_what_is_not_there_is_refused_without_starting_anything(
    target: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_inspect", None)
    with pytest.raises(TargetError, match=says):
        check(target)


def test_a_bad_parameter_of_a_built_in_workload_is_refused() -> None:
    with pytest.raises(ParameterError, match="parameter 'n' takes a whole number"):
        check("primes", n="1")


def test_a_module_is_found_in_the_app_dir(tmp_path: Path) -> None:
    (tmp_path / "only_there.py").write_text("def work(): return 1\n")
    with pytest.raises(TargetError, match="there is no module 'only_there'"):
        check("only_there:work")
    assert check("only_there:work", app_dir=str(tmp_path)).target.workload == "only_there.work"


def test_two_targets_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two targets are called 'noop'"):
        check_targets(["noop", "noop"], {}, tuple(BackendName), None)


def test_targets_keep_their_order() -> None:
    checked = check_targets(["sha256", "noop"], {}, tuple(BackendName), None)
    assert [item.target.workload for item in checked] == ["sha256", "noop"]


@pytest.mark.skipif(INTERPRETERS not in available(), reason="this Python has no interpreters to exclude")
def test_a_module_that_subinterpreters_cannot_import_excludes_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from concurrent import interpreters\n"
        "if interpreters.get_current() != interpreters.get_main(): raise ImportError('main only')\n"
        "def work(): return 1\n"
    )
    checked = check(f"{path}:work")
    assert set(checked.target.excluded) == {INTERPRETERS}
    assert checked.target.excluded[INTERPRETERS].startswith("it does not import in a subinterpreter: ")
    assert "main only" in checked.target.excluded[INTERPRETERS]


def test_an_inspection_says_how_long_the_call_took(functions: Path) -> None:
    found = inspect_target(f"{functions}:sleep", {"seconds": "0.02"}, None)
    assert found["workload"] == "functions.sleep"
    assert isinstance(found["call_ms"], float)
    assert found["call_ms"] >= 20
    assert found["failure"] is None


def test_a_function_that_changes_its_arguments_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def work(data):\n    data.sort()\n    return data[0]\n")
    assert check(f"{path}:work", data="[1, 2]").cautions == ()
    with pytest.raises(TargetError, match=r"mine\.work changes its argument 'data'") as caught:
        check(f"{path}:work", data="[2, 1]")
    assert caught.value.remedy == "copy it first, such as data = copy.deepcopy(data)"
