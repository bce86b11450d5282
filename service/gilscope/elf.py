"""What an ELF file (an executable or a shared library) says of a symbol. Any architecture, stripped or not.

Only the *dynamic* symbol table is read: the loader needs it, so ``strip`` leaves it in place.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection


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


@functools.lru_cache(maxsize=256)
def find_definition(path: Path, name: str) -> Defined | None:
    """Return where a file defines ``name``, or None where it does not, or is no ELF file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        found = _find(file, name, defined=True)
        if found is None:
            return None
        elf = ELFFile(file)
        first = next(segment for segment in elf.iter_segments("PT_LOAD"))
        base = first["p_vaddr"] - first["p_offset"]
        entry = found.entry
        return Defined(entry["st_value"], entry["st_size"], elf["e_type"] == "ET_DYN", base)


@functools.lru_cache(maxsize=1024)
def refers_to(path: Path, name: str) -> bool:
    """Whether a file uses ``name`` from another one, as an extension module uses Python's C API.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return _find(file, name, defined=False) is not None


def _find(file: BinaryIO, name: str, *, defined: bool) -> Symbol | None:
    try:
        table = ELFFile(file).get_section_by_name(".dynsym")
    except ELFError:
        return None
    if not isinstance(table, SymbolTableSection):
        return None
    for symbol in table.get_symbol_by_name(name) or ():
        if (symbol["st_shndx"] != "SHN_UNDEF") is defined:
            return symbol
    return None
