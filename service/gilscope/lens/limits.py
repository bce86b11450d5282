"""What the system allows this process."""

from __future__ import annotations

import contextlib


def allow_many_files() -> None:
    """Raise the number of files that we may have open as far as we may: each thread that is watched takes three.

    The usual limit of 1024 is a soft one, for the sake of programs that call ``select``.
    """
    with contextlib.suppress(ImportError, ValueError, OSError):  # macOS allows less than it names
        import resource  # noqa: PLC0415  Unix only

        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
