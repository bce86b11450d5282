from __future__ import annotations

import os
import struct
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psutil import _psutil_linux

from gilscope.elf import Defined, find_definition, refers_to

X86_64, AARCH64 = 62, 183
EXECUTABLE, SHARED = 2, 3
BASE = 0x40_0000

SYMBOLS = (("_PyRuntime", 1, 0x40_2000, 4_096), ("PyEval_SaveThread", 0, 0, 0))
"""Name, section (0: it is another file's), address, size in bytes."""


def tiny_elf(machine: int = AARCH64, kind: int = SHARED, *, loaded: bool = True, base: int = BASE) -> bytes:
    """Make a file of a header, one segment and the sections of dynamic symbols, by the ELF-64 specification."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in SYMBOLS)
    symbols = bytes(24)
    for name, section, address, size in SYMBOLS:
        symbols += struct.pack(
            "<IBBHQQ", names.index(name.encode()), 0x11, 0, 7 if section else 0, address, size
        )
    titles = b"\0.dynsym\0.dynstr\0.shstrtab\0"
    program = struct.pack("<IIQQQQQQ", 1 if loaded else 4, 5, 0, base, base, 0x1000, 0x1000, 0x1000)
    at = 64 + len(program)
    parts = [symbols, names, titles]
    starts = [at, at + len(symbols), at + len(symbols) + len(names)]
    table = starts[-1] + len(titles)
    sections = bytes(64) + b"".join(
        struct.pack(
            "<IIQQQQIIQQ", titles.index(title), type_, 0, 0, start, len(part), link, 1, 1, 24 * (type_ == 11)
        )
        for title, type_, start, part, link in [
            (b".dynsym", 11, starts[0], parts[0], 2),
            (b".dynstr", 3, starts[1], parts[1], 0),
            (b".shstrtab", 3, starts[2], parts[2], 0),
        ]
    )
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, 0, 64, table, 0, 64, len(program), 1, 64, 4, 3
    )
    return header + program + b"".join(parts) + sections


def carrier() -> Path:
    """The file at hand that defines the runtime: the shared library where there is one, else the executable."""
    folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    library = Path(str(folder)) / str(name)
    return library if library.suffix != ".a" and library.is_file() else Path(sys.executable).resolve()


def extension() -> Path:
    """A shared library that uses Python's C API."""
    return Path(str(_psutil_linux.__file__))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.so"


@pytest.mark.parametrize("machine", [X86_64, AARCH64])
@pytest.mark.parametrize(("kind", "relocatable"), [(EXECUTABLE, False), (SHARED, True)])
def test_a_symbol_is_found_without_a_hash_table(
    file: Path,
    machine: int,
    kind: int,
    relocatable: bool,  # noqa: FBT001
) -> None:
    file.write_bytes(tiny_elf(machine, kind))
    assert find_definition(file, "_PyRuntime") == Defined(0x40_2000, 4_096, relocatable, BASE)
    assert find_definition(file, "PyEval_SaveThread") is None
    assert find_definition(file, "Py_Version") is None


def test_only_what_another_file_defines_is_referred_to(file: Path) -> None:
    file.write_bytes(tiny_elf())
    assert refers_to(file, "PyEval_SaveThread")
    assert not refers_to(file, "_PyRuntime")
    assert not refers_to(file, "Py_Version")


def test_what_is_not_loaded_defines_nothing(file: Path) -> None:
    file.write_bytes(tiny_elf(loaded=False))
    assert find_definition(file, "_PyRuntime") is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\x7f", b"\x7fELF", b"\x7fELF\2\1\1" + bytes(57), b"#!/bin/sh\n", b"\x7fELF" + b"\xff" * 80],
)
def test_what_is_no_elf_file_defines_nothing(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    assert find_definition(file, "_PyRuntime") is None
    assert not refers_to(file, "PyEval_SaveThread")


def quietly(file: Path) -> None:
    """Ask for symbols: the only error may be the system's, such as one for a place that no file has."""
    for ask in (find_definition, refers_to):
        try:
            ask(file, "_PyRuntime")
        except OSError:
            continue


def test_a_file_cut_short_anywhere_is_no_error(file: Path) -> None:
    whole = tiny_elf()
    for end in range(0, len(whole), 7):
        file.write_bytes(whole[:end])
        quietly(file)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(tiny_elf()) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_broken_file_is_no_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(tiny_elf())
    for place, value in changes:
        data[place] = value
    file = tmp_path_factory.getbasetemp() / "broken.so"
    file.write_bytes(data)
    # The same name at the same instant with the same length would be taken for the file before it.
    os.utime(file, ns=(0, abs(hash(tuple(changes))) % 2**40))
    quietly(file)


def test_a_real_library_that_is_cut_short_is_no_error(file: Path) -> None:
    whole = extension().read_bytes()
    for end in (100, 1_000, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:end])
        quietly(file)


def test_a_file_that_is_not_there_is_an_error(file: Path) -> None:
    for ask in (find_definition, refers_to):
        with pytest.raises(FileNotFoundError):
            ask(file, "_PyRuntime")


def test_the_real_runtime_is_found_by_its_hash() -> None:
    runtime = find_definition(carrier(), "_PyRuntime")
    version = find_definition(carrier(), "Py_Version")
    assert runtime is not None
    assert version is not None
    assert runtime.size > 100_000
    assert version.size == 8
    assert runtime.load_base == version.load_base
    assert find_definition(carrier(), "no_such_symbol") is None
    assert not refers_to(carrier(), "_PyRuntime")


def test_a_real_extension_module_uses_what_it_does_not_define() -> None:
    assert find_definition(extension(), "PyInit__psutil_linux") is not None
    assert find_definition(extension(), "PyArg_ParseTuple") is None
    assert refers_to(extension(), "PyArg_ParseTuple")
    assert not refers_to(extension(), "PyInit__psutil_linux")


def test_answers_are_remembered_until_the_file_changes(file: Path) -> None:
    file.write_bytes(tiny_elf(base=0))
    os.utime(file, ns=(0, 1))
    link = file.with_name("other.so")
    link.symlink_to(file)
    first = find_definition(file, "_PyRuntime")
    assert find_definition(link, "_PyRuntime") is first
    file.write_bytes(tiny_elf(base=0x1000))
    os.utime(file, ns=(0, 1))
    assert find_definition(file, "_PyRuntime") is first
    os.utime(file, ns=(0, 2))
    changed = find_definition(file, "_PyRuntime")
    assert changed is not None
    assert changed.load_base == 0x1000
