from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import ParamSpec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watched import Obedient, obedient

from gilscope.lens.marks import UNMARKED, find_marks
from gilscope.model import ThreadRole
from gilscope.observed import (
    INSIDE,
    OUTSIDE,
    PR_SET_PTRACER,
    Mark,
    MarkName,
    let_in,
    mark_thread,
    parse_mark_name,
)

SHORT_OF_FILES = """
import resource
from gilscope.model import ThreadRole
from gilscope.observed import mark_thread
import os
os.listdir("/proc/self/fd")
_soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
result = []
for spare in (0, 1):
    there = len(os.listdir("/proc/self/fd")) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + spare, hard))
    mark = mark_thread(ThreadRole.WORKER)
    mark[0] = 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    result.append([type(mark).__name__, len(os.listdir("/proc/self/fd")) - 1 - there])
"""


P = ParamSpec("P")


def in_a_thread_of_its_own(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test where nobody has made a mark before: the main thread may have served."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(test, *args, **kwargs).result()

    return run


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def own_number() -> int:
    return threading.get_native_id()


@pytest.fixture
def process() -> Iterator[Obedient]:
    with obedient() as started:
        yield started


@pytest.mark.parametrize("role", ThreadRole)
def test_a_mark_is_found_by_its_thread_and_shared_with_it(role: ThreadRole) -> None:
    mark = mark_thread(role)
    found = find_marks(os.getpid(), {own_number()})
    assert set(found) == {own_number()}
    seen = found[own_number()]
    assert seen.role is role
    for value in (OUTSIDE, INSIDE, OUTSIDE):
        mark[0] = value
        assert seen.byte[0] == value
    with pytest.raises(TypeError):
        seen.byte[0] = INSIDE


@in_a_thread_of_its_own
def test_a_mark_takes_one_file_and_gives_it_back() -> None:
    before = open_files()
    mark = mark_thread(ThreadRole.WORKER)
    assert isinstance(mark, mmap.mmap)
    assert open_files() == before + 1
    del mark
    assert open_files() == before
    assert find_marks(os.getpid(), {own_number()}) == {}


def test_a_mark_ends_with_its_thread() -> None:
    marks: list[int] = []

    def work() -> None:
        kept = threading.local()
        kept.mark = mark_thread(ThreadRole.WORKER)
        marks.append(own_number())

    before = open_files()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert find_marks(os.getpid(), marks) == {}
    assert open_files() == before


def test_only_the_threads_that_are_asked_for_are_looked_at() -> None:
    kept = mark_thread(ThreadRole.WORKER)
    assert find_marks(os.getpid(), {own_number() + 1}) == {}
    assert len(kept) == 1


def test_what_finds_a_mark_keeps_it_after_the_thread_has_let_it_go() -> None:
    mark = mark_thread(ThreadRole.WORKER)
    mark[0] = INSIDE
    seen = find_marks(os.getpid(), {own_number()})[own_number()]
    del mark
    assert seen.byte[0] == INSIDE


@pytest.mark.integration
def test_marks_of_another_process_are_found(process: Obedient) -> None:
    code = (
        "import builtins, threading\n"
        "from gilscope.model import ThreadRole\n"
        "from gilscope.observed import mark_thread\n"
        "builtins.kept = mark_thread(ThreadRole.LOOP)\n"
        "result = threading.get_native_id()\n"
    )
    tid = process.number("evaluate", code)
    before = open_files()
    found = find_marks(process.pid, {tid})
    assert {number: (mark.role, mark.byte[0]) for number, mark in found.items()} == {
        tid: (ThreadRole.LOOP, OUTSIDE)
    }
    process.ask("evaluate", "import builtins\nbuiltins.kept[0] = 1\nresult = 0")
    assert found[tid].byte[0] == INSIDE
    del found
    assert open_files() == before


@pytest.mark.integration
def test_out_of_files_a_mark_is_private_and_no_file_is_lost(process: Obedient) -> None:
    # One descriptor is enough to make the file, but not for the one that the mark keeps.
    assert process.ask("evaluate", SHORT_OF_FILES) == [["bytearray", 0], ["bytearray", 0]]


def test_a_file_that_cannot_be_mapped_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _size: int) -> None:
        raise OSError(errno.EMFILE, "no descriptor left")

    before = open_files()
    monkeypatch.setattr(mmap, "mmap", refuse)
    assert mark_thread(ThreadRole.LOOP) == bytearray(1)
    assert open_files() == before


