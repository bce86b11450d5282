"""Draw folded stacks as an icicle (callers on top), in SVG that fits any width without a script. Pure.

A frame is a nested ``<svg>`` with its edges in percent: it scales with the page and clips its own text. A
colour is never decoration: it says whether a frame is the work, what carries the work, or what the work calls.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from html import escape
from importlib import resources
from typing import NamedTuple

from gilscope.errors import CaptureError
from gilscope.flame.folded import Branch, Tree, is_root, share, split_frame, total
from gilscope.model import Folded

MIN_SHARE = 0.0015
"""Frames narrower than this share of the graph (a pixel or two) are not drawn on their own."""

_ROW_PX = 19
_BOX_PX = 19
_READABLE_SHARE = 0.02  # Below it a box shows no text until the script has measured it.
_LABEL_CHARS = 200  # More than fits on a screen; the tooltip has all of it.
_WRAP_CHARS = 58  # SVG text does not wrap, and a phone shows about so many.

_HARNESS = re.compile(
    r"(?:^|/)(?:asyncio|concurrent/futures|multiprocessing|aiohttp|uvloop|prometheus_client|gilscope(?!/workloads/))/"
    r"|(?:^|/)(?:threading|selectors|runpy)\.py$"
    r"|^<frozen runpy>$"
)
_WORKLOADS = re.compile(r"[(/]gilscope/workloads/")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Kind(StrEnum):
    """What a box stands for; the value is its CSS class."""

    ROOT = "root"
    OWN = "own"
    HARNESS = "harness"
    OTHER = "other"
    REST = "rest"


class Box(NamedTuple):
    """A drawn frame: its left edge and width as shares of the graph, its row (from 0) and its weight."""

    frame: str
    kind: Kind
    start: float
    width: float
    row: int
    weight: float


@dataclass(frozen=True, slots=True)
class Layout:
    """All boxes, callers before what they called; ``merged_share`` (0 to 1) is in frames too narrow to draw."""

    boxes: tuple[Box, ...]
    merged_share: float

    @property
    def rows(self) -> int:
        """How deep the drawn stacks are, the root included."""
        return 1 + max(box.row for box in self.boxes)


def is_workload(frame: str) -> bool:
    """Tell whether a frame is of one of the built-in workloads."""
    return _WORKLOADS.search(frame) is not None


def is_harness(frame: str) -> bool:
    """Tell whether a frame carries work rather than doing it: the event loop, pools, aiohttp, gilscope."""
    return is_root(frame) or _HARNESS.search(split_frame(frame).file or "") is not None


def render_svg(
    folded: Folded,
    *,
    title: str,
    subtitle: str = "",
    accent: str = "#0072B2",
    own: Callable[[str], bool] = is_workload,
    notes: Sequence[str] = (),
    standalone: bool = True,
) -> str:
    """Draw the stacks as an icicle graph.

    Args:
        folded: stacks with their weights, in samples.
        title: the heading, one line.
        subtitle: what was captured and how; wrapped.
        accent: colour of the frames that are the work itself, ``#RRGGBB``.
        own: tells whether a frame is the work itself.
        notes: what the graph cannot show, each drawn with a mark under the subtitle.
        standalone: a file of its own, with style and script inside. Otherwise a fragment for an HTML page,
            which holds :func:`viewer_style` and :func:`viewer_script` once for all its graphs.

    Raises:
        CaptureError: there is not a single sample: an empty graph would look like a result.
        ValueError: ``accent`` is not ``#RRGGBB``.
    """
    _check(folded, title, accent)
    layout = lay_out(Tree(folded), own)
    header = _Header.of(title, _subtitle(subtitle, layout.merged_share), [_wrap(note) for note in notes])
    lines = (
        *header.lines,
        _legend(header.legend_y, share(folded, own)),
        *_status(header.status_y, layout.boxes[0].weight),
        *_boxes(header.height, layout),
    )
    height = header.height + _height(layout)
    attributes = f'{_attributes(title, accent, layout.merged_share)} height="{height}"'
    return (
        _document(attributes, lines, height) if standalone else _element(f'{attributes} width="100%"', lines)
    )


def viewer_style() -> str:
    """Return the CSS that a page with fragments holds once."""
    return _static("flame.css")


def viewer_script() -> str:
    """Return the JavaScript that a page with fragments holds once: zoom, search, keyboard."""
    return _static("flame.js")


def lay_out(tree: Tree, own: Callable[[str], bool]) -> Layout:
    """Place the tree's frames, heaviest first among siblings, without recursion.

    Siblings narrower than :data:`MIN_SHARE` become one box, if together they are wide enough for one.
    """
    everything = tree.root.weight
    kind_of = cache(partial(_kind, own=own))
    boxes: list[Box] = []
    merged = 0.0
    waiting = [(tree.root, Kind.ROOT, 0.0)]
    while waiting:
        branch, kind, start = waiting.pop()
        boxes.append(_box(branch, kind, start, everything))
        if kind is Kind.REST:
            merged += branch.weight
            continue
        wide, rest = _by_width(tree.children(branch), everything * MIN_SHARE)
        shown = [(child, kind_of(child.frame)) for child in wide]
        waiting.extend(reversed(list(_place([*shown, *rest], start))))
    drawn = (box for box in boxes if box.kind is not Kind.REST or box.width >= MIN_SHARE)
    return Layout(tuple(drawn), merged / everything)


def _box(branch: Branch, kind: Kind, start: float, everything: float) -> Box:
    return Box(
        branch.frame, kind, start / everything, branch.weight / everything, branch.depth, branch.weight
    )


def _by_width(children: Iterable[Branch], least: float) -> tuple[list[Branch], list[tuple[Branch, Kind]]]:
    """Sort those wide enough to draw, heaviest first, and let one branch stand in for the others."""
    wide: list[Branch] = []
    narrow: list[Branch] = []
    for child in children:
        (wide if child.weight >= least else narrow).append(child)
    return sorted(wide, key=lambda child: (-child.weight, child.frame)), _rest(narrow)


def _rest(narrow: Sequence[Branch]) -> list[tuple[Branch, Kind]]:
    if not narrow:
        return []
    first, last = narrow[0], narrow[-1]
    frame = f"{len(narrow):,} narrower frame{'s' if len(narrow) > 1 else ''}"
    weight = sum(child.weight for child in narrow)
    return [(Branch(frame, first.depth, first.begin, last.end, weight), Kind.REST)]


def _place(branches: Iterable[tuple[Branch, Kind]], start: float) -> Iterator[tuple[Branch, Kind, float]]:
    for branch, kind in branches:
        yield branch, kind, start
        start += branch.weight


def _kind(frame: str, own: Callable[[str], bool]) -> Kind:
    if own(frame):
        return Kind.OWN
    return Kind.HARNESS if is_harness(frame) else Kind.OTHER


def _check(folded: Folded, title: str, accent: str) -> None:
    if not _COLOUR.fullmatch(accent):
        raise ValueError(f"an accent is #RRGGBB, not {accent!r}")
    if total(folded) <= 0:
        raise CaptureError(
            f"There is nothing to draw for {title!r}: not one stack was sampled.",
            remedy="Profile while the service is under load, or for longer. If this is the waiting graph, it may"
            " be good news: no thread was seen waiting for the GIL.",
        )


class _Header(NamedTuple):
    """The text above the boxes, drawn, and where what follows it goes (px from the top)."""

    lines: tuple[str, ...]
    legend_y: int

    @property
    def status_y(self) -> int:
        return self.legend_y + 22

    @property
    def height(self) -> int:
        return self.status_y + 32

    @classmethod
    def of(cls, title: str, subtitle: Sequence[str], notes: Sequence[Sequence[str]]) -> _Header:
        lines = [f'<text class="title" y="18">{_escape(title)}</text>']
        y = 22
        for line in subtitle:
            y += 17
            lines.append(f'<text class="subtitle" y="{y}">{_escape(line)}</text>')
        for note in notes:
            y += 8
            lines.append(f'<rect class="note-mark" y="{y}" width="3" height="{16 * len(note)}"/>')
            for line in note:
                y += 16
                lines.append(f'<text x="10" y="{y - 4}">{_escape(line)}</text>')
        return cls(tuple(lines), y + 12)


def _subtitle(text: str, merged_share: float) -> list[str]:
    """Wrap the subtitle, between its items where it is a list (``a · b``), and own up to what is not drawn."""
    parts = text.split(" \u00b7 ")
    kept = [part.replace(" ", "\u00a0") if len(part) < _WRAP_CHARS // 2 else part for part in parts]
    lines = [
        line.removesuffix(" \u00b7") for line in _wrap(" \u00b7 ".join(kept) if len(parts) > 1 else text)
    ]
    if merged_share:
        lines.append(
            f"{_percent(merged_share)} is in frames too narrow to draw (under {_percent(MIN_SHARE, 2)})"
        )
    return lines


def _wrap(text: str) -> list[str]:
    """Break a text into as few lines as a phone allows, of about equal length."""
    lines = len(textwrap.wrap(text, _WRAP_CHARS, break_on_hyphens=False))
    widths = range(max(1, len(text) // max(1, lines)), _WRAP_CHARS)
    fitting = (
        wrapped
        for width in widths
        if len(wrapped := textwrap.wrap(text, width, break_on_hyphens=False)) <= lines
    )
    return next(fitting, textwrap.wrap(text, _WRAP_CHARS, break_on_hyphens=False))


def _legend(y: int, own_share: float) -> str:
    """Draw the legend as running text: it takes the space that the reader's font needs."""
    entries = (
        (Kind.OWN, f"workload, in {_percent(own_share)}"),
        (Kind.HARNESS, "loop, pools, service"),
        (Kind.OTHER, "other code"),
    )
    spans = "".join(
        f'<tspan class="{kind}" dx="{14 * bool(at)}">\u25a0</tspan><tspan dx="5">{words}</tspan>'
        for at, (kind, words) in enumerate(entries)
    )
    return f'<text class="legend" y="{y + 11}">{spans}</text>'


