"""The infinite loop beside a web service, stage by stage: none, one and four of them, at two switch intervals."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from gilscope.child import START_S, Child, module_command
from gilscope.claims import Figure
from gilscope.errors import LensError, ServiceError
from gilscope.lens.control import Lens
from gilscope.model import BackendName, StateSeconds, ThreadRole
from gilscope.scratch import folder
from gilscope.textbook.pinging import ping

MODULE = "gilscope.textbook.cells.looping"
STAGE_S, PINGS_PER_S = 1 / 3, 60.0
BEGIN_S = 20.0
"""How long a loop may take to begin: it may be the first to need a fork server."""
STARVE_S = 0.25
"""How long it is waited for loops that share the service's GIL: those that run may keep the others from beginning."""
ANSWER_S = 20.0
SHARE_A_GIL = (BackendName.ASYNCIO, BackendName.THREADS)
"""Whose loops run under the GIL of the service."""


class Work(StrEnum):
    """What a loop does: the tutorial's own, the same with each line written at once, and one that computes only."""

    PRINTING = "forever"
    LINES = "forever_in_lines"
    COMPUTING = "compute"


class Place(StrEnum):
    """Where loops run: wherever the system has them, on other cores than the event loop, or on the same."""

    ANY = ""
    APART = "_on_another_core"
    BESIDE = "_on_the_same_core"


class Stage(NamedTuple):
    """So many loops at a switch interval."""

    loops: int
    work: Work
    interval_ms: float = 5.0
    place: Place = Place.ANY

    @property
    def name(self) -> str:
        """What the names of the stage's figures begin with."""
        return f"{self.loops}_{self.work.name.lower()}{self.place}_interval_{self.interval_ms:g}ms"

    def order(self) -> dict[str, object]:
        """Return what the service is told. Where there is one core, loops cannot but share it."""
        cores = sorted(os.sched_getaffinity(0))
        first, others = cores[:1], cores[1:] or cores
        loop_on, work_on = {
            Place.ANY: (cores, cores),
            Place.APART: (first, others),
            Place.BESIDE: (first, first),
        }[self.place]
        where = {"loop_on": loop_on, "work_on": work_on}
        return {"work": self.work, "times": self.loops, "interval_ms": self.interval_ms, **where}

    def sooner(self) -> Stage:
        """Return the same at a tenth of CPython's default switch interval (``sys.setswitchinterval``)."""
        return self._replace(interval_ms=0.5)


IDLE, ON_LOOP = Stage(0, Work.PRINTING), Stage(1, Work.PRINTING)
PRINTING = ON_LOOP._replace(place=Place.APART)
"""Whether it is on the event loop's core decides what it does to that, and is otherwise a matter of luck."""
BESIDE, LINES = PRINTING._replace(place=Place.BESIDE), PRINTING._replace(work=Work.LINES)
COMPUTING = Stage(1, Work.COMPUTING)
MANY, MANY_COMPUTING = Stage(4, Work.PRINTING), Stage(4, Work.COMPUTING)


def stages(backend: BackendName) -> tuple[Sequence[Stage], ...]:
    """Return the stages of each service, which is a new one wherever the one before may take no orders any more.

    On the event loop itself nothing runs beside a loop, however many there are.
    """
    if backend is BackendName.ASYNCIO:
        return ((IDLE, ON_LOOP),)
    if backend is BackendName.THREADS:
        return (
            (IDLE, LINES),
            (PRINTING,),
            (PRINTING.sooner(),),
            (BESIDE,),
            (MANY, MANY.sooner()),
            (COMPUTING, COMPUTING.sooner()),
            (MANY_COMPUTING,),
        )
    return ((IDLE, PRINTING, PRINTING.sooner()), (MANY, MANY.sooner()), (COMPUTING, MANY_COMPUTING))


def measure_looping(
    python: str, backend: BackendName, lens: Lens | None, env: Mapping[str, str]
) -> dict[str, Figure]:
    """Run all stages of a backend; return their figures: latencies of pings in ms, what the event loop waited for as shares.

    Raises:
        ServiceError: the service did not start, or takes no orders; or a loop that has a GIL of its own did not begin.
    """
    figures: dict[str, Figure] = {
        "pings_per_s": PINGS_PER_S,
        "pings_per_stage": round(STAGE_S * PINGS_PER_S),
        "cores": len(os.sched_getaffinity(0)),
    }
    figures.update(measure_services(python, backend, lens, stages(backend), env))
    return figures


