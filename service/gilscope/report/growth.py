"""Throughput over the size of the work: who overtakes whom, and from which size on.

Both axes are logarithmic, and the lines between two sizes are straight: as a break-even is found on just these
lines, two of them cross where its mark stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gilscope.model import BASELINE, BackendName, BreakEven, Interval, Standing
from gilscope.report import formats
from gilscope.report.charts import coloured
from gilscope.report.scales import Scale, log_domain, spread
from gilscope.report.svg import dot, element, line, path, picture, title, words

LEVEL = (0.8, 1.25)
"""Ratios that the axis always shows: without them, noise about a tie would fill the picture."""

_LEFT, _TOP, _BOTTOM, _LABELS = 46, 26, 42, 98
_FLAG = 38
_BOLD, _PLAIN = 7.2, 6.5
"""Width of a character of a mark's label (px), on the safe side."""

_LONGEST = 12


def growth_chart(
    sizes: Sequence[float],
    ratios: Sequence[Mapping[BackendName, Interval]],
    overtakings: Iterable[BreakEven],
    *,
    parameter: str,
    width: int,
    baseline: BackendName = BASELINE,
) -> str:
    """Draw throughput ratios over sizes, with their 95 % intervals and a mark at each main break-even.

    Args:
        sizes: sizes of the work, positive and ascending, at least one.
        ratios: the throughput of each backend over the baseline's, at each size. A backend may be missing at some,
            and a ratio that is not a positive figure is not drawn; nor is an interval without both ends.
        overtakings: those to choose the marks from (see :func:`main_crossings`).
        parameter: name of the argument that was varied.
        width: of the picture, in pixels.
        baseline: what the ratios are against.
    """
    curves = _curves(sizes, ratios)
    marks = main_crossings(overtakings)
    plot = _plot(sizes, curves, len(marks), width)
    flags = [_Flag.of(plot, mark, row, parameter) for row, mark in enumerate(marks)]
    return picture(
        width,
        plot.y.start + _BOTTOM,
        _tell(curves, marks, parameter, baseline),
        _axes(plot, sizes, parameter, baseline),
        *(_band(plot, mark, flag, parameter) for mark, flag in zip(marks, flags, strict=True)),
        *_lines(curves, plot, parameter),
        *_end_labels(curves, plot, width),
        *(flag.draw() for flag in flags),
    )


def main_crossings(overtakings: Iterable[BreakEven]) -> list[BreakEven]:
    """Choose one break-even for each backend that has any, and order them by size.

    It is the largest of its break-evens: by then, it has overtaken all that it ever overtakes.
    """
    chosen: dict[BackendName, BreakEven] = {}
    for one in sorted((one for one in overtakings if one.kind is Standing.CROSSES), key=_mid):
        chosen[one.backend] = one
    return sorted(chosen.values(), key=_mid)


def describe_break_evens(overtakings: Iterable[BreakEven], parameter: str) -> list[str]:
    """Say how each two backends stand to each other, a sentence each, without a full stop."""
    return [_sentence(one, parameter) for one in overtakings]


def _sentence(one: BreakEven, parameter: str) -> str:
    backend, over = one.backend, one.over
    match one.kind:
        case Standing.CROSSES:
            mid, span = _written(_known(one))
            interval = f"95{formats.NO_BREAK}% interval {span}"
            return f"{_does(backend, 'pay')} from {parameter} = {mid} on ({interval}) against {over}"
        case Standing.ALWAYS:
            return f"{_is(backend)} ahead of {over} at every size tried"
        case Standing.NEVER:
            return f"{_is(backend)} behind {over} at every size tried"
        case Standing.TIED:
            return f"no size tried shows a difference between {backend} and {over}"
        case Standing.UNCLEAR:
            return _unclear(one, parameter)


def _unclear(one: BreakEven, parameter: str) -> str:
    """Say what the one known end of an interval tells."""
    backend, over = one.backend, one.over
    low, _, high = one.size or Interval(0, math.nan, math.inf)
    if math.isfinite(high):
        at = f"{parameter} = {formats.significant(high)}"
        return f"{_is(backend)} ahead of {over} from {at} on at the latest; smaller sizes do not tell"
    if low > 0 and math.isfinite(low):
        at = f"{parameter} = {formats.significant(low)}"
        return f"{_does(backend, 'overtake')} {over} beyond {at}, if at all; larger sizes do not tell"
    return f"the sizes tried do not tell whether {_does(backend, 'overtake')} {over}"


