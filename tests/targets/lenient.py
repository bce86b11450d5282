"""A user's function that takes whatever comes: for tests that send anything."""

from __future__ import annotations


def give_back(value: object = None, *, label: str = "<b>") -> object:
    """Return <what> was given."""
    return value if label else None
