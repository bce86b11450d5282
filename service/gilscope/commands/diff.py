"""Show what changed from one run to another: figures with confidence, and differential flame graphs.

BEFORE and NOW are the folders of two runs, as `gilscope compare` names them at its end. Ratios are NOW over BEFORE.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("before", type=Path, metavar="BEFORE", help="a run's folder")
    parser.add_argument("now", type=Path, metavar="NOW", help="a later run's folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default: NOW/diff-BEFORE.html)")
    parser.add_argument("--json", action="store_true", help="print the ratios as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the ratios and write the page."""
    from dataclasses import asdict  # noqa: PLC0415

    from gilscope.commands.drawing import render_changes  # noqa: PLC0415
    from gilscope.compare.holding import holder  # noqa: PLC0415
    from gilscope.compare.store import RunFolder, write_text  # noqa: PLC0415
    from gilscope.report.console import describe_changes, describe_state  # noqa: PLC0415
    from gilscope.verdict.changes import changes, unlike  # noqa: PLC0415

    writers = [holder(folder) for folder in (options.before, options.now)]
    before, now = RunFolder(options.before).read(), RunFolder(options.now).read()
    for evidence, folder, writer in zip((before, now), (options.before, options.now), writers, strict=True):
        if told := describe_state(evidence.run, str(folder), writer):
            print(told, file=sys.stderr)  # noqa: T201
    found, other = changes(now, before), unlike(now.run, before.run)
    page = options.out or options.now / f"diff-{options.before.resolve().name}.html"
    write_text(page, render_changes(now, before, found, other))
    if options.json:
        document = {
            "page": str(page),
            "unlike": other,
            "changes": [_known(asdict(change)) for change in found],
        }
        print(json.dumps(document, indent=1, allow_nan=False))  # noqa: T201
        return 0
    print(describe_changes(found, other))  # noqa: T201
    print(f"\npage: {page}")  # noqa: T201
    return 0


def _known(change: dict[str, object]) -> dict[str, object]:
    """Put null for figures that are not known: JSON has no NaN."""
    return {
        name: [None if math.isnan(figure) else figure for figure in value]
        if isinstance(value, tuple)
        else value
        for name, value in change.items()
    }
