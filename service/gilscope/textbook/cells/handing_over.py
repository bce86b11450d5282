"""Handing over an argument: what it takes to give a worker 1 kB, 1 MB and 100 MB, and to get them back."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.shared_memory import SharedMemory

from gilscope.textbook.cells.common import available_mb, median_ms

SHOWN = {
    "asyncio": ("in_asyncio",),
    "threads": ("payload", "through_executor", "in_threads"),
    "processes": ("payload", "through_executor", "last_byte", "fill", "in_processes"),
    "interpreters": ("payload", "through_executor", "in_interpreters"),
}
"""What a reader wants to see of each."""

SIZES = {"1kB": (1_000, 20), "1MB": (1_000_000, 5), "100MB": (100_000_000, 2)}
"""How many bytes, and how often."""
COPIES = 12
"""What is handed over must fit into memory so many times."""
SHARED_MEMORY = "/dev/shm"  # noqa: S108  where it lies on Linux


def sizes(how: str, figures: dict[str, object]) -> Iterator[tuple[str, int, int]]:
    """Give name, number of bytes and of repetitions of what there is room for; leave the reason for what there is not.

    Who writes more into shared memory than there is room for dies of it (SIGBUS).
    """
    there = os.statvfs(SHARED_MEMORY) if how == "shared_memory" else None
    for name, (size, times) in SIZES.items():
        if size * COPIES > (memory := available_mb() * 1e6):
            figures[f"{how}_{name}_left_out"] = f"{memory / 1e6:.0f} MB of memory are left"
        elif there and size >= (room := there.f_bavail * there.f_frsize):
            figures[f"{how}_{name}_left_out"] = f"{SHARED_MEMORY} has room for {room / 1e6:.0f} MB"
        else:
            yield name, size, times


@functools.cache
def payload(size: int) -> bytes:
    """Return the same bytes every time: what a worker gives back is there already."""
    return b"x" * size


def prepare(size: int) -> None:
    """Make it, so that the worker has it from now on."""
    payload(size)


def in_asyncio() -> dict[str, object]:
    """Pass it to a coroutine, which returns it."""

    async def echo(data: bytes) -> bytes:
        return data

    async def measure() -> dict[str, object]:
        loop, figures = asyncio.get_running_loop(), dict[str, object]()
        for name, size, times in sizes("reference", figures):
            data, took = payload(size), list[float]()
            for _ in range(times):
                begun = loop.time()
                figures["same_object"] = await echo(data) is data
                took.append((loop.time() - begun) * 1e3)
            figures[f"reference_{name}_there_and_back_ms"] = sorted(took)[times // 2]
        return figures

    return asyncio.run(measure())


def through_executor(pool: Executor, how: str) -> dict[str, object]:
    """Give it to a worker (``len`` takes it), and have a worker return it."""
    figures: dict[str, object] = {}
    for name, size, times in sizes(how, figures):
        data = payload(size)
        pool.submit(prepare, size).result()
        there, back = lambda: pool.submit(len, data).result(), lambda: pool.submit(payload, size).result()  # noqa: B023
        figures[f"{how}_{name}_there_ms"] = median_ms(there, times)
        figures[f"{how}_{name}_back_ms"] = median_ms(back, times)
    return figures


def in_threads() -> dict[str, object]:
    """Through a ThreadPoolExecutor: by reference."""
    with ThreadPoolExecutor(1) as pool:
        figures = through_executor(pool, "reference")
        handed = [payload(size) for _, size, _ in sizes("reference", {})]
        return {**figures, "same_object": all(pool.submit(id, data).result() == id(data) for data in handed)}


def last_byte(name: str, size: int) -> int:
    """Attach to shared memory and read it."""
    block = SharedMemory(name)
    value = block.buf[size - 1]  # type: ignore[index]
    block.close()
    return value


def fill(name: str, size: int) -> None:
    """Attach to shared memory and write it."""
    block = SharedMemory(name)
    block.buf[:size] = payload(size)  # type: ignore[index]
    block.close()


def in_processes() -> dict[str, object]:
    """Through a ProcessPoolExecutor: pickled; and through shared memory."""
    figures: dict[str, object] = {}
    shared = list(sizes("shared_memory", figures))
    block = SharedMemory(create=True, size=max((size for _, size, _ in shared), default=1))
    with ProcessPoolExecutor(1) as pool:
        figures |= through_executor(pool, "pickle")

        def there() -> None:
            block.buf[:size] = payload(size)  # type: ignore[index]
            pool.submit(last_byte, block.name, size).result()

        def back() -> bytes:
            pool.submit(fill, block.name, size).result()
            return bytes(block.buf[:size])  # type: ignore[index]

        for name, size, times in shared:  # noqa: B007  there() and back() use it
            figures[f"shared_memory_{name}_there_ms"] = median_ms(there, times)
            figures[f"shared_memory_{name}_back_ms"] = median_ms(back, times)
    block.close()
    block.unlink()
    return figures


def in_interpreters() -> dict[str, object]:
    """Through an InterpreterPoolExecutor: copied; and through a shared buffer."""
    from concurrent import interpreters  # type: ignore[attr-defined] # noqa: PLC0415
    from concurrent.futures import InterpreterPoolExecutor  # type: ignore[attr-defined] # noqa: PLC0415

    with InterpreterPoolExecutor(1) as pool:
        figures = through_executor(pool, "copy")
    interpreter = interpreters.create()

    def there() -> None:
        interpreter.prepare_main(shared=memoryview(payload(size)))
        interpreter.exec("shared[-1]")

    def back() -> None:
        interpreter.exec("buffer[:] = made")

    for name, size, times in sizes("buffer", figures):
        interpreter.prepare_main(buffer=memoryview(bytearray(size)))
        interpreter.exec(f"made = b'x' * {size}")
        figures[f"buffer_{name}_there_ms"] = median_ms(there, times)
        figures[f"buffer_{name}_back_ms"] = median_ms(back, times)
    return figures
