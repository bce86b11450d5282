from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gilscope.errors import ParameterError, TargetError
from gilscope.workloads.base import FunctionRef
from gilscope.workloads.catalogue import BUILT_IN
from gilscope.workloads.importing import is_async, load
from gilscope.workloads.loader import is_built_in, parse_reference, resolve

FUNCTIONS = Path(__file__).parents[1] / "targets" / "functions.py"


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Undo what a test imports from its own folder."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    load.cache_clear()
    yield
    load.cache_clear()
    for name in imported_from(tmp_path):
        del sys.modules[name]


def imported_from(folder: Path) -> list[str]:
    return [
        name
        for name, module in sys.modules.items()
        if (getattr(module, "__file__", None) or "").startswith(str(folder))
    ]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refused(target: str, *, app_dir: str | None = None, **given: str) -> TargetError:
    with pytest.raises(TargetError) as caught:
        resolve(target, given, app_dir=app_dir)
    return caught.value


def test_a_plain_name_is_a_built_in_workload() -> None:
    workload = resolve("primes", {"n": "20"})
    assert workload.function == BUILT_IN["primes"].function
    assert workload.arguments == {"n": 20}
    assert is_built_in("primes")
    assert not is_built_in("primes:primes")


def test_no_such_workload() -> None:
    error = refused("prime")
    assert error.message == "there is no workload 'prime'"
    assert error.remedy is not None
    assert "built in: noop, http_fetch, " in error.remedy
    assert "package.module:function" in error.remedy


@pytest.mark.parametrize(
    "target", ["module:", ":function", ":", "module:1st", "file.py:", "file.py:a-b", "a:b c"]
)
def test_what_names_no_function(target: str) -> None:
    error = refused(target)
    assert error.message == f"'{target}' does not name a function"
    assert error.remedy == "write package.module:function or path/to/file.py:function"


def test_no_such_module_names_the_part_that_is_missing() -> None:
    assert refused("nowhere_to_be_found.deep:f").message == "there is no module 'nowhere_to_be_found'"
    assert refused("json.nowhere:f").message == "there is no module 'json.nowhere'"
    error = refused("nowhere_to_be_found:f")
    assert error.remedy is not None
    assert "--app-dir DIR" in error.remedy


def test_a_relative_module_name_is_refused() -> None:
    assert refused(".nowhere:f").message.startswith("importing .nowhere failed: TypeError")


def test_no_such_file_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = refused("sub/mine.py:work")
    assert error.message == "there is no file sub/mine.py"
    assert error.remedy == f"looked for {tmp_path / 'sub' / 'mine.py'}"
    (tmp_path / "folder.py").mkdir()
    assert refused("folder.py:work").message == "there is no file folder.py"


def test_no_such_function_lists_those_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path, "mine.py", "from json import dumps\ndef one(): ...\ndef two(): ...\ndef _no(): ...\n"
    )
    error = refused(f"{path}:three")
    assert error.message == f"{path} has no function 'three'"
    assert error.remedy == "it has: one, two"
    empty = write(tmp_path, "empty.py", "")
    assert refused(f"{empty}:work").remedy == "it defines no public function"


def test_no_such_function_in_a_module() -> None:
    assert refused("json:nowhere").message == "json has no function 'nowhere'"


def test_what_cannot_be_called() -> None:
    assert refused(f"{FUNCTIONS}:number").message == f"{FUNCTIONS}:number is int, not a function"
    assert refused("os:path").message == "os:path is module, not a function"


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_generator_function_is_refused(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, "mine.py", f"{kind} numbers():\n    yield 1\n")
    error = refused(f"{path}:numbers")
    assert error.message == "mine.numbers is a generator: calling it does no work yet"
    assert error.remedy is not None
    assert "list(generate())" in error.remedy


def test_a_c_function_without_signature_is_refused() -> None:
    error = refused("builtins:iter")
    assert error.message == "builtins.iter does not tell its arguments (it is written in C)"
    assert error.remedy == "wrap it in a function of your own"


def test_a_c_function_with_signature_is_taken() -> None:
    workload = resolve("math:isclose", {"a": "1", "b": "2"})
    assert load(workload.function)(**workload.arguments) is False


def test_a_function_that_takes_no_names_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"math.sqrt\(x, /\) cannot be called with these arguments"):
        resolve("math:sqrt", {"x": "4"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit('not today')", "SystemExit: not today"),
        ("def work(:", "SyntaxError: "),
        ("import os; os.nothing", "AttributeError: module 'os' has no attribute 'nothing'"),
    ],
)
def test_a_module_that_fails_at_import(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, "failing_target.py", text)
    by_file = refused(f"{path}:work")
    assert by_file.message.startswith(f"importing {path} failed: {says}")
    assert imported_from(tmp_path) == []
    by_name = refused("failing_target:work", app_dir=str(tmp_path))
    assert by_name.message.startswith(f"importing failing_target failed: {says}")
    assert imported_from(tmp_path) == []


