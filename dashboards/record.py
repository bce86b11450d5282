"""Record what the dashboards show: a service, its lens and Locust, scraped by Prometheus with the rules beside this file.

    python dashboards/record.py FOLDER [--n 16000] [--rate 55] [--seconds 85]

``primes`` is asked for ``--rate`` times a second: on the event loop, then in threads, then in processes, ``--seconds`` each,
with a fresh service each time. That is

    nice -n 10 gilscope serve --workload primes --arg n=16000 --lens-port …
    locust -f loadtests/locustfile.py --host … --headless --workload primes --backend … --rate 55 --metrics-port …

three times, on ports that are free, beside one Prometheus. Its data stay in ``FOLDER/data``. The last lines printed say how
to serve them again, and how to draw the dashboards from them.

Needs ``prometheus`` (2.42 or newer) on the path, and gilscope with Locust in the Python that runs this.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("asyncio", "threads", "processes")
SCRAPE_S = 5
SCRAPES_S = 12.0
"""Prometheus alone, before the first service: its own start is not to be in the figures."""

NICE = ("nice", "-n", "10")
"""The service steps back behind Locust, as in ``gilscope compare``: on few cores its work would make Locust send late."""

READY_S, END_S = 60.0, 20.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, on 127.0.0.1."""

    work: int
    service: int
    lens: int
    locust: int
    prometheus: int

    @classmethod
    def free(cls) -> Ports:
        """Return ports that are free, as of now."""
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
        try:
            return cls(*(int(probe.getsockname()[1]) for probe in probes))
        finally:
            for probe in probes:
                probe.close()


def configuration(ports: Ports) -> dict[str, object]:
    """Return what Prometheus is told: the stack's jobs and rules, and these ports."""
    jobs = {"gilscope": ports.service, "gilscope-lens": ports.lens, "locust": ports.locust}
    return {
        "global": {f"{what}_interval": f"{SCRAPE_S}s" for what in ("scrape", "evaluation")},
        "rule_files": [str(ROOT / "dashboards" / "prometheus" / "rules" / "*.yml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for job, port in (*jobs.items(), ("prometheus", ports.prometheus))
        ],
    }


def prometheus(folder: Path, port: int) -> list[str]:
    """Return the command that serves ``folder/data``."""
    return [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=10y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process for the block, and end it like Ctrl-C does."""
    with (
        log.open("a", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(END_S)


def load(backend: str, ports: Ports, options: argparse.Namespace) -> None:
    """Start a service, ask one backend of it, end it."""
    gilscope, locust = [sys.executable, "-m", "gilscope"], [sys.executable, "-m", "locust"]
    serve = [*NICE, *gilscope, "serve", "--workload=primes", f"--arg=n={options.n}", f"--port={ports.work}"]
    serve += [f"--metrics-port={ports.service}", f"--lens-port={ports.lens}"]
    send = [*locust, f"--locustfile={ROOT / 'loadtests' / 'locustfile.py'}", "--headless", "--only-summary"]
    send += [f"--host=http://127.0.0.1:{ports.work}", f"--run-time={options.seconds}s", "--workload=primes"]
    send += [f"--backend={backend}", f"--rate={options.rate:g}", f"--metrics-port={ports.locust}"]
    with running(serve, options.folder / "service.log") as service:
        assert service.stdout is not None
        ready = service.stdout.readline()
        print(f"{clock(time.time())}  {backend}: {ready.strip()}", flush=True)
        with (options.folder / "locust.log").open("a", encoding="utf-8") as log:
            subprocess.run(send, stdout=log, stderr=log, check=True, timeout=options.seconds + READY_S)


def record(options: argparse.Namespace) -> tuple[float, float]:
    """Record all backends, one after another; return from when to when, in seconds since 1970."""
    options.folder.mkdir(parents=True)
    ports = Ports.free()
    config = json.dumps(configuration(ports), indent=2)  # JSON is YAML
    (options.folder / "prometheus.yml").write_text(config, encoding="utf-8")
    with running(prometheus(options.folder, ports.prometheus), options.folder / "prometheus.log"):
        begin = time.time()
        time.sleep(SCRAPES_S)
        for backend in options.backends:
            load(backend, ports, options)
        return begin, time.time()


def clock(moment_s: float) -> str:
    """Write a moment, in UTC."""
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def main() -> None:
    """Record, and say what to do with it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a new folder, outside of the repository")
    parser.add_argument("--n", type=int, default=16_000, help="of primes (default: %(default)d)")
    parser.add_argument("--rate", type=float, default=55.0, help="arrivals a second (default: %(default)g)")
    parser.add_argument("--seconds", type=int, default=85, help="per backend (default: %(default)d)")
    parser.add_argument(
        "--backends", nargs="+", default=BACKENDS, help="in this order (default: %(default)s)"
    )
    options = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # what runs beside it ends with it
    begin, end = record(options)
    print(f"load at the end: {os.getloadavg()[1]:.1f} over 5 minutes, on {os.cpu_count()} cores")
    print(f"Python {platform.python_version()}; to serve the data, and to draw them:")
    print(" ", *prometheus(options.folder, 9090))
    print(f"  python dashboards/draw.py --from {clock(begin)} --to {clock(end)}")


if __name__ == "__main__":
    main()