def _does(backend: BackendName, verb: str) -> str:
    return f"{backend} {verb}s" if backend is BackendName.ASYNCIO else f"{backend} {verb}"


def _is(backend: BackendName) -> str:
    return f"{backend} {'is' if backend is BackendName.ASYNCIO else 'are'}"


def _written(size: Interval) -> tuple[str, str]:
    """Write a size, and its interval, to no more digits than tell the ends apart."""
    digits = 2 if formats.significant(size.low, 2) != formats.significant(size.high, 2) else 3
    low, mid, high = (formats.significant(value, digits) for value in size)
    if size.low > 0:
        return mid, f"{low} or more" if math.isinf(size.high) else f"{low} to {high}"
    return mid, "not known" if math.isinf(size.high) else f"{high} or less"


def _known(one: BreakEven) -> Interval:
    assert one.size is not None, "what crosses has a size"
    return one.size


def _mid(one: BreakEven) -> float:
    return _known(one).mid


class _Point(NamedTuple):
    size: float
    ratio: Interval


_Curves = Mapping[BackendName, Sequence[_Point]]


def _curves(sizes: Sequence[float], ratios: Sequence[Mapping[BackendName, Interval]]) -> _Curves:
    """Collect what can be drawn of each backend."""
    curves: dict[BackendName, list[_Point]] = {}
    for size, row in zip(sizes, ratios, strict=True):
        for backend, ratio in row.items():
            if ratio.mid > 0 and math.isfinite(ratio.mid):
                curves.setdefault(backend, []).append(_Point(size, ratio))
    return {backend: curves[backend] for backend in BackendName if backend in curves}


@dataclass(frozen=True, slots=True)
class _Plot:
    """The two axes."""

    x: Scale
    y: Scale

    def place(self, point: _Point) -> tuple[float, float]:
        return self.x(point.size), self.y(point.ratio.mid)


def _plot(sizes: Sequence[float], curves: _Curves, marks: int, width: int) -> _Plot:
    top = _TOP + marks * _FLAG
    ends = [end for curve in curves.values() for point in curve for end in point.ratio]
    return _Plot(
        Scale(*log_domain(sizes), _LEFT, width - _LABELS, log=True),
        Scale(*log_domain(ends, LEVEL), top + (300 if width > 500 else 250), top, log=True),
    )


def _tell(curves: _Curves, marks: Sequence[BreakEven], parameter: str, baseline: BackendName) -> str:
    told = [
        f"{backend} "
        + ", ".join(f"{formats.ratio(point.ratio.mid)} at {_size(point.size)}" for point in curve)
        for backend, curve in curves.items()
    ]
    about = f"Throughput against {baseline} by {parameter}: {'; '.join(told)}"
    return ". ".join([about, *describe_break_evens(marks, parameter)])


def _size(size: float) -> str:
    """Write a size as it was asked for."""
    return f"{size:,.10g}"


def _axes(plot: _Plot, sizes: Sequence[float], parameter: str, baseline: BackendName) -> str:
    left, right, bottom, top = plot.x.start, plot.x.end, plot.y.start, plot.y.end
    parts = [
        words(0, 12, f"throughput against {baseline}", class_="tick"),
        words(right, bottom + 36, _short(parameter, 40), class_="tick", text_anchor="end"),
    ]
    for tick in plot.y.ticks():
        parts.append(line(left, plot.y(tick), right, plot.y(tick), "grid"))
        parts.append(
            words(left - 8, plot.y(tick) + 4, formats.tick_ratio(tick), class_="tick", text_anchor="end")
        )
    parts.extend(line(plot.x(size), top, plot.x(size), bottom, "grid") for size in sizes)
    parts.append(line(left, plot.y(1), right, plot.y(1), "reference"))
    parts.extend(
        words(plot.x(size), bottom + 18, _size(size), class_="tick", text_anchor="middle")
        for size in _labelled(plot.x, sizes)
    )
    return element("g", *parts, class_="axis")


