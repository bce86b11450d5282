"""Who waited for the GIL, and whether that explains a verdict. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from gilscope.model import Anatomy, BackendName, LensReading, ThreadRole, Trial
from gilscope.verdict.wording import describe_calm, describe_wait

MATERIAL = 0.10
"""Share of a request, or of the event loop's time, from which waiting for the GIL explains something."""

HARDLY = 0.05
"""Share of the function's time, and of the event loop's, below which neither can be said to have waited."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a backend's valid trials say of waiting for the GIL.

    ``mean_ms`` is the mean request, ``run_ms`` its time inside the function, ``gil_ms`` the part of that which waited;
    ``loop_share`` is the share of its time for which the event loop waited. ``computes`` says whether the function,
    where it does not wait for the GIL or for a core, is on a core rather than asleep.
    """

    mean_ms: float
    run_ms: float
    gil_ms: float
    loop_share: float
    computes: bool

    @property
    def share(self) -> float:
        """Share of the mean request that waited for the GIL inside the function, 0 to 1."""
        return self.gil_ms / self.mean_ms if self.mean_ms else 0.0

    @property
    def run_share(self) -> float:
        """Share of the function's own time that waited for the GIL, 0 to 1."""
        return self.gil_ms / self.run_ms if self.run_ms else 0.0

    @property
    def most(self) -> float:
        """The larger of the two shares: the request's or the event loop's."""
        return max(self.share, self.loop_share)


def pool_waits(trials: Sequence[Trial], backends: Collection[BackendName]) -> dict[BackendName, Wait]:
    """Pool the valid trials that a lens watched, weighted by requests; a backend without one is left out."""
    watched = {
        backend: [trial for trial in trials if trial.backend is backend and trial.valid and _split(trial)]
        for backend in backends
    }
    return {backend: _pool(own) for backend, own in watched.items() if own}


def _split(trial: Trial) -> bool:
    return bool(trial.requests and trial.anatomy_ms and trial.anatomy_ms.unexplained is not None)


def _pool(trials: Sequence[Trial]) -> Wait:
    rows = [(trial.anatomy_ms, trial.requests) for trial in trials if trial.anatomy_ms]
    run_ms, gil_ms = _mean(rows, "run"), _mean(rows, "gil_wait")
    elsewhere_ms = run_ms - gil_ms - _mean(rows, "runqueue")
    return Wait(
        mean_ms=_mean(rows, "mean"),
        run_ms=run_ms,
        gil_ms=gil_ms,
        loop_share=_loop_share([trial.lens for trial in trials if trial.lens]),
        computes=_mean(rows, "cpu") > elsewhere_ms / 2,
    )


def _mean(rows: Sequence[tuple[Anatomy, int]], part: str) -> float:
    return fmean((getattr(row, part) for row, _ in rows), [requests for _, requests in rows])


def _loop_share(readings: Sequence[LensReading]) -> float:
    loops = [reading.roles[ThreadRole.LOOP] for reading in readings if ThreadRole.LOOP in reading.roles]
    wall_s = sum(spent.wall_s for spent in loops)
    return sum(spent.gil_wait_s for spent in loops) / wall_s if wall_s else 0.0


def explain_winner(
    winner: BackendName, others: Sequence[BackendName], waits: Mapping[BackendName, Wait]
) -> str:
    """Explain a win: by the wait of the best of the ``others`` (best first) that waits, or by the winner's lack of it."""
    waiting = [name for name in others if name in waits and waits[name].most >= MATERIAL]
    return _wait_of(waiting[0], waits) if waiting else _calm_of([winner], waits)


def explain_tie(tied: Sequence[BackendName], waits: Mapping[BackendName, Wait]) -> str:
    """Explain a tie: by the wait of the one among them that waits longest, or by the lack of it."""
    waiting = [name for name in tied if name in waits and waits[name].most >= MATERIAL]
    if not waiting:
        return _calm_of(tied, waits)
    return _wait_of(max(waiting, key=lambda name: waits[name].most), waits)


def material_loop_share(backend: BackendName, waits: Mapping[BackendName, Wait]) -> float | None:
    """Return the share of its time for which a backend's event loop waited; None where that explains nothing."""
    share = waits[backend].loop_share if backend in waits else 0.0
    return share if share >= MATERIAL else None


def _wait_of(backend: BackendName, waits: Mapping[BackendName, Wait]) -> str:
    own = waits[backend]
    request = (own.mean_ms, own.gil_ms) if own.share >= MATERIAL else None
    return describe_wait(backend, request, material_loop_share(backend, waits))


def _calm_of(names: Collection[BackendName], waits: Mapping[BackendName, Wait]) -> str:
    """Say that threads do not get into each other's way, though the function computes."""
    own = waits.get(BackendName.THREADS) if BackendName.THREADS in names else None
    if own is None or not own.computes or max(own.run_share, own.loop_share) >= HARDLY:
        return ""
    return describe_calm(BackendName.THREADS, own.run_share)
