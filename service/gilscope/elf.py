"""What an ELF file (an executable or a shared library) says of a symbol. Any architecture, stripped or not.

Only the *dynamic* symbol table is read: the loader needs it, so ``strip`` leaves it in place.
"""

from __future__ import annotations

import contextlib
import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.hash import GNUHashSection
from elftools.elf.sections import Symbol, SymbolTableSection

T = TypeVar("T")

_BROKEN = (ELFError, ValueError, LookupError, ArithmeticError, AttributeError, TypeError, struct.error)
"""What the parser raises for a file that is cut short, or that only begins like an ELF file."""


@dataclass(frozen=True, slots=True)
class Defined:
    """A symbol that a file defines.

    ``address`` is as the file has it; where ``relocatable``, the file may lie anywhere in memory, and the address
    counts from ``load_base``, the address of the file's first byte in its own numbering.
    """

    address: int
    size: int
    relocatable: bool
    load_base: int


def _remembering(read: Callable[[Path, str], T]) -> Callable[[Path, str], T]:
    """Remember answers by file and not by path: a process's files have another path in each process."""
    answers: dict[tuple[int, int, int, int, str], T] = {}

    @functools.wraps(read)
    def remembered(path: Path, name: str) -> T:
        file = path.stat()
        key = (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, name)
        if key not in answers:
            answers[key] = read(path, name)
        return answers[key]

    return remembered


@_remembering
def find_definition(path: Path, name: str) -> Defined | None:
    """Return where a file defines ``name``, or None where it does not, or is no ELF file, or a broken one.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file, contextlib.suppress(*_BROKEN):
        elf = ELFFile(file)
        symbol = _look_up(elf, name)
        first = next(elf.iter_segments("PT_LOAD"), None)
        if symbol and first and symbol["st_shndx"] != "SHN_UNDEF":
            base = first["p_vaddr"] - first["p_offset"]
            return Defined(symbol["st_value"], symbol["st_size"], elf["e_type"] == "ET_DYN", base)
    return None


@_remembering
def refers_to(path: Path, name: str) -> bool:
    """Whether a file uses ``name`` from another one, as an extension module uses Python's C API.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file, contextlib.suppress(*_BROKEN):
        return any(symbol["st_shndx"] == "SHN_UNDEF" for symbol in _scan(ELFFile(file), name))
    return False


def _look_up(elf: ELFFile, name: str) -> Symbol | None:
    """Find a symbol by its hash: a Python has ten thousand of them."""
    table = elf.get_section_by_name(".gnu.hash")
    if isinstance(table, GNUHashSection):
        return table.get_symbol(name)
    return next(iter(_scan(elf, name)), None)


def _scan(elf: ELFFile, name: str) -> list[Symbol]:
    table = elf.get_section_by_name(".dynsym")
    return (table.get_symbol_by_name(name) or []) if isinstance(table, SymbolTableSection) else []
