"""A folder of captured profiles with a limit to its size: the oldest go first.

It is imported by a process that may have nothing but the service's own packages.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from gilscope.errors import NO_ROOM, RunFileError
from gilscope.model import FlameKind

ABOUT_FILE = "profile.json"
LIMIT_BYTES = 200_000_000

FORMS = ("svg", "fragment.svg", "folded", "speedscope.json")
"""How each graph is kept: as a picture, as a part for an HTML page, as text, and for speedscope."""

_ID = re.compile(r"\d{8}T\d{6}Z-(?:holding|waiting|wall)-[0-9a-f]{6}")


class State(StrEnum):
    """Whether a profile is there."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Profile:
    """A capture that was asked for.

    ``graphs`` says of each kind that was captured how it was made (:class:`gilscope.model.Graph`, as JSON has it);
    ``error`` and ``remedy`` say why there are none.
    """

    id: str
    kind: FlameKind
    seconds: int
    rate_hz: int
    started_at: str
    state: State = State.RUNNING
    graphs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    error: str | None = None
    remedy: str | None = None

    def overlaps(self, begin: datetime, end: datetime) -> bool:
        """Tell whether it was captured in some part of that time; both moments have a time zone."""
        started = datetime.fromisoformat(self.started_at)
        return started <= end and begin <= started + timedelta(seconds=self.seconds)


def new_profile(kind: FlameKind, seconds: int, rate_hz: int) -> Profile:
    """Return a profile that begins now, under a new id."""
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%SZ}-{kind}-{secrets.token_hex(3)}"
    return Profile(name, kind, seconds, rate_hz, now.isoformat(timespec="seconds"))


class Shelf:
    """The folder: one folder in it per profile."""

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        """Make it where it is not there yet.

        Raises:
            RunFileError: it cannot be made.
        """
        self.folder, self._limit_bytes = folder, limit_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise RunFileError(
                f"cannot keep profiles in {folder}: {problem.strerror}",
                remedy="--profiles DIR names another folder",
            ) from problem

    def add(self, profile: Profile) -> Path:
        """Give a profile its folder, and make room: the oldest go until the rest is within the limit.

        Raises:
            OSError: the folder cannot be written.
        """
        place = self.folder / profile.id
        place.mkdir()
        try:
            self.update(profile)
        except OSError:
            shutil.rmtree(place, ignore_errors=True)
            raise
        return place

    def update(self, profile: Profile) -> None:
        """Write what is known of a profile, whole or not at all.

        Raises:
            OSError: the folder cannot be written.
        """
        path = self.folder / profile.id / ABOUT_FILE
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(profile), indent=1), encoding="utf-8")
        unfinished.replace(path)
        self._make_room(keep=profile.id)

    def close(self, profile: Profile) -> None:
        """Write how a profile has ended; where there is no room for that, its graphs make some, and it has failed.

        Where not even that can be written, or may not, it stays as it was, begun and not ended.
        """
        try:
            self.update(profile)
        except OSError as problem:
            if problem.errno not in NO_ROOM:
                return
            self._drop_graphs(profile)
            told = f"it could not be kept: {problem.strerror}"
            with contextlib.suppress(OSError):
                self.update(
                    replace(profile, state=State.FAILED, graphs={}, error=told, remedy="room on the disk")
                )

    def _drop_graphs(self, profile: Profile) -> None:
        with contextlib.suppress(OSError):
            for path in (self.folder / profile.id).iterdir():
                if path.name != ABOUT_FILE:
                    path.unlink()

    def _make_room(self, keep: str) -> None:
        sizes = {name: _size(self.folder / name) for name in self._names()}
        for name in sorted(sizes):
            if sum(sizes.values()) <= self._limit_bytes:
                return
            if name != keep:
                shutil.rmtree(self.folder / name, ignore_errors=True)
                del sizes[name]

    def _names(self) -> list[str]:
        with contextlib.suppress(OSError):  # Somebody may take the folder away.
            return [path.name for path in self.folder.iterdir() if _ID.fullmatch(path.name)]
        return []

    def profiles(self) -> Iterator[Profile]:
        """Yield all profiles, the newest first."""
        for name in sorted(self._names(), reverse=True):
            profile = self.find(name)
            if profile is not None:
                yield profile

    def find(self, name: str) -> Profile | None:
        """Return a profile by its id; None where there is none, or what is there cannot be read."""
        if not _ID.fullmatch(name):  # Nothing else is looked up: a name never leads out of the folder.
            return None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            found = json.loads((self.folder / name / ABOUT_FILE).read_text(encoding="utf-8"))
            graphs = {str(kind): dict(graph.items()) for kind, graph in found["graphs"].items()}
            known = replace(Profile(**found), kind=FlameKind(found["kind"]), state=State(found["state"]))
            is_dated = datetime.fromisoformat(known.started_at).tzinfo is not None
            return replace(known, graphs=graphs) if known.id == name and is_dated else None
        return None

    def file(self, profile: Profile, kind: FlameKind, form: str) -> Path:
        """Return where a graph is kept in one of the :data:`FORMS`."""
        return self.folder / profile.id / f"{kind}.{form}"


def kinds_with(kind: FlameKind) -> tuple[FlameKind, ...]:
    """Return the kinds that are captured when one is asked for.

    A waiting graph is told from stacks that py-spy takes by holding the process; who asks for another is spared that.
    """
    return tuple(FlameKind) if kind is FlameKind.WAITING else (FlameKind.HOLDING, FlameKind.WALL)


def _size(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0
