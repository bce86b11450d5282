"""The textbook's table: what is said of each backend, row by row."""

from __future__ import annotations

from gilscope.claims import Claim, Topic
from gilscope.model import BackendName


def _claim(topic: Topic, title: str, *says: str) -> Claim:
    return Claim(topic, title, dict(zip(BackendName, says, strict=True)))


CLAIMS: dict[Topic, Claim] = {
    claim.topic: claim
    for claim in (
        _claim(Topic.SHARING, "shares memory", "yes", "yes", "no", "no"),
        _claim(
            Topic.HANDING_OVER,
            "handing over an argument",
            "nothing to copy",
            "nothing to copy",
            "pickled, both ways",
            "copied, or a shared buffer",
        ),
        _claim(Topic.DATA, "may interfere: data", "no: one at a time", "yes", "no", "no"),
        _claim(Topic.TIME, "may interfere: time", "yes: one loop for all", "yes", "no", "no"),
        _claim(Topic.CRASH, "may interfere: crash", "yes", "yes", "no", "no"),
        _claim(Topic.WAITING_WORK, "suits I/O-bound work", "yes", "yes", "no", "no"),
        _claim(Topic.COMPUTING_WORK, "suits CPU-bound work", "no", "no", "yes", "yes"),
        _claim(
            Topic.COSTS,
            "costs to start, to call, per worker",
            "almost nothing",
            "cheap",
            "expensive",
            "in between",
        ),
        _claim(
            Topic.CALL,
            "module and the call",
            "asyncio",
            "threading",
            "multiprocessing",
            "concurrent.interpreters",
        ),
    )
}
"""Topic to claim, in the table's order."""

CELLS: dict[Topic, str] = {
    Topic.SHARING: "sharing",
    Topic.HANDING_OVER: "handing_over",
    Topic.DATA: "interfering",
    Topic.TIME: "looping",
    Topic.CRASH: "crashing",
    Topic.WAITING_WORK: "suiting",
    Topic.COMPUTING_WORK: "suiting",
    Topic.COSTS: "costing",
    Topic.CALL: "calling",
}
"""Topic to the module of its experiment; two rows come from one."""
