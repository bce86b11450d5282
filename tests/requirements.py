"""What a test needs of the machine: it is skipped without, unless ``GILSCOPE_REQUIRE=all`` forbids that."""

from __future__ import annotations

import os

import pytest


def require(condition: object, reason: str) -> None:
    """Skip the test where ``condition`` does not hold; fail it where nothing may be skipped."""
    if condition:
        return
    if os.environ.get("GILSCOPE_REQUIRE") == "all":
        pytest.fail(f"GILSCOPE_REQUIRE=all, but {reason}")
    pytest.skip(reason)
