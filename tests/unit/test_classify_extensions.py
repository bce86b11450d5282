from __future__ import annotations

import functools
import importlib.machinery
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from gilscope.classify.extensions import extensions_behind
from gilscope.classify.releasing import can_release

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A package with an extension module, as far as can be seen from outside."""
    package, module = types.ModuleType("fakelib"), types.ModuleType("fakelib._core")
    package.__file__, module.__file__ = "/lib/fakelib/__init__.py", f"/lib/fakelib/_core{SUFFIX}"
    package._core = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fakelib", package)
    monkeypatch.setitem(sys.modules, "fakelib._core", module)
    return package


FILE = f"/lib/fakelib/_core{SUFFIX}"


def function(source: str, **names: object) -> Callable[..., object]:
    scope = {"__name__": "mine", **names}
    exec(source, scope)
    made = scope["work"]
    assert callable(made)
    return made


def test_plain_python_has_none() -> None:
    assert extensions_behind(function("def work(n): return sum(i * i for i in range(n))")) == ()


@pytest.mark.parametrize(
    "source",
    [
        "def work(): return fakelib._core.run()",
        "def work(): return [fakelib._core.run() for _ in range(3)]",
        "def work():\n    import fakelib._core\n    return fakelib._core.run()",
        "def work():\n    import importlib\n    return importlib.import_module('fakelib._core').run()",
        "def helper(): return fakelib._core.run()\ndef work(): return helper()",
        "class Thing:\n    def run(self): return fakelib._core.run()\nthing = Thing()\ndef work(): return thing.run()",
        "class Base:\n    def run(self): return fakelib._core.run()\nclass Thing(Base): pass\ndef work(): Thing().run()",
        "class Thing:\n    @staticmethod\n    def run(): return fakelib._core.run()\nwork = Thing.run",
        "class Thing:\n    def run(self): return fakelib._core.run()\nwork = Thing().run",
        "import functools\n@functools.cache\ndef data(): return fakelib._core.run()\ndef work(): return data()",
        "import functools\ndef run(n): return fakelib._core.run()\nwork = functools.partial(run, 1)",
        "import functools\ndef run(): fakelib._core.run()\n@functools.wraps(run)\ndef work(): return None",
        "def outer():\n    core = fakelib._core\n    def work(): return core.run()\n    return work\nwork = outer()",
    ],
)
def test_a_module_is_followed_to_from_the_code(source: str, extension: types.ModuleType) -> None:
    assert extensions_behind(function(source, fakelib=extension)) == (FILE,)


def test_a_function_in_c_leads_to_its_module() -> None:
    module = sys.modules.get("_json")
    if module is None or not getattr(module, "__file__", None):
        pytest.skip("_json is built into this Python")
    assert [Path(file).name.partition(".")[0] for file in extensions_behind(json.dumps)] == ["_json"]


def test_what_only_names_a_package_leads_to_all_its_extensions(
    extension: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_c = function("def work(): return run([])", run=len)  # comes from "builtins", which has no file
    assert extensions_behind(in_c) == ()
    monkeypatch.setitem(sys.modules, "builtins._core", extension._core)
    assert extensions_behind(in_c) == (FILE,)


def test_a_class_in_python_does_not_lead_to_its_package(extension: types.ModuleType) -> None:
    shown = type("Shown", (), {"__module__": "fakelib"})
    assert extensions_behind(function("def work(): return Shown()", Shown=shown)) == ()


def test_nothing_of_the_users_is_run() -> None:
    class Touchy:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

        @property
        def __wrapped__(self) -> object:
            raise AssertionError("__wrapped__")

    lazy = types.ModuleType("lazy")
    lazy.__getattr__ = Touchy().__getattr__  # type: ignore[method-assign]
    work = function("def work(): return touchy.run(lazy.thing)", touchy=Touchy(), lazy=lazy)
    assert extensions_behind(work) == ()


def test_an_empty_cell_is_passed_over() -> None:
    source = "def outer():\n    def work(): return later\n    yield work\n    later = 1\nwork = next(outer())"
    assert extensions_behind(function(source)) == ()


def test_without_files_nobody_can_be_asked(tmp_path: Path) -> None:
    assert can_release(()) is None
    assert can_release([str(tmp_path / "gone.so")]) is None


def test_files_are_asked_for_the_call_that_releases(tmp_path: Path) -> None:
    plain = tmp_path / "plain.so"
    plain.write_bytes(b"no ELF")
    assert can_release([str(plain)]) is False
    found = [
        module.__file__
        for name in ("_socket", "select", "_sqlite3")
        if (module := sys.modules.get(name)) and getattr(module, "__file__", None)
    ]
    if not found:
        pytest.skip("these are built into this Python")
    assert can_release([str(plain), *map(str, found)]) is True


def test_cached_functions_are_seen_through() -> None:
    @functools.cache
    def data() -> str:
        return json.dumps({})

    assert extensions_behind(data) == extensions_behind(json.dumps)
