"""The Pythons that services run on: each gets a cached environment with what the service needs, and no more.

The environment lies in the user's cache folder, and is made with ``uv`` where that is installed, else with ``venv`` and
``pip`` (its own or, where it has none, gilscope's). What the interpreter that was asked for has installed itself can be imported there as well, behind what the
service needs: a function finds its own packages.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gilscope.errors import GilscopeError, UsageError
from gilscope.model import BackendName, Caution, Interpreter

NEEDED = ("aiohttp", "prometheus-client")
"""What the service imports beside the standard library."""

OLDEST = (3, 11)
ANSWER_S = 60.0
"""How long an interpreter may take to say what it is."""

GIL_ENABLED_AGAIN = "gil-enabled-again"
"""Code of the caution that the GIL of a free-threaded Python is on."""

INSTALL_S = 600.0
"""How long an environment may take to be made: without a wheel, its packages are compiled."""

NAMED = (
    "--python takes executables, folders of environments, or names on the path, after all other arguments: "
    "--python python3.13 /usr/bin/python3.14"
)
"""What may be asked for."""

ELSEWHERE = "XDG_CACHE_HOME=DIR names another folder"
"""What to do where environments cannot be kept."""

NO_ANSWER = "does not answer as a Python does"
_QUOTED_LINES = 8
_PACKAGE = Path(__file__).parent

_WHO = """
import json, platform, site, sys, sysconfig
own = [site.getusersitepackages()] if sys.prefix == sys.base_prefix else []
print(json.dumps({
    "implementation": platform.python_implementation(), "version": platform.python_version(), "build": sys.version,
    "numbers": sys.version_info[:2], "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "installs_into": sysconfig.get_path("purelib"), "packages": [*own, *site.getsitepackages()],
}))
"""

_WHAT_WORKS = """
import importlib.util, json
import gilscope.web.serving
from gilscope.backends.execution import gil_enabled
from gilscope.backends.processes import start_method
from gilscope.backends.table import BACKENDS
print(json.dumps({
    "gil_enabled": gil_enabled(),
    "start_method": start_method(),
    "unavailable": {name: why for name, spec in BACKENDS.items() if (why := spec.unavailable())},
    "compiled": importlib.util.find_spec("aiohttp._http_parser") is not None,
}))
"""

Ask = Callable[[Sequence[str]], Mapping[str, Any]]
"""Runs a command and returns the JSON object that it prints."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python that a service can be started with: its executable, and the backends that it does not have, with reasons."""

    interpreter: Interpreter
    executable: str
    unavailable: Mapping[BackendName, str]
    cautions: tuple[Caution, ...] = ()


def prepare(wanted: Sequence[str], tell: Callable[[str], None]) -> tuple[Environment, ...]:
    """Return an environment for every interpreter that is wanted, as paths or names; make those that are not there yet.

    ``tell`` is told what takes long.

    Raises:
        UsageError: there is no such interpreter, or it is none that a service can run on.
        GilscopeError: an environment cannot be made.
    """
    found = [_one(find(text), tell) for text in wanted]
    return tuple(_named_apart(found))


def own() -> Environment:
    """Return the environment that this process runs in.

    Raises:
        GilscopeError: another process of it cannot be started.
    """
    return environment(sys.executable, sys.executable, describe(sys.executable), ask(_check(sys.executable)))


def find(text: str) -> str:
    """Return the executable of ``text``: itself, that of an environment's folder, or one of this name on the path.

    Raises:
        UsageError: there is none.
    """
    if not text.strip():
        raise UsageError("a Python without a name was asked for", remedy=NAMED)
    path = Path(os.path.expanduser(text))  # noqa: PTH111  which leaves the name of an unknown user alone
    inside = [path / "bin" / name for name in ("python3", "python")] if path.is_dir() else [path]
    for candidate in inside:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return os.path.abspath(candidate)  # noqa: PTH100  a link leads out of its environment
    names = (text, f"python{text}") if os.sep not in text else ()
    found = next((found for name in names if (found := shutil.which(name))), None)
    if found is None:
        raise UsageError(
            f"there is no Python at {text}",
            remedy=NAMED,
        )
    return os.path.abspath(found)  # noqa: PTH100  the path may have folders relative to this one


