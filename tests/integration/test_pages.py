from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import Page, chromium, find_chromium
from factories import make_evidence, make_many_stacks
from requirements import require

from gilscope.commands.drawing import draw_difference, draw_flame, render_report
from gilscope.flame.difference import Named
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
    return replace(made, stacks={flame.path: STACKS if flame.samples else {} for flame in made.run.flames})


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    path = find_chromium()
    require(path, "there is no chromium")
    assert path is not None
    async with chromium(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of its report, which nobody changes."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(evidence), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
async def test_the_report_is_whole_quiet_and_fits(
    page: Page,
    evidence: Evidence,
    report: str,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    await page.open(report, width=width, dark=dark)
    assert page.complaints == []
    assert page.requests == [report]
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for workload in {trial.workload for trial in evidence.run.trials}:
        assert await page.evaluate(f"document.body.innerText.includes({workload!r})")
    background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(",")]
    assert (max(channels) < 80) is dark


OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true })"
THREADS_HOLDING = "document.querySelector('#workload-2-threads-holding svg.flame')"
DIFFERENCE = (
    "[...document.querySelectorAll('#workload-2 details')].find(one =>"
    " one.querySelector('summary').innerText.includes('against')).querySelector('svg.flame')"
)
ALONE = "document.querySelector('svg.flame')"
FRAMES = "show service frames"


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
async def test_every_part_of_the_report_reacts(
    page: Page,
    evidence: Evidence,
    report: str,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    await page.open(report, width=width, dark=dark)
    await page.evaluate(OPEN_ALL)
    drawn = [flame for flame in evidence.run.flames if flame.samples]
    differences = 3 * len({flame.workload for flame in drawn})
    found = await page.evaluate("document.querySelectorAll('svg.flame.live').length")
    assert found == len(drawn) + differences
    await zooms_and_resets(page)
    await searches(page)
    await walks_by_keyboard(page, THREADS_HOLDING)
    await shows_the_service(page, THREADS_HOLDING)
    await keeps_its_search(page, THREADS_HOLDING)
    await is_drawn_at_either_width(page, DIFFERENCE)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await leads_from_the_bar_to_the_graph(page)
    assert page.complaints == []
    assert page.requests == [report]


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
async def test_a_graph_on_its_own_reacts(
    page: Page,
    evidence: Evidence,
    tmp_path: Path,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    url = written_alone(tmp_path, evidence)
    await page.open(url, width=width, dark=dark)
    await zooms_and_resets(page)
    await searches(page)
    await walks_by_keyboard(page, ALONE)
    await shows_the_service(page, ALONE)
    await keeps_its_search(page, ALONE)
    assert page.requests == [url]
    assert page.complaints == []


def written_alone(folder: Path, evidence: Evidence) -> str:
    flame = evidence.run.flames[0]
    path = folder / "graph.svg"
    path.write_text(draw_flame(evidence.run.plan, flame, evidence.stacks[flame.path]), encoding="utf-8")
    return path.as_uri()


async def test_a_file_of_its_own_is_as_high_as_the_layer_that_is_shown(
    page: Page, evidence: Evidence, tmp_path: Path
) -> None:
    await page.open(written_alone(tmp_path, evidence))
    height = "Number(document.documentElement.getAttribute('height'))"
    bottom = f"{lowest(ALONE)} - document.documentElement.getBoundingClientRect().top"
    folded, below = await page.evaluate(height), await page.evaluate(bottom)
    gained = await page.evaluate(
        "document.querySelectorAll('.boxes')[1].getAttribute('height')"
        " - document.querySelectorAll('.boxes')[0].getAttribute('height')"
    )
    assert gained > 0
    assert 0 <= folded - below < 40
    await click_button(page, ALONE, FRAMES)
    assert await page.evaluate(height) == folded + gained
    assert await page.evaluate(height) - await page.evaluate(bottom) == pytest.approx(folded - below, abs=0.5)
    await click_button(page, ALONE, FRAMES)
    assert await page.evaluate(height) == folded


async def test_a_graph_in_a_page_is_as_high_as_the_layer_that_is_shown(page: Page, report: str) -> None:
    await page.open(report)
    await page.evaluate(OPEN_ALL)
    room = f"{THREADS_HOLDING}.getBoundingClientRect().bottom - {lowest(THREADS_HOLDING)}"
    height = f"{THREADS_HOLDING}.getBoundingClientRect().height"
    assert 0 <= await page.evaluate(room) < 3
    folded = await page.evaluate(height)
    await click_button(page, THREADS_HOLDING, FRAMES)
    assert await page.evaluate(height) > folded
    assert 0 <= await page.evaluate(room) < 3
    assert page.complaints == []


async def test_the_service_comes_back_by_keyboard_and_the_focus_stays(page: Page, report: str) -> None:
    await page.open(report)
    await page.evaluate(OPEN_ALL)
    await page.evaluate(f"{box(THREADS_HOLDING, SERVICE)}.focus()")
    await press_key(page, "Enter")
    assert await layer_of(page, THREADS_HOLDING) == "shown"
    assert await page.evaluate(f"{THREADS_HOLDING}.contains(document.activeElement)")


async def test_a_side_without_service_frames_can_be_chosen_while_they_are_shown(
    page: Page, evidence: Evidence, tmp_path: Path
) -> None:
    """One side's picture is the same with the service folded away and without."""
    flame = evidence.run.flames[0]
    work = "primes (gilscope/workloads/primes.py:4)"
    now: Folded = {(*LOOP, work): 2.0}
    before: Folded = {(work,): 2.0}
    svg = draw_difference(
        evidence.run.plan, (Named("now", flame, now), Named("before", flame, before)), "primes"
    )
    path = tmp_path / "graph.svg"
    path.write_text(svg, encoding="utf-8")
    await page.open(path.as_uri())
    await click_button(page, ALONE, FRAMES)
    assert await layer_of(page, ALONE) == "shown"
    await click_button(page, ALONE, "widths: before")
    assert await side_of(page, ALONE) == "before"
    await click_button(page, ALONE, "widths: now")
    assert await side_of(page, ALONE) == "now"


async def test_a_link_from_elsewhere_opens_the_graph(page: Page, report: str) -> None:
    await page.open(f"{report}#workload-3-processes-wall")
    await is_in_view(page, "workload-3-processes-wall")
    assert page.complaints == []


@pytest.mark.parametrize("hash_", ["#", "#nowhere", "#%", "#%22%5D", "#workload-2"])
async def test_any_hash_is_taken_quietly(page: Page, report: str, hash_: str) -> None:
    await page.open(f"{report}{hash_}")
    assert await page.evaluate("document.querySelectorAll('svg.flame.live').length") > 0
    assert await page.evaluate("document.querySelectorAll('details[open]').length") == 0
    assert page.complaints == []


async def test_a_graph_of_a_hundred_thousand_stacks_opens_and_reacts(
    page: Page, evidence: Evidence, tmp_path: Path
) -> None:
    path = tmp_path / "graph.svg"
    svg = draw_flame(evidence.run.plan, evidence.run.flames[0], make_many_stacks(100_000))
    path.write_text(svg, encoding="utf-8")
    await page.open(path.as_uri())
    count = await page.evaluate("document.querySelectorAll('.boxes > svg').length")
    assert 100 < count < 5000
    wanted = "document.querySelectorAll('.boxes > svg')[2]"
    assert await page.evaluate(f"parseFloat({wanted}.getAttribute('width'))") < 50
    await click(page, wanted)
    assert await page.evaluate(f"parseFloat({wanted}.getAttribute('width'))") == 100
    assert "% zoomed" in await status_of(page, ALONE)
    await page.evaluate(f"{ALONE}.querySelector('input').focus()")
    await page.call("Input.insertText", text="f3_1")
    assert "\u2265 " in await status_of(page, ALONE), "what is too narrow to draw has no name to be found by"
    assert page.complaints == []


SERVICE = "one.querySelector('title').textContent.startsWith('(service)\\n')"


def box(graph: str, condition: str) -> str:
    """Write the script that finds a box of the layer that is shown; in the condition it is called ``one``."""
    return f"[...{graph}.querySelectorAll('.boxes:not([display]) > svg')].find(one => {condition})"


def named(name: str) -> str:
    return f"one.querySelector('title').textContent.startsWith('{name} (')"


def lowest(graph: str) -> str:
    """Write the script that finds the lower edge of the boxes that are shown."""
    rects = f"{graph}.querySelectorAll('.boxes:not([display]) > svg > rect')"
    return f"Math.max(...[...{rects}].map(one => one.getBoundingClientRect().bottom))"


async def click(page: Page, element: str) -> None:
    """Click the middle of an element as a hand would, once the page is at rest: it scrolls smoothly."""
    await at_rest(page)
    await page.evaluate(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    await at_rest(page)
    x, y = await page.evaluate(
        f"(() => {{ const edges = {element}.getBoundingClientRect();"
        " return [edges.left + edges.width / 2, edges.top + edges.height / 2] })()"
    )
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        which = "none" if kind == "mouseMoved" else "left"
        await page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=which, clickCount=1)


async def at_rest(page: Page) -> None:
    """Wait until the page has not scrolled for some frames."""
    await page.evaluate(
        "new Promise(done => { let last = NaN, still = 0; const look = () => {"
        " still = (globalThis.scrollY || 0) === last ? still + 1 : 0; last = globalThis.scrollY || 0;"
        " if (still >= 6) done(); else requestAnimationFrame(look) }; look() })"
    )


KEYS = {
    "Enter": 13,
    "Escape": 27,
    "ArrowUp": 38,
    "ArrowDown": 40,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "/": 191,
}


async def press_key(page: Page, key: str) -> None:
    text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
    code = {"key": key, "windowsVirtualKeyCode": KEYS[key]}
    await page.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
    await page.call("Input.dispatchKeyEvent", type="keyUp", **code)


def button(graph: str, words: str) -> str:
    return f"[...{graph}.querySelectorAll('button')].find(one => one.textContent === '{words}')"


async def click_button(page: Page, graph: str, words: str) -> None:
    await click(page, button(graph, words))


async def is_pressed(page: Page, graph: str, words: str) -> bool:
    return bool(await page.evaluate(f"{button(graph, words)}.getAttribute('aria-pressed') === 'true'"))


async def status_of(page: Page, graph: str) -> str:
    return str(await page.evaluate(f"{graph}.querySelector('.status').textContent"))


async def shown_layer(page: Page, graph: str, name: str) -> str:
    """Return a datum of the one layer of a graph that can be seen."""
    (found,) = await page.evaluate(
        f"[...{graph}.querySelectorAll('.boxes')].filter(one => one.getBoundingClientRect().width > 0)"
        f".map(one => one.dataset.{name})"
    )
    return str(found)


async def layer_of(page: Page, graph: str) -> str:
    return await shown_layer(page, graph, "harness")


async def side_of(page: Page, graph: str) -> str:
    return await shown_layer(page, graph, "side")


async def share_of(page: Page, graph: str, name: str) -> float:
    """Return the width of a frame's box, as it is drawn, in percent of its graph's."""
    return float(
        await page.evaluate(
            f"100 * {box(graph, named(name))}.querySelector('rect').getBoundingClientRect().width"
            f" / {graph}.querySelector('.boxes:not([display])').width.baseVal.value"
        )
    )


async def walks_by_keyboard(page: Page, graph: str) -> None:
    """Walk from the root down and to the right, zoom there and come back."""
    focused = "document.activeElement.querySelector('title').textContent.split('\\n')[0]"
    await page.evaluate(f"{graph}.querySelector('.boxes:not([display]) > svg').focus()")
    await press_key(page, "ArrowDown")
    assert await page.evaluate(focused) == "(service)"
    await press_key(page, "ArrowDown")
    assert await page.evaluate(focused) == "primes (gilscope/workloads/primes.py:4)"
    await press_key(page, "ArrowRight")
    assert await page.evaluate(focused) == "write (asyncio/selector_events.py:1037)"
    await press_key(page, "ArrowLeft")
    assert await page.evaluate(focused) == "primes (gilscope/workloads/primes.py:4)"
    await press_key(page, "Enter")
    assert await share_of(page, graph, "primes") == pytest.approx(100, abs=0.1)
    assert await status_of(page, graph) == "70.0 % zoomed \u00b7 Esc resets"
    await press_key(page, "Escape")
    assert await share_of(page, graph, "primes") == pytest.approx(70, abs=0.1)
    await press_key(page, "ArrowUp")
    assert await page.evaluate(focused) == "(service)"
    await press_key(page, "/")
    await page.call("Input.insertText", text="JSON")
    assert await status_of(page, graph) == "10.0 % matched \u00b7 Esc resets"
    await press_key(page, "Escape")
    assert "matched" not in await status_of(page, graph)
    assert await page.evaluate(f"{graph}.querySelector('input').value") == ""


async def shows_the_service(page: Page, graph: str) -> None:
    """Bring the frames of the service back by button and by a click on what stands for them."""
    loop = box(graph, named("run_forever"))
    for to_be_clicked in (button(graph, FRAMES), box(graph, SERVICE)):
        assert await layer_of(page, graph) == "folded"
        assert not await is_pressed(page, graph, FRAMES)
        assert await page.evaluate(f"{loop} === undefined")
        await click(page, to_be_clicked)
        assert await layer_of(page, graph) == "shown"
        assert await is_pressed(page, graph, FRAMES)
        assert await page.evaluate(f"{box(graph, SERVICE)} === undefined")
        assert await page.evaluate(f"{loop}.getBoundingClientRect().width > 0")
        assert await share_of(page, graph, "primes") == pytest.approx(70, abs=0.1)
        await click_button(page, graph, FRAMES)
    assert await layer_of(page, graph) == "folded"


async def keeps_its_search(page: Page, graph: str) -> None:
    await page.evaluate(f"{graph}.querySelector('input').focus()")
    await page.call("Input.insertText", text="primes")
    for layer in ("folded", "shown", "folded"):
        assert await layer_of(page, graph) == layer
        assert await page.evaluate(f"{graph}.querySelector('input').value") == "primes"
        assert await status_of(page, graph) == "70.0 % matched \u00b7 Esc resets"
        hits = f"{graph}.querySelectorAll('.boxes:not([display]) > .hit')"
        assert await page.evaluate(f"[...{hits}].map(one => one.querySelector('text').textContent)") == [
            "primesgilscope/workloads/primes.py:4"
        ]
        await click_button(page, graph, FRAMES)
    await click_button(page, graph, FRAMES)
    await page.evaluate(f"{graph}.querySelector('input').focus()")
    await press_key(page, "Escape")
    assert "matched" not in await status_of(page, graph)


async def is_drawn_at_either_width(page: Page, graph: str) -> None:
    """Choose the widths of either side of a difference, with and without the frames of the service."""
    now, before = "widths: threads", "widths: processes"
    shares = {}
    for words, side in ((before, "processes"), (now, "threads")):
        await click_button(page, graph, words)
        assert await side_of(page, graph) == side
        assert await is_pressed(page, graph, words)
        assert not await is_pressed(page, graph, now if words == before else before)
        shares[side] = await share_of(page, graph, "primes")
        await click_button(page, graph, FRAMES)
        assert (await layer_of(page, graph), await side_of(page, graph)) == ("shown", side)
        assert await share_of(page, graph, "primes") == pytest.approx(shares[side], abs=0.1)
        await click_button(page, graph, FRAMES)
        assert (await layer_of(page, graph), await side_of(page, graph)) == ("folded", side)
    # Per request, and both to one scale: processes gave nearly twice the answers.
    assert shares["processes"] < shares["threads"] == pytest.approx(70, abs=0.5)


async def leads_from_the_bar_to_the_graph(page: Page) -> None:
    """Click where a request waited for the GIL: the fold opens, and who waited is in view. Twice."""
    place = "workload-2-threads-waiting"
    segment = (
        f"[...document.querySelectorAll('#workload-2 .evidence a[href=\"#{place}\"] .s-gil_wait')]"
        ".find(one => one.getBoundingClientRect().width > 0)"
    )
    for _ in range(2):
        await page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = false })")
        await click(page, segment)
        await is_in_view(page, place)
        assert await page.evaluate("document.querySelectorAll('details.flames[open]').length") == 1


async def is_in_view(page: Page, place: str) -> None:
    """Wait until a graph's fold is open and the page has scrolled to it, which it does smoothly."""
    state = (
        f"(() => {{ const one = document.getElementById('{place}'), top = one.getBoundingClientRect().top;"
        " return one.closest('details').open && top >= -1 && top < innerHeight / 2 })()"
    )
    for _ in range(250):
        if await page.evaluate(state):
            await at_rest(page)
            assert await page.evaluate(state)
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{place} is not in view")


async def zooms_and_resets(page: Page) -> None:
    """Click the narrowest named box of the first graph: it fills the width; Escape restores every edge."""
    await page.evaluate(
        f"""globalThis.graph = {FIRST_GRAPH};
        globalThis.boxes = [...graph.querySelectorAll('.boxes:not([display]) > svg:not(.rest)')];
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
    await page.evaluate("input.value = ''; input.dispatchEvent(new Event('input', {bubbles: true}))")
