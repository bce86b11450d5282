"""A mean request taken apart: as it was measured, and as it can be drawn. Pure."""

from __future__ import annotations

from gilscope.model import Anatomy

UNTOLD, UNEXPLAINED = RESTS = ("off_cpu", "unexplained")
"""What is left of the run: where no lens told its parts apart, and where one did."""


def measured(row: Anatomy) -> dict[str, float]:
    """Return each stage (ms) as it was measured, in order; together they are the client's mean, exactly.

    What the parts leave of ``run`` is ``unexplained``, which may be negative. Where no lens told the parts
    apart it is ``off_cpu``.
    """
    known = _split(row)
    rest = row.run - row.cpu - sum(known.values())
    name = UNTOLD if row.unexplained is None else UNEXPLAINED
    inside = {"cpu": row.cpu, **known, name: rest}
    return {"outside": row.outside, "queue": row.queue, **inside, "return": row.return_}


def drawn(row: Anatomy) -> dict[str, float]:
    """Return each stage (ms) as long as it is drawn: none is negative, and together they are still the mean.

    The stamps are exact and the lens takes samples, so ``run`` and ``cpu`` stand. Where the lens's parts claim
    more than those leave, they share what is left in proportion, and :func:`overlap` says by how much.
    """
    known = _split(row)
    cpu, claimed = min(row.cpu, row.run), sum(known.values())
    fit = min(1.0, (row.run - cpu) / claimed) if claimed > 0 else 0.0
    shown = {"cpu": cpu} | {name: value * fit for name, value in known.items()}
    rest = row.run - sum(shown.values())
    parts = {name: shown.get(name, rest if name in RESTS else value) for name, value in measured(row).items()}
    return {name: max(0.0, value) for name, value in parts.items()}


def overlap(row: Anatomy) -> float:
    """Return by how much (ms) the measured parts of ``run`` exceed it; 0 where they do not."""
    return max(0.0, -(row.unexplained or 0.0))


def _split(row: Anatomy) -> dict[str, float]:
    parts = {"gil_wait": row.gil_wait, "runqueue": row.runqueue, "blocked": row.blocked}
    return {name: value for name, value in parts.items() if value is not None}
