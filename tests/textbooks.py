"""A textbook's table with made-up figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factories import MACHINE

from gilscope.claims import Cell, Measured, Standing, Textbook, Topic
from gilscope.compare import metering
from gilscope.model import BackendName, Interpreter
from gilscope.textbook import measuring
from gilscope.textbook.claims_table import CLAIMS

if TYPE_CHECKING:
    import pytest

OLD = Interpreter(
    "3.11.7", "/old/python", "3.11.7", free_threaded=False, gil_enabled=True, start_method="forkserver"
)
NEW = Interpreter(
    "3.14.2", "/new/python", "3.14.2", free_threaded=False, gil_enabled=True, start_method="forkserver"
)
FREE = Interpreter(
    "3.14.2t", "/free/python", "3.14.2", free_threaded=True, gil_enabled=False, start_method="forkserver"
)
AGAIN = Interpreter(
    "3.15.0t", "/again/python", "3.15.0", free_threaded=True, gil_enabled=True, start_method="forkserver"
)
"""One whose service has a GIL all the same."""

REASON = "needs Python 3.14 or newer (--python python3.14); this is 3.11.7"
CODE = "def change() -> None:\n    changes['worker'] = '<here>'\n"


def make_cell(topic: Topic, backend: BackendName, python: Interpreter) -> Cell:
    """Make a cell: processes have footnotes, threads data that are lost, an old Python no subinterpreters."""
    says = CLAIMS[topic].says[backend]
    if backend is BackendName.INTERPRETERS and python is OLD:
        return Cell(
            topic=topic,
            backend=backend,
            says=says,
            standing=Standing.UNKNOWN,
            headline="not measured",
            footnote=REASON,
        )
    standing = Standing.FOOTNOTE if backend is BackendName.PROCESSES else Standing.HOLDS
    if (topic, backend) == (Topic.DATA, BackendName.THREADS):
        standing = Standing.FAILS
    return Cell(
        topic=topic,
        backend=backend,
        says=says,
        standing=standing,
        headline=f"{topic} on {backend}, Python {python.name}",
        footnote="Unless asked for: <shared memory>." if standing is Standing.FOOTNOTE else "",
        figures={"ping_p99_ms": 12.345, "calls_rps": 1234.5, "seen": True, "nobody": None, "how": "fork"},
        code=CODE,
        module=f"gilscope/textbook/cells/{topic}.py",
    )


def make_measured(python: Interpreter) -> Measured:
    """Make the table of one Python."""
    cells = tuple(make_cell(topic, backend, python) for topic in Topic for backend in BackendName)
    return Measured(python, cells, 34.5)


def make_textbook(*pythons: Interpreter, steal: float | None = 0.0) -> Textbook:
    """Make the tables of some Pythons."""
    measured = tuple(make_measured(python) for python in pythons or (OLD,))
    return Textbook("0.1.0", "2026-11-22T16:04:00+00:00", MACHINE, measured, steal)


def make_it_up(
    monkeypatch: pytest.MonkeyPatch, *, stops: Interpreter, with_: BaseException | None = None
) -> list[str]:
    """Make up what is measured of a Python; at ``stops`` it ends, with Ctrl-C if nothing else is given.

    Returns the names of those that were measured.
    """
    seen: list[str] = []

    def measure(python: Interpreter, _executable: str, *, tells: measuring.Tell) -> Measured:
        if python == stops:
            raise with_ or KeyboardInterrupt
        for topic in (Topic.SHARING, Topic.SHARING, Topic.DATA):
            tells(topic, BackendName.THREADS)
        seen.append(python.name)
        return make_measured(python)

    monkeypatch.setattr(measuring, "measure", measure)
    monkeypatch.setattr(metering, "busy_cores", lambda _seconds: 0.29)
    return seen
