"""Draw folded stacks as an icicle (callers on top), in SVG that fits any width without a script. Pure.

A frame is a nested ``<svg>`` with its edges in percent: it scales with the page and clips its own text. A
colour is never decoration: it says whether a frame is the work, what carries the work, or what the work calls;
in a difference, whether it grew or shrank. A graph has several *layers*, of which one is shown: with the frames
of the harness folded away or not, and for a difference each of the two graphs at its own widths.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from typing import NamedTuple

from gilscope.errors import CaptureError
from gilscope.flame.algebra import fold_away, share, total
from gilscope.flame.difference import Change, Side, change_of
from gilscope.flame.folded import split_frame
from gilscope.flame.harness import HARNESS, is_harness, is_workload
from gilscope.flame.layout import MIN_SHARE, Box, Kind, Layout, lay_out
from gilscope.flame.tree import Tree
from gilscope.model import Folded

_ROW_PX = 19
_BOX_PX = 19
_VIEWS_PX = 30
_READABLE_SHARE = 0.02  # Below it a box shows no text until the script has measured it.
_LABEL_CHARS = 200  # More than fits on a screen; the tooltip has all of it.
_WRAP_CHARS = 58  # SVG text does not wrap, and a phone shows about so many.

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Mark = Callable[[Box], str]
"""The CSS class of a box."""

Tell = Callable[[Box], str]
"""What a box weighs, in words."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above a graph.

    ``title`` is one line; ``subtitle`` says what was captured and how, and ``notes`` what the graph cannot show; both
    are wrapped.
    """

    title: str
    subtitle: str = ""
    notes: Sequence[str] = ()


class Layer(NamedTuple):
    """One picture of a graph: whether the harness is folded away in it, at whose widths it is, and its frames."""

    folded: bool
    side: str
    layout: Layout
    mark: Mark
    tell: Tell
    per: str = ""


def render_svg(
    folded: Folded,
    heading: Heading,
    *,
    accent: str = "#0072B2",
    own: Callable[[str], bool] = is_workload,
    standalone: bool = True,
) -> str:
    """Draw stacks as an icicle graph.

    Args:
        folded: stacks with their weights, in seconds.
        heading: what stands above it.
        accent: colour of the frames that are the work itself, ``#RRGGBB``.
        own: tells whether a frame is the work itself.
        standalone: a file of its own, with style and script inside. Otherwise a fragment for an HTML page,
            which holds :func:`viewer_style` and :func:`viewer_script` once for all its graphs.

    Raises:
        CaptureError: there is not a single sample: an empty graph would look like a result.
        ValueError: ``accent`` is not ``#RRGGBB``.
    """
    _check(total(folded), heading.title, accent)

    def tell(box: Box) -> str:
        return f"{seconds(box.weight)}, {_percent(box.width)}"

    layers = [
        Layer(is_folded, "", lay_out(Tree(stacks), own), lambda box: box.kind, tell)
        for is_folded, stacks in _details(folded, own)
    ]
    entries = (
        (str(Kind.OWN), f"workload, in {_percent(share(folded, own))}"),
        (str(Kind.HARNESS), "loop, pools, service"),
        (str(Kind.OTHER), "other code"),
    )
    status = f"width = share of {seconds(total(folded))}"
    return _Graph(heading, accent, entries, status, tuple(layers)).draw(standalone=standalone)


def render_difference(
    now: Side,
    before: Side,
    heading: Heading,
    *,
    own: Callable[[str], bool] = is_workload,
    standalone: bool = True,
) -> str:
    """Draw two graphs as one, at the widths of ``now`` and, one click away, at those of ``before``.

    Both are drawn to one scale. What grew is red, what shrank blue; grey is what chance alone may have changed.
    Frames that are gone have no width now: they are seen at the widths of ``before``.

    Raises:
        CaptureError: there is not a single sample in either.
    """
    whole = max(total(now.folded), total(before.folded))
    _check(whole, heading.title, "#000000")
    layers = []
    for is_folded, (folded, had) in zip(
        (True, False), zip(_stacks_of(now, own), _stacks_of(before, own), strict=True), strict=True
    ):
        for side, this, that in ((now, folded, had), (before, had, folded)):
            if total(this):
                layers.append(
                    _difference_layer(
                        side, now, before, is_folded=is_folded, layout=lay_out(Tree(this, that), own, whole)
                    )
                )
    entries = (
        (str(Change.GREW_2), "more"),
        (str(Change.SHRANK_2), "less"),
        (str(Change.SAME), "no difference shown"),
    )
    status = f"width = share of {seconds(whole)}{now.per}"
    return _Graph(heading, "#000000", entries, status, _distinct(layers)).draw(standalone=standalone)


def _stacks_of(side: Side, own: Callable[[str], bool]) -> list[Folded]:
    return [_without_harness(side.folded, own), side.folded]


def _difference_layer(shown: Side, now: Side, before: Side, *, is_folded: bool, layout: Layout) -> Layer:
    is_now = shown is now

    def weights(box: Box) -> tuple[float, float]:
        return (box.weight, box.before) if is_now else (box.before, box.weight)

    def mark(box: Box) -> str:
        if box.kind is Kind.REST:
            return box.kind
        has, had = weights(box)
        return change_of(has, had, now.grain, before.grain)

    def tell(box: Box) -> str:
        has, had = weights(box)
        return f"{now.name}: {seconds(has)}{now.per}\n{before.name}: {seconds(had)}{now.per}"

    return Layer(is_folded, shown.name, layout, mark, tell, now.per)


def _details(folded: Folded, own: Callable[[str], bool]) -> Iterator[tuple[bool, Folded]]:
    """Yield the stacks without the harness, where there is one, and all of them."""
    less = _without_harness(folded, own)
    if less.keys() != folded.keys():
        yield True, less
    yield False, folded


def _without_harness(folded: Folded, own: Callable[[str], bool]) -> Folded:
    return fold_away(folded, lambda frame: is_harness(frame) and not own(frame), HARNESS)


def _distinct(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Leave out those with the harness folded away where there is none on either side."""
    folded = {layer.side: layer.layout for layer in layers if layer.folded}
    whole = {layer.side: layer.layout for layer in layers if not layer.folded}
    return tuple(layer for layer in layers if folded != whole or not layer.folded)


