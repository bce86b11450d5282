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
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from gilscope.commands import sidecar
from gilscope.commands.arguments import whole
from gilscope.errors import CaptureError, RunFileError, UsageError
from gilscope.flame.capture import MAX_RATE_HZ, MAX_SECONDS, RATE_HZ, SECONDS
from gilscope.model import FlameKind

ANSWER_S = 30.0
LOOK_S = 0.3
SLACK_S = 90.0

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

    folder = options.out or Path("profiles") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{options.kind}"
    with _filled(folder):
        graphs = _of_process(options, folder) if options.pid else _of_service(options, folder)
    if options.json:
        print(json.dumps({"folder": str(folder), "graphs": graphs}, indent=1))  # noqa: T201
        return 0
    for kind, graph in graphs.items():
        print(f"{kind}: {origin(_structured(graph))}")  # noqa: T201
        for note in graph["notes"]:
            print(f"  ! {note}")  # noqa: T201
        shown = folder / f"{kind}.svg"
        print(f"  {shown}" if shown.exists() else "  nobody: there is nothing to draw")  # noqa: T201
    return 0


def _structured(graph: Mapping[str, Any]) -> Any:  # noqa: ANN401  a Graph: importing it costs nothing, cattrs does
    import cattrs  # noqa: PLC0415

    from gilscope.model import Graph  # noqa: PLC0415

    try:
        return cattrs.structure(graph, Graph)
    except cattrs.BaseValidationError as problem:
        raise ValueError("this is no graph") from problem


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
    base = options.url.rstrip("/")
    order = {"kind": options.kind, "seconds": options.seconds, "rate": options.rate}
    profile = _profile(options, f"{base}/profiles", json.dumps(order).encode())
    place = f"{base}/profiles/{profile['id']}"
    deadline = time.monotonic() + options.seconds + SLACK_S
    while profile["state"] == "running":
        if time.monotonic() > deadline:
            raise CaptureError(f"the service did not finish {place}", remedy="see what it says")
        time.sleep(LOOK_S)
        profile = _profile(options, place)
    if profile["state"] == "failed":
        raise CaptureError(profile["error"], remedy=profile["remedy"])
    graphs: dict[str, Any] = {
        kind: profile["graphs"][kind] for kind in FlameKind if kind in profile["graphs"]
    }
    for kind, graph in graphs.items():
        for form in FORMS if graph["samples"] else ("folded",):
            (folder / f"{kind}.{form}").write_bytes(_ask(options, f"{place}/flamegraph.{form}?kind={kind}"))
    return graphs


def _profile(options: argparse.Namespace, url: str, body: bytes | None = None) -> dict[str, Any]:
    """Ask for the state of a profile.

    Raises:
        CaptureError: whoever answers there is no gilscope.
    """
    text = _ask(options, url, body)
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found: dict[str, Any] = json.loads(text)
        for kind, graph in found["graphs"].items():
            FlameKind(kind)
            _structured(graph)
        if isinstance(found["id"], str) and isinstance(found["state"], str):
            return {"error": None, "remedy": None, **found}
    raise CaptureError(
        f"{url} answered something else than a profile", remedy="the URL of gilscope serve --profiles"
    )


def _ask(options: argparse.Namespace, url: str, body: bytes | None = None) -> bytes:
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if options.token:
        headers["Authorization"] = f"Bearer {options.token}"
    try:
        with urlopen(Request(url, body, headers), timeout=ANSWER_S) as answer:  # noqa: S310  the user's own URL
            content: bytes = answer.read()
            return content
    except HTTPError as refusal:
        raise _explained(url, refusal) from None
    except (InvalidURL, ValueError) as problem:
        raise UsageError(f"{url} is no URL: {problem}", remedy="such as http://127.0.0.1:8080") from None
    except (URLError, OSError, HTTPException) as problem:
        reason = getattr(problem, "reason", problem)
        raise CaptureError(f"{url} does not answer: {reason}", remedy="gilscope serve --profiles") from None


def _explained(url: str, refusal: HTTPError) -> CaptureError:
    """Turn a refusal into an error: the service's own words where it has any."""
    with refusal:
        try:
            detail = json.loads(refusal.read())["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"{url} answered {refusal.code}"
    message, _, remedy = str(detail).partition("\n  -> ")
    if refusal.code in (404, 405) and "/profiles/" not in url:
        return CaptureError("this service takes no profiles", remedy="start it with --profiles")
    if refusal.code == 401:
        return CaptureError("the service wants its token", remedy="--token SECRET, or GILSCOPE_TOKEN")
    return CaptureError(message, remedy=remedy or None)
