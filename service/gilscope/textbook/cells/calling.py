"""The module and the call: each function begins with the two lines that a tutorial shows."""

from __future__ import annotations

import time

DONE = "done"


def work() -> str:
    """Take a moment."""
    time.sleep(0.1)
    return DONE


async def work_on_loop() -> str:
    """Be a coroutine."""
    return DONE


def in_asyncio() -> dict[str, object]:
    """Run a coroutine."""
    import asyncio  # noqa: PLC0415

    done = asyncio.run(work_on_loop())
    return {"ran": done == DONE, "many_ran": asyncio.run(many_in_asyncio())}


async def many_in_asyncio() -> bool:
    """Run a coroutine beside others, and wait for all of them."""
    from asyncio import TaskGroup  # noqa: PLC0415

    async with TaskGroup() as group:
        call = group.create_task(work_on_loop())
    return call.result() == DONE


def in_threads() -> dict[str, object]:
    """Run a function in a thread."""
    import threading  # noqa: PLC0415

    threading.Thread(target=work).start()
    return {"ran": threading.active_count() == 2, "many_ran": many_in_threads()}


def many_in_threads() -> bool:
    """Run a function in one of many threads."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    call = ThreadPoolExecutor().submit(work)
    return call.result() == DONE


def in_processes() -> dict[str, object]:
    """Run a function in a process."""
    import multiprocessing  # noqa: PLC0415

    multiprocessing.Process(target=work).start()
    children = multiprocessing.active_children()
    for child in children:
        child.join()
    return {"ran": [child.exitcode for child in children] == [0], "many_ran": many_in_processes()}


def many_in_processes() -> bool:
    """Run a function in one of many processes."""
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    call = ProcessPoolExecutor().submit(work)
    return call.result() == DONE


def in_interpreters() -> dict[str, object]:
    """Run a function in a subinterpreter."""
    from concurrent import interpreters  # type: ignore[attr-defined] # noqa: PLC0415

    done = interpreters.create().call(work)
    return {"ran": done == DONE, "many_ran": many_in_interpreters()}


def many_in_interpreters() -> bool:
    """Run a function in one of many subinterpreters."""
    from concurrent.futures import InterpreterPoolExecutor  # type: ignore[attr-defined] # noqa: PLC0415

    call = InterpreterPoolExecutor().submit(work)
    return bool(call.result() == DONE)
