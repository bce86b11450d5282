"""Finding CPython's ``_PyRuntime`` in a process: without symbols of debug builds, and without stopping it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gilscope.elf import Defined, find_definition
from gilscope.errors import LensError
from gilscope.lens.memory import Memory, read_word
from gilscope.lens.offsets import SIZE, DebugOffsets, parse_offsets

OLDEST = (3, 11)
_CARRIERS = re.compile(r"(lib)?python", re.IGNORECASE)
"""Files that may define ``_PyRuntime``: an executable or library with Python in its name, and the executable itself."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """The lowest mapping of a file into a process: ``start`` in memory, ``offset`` in the file, both in bytes."""

    path: str
    start: int
    offset: int


@dataclass(frozen=True, slots=True)
class Runtime:
    """``_PyRuntime`` of a running process: ``size`` bytes from ``address`` on.

    ``offsets`` is None where they are not known: before 3.13, or for a version newer than this gilscope.
    """

    python: str
    address: int
    size: int
    offsets: DebugOffsets | None


def parse_maps(text: str) -> dict[str, Mapping]:
    """Read ``/proc/PID/maps``: each mapped file with its lowest mapping."""
    files: dict[str, Mapping] = {}
    for line in text.splitlines():
        addresses, _rights, offset, _device, _inode, *path = line.split(maxsplit=5)
        if path and path[0].startswith("/") and path[0] not in files:
            start = int(addresses.partition("-")[0], 16)
            files[path[0]] = Mapping(path[0], start, int(offset, 16))
    return files


def locate(mapping: Mapping, symbol: Defined) -> int:
    """Return the address in memory of a symbol of a mapped file."""
    if not symbol.relocatable:
        return symbol.address
    return mapping.start - mapping.offset - symbol.load_base + symbol.address


def find_runtime(pid: int, memory: Memory) -> Runtime:
    """Find ``_PyRuntime``.

    Raises:
        LensError: there is none, or one that cannot be understood.
        OSError: the process has ended, or may not be read.
    """
    files = parse_maps(Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape"))
    _refuse_musl(files)
    for mapping in _carriers(files, str(Path(f"/proc/{pid}/exe").readlink())):
        path = _openable(pid, mapping.path)
        symbol = find_definition(path, "_PyRuntime")
        if symbol is not None:
            version = _version(memory, mapping, find_definition(path, "Py_Version"))
            return _describe(memory, locate(mapping, symbol), symbol.size, version)
    raise LensError(f"process {pid} is not a CPython process: nothing in it defines _PyRuntime")


def _carriers(files: dict[str, Mapping], executable: str) -> Iterator[Mapping]:
    for path, mapping in files.items():
        if path == executable or _CARRIERS.search(path.rpartition("/")[2]):
            yield mapping


def _openable(pid: int, path: str) -> Path:
    """Return where a mapped file can be opened from here: it may lie in another mount namespace (a container)."""
    return Path(f"/proc/{pid}/root{path}")


def _refuse_musl(paths: Iterable[str]) -> None:
    if any("/ld-musl-" in path for path in paths):
        raise LensError(
            "the process runs on musl, whose condition variables wait at an address on the thread's own stack, "
            "so that waiting for the GIL cannot be told from other waiting",
            remedy="a Python built for glibc (most images that are not Alpine)",
        )


def _version(memory: Memory, mapping: Mapping, symbol: Defined | None) -> int:
    """Read ``Py_Version``, which CPython exports from 3.11 on, as ``PY_VERSION_HEX``."""
    if symbol is None:
        raise LensError("the process runs a Python older than 3.11", remedy="Python 3.11 or newer")
    return read_word(memory, locate(mapping, symbol))


def _describe(memory: Memory, address: int, size: int, hexversion: int) -> Runtime:
    major, minor, micro = hexversion >> 24 & 0xFF, hexversion >> 16 & 0xFF, hexversion >> 8 & 0xFF
    offsets = parse_offsets(memory.read(address, SIZE), (major, minor))
    return Runtime(f"{major}.{minor}.{micro}", address, size, offsets)
