"""The functions of a user: a file that lies on nobody's import path."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

LOADED_AS = __name__


def where() -> dict[str, object]:
    """Say where this runs."""
    return {
        "pid": os.getpid(),
        "thread": threading.get_native_id(),
        "in_main_thread": threading.get_native_id() == os.getpid(),
        "interpreter": _interpreter(),
        "module": LOADED_AS,
        "on_path": os.path.dirname(__file__) in sys.path,  # noqa: PTH120  compared as text
    }


def _interpreter() -> int:
    try:
        interpreters = importlib.import_module("concurrent.interpreters")
    except ImportError:
        return 0
    return int(interpreters.get_current().id)


def add(a: int, b: int = 1) -> int:
    return a + b


def echo(value: object) -> object:
    return value


async def add_async(a: int, b: int = 1) -> int:
    await asyncio.sleep(0)
    return a + b


async def which_loop() -> tuple[int, int]:
    return threading.get_native_id(), id(asyncio.get_running_loop())


def fail(text: str = "as asked") -> NoReturn:
    raise ValueError(text)


async def fail_async(text: str = "as asked") -> NoReturn:
    await asyncio.sleep(0)
    raise ValueError(text)


class StubbornError(Exception):
    """Pickles, and does not unpickle: it takes two arguments and keeps one."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def fail_stubbornly() -> NoReturn:
    raise StubbornError("stub", "born")


class PanicError(BaseException):
    """No Exception, as PyO3 raises where Rust panics."""


def panic() -> NoReturn:
    raise PanicError("at the disco")


async def panic_async() -> NoReturn:
    await asyncio.sleep(0)
    raise PanicError("at the disco")


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


async def interrupt_async() -> NoReturn:
    await asyncio.sleep(0)
    raise KeyboardInterrupt


def leave() -> NoReturn:
    sys.exit("leaving")


async def leave_async() -> NoReturn:
    await asyncio.sleep(0)
    sys.exit("leaving")


def cancel() -> NoReturn:
    raise asyncio.CancelledError("by myself")


async def cancel_async() -> NoReturn:
    await asyncio.sleep(0)
    raise asyncio.CancelledError("by myself")


class MuteError(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def fail_mutely() -> NoReturn:
    raise MuteError


def die() -> NoReturn:
    os._exit(3)


def stubborn_result() -> StubbornError:
    return StubbornError("stub", "born")


def die_answering() -> bytes:
    """Return what takes a while to be sent, and be killed in the middle of that."""

    def kill() -> None:
        main = threading.main_thread().ident
        while "_send" not in {frame.f_code.co_name for frame in _stack(sys._current_frames()[main or 0])}:
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    return bytes(300_000_000)


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def unpicklable() -> Callable[[], None]:
    return lambda: None


def shout() -> int:
    print("not a ready line")  # noqa: T201  a user's function does that
    os.write(1, b"nor is this\n")
    return 42


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def wait_for(host: str, port: int) -> str:
    """Connect, say so, and wait until the other end lets go."""
    with socket.create_connection((host, port)) as connection:
        return connection.recv(100).decode()


class Group:
    """A namespace with functions in it."""

    @staticmethod
    def static(a: int) -> int:
        return a * 2

    def method(self, a: int) -> int:
        return a


class Caller:
    """An object that can be called."""

    def __call__(self, a: int) -> int:
        return a * 3


class AsyncCaller:
    """An object whose call has to be awaited."""

    async def __call__(self, a: int) -> int:
        return a * 5


caller = Caller()
async_caller = AsyncCaller()
number = 7
