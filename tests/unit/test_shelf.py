from __future__ import annotations

import errno
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gilscope.errors import RunFileError
from gilscope.model import FlameKind
from gilscope.profiling.companion import Profiles
from gilscope.profiling.shelf import ABOUT_FILE, Profile, Shelf, State, kinds_with, new_profile

HOLDING, WAITING, WALL = FlameKind
SIZE = 10_000


def made(second: int, state: State = State.DONE, kind: FlameKind = WAITING) -> Profile:
    name = f"20261122T1010{second:02}Z-{kind}-00000{second % 10}"
    return Profile(name, kind, 5, 100, f"2026-11-22T10:10:{second:02}+00:00", state)


def put(shelf: Shelf, profile: Profile, size: int = SIZE) -> Path:
    """Put a profile there whose graph has so many bytes."""
    place = shelf.add(profile)
    (place / "waiting.svg").write_bytes(b"x" * size)
    return place


def ids(shelf: Shelf) -> list[str]:
    return [profile.id for profile in shelf.profiles()]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "kept" / "here", limit_bytes=4 * SIZE)


def test_the_folder_is_made(shelf: Shelf) -> None:
    assert shelf.folder.is_dir()
    assert list(Shelf(shelf.folder).profiles()) == []


def test_a_folder_that_cannot_be_made_is_named_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "kept"):
        with pytest.raises(RunFileError, match=r"cannot keep profiles in .*file") as caught:
            Shelf(folder)
        assert caught.value.remedy == "--profiles DIR names another folder"


@pytest.mark.parametrize("kind", FlameKind)
def test_a_new_profile_is_running_under_an_id_of_its_own(kind: FlameKind) -> None:
    several = [new_profile(kind, 7, 50) for _ in range(20)]
    assert len({profile.id for profile in several}) == 20
    one = several[0]
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{kind}-[0-9a-f]{{6}}", one.id)
    assert (one.kind, one.seconds, one.rate_hz, one.state) == (kind, 7, 50, State.RUNNING)
    assert (one.graphs, one.error, one.remedy) == ({}, None, None)
    begun = datetime.fromisoformat(one.started_at)
    assert begun.utcoffset() == timedelta(0)
    assert one.id.startswith(f"{begun:%Y%m%dT%H%M%SZ}")


def test_what_was_added_is_found_as_it_was(shelf: Shelf) -> None:
    profile = replace(
        new_profile(HOLDING, 7, 50),
        state=State.FAILED,
        graphs={"holding": {"samples": 3, "notes": ["ü"]}},
        error="no <b>\n\u2028",
        remedy="again",
    )
    assert shelf.add(profile) == shelf.folder / profile.id
    found = shelf.find(profile.id)
    assert found == profile
    assert found is not None
    assert type(found.kind) is FlameKind
    assert type(found.state) is State


def test_what_is_known_is_replaced_whole(shelf: Shelf) -> None:
    place = shelf.add(made(1, State.RUNNING))
    shelf.update(made(1))
    assert shelf.find(place.name) == made(1)
    assert [path.name for path in place.iterdir()] == [ABOUT_FILE]


def test_an_update_of_what_is_not_there_is_an_error_and_makes_nothing(shelf: Shelf) -> None:
    with pytest.raises(FileNotFoundError):
        shelf.update(made(1))
    assert list(shelf.folder.iterdir()) == []


def test_the_newest_comes_first(shelf: Shelf) -> None:
    for second in (2, 1, 3):
        shelf.add(made(second, kind=[WALL, HOLDING, WAITING][second - 1]))
    assert [profile.started_at[-8:-6] for profile in shelf.profiles()] == ["03", "02", "01"]


def test_the_oldest_go_when_there_is_no_room(shelf: Shelf) -> None:
    for second in (1, 2, 3):
        put(shelf, made(second))
    assert ids(shelf) == [made(second).id for second in (3, 2, 1)]
    put(shelf, made(4), 2 * SIZE)
    shelf.update(made(4))
    assert ids(shelf) == [made(4).id, made(3).id]
    assert sorted(path.name for path in shelf.folder.iterdir()) == [made(3).id, made(4).id]


