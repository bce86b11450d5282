"""Runs every experiment on one Python, one process after the other, and has the figures judged."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gilscope.child import Child, module_command
from gilscope.claims import Figure, Measured, Topic
from gilscope.errors import GilscopeError, LensError, ServiceError
from gilscope.lens.control import Lens
from gilscope.model import BackendName, Interpreter
from gilscope.scratch import folder
from gilscope.textbook import looping_stages, pinging
from gilscope.textbook.cells import looping, works
from gilscope.textbook.claims_table import CELLS
from gilscope.textbook.judging import Results, Taken, judge_all
from gilscope.textbook.looping_stages import measure_looping
from gilscope.textbook.showing import code_of
from gilscope.workloads.upstream_process import running_upstream

RUNNING = "gilscope.textbook.running"
LIMIT_S = 60.0
"""How long an experiment may take on one backend."""
NEEDED = (3, 14)
"""The Python that has subinterpreters in its standard library."""

Tell = Callable[[Topic, BackendName], None]


def tell_nobody(_topic: Topic, _backend: BackendName) -> None:
    """Keep what is measured next to oneself."""


class Runner(Protocol):
    """Runs one experiment on one backend."""

    def run(self, cells: str, backend: BackendName) -> Taken:
        """Return its figures and its code.

        Raises:
            GilscopeError: it failed, hung, or printed something else.
        """
        ...


@dataclass(frozen=True, slots=True)
class ChildRunner:
    """Runs experiments in processes of their own, of the Python ``executable``."""

    executable: str
    lens: Lens | None
    upstream_url: str
    env: Mapping[str, str] = field(default_factory=dict)
    limit_s: float = LIMIT_S

    def run(self, cells: str, backend: BackendName) -> Taken:
        """Run it in a new process; the infinite loops are driven from here."""
        if cells == CELLS[Topic.TIME]:
            figures = measure_looping(self.executable, backend, self.lens, self.env)
            return Taken(figures, looping_code(backend))
        given = [f"upstream_url={self.upstream_url}"] if cells == CELLS[Topic.WAITING_WORK] else []
        return self._ask(RUNNING, cells, backend, *given)

    def _ask(self, module: str, *arguments: str) -> Taken:
        command = module_command(module, *arguments, python=self.executable)
        with Child(command, failure=ServiceError, env=self.env, guarded=True) as child:
            return taken_of(child.receive(self.limit_s))


def looping_code(backend: BackendName) -> str:
    """Return the code of the infinite loops: the loops, how they are started, the service, and what pings it."""
    parts = (
        code_of(works, *(work.value for work in looping_stages.Work)),
        code_of(looping, f"in_{backend}", "serve"),
        code_of(looping_stages, "measure_stage", with_all=False),
        code_of(pinging, "ping_steadily", with_all=False),
    )
    return "\n\n".join(parts)


def taken_of(answer: Mapping[str, object]) -> Taken:
    """Read the answer of an experiment.

    Raises:
        ServiceError: it is none.
    """
    figures, code = answer.get("figures"), answer.get("code")
    if not isinstance(figures, dict) or not isinstance(code, str):
        raise ServiceError("its answer has no figures and no code")
    return Taken({str(name): _figure(value) for name, value in figures.items()}, code)


def _figure(value: object) -> Figure:
    if value is None or isinstance(value, float | int | str | bool):
        return value
    raise ServiceError(f"{value!r} is no figure")


def plain_environment(folder: str) -> dict[str, str]:
    """Return what is set for experiments, so that they measure the same everywhere.

    Modules are compiled once, to ``folder`` where nothing may be written beside them; output is block-buffered, as it is
    under a process manager; a crash is silent.
    """
    plain = {"PYTHONUNBUFFERED": "", "PYTHONFAULTHANDLER": ""}
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        plain |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": folder}
    return plain


def unavailable(backend: BackendName, interpreter: Interpreter) -> str | None:
    """Say why a Python does not have a backend, or return None where it does."""
    release = tuple(int(part) for part in interpreter.version.split(".")[:2])
    if backend is BackendName.INTERPRETERS and release < NEEDED:
        return f"needs Python 3.14 or newer (--python python3.14); this is {interpreter.version}"
    return None


def take_all(runner: Runner, interpreter: Interpreter, tells: Tell = tell_nobody) -> Results:
    """Run every experiment on every backend; what goes wrong with one is its result, and nobody else's."""
    first = {cells: topic for topic, cells in reversed(CELLS.items())}
    results: dict[tuple[str, BackendName], Taken] = {}
    for cells in dict.fromkeys(CELLS.values()):
        for backend in BackendName:
            tells(first[cells], backend)
            results[cells, backend] = _take(runner, cells, backend, unavailable(backend, interpreter))
    return results


def _take(runner: Runner, cells: str, backend: BackendName, reason: str | None) -> Taken:
    if reason is not None:
        return Taken({}, reason=reason)
    try:
        return runner.run(cells, backend)
    except GilscopeError as problem:
        return Taken({}, reason=in_a_line(problem.message))


def in_a_line(message: str) -> str:
    """Shorten what a child's end is reported with to what happened and its last word."""
    first, *quoted = message.splitlines()
    return f"{first}: {quoted[-1].strip(' |')}" if quoted else first


@contextlib.contextmanager
def _watching(lens: Lens | None) -> Iterator[Lens]:
    """Use the lens that is given, or one of our own for the block."""
    if lens is not None:
        yield lens
        return
    own = Lens()
    try:
        yield own
    finally:
        own.stop(grace_s=0.0)


def measure(
    interpreter: Interpreter, executable: str, lens: Lens | None = None, tells: Tell = tell_nobody
) -> Measured:
    """Measure the whole table on one Python, whose path has aiohttp, prometheus-client and gilscope.

    ``lens`` is one to use; without it there is one for the time being. ``tells`` hears what is measured next.

    Raises:
        ServiceError: the upstream, which the fetching workload needs, did not start.
    """
    begun = time.monotonic()
    with (
        folder() as compiled,
        running_upstream() as upstream_url,
        _watching(lens) as watching,
    ):
        with contextlib.suppress(LensError):  # whoever needs it will hear of that
            watching.prepare()  # it starts beside experiments of which no time is taken
        runner = ChildRunner(executable, watching, upstream_url, plain_environment(str(compiled)))
        cells = judge_all(take_all(runner, interpreter, tells))
    return Measured(interpreter, cells, time.monotonic() - begun)