def ask(command: Sequence[str]) -> Mapping[str, Any]:
    """Run a command and return the JSON object in the last line that it prints.

    Raises:
        GilscopeError: it failed, or printed something else.
    """
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=ANSWER_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as problem:
        raise GilscopeError(f"{command[0]} cannot be asked: {problem}") from problem
    if done.returncode:
        raise GilscopeError(f"{command[0]} ended with exit code {done.returncode}{_last_lines(done.stderr)}")
    try:
        answer = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise GilscopeError(f"{command[0]} {NO_ANSWER}{_last_lines(done.stdout)}")
    return answer


def _last_lines(text: str) -> str:
    return "".join(f"\n  | {line}" for line in text.strip().splitlines()[-_QUOTED_LINES:])


def _one(path: str, tell: Callable[[str], None]) -> Environment:
    known = describe(path)
    folder = _folder(path, known)
    executable = str(folder / "bin" / "python")
    with _locked(folder, tell):
        works = _works(executable) if folder.exists() else None
        if works is None:
            tell(f"making an environment for Python {known['version']} ({path}), once")
            _make(path, known, folder)
            works = ask(_check(executable))
    return environment(path, executable, known, works)


def describe(path: str, ask: Ask = ask) -> Mapping[str, Any]:
    """Ask an executable what it is.

    Raises:
        UsageError: it is no CPython of 3.11 or later.
    """
    remedy = f"--python PATH of CPython {'.'.join(map(str, OLDEST))} or later"
    try:
        known, reason = ask([path, "-I", "-c", _WHO]), NO_ANSWER
    except GilscopeError as problem:
        known, reason = {}, problem.message.removeprefix(f"{path} ")
    if "implementation" not in known:
        raise UsageError(f"{path} is no Python that a service can run on: it {reason}", remedy=remedy)
    if known["implementation"] != "CPython" or tuple(known["numbers"]) < OLDEST:
        raise UsageError(
            f"{path} is {known['implementation']} {known['version']}, which no service can run on",
            remedy=remedy,
        )
    return known


def environment(
    path: str, executable: str, known: Mapping[str, Any], works: Mapping[str, Any]
) -> Environment:
    """Put together what an interpreter said of itself, before and after it imported what the service needs."""
    interpreter = Interpreter(
        name=known["version"] + ("t" if known["free_threaded"] else ""),
        path=path,
        version=known["version"],
        free_threaded=known["free_threaded"],
        gil_enabled=works["gil_enabled"],
        start_method=works["start_method"],
    )
    unavailable = {BackendName(name): str(reason) for name, reason in works["unavailable"].items()}
    return Environment(interpreter, executable, unavailable, tuple(_cautions(interpreter, works)))


def _cautions(interpreter: Interpreter, works: Mapping[str, Any]) -> Iterator[Caution]:
    if interpreter.free_threaded and interpreter.gil_enabled:
        yield Caution(
            GIL_ENABLED_AGAIN,
            f"Python {interpreter.name} is free-threaded, but an extension module that the service needs switches its "
            "GIL on: it is measured with a GIL",
            "releases of aiohttp and its packages that support free-threading, or PYTHON_GIL=0",
        )
    if not works["compiled"]:
        yield Caution(
            "not-compiled",
            f"aiohttp is not compiled for Python {interpreter.name}: the service costs more there than on the others",
            "compare backends on this Python, and not Pythons with each other",
        )


def _named_apart(found: Sequence[Environment]) -> Iterator[Environment]:
    """Number those of the same version, so that each has a name of its own."""
    names = [one.interpreter.name for one in found]
    for at, one in enumerate(found):
        earlier = names[:at].count(one.interpreter.name)
        if earlier:
            name = f"{one.interpreter.name} ({earlier + 1})"
            yield replace(one, interpreter=replace(one.interpreter, name=name))
        else:
            yield one


def cache_folder() -> Path:
    """Return where environments are kept: below ``$XDG_CACHE_HOME``, or ``~/.cache``.

    Raises:
        GilscopeError: nobody knows where the user's home is.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        cache = Path(base) if os.path.isabs(base) else Path.home() / ".cache"  # noqa: PTH117
    except RuntimeError as problem:
        raise GilscopeError(
            f"there is no folder to keep environments in: {problem}", remedy=ELSEWHERE
        ) from None
    return cache / "gilscope" / "environments"


def _folder(path: str, known: Mapping[str, Any]) -> Path:
    """Return where an interpreter's environment is: what it is made of is in its name."""
    parts = (path, known["build"], *known["packages"], *requirements(), str(_PACKAGE))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return cache_folder() / f"{known['version']}{'t' if known['free_threaded'] else ''}-{digest}"


