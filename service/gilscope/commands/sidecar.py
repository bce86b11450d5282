"""``gilscope profile --serve``: take flame graphs of another process whenever a browser asks for one."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gilscope.direct import ask
from gilscope.errors import CaptureError, UsageError

if TYPE_CHECKING:
    from gilscope.web.sidecar import Patient

ANSWER_S = 10.0
KEPT_IN = Path("profiles/captured")


def host_and_port(text: str) -> tuple[str, int]:
    """Read ``PORT`` or ``HOST:PORT``.

    Raises:
        ArgumentTypeError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535 or (colon and not host):
        raise argparse.ArgumentTypeError(f"PORT or HOST:PORT, not {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from gilscope.web.access import require_safe  # noqa: PLC0415
    from gilscope.web.config import Profiling  # noqa: PLC0415
    from gilscope.web.sidecar import Patient, serve  # noqa: PLC0415

    host, port = options.serve
    require_safe(host, options.token)
    patient = Patient(options.pid, f"process {options.pid}") if options.pid else service_at(options.url)
    if not Path(f"/proc/{patient.pid}").exists():
        raise UsageError(
            f"there is no process {patient.pid} here",
            remedy="run this where the service runs; in a container, in its process namespace (pid: service:NAME)",
        )

    def announce(url: str) -> None:
        print(f"profiles of {patient.title}: {url}/profiles", file=sys.stderr)  # noqa: T201

    profiling = Profiling(options.out or KEPT_IN, options.token)
    asyncio.run(serve(patient, profiling, host, port, announce))
    return 0


def service_at(url: str) -> Patient:
    """Ask a gilscope service which process it is.

    Raises:
        CaptureError: it does not answer, or is no gilscope.
    """
    from gilscope.model import BackendName  # noqa: PLC0415
    from gilscope.web.live import title_of  # noqa: PLC0415
    from gilscope.web.sidecar import Patient  # noqa: PLC0415

    base = url.rstrip("/")
    try:
        health, workloads, backends = (
            _ask(f"{base}/{path}") for path in ("healthz", "workloads", "backends")
        )
        names = tuple(str(workload["name"]) for workload in workloads)
        running = tuple(BackendName(backend["name"]) for backend in backends if backend["running"])
        metrics_url = f"http://{_host_of(base)}:{int(health['metrics_port'])}/metrics"
        return Patient(int(health["pid"]), title_of(names), running, metrics_url)
    except OSError as problem:
        reason = getattr(problem, "reason", problem)
        raise CaptureError(f"{url} does not answer: {reason}", remedy="the URL of gilscope serve") from None
    except (ValueError, TypeError, KeyError):
        raise CaptureError(f"{url} is no gilscope service", remedy="the URL of gilscope serve") from None


def _host_of(base: str) -> str:
    host = urlsplit(base).hostname or ""
    return f"[{host}]" if ":" in host else host


def _ask(url: str) -> Any:  # noqa: ANN401  JSON
    with ask(url, ANSWER_S) as answer:
        return json.load(answer)