def _labelled(x: Scale, sizes: Sequence[float]) -> list[float]:
    """Choose the sizes whose labels have room, the last one first."""
    chosen: list[float] = []
    free = math.inf
    for size in reversed(sizes):
        half = len(_size(size)) * 3.4 + 4
        if x(size) + half <= free:
            chosen.append(size)
            free = x(size) - half
    return chosen


def _lines(curves: _Curves, plot: _Plot, parameter: str) -> list[str]:
    return [
        coloured(
            backend,
            path([plot.place(point) for point in curve], "curve"),
            *(_whisker(plot, point) for point in curve),
            *(dot(*plot.place(point), 4, "dot", _hover(backend, point, parameter)) for point in curve),
        )
        for backend, curve in curves.items()
    ]


def _whisker(plot: _Plot, point: _Point) -> str:
    if not formats.span(point.ratio):
        return ""
    x, low, high = plot.x(point.size), plot.y(point.ratio.low), plot.y(point.ratio.high)
    return element(
        "g",
        line(x, low, x, high, "whisker"),
        line(x - 4, low, x + 4, low, "whisker"),
        line(x - 4, high, x + 4, high, "whisker"),
    )


def _hover(backend: BackendName, point: _Point, parameter: str) -> str:
    ends = formats.span(point.ratio)
    figure = f"{backend} at {parameter} = {_size(point.size)}: {formats.ratio(point.ratio.mid)}"
    return figure + (f", 95 % within {ends}" if ends else "")


def _end_labels(curves: _Curves, plot: _Plot, width: int) -> list[str]:
    """Name each line where it ends, with its last ratio; labels that would collide move apart."""
    ends = [plot.place(curve[-1]) for curve in curves.values()]
    rows = spread([y for _, y in ends], 34, plot.y.end + 8, plot.y.start - 14)
    x = width - _LABELS + 14
    return [
        coloured(
            backend,
            line(end[0] + 5, end[1], x - 4, row, "leader"),
            words(x, row + 3, backend, class_="name"),
            words(x, row + 17, formats.ratio(curve[-1].ratio.mid), class_="tick"),
        )
        for (backend, curve), end, row in zip(curves.items(), ends, rows, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Flag:
    """The label of a break-even, with the place of its pole."""

    backend: BackendName
    lines: tuple[str, str]
    pole: float
    x: float
    y: float

    @classmethod
    def of(cls, plot: _Plot, mark: BreakEven, row: int, parameter: str) -> _Flag:
        """Write it to the right of its pole, or as far to the right as there is room.

        The smallest size is in the highest row: so no pole runs through a label, unless that had to move.
        """
        mid, span = _written(_known(mark))
        first = f"{_does(mark.backend, 'pay')} from {_short(parameter, _LONGEST)} = {mid}"
        second = f"({span}) against {mark.over}"
        furthest = plot.x.end + _LABELS - max(_BOLD * len(first), _PLAIN * len(second))
        pole = plot.x(_mid(mark))
        x = max(0.0, min(pole + 7, furthest))
        return cls(mark.backend, (first, second), pole, x, _TOP + row * _FLAG + 12)

    @property
    def top(self) -> float:
        """Where its pole ends: beside the label, or below it."""
        return self.y - 10 if self.x > self.pole + 3 else self.y + 21

    def draw(self) -> str:
        first, second = self.lines
        return coloured(
            self.backend,
            words(self.x, self.y, first, class_="name"),
            words(self.x, self.y + 15, second, class_="told tick"),
        )


def _band(plot: _Plot, mark: BreakEven, flag: _Flag, parameter: str) -> str:
    """Draw the interval of a break-even, to lie behind the lines, and the pole at its middle."""
    low, _, high = (plot.x(value) for value in _known(mark))
    top, bottom = plot.y.end, plot.y.start
    width = max(1.0, high - low)
    hover = title(_sentence(mark, parameter))
    return coloured(
        mark.backend,
        element("rect", hover, x=low, y=top, width=width, height=bottom - top, class_="band", opacity=0.4),
        line(flag.pole, flag.top, flag.pole, bottom, "thread"),
    )


def _short(parameter: str, longest: int) -> str:
    return parameter if len(parameter) <= longest else parameter[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
