"""What readers are told to type after ``docker compose``, and running it on a real Docker Engine."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "gilscope-test"
TOKEN = "of-this-test"
BUILD_S = 900
"""How long a command may take that builds images."""


def documented(page: str) -> list[list[str]]:
    """Return the arguments of each ``docker compose`` command of a page of the docs."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [command.split() for command in re.findall(r"^ {4}docker compose (.*)$", text, re.MULTILINE)]


def compose(*arguments: str) -> str:
    """Run a command in a project of the tests; return its output."""
    done = subprocess.run(
        ["docker", "compose", "--project-name", PROJECT, *arguments],
        cwd=ROOT,
        env={**os.environ, "GILSCOPE_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def require_nothing_left() -> None:
    """Check that the project has no container, volume or network any more."""
    for kind in ("ps --all", "volume ls", "network ls"):
        label = f"label=com.docker.compose.project={PROJECT}"
        command = ["docker", *kind.split(), "--quiet", "--filter", label]
        assert subprocess.run(command, capture_output=True, check=True).stdout == b"", kind