def _status(y: int, samples: float) -> Iterator[str]:
    """Draw the line that the script writes on, and the place for its search box."""
    yield f'<text class="status" y="{y + 17}">width = share of {_samples(samples)}</text>'
    yield f'<svg class="search" x="100%" y="{y}" width="1" height="26" overflow="visible"></svg>'


def _attributes(title: str, accent: str, merged_share: float) -> str:
    """Describe the graph; ``data-merged`` tells the script that some frames have no box to be found by."""
    merged = f' data-merged="{merged_share:.4f}"' if merged_share else ""
    colours = f"--flame-accent:{accent};--flame-on-accent:{_text_on(accent)}"
    return f'class="flame" role="group" aria-label="{_escape(title)}" style="{colours}"{merged}'


def _height(layout: Layout) -> int:
    return layout.rows * _ROW_PX + 1


def _boxes(y: int, layout: Layout) -> Iterator[str]:
    yield f'<svg class="boxes" x="0" y="{y}" width="100%" height="{_height(layout)}">'
    yield from map(_draw, layout.boxes)
    yield "</svg>"


def _draw(box: Box) -> str:
    thin = " thin" if box.width < _READABLE_SHARE else ""
    return (
        f'<svg class="{box.kind}{thin}" x="{100 * box.start:.4f}%" y="{box.row * _ROW_PX}"'
        f' width="{100 * box.width:.4f}%" height="{_BOX_PX}">'
        f"<title>{_escape(box.frame)}\n{_samples(box.weight)}, {_percent(box.width)}</title>"
        f'<rect width="100%" height="100%"/><text x="5" y="13.5">{_label(box)}</text></svg>'
    )


