"""What a worker keeps from one call to the next, such as a connection or an event loop."""

from __future__ import annotations

import importlib
import threading
from types import SimpleNamespace


def worker_local() -> threading.local | SimpleNamespace:
    """Return a namespace of each worker's own, which ends with the worker.

    A pool's subinterpreter is run by a single thread, and so may use a plain namespace. It has to:
    ``threading.local`` lives in CPython's thread state, and a subinterpreter gets a new one of those for every
    call (seen on 3.14 and 3.15; ``_PyXI_Enter`` in ``Python/crossinterp.c``).
    """
    return SimpleNamespace() if _in_subinterpreter() else threading.local()


def _in_subinterpreter() -> bool:
    try:
        interpreters = importlib.import_module("concurrent.interpreters")
    except ImportError:
        return False  # no pool of subinterpreters either
    return bool(interpreters.get_current() != interpreters.get_main())
