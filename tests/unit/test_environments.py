"""Environments for other Pythons: what is asked of an interpreter, and what is made of its answers."""

from __future__ import annotations

import fcntl
import os
import shutil
import site
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gilscope import environments
from gilscope.environments import ask, cache_folder, describe, environment, find, prepare, requirements
from gilscope.errors import GilscopeError, UsageError
from gilscope.model import BackendName

KNOWN = {
    "implementation": "CPython",
    "version": "3.14.2",
    "build": "3.14.2 (main)",
    "numbers": [3, 14],
    "free_threaded": False,
    "installs_into": "",
    "packages": [],
}
WORKS = {"gil_enabled": True, "start_method": "forkserver", "unavailable": {}, "compiled": True}


def answering(**facts: object) -> environments.Ask:
    def answer(_: Sequence[str]) -> Mapping[str, Any]:
        return {**KNOWN, **facts}

    return answer


def test_a_python_is_found_as_executable_folder_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_ = tmp_path / "venv" / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "python3").symlink_to(sys.executable)
    (bin_ / "python3.99").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(bin_))

    assert find(str(bin_ / "python3")) == str(bin_ / "python3")
    assert find(str(tmp_path / "venv")) == str(bin_ / "python3")
    assert find("python3.99") == find("3.99") == str(bin_ / "python3.99")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "venv/bin")
    assert find("python3.99") == str(bin_ / "python3.99")


def test_a_python_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="without a name") as caught:
        find(" ")
    assert "--python python3.13" in (caught.value.remedy or "")


