"""Prometheus's configuration and rules: accepted and tested by promtool, and complete."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from dashboards import FOLDER, METRICS, NAMES, PROMETHEUS_OWN, dashboard, names_in, queries, recorded
from requirements import require

PROMETHEUS = FOLDER / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    require(shutil.which("promtool"), "promtool is not installed")
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=100)


def alerts() -> dict[str, str]:
    """Return the text of each alerting rule by its name."""
    text = (PROMETHEUS / "rules" / "alerting.yml").read_text(encoding="utf-8")
    return {block.split("\n", 1)[0]: block for block in text.split("- alert: ")[1:]}


def cases() -> list[str]:
    """Return the text of each group of unit tests, its comment left out."""
    return [case for path in TESTS for case in path.read_text(encoding="utf-8").split("- interval: ")[1:]]


def cases_of(alert: str) -> list[str]:
    return [case for case in cases() if f"alertname: {alert}\n" in case]


def test_configuration_is_accepted() -> None:
    done = promtool("check", "config", PROMETHEUS / "prometheus.yml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout


def test_rules_are_accepted() -> None:
    done = promtool("check", "rules", *RULES)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_tests_say(path: Path) -> None:
    done = promtool("test", "rules", path)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_does_something_else_is_found(tmp_path: Path) -> None:
    folder = shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    rules = folder / "rules" / "recording.yml"
    rules.write_text(rules.read_text().replace("histogram_quantile(0.99,", "histogram_quantile(0.9,"))

    done = promtool("test", "rules", folder / "tests" / "recording.yml")

    assert done.returncode != 0
    assert "p99_1m" in done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts())
def test_alert_says_what_it_means_and_what_to_do(alert: str) -> None:
    rule = alerts()[alert]

    assert re.search(r"\n +summary: \S", rule)
    described = re.search(r"\n +description: >-\n((?: {12}.*\n)+)", rule)
    assert described
    assert described[1].count(". ") + described[1].count(".\n") >= 2
    assert re.search(r"labels: \{severity: (warning|critical), source: gilscope\}", rule)


@pytest.mark.parametrize("alert", alerts())
def test_alert_is_tested_to_fire_to_end_and_not_to_fire_with_data_and_without(alert: str) -> None:
    found = cases_of(alert)

    assert any(
        re.search(r"exp_alerts: \[\]\n(?s:.*)- exp_labels(?s:.*)exp_alerts: \[\]", case) for case in found
    )
    assert any("input_series" in case and "exp_labels" not in case for case in found)
    assert any("input_series" not in case for case in found)


@pytest.mark.parametrize("name", recorded())
def test_recorded_series_is_tested_with_data_and_without(name: str) -> None:
    asked = re.findall(
        rf"expr: (.*{re.escape(name)}\b(?!:).*)\n +eval_time: \S+\n +exp_samples:( \[\])?", "".join(cases())
    )

    assert any(not empty for _, empty in asked)
    assert name.endswith("rate1m") or any(empty for _, empty in asked)


@pytest.mark.parametrize("name", recorded())
def test_name_of_recorded_series_says_level_metric_and_operation(name: str) -> None:
    level, metric, operation = name.split(":")

    assert re.search(
        rf"by \({', '.join(sorted([*level.split('_'), 'le']))}\)|by \({', '.join(level.split('_'))}\)",
        recorded()[name],
    )
    assert metric.startswith("gilscope_")
    assert re.fullmatch(r"(p\d\d_|rate|(\w+_)?ratio_rate)1m", operation)


def test_rules_ask_for_what_is_exposed() -> None:
    known = METRICS | PROMETHEUS_OWN | set(recorded())
    exprs = [*recorded().values(), *map(_expr_of, alerts().values())]

    assert set[str]().union(*map(names_in, exprs)) - known == set()


def test_dashboards_show_only_what_is_recorded() -> None:
    shown = {name for board in NAMES for _, asked in queries(dashboard(board)) for name in names_in(asked)}

    assert {name for name in shown if ":" in name} <= set(recorded())


def test_whatever_is_recorded_is_used() -> None:
    shown = {name for board in NAMES for _, asked in queries(dashboard(board)) for name in names_in(asked)}
    compared = set[str]().union(*map(names_in, map(_expr_of, alerts().values())))

    assert set(recorded()) <= shown | compared


def test_every_job_is_scraped() -> None:
    text = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")

    assert re.findall(r"job_name: (\S+)", text) == ["gilscope", "gilscope-lens", "locust", "prometheus"]
    assert re.findall(r'targets: \["(\S+)"\]', text) == ["service:9464", "service:9465", "localhost:9090"]


def _expr_of(rule: str) -> str:
    found = re.search(r"expr: (?:>-\n)?((?:.*\n)+?) +(?:for|labels):", rule)
    assert found
    return found[1]