def test_room_is_made_before_a_new_one_is_captured_too(tmp_path: Path) -> None:
    roomy = Shelf(tmp_path)
    for second in (1, 2, 3):
        put(roomy, made(second))
    Shelf(tmp_path, limit_bytes=2 * SIZE + SIZE // 2).add(made(4, State.RUNNING))
    assert ids(roomy) == [made(second).id for second in (4, 3, 2)]


def test_the_newest_stays_even_if_it_alone_is_too_large(shelf: Shelf) -> None:
    put(shelf, made(1))
    put(shelf, made(2), 9 * SIZE)
    shelf.update(made(2))
    assert ids(shelf) == [made(2).id]
    put(shelf, made(3))
    shelf.update(made(3))
    assert ids(shelf) == [made(3).id]


def test_exactly_at_the_limit_nothing_goes(tmp_path: Path) -> None:
    roomy = Shelf(tmp_path)
    for second in (1, 2):
        put(roomy, made(second))
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    Shelf(tmp_path, limit_bytes=size).update(made(2))
    assert len(ids(roomy)) == 2
    Shelf(tmp_path, limit_bytes=size - 1).update(made(2))
    assert ids(roomy) == [made(2).id]


def test_what_is_not_ours_is_neither_shown_nor_counted_nor_removed(shelf: Shelf) -> None:
    foreign = [
        shelf.folder / name for name in ("notes", "20261122T101001Z", "x-20261122T101001Z-wall-000001")
    ]
    for folder in foreign:
        folder.mkdir()
        (folder / "big").write_bytes(b"x" * 9 * SIZE)
        (folder / ABOUT_FILE).write_text(json.dumps({"id": folder.name}))
    (shelf.folder / "file").write_bytes(b"x" * 9 * SIZE)
    put(shelf, made(1))
    put(shelf, made(2))
    shelf.update(made(2))
    assert ids(shelf) == [made(2).id, made(1).id]
    assert all((folder / "big").exists() for folder in foreign)
    assert [shelf.find(folder.name) for folder in foreign] == [None] * 3


ABOUT = {
    "id": made(1).id,
    "kind": "waiting",
    "seconds": 5,
    "rate_hz": 100,
    "started_at": "2026-11-22T10:10:01+00:00",
    "state": "done",
    "graphs": {},
    "error": None,
    "remedy": None,
}


def without(*names: str, **other: object) -> str:
    return json.dumps({**{name: value for name, value in ABOUT.items() if name not in names}, **other})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "7",
        "{}",
        without("kind"),
        without("id"),
        without("state"),
        without(kind="other"),
        without(kind=None),
        without(state="other"),
        without(state=["done"]),
        without(later="a field of a later version"),
        without(graphs=None),
        without(graphs=["waiting"]),
        without(started_at="yesterday"),
        without(started_at="2026-11-22T10:10:01"),
        without(started_at=5),
        without(id="../../elsewhere"),
    ],
)
def test_a_damaged_profile_is_left_out(shelf: Shelf, text: str) -> None:
    shelf.add(made(2))
    place = shelf.add(made(1))
    (place / ABOUT_FILE).write_text(text)
    assert shelf.find(made(1).id) is None
    assert ids(shelf) == [made(2).id]


def test_bytes_that_are_no_text_and_a_missing_file_are_damage_too(shelf: Shelf) -> None:
    place = shelf.add(made(1))
    (place / ABOUT_FILE).write_bytes(b"\xff\xfe{}")
    assert shelf.find(made(1).id) is None
    (place / ABOUT_FILE).unlink()
    assert shelf.find(made(1).id) is None
    (shelf.folder / made(2).id).write_text("a file where a folder should be")
    assert ids(shelf) == []


def test_damaged_ones_go_with_age_as_well(shelf: Shelf) -> None:
    place = put(shelf, made(1), 9 * SIZE)
    (place / ABOUT_FILE).unlink()
    shelf.add(made(2))
    assert not place.exists()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/",
        "../outside",
        "{id}/",
        "{id}/.",
        "{id}/../{id}",
        "./{id}",
        "{id}\n",
        " {id}",
        "{id}\0",
        "{id}.svg",
        "{upper}",
        "20261122T101001Z-other-000001",
        "20261122T101001Z-waiting-00000g",
        "\N{ARABIC-INDIC DIGIT TWO}0261122T101001Z-waiting-000001",
    ],
)
def test_no_other_name_finds_anything(shelf: Shelf, name: str) -> None:
    profile = made(1)
    shelf.add(profile)
    outside = shelf.folder.parent / "outside"
    outside.mkdir()
    (outside / ABOUT_FILE).write_text(json.dumps(ABOUT))
    assert shelf.find(profile.id) == profile
    assert shelf.find(name.format(id=profile.id, upper=profile.id.upper())) is None


def test_each_graph_has_a_file_in_its_profile(shelf: Shelf) -> None:
    profile = made(1)
    assert shelf.file(profile, WALL, "fragment.svg") == shelf.folder / profile.id / "wall.fragment.svg"


def test_who_asks_for_another_kind_is_spared_the_pauses() -> None:
    assert kinds_with(WAITING) == (HOLDING, WAITING, WALL)
    assert kinds_with(HOLDING) == kinds_with(WALL) == (HOLDING, WALL)


def test_what_a_dead_service_left_running_has_failed(shelf: Shelf) -> None:
    shelf.add(made(1))
    shelf.add(made(2, State.RUNNING))
    shelf.add(replace(made(3, State.FAILED), error="its own error"))
    profiles = Profiles(shelf, 1, "title")
    assert profiles.running is None
    left = shelf.find(made(2).id)
    assert left == replace(made(2), state=State.FAILED, error="the service ended meanwhile", remedy="again")
    assert [profile.state for profile in shelf.profiles()] == [State.FAILED, State.FAILED, State.DONE]
    assert shelf.find(made(1).id) == made(1)
    newest = shelf.find(made(3).id)
    assert newest is not None
    assert newest.error == "its own error"


@pytest.mark.parametrize("is_full_for_good", [False, True])
def test_where_there_is_no_room_to_say_how_it_ended_the_graphs_make_some(
    shelf: Shelf,
    monkeypatch: pytest.MonkeyPatch,
    is_full_for_good: bool,  # noqa: FBT001  a column
) -> None:
    running = made(1, State.RUNNING)
    place = put(shelf, running)
    update = shelf.update

    def full(profile: Profile) -> None:
        if is_full_for_good or (place / "waiting.svg").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        update(profile)

    monkeypatch.setattr(shelf, "update", full)
    shelf.close(made(1))
    found = shelf.find(running.id)
    assert found is not None
    assert [path.name for path in place.iterdir()] == [ABOUT_FILE]
    if is_full_for_good:
        assert found == running
    else:
        assert (found.state, found.error) == (State.FAILED, "it could not be kept: No space left on device")


def test_a_profile_that_cannot_be_begun_leaves_no_folder(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_profile: Profile) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shelf, "update", full)
    with pytest.raises(OSError, match="No space"):
        shelf.add(made(1))
    assert list(shelf.folder.iterdir()) == []
