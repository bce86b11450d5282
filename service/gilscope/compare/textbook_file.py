"""``textbook.json``: the measured table on disk, in a folder of its own or in that of a run."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from gilscope.claims import TEXTBOOK_SCHEMA, Figure, Textbook
from gilscope.compare.store import CONVERTER, read_document, write_text

TEXTBOOK_FILE, TEXTBOOK_PAGE = "textbook.json", "textbook.html"

# JSON tells these apart by itself.
CONVERTER.register_structure_hook_func(lambda kind: kind == Figure, lambda value, _type: value)


def to_document(textbook: Textbook) -> dict[str, Any]:
    """Return the table as ``textbook.json`` and ``--json`` have it."""
    document: dict[str, Any] = CONVERTER.unstructure(textbook)
    return document


def write_textbook(folder: Path, textbook: Textbook) -> None:
    """Write ``textbook.json``, whole or not at all.

    Raises:
        RunFileError: it cannot be written.
    """
    text = json.dumps(to_document(textbook), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(folder / TEXTBOOK_FILE, text + "\n")


def read_textbook(folder: Path) -> Textbook | None:
    """Read the table of a folder; None where there is none.

    Raises:
        RunFileError: it is damaged, or was written by a newer gilscope.
    """
    with contextlib.suppress(FileNotFoundError):
        return read_document(folder / TEXTBOOK_FILE, Textbook, newest=TEXTBOOK_SCHEMA)
    return None
