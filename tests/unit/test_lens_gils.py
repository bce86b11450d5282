from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from watched import FakeMemory

from gilscope.lens import gils
from gilscope.lens.gils import GIL_SIZE, Gils
from gilscope.lens.memory import ProcessMemory, read_int, read_word
from gilscope.lens.offsets import SIZE, DebugOffsets
from gilscope.lens.runtime import Runtime

RUNTIME, RUNTIME_SIZE = 0x10_0000, 0x1000
HEAD, NEXT, GIL, NATIVE = 0x20, 0x10, 0x18, 0x30
OWN, OTHER = 0x40_0000, 0x50_0000
MAIN_GIL = RUNTIME + 0x100
OFFSETS = DebugOffsets(HEAD, 8, NEXT, GIL, None, 16, 8, NATIVE)
FREE_THREADED = DebugOffsets(HEAD, 8, NEXT, GIL, 0, 24, 16, NATIVE)


class World:
    """A process with interpreters, GILs and thread states, all made up."""

    def __init__(self, offsets: DebugOffsets | None = OFFSETS) -> None:
        self.memory = FakeMemory()
        self.offsets = offsets
        self.chain([])

    def chain(self, interpreters: Sequence[int]) -> None:
        """Link interpreters, given by address; the last one's next is none."""
        ends = [*interpreters, 0]
        self.head(ends[0])
        for interpreter, following in pairwise(ends):
            self.interpreter(interpreter, following)

    def head(self, first: int) -> None:
        self.memory.put_words(RUNTIME, 0, 0, 0, 0, first)

    def interpreter(self, address: int, following: int, gil: int | None = None) -> None:
        self.memory.put_words(address, 0, 1, following, address + 0x1000 if gil is None else gil)

    def gil(self, address: int, locked: int = 0, holder: int = 0) -> None:
        """Put a GIL of an ordinary build somewhere."""
        self.memory.put(address, struct.pack("<QQiiQ", 5_000, holder, locked, 0, 7))

    def thread(self, state: int, tid: int) -> None:
        self.memory.put(state, bytes(NATIVE) + struct.pack("<Q", tid))

    def gils(self) -> Gils:
        return Gils(self.memory, Runtime("3.13.1", RUNTIME, RUNTIME_SIZE, self.offsets))


def test_the_whole_runtime_is_waited_at_where_nothing_more_is_known() -> None:
    found = World(offsets=None).gils()
    assert not found.tells_holders
    assert not found.are_off
    assert found.holders() == []
    waited = [
        address for address in range(RUNTIME - 4, RUNTIME + RUNTIME_SIZE + 4) if found.is_waited_at(address)
    ]
    assert waited == list(range(RUNTIME, RUNTIME + RUNTIME_SIZE))


def test_each_interpreter_may_have_a_gil_of_its_own() -> None:
    world = World()
    world.chain([OTHER, OWN])
    found = world.gils()
    assert found.tells_holders
    for gil in (OWN + 0x1000, OTHER + 0x1000):
        assert not found.is_waited_at(gil - 1)
        assert found.is_waited_at(gil)
        assert found.is_waited_at(gil + GIL_SIZE - 1)
        assert not found.is_waited_at(gil + GIL_SIZE)
    assert found.is_waited_at(RUNTIME)


def test_a_process_that_has_only_just_begun_has_no_interpreter_yet() -> None:
    found = World().gils()
    assert not found.are_off
    assert found.is_waited_at(RUNTIME)
    assert found.holders() == []


def test_a_gil_that_interpreters_share_is_one() -> None:
    world = World()
    world.head(OTHER)
    world.interpreter(OTHER, OWN, MAIN_GIL)
    world.interpreter(OWN, 0, MAIN_GIL)
    world.gil(MAIN_GIL, locked=1, holder=0x9000)
    world.thread(0x9000, 77)
    assert world.gils().holders() == [77]


def test_an_interpreter_that_has_no_gil_yet_is_passed_over() -> None:
    world = World()
    world.head(OTHER)
    world.interpreter(OTHER, OWN, 0)
    world.interpreter(OWN, 0, MAIN_GIL)
    world.gil(MAIN_GIL, locked=1, holder=0x9000)
    world.thread(0x9000, 77)
    found = world.gils()
    assert not found.is_waited_at(0)
    assert found.holders() == [77]


