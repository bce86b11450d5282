"""The textbook's table: what is said of each backend, row by row."""

from __future__ import annotations

from gilscope.claims import Claim, Topic
from gilscope.model import BackendName


def _claim(topic: Topic, title: str, run: str, *says: str) -> Claim:
    return Claim(topic, title, run, dict(zip(BackendName, says, strict=True)))


CLAIMS: dict[Topic, Claim] = {
    claim.topic: claim
    for claim in (
        _claim(
            Topic.SHARING,
            "shares memory",
            "a worker changes a dictionary of its parent",
            "yes",
            "yes",
            "no",
            "no",
        ),
        _claim(
            Topic.HANDING_OVER,
            "handing over an argument",
            "1 kB, 1 MB and 100 MB to a worker and back",
            "nothing to copy",
            "nothing to copy",
            "pickled, both ways",
            "copied, or a shared buffer",
        ),
        _claim(
            Topic.DATA,
            "may interfere: data",
            "two workers add to one number, and sell the same seats",
            "no: one at a time",
            "yes",
            "no",
            "no",
        ),
        _claim(
            Topic.TIME,
            "may interfere: time",
            "a web service answers /ping while workers loop for ever; p99: of 20 pings, the slowest",
            "yes: one loop for all",
            "yes",
            "no",
            "no",
        ),
        _claim(
            Topic.CRASH,
            "may interfere: crash",
            "a worker of a web service crashes: it reads address 0",
            "yes",
            "yes",
            "no",
            "no",
        ),
        _claim(
            Topic.WAITING_WORK,
            "suits I/O-bound work",
            "several calls at once, each of which waits 20 ms for a socket; stall: for how long the event loop could not run at worst, in the calmer of two windows",
            "yes",
            "yes",
            "no",
            "no",
        ),
        _claim(
            Topic.COMPUTING_WORK,
            "suits CPU-bound work",
            "several calls at once that look for primes; stall: for how long the event loop could not run at worst, in the calmer of two windows",
            "no",
            "no",
            "yes",
            "yes",
        ),
        _claim(
            Topic.COSTS,
            "costs to start, to call, per worker",
            "the first call in a new pool, a call that does nothing, the memory of one worker more",
            "almost nothing",
            "cheap",
            "expensive",
            "in between",
        ),
        _claim(
            Topic.CALL,
            "module and the call",
            "the lines of a tutorial, for one call and for many",
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
