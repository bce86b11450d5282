"""A real Prometheus, and what it says of what it scraped."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import psutil
from polling import PATIENCE_S, eventually
from requirements import require


def require_prometheus() -> None:
    """Skip the test where Debian's ``prometheus`` package, or another one with ``promtool``, is missing."""
    for program in ("prometheus", "promtool"):
        require(shutil.which(program), f"{program} is not installed")


def scraped(url: str) -> str:
    """Return what a scrape gets."""
    with urlopen(url, timeout=PATIENCE_S) as answer:
        text: str = answer.read().decode()
    return text


def complaints(exposed: str) -> str:
    """Return what promtool has against an exposition (nothing where it is fine)."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposed,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return done.stdout + done.stderr


class Prometheus:
    """A server that scrapes once a second."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, promql: str) -> dict[str, float]:
        """Return an instant query's values, by labels as ``a=1,b=2``; empty where there is no answer (yet)."""
        found = self._ask("query", query=promql)
        return {_labels(row): float(row["value"][1]) for row in found}

    def query_range(self, promql: str, start_s: float, end_s: float, step_s: float) -> dict[str, list[float]]:
        """Return a range query's values, by labels; the moments are in seconds since 1970."""
        found = self._ask("query_range", query=promql, start=start_s, end=end_s, step=step_s)
        return {_labels(row): [float(value) for _, value in row["values"]] for row in found}

    def _ask(self, kind: str, **parameters: object) -> list[dict[str, Any]]:
        """Ask; a query that cannot be answered fails the test with what Prometheus says of it."""
        try:
            with urlopen(f"{self._url}/api/v1/{kind}?{urlencode(parameters)}", timeout=PATIENCE_S) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except HTTPError as refusal:
            if refusal.code == HTTPStatus.SERVICE_UNAVAILABLE:  # it listens before it answers
                raise
            with refusal:
                raise AssertionError(f"{parameters}: {refusal.read().decode()}") from None
        return found


def _labels(row: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={label}" for key, label in sorted(row["metric"].items()))


@contextmanager
def scraping(folder: Path, targets: Mapping[str, str], rules: str | None = None) -> Iterator[Prometheus]:
    """Run Prometheus for the block, scraping ``targets`` (URLs by job), once all of them are up.

    ``rules`` is a pattern of files with rules.
    """
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [] if rules is None else [rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [urlsplit(url).netloc]}]}
            for job, url in targets.items()
        ],
    }
    path = folder / "prometheus.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    command = [
        "prometheus",
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            server = Prometheus(f"http://127.0.0.1:{_port_of(process.pid)}")
            eventually(lambda: _up(server) == len(targets), f"all of {targets} to be scraped")
            yield server
        finally:
            process.kill()


def _port_of(pid: int) -> int:
    process = psutil.Process(pid)
    ports: list[int] = []

    def listens() -> bool:
        ports[:] = [found.laddr.port for found in process.net_connections() if found.status == "LISTEN"]
        return bool(ports)

    eventually(listens, "Prometheus to listen")
    return ports[0]


def _up(server: Prometheus) -> int:
    try:
        return sum(value == 1 for value in server.query("up").values())
    except OSError:  # it listens before it answers
        return 0
