from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import Page, chromium, find_chromium
from factories import make_evidence
from requirements import require

from gilscope.commands.drawing import draw_flame, render_report
from gilscope.model import Evidence, Folded

pytestmark = pytest.mark.integration

LOOP = ("run_forever (asyncio/base_events.py:593)", "_run_once (asyncio/base_events.py:1845)")
STACKS: Folded = {
    (*LOOP, "execute (gilscope/backends/execution.py:21)", "primes (gilscope/workloads/primes.py:4)"): 70.0,
    (*LOOP, "write (asyncio/selector_events.py:1037)"): 20.0,
    (*LOOP, "<b>loads</b> (json/__init__.py:299)"): 10.0,
}
FIRST_GRAPH = "document.querySelector('svg.flame')"


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    made = make_evidence()
    return replace(made, stacks={flame.path: STACKS for flame in made.run.flames})


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    path = find_chromium()
    require(path, "there is no chromium")
    assert path is not None
    async with chromium(path) as opened:
        yield opened


def written(folder: Path, evidence: Evidence) -> str:
    path = folder / "report.html"
    path.write_text(render_report(evidence), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
async def test_the_report_is_whole_quiet_and_fits(
    page: Page,
    evidence: Evidence,
    tmp_path: Path,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    url = written(tmp_path, evidence)
    await page.open(url, width=width, dark=dark)
    assert page.complaints == []
    assert page.requests == [url]
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for workload in {trial.workload for trial in evidence.run.trials}:
        assert await page.evaluate(f"document.body.innerText.includes({workload!r})")
    background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(",")]
    assert (max(channels) < 80) is dark


async def test_graphs_of_the_report_zoom_and_search(page: Page, evidence: Evidence, tmp_path: Path) -> None:
    await page.open(written(tmp_path, evidence))
    await page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert await page.evaluate("document.querySelectorAll('svg.flame').length") == len(evidence.run.flames)
    await zooms_and_resets(page)
    await searches(page)
    assert page.complaints == []


async def test_a_graph_on_its_own_zooms_and_searches(page: Page, evidence: Evidence, tmp_path: Path) -> None:
    flame = evidence.run.flames[0]
    path = tmp_path / "graph.svg"
    path.write_text(draw_flame(evidence.run.plan, flame, evidence.stacks[flame.path]), encoding="utf-8")
    await page.open(path.as_uri())
    await zooms_and_resets(page)
    await searches(page)
    assert page.requests == [path.as_uri()]
    assert page.complaints == []


async def zooms_and_resets(page: Page) -> None:
    """Click the narrowest named box of the first graph: it fills the width; Escape restores every edge."""
    await page.evaluate(
        f"""globalThis.graph = {FIRST_GRAPH};
        globalThis.boxes = [...graph.querySelectorAll('.boxes > svg:not(.rest)')];
        globalThis.edges = () => boxes.map(one => [one.getAttribute('x'), parseFloat(one.getAttribute('width'))]);
        globalThis.before = edges();
        globalThis.narrow = boxes.reduce((a, b) =>
            parseFloat(b.getAttribute('width')) < parseFloat(a.getAttribute('width')) ? b : a);
        undefined"""
    )
    assert await page.evaluate("parseFloat(narrow.getAttribute('width')) < 60")
    await page.evaluate("narrow.dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert await page.evaluate("parseFloat(narrow.getAttribute('width'))") == 100
    await page.evaluate("narrow.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))")
    assert await page.evaluate(
        "edges().every(([x, width], at) => Math.abs(parseFloat(x) - parseFloat(before[at][0])) < 0.01"
        " && Math.abs(width - before[at][1]) < 0.01)"
    )


async def searches(page: Page) -> None:
    """Search for the root's first callee: something matches, and the share is told."""
    await page.evaluate(
        f"""globalThis.input = {FIRST_GRAPH}.querySelector('input');
        const title = {FIRST_GRAPH}.querySelector('.boxes > svg.own title').textContent;
        globalThis.wanted = title.slice(0, title.indexOf(' '));
        input.value = wanted; input.dispatchEvent(new Event('input', {{bubbles: true}})); undefined"""
    )
    matched = float(await page.evaluate(f"{FIRST_GRAPH}.dataset.matched"))
    assert 0 < matched <= 100
    status = await page.evaluate(f"{FIRST_GRAPH}.querySelector('.status').textContent")
    assert f"{matched:.1f} % matched" in status
    hits = await page.evaluate(
        f"[...{FIRST_GRAPH}.querySelectorAll('.hit')].every("
        "one => one.querySelector('title').textContent.includes(wanted))"
    )
    assert hits
    assert await page.evaluate(f"{FIRST_GRAPH}.querySelectorAll('.hit').length") > 0
    await page.evaluate(
        "input.value = 'no such frame'; input.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert await page.evaluate(f"{FIRST_GRAPH}.dataset.matched") == "0.00"
