from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from watched import FakeMemory, Obedient, obedient

from gilscope.elf import Defined
from gilscope.errors import LensError
from gilscope.lens import runtime
from gilscope.lens.memory import ProcessMemory
from gilscope.lens.offsets import SIZE
from gilscope.lens.runtime import Mapping, Runtime, find_runtime, locate, parse_maps

MAPS = """\
55cff5b51000-55cff5b52000 r--p 00000000 fe:00 1181                       /opt/my app/python3.13
55cff5b52000-55cff5b53000 r-xp 00001000 fe:00 1181                       /opt/my app/python3.13
55d029b08000-55d029b82000 rw-p 00000000 00:00 0                          [heap]
7f7d59c00000-7f7d5a000000 r--p 00000000 fe:00 2094                       /usr/lib/locale/locale-archive
7f7d5a000000-7f7d5a086000 r--p 00001000 fe:00 9587                       /usr/lib/libpython3.13.so.1.0 (deleted)
7f7d5a086000-7f7d5a332000 r-xp 00086000 fe:00 9587                       /usr/lib/libpython3.13.so.1.0 (deleted)
7f7d5a500000-7f7d5a501000 rw-p 00000000 00:00 0
7f7d5a600000-7f7d5a601000 rw-s 00000000 00:01 1033                       /memfd:gilscope-worker-7 (deleted)
7ffe7d4f0000-7ffe7d512000 rw-p 00000000 00:00 0                          [stack]
7ffe7d5a9000-7ffe7d5ab000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""

ADDRESS = """
import ctypes
result = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
"""
"""What a process itself knows of where its runtime is."""

MAP_AS_DATA = """
import builtins, mmap
names = {line.split(maxsplit=5)[-1].strip() for line in open("/proc/self/maps")}
builtins.kept = []
for name in sorted(names):
    if "python" in name.rpartition("/")[2] and name.startswith("/"):
        with open(name, "rb") as file:
            builtins.kept.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
