"""What the system allows this process."""

from __future__ import annotations

import contextlib


def allow_many_files() -> None:
    """Raise the number of files that we, and whom we start, may have open as far as we may.

    Connections are files, and each thread that is watched takes three. The usual limit of 1024 is a soft one, for the sake of
    programs that call ``select``.
    """
    with contextlib.suppress(ImportError, ValueError, OSError):  # macOS allows less than it names
        import resource  # noqa: PLC0415  Unix only

        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_files() -> int | None:
    """Return how many files a process may have open after :func:`allow_many_files`; None where nothing is known to bound it."""
    with contextlib.suppress(ImportError):
        import resource  # noqa: PLC0415  Unix only

        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        return None if hard == resource.RLIM_INFINITY else hard
    return None
