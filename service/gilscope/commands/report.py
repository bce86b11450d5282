"""Render a saved run again: the verdicts here, the report as HTML. Starts nothing.

RUN is the folder of a run, as `gilscope compare` names it at its end.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("--json", action="store_true", help="print the verdicts as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the verdicts and write ``report.html`` anew."""
    from gilscope.commands.drawing import render_report  # noqa: PLC0415
    from gilscope.compare.holding import holder  # noqa: PLC0415
    from gilscope.compare.store import RunFolder, summary  # noqa: PLC0415
    from gilscope.compare.textbook_file import read_textbook  # noqa: PLC0415
    from gilscope.report.console import (  # noqa: PLC0415
        describe_pythons,
        describe_state,
        describe_sweep,
        describe_verdict,
    )

    folder = RunFolder(options.run)
    if not folder.has_run and (textbook := read_textbook(folder.path)) is not None:
        from gilscope.commands.textbook import show  # noqa: PLC0415

        show(textbook, folder.path, as_json=options.json)
        return 0
    writer = holder(folder.path)  # Asked first: what ends meanwhile is read complete.
    evidence = folder.read()
    report = folder.write_report(render_report(evidence, read_textbook(folder.path)))
    if told := describe_state(evidence.run, str(folder.path), writer):
        print(told, file=sys.stderr)  # noqa: T201
    if options.json:
        print(json.dumps(summary(evidence.run, folder.path), indent=1))  # noqa: T201
        return 0
    for verdict in evidence.run.verdicts:
        print(f"\n{describe_verdict(verdict)}")  # noqa: T201
    for told in filter(None, (describe_sweep(evidence.run), describe_pythons(evidence.run))):
        print(f"\n{told}")  # noqa: T201
    print(f"\nreport: {report}")  # noqa: T201
    return 0