def _label(box: Box) -> str:
    if box.kind is Kind.ROOT:
        return f"{_escape(box.frame)} · {_samples(box.weight)}"
    name, file, line = split_frame(box.frame)
    where = "" if file is None else f"{file[-_LABEL_CHARS:]}{'' if line is None else f':{line}'}"
    tail = f'<tspan class="where" dx="6">{_escape(where)}</tspan>' if where else ""
    return f"{_escape(name[:_LABEL_CHARS])}{tail}"


def _samples(weight: float) -> str:
    number = f"{weight:,.0f}" if float(weight).is_integer() else f"{weight:,.2f}"
    return f"{number} sample{'' if weight == 1 else 's'}"


def _percent(of_one: float, digits: int = 1) -> str:
    return f"{100 * of_one:.{digits}f} %"


def _escape(text: str) -> str:
    """Make any text safe inside XML; characters that XML 1.0 forbids become U+FFFD."""
    return escape(_NOT_XML.sub("\ufffd", text))


def _text_on(colour: str) -> str:
    """Choose black or white, whichever has more contrast (WCAG 2.2, relative luminance)."""
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # Equal contrast with both where (L + .05)^2 = 1.05 * .05.
    return "#000000" if luminance > 0.1791 else "#ffffff"


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _document(attributes: str, lines: Iterable[str], height: int) -> str:
    """Wrap the graph into a file of its own: margins, background, style and script."""
    parts = (
        f"<style>{viewer_style()}</style>",
        '<rect class="flame-page" width="100%" height="100%"/>',
        _element(f'{attributes} x="1.5%" y="14" width="97%"', lines),
        f"<script><![CDATA[\n{viewer_script()}]]></script>",
    )
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _element(
        f'width="100%" height="{height + 28}"', parts
    )


def _element(attributes: str, lines: Iterable[str]) -> str:
    return "\n".join((f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>', *lines, "</svg>\n"))


@cache
def _static(name: str) -> str:
    return resources.files("gilscope.flame").joinpath("static", name).read_text(encoding="utf-8")
