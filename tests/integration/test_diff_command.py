"""``gilscope diff`` as a user runs it, on runs that lie on disk, and its page as a browser shows it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Page, chromium, find_chromium
from factories import make_evidence, with_stacks
from requirements import require

from gilscope.compare.store import RunFolder
from gilscope.load.samples import write_samples
from gilscope.model import Evidence

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs beside each other, the later one with twice the answers while it was profiled."""
    folder = tmp_path_factory.mktemp("runs")
    evidence = with_stacks(make_evidence())
    save(folder / "before", evidence)
    flames = tuple(replace(flame, requests=2 * (flame.requests or 0)) for flame in evidence.run.flames)
    save(folder / "now", replace(evidence, run=replace(evidence.run, name="later", flames=flames)))
    return folder


def save(path: Path, evidence: Evidence) -> None:
    folder = RunFolder.create(path)
    for name, samples in evidence.samples.items():
        write_samples(folder.path / name, samples)
    for flame in evidence.run.flames:
        folder.write_flame(flame, evidence.stacks[flame.path], None)
    folder.write_run(evidence.run)


def gilscope(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gilscope", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def strictly(text: str) -> Any:  # noqa: ANN401  JSON may hold anything
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_it_compares_all_that_was_measured(runs: Path) -> None:
    ended = gilscope(runs, "diff", "before", "now")
    assert (ended.returncode, ended.stderr) == (0, "")
    found = re.findall(r"^(\w+), now / before ", ended.stdout, re.MULTILINE)
    assert found == ["http_fetch", "primes", "sha256", "json_roundtrip"]
    assert "*" not in ended.stdout.replace("* a difference is shown", "")
    assert ended.stdout.endswith("\npage: now/diff-before.html\n")
    assert {path.name for path in (runs / "before").iterdir()} == {"run.json", "latency", "flames"}
    assert not list(runs.rglob("*.tmp"))


def test_standard_output_is_one_json_object(runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ended = gilscope(runs, "diff", "before", "now", "--json", "--out", str(page))
    assert (ended.returncode, ended.stderr) == (0, "")
    answer = strictly(ended.stdout)
    assert answer["page"] == str(page)
    assert len(answer["changes"]) == 11
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("folders", [("before", "nowhere"), (".", "now"), ("now/run.json", "now")])
def test_what_is_no_run_is_bad_input(runs: Path, folders: tuple[str, str]) -> None:
    ended = gilscope(runs, "diff", *folders)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("gilscope diff: ")
    assert "Traceback" not in ended.stderr


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    path = find_chromium()
    require(path, "there is no chromium")
    assert path is not None
    async with chromium(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def difference(runs: Path) -> str:
    """The address of the page of both."""
    path = runs / "difference.html"
    assert gilscope(runs, "diff", "before", "now", "--out", str(path)).returncode == 0
    return path.as_uri()


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
async def test_the_page_is_quiet_and_its_graphs_react(
    page: Page,
    difference: str,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    await page.open(difference, width=width, dark=dark)
    assert await page.evaluate("document.body.innerText.includes('What changed')")
    await page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    drawn = sum(bool(flame.samples) for flame in make_evidence().run.flames)
    assert await page.evaluate("document.querySelectorAll('svg.flame.live').length") == drawn
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate("document.querySelectorAll('svg.flame .boxes .shrank-2').length") > 0
    words = "[...document.querySelector('svg.flame').querySelectorAll('button')].map(one => one.textContent)"
    assert await page.evaluate(words) == ["show service frames", "widths: now", "widths: before"]
    shown = (
        "[...document.querySelector('svg.flame').querySelectorAll('.boxes')]"
        ".filter(one => one.getBoundingClientRect().width > 0).map(one => one.dataset.side)"
    )
    assert await page.evaluate(shown) == ["now"]
    await page.evaluate("document.querySelector('svg.flame').querySelectorAll('button')[2].click()")
    assert await page.evaluate(shown) == ["before"]
    assert page.complaints == []
    assert page.requests == [difference]
