"""Processes for the lens to look at: real ones that do as they are told, and the memory of made-up ones."""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gilscope.child import Child
from gilscope.errors import LensError

ANSWER_S = 20.0

OBEDIENT = """
import json, os, subprocess, sys, threading, time

started = []

def begin(_):
    leave, numbers = threading.Event(), []
    thread = threading.Thread(target=lambda: (numbers.append(threading.get_native_id()), there.set(), leave.wait()))
    there = threading.Event()
    thread.start()
    there.wait()
    started.append((thread, leave))
    return numbers[0]

def end(_):
    thread, leave = started.pop()
    leave.set()
    thread.join()
    while os.path.exists(f"/proc/self/task/{thread.native_id}"):  # Python is done with it before the system is.
        time.sleep(0.001)

def python(code):
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    started.append(child)
    return child.pid

def kill(_):
    child = started.pop()
    child.kill()
    child.communicate()

def fork(_):
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        os.read(told, 1)
        code = "import sys; print(flush=True); sys.stdin.read()"
        os.execv(sys.executable, [sys.executable, "-c", code])
    started.append(tell)
    return pid

def become(_):
    os.write(started.pop(), b"!")

def evaluate(code):
    names = {}
    exec(code, names)
    return names["result"]

def replace(code):
    os.execv(sys.executable, [sys.executable, "-c", code])

print(json.dumps({"pid": os.getpid()}), flush=True)
for line in sys.stdin:
    (order, argument), = json.loads(line).items()
    print(json.dumps({"done": globals()[order](argument)}), flush=True)
os.killpg(0, 9)
"""


class Obedient:
    """A Python process that begins and ends threads and children as it is told."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.pid = child.pid

    def ask(self, order: str, argument: object = None) -> object:
        self.tell(order, argument)
        return self._child.receive(ANSWER_S)["done"]

    def number(self, order: str, argument: object = None) -> int:
        return int(str(self.ask(order, argument)))

    def tell(self, order: str, argument: object = None) -> None:
        self._child.send({order: argument})

    def end(self) -> None:
        self._child.stop(grace_s=0.0)


@contextmanager
def obedient(
    command: tuple[str, ...] = (sys.executable,), env: Mapping[str, str] | None = None
) -> Iterator[Obedient]:
    """Start one; it is ended with all its children."""
    with Child([*command, "-c", OBEDIENT], failure=LensError, env=env) as child:
        child.receive(ANSWER_S)
        yield Obedient(child)


class FakeMemory:
    """Memory of a process, as far as it was put there; elsewhere there is none."""

    def __init__(self) -> None:
        self._regions: dict[int, bytes] = {}
        self.ended = False
        self.reads = 0

    def put(self, address: int, data: bytes) -> None:
        self._regions[address] = data

    def put_words(self, address: int, *words: int) -> None:
        self.put(address, struct.pack(f"<{len(words)}Q", *words))

    def drop(self, address: int) -> None:
        del self._regions[address]

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        if self.ended:
            raise ProcessLookupError("the process has ended")
        for start, data in self._regions.items():
            if start <= address and address + size <= start + len(data):
                return data[address - start :][:size]
        raise OSError(errno.EIO, "no memory here", hex(address))