def requirements() -> tuple[str, ...]:
    """Return what the service needs in the versions that are installed here: every Python is measured with the same."""
    return tuple(f"{name}=={importlib.metadata.version(name)}" for name in NEEDED)


def _any_release() -> tuple[str, ...]:
    """Return what the service needs in any version that it works with."""
    declared = importlib.metadata.requires("gilscope") or ()
    return tuple(one for one in declared if re.match(r"[\w-]+", one)[0] in NEEDED)  # type: ignore[index]


@contextlib.contextmanager
def _locked(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Wait until nobody else makes this environment."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell(f"waiting for another gilscope, which makes or checks {folder}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as problem:
        raise GilscopeError(
            f"cannot keep environments in {folder.parent}: {problem.strerror or problem}", remedy=ELSEWHERE
        ) from problem


def _check(executable: str) -> list[str]:
    return [executable, "-P", "-c", _WHAT_WORKS]


def _works(executable: str) -> Mapping[str, Any] | None:
    """Return what an environment says of itself; None where it is broken."""
    try:
        return ask(_check(executable))
    except GilscopeError:
        return None


def _make(path: str, known: Mapping[str, Any], folder: Path) -> None:
    """Make an environment under another name, and give it its own when it is whole.

    Raises:
        GilscopeError: it cannot be made, with the last words of what failed.
    """
    # Of one that was killed, an installer may live on: what it still writes is not in the way of a name of our own.
    for left in folder.parent.glob(f"{folder.name}.unfinished-*"):
        shutil.rmtree(left, ignore_errors=True)
    unfinished = folder.with_name(f"{folder.name}.unfinished-{os.getpid()}")
    try:
        _create(path, unfinished)
        executable = str(unfinished / "bin" / "python")
        _link(executable, known)
        failure = _install(executable)
        if failure is not None and _works(executable) is None:  # The interpreter's own packages may do.
            raise failure
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except GilscopeError as problem:
        raise GilscopeError(
            f"cannot make an environment for {path}: {problem.message}",
            remedy="it needs a package index, and uv or that Python's venv and pip (on Debian: apt install python3-venv); "
            "or a Python that has aiohttp and prometheus-client already",
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _create(path: str, folder: Path) -> None:
    uv = shutil.which("uv")
    if uv is not None:
        _run([uv, "venv", "--quiet", "--no-project", "--no-config", "--python", path, str(folder)])
        return
    try:
        _run([path, "-m", "venv", str(folder)])
    except GilscopeError:  # Debian keeps the pip of new environments in a package of its own.
        shutil.rmtree(folder, ignore_errors=True)
        _run([path, "-m", "venv", "--without-pip", str(folder)])


def _link(executable: str, known: Mapping[str, Any]) -> None:
    """Let the environment import this gilscope and what the interpreter has installed, and nothing else of ours."""
    own = ask([executable, "-I", "-c", _WHO])["installs_into"]
    Path(own, "gilscope").symlink_to(_PACKAGE)
    theirs = [packages for packages in known["packages"] if Path(packages).is_dir()]
    # As a folder of packages, and not only as a path: it may lead on to others (packages installed as editable).
    lines = [f"import site; site.addsitedir({packages!r})\n" for packages in theirs]
    Path(own, "beside.pth").write_text("".join(lines), encoding="utf-8")


def _install(executable: str) -> GilscopeError | None:
    """Install what the service needs; returns why that failed."""
    failure: GilscopeError | None = None
    for wanted in (requirements(), _any_release()):
        try:
            _run([*_installer(executable), *wanted])
        except GilscopeError as problem:
            failure = problem
        else:
            return None
    return failure


def _installer(executable: str) -> list[str]:
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--python", executable]
    quiet = ("install", "--quiet", "--disable-pip-version-check")
    if Path(executable).with_name("pip").exists():
        return [executable, "-m", "pip", *quiet]
    return [sys.executable, "-m", "pip", "--python", executable, *quiet]


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise GilscopeError(f"{Path(command[0]).name}: {problem}") from problem
    if done.returncode:
        raise GilscopeError(f"{' '.join(map(str, command))} failed{_last_lines(done.stderr or done.stdout)}")
