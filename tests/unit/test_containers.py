"""What is true of the containers without building them; tests/stack brings them up."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from served import free_port

from gilscope.flame.sampling import FIRST_MINOR

ROOT = Path(__file__).parents[2]
DOCKERFILES = ("service/Dockerfile", "loadtests/Dockerfile")
SERVICE_NEEDS = ("aiohttp", "prometheus-client", "psutil", "pyelftools")
SERVICES = {"service", "locust-master", "locust-worker", "prometheus", "grafana", "profiler"}


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def versions() -> dict[str, str]:
    lines = [line for line in read(".env").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_every_image_is_pinned() -> None:
    # An official Python image exports PYTHON_VERSION: it would go before .env where Compose runs in one.
    assert versions().keys() == {"GILSCOPE_PYTHON", "PROMETHEUS_VERSION", "GRAFANA_VERSION"}
    for name, version in versions().items():
        assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", version), name
    for path in DOCKERFILES:
        assert f"ARG PYTHON_VERSION={versions()['GILSCOPE_PYTHON']}\n" in read(path), "as without Compose"


def test_the_stack_has_every_backend_and_sees_them_all() -> None:
    assert tuple(map(int, versions()["GILSCOPE_PYTHON"].split("."))) >= (3, FIRST_MINOR)


@pytest.mark.parametrize("path", DOCKERFILES)
def test_dockerfiles_need_no_buildkit_and_run_as_nobody_in_particular(path: str) -> None:
    text = read(path)
    assert not re.search(r"--mount|<<|^# syntax", text, re.MULTILINE)
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    assert users == ["gilscope"]


def test_the_service_image_installs_what_pyproject_asks_for_and_nothing_else() -> None:
    wanted = tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]
    needed = [one for one in wanted if re.match(r"[\w-]+", one)[0] in SERVICE_NEEDS]  # type: ignore[index]
    [line] = re.findall(r"^RUN pip install --no-cache-dir (\".*)$", read("service/Dockerfile"), re.MULTILINE)
    assert sorted(re.findall(r'"([^"]+)"', line)) == sorted(needed)
    assert "--no-deps ." in read("service/Dockerfile")


class Answers(BaseHTTPRequestHandler):
    """Answers every path with the status that it names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.removeprefix("/")))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """Where somebody answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def healthy(port: int, path: str = "/") -> bool:
    command = [str(ROOT / "service" / "healthy"), str(port), path]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def test_whoever_answers_is_healthy_unless_it_says_otherwise(port: int) -> None:
    answers = {status: healthy(port, f"/{status}") for status in (200, 401, 404, 500, 503)}
    assert answers == {200: True, 401: True, 404: True, 500: False, 503: False}


def test_whoever_does_not_answer_is_not_healthy(port: int) -> None:
    assert healthy(port, "/204")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not healthy(silent.getsockname()[1])
    assert not healthy(free_port())


@pytest.mark.parametrize("path", DOCKERFILES)
def test_images_have_the_health_check(path: str) -> None:
    assert "COPY service/healthy /usr/local/bin/\n" in read(path)


def composed(**environment: str) -> dict[str, Any]:
    """Return what Compose makes of docker-compose.yml."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker")
    command = ["docker", "compose", "--profile", "profiler", "config", "--format", "json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "is not a docker command" in done.stderr or "unknown" in done.stderr:
        pytest.skip("this docker has no Compose v2")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    """The stack as it comes."""
    return composed()


def test_compose_takes_it_and_it_is_all_there(config: dict[str, Any]) -> None:
    assert config["services"].keys() == SERVICES
    assert config["services"]["profiler"]["profiles"] == ["profiler"], "off unless asked for"
    assert config["services"]["profiler"]["pid"] == "service:service"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_containers_may_do_as_little_as_they_can(config: dict[str, Any], name: str) -> None:
    service = config["services"][name]
    assert {port["host_ip"] for port in service.get("ports", ())} <= {"127.0.0.1"}
    assert service["read_only"]
    assert service["init"]
    assert service["cap_drop"] == ["ALL"]
    assert ("cap_add" in service) is (name == "profiler")
    assert not {"cpus", "deploy"} & service.keys(), "a quota throttles, which shows up as latency"
    assert "healthcheck" in service or name == "service", "that one's is in its Dockerfile"


def test_the_number_of_workers_stands_where_it_outlasts_a_command(config: dict[str, Any]) -> None:
    assert config["services"]["locust-worker"]["scale"] == 1
    assert composed(LOCUST_WORKERS="3")["services"]["locust-worker"]["scale"] == 3


def test_another_image_of_python_does_not_change_the_stack(config: dict[str, Any]) -> None:
    assert composed(PYTHON_VERSION="3.11.9") == config
    built = composed(GILSCOPE_PYTHON="3.14")["services"]
    for name in ("service", "locust-master"):
        assert built[name]["build"]["args"] == {"PYTHON_VERSION": "3.14"}


def test_health_is_asked_for_seldom_and_without_a_python(config: dict[str, Any]) -> None:
    asked = [service["healthcheck"] for service in config["services"].values() if "healthcheck" in service]
    assert {check["interval"] for check in asked} == {"10s"}
    assert not [check for check in asked if "start_interval" in check], "Docker Engine before 25 refuses it"
    assert "--interval=10s" in read("service/Dockerfile")
    for command in (*(check["test"] for check in asked), read("service/Dockerfile").split("HEALTHCHECK")[1]):
        assert "python" not in str(command)


def test_what_is_needed_is_healthy_before(config: dict[str, Any]) -> None:
    waits = {
        name: {needed: how["condition"] for needed, how in service.get("depends_on", {}).items()}
        for name, service in config["services"].items()
    }
    assert {how for needs in waits.values() for how in needs.values()} == {"service_healthy"}
    assert waits.pop("service") == {}
    assert all(waits.values())


def test_grafana_lets_everybody_look_and_nobody_in(config: dict[str, Any]) -> None:
    environment = config["services"]["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert (
        environment["GF_ANALYTICS_REPORTING_ENABLED"]
        == environment["GF_ANALYTICS_CHECK_FOR_UPDATES"]
        == "false"
    )
    assert not [key for key in environment if "PASSWORD" in key]
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    mounts = {mount["target"]: mount["source"] for mount in config["services"]["grafana"]["volumes"]}
    assert Path(mounts[str(Path(home).parent)], Path(home).name).exists()