def test_without_memfd_a_mark_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert mark_thread(ThreadRole.LOOP) == bytearray(1)


@in_a_thread_of_its_own
def test_files_that_are_no_marks_or_not_yet_are_passed_over(tmp_path: Path) -> None:
    here = own_number()
    names = ["gilscope-worker-0", "gilscope-evil-5", "other", f"gilscope-worker-{here}"]
    descriptors = [os.memfd_create(name) for name in names]
    with (tmp_path / "memfd:gilscope-worker-1").open("wb") as file:
        try:
            assert file.fileno() not in descriptors
            # The last one is a mark that is being made: its file is empty.
            assert find_marks(os.getpid(), {0, 1, 5, here}) == {}
            os.ftruncate(descriptors[-1], 1)
            assert set(find_marks(os.getpid(), {0, 1, 5, here})) == {here}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def test_a_process_that_has_ended_has_no_marks_to_look_for() -> None:
    with pytest.raises(FileNotFoundError):
        find_marks(2**22 + 1, {1})


def test_who_is_unmarked_is_never_inside() -> None:
    assert (UNMARKED.role, UNMARKED.byte) == (ThreadRole.OTHER, bytearray(1))


@pytest.mark.parametrize("end", ["", " (deleted)"])
def test_names_of_marks_are_read(end: str) -> None:
    for role in ThreadRole:
        assert parse_mark_name(f"/memfd:gilscope-{role}-4711{end}") == MarkName(role, 4711)


@pytest.mark.parametrize(
    "link",
    [
        *("", "/", "/dev/null", "socket:[1]", "anon_inode:[eventpoll]"),
        *(
            "/memfd:gilscope-worker-",
            "/memfd:gilscope-worker-x",
            "/memfd:gilscope--5",
            "/memfd:gilscope-evil-5",
        ),
        *("/memfd:gilscope-worker-5x", "/memfd:gilscope-worker-5 (deleted", "/memfd:gilscope-worker--5"),
        *("/memfd:gilscope-worker-\u0665", "/memfd:gilscope-worker-5\n", "/memfd:gilscope-worker-0"),
        *("memfd:gilscope-worker-5", "/tmp/memfd:gilscope-worker-5", "/memfd:gilscope-WORKER-5"),
        "/memfd:gilscope-worker-" + "9" * 5000,
    ],
)
def test_other_names_are_not(link: str) -> None:
    assert parse_mark_name(link) is None


@given(st.text())
def test_no_name_is_an_error(text: str) -> None:
    for link in (text, f"/memfd:gilscope-{text}", f"/memfd:gilscope-worker-{text}"):
        found = parse_mark_name(link)
        assert found is None or found.thread > 0


def test_the_observer_is_let_in_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    library = SimpleNamespace(prctl=lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(ctypes, "CDLL", {None: library}.__getitem__)
    let_in(4711)
    ((option, number, *rest),) = calls
    assert (option, rest) == (PR_SET_PTRACER, [0, 0, 0])
    assert isinstance(number, ctypes.c_ulong)
    assert number.value == 4711
    assert PR_SET_PTRACER.to_bytes(4, "big") == b"Yama"


def test_where_there_is_no_prctl_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", {None: SimpleNamespace()}.__getitem__)
    let_in(4711)


def test_letting_somebody_in_for_real_does_no_harm() -> None:
    let_in(os.getpid())
    kept: Mark = bytearray(1)
    assert kept[0] == OUTSIDE
