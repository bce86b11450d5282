"""A failed answer as people read it: the service's problem JSON (RFC 9457) taken apart. Pure."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import NamedTuple


class Failed(NamedTuple):
    """What a failed answer says: in a line, and at length, with the traceback where there is one."""

    line: str
    text: str


def taken_apart(first_error: str) -> Failed:
    """Read a trial's first error: a line that says of what, and the answer's body."""
    of_what, _, body = first_error.strip().partition("\n")
    with suppress(ValueError, RecursionError):
        problem = json.loads(body)
        if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
            traceback = str(problem.get("traceback") or "").strip()
            parts = (of_what, problem["detail"], traceback)
            return Failed(problem["detail"].partition("\n")[0], "\n".join(filter(None, parts)))
    return Failed((body or of_what).rpartition("\n")[2], first_error)
