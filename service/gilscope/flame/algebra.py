"""What can be done with folded stacks: add, subtract, filter, normalise, fold away. Pure.

Weights are seconds, or whatever they have been divided by. No operation invents weight, and only :func:`keep` and
:func:`scale` take any away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain, dropwhile

from gilscope.flame.folded import is_root
from gilscope.model import Folded, Stack

NO_FRAMES = "(no Python frames)"
"""What is left of a stack that was nothing but roots: its weight must not vanish."""


def merge(*folded: Folded) -> dict[Stack, float]:
    """Add the weights of equal stacks."""
    merged: dict[Stack, float] = {}
    for one in folded:
        for stack, weight in one.items():
            merged[stack] = merged.get(stack, 0.0) + weight
    return merged


def subtract(one: Folded, other: Folded) -> dict[Stack, float]:
    """Return by how much each stack weighs more in ``one``; less is negative, and equal ones are left out."""
    gained = {stack: one.get(stack, 0.0) - other.get(stack, 0.0) for stack in {**one, **other}}
    return {stack: weight for stack, weight in gained.items() if weight}


def scale(folded: Folded, factor: float) -> dict[Stack, float]:
    """Multiply all weights: ``1 / seconds`` makes seconds per second of them, ``1 / requests`` seconds per request.

    Raises:
        ValueError: the factor is not a positive number.
    """
    if not 0 < factor < math.inf:
        raise ValueError(f"weights cannot be scaled by {factor}")
    return {stack: weight * factor for stack, weight in folded.items()}


def keep(folded: Folded, wanted: Callable[[Stack], bool]) -> dict[Stack, float]:
    """Return the stacks that are wanted."""
    return {stack: weight for stack, weight in folded.items() if wanted(stack)}


def rewrite(folded: Folded, change: Callable[[Stack], Stack]) -> dict[Stack, float]:
    """Change every stack; those that become equal are merged, so that the total stays."""
    changed: dict[Stack, float] = {}
    for stack, weight in folded.items():
        new = change(stack)
        changed[new] = changed.get(new, 0.0) + weight
    return changed


def strip_roots(folded: Folded) -> dict[Stack, float]:
    """Drop the leading ``process`` and ``thread`` roots, so that equal work in a pool's workers merges.

    The total weight stays: a stack of roots alone becomes :data:`NO_FRAMES`.
    """
    roots = frames_with(folded, is_root)
    return rewrite(folded, lambda stack: tuple(dropwhile(roots.__contains__, stack)) or (NO_FRAMES,))


def fold_away(folded: Folded, hidden: Callable[[str], bool], stand_in: str) -> dict[Stack, float]:
    """Put one ``stand_in`` for each run of frames that are ``hidden``, and merge what then is equal.

    The innermost frame of a stack stays whatever it is: it says what the thread was doing. The total weight stays.
    """
    away = frames_with(folded, hidden)

    def fold(stack: Stack) -> Stack:
        if away.isdisjoint(stack):
            return stack
        kept: list[str] = []
        for frame in stack[:-1]:
            if frame not in away:
                kept.append(frame)
            elif not kept or kept[-1] != stand_in:
                kept.append(stand_in)
        return (*kept, stack[-1])

    return rewrite(folded, fold)


def frames_with(folded: Folded, predicate: Callable[[str], bool]) -> set[str]:
    """Return the frames that satisfy ``predicate``: it is asked once for each, though most come a thousand times."""
    return set(filter(predicate, set(chain.from_iterable(folded))))


def total(folded: Folded) -> float:
    """Sum the weights."""
    return math.fsum(folded.values())


def share(folded: Folded, predicate: Callable[[str], bool]) -> float:
    """Return the share of weight, 0 to 1, of stacks with any frame that satisfies ``predicate``.

    It is 0 where there is no weight at all.
    """
    everything = total(folded)
    wanted = frames_with(folded, predicate)
    found = math.fsum(weight for stack, weight in folded.items() if not wanted.isdisjoint(stack))
    return found / everything if everything else 0.0
