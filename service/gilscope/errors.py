"""Everything that gilscope raises on purpose.

A message says what failed, why, and what to do next; the command line prints it as it is, without a
traceback, and ends with the error's exit code.
"""

from __future__ import annotations

import errno
from typing import ClassVar

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""


class GilscopeError(Exception):
    """Base of all errors meant for the user: the run itself failed (exit code 1)."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message}\n  -> {self.remedy}"


class UsageError(GilscopeError):
    """What the user typed cannot be done as it stands (exit code 2)."""

    exit_code = 2


class TargetError(UsageError):
    """The user's function cannot be found, loaded or called with these arguments."""


class ParameterError(UsageError):
    """A workload's parameter is unknown, of the wrong type or out of bounds."""


class BackendUnavailableError(GilscopeError):
    """The backend cannot run on this Python, or cannot run this workload."""


class BackendFailedError(GilscopeError):
    """The backend's pool broke while it held the request."""


class BackendFullError(GilscopeError):
    """The backend has as many calls as it takes."""


class ServiceError(GilscopeError):
    """The service did not start, did not answer or died."""


class LoadError(GilscopeError):
    """The load generator did not start, did not finish or died."""


class WorkersError(GilscopeError):
    """Load workers of other machines did not come, or are gone: no trial can be measured without them."""


class ServiceGoneError(GilscopeError):
    """A service that ran already, and was to be measured, has ended: no trial can be measured without it."""


class CaptureError(GilscopeError):
    """A profiler could not capture stacks."""


class LensError(GilscopeError):
    """The lens cannot watch a process, or no longer can."""


class RunFileError(UsageError):
    """A run's folder cannot be written, or what is in it cannot be read."""


class DiskFullError(RunFileError):
    """There is no room for a file of a run (exit code 1); what was there before is as it was."""

    exit_code = 1


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The disk is full, the user's quota is used up, or files may not grow so large."""


def unwritten(what: object, problem: OSError, remedy: str | None = None) -> RunFileError:
    """Return the error that says why ``what`` could not be written: a :class:`DiskFullError` where room is missing.

    ``remedy`` is for all other reasons.
    """
    message = f"cannot write {what}: {problem.strerror or problem}"
    if problem.errno in NO_ROOM:
        return DiskFullError(message, remedy="make room there, and try again")
    return RunFileError(message, remedy=remedy)
