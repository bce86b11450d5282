"""Locks that the system lets go of when their process ends, however it does (``flock``)."""

from __future__ import annotations

import errno
import fcntl

NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})
"""The file system knows no locks."""


def lock(descriptor: int, kind: int) -> bool | None:
    """Try to lock what is open, and return whether that succeeded; None where the file system knows no locks.

    ``kind`` is ``fcntl.LOCK_EX`` or ``fcntl.LOCK_SH``. Without locks nobody can be kept out, and nobody is known to have gone.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        if problem.errno not in NO_LOCKS:
            raise
        return None
    return True
