"""Shares memory: is what a worker changes seen by who started it?"""

from __future__ import annotations

import asyncio
from multiprocessing import Process
from multiprocessing.shared_memory import SharedMemory
from threading import Thread

changes: dict[str, str] = {}


def change() -> None:
    """Change an object of this module."""
    changes["worker"] = "was here"


def write_byte(block: SharedMemory) -> None:
    """Change a byte of memory that is shared on purpose."""
    block.buf[0] = 7  # type: ignore[index]


def in_asyncio() -> dict[str, object]:
    """Change it in a task."""

    async def worker() -> None:
        change()

    asyncio.run(worker())
    return {"seen": "worker" in changes}


def in_threads() -> dict[str, object]:
    """Change it in a thread."""
    thread = Thread(target=change)
    thread.start()
    thread.join()
    return {"seen": "worker" in changes}


def in_processes() -> dict[str, object]:
    """Change it in a process, and a byte of shared memory as well."""
    process = Process(target=change)
    process.start()
    process.join()

    block = SharedMemory(create=True, size=1)
    process = Process(target=write_byte, args=(block,))
    process.start()
    process.join()
    byte_seen = block.buf[0] == 7  # type: ignore[index]
    block.close()
    block.unlink()
    return {"seen": "worker" in changes, "shared_byte_seen": byte_seen}


def in_interpreters() -> dict[str, object]:
    """Change it in a subinterpreter, and a byte of a shared buffer as well."""
    from concurrent import interpreters  # type: ignore[attr-defined] # noqa: PLC0415

    interpreter = interpreters.create()
    interpreter.call(change)

    buffer = bytearray(1)
    interpreter.prepare_main(shared=memoryview(buffer))
    interpreter.exec("shared[0] = 7")
    return {"seen": "worker" in changes, "shared_byte_seen": buffer[0] == 7}
