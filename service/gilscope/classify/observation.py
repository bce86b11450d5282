"""What passes between the deciding process and the measuring one: a question, and what was seen, raw.

Times are in milliseconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

DEFAULT_SECONDS = 1.0
"""Budget for measuring, where none is given."""

SWITCH_INTERVAL_MS = 0.05
"""How soon a thread that waits for the GIL asks for it, and asks again, while the ticker ticks."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be measured, for about ``seconds`` seconds. ``scratch`` is a folder for files."""

    target: str
    given: dict[str, str]
    app_dir: str | None
    seconds: float
    upstream_url: str | None
    scratch: str

    def to_message(self) -> dict[str, Any]:
        """Return what JSON can carry."""
        return asdict(self)


class Tick(NamedTuple):
    """One pause of the ticker, a thread that does nothing but sleep and look at clocks.

    It slept for ``pause_ms`` and was back, GIL in hand, ``late_ms`` after ``due_ms``. Its thread left its core
    ``switches`` times of its own will: once to sleep, and once more for each wait for the GIL. ``cpu_ms`` is the CPU
    time that the process's other threads used from the beginning of the pause to the ticker's return.
    """

    due_ms: float
    pause_ms: float
    late_ms: float
    switches: int
    cpu_ms: float

    @property
    def waited(self) -> bool:
        """Whether the GIL was not to be had at once."""
        return self.switches > 1


class Stretch(NamedTuple):
    """From when to when the function ran: one long call, or short ones in a row."""

    begun_ms: float
    ended_ms: float


class Timing(NamedTuple):
    """What ``calls`` calls in a row took.

    ``call_ms`` is the median call. The others are of all calls together, with the little that lies between them:
    ``cpu_ms`` of all the process's threads but the ticker's, ``runqueue_ms`` of the time for which the calling thread
    was ready and had no core, ``suspended_ms`` of the time for which a coroutine had given its event loop away.
    """

    calls: int
    call_ms: float
    wall_ms: float
    cpu_ms: float
    runqueue_ms: float
    suspended_ms: float


class Watch(NamedTuple):
    """Ticks beside a function: ``idle`` ones before it was called, and those that fell due while it ran.

    ``stolen_ms`` is what the hypervisor took meanwhile from the cores that it could run on, which is one core but for the
    beginning of the first call.
    """

    idle: tuple[Tick, ...]
    ticks: tuple[Tick, ...]
    stretches: tuple[Stretch, ...]
    runqueue_ms: float
    stolen_ms: float


@dataclass(frozen=True, slots=True)
class Observation:
    """All that the measuring process found.

    ``repeated`` is False where a single call had to do for everything. ``extensions`` are the files of the extension
    modules behind the function. ``gil_enabled`` says whether there was a GIL before and after the function was imported
    and called. ``forked`` says that a call came back in a copy of the process as well. ``stumble`` is the exception of
    a later call, after the first had succeeded.
    """

    name: str
    is_async: bool
    repeated: bool
    timing: Timing
    watch: Watch
    extensions: tuple[str, ...]
    pickling_problem: str | None
    gil_enabled: tuple[bool, bool]
    free_threaded: bool
    forked: bool
    stumble: str | None


def to_message(observation: Observation) -> dict[str, object]:
    """Return what JSON can carry; without copying, since there may be many ticks."""
    return {name: getattr(observation, name) for name in Observation.__dataclass_fields__}


def from_message(message: Mapping[str, Any]) -> Observation:
    """Undo :func:`to_message` after the way through JSON."""
    idle, ticks, stretches, runqueue_ms, stolen_ms = message["watch"]
    watch = Watch(_ticks(idle), _ticks(ticks), tuple(Stretch(*s) for s in stretches), runqueue_ms, stolen_ms)
    before, after = message["gil_enabled"]
    return Observation(
        **{
            **message,
            "timing": Timing(*message["timing"]),
            "watch": watch,
            "extensions": tuple(message["extensions"]),
            "gil_enabled": (before, after),
        }
    )


def _ticks(rows: Sequence[Sequence[Any]]) -> tuple[Tick, ...]:
    return tuple(Tick(*row) for row in rows)
