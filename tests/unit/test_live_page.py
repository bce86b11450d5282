from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gilscope import live
from gilscope.flame.capture import MAX_RATE_HZ, MAX_SECONDS
from gilscope.live.page import page, policy
from gilscope.model import FlameKind
from gilscope.palette import STATES

STATIC = Path(live.__file__).with_name("static")
EVIL = "<img src=x onerror=alert(1)>&\"'</title></style></script>$title"
VOID = {"meta", "link", "input", "img", "br", "wbr"}


class Reader(HTMLParser):
    """Reads a page: every element opened and closed, what is in scripts and styles, and every attribute."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: dict[str, str] = {}
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data


@pytest.mark.parametrize("captures", [True, False])
def test_the_page_is_whole(captures: bool) -> None:  # noqa: FBT001
    markup = page(title="primes", captures=captures)
    reader = Reader(markup)
    assert markup.startswith("<!doctype html>")
    assert reader.open == []
    assert len(reader.scripts) == 5
    assert reader.text["title"] == "gilscope: primes"
    assert reader.text["h1"] == "primes"
    assert ("a", "href", "/workloads") in reader.attributes
    assert (("form", "id", "capture") in reader.attributes) is captures
    assert (("a", "href", "/profiles") in reader.attributes) is captures


@pytest.mark.parametrize(("comparison", "watches"), [(False, "service"), (True, "comparison")])
def test_the_page_knows_what_it_watches(comparison: bool, watches: str) -> None:  # noqa: FBT001
    reader = Reader(page(title="primes", captures=False, comparison=comparison))
    assert [value for tag, name, value in reader.attributes if (tag, name) == ("body", "data-watches")] == [
        watches
    ]


def test_ids_are_there_once() -> None:
    ids = [
        value for _, name, value in Reader(page(title="", captures=True)).attributes if name == "id" and value
    ]
    assert len(ids) == len(set(ids))
    for name in ("charts", "captures", "live"):
        script = (STATIC / f"{name}.js").read_text(encoding="utf-8")
        assert set(re.findall(r"""(?:find|getElementById)\("([a-z-]+)"\)""", script)) <= set(ids)


def test_a_title_stays_text() -> None:
    plain, evil = Reader(page(title="primes", captures=True)), Reader(page(title=EVIL, captures=True))
    assert evil.text["h1"] == EVIL
    assert evil.text["title"] == f"gilscope: {EVIL}"
    assert evil.attributes == plain.attributes
    assert evil.scripts == plain.scripts


def test_its_own_scripts_may_run_and_no_others() -> None:
    reader = Reader(page(title="primes", captures=True))
    allowed = dict(part.split(" ", 1) for part in policy().split("; "))
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in reader.scripts
    }
    assert len(hashes) == len(reader.scripts)
    assert set(allowed.pop("script-src").split()) == hashes
    assert allowed == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)


def test_nothing_is_loaded_from_elsewhere() -> None:
    markup = page(title="primes", captures=True)
    reader = Reader(markup)
    places = {value for _, name, value in reader.attributes if name in {"src", "href", "action", "srcset"}}
    assert places == {"data:,", "/workloads", "/profiles"}
    assert not re.search(r"@import|url\(", markup)
    named = set(re.findall(r"https?://[^\s\"'`)]+", markup))
    assert named == {
        "http://www.w3.org/2000/svg",  # names of namespaces
        "http://www.w3.org/1999/xhtml",
        "https://github.com/leeoniya/uPlot",  # a comment
    }


def test_our_scripts_make_no_markup_of_data() -> None:
    for name in ("charts", "captures", "live"):
        script = (STATIC / f"{name}.js").read_text(encoding="utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|console\.", script
        )


def test_the_form_offers_what_may_be_asked_for() -> None:
    markup = page(title="primes", captures=True)
    assert re.findall(r'<option value="(\w+)"', markup) == [
        FlameKind.WAITING,
        FlameKind.HOLDING,
        FlameKind.WALL,
    ]
    assert f'name="seconds" type="number" min="1" max="{MAX_SECONDS}"' in markup
    assert f'name="rate" type="number" min="1" max="{MAX_RATE_HZ}"' in markup


def test_states_are_called_as_in_every_picture() -> None:
    markup = page(title="primes", captures=True)
    charts = (STATIC / "charts.js").read_text(encoding="utf-8")
    keys = re.findall(r'class="s-\w+" data-key="(\w+)"', markup)
    assert keys == 2 * ["on_cpu", "gil_wait", "runqueue", "blocked"]
    assert f"STATES = {json.dumps(keys[:4])};" in charts
    for state in STATES.values():
        assert markup.count(f"<span>{state.label}</span>") == 2
