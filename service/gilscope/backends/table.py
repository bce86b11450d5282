"""The table of backends. A new one is a module beside this and a row here."""

from __future__ import annotations

from gilscope.backends import event_loop, interpreters, processes, threads
from gilscope.backends.base import BackendSpec
from gilscope.model import BackendName

BACKENDS: dict[BackendName, BackendSpec] = {
    spec.name: spec for spec in (event_loop.SPEC, threads.SPEC, processes.SPEC, interpreters.SPEC)
}
"""All backends, those that cannot run here included; they say why."""


def available() -> tuple[BackendName, ...]:
    """Return the backends that can run on this Python, in the table's order."""
    return tuple(name for name, spec in BACKENDS.items() if spec.unavailable() is None)
