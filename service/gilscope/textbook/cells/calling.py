"""The module and the call: the first two lines of each function are those that a tutorial shows."""

from __future__ import annotations

import time


def work() -> None:
    """Take a moment."""
    time.sleep(0.1)


async def work_on_loop() -> None:
    """Be a coroutine."""


def in_asyncio() -> dict[str, object]:
    """Run a coroutine."""
    import asyncio  # noqa: PLC0415

    asyncio.run(work_on_loop())
    return {"ran": True}


def in_threads() -> dict[str, object]:
    """Run a function in a thread."""
    import threading  # noqa: PLC0415

    threading.Thread(target=work).start()
    return {"ran": threading.active_count() == 2}


def in_processes() -> dict[str, object]:
    """Run a function in a process."""
    import multiprocessing  # noqa: PLC0415

    multiprocessing.Process(target=work).start()
    children = multiprocessing.active_children()
    for child in children:
        child.join()
    return {"ran": [child.exitcode for child in children] == [0]}


def in_interpreters() -> dict[str, object]:
    """Run a function in a subinterpreter."""
    from concurrent import interpreters  # type: ignore[attr-defined] # noqa: PLC0415

    interpreters.create().call(work)
    return {"ran": True}