def viewer_style() -> str:
    """Return the CSS that a page with fragments holds once."""
    return _static("flame.css")


def viewer_script() -> str:
    """Return the JavaScript that a page with fragments holds once: zoom, search, keyboard."""
    return _static("flame.js")


def seconds(weight: float) -> str:
    """Write seconds so that three digits count: ``12.3 s``, ``71.4 ms``, ``0.02 ms``."""
    if weight >= 1 or not weight:
        return f"{weight:,.{2 if weight < 10 else 1}f} s"
    return f"{1e3 * weight:.{0 if weight >= 0.1 else 1 if weight >= 0.01 else 2}f} ms"


def _check(weight: float, title: str, accent: str) -> None:
    if not _COLOUR.fullmatch(accent):
        raise ValueError(f"an accent is #RRGGBB, not {accent!r}")
    if weight <= 0:
        raise CaptureError(
            f"There is nothing to draw for {title!r}: not one stack was sampled.",
            remedy="Profile while the service is under load, or for longer. If this is the waiting graph, it may"
            " be good news: no thread was seen waiting for the GIL.",
        )


class _Header(NamedTuple):
    """The text above the boxes, drawn, and where what follows it goes (px from the top).

    ``views_px`` is the height of the row for the choice of a layer.
    """

    lines: tuple[str, ...]
    legend_y: int
    views_px: int

    @property
    def status_y(self) -> int:
        return self.legend_y + 22

    @property
    def height(self) -> int:
        return self.views_y + self.views_px

    @property
    def views_y(self) -> int:
        return self.status_y + 32

    @classmethod
    def of(
        cls, title: str, subtitle: Sequence[str], notes: Sequence[Sequence[str]], views_px: int
    ) -> _Header:
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
        return cls(tuple(lines), y + 12, views_px)


@dataclass(frozen=True, slots=True)
class _Graph:
    """A graph before it is drawn: its text, its legend (CSS class and words), and its layers, the first one shown."""

    heading: Heading
    accent: str
    legend: Sequence[tuple[str, str]]
    status: str
    layers: Sequence[Layer]

    def draw(self, *, standalone: bool) -> str:
        shown = self.layers[0].layout
        merged = max(layer.layout.merged_share for layer in self.layers)
        header = _Header.of(
            self.heading.title,
            _subtitle(self.heading.subtitle, merged),
            [_wrap(note) for note in self.heading.notes],
            _VIEWS_PX if len(self.layers) > 1 else 0,
        )
        height = header.height + _height(shown)
        lines = (
            *header.lines,
            _legend(header.legend_y, self.legend),
            *_status(header.status_y, self.status),
            f'<svg class="views" y="{header.views_y}" width="100%" height="{header.views_px}"></svg>',
            *(
                line
                for layer in self.layers
                for line in _layer(header.height, layer, shown=layer is self.layers[0])
            ),
        )
        attributes = f'{_attributes(self.heading.title, self.accent, merged)} height="{height}"'
        if standalone:
            return _document(attributes, lines, height)
        return _element(f'{attributes} width="100%"', lines)


