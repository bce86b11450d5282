"""Write the dashboards for Grafana: ``python dashboards/build.py``; with ``--check``, say what is not up to date.

Needs grafana-foundation-sdk and gilscope itself, whose colours are used.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import compare
import contention
import load
from frame import plain
from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
BOARDS = {"compare": compare.dashboard, "contention": contention.dashboard, "load": load.dashboard}


def rendered() -> dict[str, str]:
    """Return the text of each file by its name; the same text each time."""
    return {f"{name}.json": _text(json.dumps(make(), cls=JSONEncoder)) for name, make in BOARDS.items()}


def differences() -> Iterator[str]:
    """Yield a diff of each file that is not what would be written."""
    for name, wanted in rendered().items():
        path = FOLDER / name
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if found != wanted:
            lines = difflib.unified_diff(
                found.splitlines(), wanted.splitlines(), name, "build.py", lineterm=""
            )
            yield "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write or check; return the exit code, 1 where a check found differences."""
    parser = argparse.ArgumentParser(description="Generate the dashboards for Grafana.")
    parser.add_argument("--check", action="store_true", help="write nothing; say what differs")
    if parser.parse_args(arguments).check:
        found = list(differences())
        print(*found, sep="\n", end="\n" if found else "")
        return 1 if found else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def _text(built: str) -> str:
    return json.dumps(plain(json.loads(built)), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
