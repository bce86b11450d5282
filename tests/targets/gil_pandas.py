"""Pandas, imported with the module, as one does: its first import takes seconds."""

from __future__ import annotations

import importlib
import random

pandas = importlib.import_module("pandas")

_ROWS = 100_000
_FRAME = pandas.DataFrame(
    {
        "customer": [row % 20 for row in range(_ROWS)],
        "amount": random.Random(1).choices(range(1_000), k=_ROWS),
    }
)


def group_apply() -> int:
    groups = _FRAME.groupby("customer")[["amount"]]
    return len(groups.apply(lambda group: group["amount"].sort_values().iloc[0]))
