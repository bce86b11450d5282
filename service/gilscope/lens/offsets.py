"""CPython's debug offsets: where, in a process's memory, its interpreters, their GILs and their threads are.

From 3.13 on ``_PyRuntime`` begins with them (``struct _Py_DebugOffsets``: ``Include/internal/pycore_runtime.h`` in
3.13, ``pycore_debug_offsets.h`` from 3.14), after the cookie ``xdebugpy``, the version and a flag for
free-threaded builds. Fields are 64-bit words; which ones there are differs from one minor version to the next. Pure.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

COOKIE = b"xdebugpy"
SIZE = 512
"""Bytes to read from the start of ``_PyRuntime``: more than the parts that are used here."""

_HEADER = struct.Struct("<8sQQ")
_RUNTIME = "size finalizing interpreters_head"
_INTERPRETER = "size id next threads_head gc imports_modules sysdict builtins"
_INTERPRETER_3_14 = "size id next threads_head threads_main gc imports_modules sysdict builtins"
_GIL = (
    "ceval_gil gil_runtime_state gil_runtime_state_enabled gil_runtime_state_locked gil_runtime_state_holder"
)
_GENERATIONS = "code_object_generation tlbc_generation"
_THREAD = "size prev next interp current_frame thread_id native_thread_id"
_THREAD_3_15 = (
    "size prev next interp current_frame base_frame last_profiled_frame last_profiled_frame_seq "
    "thread_id native_thread_id"
)

LAYOUTS = {
    (3, 13): (_RUNTIME, f"{_INTERPRETER} {_GIL}", _THREAD),
    (3, 14): (_RUNTIME, f"{_INTERPRETER_3_14} {_GIL} {_GENERATIONS}", _THREAD),
    (3, 15): (_RUNTIME, f"{_INTERPRETER_3_14} {_GIL} {_GENERATIONS}", _THREAD_3_15),
}
"""The fields of the first three sections (runtime, interpreter, thread), in order."""


@dataclass(frozen=True, slots=True)
class DebugOffsets:
    """Offsets in bytes. The last three of ``gil_*`` count from the start of a GIL.

    ``gil_enabled`` is None but for a free-threaded build, which can switch its GIL on.
    """

    interpreters_head: int
    interpreter_id: int
    interpreter_next: int
    interpreter_gil: int
    gil_enabled: int | None
    gil_locked: int
    gil_holder: int
    thread_native_id: int


def parse_offsets(head: bytes, version: tuple[int, int]) -> DebugOffsets | None:
    """Read the offsets from the first :data:`SIZE` bytes of ``_PyRuntime``.

    None where there are none (before 3.13), not all of them, or where this version's layout is not known here.
    """
    if version not in LAYOUTS or not head.startswith(COOKIE) or len(head) < SIZE:
        return None
    _cookie, _hexversion, free_threaded = _HEADER.unpack_from(head)
    runtime, interpreter, thread = _sections(head, LAYOUTS[version])
    gil = interpreter["gil_runtime_state"]
    return DebugOffsets(
        interpreters_head=runtime["interpreters_head"],
        interpreter_id=interpreter["id"],
        interpreter_next=interpreter["next"],
        interpreter_gil=interpreter["ceval_gil"],
        gil_enabled=interpreter["gil_runtime_state_enabled"] if free_threaded else None,
        gil_locked=interpreter["gil_runtime_state_locked"] - gil,
        gil_holder=interpreter["gil_runtime_state_holder"] - gil,
        thread_native_id=thread["native_thread_id"],
    )


def _sections(head: bytes, layout: tuple[str, ...]) -> list[dict[str, int]]:
    sections, at = [], _HEADER.size
    for fields in layout:
        names = fields.split()
        words = struct.unpack_from(f"<{len(names)}Q", head, at)
        sections.append(dict(zip(names, words, strict=True)))
        at += 8 * len(names)
    return sections
