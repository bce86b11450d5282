"""The colours of all pictures: one per backend and one per stage, in light and in dark.

The eight base colours are those that every picture of gilscope shares (Okabe & Ito's set for colour-blind
eyes, and greys). On light paper marks keep them as they are; words there, and everything on dark paper, get
a shade of the same hue, just far enough away for a contrast of 4.5 to 1.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from gilscope.model import BackendName

LIGHT_PAPER = "#FBFAF7"
DARK_PAPER = "#15171B"
LIGHT_INK = "#17191D"
DARK_INK = "#ECEAE4"
READABLE = 4.6
"""Contrast that words get: WCAG 2.2 asks for 4.5 (success criterion 1.4.3)."""

BACKENDS: Mapping[BackendName, str] = MappingProxyType(
    {
        BackendName.ASYNCIO: "#0072B2",
        BackendName.THREADS: "#D55E00",
        BackendName.PROCESSES: "#009E73",
        BackendName.INTERPRETERS: "#CC79A7",
    }
)
"""One colour per backend, the same in the report, on the live page and in Grafana."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a request's anatomy: how it is called, what it means, its colour on either paper."""

    label: str
    meaning: str
    light: str
    dark: str


STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        "outside": Stage(
            "outside", "client, network, and waiting for the event loop to accept", "#8E9BB0", "#8E9BB0"
        ),
        "queue": Stage("queue", "handed to the backend, not begun", "#E8DC7A", "#D6C95F"),
        "cpu": Stage("run on CPU", "inside the function, on a core", "#4D4D4D", "#868686"),
        "gil_wait": Stage("GIL wait", "inside the function, waiting for the GIL", "#E69F00", "#E69F00"),
        "runqueue": Stage("run queue", "inside the function, waiting for a core", "#56B4E9", "#56B4E9"),
        "blocked": Stage(
            "blocked", "inside the function, asleep: I/O, a lock, a suspended coroutine", "#BDBDBD", "#BDBDBD"
        ),
        "unexplained": Stage(
            "unexplained",
            "what the other parts leave of the time inside the function",
            "#E6E2D8",
            "#33373E",
        ),
        "off_cpu": Stage(
            "run off CPU",
            "inside the function, not on a core: GIL, core or I/O, not told apart here",
            "#D6B98A",
            "#D6B98A",
        ),
        "return": Stage("return", "done, not yet back on the event loop", "#A9745B", "#A9745B"),
    }
)
"""The stages in the order in which a request passes through them."""

STATES: Mapping[str, Stage] = MappingProxyType(
    {
        "cpu": replace(STAGES["cpu"], label="on CPU", meaning="on a core"),
        "gil_wait": replace(STAGES["gil_wait"], meaning="asleep until it gets the GIL"),
        "runqueue": replace(STAGES["runqueue"], meaning="ready to run, waiting for a core"),
        "blocked": replace(STAGES["blocked"], meaning="asleep: I/O, a lock, or nothing to do"),
    }
)
"""What a thread may be doing; a state has the colour of the stage with the same key."""


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#RRGGBB``, 0 to 1 (WCAG 2.2)."""
    red, green, blue = (_linear(channel) for channel in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: str, paper: str) -> str:
    """Return the nearest shade of the same hue that can be read on ``paper``."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*_channels(colour))
    step = 0.01 if luminance(paper) < 0.18 else -0.01
    shade = colour
    while contrast(shade, paper) < READABLE:
        lightness += step
        shade = _hex(colorsys.hls_to_rgb(hue, lightness, saturation))
    return shade


def ink_on(fill: str) -> str:
    """Return the ink, dark or light, that reads better on ``fill``."""
    return max("#000000", "#FFFFFF", key=lambda ink: contrast(ink, fill))


def css() -> str:
    """Return the palette as CSS variables, for light paper and for dark."""
    light = _variables(LIGHT_PAPER, LIGHT_INK, {name: stage.light for name, stage in STAGES.items()})
    dark = _variables(DARK_PAPER, DARK_INK, {name: stage.dark for name, stage in STAGES.items()})
    return "\n".join(
        (
            f":root {{ {light} }}",
            f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}",
            *(f".b-{name} {{ --mark: var(--{name}); --word: var(--{name}-word); }}" for name in BACKENDS),
            *(f".s-{name} {{ --mark: var(--s-{name}); --word: var(--s-{name}-word); }}" for name in STAGES),
        )
    )


def _variables(paper: str, ink: str, stages: Mapping[str, str]) -> str:
    pairs = {"paper": paper, "ink": ink}
    dark = paper == DARK_PAPER
    for backend, colour in BACKENDS.items():
        word = readable(colour, paper)
        pairs |= {backend.value: word if dark else colour, f"{backend}-word": word}
    for stage, colour in stages.items():
        pairs |= {f"s-{stage}": colour, f"s-{stage}-word": ink_on(colour)}
    return " ".join(f"--{name}: {colour};" for name, colour in pairs.items())


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _hex(channels: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(channel * 255):02X}" for channel in channels)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