def test_a_module_that_failed_may_be_tried_again(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", "1 / 0")
    refused(f"{path}:work")
    write(tmp_path, "mine.py", "def work(): return 'mended'")
    assert load(resolve(f"{path}:work", {}).function)() == "mended"


def test_a_missing_dependency_is_told_from_a_missing_module(tmp_path: Path) -> None:
    path = write(tmp_path, "dependent.py", "import nowhere_to_be_found\ndef work(): ...\n")
    for error in (refused(f"{path}:work"), refused("dependent:work", app_dir=str(tmp_path))):
        assert "failed: ModuleNotFoundError: No module named 'nowhere_to_be_found'" in error.message
        assert error.remedy is not None
        assert error.remedy.startswith("install it into gilscope's environment")
    assert "there is no module" not in refused("dependent:work", app_dir=str(tmp_path)).message


def test_a_name_may_lead_into_a_class() -> None:
    workload = resolve(f"{FUNCTIONS}:Group.static", {"a": "4"})
    assert workload.name == "functions.Group.static"
    assert load(workload.function)(**workload.arguments) == 8


def test_a_method_lacks_its_object() -> None:
    with pytest.raises(ParameterError, match="missing a required argument: 'self'"):
        resolve(f"{FUNCTIONS}:Group.method", {"a": "4"})


def test_objects_that_can_be_called() -> None:
    plain = resolve(f"{FUNCTIONS}:caller", {"a": "4"})
    assert (load(plain.function)(**plain.arguments), plain.is_async) == (12, False)
    assert resolve(f"{FUNCTIONS}:async_caller", {"a": "4"}).is_async


def test_an_async_function_is_known_as_one() -> None:
    assert resolve(f"{FUNCTIONS}:add_async", {"a": "1"}).is_async
    assert not resolve(f"{FUNCTIONS}:add", {"a": "1"}).is_async


def test_a_class_whose_objects_are_awaited_is_itself_called_plainly() -> None:
    class AsyncCaller:
        async def __call__(self) -> None: ...

    assert is_async(AsyncCaller())
    assert not is_async(AsyncCaller)


def test_the_summary_is_the_first_line_of_the_docstring(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", 'def work():\n    """Do it.\n\n    At length.\n    """\n')
    workload = resolve(f"{path}:work", {})
    assert (workload.name, workload.summary) == ("mine.work", "Do it.")


def test_arguments_are_checked_against_the_signature() -> None:
    assert resolve(f"{FUNCTIONS}:add", {"a": "1"}).arguments == {"a": 1}
    for given, says in (
        ({}, "missing a required argument: 'a'"),
        ({"a": "1", "c": "1"}, "unexpected keyword argument 'c'"),
        ({"a": "one"}, "argument 'a' is not valid JSON"),
    ):
        with pytest.raises(ParameterError, match=says):
            resolve(f"{FUNCTIONS}:add", given)


def test_the_app_dir_and_nothing_else_goes_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "project/ours/__init__.py", "")
    write(tmp_path, "project/ours/work.py", "def work(): return 'ours'")
    before = list(sys.path)
    monkeypatch.chdir(tmp_path)
    workload = resolve("ours.work:work", {}, app_dir="project")
    assert load(workload.function)() == "ours"
    assert sys.path == [str(tmp_path / "project"), *before]
    assert workload.function.app_dir == str(tmp_path / "project")
    resolve("ours.work:work", {}, app_dir=str(tmp_path / "project"))
    assert sys.path == [str(tmp_path / "project"), *before]


def test_without_app_dir_the_current_folder_is_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "only_here.py", "def work(): ...")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert refused("only_here:work").message == "there is no module 'only_here'"


def test_a_file_goes_under_a_private_name_and_never_on_the_path(tmp_path: Path) -> None:
    # Named like a module of the standard library, which it must not replace.
    path = write(tmp_path, "json.py", "def dumps(): return __name__")
    before = list(sys.path)
    stdlib = sys.modules["json"]
    workload = resolve(f"{path}:dumps", {})
    assert workload.name == "json.dumps"
    assert sys.path == before
    assert sys.modules["json"] is stdlib
    assert imported_from(tmp_path) == [workload.function.module]
    assert load(workload.function)() == workload.function.module
    assert workload.function.module.startswith("_gilscope_target_")


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    one = write(tmp_path, "a/mine.py", "def work(): return 'a'")
    other = write(tmp_path, "b/mine.py", "def work(): return 'b'")
    assert [load(resolve(f"{path}:work", {}).function)() for path in (one, other)] == ["a", "b"]


def test_a_relative_file_is_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "mine.py", "")
    monkeypatch.chdir(tmp_path)
    absolute = parse_reference(f"{path}:work")
    assert parse_reference("mine.py:work") == absolute == parse_reference("./mine.py:work")
    assert absolute.path == str(path)
    assert absolute.app_dir is None


def test_a_file_may_have_spaces_and_colons_in_its_path(tmp_path: Path) -> None:
    path = write(tmp_path, "a: b/my work.py", "def work(): return 1")
    assert load(resolve(f"{path}:work", {}).function)() == 1


def test_parsing_a_reference_imports_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", "1 / 0")
    assert parse_reference(f"{path}:work", app_dir=str(tmp_path)).app_dir == str(tmp_path)
    assert parse_reference("nowhere.at.all:work") == FunctionRef("nowhere.at.all", "work")


def test_a_file_is_executed_once_however_many_threads_ask(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "mine.py",
        "import sys, time\nsys.loads = getattr(sys, 'loads', 0) + 1\ntime.sleep(0.05)\ndef work(): ...\ndef other(): ...\n",
    )
    references = [parse_reference(f"{path}:{name}") for name in ("work", "other") * 4]
    loaded = []
    threads = [
        threading.Thread(target=lambda ref=reference: loaded.append(load(ref))) for reference in references
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert vars(sys)["loads"] == 1
    finally:
        vars(sys).pop("loads", None)
    assert len(loaded) == 8
    assert len(set(loaded)) == 2
