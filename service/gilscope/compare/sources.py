"""A fingerprint of the user's source, found without importing anything of it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path


def fingerprint(reference: str, app_dir: str | None) -> str:
    """Return the SHA-256 of the file that ``module:function`` or ``file.py:function`` is in, in hexadecimal.

    Empty for built-in work and where no file is found. What the file imports is not looked at.
    """
    where, colon, _ = reference.rpartition(":")
    if not colon:
        return ""
    path = where if where.endswith(".py") else _file_of(where, app_dir)
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""
    except OSError:
        return ""


def _file_of(module: str, app_dir: str | None) -> str | None:
    """Return where a module would be imported from, as the service would: no package on the way is imported."""
    places: Sequence[str] | None = [*([app_dir] if app_dir is not None else []), *sys.path]
    name, spec = "", None
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = _find(name, places)
        if spec is None:
            return None
        places = spec.submodule_search_locations
    return spec.origin if spec is not None and spec.has_location else None


def _find(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if find is not None and (spec := find(name, places)) is not None:
            return spec  # type: ignore[no-any-return]
    return None
