"""Finding CPython's ``_PyRuntime`` in a process: without symbols of debug builds, and without stopping it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gilscope.elf import Defined, find_definition
from gilscope.errors import LensError
from gilscope.lens.memory import Memory, read_word
from gilscope.lens.offsets import SIZE, DebugOffsets, parse_offsets

_CARRIERS = re.compile(r"(?<!c)python", re.IGNORECASE)
"""Files that may define ``_PyRuntime``: an executable or library with Python in its name, and the executable itself.
Extension modules do not; they have CPython in their names (``_json.cpython-313-x86_64-linux-gnu.so``)."""

_MAPPING = re.compile(
    r"^(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<rights>\S+) (?P<offset>[0-9a-f]+) \S+ \d+ +(?P<path>/.*)$",
    re.MULTILINE,
)
"""A line of ``/proc/PID/maps`` that is about a file. Paths may hold anything; line feeds in them are escaped."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """The lowest mapping of a file into a process: ``start`` and ``end`` in memory, ``offset`` in the file, in bytes.

    ``path`` is as the reader sees it, and ends with `` (deleted)`` where the file has been deleted or replaced.
    """

    path: str
    start: int
    end: int
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
    """Read ``/proc/PID/maps``: each mapped file with its lowest mapping, those that are run before the others.

    A process may have mapped a file as data too, below: what turns addresses into names does that to libraries. The
    loader's mapping begins where offsets start over, and a part of it may be executed.
    """
    run: dict[str, Mapping] = {}
    others: dict[str, Mapping] = {}
    for line in _MAPPING.finditer(text):
        path, offset = line["path"], int(line["offset"], 16)
        if path in run:
            continue
        if path not in others or offset <= others[path].offset:
            others[path] = Mapping(path, int(line["start"], 16), int(line["end"], 16), offset)
        if "x" in line["rights"]:
            run[path] = others.pop(path)
    return run | others


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
    files = parse_maps(Path(f"/proc/{pid}/maps").read_bytes().decode(errors="surrogateescape"))
    _refuse_musl(files)
    unreadable = []
    for mapping, places in _carriers(files, pid):
        path = next((Path(place) for place in places if os.access(place, os.R_OK)), None)
        if path is None:
            unreadable.append(mapping.path)
        elif symbol := find_definition(path, "_PyRuntime"):
            version = _version(memory, mapping, find_definition(path, "Py_Version"))
            return _describe(memory, locate(mapping, symbol), symbol.size, version)
    if unreadable:
        raise LensError(
            f"process {pid} runs a file that cannot be read any longer: {unreadable[0]}",
            remedy="start it again, or look as root",
        )
    raise LensError(f"process {pid} is not a CPython process: nothing in it defines _PyRuntime")


def _carriers(files: dict[str, Mapping], pid: int) -> Iterator[tuple[Mapping, tuple[str, ...]]]:
    """Yield what may define ``_PyRuntime``, each with the places where it may be opened from here.

    A file may lie in another mount namespace (a container), or below another root in ours; a deleted one is still
    there for those who may do anything, and an executable for everybody.
    """
    proc = f"/proc/{pid}"
    executable = os.readlink(f"{proc}/exe").replace("\n", "\\012")  # noqa: PTH115  as text, as it stands in maps
    for path, mapping in files.items():
        if path == executable:
            yield mapping, (f"{proc}/exe",)
        elif _CARRIERS.search(path.rpartition("/")[2]):
            yield mapping, (f"{proc}/root{path}", path, f"{proc}/map_files/{mapping.start:x}-{mapping.end:x}")


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
