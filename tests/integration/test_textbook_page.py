"""The textbook's table in a real browser: whole, quiet, and readable on a phone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from browser import Page, chromium, find_chromium
from requirements import require
from textbooks import AGAIN, FREE, NEW, OLD, make_textbook

from gilscope.report.textbook import render_textbook
from gilscope.textbook.claims_table import CLAIMS

pytestmark = pytest.mark.integration


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    path = find_chromium()
    require(path, "there is no chromium")
    assert path is not None
    async with chromium(path) as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
async def test_the_table_is_whole_quiet_and_fits(
    page: Page,
    tmp_path: Path,
    width: int,
    dark: bool,  # noqa: FBT001
) -> None:
    path = tmp_path / "textbook.html"
    textbook = make_textbook(OLD, NEW, FREE, AGAIN)
    path.write_text(render_textbook(textbook, tuple(CLAIMS.values())), encoding="utf-8")
    await page.open(path.as_uri(), width=width, dark=dark)
    assert page.complaints == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate("document.querySelectorAll('td[data-column]').length") == 2 * 9 * 6
    # What could not be measured says why: at the head of the column, and where there is none, in the cell.
    shown = "[...document.querySelectorAll('.said-above')].filter(one => one.offsetParent).length"
    assert await page.evaluate(shown) == (0 if width == 1400 else 9)
    folded = "document.querySelector('td details')"
    await page.evaluate(f"{folded}.querySelector('summary').click()")
    assert await page.evaluate(f"{folded}.querySelector('dl').offsetHeight > 0")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # A cell's link leads to its code, and opens what that is folded into.
    codes = "document.querySelector('.codes details')"
    assert not await page.evaluate(f"{codes}.open")
    await page.evaluate(
        f"new Promise(done => {{ {codes}.ontoggle = done; document.querySelector('.where a').click() }})"
    )
    assert await page.evaluate(f"{codes}.open && {codes}.querySelector('pre').offsetHeight > 0")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
