from __future__ import annotations

import struct

import pytest

from gilscope.lens.offsets import SIZE, DebugOffsets, parse_offsets

# Values of real builds on x86-64, section by section, as _PyRuntime begins with them. The first two words of each
# section's size are not needed; what is needed is named in the tests.
RUNTIME = [283_320, 720, 744]
INTERPRETER_3_13 = [226_448, 7_272, 7_264, 7_280, 7_512, 7_624, 7_664, 7_672, 8, 7_776, 0, 7_792, 7_784]
INTERPRETER_3_14 = [
    *(300_000, 7_280, 7_272, 7_288, 7_296, 7_512, 7_624, 7_664, 7_672, 8, 7_776, 0, 7_792, 7_784),
    *(90_000, 90_008),
]
THREAD = [312, 0, 8, 16, 72, 152, 160, 248, 36]
THREAD_3_15 = [400, 0, 8, 16, 72, 80, 88, 96, 168, 176, 256, 36]


def head_of(version: tuple[int, int], *sections: list[int], free_threaded: int = 0) -> bytes:
    hexversion = version[0] << 24 | version[1] << 16 | 0x02F0
    words = [hexversion, free_threaded, *(word for section in sections for word in section)]
    return (b"xdebugpy" + struct.pack(f"<{len(words)}Q", *words)).ljust(SIZE, b"\7")


HEADS = {
    (3, 13): head_of((3, 13), RUNTIME, INTERPRETER_3_13, THREAD),
    (3, 14): head_of((3, 14), RUNTIME, INTERPRETER_3_14, THREAD),
    (3, 15): head_of((3, 15), RUNTIME, INTERPRETER_3_14, THREAD_3_15),
}


@pytest.mark.parametrize(
    ("version", "number", "following", "native"),
    [((3, 13), 7_272, 7_264, 160), ((3, 14), 7_280, 7_272, 160), ((3, 15), 7_280, 7_272, 176)],
)
def test_offsets_are_read_as_each_version_lays_them_out(
    version: tuple[int, int], number: int, following: int, native: int
) -> None:
    assert parse_offsets(HEADS[version], version) == DebugOffsets(
        interpreters_head=744,
        interpreter_id=number,
        interpreter_next=following,
        interpreter_gil=8,
        gil_enabled=None,
        gil_locked=16,
        gil_holder=8,
        thread_native_id=native,
    )


def test_a_free_threaded_build_says_where_its_switch_is() -> None:
    # There "enabled" comes first in the struct, and moves the others by a word; its own offset counts from there.
    interpreter = [*INTERPRETER_3_13[:-2], 7_800, 7_792]
    offsets = parse_offsets(head_of((3, 13), RUNTIME, interpreter, THREAD, free_threaded=1), (3, 13))
    assert offsets is not None
    assert (offsets.gil_enabled, offsets.gil_holder, offsets.gil_locked) == (0, 16, 24)


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 16), (4, 13)])
def test_a_version_whose_layout_is_not_known_has_none(version: tuple[int, int]) -> None:
    assert parse_offsets(HEADS[3, 15], version) is None


@pytest.mark.parametrize("head", [b"", b"xdebugpy", HEADS[3, 13][: SIZE - 1]])
def test_a_head_that_is_cut_short_has_none(head: bytes) -> None:
    assert parse_offsets(head, (3, 13)) is None


def test_without_the_cookie_there_are_none() -> None:
    assert parse_offsets(b"xdebugpX" + HEADS[3, 13][8:], (3, 13)) is None
    assert parse_offsets(bytes(SIZE), (3, 13)) is None
