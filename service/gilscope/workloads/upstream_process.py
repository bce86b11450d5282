"""Running the upstream as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gilscope.child import START_S, Child, module_command
from gilscope.errors import ServiceError


@contextmanager
def running_upstream() -> Iterator[str]:
    """Run the upstream for the block; gives its URL.

    Raises:
        ServiceError: it did not start.
    """
    with Child(module_command("gilscope.workloads.upstream"), failure=ServiceError) as child:
        yield str(child.receive(START_S)["url"])