result = len(builtins.kept)
"""


@pytest.fixture
def process() -> Iterator[Obedient]:
    with obedient() as started:
        yield started


def found(pid: int) -> Runtime:
    with ProcessMemory(pid) as memory:
        return find_runtime(pid, memory)


def test_each_mapped_file_has_its_lowest_mapping_and_code_comes_first() -> None:
    assert list(parse_maps(MAPS).values()) == [
        Mapping("/opt/my app/python3.13", 0x55CFF5B51000, 0x55CFF5B52000, 0),
        Mapping("/usr/lib/libpython3.13.so.1.0 (deleted)", 0x7F7D5A000000, 0x7F7D5A086000, 0x1000),
        Mapping("/usr/lib/locale/locale-archive", 0x7F7D59C00000, 0x7F7D5A000000, 0),
        Mapping("/memfd:gilscope-worker-7 (deleted)", 0x7F7D5A600000, 0x7F7D5A601000, 0),
    ]


@pytest.mark.parametrize("text", ["", "\n", "7f00-7f01 rw-p 00000000 00:00 0 \n"])
def test_without_files_there_are_none(text: str) -> None:
    assert parse_maps(text) == {}


@pytest.mark.parametrize(
    "path", ["/tmp/a\r\u2028\x0b\x85b", "/  two  blanks ", "/[heap]", "/a\\012b", "/\udcff"]
)
def test_paths_may_hold_anything(path: str) -> None:
    text = f"1000-2000 r-xp 00000000 fe:00 7                       {path}\n2000-3000 rw-p 0 00:00 0 \n"
    assert parse_maps(text) == {path: Mapping(path, 0x1000, 0x2000, 0)}


def test_a_file_mapped_as_data_too_is_where_it_is_run() -> None:
    text = "".join(
        f"{start:x}-{start + 0x1000:x} {rights} {offset:08x} fe:00 7   /lib/libpython3.13.so\n"
        for start, rights, offset in [
            (0x10000, "r--s", 0),
            (0x18000, "r--p", 0x5000),
            (0x20000, "r--p", 0),
            (0x21000, "r-xp", 0x1000),
            (0x22000, "rw-p", 0x2000),
            (0x30000, "r--s", 0),
        ]
    )
    assert [(mapping.start, mapping.offset) for mapping in parse_maps(text).values()] == [(0x20000, 0)]


def test_an_executable_at_a_fixed_address_is_where_it_says() -> None:
    fixed = Defined(0x9A_0000, 8, relocatable=False, load_base=0x40_0000)
    assert locate(Mapping("/bin/python", 0x40_0000, 0x40_1000, 0), fixed) == 0x9A_0000


@pytest.mark.parametrize(
    ("start", "offset", "base", "address"),
    [
        (0x7F0000000000, 0, 0, 0x7F00009A0000),
        # Its first segment does not begin where the file does, or not at nought.
        (0x7F0000001000, 0x1000, 0, 0x7F00009A0000),
        (0x7F0000010000, 0, 0x10000, 0x7F00009A0000),
        (0x7F0000011000, 0x1000, 0x10000, 0x7F00009A0000),
    ],
)
def test_what_may_lie_anywhere_counts_from_where_it_lies(
    start: int, offset: int, base: int, address: int
) -> None:
    moved = Defined(0x9A_0000, 8, relocatable=True, load_base=base)
    assert locate(Mapping("/lib/libpython3.so", start, start + 0x1000, offset), moved) == address


def test_own_runtime_is_found() -> None:
    names: dict[str, int] = {}
    exec(ADDRESS, names)
    own = found(os.getpid())
    assert own.address == names["result"]
    assert own.python == platform.python_version().rstrip("+abc")
    assert own.size > SIZE
    assert (own.offsets is not None) is (sys.version_info >= (3, 13))


@pytest.mark.integration
def test_the_runtime_of_a_child_is_found_also_when_its_files_are_mapped_twice(process: Obedient) -> None:
    address = process.ask("evaluate", ADDRESS)
    assert found(process.pid).address == address
    assert process.number("evaluate", MAP_AS_DATA) > 0
    assert found(process.pid).address == address


def copied(folder: Path, name: str) -> Path:
    """Copy the executable that runs this, without its virtual environment, to another name."""
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    return Path(shutil.copy(base, folder / name))


@pytest.mark.integration
@pytest.mark.parametrize("name", ["python3", "my app (v1)\n\r\u2028.bin"])
def test_an_executable_may_have_any_name_and_be_deleted_or_replaced(tmp_path: Path, name: str) -> None:
    executable = copied(tmp_path, name)
    env = {"PYTHONHOME": sys.base_prefix, "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
    with obedient((str(executable),), env) as running:
        address = running.ask("evaluate", ADDRESS)
        assert found(running.pid).address == address
        executable.unlink()
        assert found(running.pid).address == address
        executable.write_bytes(b"something else")
        assert found(running.pid).address == address


@pytest.mark.integration
def test_a_process_that_runs_something_else_is_refused() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with pytest.raises(LensError, match=rf"process {process.pid} is not a CPython process"):
                found(process.pid)
        finally:
            process.kill()


def mapped(monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
    """Have every process map these files."""
    files = {path: Mapping(path, 0x1000 * n, 0x1000 * n + 0x1000, 0) for n, path in enumerate(paths, 1)}
    monkeypatch.setattr(runtime, "parse_maps", lambda _text: files)


def test_musl_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mapped(monkeypatch, "/usr/bin/python3.13", "/lib/ld-musl-x86_64.so.1")
    with pytest.raises(LensError, match="runs on musl") as caught:
        find_runtime(os.getpid(), FakeMemory())
    assert "glibc" in str(caught.value.remedy)


def test_a_python_older_than_3_11_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = {"_PyRuntime": Defined(0x100, 8, relocatable=True, load_base=0)}
    mapped(monkeypatch, sys.executable)
    monkeypatch.setattr(runtime, "find_definition", lambda _path, name: symbols.get(name))
    monkeypatch.setattr(os, "readlink", lambda _path: sys.executable)
    with pytest.raises(LensError, match=r"older than 3\.11") as caught:
        find_runtime(os.getpid(), FakeMemory())
    assert caught.value.remedy == "Python 3.11 or newer"


@pytest.mark.parametrize(
    ("hexversion", "python", "known"),
    [(0x030B07F0, "3.11.7", False), (0x030D00F0, "3.13.0", True), (0x031000A1, "3.16.0", False)],
)
def test_the_version_is_read_from_memory(
    monkeypatch: pytest.MonkeyPatch,
    hexversion: int,
    python: str,
    known: bool,  # noqa: FBT001
) -> None:
    symbols = {
        "_PyRuntime": Defined(0x100, 4_000, relocatable=True, load_base=0),
        "Py_Version": Defined(0x20, 8, relocatable=True, load_base=0),
    }
    mapped(monkeypatch, "/usr/lib/libpython3.so")
    monkeypatch.setattr(runtime, "find_definition", lambda _path, name: symbols.get(name))
    monkeypatch.setattr(os, "access", lambda _path, _mode: True)
    memory = FakeMemory()
    memory.put(0x1020, struct.pack("<Q", hexversion))
    memory.put(0x1100, b"xdebugpy".ljust(SIZE, b"\0"))
    seen = find_runtime(os.getpid(), memory)
    assert (seen.python, seen.address, seen.size) == (python, 0x1100, 4_000)
    assert (seen.offsets is not None) is known


def test_where_a_file_may_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its container, then from our own root, then wherever it is that it was deleted from."""
    path = "/usr/lib/libpython3.13.so.1.0"
    asked: list[str] = []

    def refuse(place: str, mode: int) -> bool:
        assert mode == os.R_OK
        asked.append(place)
        return False

    mapped(monkeypatch, path, "/usr/lib/json.cpython-313.so", "/usr/bin/app")
    monkeypatch.setattr(os, "access", refuse)
    monkeypatch.setattr(os, "readlink", lambda _path: "/usr/bin/app")
    with pytest.raises(LensError, match=f"cannot be read any longer: {path}") as caught:
        find_runtime(os.getpid(), FakeMemory())
    proc = f"/proc/{os.getpid()}"
    assert asked == [f"{proc}/root{path}", path, f"{proc}/map_files/1000-2000", f"{proc}/exe"]
    assert "start it again" in str(caught.value.remedy)
