"""The GILs of a process: what a thread that waits for one waits at, and who holds one."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

from gilscope.lens.memory import Memory, read_int, read_word
from gilscope.lens.offsets import DebugOffsets
from gilscope.lens.runtime import Runtime

GIL_SIZE = 232
"""Bytes of ``struct _gil_runtime_state`` at most: five words, and two each of glibc's condition variables (48 bytes) and
mutexes (40; 48 on aarch64). It is 208 to 232; what follows it in an interpreter's state is waited at by nobody."""

MAX_INTERPRETERS = 4_096
"""A list longer than this is not one: it was read while it changed."""


class Gils:
    """All GILs of one process. The main interpreter's lies inside ``_PyRuntime``, a subinterpreter's on the heap.

    Subinterpreters are only seen from 3.13 on, through the debug offsets; so are holders.
    """

    def __init__(self, memory: Memory, runtime: Runtime) -> None:
        self._memory = memory
        self._runtime = runtime
        self._spans = [(runtime.address, runtime.address + runtime.size)]
        self._gils: list[int] = []
        self._threads: dict[int, int] = {}
        self.refresh()

    @property
    def tells_holders(self) -> bool:
        """Whether this Python says who holds a GIL."""
        return self._runtime.offsets is not None

    @property
    def are_off(self) -> bool:
        """Whether there are none: a free-threaded Python."""
        offsets = self._runtime.offsets  # One that has only just begun has no GIL yet.
        return offsets is not None and offsets.gil_enabled is not None and not self._gils

    def refresh(self) -> None:
        """Look for interpreters again, and forget which thread has which state: both come and go.

        Raises:
            OSError: the process has ended, or runs another program (its memory is another, and this one is gone).
        """
        self.forget_threads()
        read_word(self._memory, self._runtime.address)
        if self._runtime.offsets is None:
            return
        # An interpreter that ends meanwhile takes its memory with it: then those that are known must do for now.
        with contextlib.suppress(OSError):
            self._gils = list(dict.fromkeys(self._walk(self._runtime.offsets)))
            self._spans[1:] = [(gil, gil + GIL_SIZE) for gil in self._gils]

    def forget_threads(self) -> None:
        """Forget which thread has which state: the memory of states is used again soon."""
        self._threads.clear()

    def _walk(self, offsets: DebugOffsets) -> Iterator[int]:
        """Yield the GIL of each interpreter; several may share the main interpreter's."""
        interpreter = read_word(self._memory, self._runtime.address + offsets.interpreters_head)
        for _ in range(MAX_INTERPRETERS):
            if not interpreter:
                return
            gil = read_word(self._memory, interpreter + offsets.interpreter_gil)
            if gil and self._in_use(gil, offsets):
                yield gil
            interpreter = read_word(self._memory, interpreter + offsets.interpreter_next)

    def _in_use(self, gil: int, offsets: DebugOffsets) -> bool:
        """Whether a GIL is one: a free-threaded build has it switched off, as a rule."""
        return offsets.gil_enabled is None or read_int(self._memory, gil + offsets.gil_enabled) != 0

    def is_waited_at(self, address: int) -> bool:
        """Whether a thread that sleeps in a futex at this address waits for a GIL."""
        return not self.are_off and any(start <= address < end for start, end in self._spans)

    def holders(self) -> list[int]:
        """Return the ids of the threads that hold a GIL at this moment, one per GIL that is held.

        Raises:
            OSError: the process has ended, or an interpreter has: refresh.
        """
        offsets = self._runtime.offsets
        return [] if offsets is None else [tid for gil in self._gils if (tid := self._holder(gil, offsets))]

    def _holder(self, gil: int, offsets: DebugOffsets) -> int:
        # One read for both, so that they belong together: the holder stands right before "locked".
        first, size = offsets.gil_holder, offsets.gil_locked - offsets.gil_holder
        head = self._memory.read(gil + first, size + 4)
        state, locked = struct.unpack(f"<Q{size - 8}xi", head)
        return self._thread_of(state, offsets) if locked == 1 and state else 0

    def _thread_of(self, state: int, offsets: DebugOffsets) -> int:
        """Return the id of the thread with this thread state."""
        tid = self._threads.get(state)
        if tid is None:
            tid = self._threads[state] = read_word(self._memory, state + offsets.thread_native_id)
        return tid