def measure_services(
    python: str,
    backend: BackendName,
    lens: Lens | None,
    every: Sequence[Sequence[Stage]],
    env: Mapping[str, str],
) -> Iterator[tuple[str, Figure]]:
    """Run the stages of each service; give their figures. Services start side by side, and do nothing until they are told to.

    Raises:
        ServiceError: a service did not start, or takes no orders; or a loop that has a GIL of its own did not begin.
    """
    command = module_command(MODULE, backend, python=python)
    with ExitStack() as running:
        services = [
            running.enter_context(Child(command, failure=ServiceError, env=env, guarded=True)) for _ in every
        ]
        ready = [service.receive(START_S) for service in services]
        yield "gil_enabled", bool(ready[0]["gil_enabled"])
        if backend is BackendName.PROCESSES:
            yield "start_method", str(ready[0]["start_method"])
        for service, said, of in zip(services, ready, every, strict=True):
            yield from _measure_service(service, int(str(said["port"])), backend, lens, of)


def _measure_service(
    service: Child, port: int, backend: BackendName, lens: Lens | None, of: Sequence[Stage]
) -> Iterator[tuple[str, Figure]]:
    """Run the stages of one service, which ends with them; give their figures.

    Raises:
        ServiceError: the service takes no orders; or a loop that has a GIL of its own did not begin.
    """
    with _listening() as begun:
        try:
            lens = _watching(lens, service.pid)
            ping(port, 0.05, PINGS_PER_S)  # the first ones find everything cold
            for stage in of:
                service.send({**stage.order(), "begun": begun.path})
                service.receive(ANSWER_S)
                begun.wait_for(stage.loops, STARVE_S if backend in SHARE_A_GIL else BEGIN_S)
                if begun.loops < stage.loops and backend not in SHARE_A_GIL:
                    raise ServiceError(f"{begun.loops} of {stage.loops} loops began within {BEGIN_S:g} s")
                for name, figure in measure_stage(port, lens).items():
                    yield f"{stage.name}_{name}", figure
                begun.wait_for(stage.loops, 0.0)
                if stage.loops and not begun.loops:
                    raise ServiceError("no loop began while it was measured")
                yield f"{stage.name}_loops_begun", begun.loops
        finally:
            service.stop(grace_s=0.0)  # it may hear nothing any more


@dataclass(slots=True)
class _Begun:
    """How many loops of a service have told, through a named pipe, that they have begun."""

    path: str
    descriptor: int
    loops: int = 0

    def wait_for(self, loops: int, seconds: float) -> None:
        """Read until so many have begun, or so long."""
        deadline = time.monotonic() + seconds
        while self.loops < loops:
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return
            self.loops += len(os.read(self.descriptor, loops))


@contextmanager
def _listening() -> Iterator[_Begun]:
    """Make the pipe for the block; it is open both ways here, as it has no end while the next loop is yet to come."""
    with folder() as place:
        path = str(place / "begun")  # a word in an order
        os.mkfifo(path)
        descriptor = os.open(path, os.O_RDWR)
        try:
            yield _Begun(path, descriptor)
        finally:
            os.close(descriptor)


def measure_stage(port: int, lens: Lens | None) -> dict[str, Figure]:
    """Ping for a stage, and have the lens look at the event loop meanwhile."""
    opened = _open_window(lens)
    pings = ping(port, STAGE_S, PINGS_PER_S)
    loop = _event_loop(lens) if opened else None
    return {
        "ping_p50_ms": pings.quantile_ms(0.50),
        "ping_p99_ms": pings.quantile_ms(0.99),
        "unanswered": pings.unanswered,
        "gil_wait_share": None if loop is None else loop.gil_wait_share,
        "core_wait_share": None if loop is None else loop.core_wait_share,
    }


def _watching(lens: Lens | None, pid: int) -> Lens | None:
    """Watch the service; None where that cannot be done."""
    try:
        if lens is not None:
            lens.watch(pid)
    except LensError:
        return None
    return lens


def _open_window(lens: Lens | None) -> bool:
    """Begin to measure; whether that can be done."""
    try:
        if lens is not None:
            lens.open_window(STAGE_S)
    except (LensError, AssertionError):  # it has been stopped since it failed
        return False
    return lens is not None


def _event_loop(lens: Lens | None) -> StateSeconds | None:
    """Return what the event loop's thread spent its time with; None: not seen."""
    try:
        window = None if lens is None else lens.window()
    except LensError:
        return None
    span = None if window is None else window.roles.get(ThreadRole.LOOP)
    return None if span is None else span.all