@pytest.mark.parametrize("text", ["nowhere/python", "python9.9", "primes", "~nobody-of-this-name/bin/python"])
def test_what_is_no_python_is_refused_with_the_way_to_write_it(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=f"no Python at {text}") as caught:
        find(text)
    assert "--python takes executables" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"implementation": "PyPy"}, "is PyPy 3.14.2"),
        ({"numbers": [3, 10], "version": "3.10.9"}, "is CPython 3.10.9"),
    ],
)
def test_only_a_cpython_of_3_11_or_later_will_do(facts: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        describe("/py", answering(**facts))
    assert caught.value.remedy == "--python PATH of CPython 3.11 or later"
    assert describe("/py", answering(numbers=[3, 11]))["numbers"] == [3, 11]


def test_what_cannot_answer_is_no_python() -> None:
    with pytest.raises(UsageError, match="/bin/false is no Python") as caught:
        describe("/bin/false")
    assert caught.value.remedy == "--python PATH of CPython 3.11 or later"
    with pytest.raises(GilscopeError, match=r"ended with exit code 3\n  \| no luck"):
        ask([sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(GilscopeError, match=r"does not answer as a Python does\n  \| no JSON"):
        ask([sys.executable, "-c", "print('no JSON')"])
    with pytest.raises(GilscopeError, match="cannot be asked"):
        ask(["/nowhere/python"])


def test_a_program_says_in_its_own_words_why_it_is_no_python(tmp_path: Path) -> None:
    def refused(script: str) -> str:
        path = tmp_path / "python"
        path.write_text(script)
        path.chmod(0o755)
        with pytest.raises(UsageError) as caught:
            describe(str(path))
        return caught.value.message.removeprefix(f"{path} is no Python that a service can run on: ")

    shim = "#!/bin/sh\necho 'shim: not found' >&2\necho 'See the manual.' >&2\nexit 127\n"
    assert refused(shim) == "it ended with exit code 127\n  | shim: not found\n  | See the manual."
    assert refused("#!/bin/sh\necho '{}'\n") == "it does not answer as a Python does"
    assert refused("no script").startswith("it cannot be asked: ")


def test_all_that_an_interpreter_has_installed_can_be_found() -> None:
    # Debian's own interpreter installs into one folder, and has what apt installs in others.
    known = describe(sys.executable)
    assert {sysconfig.get_path("purelib"), *site.getsitepackages()} <= set(known["packages"])
    assert known["installs_into"] == sysconfig.get_path("purelib")


def test_what_its_user_has_installed_counts_but_not_for_a_virtual_environment() -> None:
    assert site.getusersitepackages() not in describe(sys.executable)["packages"], "tests run in one"
    base = os.path.join(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")  # noqa: PTH118
    assert site.getusersitepackages() in describe(base)["packages"]


def test_it_says_what_the_interpreter_said() -> None:
    works = {**WORKS, "unavailable": {"interpreters": "needs Python 3.14"}}
    found = environment("/py", "/cache/bin/python", {**KNOWN, "version": "3.13.1"}, works)

    assert (found.interpreter.name, found.interpreter.path) == ("3.13.1", "/py")
    assert found.executable == "/cache/bin/python"
    assert found.unavailable == {BackendName.INTERPRETERS: "needs Python 3.14"}
    assert found.cautions == ()


@pytest.mark.parametrize(("gil_enabled", "codes"), [(False, []), (True, ["gil-enabled-again"])])
def test_a_free_threaded_python_is_told_when_its_gil_is_on_all_the_same(
    *, gil_enabled: bool, codes: list[str]
) -> None:
    found = environment("/py", "/x", {**KNOWN, "free_threaded": True}, {**WORKS, "gil_enabled": gil_enabled})
    assert found.interpreter.name == "3.14.2t"
    assert [caution.code for caution in found.cautions] == codes


def test_it_is_told_where_the_server_is_not_compiled() -> None:
    found = environment("/py", "/x", KNOWN, {**WORKS, "compiled": False})
    assert [caution.code for caution in found.cautions] == ["not-compiled"]


def test_all_pythons_get_the_versions_that_are_installed_here() -> None:
    names = [one.partition("==")[0] for one in requirements()]
    assert names == ["aiohttp", "prometheus-client"]
    assert all(one.partition("==")[2] for one in requirements())


def test_the_cache_is_where_the_system_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gilscope" / "environments"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache_folder() == Path.home() / ".cache" / "gilscope" / "environments"


def test_without_a_home_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(GilscopeError, match="no folder to keep environments in: Could not") as caught:
        cache_folder()
    assert caught.value.remedy == "XDG_CACHE_HOME=DIR names another folder"


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Fake whatever would create an environment or install into it; returns the commands."""
    commands: list[list[str]] = []

    def run(command: Sequence[str]) -> None:
        commands.append([*command])
        if "venv" in command:
            bin_ = Path(command[-1]) / "bin"
            bin_.mkdir(parents=True)
            (bin_ / "python").symlink_to(sys.executable)

    def answer(command: Sequence[str]) -> Mapping[str, Any]:
        if "-I" in command:
            own = str(Path(command[0]).parent.parent)
            return {**KNOWN, "installs_into": own, "packages": [own]}
        if not os.path.exists(command[0]):  # noqa: PTH110
            raise GilscopeError("gone")
        return WORKS

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(environments, "_run", run)
    monkeypatch.setattr(environments, "ask", answer)
    monkeypatch.setattr(environments.describe, "__defaults__", (answer,))
    return commands


def test_an_environment_is_made_once_and_used_again(faked: list[list[str]]) -> None:
    told: list[str] = []
    (first,) = prepare([sys.executable], told.append)
    (second,) = prepare([sys.executable], told.append)

    assert first == second
    (once,) = told
    assert "making an environment for Python 3.14.2" in once
    assert [command for command in faked if "install" in command] == faked[1:]
    folder = Path(first.executable).parent.parent
    assert (folder / "gilscope").resolve() == Path(environments.__file__).parent
    assert [path.name for path in cache_folder().iterdir() if "unfinished" in path.name] == []


def test_a_broken_one_is_made_anew(faked: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = prepare([sys.executable], lambda _: None)
    made = len(faked)
    Path(first.executable).unlink()
    (second,) = prepare([sys.executable], lambda _: None)
    assert second == first
    assert len(faked) == 2 * made


def test_what_one_that_was_killed_has_left_is_swept(faked: list[list[str]]) -> None:
    (first,) = prepare([sys.executable], lambda _: None)
    folder = Path(first.executable).parent.parent
    left = folder.with_name(f"{folder.name}.unfinished-1")
    shutil.copytree(folder, left, symlinks=True)
    Path(first.executable).unlink()
    prepare([sys.executable], lambda _: None)
    assert not left.exists()
    # Its installer may still write there: the next one has another folder.
    assert left not in [Path(word) for command in faked for word in command]


def test_whoever_waits_for_another_is_told(faked: list[list[str]]) -> None:
    (first,) = prepare([sys.executable], lambda _: None)
    folder, told = Path(first.executable).parent.parent, list[str]()
    waits = threading.Event()

    def tell(message: str) -> None:
        told.append(message)
        waits.set()

    with folder.with_name(f"{folder.name}.lock").open("w") as lock, ThreadPoolExecutor() as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = pool.submit(prepare, [sys.executable], tell)
        assert waits.wait(60)
        assert not second.done()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert second.result() == (first,)
    assert told == [f"waiting for another gilscope, which makes or checks {folder}"]
    assert faked


def test_without_uv_and_without_a_pip_of_its_own_that_of_gilscope_installs(
    faked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = environments._run

    def run(command: Sequence[str]) -> None:
        real(command)
        if "venv" in command and "--without-pip" not in command:
            raise GilscopeError("ensurepip is not available")

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(environments, "_run", run)
    (found,) = prepare([sys.executable], lambda _: None)
    installing = faked[-1]
    assert installing[:4] == [sys.executable, "-m", "pip", "--python"]
    assert Path(installing[4]).name == "python"
    assert found.interpreter.version == "3.14.2"


def test_two_of_one_version_have_names_of_their_own(faked: list[list[str]]) -> None:
    found = prepare([sys.executable, sys.executable], lambda _: None)
    assert [one.interpreter.name for one in found] == ["3.14.2", "3.14.2 (2)"]
    assert faked


def test_what_cannot_be_installed_pinned_is_installed_in_any_release(
    faked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = environments._run

    def run(command: Sequence[str]) -> None:
        real(command)
        if any("==" in word for word in command):
            raise GilscopeError("no such release")

    monkeypatch.setattr(environments, "_run", run)
    prepare([sys.executable], lambda _: None)
    assert [word.partition(">=")[0] for word in faked[-1][-2:]] == ["aiohttp", "prometheus-client"]


def test_a_failure_says_why_and_leaves_nothing(
    faked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: Sequence[str]) -> None:
        raise GilscopeError("the index cannot be reached")

    monkeypatch.setattr(environments, "_run", run)
    with pytest.raises(
        GilscopeError, match=r"cannot make an environment .*index cannot be reached"
    ) as caught:
        prepare([sys.executable], lambda _: None)
    assert "package index" in (caught.value.remedy or "")
    assert [path.suffix for path in cache_folder().iterdir()] == [".lock"]
    assert not faked


def test_a_folder_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gilscope").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(GilscopeError, match="cannot keep environments in") as caught:
        prepare([sys.executable], lambda _: None)
    assert caught.value.remedy == "XDG_CACHE_HOME=DIR names another folder"


def test_a_command_that_fails_is_quoted() -> None:
    with pytest.raises(GilscopeError, match=r"failed\n  \| too bad"):
        environments._run([sys.executable, "-c", "import sys; sys.exit('too bad')"])
    with pytest.raises(GilscopeError, match="nobody"):
        environments._run(["/nowhere/nobody"])