def _subtitle(text: str, merged_share: float) -> list[str]:
    """Wrap the subtitle, between its items where it is a list (``a · b``), and own up to what is not drawn."""
    parts = text.split(" \u00b7 ")
    kept = [part.replace(" ", "\u00a0") if len(part) < _WRAP_CHARS // 2 else part for part in parts]
    # A dot stays on the line of what it ends, and is dropped at that line's end.
    dot = "\u00a0\u00b7"
    lines = [line.removesuffix(dot) for line in _wrap(f"{dot} ".join(kept) if len(parts) > 1 else text)]
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


def _legend(y: int, entries: Sequence[tuple[str, str]]) -> str:
    """Draw the legend as running text: it takes the space that the reader's font needs."""
    spans = "".join(
        f'<tspan class="{class_}" dx="{14 * bool(at)}">\u25a0</tspan><tspan dx="5">{words}</tspan>'
        for at, (class_, words) in enumerate(entries)
    )
    return f'<text class="legend" y="{y + 11}">{spans}</text>'


def _status(y: int, words: str) -> Iterator[str]:
    """Draw the line that the script writes on, and the place for its search box."""
    yield f'<text class="status" y="{y + 17}">{_escape(words)}</text>'
    yield f'<svg class="search" x="100%" y="{y}" width="1" height="26" overflow="visible"></svg>'


def _attributes(title: str, accent: str, merged_share: float) -> str:
    """Describe the graph; ``data-merged`` tells the script that some frames have no box to be found by."""
    merged = f' data-merged="{merged_share:.4f}"' if merged_share else ""
    colours = f"--flame-accent:{accent};--flame-on-accent:{_text_on(accent)}"
    return f'class="flame" role="group" aria-label="{_escape(title)}" style="{colours}"{merged}'


def _height(layout: Layout) -> int:
    return layout.rows * _ROW_PX + 1


def _layer(y: int, layer: Layer, *, shown: bool) -> Iterator[str]:
    """Draw a layer's boxes; those of a layer that is not shown wait for the script."""
    data = f'data-harness="{"folded" if layer.folded else "shown"}" data-side="{_escape(layer.side)}"'
    hidden = "" if shown else ' display="none"'
    yield f'<svg class="boxes" {data} x="0" y="{y}" width="100%" height="{_height(layer.layout)}"{hidden}>'
    for box in layer.layout.boxes:
        yield _draw(box, layer)
    yield "</svg>"


def _draw(box: Box, layer: Layer) -> str:
    class_, told = layer.mark(box), layer.tell(box)
    thin = " thin" if box.width < _READABLE_SHARE else ""
    nameless = f" {box.kind}" if box.kind in (Kind.ROOT, Kind.REST) and class_ != box.kind else ""
    return (
        f'<svg class="{class_}{nameless}{thin}" x="{100 * box.start:.4f}%" y="{box.row * _ROW_PX}"'
        f' width="{100 * box.width:.4f}%" height="{_BOX_PX}">'
        f"<title>{_escape(box.frame)}\n{_escape(told)}</title>"
        f'<rect width="100%" height="100%"/><text x="5" y="13.5">{_label(box, layer)}</text></svg>'
    )


def _label(box: Box, layer: Layer) -> str:
    if box.kind is Kind.ROOT:
        side = f"{layer.side}: " if layer.side else ""
        return _escape(f"{box.frame} · {side}{seconds(box.weight)}{layer.per}")
    name, file, line = split_frame(box.frame)
    where = "" if file is None else f"{file[-_LABEL_CHARS:]}{'' if line is None else f':{line}'}"
    tail = f'<tspan class="where" dx="6">{_escape(where)}</tspan>' if where else ""
    return f"{_escape(name[:_LABEL_CHARS])}{tail}"


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
