"""SVG as strings: everything that comes from outside is escaped here, and nowhere else."""

from __future__ import annotations

import math
from html import escape

Attribute = str | float | None


def element(name: str, *children: str, **attributes: Attribute) -> str:
    """Build an element from finished children; ``class_`` means class, ``stroke_width`` means stroke-width.

    An attribute that is None is left out.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def words(x: float, y: float, content: str, **attributes: Attribute) -> str:
    """Build a text element at a point."""
    return element("text", escape(content), x=x, y=y, **attributes)


def title(content: str) -> str:
    """Build what a browser shows on hover."""
    return element("title", escape(content))


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """Build a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def dot(x: float, y: float, radius: float, class_: str, hover: str) -> str:
    """Build a dot that says what it is on hover."""
    return element("circle", title(hover), cx=x, cy=y, r=radius, class_=class_)


def path(points: list[tuple[float, float]], class_: str) -> str:
    """Build a line through points."""
    steps = " ".join(f"{'L' if at else 'M'}{_number(x)} {_number(y)}" for at, (x, y) in enumerate(points))
    return element("path", d=steps, class_=class_)


def hatch(x: float, y: float, width: float, height: float, step: float = 6) -> str:
    """Build diagonal stripes within a rectangle: its own lines, for a pattern would have to be asked for by URL."""
    offsets = (step / 2 - height + step * at for at in range(math.ceil((width + height) / step)))
    ends = ((offset, max(0.0, -offset), min(height, width - offset)) for offset in offsets)
    steps = " ".join(
        f"M{_number(x + offset + low)} {_number(y + height - low)}L{_number(x + offset + high)} {_number(y + height - high)}"
        for offset, low, high in ends
        if high > low
    )
    return element("path", d=steps, class_="hatch")


def picture(width: float, height: float, about: str, *children: str) -> str:
    """Build the whole picture; ``about`` is what a screen reader says instead of it, or before its links."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        width=width,
        height=height,
        role="group" if any("<a " in child for child in children) else "img",
        aria_label=about,
        class_="chart",
    )


def _attribute(key: str, value: str | float) -> str:
    name = key.rstrip("_").replace("_", "-")
    text = escape(value) if isinstance(value, str) else _number(value)
    return f' {name}="{text}"'


def _number(value: float) -> str:
    return f"{round(value, 1):g}"
