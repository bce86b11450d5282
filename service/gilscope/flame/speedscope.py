"""Folded stacks as a profile for https://www.speedscope.app, and back. Pure.

The format: https://www.speedscope.app/file-format-schema.json.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import NotRequired, TypedDict

from gilscope.flame.folded import FrameParts, join_frame, split_frame
from gilscope.model import Folded, Stack

SCHEMA_URL = "https://www.speedscope.app/file-format-schema.json"


class _Frame(TypedDict):
    name: str
    file: NotRequired[str]
    line: NotRequired[int]


class _Shared(TypedDict):
    frames: list[_Frame]


class _Profile(TypedDict):
    type: str
    name: str
    unit: str
    startValue: float
    endValue: float
    samples: list[list[int]]
    weights: list[float]


class _Document(TypedDict):
    shared: _Shared
    profiles: list[_Profile]


def to_speedscope(folded: Folded, *, name: str) -> str:
    """Write stacks, their weights in seconds, as one ``sampled`` profile."""
    frames = sorted({frame for stack in folded for frame in stack})
    index = {frame: position for position, frame in enumerate(frames)}
    document = {
        "$schema": SCHEMA_URL,
        "exporter": "gilscope",
        "name": name,
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame_object(frame) for frame in frames]},
        "profiles": [_profile(folded, index, name=name)],
    }
    return json.dumps(document, separators=(",", ":"))


def from_speedscope(text: str) -> dict[Stack, float]:
    """Read back what :func:`to_speedscope` wrote.

    Raises:
        ValueError: ``text`` is not such a document.
    """
    document: _Document = json.loads(text)
    try:
        return _read(document)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"not a sampled speedscope profile: {error!r}") from error


def _frame_object(frame: str) -> _Frame:
    """Leave out what is not known: the schema has no nulls."""
    parts = split_frame(frame)
    known: _Frame = {"name": parts.name}
    if parts.file is not None:
        known["file"] = parts.file
    if parts.line is not None:
        known["line"] = parts.line
    return known


def _profile(folded: Folded, index: Mapping[str, int], *, name: str) -> _Profile:
    stacks = sorted(folded)
    weights = [folded[stack] for stack in stacks]
    return {
        "type": "sampled",
        "name": name,
        "unit": "seconds",
        "startValue": 0,
        "endValue": math.fsum(weights),
        "samples": [[index[frame] for frame in stack] for stack in stacks],
        "weights": weights,
    }


def _read(document: _Document) -> dict[Stack, float]:
    frames = [_frame_text(frame) for frame in document["shared"]["frames"]]
    folded: dict[Stack, float] = {}
    for profile in document["profiles"]:
        for sample, weight in zip(profile["samples"], profile["weights"], strict=True):
            stack = tuple(frames[position] for position in sample)
            folded[stack] = folded.get(stack, 0.0) + weight
    return folded


def _frame_text(frame: _Frame) -> str:
    return join_frame(FrameParts(frame["name"], frame.get("file"), frame.get("line")))
