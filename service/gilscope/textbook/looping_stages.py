"""The infinite loop beside a web service, stage by stage: none, one and four of them, at two switch intervals."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gilscope.child import Child, module_command
from gilscope.claims import Figure
from gilscope.errors import LensError, ServiceError
from gilscope.lens.control import Lens
from gilscope.model import BackendName, ThreadRole
from gilscope.textbook.pinging import ping

MODULE = "gilscope.textbook.cells.looping"
STAGE_S, PINGS_PER_S = 0.46, 50.0
STARTED_S = 0.1
"""How long loops may take to begin: starting a process keeps the event loop as well, and is not what a stage is about."""
ANSWER_S = 10.0


class Stage(NamedTuple):
    """So many loops at a switch interval; ``prints``: the tutorial's own loop, or one that computes only."""

    loops: int
    prints: bool
    interval_ms: float

    @property
    def name(self) -> str:
        """What the names of the stage's figures begin with."""
        kind = "printing" if self.prints else "computing"
        return f"{self.loops}_{kind}_interval_{self.interval_ms:g}ms"

    def sooner(self) -> Stage:
        """Return the same at a tenth of CPython's default switch interval (``sys.setswitchinterval``)."""
        return self._replace(interval_ms=0.5)


IDLE = Stage(loops=0, prints=True, interval_ms=5.0)
PRINTING, COMPUTING = IDLE._replace(loops=1), IDLE._replace(loops=1, prints=False)
MANY, MANY_COMPUTING = PRINTING._replace(loops=4), COMPUTING._replace(loops=4)


def stages(backend: BackendName) -> tuple[Sequence[Stage], ...]:
    """Return the stages of each service, which is a new one wherever the one before may take no orders any more.

    On the event loop itself nothing runs beside a loop, however many there are.
    """
    if backend is BackendName.ASYNCIO:
        return ((IDLE, PRINTING),)
    if backend is BackendName.THREADS:
        return (
            (IDLE, PRINTING),
            (PRINTING.sooner(),),
            (MANY,),
            (MANY.sooner(),),
            (COMPUTING, COMPUTING.sooner()),
            (MANY_COMPUTING,),
        )
    return (
        (IDLE, PRINTING, PRINTING.sooner(), MANY, MANY.sooner()),
        (COMPUTING, COMPUTING.sooner(), MANY_COMPUTING),
    )


def measure_looping(
    python: str, backend: BackendName, lens: Lens | None, env: Mapping[str, str]
) -> dict[str, Figure]:
    """Run all stages of a backend; return their figures: latencies of pings in ms, the loop's GIL wait as a share.

    Raises:
        ServiceError: the service did not start, or takes no orders.
    """
    figures: dict[str, Figure] = {"pings_per_s": PINGS_PER_S, "pings_per_stage": round(STAGE_S * PINGS_PER_S)}
    for one in stages(backend):
        figures.update(measure_service(module_command(MODULE, backend, python=python), lens, one, env))
    return figures


def measure_service(
    command: Sequence[str], lens: Lens | None, of: Sequence[Stage], env: Mapping[str, str]
) -> Iterator[tuple[str, Figure]]:
    """Run the stages of one service, which ends with them; give their figures.

    Raises:
        ServiceError: the service did not start, or takes no orders.
    """
    with Child(command, failure=ServiceError, env=env) as service:
        try:
            port = int(str(service.receive(ANSWER_S)["port"]))
            lens = _watching(lens, service.pid)
            ping(port, 0.1, PINGS_PER_S)  # the first ones find everything cold
            for stage in of:
                service.send(stage._asdict())
                service.receive(ANSWER_S)
                time.sleep(STARTED_S)
                for name, figure in _measure_stage(port, lens).items():
                    yield f"{stage.name}_{name}", figure
        finally:
            service.stop(grace_s=0.0)  # it may hear nothing any more


def _measure_stage(port: int, lens: Lens | None) -> dict[str, Figure]:
    opened = _open_window(lens)
    pings = ping(port, STAGE_S, PINGS_PER_S)
    return {
        "ping_p50_ms": pings.quantile_ms(0.50),
        "ping_p99_ms": pings.quantile_ms(0.99),
        "unanswered": pings.unanswered,
        "gil_wait_share": _gil_wait(lens) if opened else None,
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


def _gil_wait(lens: Lens | None) -> float | None:
    """Return the share of time for which the event loop's thread waited for the GIL; None: not seen."""
    try:
        window = None if lens is None else lens.window()
    except LensError:
        return None
    span = None if window is None else window.roles.get(ThreadRole.LOOP)
    return None if span is None else span.all.gil_wait_share
