"""Take flame graphs of a running service or any Python process: who waits for the GIL, who holds it, all threads.

Of a service that was started with `gilscope serve --profiles`, or of any CPython 3.11 to 3.15 by its process id:

  gilscope profile http://127.0.0.1:8080 --seconds 5
  gilscope profile --pid 4711 --kind holding --out graphs
  gilscope profile http://127.0.0.1:8080 --serve 8081

A waiting graph brings the other two along, over the same seconds. py-spy holds the process for milliseconds at each
of its samples, and the graph says for what share of the time; holding and wall graphs alone never pause it.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gilscope.commands import sidecar
from gilscope.commands.arguments import whole
from gilscope.errors import RunFileError
from gilscope.flame.capture import MAX_RATE_HZ, MAX_SECONDS, RATE_HZ, SECONDS
from gilscope.model import FlameKind

FORMS = ("svg", "folded", "speedscope.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("url", nargs="?", metavar="URL", help="a service with --profiles")
    target.add_argument(
        "--pid", type=whole(1, 2**22), metavar="PID", help="any Python process, with its children"
    )
    parser.add_argument(
        "--kind",
        choices=[*FlameKind],
        default=FlameKind.WAITING,
        help="default: %(default)s, which brings all",
    )
    parser.add_argument(
        "--seconds", type=whole(1, MAX_SECONDS), default=SECONDS, metavar="S", help="default: %(default)s"
    )
    parser.add_argument(
        "--rate",
        type=whole(1, MAX_RATE_HZ),
        default=RATE_HZ,
        metavar="HZ",
        help="samples a second (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: profiles/<UTC time>-<kind>")
    parser.add_argument(
        "--token",
        metavar="SECRET",
        default=os.environ.get("GILSCOPE_TOKEN"),
        help="the service's (default: $GILSCOPE_TOKEN)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--serve",
        type=sidecar.host_and_port,
        metavar="[HOST:]PORT",
        help="take none now, but whenever the page there asks for one: of --pid, or of the service at URL, which has to "
        "run on this machine; they are kept in --out (default: profiles/captured)",
    )


def run(options: argparse.Namespace) -> int:
    """Capture, write the graphs, and say what they are made of."""
    if options.serve:
        return sidecar.run(options)
    from gilscope.flame.wording import origin  # noqa: PLC0415
    from gilscope.profiling.asking import graph_of  # noqa: PLC0415

    folder = options.out or Path("profiles") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{options.kind}"
    with _filled(folder):
        graphs = _of_process(options, folder) if options.pid else _of_service(options, folder)
    if options.json:
        print(json.dumps({"folder": str(folder), "graphs": graphs}, indent=1))  # noqa: T201
        return 0
    for kind, graph in graphs.items():
        print(f"{kind}: {origin(graph_of(graph))}")  # noqa: T201
        for note in graph["notes"]:
            print(f"  ! {note}")  # noqa: T201
        shown = folder / f"{kind}.svg"
        print(f"  {shown}" if shown.exists() else "  nobody: there is nothing to draw")  # noqa: T201
    return 0


@contextmanager
def _filled(folder: Path) -> Iterator[None]:
    """Make the folder; where the block fails, take away what it wrote, and the folders that were not there before.

    Raises:
        RunFileError: it cannot be written, or it is not empty.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RunFileError(f"{folder} is not empty", remedy="another --out")
    except OSError as problem:
        raise RunFileError(
            f"cannot write to {folder}: {problem.strerror}", remedy="another --out"
        ) from problem
    try:
        yield
    except BaseException:
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        for path in made:
            path.rmdir()
        raise


def _of_process(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from gilscope.profiling.process import Order, capture  # noqa: PLC0415
    from gilscope.profiling.shelf import kinds_with  # noqa: PLC0415

    kinds = kinds_with(FlameKind(options.kind))
    order = Order(options.pid, kinds, options.seconds, options.rate, str(folder), f"process {options.pid}")
    graphs: dict[str, Any] = capture(order)["graphs"]
    for fragment in folder.glob("*.fragment.svg"):  # a part for the service's pages
        fragment.unlink()
    return graphs


def _of_service(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from gilscope.profiling.asking import ProfilesThere  # noqa: PLC0415

    there = ProfilesThere(options.url.rstrip("/"), options.token)
    taken = there.take(FlameKind(options.kind), options.seconds, options.rate)
    for kind, graph in taken.graphs.items():
        for form in FORMS if graph["samples"] else ("folded",):
            (folder / f"{kind}.{form}").write_bytes(there.read(taken, kind, form))
    return {str(kind): graph for kind, graph in taken.graphs.items()}