@pytest.mark.parametrize(
    ("locked", "holder", "holds"), [(1, 0x9000, [77]), (0, 0x9000, []), (-1, 0x9000, []), (1, 0, [])]
)
def test_the_last_holder_holds_only_while_it_is_locked(locked: int, holder: int, holds: list[int]) -> None:
    world = World()
    world.chain([OWN])
    world.gil(OWN + 0x1000, locked, holder)
    world.thread(0x9000, 77)
    assert world.gils().holders() == holds


def test_each_gil_has_a_holder_of_its_own() -> None:
    world = World()
    world.chain([OTHER, OWN])
    for address, state, tid in ((OWN, 0x9000, 77), (OTHER, 0x9100, 78)):
        world.gil(address + 0x1000, 1, state)
        world.thread(state, tid)
    assert world.gils().holders() == [78, 77]


@pytest.mark.parametrize(("enabled", "off"), [(0, True), (1, False), (2**31 - 1, False)])
def test_a_free_threaded_build_may_have_its_gil_switched_on(enabled: int, off: bool) -> None:  # noqa: FBT001
    world = World(FREE_THREADED)
    world.chain([OWN])
    world.memory.put(OWN + 0x1000, struct.pack("<iiQQi", enabled, 0, 5_000, 0x9000, 1))
    world.thread(0x9000, 77)
    found = world.gils()
    assert found.are_off is off
    assert found.is_waited_at(OWN + 0x1000) is not off
    assert found.holders() == ([] if off else [77])


def test_a_list_that_goes_round_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gils, "MAX_INTERPRETERS", 10)
    world = World()
    world.chain([OTHER, OWN])
    world.interpreter(OWN, OTHER)
    found = world.gils()
    assert world.memory.reads == 1 + 1 + 2 * 10
    assert found.is_waited_at(OWN + 0x1000)
    assert found.is_waited_at(OTHER + 0x1000)


def test_a_state_is_asked_for_its_thread_once_until_threads_come_or_go() -> None:
    world = World()
    world.chain([OWN])
    world.gil(OWN + 0x1000, 1, 0x9000)
    world.thread(0x9000, 77)
    found = world.gils()
    assert found.holders() == found.holders() == [77]
    world.thread(0x9000, 78)
    before = world.memory.reads
    assert found.holders() == [77]
    assert world.memory.reads == before + 1
    found.forget_threads()
    assert found.holders() == [78]
    world.thread(0x9000, 79)
    found.refresh()
    assert found.holders() == [79]


def test_interpreters_come_and_go() -> None:
    world = World()
    world.chain([OWN])
    found = world.gils()
    world.chain([OTHER, OWN])
    assert not found.is_waited_at(OTHER + 0x1000)
    found.refresh()
    assert found.is_waited_at(OTHER + 0x1000)
    world.chain([OWN])
    found.refresh()
    assert not found.is_waited_at(OTHER + 0x1000)
    assert found.is_waited_at(OWN + 0x1000)


def test_an_interpreter_that_ends_during_the_walk_leaves_what_is_known() -> None:
    world = World()
    world.chain([OTHER, OWN])
    found = world.gils()
    world.memory.drop(OTHER)
    found.refresh()
    assert found.is_waited_at(OWN + 0x1000)
    with pytest.raises(OSError, match="no memory"):
        found.holders()


def test_a_process_that_has_ended_is_not_refreshed() -> None:
    for offsets in (OFFSETS, None):
        world = World(offsets)
        found = world.gils()
        world.memory.ended = True
        with pytest.raises(ProcessLookupError):
            found.refresh()


def test_the_struct_is_as_long_as_glibc_makes_it() -> None:
    words, condition = 5 * 8, 48
    assert [words - 8 + 2 * (condition + mutex) for mutex in (40, 48)] == [208, 224]
    assert words + 2 * (condition + 48) == GIL_SIZE


def test_own_memory_is_read_and_missing_memory_is_an_error() -> None:
    with ProcessMemory(os.getpid()) as memory:
        start = int(Path("/proc/self/maps").read_text(encoding="utf-8").partition("-")[0], 16)
        assert len(memory.read(start, SIZE)) == SIZE
        assert read_word(memory, start) == struct.unpack("<Q", memory.read(start, 8))[0]
        assert read_int(memory, start) == struct.unpack("<i", memory.read(start, 4))[0]
        # A pattern that freed memory is filled with is no pointer, and neither is one that is too low.
        for address in (0, 8, 0xDDDD_DDDD_DDDD_DDDD, 2**64 - 8, -8):
            with pytest.raises(OSError, match=r"."):
                memory.read(address, 8)
