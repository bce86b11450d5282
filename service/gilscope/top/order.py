"""What `gilscope top` can sort by; apart from all else, so that `gilscope --help` need not import that."""

from __future__ import annotations

from enum import StrEnum


class Order(StrEnum):
    """What threads are sorted by, the most first (but the lowest thread id); the value is the command-line word."""

    GIL_WAIT = "gil-wait"
    ON_CPU = "on-cpu"
    RUNQUEUE = "runqueue"
    BLOCKED = "blocked"
    HELD = "held"
    TID = "tid"
