"""Large arguments and large results: what handing data over costs."""

import functools
import random
from collections.abc import Mapping

from gilscope.workloads.base import Surroundings


def sort_payload(values: list[int]) -> list[int]:
    """Return ``values`` in ascending order."""
    return sorted(values)


@functools.lru_cache(maxsize=4)
def _shuffled(length: int) -> list[int]:
    values = list(range(length))
    random.Random(length).shuffle(values)
    return values


def prepare(arguments: Mapping[str, object], _surroundings: Surroundings) -> dict[str, object]:
    """Make the list in the service, so that it has to travel to the worker and back."""
    length = arguments["length"]
    assert isinstance(length, int)
    return {"values": _shuffled(length)}
